"""The staged strategies BLUE_GREEN, LINEAR and CANARY: what is a valid configuration, and which stage follows when. Pure.

As the ECS documentation says: developer guide "blue-green-deployment-how-it-works", "canary-deployment",
"deployment-type-linear", "pause-lifecycle-hooks", "troubleshooting-blue-green", and API_DeploymentConfiguration with its parts.
The green tasks all start in SCALE_UP, the blue ones stay until CLEAN_UP. PRE_PRODUCTION_TRAFFIC_SHIFT and
PRODUCTION_TRAFFIC_SHIFT come once for each step of production traffic. A stage that lasts 24 hours is rolled back; a pause hook
has a time of its own (a day unless it says otherwise).

Simplified: a stage without a time of its own takes a twentieth of a task's start; the test traffic shifts whether or not there is
a test listener rule; hooks of AWS_LAMBDA are refused. Invented, because the documentation is silent: the wording of what is not
quoted there, no bake time for LINEAR and CANARY that name none, and that a hook answered by ROLLBACK ends FAILED.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STAGED = ("BLUE_GREEN", "LINEAR", "CANARY")
_MINUTE_S = 60.0
_STAGE_LIMIT_S = 24 * 3600.0
_DAY_MINUTES = 1440
_LONGEST_HOOK_MINUTES = 20160
_PAUSABLE = (
    "RECONCILE_SERVICE",
    "PRE_SCALE_UP",
    "POST_SCALE_UP",
    "POST_TEST_TRAFFIC_SHIFT",
    "PRE_PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
)
_LAMBDA_ONLY = ("TEST_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT")


@dataclass(frozen=True)
class Step:
    """One stage, or one turn of it. The weights are percent of the traffic that green gets from its beginning on."""

    stage: str
    lasts_s: float
    test_weight: float
    production_weight: float


@dataclass
class Hook:
    """An entry of `lifecycleHookDetails`; always of a PAUSE hook."""

    hook_id: str
    stage: str
    expires_at: float
    timeout_action: str
    status: str = "AWAITING_ACTION"


def problem(raw: Mapping[str, Any], load_balancers: Sequence[Mapping[str, Any]]) -> str:
    """Why ECS refuses this deploymentConfiguration with these load balancers; empty when it does not."""
    strategy = raw.get("strategy") or "ROLLING"
    checks = (
        _strategy_problem(strategy, raw),
        _balancer_problem(strategy, load_balancers),
        *(_hook_problem(strategy, hook) for hook in raw.get("lifecycleHooks") or ()),
    )
    return next(filter(None, checks), "")


def steps(raw: Mapping[str, Any], *, brief_s: float, reconciles: bool) -> tuple[Step, ...]:
    """The stages that a deployment of this valid configuration passes through; `brief_s` is for those that have no time of their own."""
    plan = [Step("RECONCILE_SERVICE", brief_s, 0, 0)] if reconciles else []
    plan += [Step(stage, brief_s, 0, 0) for stage in ("PRE_SCALE_UP", "SCALE_UP", "POST_SCALE_UP")]
    plan += [Step(stage, brief_s, 100, 0) for stage in ("TEST_TRAFFIC_SHIFT", "POST_TEST_TRAFFIC_SHIFT")]
    before = 0.0
    for weight, bake_s in _shifts(raw):
        plan.append(Step("PRE_PRODUCTION_TRAFFIC_SHIFT", brief_s, 100, before))
        plan.append(Step("PRODUCTION_TRAFFIC_SHIFT", max(bake_s, brief_s), 100, weight))
        before = weight
    bake_s = (raw.get("bakeTimeInMinutes") or 0) * _MINUTE_S
    plan.append(Step("POST_PRODUCTION_TRAFFIC_SHIFT", brief_s, 100, 100))
    plan.append(Step("BAKE_TIME", bake_s, 100, 100))
    plan.append(Step("CLEAN_UP", brief_s, 100, 100))
    return tuple(plan)


class Stages:
    """Where a staged service deployment is. `enter` starts it; the scheduler says what each stage has to wait for."""

    def __init__(self, plan: Sequence[Step], hooks: Sequence[Mapping[str, Any]]) -> None:
        self.hooks: list[Hook] = []
        self.goes_back = False
        self._plan = tuple(plan)
        self._configured = tuple(hooks)
        self._index = -1
        self._entered_at = 0.0
        self._free_at: float | None = None

    @property
    def step(self) -> Step | None:
        """None before the first stage and after the last one."""
        return self._plan[self._index] if 0 <= self._index < len(self._plan) else None

    @property
    def is_over(self) -> bool:
        return self._index >= len(self._plan)

    @property
    def stage(self) -> str:
        """`lifecycleStage`; the last one stays once it is over."""
        return self._plan[min(self._index, len(self._plan) - 1)].stage if self._index >= 0 else ""

    @property
    def weights(self) -> tuple[float, float]:
        """Percent of the test and of the production traffic that green gets."""
        if self._index < 0:
            return 0.0, 0.0
        step = self._plan[min(self._index, len(self._plan) - 1)]
        return step.test_weight, step.production_weight

    @property
    def waiting(self) -> list[Hook]:
        return [hook for hook in self.hooks if hook.status == "AWAITING_ACTION"]

    def enter(self, at: float) -> None:
        """Goes to the next stage, where its hooks begin to wait."""
        self._index += 1
        self._entered_at = at
        if self.step is not None and not self.goes_back:
            stage = self.step.stage
            self.hooks += [
                _hook(one, stage, at) for one in self._configured if stage in one["lifecycleStages"]
            ]
        self._free_at = None if self.waiting else at

    def turn_back(self, at: float, brief_s: float, *, is_blue_whole: bool) -> None:
        """Shifts the traffic back to blue, once it has all its tasks again, then cleans green up; hooks that wait are void."""
        test, production = self.weights
        self.goes_back = True
        for hook in self.waiting:
            hook.status = "FAILED"
        plan = [Step("CLEAN_UP", brief_s, 0, 0)]
        if test or production:
            plan.insert(0, Step("PRODUCTION_TRAFFIC_SHIFT", brief_s, 0, 0))
        if not is_blue_whole:
            plan.insert(0, Step("SCALE_UP", brief_s, test, production))
        self._plan, self._index = tuple(plan), -1
        self.enter(at)

    def answer(self, hook: Hook, action: str, at: float) -> None:
        """ContinueServiceDeployment of a waiting hook; for ROLLBACK the caller turns back."""
        hook.status = "SUCCEEDED" if action == "CONTINUE" else "FAILED"
        self._release(at)

    def expire(self, at: float) -> Hook | None:
        """Takes the timeout action of hooks whose time is over; gives back the one that wants a rollback."""
        for hook in self.waiting:
            if hook.expires_at <= at:
                hook.status = "TIMED_OUT"
                if hook.timeout_action == "ROLLBACK":
                    return hook
        self._release(at)
        return None

    def may_leave(self, at: float) -> bool:
        """Whether hooks and time hold the stage no longer."""
        step = self.step
        return step is not None and self._free_at is not None and at >= self._free_at + step.lasts_s

    def is_overdue(self, at: float) -> bool:
        """Whether a stage that waits for tasks has reached the limit."""
        step = self.step
        waits = step is not None and step.stage == "SCALE_UP"
        return waits and not self.goes_back and at >= self._entered_at + _STAGE_LIMIT_S

    def moments(self) -> Iterator[float]:
        """When something may happen without anybody's doing."""
        if self.step is None:
            return
        if self._free_at is not None:
            yield self._free_at + self.step.lasts_s
        yield self._entered_at + _STAGE_LIMIT_S
        yield from (hook.expires_at for hook in self.waiting)

    def _release(self, at: float) -> None:
        if self._free_at is None and not self.waiting:
            self._free_at = at


def _hook(configured: Mapping[str, Any], stage: str, at: float) -> Hook:
    timeout = configured.get("timeoutConfiguration") or {}
    expires_at = at + timeout.get("timeoutInMinutes", _DAY_MINUTES) * _MINUTE_S
    return Hook(
        f"ecs-pause-{secrets.token_urlsafe(32)}", stage, expires_at, timeout.get("action") or "ROLLBACK"
    )


def _shifts(raw: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """Each step of production traffic: green's percent, and how long it bakes before the next one."""
    if raw["strategy"] == "CANARY":
        canary = raw.get("canaryConfiguration") or {}
        percent = float(canary.get("canaryPercent", 5.0))
        if percent < 100:
            yield percent, canary.get("canaryBakeTimeInMinutes", 10) * _MINUTE_S
    if raw["strategy"] == "LINEAR":
        linear = raw.get("linearConfiguration") or {}
        # In tenths of a percent, which is as fine as the API takes it.
        tenths = round(float(linear.get("stepPercent", 10.0)) * 10)
        for reached in range(tenths, 1000, tenths):
            yield reached / 10, linear.get("stepBakeTimeInMinutes", 6) * _MINUTE_S
    yield 100.0, 0.0


def _strategy_problem(strategy: str, raw: Mapping[str, Any]) -> str:
    if strategy not in ("ROLLING", *STAGED):
        return f"The deployment strategy {strategy} is not valid."
    for name, owner in (("linearConfiguration", "LINEAR"), ("canaryConfiguration", "CANARY")):
        if raw.get(name) and strategy != owner:
            return f"{name} is only valid when the deployment strategy is {owner}."
    if strategy == "ROLLING":
        return ""
    if raw.get("earlySuccessCriteria"):
        return "earlySuccessCriteria is only valid when the deployment strategy is ROLLING."
    bake = raw.get("bakeTimeInMinutes")
    if bake is None and strategy == "BLUE_GREEN":
        return "bakeTimeInMinutes is required when the deployment strategy is BLUE_GREEN."
    linear, canary = raw.get("linearConfiguration") or {}, raw.get("canaryConfiguration") or {}
    return (
        _range_problem("bakeTimeInMinutes", bake, 0, _DAY_MINUTES)
        or _range_problem("stepPercent", linear.get("stepPercent"), 3, 100, tenths=True)
        or _range_problem("stepBakeTimeInMinutes", linear.get("stepBakeTimeInMinutes"), 0, _DAY_MINUTES)
        or _range_problem("canaryPercent", canary.get("canaryPercent"), 0.1, 100, tenths=True)
        or _range_problem("canaryBakeTimeInMinutes", canary.get("canaryBakeTimeInMinutes"), 0, _DAY_MINUTES)
    )


def _range_problem(name: str, value: float | None, least: float, most: float, *, tenths: bool = False) -> str:
    if value is None:
        return ""
    if not least <= value <= most:
        return f"{name} must be between {least} and {most}. Got: {value}"
    if tenths and abs(value * 10 - round(value * 10)) > 1e-6:
        return f"{name} must be a multiple of 0.1. Got: {value}"
    return ""


def _balancer_problem(strategy: str, balancers: Sequence[Mapping[str, Any]]) -> str:
    """Of "Troubleshooting Amazon ECS blue/green deployments", what can be judged without asking the load balancer."""
    advanced = [balancer.get("advancedConfiguration") or {} for balancer in balancers]
    if any(advanced) and not all(advanced):
        return "Either all or none of the provided loadBalancers must have advancedConfiguration defined"
    if strategy != "ROLLING" and balancers and not all(advanced):
        return "advancedConfiguration field is required for all loadBalancers when using a non-ROLLING deployment strategy"
    groups = [balancer.get("targetGroupArn") for balancer in balancers]
    groups += [one.get("alternateTargetGroupArn") for one in advanced if one]
    named = [group for group in groups if group]
    # Without a staged strategy one target group may stand in several entries, for several ports.
    if any(advanced) and (twice := next((group for group in named if named.count(group) > 1), None)):
        return f"Duplicate targetGroupArn found: {twice}"
    for one in filter(None, advanced):
        for name in ("alternateTargetGroupArn", "productionListenerRule", "roleArn"):
            if not one.get(name):
                return f"{name} is required in advancedConfiguration."
        production, test = one["productionListenerRule"], one.get("testListenerRule")
        for name, arn in (("productionListenerRule", production), ("testListenerRule", test)):
            if arn and (":listener/app/" in arn or ":listener" not in arn):
                return f"{name} has an invalid ARN format. Must be RuleArn for ALB or ListenerArn for NLB. Got: {arn}"
        if test == production:
            return (
                f"The following rules cannot be used as both production and test listener rules: {production}"
            )
    return ""


def _hook_problem(strategy: str, hook: Mapping[str, Any]) -> str:
    if strategy == "ROLLING":
        return "lifecycleHooks are not valid when the deployment strategy is ROLLING."
    if (hook.get("targetType") or "AWS_LAMBDA") != "PAUSE":
        return "The sandbox runs no Lambda functions: give the lifecycle hook targetType PAUSE."
    stages = hook.get("lifecycleStages") or ()
    if not stages:
        return "lifecycleStages must be provided for a lifecycle hook."
    for stage in stages:
        if stage in _LAMBDA_ONLY:
            return f"PAUSE hooks cannot be configured at the {stage} stage."
        if stage not in _PAUSABLE:
            return f"The lifecycle stage {stage} is not valid for a lifecycle hook."
    if hook.get("hookTargetArn"):
        return "hookTargetArn is not valid for a PAUSE hook."
    timeout = hook.get("timeoutConfiguration") or {}
    if (timeout.get("action") or "ROLLBACK") not in ("ROLLBACK", "CONTINUE"):
        return f"The action {timeout['action']} of a lifecycle hook's timeout is not valid."
    return _range_problem("timeoutInMinutes", timeout.get("timeoutInMinutes"), 1, _LONGEST_HOOK_MINUTES)
