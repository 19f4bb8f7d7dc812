"""One rollout under way, as a watch (rollout.py) knows it: what ECS last said of it, what was told, and what orch did to it. Pure.

Also what follows from that without another look: whether waiting is of use, and the verdict with what orch itself had to do with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.ecs.strategy import ROLLING, Strategy
from orchestrator.model import Rollout, TaskFailure, Verdict

if TYPE_CHECKING:
    from orchestrator.ecs import verdict
    from orchestrator.ecs.launch import Started
    from orchestrator.ecs.services import ServiceDeployment, ServiceState
    from orchestrator.events import RolloutProgress

Diagnose = Callable[[], tuple[TaskFailure, ...]]
# From an event's message and time: the failure it tells of when no task could be placed at all.
Unplaced = Callable[[str, str], TaskFailure | None]

_EVENTS_EVERY_S = 30.0
# Nothing may count the tasks that fail in a staged rollout, so that they are looked for.
_LACKING_EVERY_S = 10.0
_ONGOING = frozenset({"PENDING", "IN_PROGRESS"})


@dataclass(frozen=True)
class Stage:
    """Where a rollout is: `stage` is ECS's word, empty where it has none, and `production_percent` the part of the traffic that goes
    to the new tasks, None where ECS shifts none. `is_paused` tells that it waits for somebody: `pauses` are the ids of those hooks,
    and `arn` is the service deployment.
    """

    strategy: Strategy
    stage: str
    production_percent: float | None
    is_paused: bool
    arn: str = ""
    pauses: tuple[str, ...] = ()


# Asked at each look, for all rollouts that go on, by service: why some of them are to be rolled back. Raises AwsError.
Judge = Callable[[Mapping[str, Stage]], Mapping[str, str]]


@dataclass(frozen=True)
class Terms:
    """How one rollout is followed: for so long at most, bake times and pauses aside. `fail_fast` rolls back what cannot succeed, and
    `is_ours` a staged one that takes too long: nothing else may end it. `continue_with` is the command that ends a pause.
    """

    timeout_s: float
    diagnose: Diagnose | None = None
    unplaced: Unplaced | None = None
    fail_fast: bool = True
    is_ours: bool = False
    continue_with: str = "orch continue"


@dataclass(eq=False)
class Followed:
    """What is known of one rollout under way; times are those of the watch's clock."""

    started: Started
    terms: Terms
    deadline: float
    added_at: float
    looked_at: float
    find_at: float
    state: ServiceState | None
    memory: verdict.Memory
    has_api: bool
    arn: str = ""
    ours: ServiceDeployment | None = None
    is_stale: bool = False
    doubt: Verdict | None = None
    doubted_at: float = 0.0
    seen_events: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    progress: RolloutProgress | None = None
    failures: list[TaskFailure] = field(default_factory=list)
    failure_count: int = 0
    looks_left: int = 0
    stopped_for: str = ""
    is_unstoppable: bool = False
    is_cancelled: bool = False
    is_late: bool = False
    bakes_s: float = 0.0
    paused_at: float | None = None
    paused_stage: str = ""
    is_pause_missed: bool = False

    @property
    def strategy(self) -> Strategy:
        """That of the deployment; until ECS shows it, that of the service."""
        if self.ours is not None:
            return self.ours.strategy
        return self.state.strategy if self.state is not None else ROLLING

    @property
    def is_ongoing(self) -> bool:
        return self.ours is not None and self.ours.status in _ONGOING

    @property
    def lacks_tasks(self) -> bool:
        """Whether a staged rollout has fewer tasks than it shall have."""
        return (
            self.ours is not None and self.ours.strategy.is_staged and self.ours.running < self.ours.desired
        )

    @property
    def stage(self) -> Stage | None:
        """Where it is while it goes on; None where the API does not tell."""
        if self.ours is None or not self.is_ongoing:
            return None
        ours = self.ours
        return Stage(
            ours.strategy,
            ours.lifecycle_stage,
            ours.production_percent,
            bool(ours.paused),
            ours.arn,
            tuple(hook.id for hook in ours.paused),
        )

    def is_due(self, now: float) -> bool:
        """Whether the service itself is to be looked at, and not only its service deployment."""
        return self.ours is None or self.is_stale or self.wants_events(now)

    def wants_events(self, now: float) -> bool:
        return now - self.looked_at >= (_LACKING_EVERY_S if self.lacks_tasks else _EVENTS_EVERY_S)

    def wait_for_others(self, now: float) -> None:
        """Puts the deadline off by the time in which ECS waits as it was told to: bake times as a whole, pauses as they last."""
        self.deadline += self.strategy.bakes_s - self.bakes_s
        self.bakes_s = self.strategy.bakes_s
        if self.paused_at is not None:
            self.deadline += now - self.paused_at
        self.paused_at = None
        if self.ours is not None and self.is_ongoing and self.ours.paused:
            self.paused_at, self.paused_stage = now, self.ours.lifecycle_stage
        self.is_pause_missed = self.ours is not None and any(
            hook.kind == "PAUSE" and hook.status == "TIMED_OUT" for hook in self.ours.hooks
        )


def has_moved(one: Followed, state: ServiceState | None) -> bool:
    """Whether a new look at the service shows another deployment, or ours otherwise than before."""
    if state is None or one.state is None:
        return state is not one.state
    ours = one.started.deployment_id
    return state.deployment(ours) != one.state.deployment(ours) or state.primary != one.state.primary


def has_turned(one: Followed) -> bool:
    """Whether the service shows that our deployment is not simply going on."""
    ours = one.state.deployment(one.started.deployment_id) if one.state else None
    return ours is None or ours.status != "PRIMARY" or ours.rollout_state != "IN_PROGRESS"


def decisive(failures: list[TaskFailure]) -> str | None:
    """Why waiting is of no use: a cause that cannot pass, or the same failure of a task and of one that was tried after it. Two tasks
    that were started together may have met the same moment of bad luck.
    """
    first_stop: dict[str, str] = {}
    for failure in failures:
        if failure.cause is not None and failure.cause.is_permanent:
            return failure.cause.title
        if failure.signature not in first_stop:
            first_stop[failure.signature] = failure.stopped_at
        elif _came_after(failure.created_at, first_stop[failure.signature]):
            title = failure.cause.title if failure.cause else failure.stopped_reason
            return f"{title}, twice in the same way"
    return None


def _came_after(created_at: str, stopped_at: str) -> bool:
    """Whether a task was made once another one had stopped; where ECS tells no time, it is taken to be."""
    if not created_at or not stopped_at:
        return True
    return datetime.fromisoformat(created_at) >= datetime.fromisoformat(stopped_at)


def why(one: Followed) -> str:
    """Why it failed, in as few words as are known."""
    if reason := decisive(one.failures):
        return reason
    said = (one.ours.rollback_reason or one.ours.status_reason) if one.ours else ""
    return one.memory.failure or said or "its tasks failed"


def attributed(one: Followed, said: tuple[Verdict, str]) -> tuple[Verdict, str]:
    """The verdict with what orch itself had to do with it."""
    decided, reason = said
    if decided is Verdict.ROLLED_BACK and one.is_cancelled:
        return Verdict.CANCELLED, f"{one.stopped_for}; rolled back"
    if decided is Verdict.ROLLED_BACK and one.is_late:
        return Verdict.TIMED_OUT, f"{one.stopped_for}; rolled back"
    if decided is Verdict.ROLLED_BACK and one.stopped_for:
        return decided, one.stopped_for
    if decided is Verdict.ROLLED_BACK and one.is_pause_missed:
        missed = f"nobody answered the pause{f' at {one.paused_stage}' if one.paused_stage else ''} in time"
        return decided, f"{reason.rstrip('.')}: {missed}" if reason else missed
    if decided in {Verdict.ROLLED_BACK, Verdict.FAILED} and one.failures and decisive(one.failures):
        return decided, f"{reason}: {decisive(one.failures)}" if reason else str(decisive(one.failures))
    return decided, reason


def rollout(one: Followed, said: tuple[Verdict, str]) -> Rollout:
    """How it ended."""
    state = one.state
    return Rollout(
        service=one.started.service,
        verdict=said[0],
        reason=said[1],
        revision_arn=one.started.task_definition,
        deployment_id=one.started.deployment_id,
        running_count=state.running if state else 0,
        desired_count=state.desired if state else 0,
        failures=tuple(one.failures),
        began_at=one.started.created_at.isoformat() if one.started.created_at else "",
        strategy=str(one.strategy) if one.strategy.is_staged else "",
    )
