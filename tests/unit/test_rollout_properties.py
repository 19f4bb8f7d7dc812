"""Random interleavings of what can happen to a service and its API, replayed through the watch on a clock of its own.

A small model of ECS keeps what is really true (World.facts); whatever the order, the delays and the faults, the watch may not
say anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.ecs import rollout
from orchestrator.ecs.followed import Terms
from orchestrator.model import Rollout, TaskFailure, Verdict
from tests.conftest import IS_SOAK
from tests.unit import histories
from tests.unit.histories import (
    ALARM,
    BREAKER,
    READS,
    WEB,
    Clockwork,
    Ecs,
    Fault,
    World,
    begin,
    break_api,
    busiest_minute,
    failure,
)

UNDER_WAY = {"PENDING", "IN_PROGRESS"}
TIMEOUT_S = 300.0
CODES = ("ThrottlingException", "ServerException", "ServiceUnavailableException", "EndpointConnectionError")


def is_under_way(world: World) -> bool:
    ours = world.deployment()
    return (
        world.service_deployment().get("status") in UNDER_WAY
        and ours.get("status") == "PRIMARY"
        and ours["rolloutState"] == "IN_PROGRESS"
        and world.shown["status"] == "ACTIVE"
    )


def has_theirs(world: World) -> bool:
    """Whether somebody else's deployment is under way."""
    if world.shown["status"] != "ACTIVE":
        return False
    primary = world.primary
    return (
        primary["id"] not in {world.ours, world.before, world.rollback_id}
        and primary["rolloutState"] == "IN_PROGRESS"
    )


def fails(world: World, reason: str, delay_s: float, length_s: float, *, good: bool) -> None:
    """Ours fails, and ECS does what the service's configuration says."""
    configuration = world.shown["configuration"]
    detector = configuration.get("alarms" if reason == ALARM else "deploymentCircuitBreaker", {})
    world.fail(reason)
    if not detector.get("rollback"):
        world.stop_failed()
        return
    world.after(delay_s, lambda one: goes_back(one, one.ours, length_s, good=good))


def goes_back(world: World, deployment_id: str, length_s: float, *, good: bool) -> None:
    found = world.deployment(deployment_id)
    if found.get("status") != "PRIMARY" or world.shown["status"] != "ACTIVE":
        return
    rollback_id = world.roll_back(histories.BREAKER_TRIPPED, deployment_id)

    def end(one: World) -> None:
        if one.shown["status"] != "ACTIVE" or one.primary["id"] != rollback_id:
            return
        if good:
            one.finish_rollback()
        elif deployment_id == one.ours:
            one.fail_rollback("The rollback failed.")

    world.after(length_s, end)


@dataclass(frozen=True)
class Happens:
    """What happens, if it can happen then at all."""

    kind: str
    delay_s: float
    length_s: float
    good: bool
    number: int
    operation: str
    lag_s: float

    def __call__(self, world: World) -> None:
        getattr(self, self.kind)(world)

    def runs(self, world: World) -> None:
        if is_under_way(world):
            world.progress(self.number, 3 - self.number)

    def tasks_fail(self, world: World) -> None:
        if is_under_way(world):
            world.fail_tasks(self.number)

    def succeeds(self, world: World) -> None:
        if is_under_way(world):
            world.succeed(old_tasks_stay=self.good)

    def fails(self, world: World) -> None:
        if is_under_way(world):
            has_alarms = "alarms" in world.shown["configuration"]
            reason = ALARM if self.number == 0 and has_alarms else BREAKER
            fails(world, reason, self.delay_s, self.length_s, good=self.good)

    def somebody_deploys(self, world: World) -> None:
        if world.shown["status"] == "ACTIVE":
            world.update(f"{histories.DEFINITION}{WEB}:{self.number + 1}", force=True)

    def theirs_succeeds(self, world: World) -> None:
        if has_theirs(world):
            world.succeed(world.primary["id"], old_tasks_stay=self.good)

    def theirs_fails(self, world: World) -> None:
        if has_theirs(world):
            theirs = world.primary["id"]
            world.fail(BREAKER, theirs)
            if world.rolls_back:
                world.after(self.delay_s, lambda one: goes_back(one, theirs, self.length_s, good=True))

    def somebody_stops(self, world: World) -> None:
        if world.service_deployment().get("status") in UNDER_WAY:
            world.stop(world.service_deployment()["serviceDeploymentArn"])

    def is_stopped(self, world: World) -> None:
        if is_under_way(world):
            world.note(world.ours, "STOPPED")
            histories.is_stopped()(world)

    def is_deleted(self, world: World) -> None:
        if world.shown["status"] == "ACTIVE" and self.number == 0:
            world.note(world.ours, "DELETED")
            histories.drains()(world)
            world.after(self.length_s, histories.is_gone())

    def ours_leaves(self, world: World) -> None:
        if world.deployment().get("status") == "ACTIVE":
            histories.leaves_the_list()(world)

    def old_leaves(self, world: World) -> None:
        if world.deployment(world.before).get("status") == "ACTIVE":
            histories.old_leaves_the_list()(world)

    def scales(self, world: World) -> None:
        if world.shown["status"] == "ACTIVE":
            histories.wants(self.number)(world)

    def events(self, world: World) -> None:
        (histories.events_are_shuffled() if self.good else histories.events_come_twice())(world)

    def lags(self, world: World) -> None:
        world.lags[self.operation] = self.lag_s


KINDS = [name for name in vars(Happens) if not name.startswith("_") and callable(getattr(Happens, name))]
LIKELY = ["runs", "succeeds", "succeeds", "fails", "fails", "somebody_deploys", "theirs_fails", "lags"]


@st.composite
def happenings(draw: Any) -> tuple[float, Happens]:
    return draw(st.integers(1, 1800)) / 10, Happens(
        kind=draw(st.sampled_from([*KINDS, *LIKELY])),
        delay_s=draw(st.sampled_from([0.0, 0.1, 1.0, 6.0])),
        length_s=draw(st.sampled_from([0.0, 0.1, 3.0, 20.0, 60.0])),
        good=draw(st.booleans()),
        number=draw(st.integers(0, 3)),
        operation=draw(st.sampled_from(READS)),
        lag_s=draw(st.sampled_from([0.0, 1.0, 4.0, 8.0])),
    )


@st.composite
def faults(draw: Any) -> tuple[float, float, Fault]:
    """Some reads fail for a while, all of them or some."""
    begins = draw(st.integers(1, 1500)) / 10
    length_s = draw(st.sampled_from([1.0, 10.0, 60.0, 120.0]))
    operations = tuple(draw(st.lists(st.sampled_from(READS), min_size=1, max_size=4, unique=True)))
    one_in = draw(st.integers(1, 3))
    code = draw(st.sampled_from(CODES))
    return begins, begins + length_s, Fault(code, operations, lambda number: number % one_in == 0)


@dataclass
class Scenario:
    """`api` is there, missing, or lost after 30 s. `found_at` is when a diagnosis finds a cause that cannot pass."""

    world: dict[str, Any]
    definition: int
    has_fallback: bool
    happenings: list[tuple[float, Happens]]
    faults: list[tuple[float, float, Fault]]
    api: str
    jitter: float
    found_at: float | None
    cancelled_at: float | None


@st.composite
def scenarios(draw: Any, *, errs: bool = True) -> Scenario:
    return Scenario(
        world={
            "breaker_rolls_back": draw(st.booleans()),
            "alarms_roll_back": draw(st.sampled_from([None, True, False])),
            "numbers_match": draw(st.booleans()),
            "lag_of_ours_s": draw(st.sampled_from([0.0, 0.0, 5.0, 20.0, 1e9])),
            "skew_s": draw(st.sampled_from([0.0, -600.0, 600.0])),
            "stop_answer": draw(st.sampled_from(["", "", "ConflictException"])),
        },
        definition=draw(st.sampled_from([1, 2, 2])),
        has_fallback=draw(st.sampled_from([True, True, False])),
        happenings=draw(st.lists(happenings(), max_size=14)),
        faults=draw(st.lists(faults(), max_size=3)) if errs else [],
        api=draw(st.sampled_from(["there", "there", "missing", "lost"])),
        jitter=draw(st.sampled_from([0.85, 1.0, 1.05, 1.15])),
        found_at=draw(st.sampled_from([None, None, None, 5.0, 40.0])) if errs else None,
        cancelled_at=draw(st.sampled_from([None, None, None, 0.5, 30.0])) if errs else None,
    )


def play(scenario: Scenario) -> tuple[World, Ecs, Rollout, float]:
    """Replays a scenario: the service in the end, what was asked, the verdict, and when it was there."""
    world = World(**scenario.world)
    ecs = Ecs(world, checks_shapes=False)
    time = Clockwork(ecs, jitter=scenario.jitter)
    if scenario.api == "missing":
        break_api(ecs, Fault("UnsupportedFeatureException", READS[1:]))
    started = begin(ecs, WEB, scenario.definition, force=True, has_fallback=scenario.has_fallback)
    world.planned += scenario.happenings
    for begins, ends, fault in scenario.faults:
        # Where the API is missing, what is said of it stays so.
        operations = fault.operations if scenario.api == "there" else ("DescribeServices",)
        one = Fault(fault.code, operations, fault.picks)
        world.planned.append((begins, lambda _world, one=one: break_api(ecs, one)))
        world.planned.append((ends, lambda _world, names=operations: break_api(ecs, Fault("", names))))
    if scenario.api == "lost":
        refused = Fault("AccessDeniedException", READS[1:])
        world.planned.append((30.0, lambda _world: break_api(ecs, refused)))
    time.interrupts += [scenario.cancelled_at] if scenario.cancelled_at else []
    found = [failure(1, cause="image", permanent=True)] if scenario.found_at else []

    def diagnose() -> tuple[TaskFailure, ...]:
        return (found.pop(),) if found and time.now_s >= (scenario.found_at or 0.0) else ()

    watch = rollout.Watch(ecs, lambda _event: None, clock=time.clock())
    watch.add(started, Terms(TIMEOUT_S, diagnose=diagnose))
    while True:
        try:
            (ended,) = watch.wait()
        except KeyboardInterrupt:
            watch.cancel("cancelled")
        else:
            return world, ecs, ended, time.now_s


SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck))
NEEDED = {
    Verdict.SUCCEEDED: {"SUCCESSFUL"},
    Verdict.ROLLED_BACK: {"ROLLED_BACK"},
    Verdict.SUPERSEDED: {"SUPERSEDED"},
    Verdict.CANCELLED: {"STOPPED"},
    Verdict.FAILED: {"FAILED", "DELETED", "STOPPED"},
}


def is_beyond_telling(scenario: Scenario, world: World) -> bool:
    """Without the API and between two looks, ours failed and somebody's deployment came before ECS's rollback was done: then
    `deployments[]` shows just what it shows after a rollback.
    """
    return scenario.api != "there" and {"FAILED", "SUPERSEDED"} <= world.facts.keys()


@settings(SETTINGS, max_examples=400 if IS_SOAK else 100)
@given(scenarios())
def test_the_watch_says_nothing_that_is_not_so_and_ends_in_time(scenario):
    world, _ecs, ended, now_s = play(scenario)
    # A first rollout may be given up for a cause that cannot pass, before ECS has done so.
    is_given_up = not scenario.has_fallback and ended.failures and ended.verdict is Verdict.FAILED
    is_excused = ended.verdict is Verdict.ROLLED_BACK and is_beyond_telling(scenario, world)
    if ended.verdict in NEEDED and not is_given_up and not is_excused:
        assert world.facts.keys() & NEEDED[ended.verdict], (ended.verdict, ended.reason, world.facts)
    if ended.verdict is Verdict.UNKNOWN:
        assert scenario.faults
    if ended.verdict is Verdict.TIMED_OUT:
        assert now_s >= TIMEOUT_S
    assert now_s <= TIMEOUT_S + 0.2


@settings(SETTINGS, max_examples=200 if IS_SOAK else 50)
@given(scenarios(errs=False))
def test_what_is_over_is_said_soon_and_with_few_calls_when_nothing_errs(scenario):
    scenario.happenings = [item for item in scenario.happenings if item[1].kind != "lags"]
    world, ecs, ended, now_s = play(scenario)
    names = [name for _at, name in ecs.calls]
    watched = ecs.calls[names.index("UpdateService") + 1 :]
    assert busiest_minute(watched) <= 30
    lag_s = scenario.world["lag_of_ours_s"]
    ends = [at for fact, at in world.facts.items() if fact in {"SUCCESSFUL", "ROLLED_BACK", "SUPERSEDED"}]
    if ends and scenario.api == "there" and lag_s < 60:
        assert ended.verdict is not Verdict.TIMED_OUT
        # What only DescribeServices says has to last 10 s, and a late list is asked for ever less often.
        assert now_s <= min(ends) + 16 + lag_s
