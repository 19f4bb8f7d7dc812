"""The analysis of a new revision: what to ask CloudWatch when, what an answer is worth, and what many of them come to. Pure.

A measurement looks at one period of a metric, and only at one that has ended and that CloudWatch has had time to publish
(`delay_s`), by AWS's time of day. Measurements are judged as a set, so that it is all one in which order they came. The rules are
those of Argo Rollouts (https://argo-rollouts.readthedocs.io/en/stable/features/analysis/), except that only successes count
towards `count`.
"""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator import conditions
from orchestrator.settings_analysis import fill, is_sql, used_placeholders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator.settings_analysis import AnalysisSettings, QuerySettings

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
QUERIES_PER_CALL = 500
_SHOWN_VALUES = 5


class Outcome(enum.StrEnum):
    """What one measurement is; of two that speak of the same period, the one further down counts."""

    ERROR = "error"
    SUCCESS = "success"
    INCONCLUSIVE = "inconclusive"
    FAILURE = "failure"


_RANKS = {outcome: rank for rank, outcome in enumerate(Outcome)}


@dataclass(frozen=True)
class Measurement:
    """What one period came to. `ended_at` is its end in seconds since the epoch, by AWS's clock; `values` are those of all series
    that the query has, none where CloudWatch has no data; `detail` says why there was no answer.
    """

    ended_at: int
    outcome: Outcome
    values: tuple[float, ...] = ()
    detail: str = ""


class State(enum.StrEnum):
    """How far an analysis has come."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Judgement:
    """What the measurements come to, and why in one sentence where that is the end."""

    state: State
    reason: str = ""
    successes: int = 0
    failures: int = 0


# --- what an answer is worth


def measure(analysis: AnalysisSettings, ended_at: int, values: Sequence[float]) -> Measurement:
    """What the values of one period are; the worst of them decides, and one that is no number is as good as none."""
    numbers = tuple(value for value in values if math.isfinite(value))
    if not numbers:
        return Measurement(ended_at, Outcome(analysis.on_no_data))
    worst = max((_outcome(analysis, value) for value in numbers), key=_RANKS.__getitem__)
    return Measurement(ended_at, worst, numbers)


def _outcome(analysis: AnalysisSettings, value: float) -> Outcome:
    is_success = conditions.holds(analysis.success, value)
    if analysis.failure is None:
        return Outcome.SUCCESS if is_success else Outcome.FAILURE
    if conditions.holds(analysis.failure, value):
        return Outcome.FAILURE
    return Outcome.SUCCESS if is_success else Outcome.INCONCLUSIVE


def judge(analysis: AnalysisSettings, measurements: Iterable[Measurement]) -> Judgement:
    """What all measurements together come to. Their order does not matter, nor that one comes twice."""
    by_end: dict[int, Measurement] = {}
    for one in measurements:
        known = by_end.get(one.ended_at)
        if known is None or _RANKS[one.outcome] > _RANKS[known.outcome]:
            by_end[one.ended_at] = one
    every = [by_end[end] for end in sorted(by_end)]
    of = {outcome: [one for one in every if one.outcome is outcome] for outcome in Outcome}
    counts = (len(of[Outcome.SUCCESS]), len(of[Outcome.FAILURE]))
    if len(of[Outcome.FAILURE]) > analysis.failure_limit:
        return Judgement(State.FAILED, _why_failed(analysis, of[Outcome.FAILURE]), *counts)
    if len(of[Outcome.INCONCLUSIVE]) > analysis.inconclusive_limit:
        return Judgement(State.INCONCLUSIVE, _why_inconclusive(analysis, of[Outcome.INCONCLUSIVE]), *counts)
    errors = _longest_run(every)
    if len(errors) > analysis.error_limit:
        reason = f"analysis {analysis.name}: {len(errors)} errors on end, the last: {errors[-1].detail}"
        return Judgement(State.INCONCLUSIVE, reason, *counts)
    if analysis.count and counts[0] >= analysis.count:
        reason = f"analysis {analysis.name}: {_count(counts[0], 'measurement')} succeeded"
        return Judgement(State.PASSED, reason, *counts)
    return Judgement(State.RUNNING, "", *counts)


def _longest_run(every: list[Measurement]) -> list[Measurement]:
    """The most errors that came one after the other."""
    longest: list[Measurement] = []
    run: list[Measurement] = []
    for one in every:
        run = [*run, one] if one.outcome is Outcome.ERROR else []
        longest = max(longest, run, key=len)
    return longest


def _why_failed(analysis: AnalysisSettings, failures: list[Measurement]) -> str:
    wanted = f"fails at `{analysis.failure}`" if analysis.failure else f"must be `{analysis.success}`"
    return (
        f"analysis {analysis.name}: {subject(analysis)} was {_shown(failures)} and {wanted}; "
        f"{_count(len(failures), 'measurement')} failed, and {analysis.failure_limit} may"
    )


def _why_inconclusive(analysis: AnalysisSettings, those: list[Measurement]) -> str:
    return (
        f"analysis {analysis.name}: {_count(len(those), 'measurement')} of {subject(analysis)} said neither"
        f" yes nor no ({_shown(those)}), and {analysis.inconclusive_limit} may"
    )


def _shown(those: list[Measurement]) -> str:
    shown = [number(value) for one in those for value in one.values]
    shown += ["no data"] if any(not one.values for one in those) else []
    return ", ".join(shown[:_SHOWN_VALUES]) + (" …" if len(shown) > _SHOWN_VALUES else "")


def _count(many: int, what: str) -> str:
    return f"{many} {what}{'' if many == 1 else 's'}"


def number(value: float) -> str:
    """A value as people read it: four digits that count."""
    return f"{value:.4g}"


def subject(analysis: AnalysisSettings) -> str:
    """What is measured, in the words of orch.toml."""
    if analysis.expression is not None:
        return analysis.expression
    return f"{analysis.statistic} of {analysis.namespace}/{analysis.metric}"


# --- when to ask for what


def next_end(analysis: AnalysisSettings, began_at: float, last_end: int | None) -> int:
    """The end of the next period to measure: whole periods alone, and none that began before the stage and its initial delay."""
    period = analysis.period_s
    if last_end is None:
        return math.ceil((began_at + analysis.initial_delay_s) / period) * period + period
    return math.ceil((last_end + analysis.interval_s) / period) * period


def due_end(analysis: AnalysisSettings, began_at: float, last_end: int | None, now: float) -> int | None:
    """The end of the period to measure now, None when the next one has not ended or may not be published yet.

    Where periods were missed it is the newest: old ones say less of how the revision does now.
    """
    wanted = next_end(analysis, began_at, last_end)
    newest = math.floor((now - analysis.delay_s) / analysis.period_s) * analysis.period_s
    return max(wanted, newest) if newest >= wanted else None


@dataclass(frozen=True)
class Question:
    """One measurement to take: of the period that ends at `end`, with the placeholders' values."""

    analysis: AnalysisSettings
    end: int
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def start(self) -> int:
        return self.end - self.analysis.period_s


def batches(questions: Sequence[Question]) -> Iterator[list[int]]:
    """The questions, by their positions, that fit into one call each: at most 500 queries, and one Metrics Insights query."""
    batch: list[int] = []
    size, has_sql = 0, False
    for position, question in enumerate(questions):
        more = len(question.analysis.queries) + 1
        sql = is_sql(question.analysis.expression or "")
        if batch and (size + more > QUERIES_PER_CALL or (has_sql and sql)):
            yield batch
            batch, size, has_sql = [], 0, False
        batch.append(position)
        size, has_sql = size + more, has_sql or sql
    if batch:
        yield batch


def request(questions: Sequence[Question]) -> dict[str, Any]:
    """GetMetricData's arguments for all of them. CloudWatch cuts periods from StartTime on, so it stands at a multiple of each."""
    step = math.lcm(*(question.analysis.period_s for question in questions))
    start = min(question.start for question in questions) // step * step
    return {
        "MetricDataQueries": [
            query for number_, question in enumerate(questions) for query in _queries(question, number_)
        ],
        "StartTime": datetime.fromtimestamp(start, UTC),
        "EndTime": datetime.fromtimestamp(max(question.end for question in questions), UTC),
        "ScanBy": "TimestampAscending",
    }


def result_id(number_: int) -> str:
    """The id of the query that holds the answer to that question of a request."""
    return f"q{number_}"


def values(question: Question, number_: int, results: Iterable[Mapping[str, Any]]) -> tuple[float, ...] | str:
    """The values of the question's period among the results of all pages, or why there are none."""
    mine = [one for one in results if one["Id"] == result_id(number_)]
    found = [
        float(value)
        for one in mine
        for at, value in zip(one.get("Timestamps", []), one.get("Values", []), strict=True)
        if question.start <= at.timestamp() < question.end
    ]
    bad = next((one for one in mine if one.get("StatusCode") in {"InternalError", "Forbidden"}), None)
    if bad is None and mine:
        return tuple(found)
    said = ", ".join(str(item.get("Value", "")) for item in (bad or {}).get("Messages", []))
    code = bad["StatusCode"] if bad else "no result"
    return f"CloudWatch answered {code}" + (f": {said}" if said else "")


def _queries(question: Question, number_: int) -> Iterator[dict[str, Any]]:
    analysis, texts = question.analysis, dict(question.texts)
    if analysis.expression is None:
        stat = _stat(analysis, analysis.period_s, texts)
        yield {"Id": result_id(number_), "MetricStat": stat, "ReturnData": True}
        return
    # Names are told apart by the question: several analyses of several services are asked for in one call.
    names = {name: f"{result_id(number_)}_{name}" for name in analysis.queries}
    for name, query in analysis.queries.items():
        yield {"Id": names[name], "MetricStat": _stat(query, analysis.period_s, texts), "ReturnData": False}
    yield {
        "Id": result_id(number_),
        "Expression": _renamed(fill(analysis.expression, texts), names),
        "Period": analysis.period_s,
        "ReturnData": True,
    }


def _stat(query: AnalysisSettings | QuerySettings, period_s: int, texts: dict[str, str]) -> dict[str, Any]:
    return {
        "Metric": {
            "Namespace": fill(query.namespace or "", texts),
            "MetricName": fill(query.metric or "", texts),
            "Dimensions": [
                {"Name": name, "Value": fill(value, texts)} for name, value in query.dimensions.items()
            ],
        },
        "Period": period_s,
        "Stat": query.statistic,
    }


_TOKEN = re.compile(r"""'[^']*'|"[^"]*"|[A-Za-z_]\w*""")


def _renamed(expression: str, names: Mapping[str, str]) -> str:
    """The expression with the names of its queries replaced, but for what stands in quotes."""
    return _TOKEN.sub(lambda token: names.get(token[0], token[0]), expression)


# --- the placeholders


def needs_targets(analysis: AnalysisSettings) -> bool:
    """Whether a text names the target group or the load balancer, which only a deployment under way tells."""
    used = {name for text in analysis.texts for name in used_placeholders(text)}
    return bool(used & {"TARGET_GROUP", "LOAD_BALANCER"})


def target_group_name(arn: str) -> str:
    """What CloudWatch's dimension TargetGroup holds: `targetgroup/NAME/ID`, the last part of the ARN.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
    """
    return arn.rsplit(":", 1)[-1]


def load_balancer_name(listener_arn: str) -> str:
    """What the dimension LoadBalancer holds, `app/NAME/ID`: part of the ARN of each of its listeners, `…:listener/app/NAME/ID/…`,
    and of their rules, `…:listener-rule/app/NAME/ID/…`.
    """
    return "/".join(listener_arn.rsplit(":", 1)[-1].split("/")[1:4])
