"""A service's rollouts on a made-up clock: what the ECS documentation promises, moment by moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.sandbox.deployments import Configuration, Deployment, Revision
from orchestrator.sandbox.rollout import ServiceRollouts
from orchestrator.sandbox.tasks import TaskLife, Timing, service_fate

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMING = Timing(4.0)
LONG = 200.0
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
NO_ROLLBACK = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}


@dataclass
class Simulation:
    """A service whose revisions are named by the behaviour of their tasks, e.g. `crash/2`."""

    desired_count: int = 2
    now: float = 1000.0
    launched: list[TaskLife] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.rollouts = ServiceRollouts(
            "web",
            desired_count=self.desired_count,
            timing=TIMING,
            launch=self._launch,
            new_arn=lambda: f"deployment-{next(self.numbers)}",
        )

    def deploy(self, name: str, raw: dict[str, Any] | None = None) -> None:
        raw = BREAKER if raw is None else raw
        revision = Revision(name, name, self.now)
        self.rollouts.deploy(revision, now=self.now, configuration=Configuration.parse(raw), raw=raw)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.rollouts.advance(self.now)

    def listed(self) -> list[tuple[str, str, str]]:
        return [(d.revision.arn, d.status, d.rollout_state) for d in self.rollouts.deployments]

    def running(self, name: str) -> int:
        return sum(d.running_count(self.now) for d in self.rollouts.deployments if d.revision.arn == name)

    def messages(self) -> list[str]:
        return [event.message for event in reversed(self.rollouts.events)]

    def _launch(self, deployment: Deployment, at: float) -> TaskLife:
        behaviour = deployment.revision.arn.split("/")[0].removeprefix("good")
        task = TaskLife(f"t{next(self.numbers)}", at, service_fate(behaviour, "image", TIMING), TIMING)
        self.launched.append(task)
        return task


def steady(desired_count: int = 2, raw: dict[str, Any] | None = None) -> Simulation:
    simulation = Simulation(desired_count)
    simulation.deploy("good", raw)
    simulation.wait(LONG)
    assert simulation.listed() == [("good", "PRIMARY", "COMPLETED")]
    return simulation


@pytest.mark.parametrize(
    ("desired", "expected"), [(0, 3), (1, 3), (6, 3), (7, 4), (25, 13), (400, 200), (900, 200)]
)
def test_threshold_is_half_the_desired_count_within_3_and_200(desired: int, expected: int) -> None:
    assert Configuration().threshold(desired) == expected


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [("COUNT", 7, 7), ("UNBOUNDED_PERCENT", 10, 1), ("UNBOUNDED_PERCENT", 50, 5)],
)
def test_configured_thresholds(kind: str, value: int, expected: int) -> None:
    raw = {"deploymentCircuitBreaker": {"thresholdConfiguration": {"type": kind, "value": value}}}
    assert Configuration.parse(raw).threshold(10) == expected


def test_percentages_round_up_for_the_least_and_down_for_the_most() -> None:
    configuration = Configuration.parse({"minimumHealthyPercent": 50, "maximumPercent": 133})
    assert configuration.least_healthy(3) == 2
    assert configuration.most_tasks(3) == 3


def test_a_first_deployment_goes_from_pending_to_completed() -> None:
    simulation = Simulation()
    simulation.deploy("good")
    current = simulation.rollouts.current
    assert (current.status, current.started_at) == ("PENDING", None)
    simulation.wait(TIMING.pending_s)
    assert current.status == "IN_PROGRESS"
    assert simulation.rollouts.primary.pending_count(simulation.now) == 2
    simulation.wait(TIMING.task_seconds)
    assert simulation.running("good") == 2
    assert simulation.rollouts.primary.rollout_state == "IN_PROGRESS"
    simulation.wait(TIMING.settle_s)
    assert simulation.rollouts.primary.rollout_state == "COMPLETED"
    assert (current.status, current.finished_at) == ("SUCCESSFUL", simulation.now)
    number = simulation.rollouts.primary.deployment_id
    assert simulation.messages()[-2:] == [
        f"(service web) (deployment {number}) deployment completed.",
        "(service web) has reached a steady state.",
    ]


def test_new_tasks_come_before_old_ones_go() -> None:
    simulation = steady()
    simulation.deploy("good/2")
    simulation.wait(TIMING.pending_s + TIMING.task_seconds)
    assert (simulation.running("good"), simulation.running("good/2")) == (2, 2)
    assert simulation.listed() == [("good/2", "PRIMARY", "IN_PROGRESS"), ("good", "ACTIVE", "COMPLETED")]
    simulation.wait(LONG)
    assert simulation.listed() == [("good/2", "PRIMARY", "COMPLETED")]
    assert simulation.running("good/2") == 2


def test_with_no_room_above_one_old_task_makes_way_at_a_time() -> None:
    raw = {"minimumHealthyPercent": 50, "maximumPercent": 100}
    simulation = steady(2, raw)
    simulation.deploy("good/2", raw)
    simulation.wait(TIMING.pending_s + TIMING.stop_s)
    assert simulation.running("good") == 1
    simulation.wait(LONG)
    assert simulation.listed() == [("good/2", "PRIMARY", "COMPLETED")]


def test_a_rollout_without_any_room_never_progresses() -> None:
    raw = {"minimumHealthyPercent": 100, "maximumPercent": 133}
    simulation = steady(3, raw | BREAKER)
    simulation.deploy("good/2", raw | BREAKER)
    simulation.wait(LONG)
    assert simulation.listed() == [("good/2", "PRIMARY", "IN_PROGRESS"), ("good", "ACTIVE", "COMPLETED")]
    assert simulation.running("good/2") == 0
    assert simulation.rollouts.current.status == "IN_PROGRESS"


def test_the_breaker_opens_at_the_third_failure_and_rolls_back() -> None:
    simulation = steady(1)
    good = simulation.rollouts.primary
    simulation.deploy("crash")
    bad = simulation.rollouts.primary
    seen = []
    while simulation.rollouts.primary is bad:
        simulation.wait(0.1)
        seen.append(bad.failed_tasks)
    assert sorted(set(seen)) == [0, 1, 2, 3]
    assert (bad.rollout_state, bad.status) == ("FAILED", "ACTIVE")
    assert bad.reason == "ECS deployment circuit breaker: tasks failed to start."
    back = simulation.rollouts.primary
    assert back.number not in (good.number, bad.number)
    assert back.revision is good.revision
    assert (
        back.reason == f"ECS deployment circuit breaker: rolling back to deploymentId {good.deployment_id}."
    )
    current = simulation.rollouts.current
    assert (current.status, current.triggered, current.failure_count) == ("ROLLBACK_IN_PROGRESS", True, 3)
    simulation.wait(LONG)
    assert simulation.listed() == [("good", "PRIMARY", "COMPLETED")]
    assert current.status == "ROLLBACK_SUCCESSFUL"
    assert f"(service web) (deployment {bad.deployment_id}) deployment failed: tasks failed to start." in (
        simulation.messages()
    )
    assert simulation.running("good") == 1


def test_old_tasks_serve_all_through_a_failing_rollout() -> None:
    simulation = steady(4)
    simulation.deploy("cannot-pull")
    for _ in range(400):
        simulation.wait(0.25)
        assert simulation.running("good") >= 4
    assert simulation.rollouts.current.status == "ROLLBACK_SUCCESSFUL"


def test_without_rollback_a_failed_deployment_stays_and_starts_nothing() -> None:
    simulation = steady(2)
    simulation.deploy("crash", NO_ROLLBACK)
    simulation.wait(LONG)
    assert simulation.listed() == [("crash", "PRIMARY", "FAILED"), ("good", "ACTIVE", "COMPLETED")]
    current = simulation.rollouts.current
    assert (current.status, current.stopped_at) == ("STOPPED", current.finished_at)
    started = len(simulation.launched)
    simulation.wait(LONG)
    assert len(simulation.launched) == started
    assert simulation.running("good") == 2


def test_a_first_deployment_that_fails_has_nothing_to_roll_back_to() -> None:
    simulation = Simulation(1)
    simulation.deploy("crash")
    simulation.wait(LONG)
    assert simulation.listed() == [("crash", "PRIMARY", "FAILED")]
    assert simulation.rollouts.current.status == "ROLLBACK_FAILED"
    assert len(simulation.launched) == 3


def test_a_rollback_that_fails_too_ends_rollback_failed() -> None:
    simulation = Simulation(0)
    simulation.deploy("crash")  # completes: no task is wanted
    simulation.wait(LONG)
    assert simulation.rollouts.current.status == "SUCCESSFUL"
    simulation.deploy("oom")
    simulation.rollouts.set_desired_count(1, now=simulation.now)
    simulation.wait(LONG)
    assert simulation.rollouts.current.status == "ROLLBACK_FAILED"
    assert simulation.listed() == [("crash", "PRIMARY", "FAILED")]


def test_without_a_breaker_failing_tasks_are_tried_ever_more_rarely() -> None:
    simulation = Simulation(1)
    simulation.deploy("crash", {})
    simulation.wait(LONG)
    early = len(simulation.launched)
    simulation.wait(LONG)
    assert 3 < early < 15
    assert len(simulation.launched) - early <= 2
    assert simulation.rollouts.primary.rollout_state == "IN_PROGRESS"
    assert any("unable to consistently start tasks" in message for message in simulation.messages())


def test_a_healthy_task_resets_the_count_unless_told_otherwise() -> None:
    simulation = Simulation(1)
    simulation.deploy("flapping")
    simulation.wait(LONG)
    assert simulation.rollouts.primary.failed_tasks == 0
    assert simulation.listed() == [("flapping", "PRIMARY", "COMPLETED")]


def test_a_newer_deployment_supersedes_a_running_one() -> None:
    simulation = steady()
    simulation.deploy("slow:100")
    simulation.wait(5)
    superseded = simulation.rollouts.current
    simulation.deploy("good/3")
    assert superseded.status == "STOPPED"
    assert [status for _, status, _ in simulation.listed()] == ["PRIMARY", "ACTIVE", "ACTIVE"]
    simulation.wait(LONG)
    assert simulation.listed() == [("good/3", "PRIMARY", "COMPLETED")]
    assert simulation.rollouts.current.status == "SUCCESSFUL"


def test_a_requested_rollback_returns_to_the_last_completed_revision() -> None:
    simulation = steady()
    simulation.deploy("slow:1000")
    simulation.wait(10)
    current = simulation.rollouts.current
    simulation.rollouts.request_rollback(current, now=simulation.now)
    assert current.status == "ROLLBACK_REQUESTED"
    simulation.wait(TIMING.pending_s)
    assert current.status == "ROLLBACK_IN_PROGRESS"
    simulation.wait(LONG)
    assert current.status == "ROLLBACK_SUCCESSFUL"
    assert not current.triggered
    assert simulation.listed() == [("good", "PRIMARY", "COMPLETED")]


def test_scaling_is_not_a_deployment() -> None:
    simulation = steady(2)
    simulation.rollouts.set_desired_count(5, now=simulation.now)
    simulation.wait(LONG)
    assert simulation.running("good") == 5
    simulation.rollouts.set_desired_count(1, now=simulation.now)
    simulation.wait(LONG)
    assert simulation.running("good") == 1
    assert len(simulation.rollouts.service_deployments) == 1
    assert simulation.listed() == [("good", "PRIMARY", "COMPLETED")]


def test_draining_stops_everything() -> None:
    simulation = steady(2)
    simulation.rollouts.drain(now=simulation.now)
    assert not simulation.rollouts.is_drained()
    simulation.wait(TIMING.stop_s)
    assert simulation.rollouts.is_drained()


def test_at_most_a_hundred_events_are_kept() -> None:
    simulation = Simulation(1)
    simulation.deploy("flapping", {})
    simulation.wait(4000)
    assert len(simulation.rollouts.events) == 100


PLANS = st.lists(
    st.tuples(
        st.sampled_from(["good", "good/2", "crash", "flapping", "slow:9", "cannot-pull", "unhealthy"]),
        st.floats(0.0, 60.0),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=4,
)


def _course(plan: list[tuple[str, float, int]], step_s: float | None) -> list[object]:
    simulation = Simulation(2)
    course: list[object] = []
    for name, seconds, desired in plan:
        simulation.deploy(name)
        simulation.rollouts.set_desired_count(desired, now=simulation.now)
        target = simulation.now + seconds
        while step_s is not None and simulation.now + step_s < target:
            simulation.wait(step_s)
        simulation.wait(target - simulation.now)
        rollouts = simulation.rollouts
        course.append(
            (simulation.listed(), rollouts.current.status, len(simulation.launched), simulation.running(name))
        )
    return course


@settings(max_examples=60, deadline=None)
@given(plan=PLANS, step_s=st.floats(0.05, 7.0))
def test_how_often_anybody_looks_does_not_matter(plan: list[tuple[str, float, int]], step_s: float) -> None:
    assert _course(plan, step_s) == _course(plan, None)


@settings(max_examples=60, deadline=None)
@given(
    desired=st.integers(1, 6),
    least=st.integers(0, 100),
    most=st.integers(100, 250),
    name=st.sampled_from(["good/2", "crash", "cannot-pull", "unhealthy"]),
)
def test_a_rollout_keeps_within_its_percentages(desired: int, least: int, most: int, name: str) -> None:
    raw = BREAKER | {"minimumHealthyPercent": least, "maximumPercent": most}
    simulation = steady(desired, raw)
    simulation.deploy(name, raw)
    configuration = Configuration.parse(raw)
    for _ in range(300):
        simulation.wait(0.2)
        deployments = simulation.rollouts.deployments
        assert sum(len(d.active(simulation.now)) for d in deployments) <= configuration.most_tasks(desired)
        healthy = sum(d.healthy_count(simulation.now) for d in deployments)
        assert healthy >= configuration.least_healthy(desired)
