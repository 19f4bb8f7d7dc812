"""Starts ECS service deployments and follows them, many side by side, to their ends; verdict.py says how each ended.

What is followed is the deployment that orch started, found by its deployment id and its service deployment ARN. Most looks
are one DescribeServiceDeployments for all; the services themselves are looked at when something happened, or now and then for
their events. Any read may be late or fail; what was read of a look counts all the same. A task that failed is diagnosed at
once; when its cause cannot pass, the deployment is rolled back then, and not when ECS has tried often enough. No local time of
day is compared with any of AWS's.
Touches: ecs:UpdateService, ecs:StopServiceDeployment, and the reads of services.py.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated
from orchestrator.ecs import identify, services, verdict
from orchestrator.ecs.pace import Pace
from orchestrator.errors import AwsError, PreconditionError
from orchestrator.events import RolloutProgress, ServiceEvent, TaskFailed, Warned
from orchestrator.model import Rollout, TaskFailure, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mypy_boto3_ecs import ECSClient

    from orchestrator.ecs.services import ServiceDeployment, ServiceState
    from orchestrator.events import Emit

    Diagnose = Callable[[], tuple[TaskFailure, ...]]
    # From an event's message and time: the failure it tells of when no task could be placed at all.
    Unplaced = Callable[[str, str], TaskFailure | None]

_EVENTS_EVERY_S = 30.0
_LOOKS_A_FAILURE = 4
JITTER = (1.0, 1.05)
"""Each wait between two looks is multiplied by a factor of this range, so that many runs do not look in step."""
# How long ECS may answer nothing at all before nobody can say how the rollout goes.
_BLIND_S = 300.0
_WARN_EVERY_S = 60.0
# For so long has to last what one read of an eventually consistent service says.
_DOUBT_S = 10.0


@dataclass(frozen=True)
class Started:
    """What to follow: our deployment id, the revision it rolls out, and how to find its service deployment.

    `known_arns` are those that were there before ours, None where the API is missing. `has_fallback` says whether the service
    ran something before that it could go back to. `earlier` are the ids of deployments older than ours, `state` is the service
    when it was started.
    """

    cluster: str
    service: str
    deployment_id: str
    task_definition: str
    known_arns: frozenset[str] | None
    seen_events: frozenset[str]
    created_at: datetime | None = None
    has_fallback: bool = True
    earlier: frozenset[str] = frozenset()
    state: ServiceState | None = None


@dataclass(frozen=True)
class Clock:
    """Time and chance, so that tests need neither: `now` is monotonic seconds, `jitter` a factor of each wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = lambda: random.uniform(*JITTER)  # noqa: S311 - spreads polls, guards nothing


def start(
    ecs: ECSClient,
    before: ServiceState,
    *,
    cluster: str,
    service: str,
    task_definition: str,
    desired_count: int | None,
    force: bool = False,
    has_fallback: bool = True,
) -> Started:
    """UpdateService to that revision (full ARN), in the same call to that desired count, and the id of our deployment.

    `before` is the service just before; `force` starts a new deployment although the definition is the same.
    """
    listed = services.list_deployments(ecs, cluster, service)
    known = None if listed is None else frozenset(brief.arn for brief in listed)
    request: dict[str, Any] = {"cluster": cluster, "service": service, "taskDefinition": task_definition}
    if desired_count is not None:
        request["desiredCount"] = desired_count
    if force:
        request["forceNewDeployment"] = True
    with translated("ecs:UpdateService"):
        answer = ecs.update_service(**request)
    state = services.state_of(answer["service"])
    primary = state.primary
    if primary is None or primary.task_definition != task_definition:
        raise AwsError(
            f"ecs:UpdateService of {service} answered without a PRIMARY deployment of {task_definition}",
            code="NoPrimaryDeployment",
            hint="`orch status` shows what the service does now",
        )
    seen = frozenset(event[0] for event in before.events)
    return Started(
        cluster,
        service,
        primary.id,
        task_definition,
        known,
        seen,
        primary.created_at,
        has_fallback,
        frozenset(item.id for item in (*before.deployments, *state.deployments)) - {primary.id},
        state,
    )


def attach(before: ServiceState, *, cluster: str, service: str, has_fallback: bool = True) -> Started:
    """The deployment under way, started by an earlier run: what to follow after a crash or a lost connection."""
    primary = before.primary
    if primary is None:
        raise PreconditionError(f"service {service} in cluster {cluster} has no deployment to follow")
    seen = frozenset(event[0] for event in before.events)
    return Started(
        cluster,
        service,
        primary.id,
        primary.task_definition,
        frozenset(),
        seen,
        primary.created_at,
        has_fallback,
        frozenset(item.id for item in before.deployments) - {primary.id},
        before,
    )


def follow(
    ecs: ECSClient,
    started: Started,
    emit: Emit,
    *,
    timeout_s: float,
    clock: Clock | None = None,
    diagnose: Diagnose | None = None,
    fail_fast: bool = True,
) -> Rollout:
    """Follows one rollout to its end, and says how it ended: UNKNOWN when ECS does not answer any more."""
    watch = Watch(ecs, emit, clock=clock)
    watch.add(started, timeout_s=timeout_s, diagnose=diagnose, fail_fast=fail_fast)
    (ended,) = watch.wait()
    return ended


@dataclass(eq=False)
class _Followed:
    """What is known of one rollout under way."""

    started: Started
    timeout_s: float
    deadline: float
    diagnose: Diagnose | None
    unplaced: Unplaced | None
    fail_fast: bool
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

    def is_due(self, now: float) -> bool:
        """Whether the service itself is to be looked at, and not only its service deployment."""
        return self.ours is None or self.is_stale or self.wants_events(now)

    def wants_events(self, now: float) -> bool:
        return now - self.looked_at >= _EVENTS_EVERY_S


class Watch:
    """Rollouts that are followed together, by one thread: `add` them, and `wait` until one or more have ended."""

    def __init__(self, ecs: ECSClient, emit: Emit, *, clock: Clock | None = None) -> None:
        self._ecs = ecs
        self._emit = emit
        self._clock = clock or Clock()
        self._followed: list[_Followed] = []
        self._pace = Pace(self._clock.now())
        self._is_answered = True
        self._answered_at = self._clock.now()
        self._warned_at = float("-inf")

    def add(
        self,
        started: Started,
        *,
        timeout_s: float,
        diagnose: Diagnose | None = None,
        unplaced: Unplaced | None = None,
        fail_fast: bool = True,
    ) -> None:
        """Follows one more, from now on for so long at most."""
        now = self._clock.now()
        one = _Followed(
            started,
            timeout_s,
            now + timeout_s,
            diagnose,
            unplaced,
            fail_fast,
            added_at=now,
            looked_at=now,
            find_at=now,
            state=started.state,
            memory=verdict.Memory(started.earlier, started.seen_events),
            has_api=started.known_arns is not None,
        )
        one.seen_events = set(started.seen_events)
        one.is_stale = started.state is None
        self._followed.append(one)
        self._pace.begin(now, followed=len(self._followed))
        if len(self._followed) == 1:
            self._answered_at = now

    @property
    def is_idle(self) -> bool:
        """Whether nothing is followed any more."""
        return not self._followed

    def wait(self) -> tuple[Rollout, ...]:
        """Looks until at least one rollout ended, and returns those that did."""
        while True:
            ended = self._look()
            if ended or not self._followed:
                return ended
            self._clock.sleep(self._pause_s())

    def cancel(self, reason: str) -> tuple[str, ...]:
        """Asks ECS to roll everything back that is under way, and returns the services for which it could be asked."""
        asked = []
        for one in self._followed:
            if not one.started.has_fallback:
                continue
            is_rolling_back = one.ours is not None and one.ours.status in verdict.ROLLING_BACK
            if one.stopped_for or is_rolling_back:
                # It is rolled back already, for a reason of its own.
                asked.append(one.started.service)
            elif self._stop(one, reason):
                one.is_cancelled = True
                asked.append(one.started.service)
        self._pace.begin(self._clock.now(), followed=len(self._followed))
        return tuple(asked)

    # --- one look

    def _look(self) -> tuple[Rollout, ...]:
        trouble = None
        try:
            self._read()
        except AwsError as error:
            trouble = error
        for one in self._followed:
            self._report(one)
            if trouble is None:
                self._diagnose(one)
        self._is_answered = trouble is None
        if self._is_answered:
            self._pace.answered()
        done = self._end({one: self._verdict(one, is_blind=trouble is not None) for one in self._followed})
        return done if trouble is None else done + self._blinded(trouble)

    def _end(self, said: dict[_Followed, tuple[Verdict, str] | None]) -> tuple[Rollout, ...]:
        """Takes those out of the watch of which something is said."""
        self._followed = [one for one in self._followed if said.get(one) is None]
        self._pace.followed = len(self._followed)
        return tuple(_rollout(one, found) for one, found in said.items() if found is not None)

    def _read(self) -> None:
        """Asks ECS for what may have changed; of a read that fails, the parts before stay."""
        now = self._clock.now()
        for one in self._followed:
            if one.has_api and not one.arn and now >= one.find_at:
                self._find(one)
        # Who is asked for its events alone is not asked twice in the same look, unless they tell that it has turned.
        spared = [
            one
            for one in self._followed
            if self._is_answered and one.ours is not None and not one.is_stale and one.wants_events(now)
        ]
        self._read_deployments([one for one in self._followed if one not in spared])
        self._read_services([one for one in self._followed if one.is_due(now)])
        self._read_deployments([one for one in spared if _has_turned(one)])

    def _calls(self) -> None:
        self._pace.called(self._clock.now())

    def _find(self, one: _Followed) -> None:
        """Looks for our service deployment, less often the longer it is not listed."""
        arn = identify.find(self._ecs, one.started, one.state, self._calls)
        self._answered_at = now = self._clock.now()
        one.has_api, one.arn = arn is not None, arn or ""
        one.find_at = now + max((now - one.added_at) / 2, 1.0)

    def _read_deployments(self, those: list[_Followed]) -> None:
        wanted = [one for one in those if one.arn]
        if not wanted:
            return
        self._calls()
        try:
            found = services.describe_deployments(self._ecs, [one.arn for one in wanted])
        except AwsError as error:
            if not services.means_no_api(error):
                raise
            for one in wanted:
                one.has_api, one.arn, one.ours = False, "", None
            return
        self._answered_at = now = self._clock.now()
        for one in wanted:
            known, one.ours = one.ours, found.get(one.arn)
            if known != one.ours:
                self._pace.news(now)
            is_quiet = one.ours is not None and one.ours.status in {"PENDING", "IN_PROGRESS"}
            is_failing = one.ours is not None and one.ours.failure_count != (
                known.failure_count if known else 0
            )
            if (known != one.ours and not is_quiet) or is_failing:
                one.is_stale = True

    def _read_services(self, those: list[_Followed]) -> None:
        now = self._clock.now()
        for cluster in sorted({one.started.cluster for one in those}):
            here = [one for one in those if one.started.cluster == cluster]
            for one in here:
                one.looked_at = now
            self._calls()
            found = services.describe_many(self._ecs, cluster, [one.started.service for one in here])
            self._answered_at = now
            for one in here:
                state, deployment_id = found.get(one.started.service), one.started.deployment_id
                one.is_stale = False
                memory = verdict.remember(one.memory, deployment_id, state)
                if verdict.is_older_than_ours(memory, deployment_id, state):
                    one.is_stale = True
                    continue
                if _moved(one, state):
                    self._pace.news(now)
                one.state, one.memory = state, memory

    def _verdict(self, one: _Followed, *, is_blind: bool) -> tuple[Verdict, str] | None:
        """What is to be said now, with the cause, which a rollout may end without when its last task was slow to be shown."""
        said = self._judge(one, is_blind=is_blind)
        if said is None or said[0] not in {Verdict.ROLLED_BACK, Verdict.FAILED} or one.failures:
            return said
        one.looks_left = 1
        self._diagnose(one)
        return self._judge(one, is_blind=is_blind) if one.failures else said

    def _judge(self, one: _Followed, *, is_blind: bool) -> tuple[Verdict, str] | None:
        """What is to be said now. A look that failed (`is_blind`) can end nothing but what ECS has said is over."""
        now = self._clock.now()
        said = verdict.judge(one.started.deployment_id, one.state, one.ours, one.memory)
        if not one.started.has_fallback and self._is_hopeless(one, said):
            return (
                Verdict.FAILED,
                f"{_why(one)}; it is the first rollout of this service: there is nothing to go back to",
            )
        # What is not listed yet may be so in a moment, and then it tells.
        is_unlisted = (
            one.has_api and one.ours is None and said is not None and said[0] is not Verdict.SUCCEEDED
        )
        if said is None or not (is_unlisted or verdict.is_doubtful(said, one.state, one.ours)):
            one.doubt = None
        elif is_blind or not self._has_lasted(one, said[0]):
            return None
        if said is not None:
            return _attributed(one, said)
        if now >= one.deadline and not is_blind:
            return (
                Verdict.TIMED_OUT,
                f"not finished after {one.timeout_s:g} s; the deployment goes on in ECS: `orch watch` follows it",
            )
        return None

    def _has_lasted(self, one: _Followed, said: Verdict) -> bool:
        """Whether several looks at the service have said the same, so that it is no late read."""
        now = self._clock.now()
        if one.doubt is not said:
            one.doubt, one.doubted_at = said, now
            self._pace.news(now)
        one.is_stale = True
        return now - one.doubted_at >= _DOUBT_S or now >= one.deadline

    def _is_hopeless(self, one: _Followed, said: tuple[Verdict, str] | None) -> bool:
        """Whether a first rollout has failed, though ECS would go on to roll back to a revision that never ran."""
        if said is not None and (said[0] is not Verdict.FAILED or one.state is None):
            return False
        hopeless = verdict.ROLLING_BACK | {"ROLLBACK_FAILED"}
        is_over = one.ours is not None and (one.ours.status in hopeless or one.ours.is_triggered)
        is_decided = one.fail_fast and _decisive(one.failures) is not None
        return bool(one.memory.failure) or is_over or is_decided

    # --- what is told

    def _report(self, one: _Followed) -> None:
        if one.state is None:
            return
        for event_id, at, message in one.state.events:
            if event_id not in one.seen_events:
                one.seen_events.add(event_id)
                self._emit(ServiceEvent(one.started.service, at, message))
                failure = one.unplaced(message, at) if one.unplaced else None
                # It is no reason to give up: what was full may have room a minute later.
                if failure is not None and failure.signature not in one.told:
                    one.told.add(failure.signature)
                    self._emit(TaskFailed(failure))
        progress = _progress(one, one.state)
        if progress != one.progress:
            one.progress = progress
            self._emit(progress)

    def _diagnose(self, one: _Followed) -> None:
        count = one.progress.failed if one.progress else 0
        # ECS was faster.
        is_decided = one.ours is not None and one.ours.status in verdict.TERMINAL | verdict.ROLLING_BACK
        if count > one.failure_count:
            # ECS may count a failure before the task has its last word.
            one.looks_left = _LOOKS_A_FAILURE
        # `failedTasks` counts failures in a row: a task that ran sets it back.
        one.failure_count = count
        if one.diagnose is None or not one.looks_left:
            return
        try:
            found = one.diagnose()
        except AwsError as error:
            # How the rollout ends does not hang on whether anybody can say why.
            self._emit(
                Warned(f"why tasks of {one.started.service} fail cannot be read: {error.message}", error.hint)
            )
            found = ()
        one.looks_left = 0 if found else one.looks_left - 1
        one.failures += found
        for failure in found:
            self._emit(TaskFailed(failure))
        cause = _decisive(one.failures)
        if not (cause and one.fail_fast and one.started.has_fallback) or is_decided or one.stopped_for:
            return
        if self._stop(one, cause):
            self._emit(
                Warned(
                    f"{one.started.service}: {cause}; orch asked ECS to roll back now",
                    "fail_fast = false in [rollout] of orch.toml waits for the circuit breaker",
                )
            )

    def _stop(self, one: _Followed, reason: str) -> bool:
        """Asks for the rollback of one deployment, once. False when there is no API for it, or it has ended."""
        if one.stopped_for or one.is_unstoppable:
            return bool(one.stopped_for)
        try:
            if not one.arn and one.has_api:
                self._find(one)
            if not one.arn:
                return False
            self._calls()
            # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html
            with translated("ecs:StopServiceDeployment"):
                self._ecs.stop_service_deployment(serviceDeploymentArn=one.arn, stopType="ROLLBACK")
        except AwsError as error:
            one.is_unstoppable = not error.is_transient
            if error.code not in {"ConflictException", "ServiceDeploymentNotFoundException"}:
                self._emit(
                    Warned(f"{one.started.service} could not be rolled back: {error.message}", error.hint)
                )
            return False
        one.stopped_for, one.is_stale = reason, True
        return True

    # --- trouble with the API

    def _blinded(self, error: AwsError) -> tuple[Rollout, ...]:
        """What to do when ECS does not answer: look again later, unless it is of no use or has lasted too long."""
        now = self._clock.now()
        if error.is_throttling:
            self._pace.throttled()
        if self._followed and now - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = now
            self._emit(Warned(f"ECS cannot be asked at the moment: {error.message}", error.hint))
        is_over = not error.is_transient or now - self._answered_at >= _BLIND_S
        reason = f"the rollout goes on in ECS, but could not be followed: {error.message}"
        lost = [one for one in self._followed if is_over or now >= one.deadline]
        return self._end(dict.fromkeys(lost, (Verdict.UNKNOWN, reason)))

    def _pause_s(self) -> float:
        now = self._clock.now()
        left = min(one.deadline for one in self._followed) - now
        return min(self._pace.pause_s(now, self._clock.jitter()), max(left, 0.1))


def _moved(one: _Followed, state: ServiceState | None) -> bool:
    if state is None or one.state is None:
        return state is not one.state
    ours = one.started.deployment_id
    return state.deployment(ours) != one.state.deployment(ours) or state.primary != one.state.primary


def _has_turned(one: _Followed) -> bool:
    """Whether the service shows that our deployment is not simply going on."""
    ours = one.state.deployment(one.started.deployment_id) if one.state else None
    return ours is None or ours.status != "PRIMARY" or ours.rollout_state != "IN_PROGRESS"


def _progress(one: _Followed, state: ServiceState) -> RolloutProgress:
    started, ours, deployment = one.started, one.ours, state.deployment(one.started.deployment_id)
    counts = (0, 0, state.desired)
    if ours is not None:
        counts = (ours.running, ours.pending, ours.desired)
    elif deployment is not None:
        counts = (deployment.running, deployment.pending, deployment.desired)
    return RolloutProgress(
        service=started.service,
        deployment_id=started.deployment_id,
        state=ours.status if ours else deployment.rollout_state if deployment else "GONE",
        running=counts[0],
        pending=counts[1],
        desired=counts[2],
        failed=ours.failure_count if ours else deployment.failed if deployment else 0,
        failure_threshold=ours.threshold if ours else 0,
    )


def _decisive(failures: list[TaskFailure]) -> str | None:
    """Why waiting is of no use: a cause that cannot pass, or the same failure twice."""
    seen: set[str] = set()
    for failure in failures:
        if failure.cause is not None and failure.cause.is_permanent:
            return failure.cause.title
        if failure.signature in seen:
            title = failure.cause.title if failure.cause else failure.stopped_reason
            return f"{title}, twice in the same way"
        seen.add(failure.signature)
    return None


def _why(one: _Followed) -> str:
    if reason := _decisive(one.failures):
        return reason
    said = (one.ours.rollback_reason or one.ours.status_reason) if one.ours else ""
    return one.memory.failure or said or "its tasks failed"


def _attributed(one: _Followed, said: tuple[Verdict, str]) -> tuple[Verdict, str]:
    """The verdict with what orch itself had to do with it."""
    decided, reason = said
    if decided is Verdict.ROLLED_BACK and one.is_cancelled:
        return Verdict.CANCELLED, f"{one.stopped_for}; rolled back"
    if decided is Verdict.ROLLED_BACK and one.stopped_for:
        return decided, one.stopped_for
    if decided in {Verdict.ROLLED_BACK, Verdict.FAILED} and one.failures and _decisive(one.failures):
        return decided, f"{reason}: {_decisive(one.failures)}" if reason else str(_decisive(one.failures))
    return decided, reason


def _rollout(one: _Followed, said: tuple[Verdict, str]) -> Rollout:
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
    )
