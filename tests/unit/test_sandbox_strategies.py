"""BLUE_GREEN, LINEAR and CANARY on a made-up clock: stages, weights, hooks, alarms and every way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.sandbox import strategies
from orchestrator.sandbox.deployments import Configuration, Revision
from orchestrator.sandbox.rollout import ServiceRollouts
from tests.unit.test_sandbox_rollout import TIMING, Simulation

MINUTE = 60.0
DAY = 24 * 3600.0
BLUE_GREEN: dict[str, Any] = {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 5}
CANARY: dict[str, Any] = {
    "strategy": "CANARY",
    "canaryConfiguration": {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 3},
    "bakeTimeInMinutes": 1,
}
LINEAR: dict[str, Any] = {
    "strategy": "LINEAR",
    "linearConfiguration": {"stepPercent": 30.0, "stepBakeTimeInMinutes": 2},
    "bakeTimeInMinutes": 1,
}
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
ALARM = {"alarms": {"alarmNames": ["errors", "latency"], "enable": True, "rollback": True}}
STAGES = [
    "PRE_SCALE_UP",
    "SCALE_UP",
    "POST_SCALE_UP",
    "TEST_TRAFFIC_SHIFT",
    "POST_TEST_TRAFFIC_SHIFT",
    "PRE_PRODUCTION_TRAFFIC_SHIFT",
    "PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
    "BAKE_TIME",
    "CLEAN_UP",
]


def pause(*stages: str, minutes: int | None = None, action: str = "ROLLBACK") -> dict[str, Any]:
    hook: dict[str, Any] = {"targetType": "PAUSE", "lifecycleStages": list(stages)}
    return hook | (
        {"timeoutConfiguration": {"timeoutInMinutes": minutes, "action": action}} if minutes else {}
    )


@dataclass
class Staged(Simulation):
    """A service that has a completed first deployment `good`, and alarms that a test sets off."""

    firing: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rollouts = ServiceRollouts(
            "web",
            desired_count=self.desired_count,
            timing=TIMING,
            launch=self._launch,
            new_arn=lambda: f"deployment-{next(self.numbers)}",
            firing=lambda names: {name: at for name, at in self.firing.items() if name in names},
        )
        self.deploy("good", {})
        self.wait(100)
        assert self.listed() == [("good", "PRIMARY", "COMPLETED")]
        self.blue_id = self.rollouts.primary.deployment_id

    @property
    def status(self) -> str:
        return self.rollouts.current.status

    @property
    def stage(self) -> str:
        return self.rollouts.current.stages.stage

    @property
    def weights(self) -> tuple[float, float]:
        return self.rollouts.current.stages.weights

    def walk(
        self, step_s: float = TIMING.pending_s / 2, most: int = 100_000
    ) -> list[tuple[str, float, float]]:
        """Every stage with its weights, each once, until the deployment is over or waits for somebody."""
        seen: list[tuple[str, float, float]] = []
        for _ in range(most):
            now = (self.stage, *self.weights)
            if self.stage and (not seen or seen[-1] != now):
                seen.append(now)
            if self.rollouts.current.is_over or self.rollouts.current.stages.waiting:
                break
            self.wait(step_s)
        return seen

    def until(self, stage: str, production: float | None = None) -> None:
        while not self.rollouts.current.is_over:
            if self.stage == stage and production in (None, self.weights[1]):
                return
            self.wait(TIMING.pending_s / 2)
        raise AssertionError(f"never reached {stage}")

    def assert_back_on_blue(self) -> None:
        assert self.status == "ROLLBACK_SUCCESSFUL"
        assert self.listed()[0] == ("good", "PRIMARY", "COMPLETED")
        assert self.rollouts.primary.deployment_id == self.blue_id
        assert self.running("good") == self.desired_count
        assert self.weights == (0, 0)
        self.wait(100)
        assert self.listed() == [("good", "PRIMARY", "COMPLETED")]


def test_blue_green_passes_through_its_stages_and_shifts_all_traffic_at_once() -> None:
    story = Staged()
    story.deploy("good/2", BLUE_GREEN)
    assert (story.status, story.stage) == ("PENDING", "")
    seen = story.walk()
    assert [stage for stage, _, _ in seen] == STAGES
    weights = {stage: pair for stage, *pair in seen}
    assert weights["POST_SCALE_UP"] == [0, 0]
    assert weights["TEST_TRAFFIC_SHIFT"] == [100, 0]
    assert weights["PRE_PRODUCTION_TRAFFIC_SHIFT"] == [100, 0]
    assert weights["PRODUCTION_TRAFFIC_SHIFT"] == weights["CLEAN_UP"] == [100, 100]
    assert story.status == "SUCCESSFUL"
    story.wait(100)
    assert story.listed() == [("good/2", "PRIMARY", "COMPLETED")]
    assert story.running("good/2") == 2


def test_all_green_tasks_start_first_and_blue_ones_stay_until_clean_up() -> None:
    story = Staged(desired_count=3)
    story.deploy("good/2", BLUE_GREEN | {"maximumPercent": 100})
    story.until("PRE_SCALE_UP")
    assert (story.running("good"), story.rollouts.primary.active(story.now)) == (3, [])
    story.until("POST_SCALE_UP")
    assert (story.running("good"), story.running("good/2")) == (3, 3)
    story.until("BAKE_TIME")
    began = story.now
    assert story.listed() == [("good/2", "PRIMARY", "IN_PROGRESS"), ("good", "ACTIVE", "COMPLETED")]
    story.until("CLEAN_UP")
    assert story.now - began == pytest.approx(5 * MINUTE, abs=TIMING.pending_s)
    story.wait(TIMING.stop_s)
    assert (story.running("good"), story.running("good/2")) == (0, 3)


def test_canary_shifts_its_percentage_bakes_and_shifts_the_rest() -> None:
    story = Staged()
    story.deploy("good/2", CANARY)
    story.until("PRODUCTION_TRAFFIC_SHIFT", 10.0)
    began = story.now
    story.wait(2.9 * MINUTE)
    assert (story.stage, story.weights) == ("PRODUCTION_TRAFFIC_SHIFT", (100, 10.0))
    story.until("PRODUCTION_TRAFFIC_SHIFT", 100.0)
    assert story.now - began == pytest.approx(3 * MINUTE, abs=3 * TIMING.pending_s)
    story.walk()
    assert story.status == "SUCCESSFUL"


def test_linear_shifts_step_by_step_and_does_not_bake_after_the_last() -> None:
    story = Staged()
    story.deploy("good/2", LINEAR)
    seen = story.walk()
    shifts = [weight for stage, _, weight in seen if stage == "PRODUCTION_TRAFFIC_SHIFT"]
    assert shifts == [30, 60, 90, 100]
    before = [weight for stage, _, weight in seen if stage == "PRE_PRODUCTION_TRAFFIC_SHIFT"]
    assert before == [0, 30, 60, 90]
    current = story.rollouts.current
    assert current.status == "SUCCESSFUL"
    assert current.finished_at - current.started_at == pytest.approx(
        (3 * 2 + 1) * MINUTE, abs=4 * TIMING.task_seconds
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"strategy": "LINEAR"}, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        ({"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 33.3}}, [33.3, 66.6, 99.9, 100]),
        ({"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 100.0}}, [100]),
        ({"strategy": "CANARY"}, [5, 100]),
        ({"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 100.0}}, [100]),
        (BLUE_GREEN, [100]),
    ],
)
def test_the_steps_of_production_traffic(raw: dict[str, Any], expected: list[float]) -> None:
    plan = strategies.steps(raw, brief_s=1, reconciles=False)
    assert [step.production_weight for step in plan if step.stage == "PRODUCTION_TRAFFIC_SHIFT"] == expected


@given(st.integers(30, 1000))
@settings(max_examples=50)
def test_linear_steps_grow_by_the_percentage_up_to_all(tenths: int) -> None:
    raw = {"strategy": "LINEAR", "linearConfiguration": {"stepPercent": tenths / 10}}
    plan = strategies.steps(raw, brief_s=1, reconciles=False)
    shifts = [step.production_weight for step in plan if step.stage == "PRODUCTION_TRAFFIC_SHIFT"]
    assert shifts[-1] == 100
    assert all(0 < b - a <= tenths / 10 + 1e-9 for a, b in zip([0, *shifts], shifts, strict=False))


def test_a_hook_holds_its_stage_until_it_is_continued() -> None:
    story = Staged()
    story.deploy("good/2", BLUE_GREEN | {"lifecycleHooks": [pause("POST_TEST_TRAFFIC_SHIFT")]})
    story.walk()
    current = story.rollouts.current
    (hook,) = current.stages.hooks
    assert (story.stage, hook.status, story.weights) == (
        "POST_TEST_TRAFFIC_SHIFT",
        "AWAITING_ACTION",
        (100, 0),
    )
    assert hook.expires_at == pytest.approx(story.now + DAY, abs=TIMING.pending_s)
    story.wait(DAY - 60)
    assert (story.status, story.stage) == ("IN_PROGRESS", "POST_TEST_TRAFFIC_SHIFT")
    story.rollouts.answer_hook(current, hook, "CONTINUE", now=story.now)
    assert hook.status == "SUCCEEDED"
    story.walk()
    assert story.status == "SUCCESSFUL"


def test_a_hook_before_each_shift_waits_before_each_shift() -> None:
    story = Staged()
    story.deploy("good/2", CANARY | {"lifecycleHooks": [pause("PRE_PRODUCTION_TRAFFIC_SHIFT")]})
    weights = []
    while story.status != "SUCCESSFUL":
        story.walk()
        for hook in story.rollouts.current.stages.waiting:
            weights.append(story.weights[1])
            story.rollouts.answer_hook(story.rollouts.current, hook, "CONTINUE", now=story.now)
    assert weights == [0, 10]
    assert len({hook.hook_id for hook in story.rollouts.current.stages.hooks}) == 2


def test_two_hooks_of_one_stage_must_both_be_continued() -> None:
    story = Staged()
    hooks = [pause("POST_SCALE_UP"), pause("POST_SCALE_UP", "PRE_SCALE_UP")]
    story.deploy("good/2", BLUE_GREEN | {"lifecycleHooks": hooks})
    story.walk()
    assert (story.stage, len(story.rollouts.current.stages.waiting)) == ("PRE_SCALE_UP", 1)
    story.rollouts.answer_hook(
        story.rollouts.current, story.rollouts.current.stages.waiting[0], "CONTINUE", now=story.now
    )
    story.walk()
    assert story.stage == "POST_SCALE_UP"
    first, second = story.rollouts.current.stages.waiting
    story.rollouts.answer_hook(story.rollouts.current, first, "CONTINUE", now=story.now)
    story.wait(MINUTE)
    assert (story.stage, second.status) == ("POST_SCALE_UP", "AWAITING_ACTION")


def test_a_hook_answered_by_rollback_goes_back_to_blue() -> None:
    story = Staged()
    story.deploy("good/2", CANARY | {"lifecycleHooks": [pause("POST_PRODUCTION_TRAFFIC_SHIFT")]})
    story.walk()
    (hook,) = story.rollouts.current.stages.waiting
    story.rollouts.answer_hook(story.rollouts.current, hook, "ROLLBACK", now=story.now)
    assert (story.status, hook.status) == ("ROLLBACK_REQUESTED", "FAILED")
    seen = story.walk()
    assert seen[-2:] == [("PRODUCTION_TRAFFIC_SHIFT", 0, 0), ("CLEAN_UP", 0, 0)]
    story.assert_back_on_blue()
    assert "ContinueServiceDeployment" in story.rollouts.current.rollback_reason


@pytest.mark.parametrize(
    ("action", "ends"), [("ROLLBACK", "ROLLBACK_SUCCESSFUL"), ("CONTINUE", "SUCCESSFUL")]
)
def test_a_hook_that_nobody_answers_takes_its_timeout_action(action: str, ends: str) -> None:
    story = Staged()
    hook = pause("POST_TEST_TRAFFIC_SHIFT", minutes=10, action=action)
    story.deploy("good/2", BLUE_GREEN | {"lifecycleHooks": [hook]})
    story.walk()
    story.wait(9.9 * MINUTE)
    assert story.rollouts.current.stages.hooks[0].status == "AWAITING_ACTION"
    story.wait(0.2 * MINUTE)
    assert story.rollouts.current.stages.hooks[0].status == "TIMED_OUT"
    story.wait(MINUTE * 10)
    assert story.status == ends


@pytest.mark.parametrize("raw", [BLUE_GREEN, CANARY, LINEAR], ids=lambda raw: raw["strategy"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_deployment_stopped_in_any_stage_goes_back_to_blue(raw: dict[str, Any], stage: str) -> None:
    story = Staged()
    story.deploy("good/2", raw)
    story.until(stage)
    story.rollouts.request_rollback(story.rollouts.current, now=story.now)
    story.walk()
    story.assert_back_on_blue()
    assert all(task.stopped_at is not None for task in story.launched[2:] if task.stopping_at is not None)


def test_blue_serves_with_all_its_tasks_all_through_the_way_back() -> None:
    story = Staged(desired_count=4)
    story.deploy("good/2", CANARY)
    story.until("PRODUCTION_TRAFFIC_SHIFT", 10.0)
    story.rollouts.request_rollback(story.rollouts.current, now=story.now)
    while not story.rollouts.current.is_over:
        assert story.running("good") == 4
        story.wait(0.1)
    story.assert_back_on_blue()


def test_green_tasks_that_keep_failing_trip_the_breaker() -> None:
    story = Staged()
    story.deploy("crash", BLUE_GREEN | BREAKER)
    story.walk()
    current = story.rollouts.current
    assert current.triggered
    assert current.rollback_reason == (
        "Service deployment rolled back because the circuit breaker threshold was exceeded."
    )
    story.assert_back_on_blue()


def test_without_a_breaker_green_is_started_again_until_the_stage_has_lasted_a_day() -> None:
    story = Staged()
    story.deploy("crash", BLUE_GREEN)
    story.wait(DAY - 60)
    assert (story.status, story.stage, story.running("good")) == ("IN_PROGRESS", "SCALE_UP", 2)
    assert story.rollouts.primary.failed_tasks > 10
    story.wait(120)
    assert "SCALE_UP" in story.rollouts.current.rollback_reason
    story.assert_back_on_blue()


def test_a_first_deployment_that_fails_has_nothing_to_go_back_to() -> None:
    simulation = Simulation()
    simulation.deploy("crash", BLUE_GREEN | BREAKER)
    simulation.wait(1000)
    current = simulation.rollouts.current
    assert (current.status, current.reason) == (
        "ROLLBACK_FAILED",
        "No rollback candidate was found to run the rollback.",
    )
    assert simulation.listed() == [("crash", "PRIMARY", "FAILED")]


def test_a_first_deployment_passes_through_the_stages_too() -> None:
    simulation = Simulation()
    simulation.deploy("good", BLUE_GREEN)
    simulation.wait(20)
    assert simulation.rollouts.current.stages.stage == "BAKE_TIME"
    simulation.wait(6 * MINUTE)
    assert simulation.rollouts.current.status == "SUCCESSFUL"
    assert simulation.listed() == [("good", "PRIMARY", "COMPLETED")]


@pytest.mark.parametrize(
    ("raw", "stage"),
    [(BLUE_GREEN, "SCALE_UP"), (CANARY, "PRODUCTION_TRAFFIC_SHIFT"), (BLUE_GREEN, "BAKE_TIME")],
)
def test_an_alarm_while_deploying_or_baking_goes_back(raw: dict[str, Any], stage: str) -> None:
    story = Staged()
    story.deploy("good/2", raw | ALARM)
    story.until(stage)
    green = story.rollouts.primary
    story.firing["errors"] = story.now
    story.wait(0)
    assert (story.status, story.rollouts.current.triggered_alarms) == ("ROLLBACK_IN_PROGRESS", ("errors",))
    assert (green.rollout_state, green.reason) == ("FAILED", "ECS deployment failed: alarm detected.")
    story.walk()
    story.assert_back_on_blue()


def test_an_alarm_that_fired_before_is_ignored() -> None:
    story = Staged()
    story.firing["latency"] = story.now - 1
    story.deploy("good/2", BLUE_GREEN | ALARM)
    story.walk()
    assert (story.status, story.rollouts.current.triggered_alarms) == ("SUCCESSFUL", ())


def test_an_alarm_without_rollback_stops_the_deployment_where_it_is() -> None:
    story = Staged()
    story.deploy("good/2", CANARY | {"alarms": ALARM["alarms"] | {"rollback": False}})
    story.until("PRODUCTION_TRAFFIC_SHIFT", 10.0)
    story.firing["errors"] = story.now
    story.wait(MINUTE)
    assert story.status == "STOPPED"
    assert story.listed() == [("good/2", "PRIMARY", "FAILED"), ("good", "ACTIVE", "COMPLETED")]
    assert (story.running("good"), story.running("good/2")) == (2, 2)


def test_a_rolling_deployment_bakes_under_its_alarms_and_goes_back() -> None:
    story = Staged()
    story.deploy("good/2", ALARM)
    story.wait(20)
    assert (story.running("good/2"), story.rollouts.primary.rollout_state) == (2, "IN_PROGRESS")
    story.firing["latency"] = story.now - 1
    story.wait(0)
    assert (story.status, story.rollouts.current.triggered_alarms) == ("ROLLBACK_IN_PROGRESS", ("latency",))
    story.wait(100)
    assert (story.status, story.listed()) == ("ROLLBACK_SUCCESSFUL", [("good", "PRIMARY", "COMPLETED")])


def test_a_rolling_deployment_whose_alarms_are_silent_completes_after_its_bake() -> None:
    story = Staged()
    story.deploy("good/2", ALARM)
    story.wait(100)
    assert (story.status, story.listed()) == ("SUCCESSFUL", [("good/2", "PRIMARY", "COMPLETED")])


@pytest.mark.parametrize("raw", [BLUE_GREEN, {}], ids=["blue/green", "rolling"])
def test_a_new_deployment_supersedes_a_staged_one(raw: dict[str, Any]) -> None:
    story = Staged()
    story.deploy("good/2", CANARY)
    story.until("PRODUCTION_TRAFFIC_SHIFT", 10.0)
    superseded = story.rollouts.current
    story.deploy("good/3", raw)
    assert superseded.status == "STOPPED"
    assert [revision.arn for revision in story.rollouts.current.sources] == ["good/2", "good"]
    if raw:
        story.wait(TIMING.pending_s)
        assert (story.stage, story.weights) == ("RECONCILE_SERVICE", (0, 0))
        story.until("PRE_SCALE_UP")
        assert (story.running("good"), story.running("good/2")) == (2, 0)
        story.walk()
    story.wait(100)
    assert (story.status, story.listed()) == ("SUCCESSFUL", [("good/3", "PRIMARY", "COMPLETED")])


def test_blue_tasks_that_die_are_replaced_and_a_new_count_is_for_both() -> None:
    story = Staged()
    story.deploy("good/2", BLUE_GREEN)
    story.until("BAKE_TIME")
    story.launched[0].stop(story.now, stop_code="UserInitiated", reason="gone")
    story.rollouts.set_desired_count(3, now=story.now)
    story.wait(3 * TIMING.task_seconds)
    assert (story.running("good"), story.running("good/2")) == (3, 3)


@given(
    st.lists(st.sampled_from(["deploy", "stop", "alarm", "answer", "scale", "wait", "long"]), max_size=12),
    st.sampled_from([BLUE_GREEN, CANARY, LINEAR]),
)
@settings(max_examples=40, deadline=None)
def test_whatever_happens_blue_or_green_serves_and_it_ends(what: list[str], raw: dict[str, Any]) -> None:
    story = Staged(desired_count=2)
    raw = raw | ALARM | BREAKER | {"lifecycleHooks": [pause("POST_SCALE_UP", minutes=5)]}
    for number, one in enumerate(what):
        current = story.rollouts.current
        if one == "deploy":
            story.deploy(f"good/{number}", raw)
        elif one == "stop" and current.status in ("PENDING", "IN_PROGRESS"):
            story.rollouts.request_rollback(current, now=story.now)
        elif one == "alarm":
            story.firing["errors"] = story.now
        elif one == "answer" and current.stages and current.status == "IN_PROGRESS":
            for hook in current.stages.waiting:
                story.rollouts.answer_hook(current, hook, "CONTINUE", now=story.now)
        elif one == "scale":
            story.rollouts.set_desired_count(1 + number % 3, now=story.now)
        story.wait({"wait": 3.0, "long": 90.0}.get(one, 0.3))
        serving = sum(d.running_count(story.now) for d in story.rollouts.deployments)
        assert serving >= 1
        weights = current.stages.weights if current.stages else (0, 0)
        assert all(0 <= weight <= 100 for weight in weights)
    story.wait(DAY)
    assert story.rollouts.current.is_over
    assert [d.status for d in story.rollouts.deployments] == ["PRIMARY"]
    assert story.rollouts.primary.running_count(story.now) == story.rollouts.desired_count


# --- what is refused

GROUP = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:targetgroup/{}/0123456789abcdef"
RULE = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener-rule/app/web/a/b/{}"
ADVANCED = {
    "alternateTargetGroupArn": GROUP.format("green"),
    "productionListenerRule": RULE.format("production"),
    "roleArn": "arn:aws:iam::111111111111:role/ecs",
}
BALANCER = {"targetGroupArn": GROUP.format("blue"), "containerName": "app", "containerPort": 80}


@pytest.mark.parametrize(
    ("raw", "balancers", "said"),
    [
        ({"strategy": "BLUE_GREEN"}, [], "bakeTimeInMinutes is required"),
        ({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1441}, [], "between 0 and 1440"),
        ({"strategy": "GREEN"}, [], "GREEN is not valid"),
        (
            {"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 0.05}},
            [],
            "canaryPercent must be between",
        ),
        ({"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 10.05}}, [], "multiple of 0.1"),
        (
            {"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 2.9}},
            [],
            "stepPercent must be between",
        ),
        (
            BLUE_GREEN | {"linearConfiguration": {"stepPercent": 10.0}},
            [],
            "only valid when the deployment strategy",
        ),
        (BLUE_GREEN, [BALANCER], "using a non-ROLLING deployment strategy"),
        (BLUE_GREEN, [BALANCER | {"advancedConfiguration": ADVANCED}, BALANCER], "Either all or none"),
        (
            BLUE_GREEN,
            [
                BALANCER
                | {"advancedConfiguration": ADVANCED | {"alternateTargetGroupArn": GROUP.format("blue")}}
            ],
            "Duplicate targetGroupArn",
        ),
        (
            BLUE_GREEN,
            [
                BALANCER
                | {
                    "advancedConfiguration": ADVANCED
                    | {"productionListenerRule": RULE.format("x").replace("-rule", "")}
                }
            ],
            "productionListenerRule has an invalid ARN format",
        ),
        (
            BLUE_GREEN,
            [
                BALANCER
                | {"advancedConfiguration": ADVANCED | {"testListenerRule": RULE.format("production")}}
            ],
            "cannot be used as both production and test",
        ),
        (
            BLUE_GREEN | {"lifecycleHooks": [pause("TEST_TRAFFIC_SHIFT")]},
            [],
            "PAUSE hooks cannot be configured at the TEST",
        ),
        (
            BLUE_GREEN | {"lifecycleHooks": [{"lifecycleStages": ["PRE_SCALE_UP"], "hookTargetArn": "arn"}]},
            [],
            "runs no Lambda functions",
        ),
        (BLUE_GREEN | {"lifecycleHooks": [pause()]}, [], "lifecycleStages must be provided"),
        (BLUE_GREEN | {"lifecycleHooks": [pause("PRE_SCALE_UP", minutes=20161)]}, [], "timeoutInMinutes"),
        (
            {"strategy": "ROLLING", "lifecycleHooks": [pause("PRE_SCALE_UP")]},
            [],
            "lifecycleHooks are not valid",
        ),
    ],
)
def test_an_invalid_configuration_is_refused(
    raw: dict[str, Any], balancers: list[dict[str, Any]], said: str
) -> None:
    assert said in strategies.problem(raw, balancers)


@pytest.mark.parametrize(
    "raw", [{}, {"strategy": "ROLLING"}, BLUE_GREEN, CANARY, LINEAR, {"strategy": "CANARY"}]
)
def test_a_valid_configuration_is_not(raw: dict[str, Any]) -> None:
    advanced = ADVANCED | {"testListenerRule": RULE.format("test")}
    assert strategies.problem(raw, [BALANCER | {"advancedConfiguration": advanced}]) == ""


def test_a_revision_has_the_number_of_its_deployment() -> None:
    simulation = Simulation()
    revision = Revision(
        "arn:aws:ecs:eu-central-1:111111111111:service-revision/main/web/4711", "app:1", simulation.now
    )
    simulation.rollouts.deploy(revision, now=simulation.now, configuration=Configuration(), raw={})
    assert simulation.rollouts.primary.deployment_id == "ecs-svc/4711"
