"""`[[services.NAME.analysis]]` of orch.toml: what is measured while a new revision proves itself, and when that is good enough.

The words are those of Argo Rollouts' AnalysisTemplate (https://argo-rollouts.readthedocs.io/en/stable/features/analysis/), the
queries those of CloudWatch's GetMetricData. Part of settings.py, apart for its size: pydantic models alone, nothing is read.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from orchestrator import conditions

PLACEHOLDERS = {
    "TARGET_GROUP": "the target group of the new revision, as its metrics name it: targetgroup/NAME/ID",
    "LOAD_BALANCER": "the load balancer in front of it, as its metrics name it: app/NAME/ID",
    "CLUSTER": "the name of the ECS cluster",
    "SERVICE": "the name of the ECS service",
    "ENVIRONMENT": "the name of the environment",
}
"""What `$NAME` in a text of an analysis stands for; `$$` is a dollar sign."""

Stage = Literal[
    "POST_SCALE_UP",
    "TEST_TRAFFIC_SHIFT",
    "POST_TEST_TRAFFIC_SHIFT",
    "PRE_PRODUCTION_TRAFFIC_SHIFT",
    "PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
    "BAKE_TIME",
]
"""The lifecycle stages, as ServiceDeployment.lifecycleStage has them, in which the new revision runs and is not final yet."""

_PLACEHOLDER = re.compile(r"\$(\$|[A-Za-z_]*)")
# What the name of another metric in a math expression would look like.
_METRICS = re.compile(r"\bMETRICS\s*\(")
_STATISTIC = re.compile(
    r"SampleCount|Average|Sum|Minimum|Maximum|IQM|(p|tm|wm|tc|ts)\d{1,3}(\.\d+)?|(PR|TM|WM|TC|TS)\([^)]+\)"
)


def used_placeholders(text: str) -> set[str]:
    """The placeholders of a text, without their dollar signs."""
    return set(_PLACEHOLDER.findall(text)) - {"$"}


def fill(text: str, values: dict[str, str]) -> str:
    """The text with its placeholders replaced. Raises KeyError for one without a value."""
    return _PLACEHOLDER.sub(lambda found: "$" if found[1] == "$" else values[found[1]], text)


def is_sql(expression: str) -> bool:
    """Whether an expression is a Metrics Insights query, and no metric math."""
    return expression.lstrip().upper().startswith("SELECT ")


def _with_known_placeholders(text: str) -> str:
    unknown = sorted(used_placeholders(text) - set(PLACEHOLDERS))
    if unknown:
        known = ", ".join(f"${name}" for name in PLACEHOLDERS)
        raise ValueError(
            f"there is no placeholder ${unknown[0]}; there are {known}, and $$ for a dollar sign"
        )
    return text


def _period(seconds: int) -> int:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html
    if seconds not in {1, 5, 10, 20, 30} and (seconds < 60 or seconds % 60):
        raise ValueError("must be a multiple of 60, or 1, 5, 10, 20 or 30 for a high-resolution metric")
    return seconds


def _statistic(text: str) -> str:
    if not _STATISTIC.fullmatch(text):
        raise ValueError(
            f"must be a statistic of CloudWatch such as Sum, Average, Maximum or p99, not {text!r}"
        )
    return text


def _query_name(text: str) -> str:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html
    if not re.fullmatch(r"[a-z][A-Za-z0-9_]{0,63}", text):
        raise ValueError(f"must be letters, digits and underscores, a lower-case letter first, not {text!r}")
    return text


def _analysis_name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", text):
        raise ValueError(
            f"must be at most 32 lower-case letters, digits, hyphens, letter first, not {text!r}"
        )
    return text


_Condition = Annotated[
    str,
    StringConstraints(min_length=1, max_length=conditions.LONGEST),
    AfterValidator(conditions.check),
]
_Text = Annotated[
    str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_with_known_placeholders)
]
_QueryName = Annotated[str, AfterValidator(_query_name)]
_MetricStatistic = Annotated[str, AfterValidator(_statistic)]
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Metric.html
_Dimensions = Annotated[dict[str, _Text], Field(max_length=30)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QuerySettings(_Table):
    """One metric that an expression names."""

    namespace: _Text = Field(description="Namespace of the metric, such as AWS/ApplicationELB.")
    metric: _Text = Field(description="Name of the metric.")
    dimensions: _Dimensions = Field(
        default={}, description="Its dimensions, all of them; $TARGET_GROUP and the like are filled in."
    )
    statistic: _MetricStatistic = Field(
        default="Average", description="Sum, Average, Maximum, p99 and the like."
    )


class AnalysisSettings(_Table):
    """One thing that is measured while a new revision gets traffic: a metric or an expression, and what it must come to."""

    name: Annotated[str, AfterValidator(_analysis_name)] = Field(
        description="What the output calls it, such as `errors`."
    )
    namespace: _Text | None = Field(default=None, description="Namespace of the one metric that is measured.")
    metric: _Text | None = Field(default=None, description="Name of that metric.")
    dimensions: _Dimensions = Field(
        default={}, description="Its dimensions, all of them; $TARGET_GROUP and the like are filled in."
    )
    statistic: _MetricStatistic = Field(
        default="Average", description="Sum, Average, Maximum, p99 and the like."
    )
    expression: _Text | None = Field(
        default=None,
        description="Instead of one metric: metric math over `queries`, or a Metrics Insights query (SELECT …).",
    )
    queries: Annotated[dict[_QueryName, QuerySettings], Field(max_length=100)] = Field(
        default={}, description="The metrics of the expression, by the names it has for them."
    )
    period_s: Annotated[int, AfterValidator(_period)] = Field(
        default=60, description="Seconds that one value of the metric sums up."
    )
    success: _Condition = Field(
        description="What a value must meet, such as `value < 0.01`; with `failure` as well, what meets neither is inconclusive."
    )
    failure: _Condition | None = Field(
        default=None, description="What makes a value a failure; whatever is no success when absent."
    )
    interval_s: int = Field(
        default=60, ge=1, description="Seconds between two measurements; at least `period_s`."
    )
    count: int = Field(
        default=0,
        ge=0,
        description="How many measurements must succeed; 0 measures as long as the stage lasts.",
    )
    failure_limit: int = Field(default=0, ge=0, description="How many measurements may fail.")
    inconclusive_limit: int = Field(default=0, ge=0, description="How many measurements may be inconclusive.")
    error_limit: int = Field(
        default=4,
        ge=0,
        description="How many times on end CloudWatch may give no answer before that is inconclusive.",
    )
    initial_delay_s: int = Field(
        default=0, ge=0, description="Seconds of the first stage that are not measured, such as a warm-up."
    )
    delay_s: int = Field(
        default=60, ge=0, description="Seconds that CloudWatch gets to publish a period after its end."
    )
    during: list[Stage] = Field(
        default=[
            "PRE_PRODUCTION_TRAFFIC_SHIFT",
            "PRODUCTION_TRAFFIC_SHIFT",
            "POST_PRODUCTION_TRAFFIC_SHIFT",
            "BAKE_TIME",
        ],
        min_length=1,
        description="Lifecycle stages of the deployment in which it is measured; before and in a shift of production traffic only"
        " once the new revision gets some.",
    )
    on_no_data: Literal["inconclusive", "success", "failure"] = Field(
        default="inconclusive", description="What a measurement is for which CloudWatch has no value."
    )
    on_inconclusive: Literal["rollback", "continue"] = Field(
        default="rollback",
        description="What happens when more is inconclusive than the limits allow; `continue` leaves a pause to people.",
    )
    continue_when_passed: bool = Field(
        default=False,
        description="Whether a pause in one of the stages is continued once all analyses of that stage have passed; one before any"
        " production traffic, where there is nothing to measure, at once.",
    )

    @model_validator(mode="after")
    def _is_one_question(self) -> AnalysisSettings:
        if (self.expression is None) == (self.metric is None):
            raise ValueError("needs either metric (with namespace), or expression")
        if self.expression is None:
            if self.namespace is None:
                raise ValueError("namespace: is required with metric")
            if self.queries:
                raise ValueError("queries: belong to an expression, and there is none")
        else:
            self._require_expression(self.expression)
        if self.interval_s < self.period_s:
            raise ValueError(
                f"interval_s: {self.interval_s} is shorter than period_s, {self.period_s}: the same value would count twice"
            )
        if self.continue_when_passed and not self.count:
            raise ValueError("continue_when_passed: needs count, without which an analysis never passes")
        return self

    def _require_expression(self, expression: str) -> None:
        if self.namespace is not None or self.dimensions:
            raise ValueError("namespace and dimensions: of an expression, they stand in its queries")
        if is_sql(expression):
            if self.queries:
                raise ValueError("queries: a Metrics Insights query names its metrics itself")
            return
        if not self.queries:
            raise ValueError("queries: the metrics that the expression names are missing")
        if _METRICS.search(expression):
            raise ValueError(
                "expression: METRICS() takes in what others measure at the same time; name the queries"
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text that may hold placeholders."""
        tables: tuple[AnalysisSettings | QuerySettings, ...] = (self, *self.queries.values())
        own = [text for one in tables for text in (one.namespace, one.metric, *one.dimensions.values())]
        return tuple(text for text in (*own, self.expression) if text is not None)


def require_distinct(analyses: list[AnalysisSettings]) -> list[AnalysisSettings]:
    """Raises ValueError when two have the same name."""
    names = [one.name for one in analyses]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two analyses are called `{twice}`")
    return analyses


def require_stages(
    service: str, analyses: list[AnalysisSettings], *, is_staged: bool, pauses: set[str]
) -> None:
    """Raises ValueError for analyses of a service that is nowhere deployed in stages, or that nowhere pauses where one wants to
    continue.
    """
    if analyses and not is_staged:
        raise ValueError(
            f"services.{service}.analysis: a rolling deployment has no stage to measure in; set a type of blue_green, linear or"
            f" canary in [services.{service}.strategy], or use deployment alarms in Terraform instead"
        )
    for one in analyses:
        if one.continue_when_passed and not pauses & set(one.during):
            raise ValueError(
                f"services.{service}.analysis: `{one.name}` has continue_when_passed, but no strategy of {service} pauses in one of"
                f" its stages; set pause_at in [services.{service}.strategy], such as POST_PRODUCTION_TRAFFIC_SHIFT"
            )
