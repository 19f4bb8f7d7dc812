"""Follows ECS service deployments, many side by side, to their ends; verdict.py says how each ended, launch.py starts them.

What is followed is the deployment that orch started, found by its deployment id and its service deployment ARN. Most looks
are one DescribeServiceDeployments for all; the services themselves are looked at when something happened, or now and then for
their events. Any read may be late or fail; what was read of a look counts all the same. A task that failed is diagnosed at
once; when its cause cannot pass, the deployment is rolled back then, and not when ECS has tried often enough. No local time of
day is compared with any of AWS's.

AWS's documentation is at odds whether a circuit breaker watches over a staged rollout (blue/green, linear, canary): that of
DeploymentCircuitBreaker says no, developerguide/deployment-failure-detection and Terraform's tests of blue/green say yes. So its own
run rolls it back when it takes too long. What ECS waits for as it was told to, bake times and pauses, does not count. A pause is told, and ended by somebody else or by its own timeout.
Touches: ecs:StopServiceDeployment, and the reads of services.py.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.aws import translated
from orchestrator.ecs import followed, identify, progress, services, verdict
from orchestrator.ecs.followed import Followed, Terms
from orchestrator.ecs.pace import Pace
from orchestrator.errors import AwsError
from orchestrator.events import TaskFailed, Warned
from orchestrator.model import Rollout, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_ecs import ECSClient

    from orchestrator.ecs.followed import Judge
    from orchestrator.ecs.launch import Started
    from orchestrator.events import Emit

_LOOKS_A_FAILURE = 4
JITTER = (1.0, 1.05)
"""Each wait between two looks is multiplied by a factor of this range, so that many runs do not look in step."""
# How long ECS may answer nothing at all before nobody can say how the rollout goes.
_BLIND_S = 300.0
_WARN_EVERY_S = 60.0
# For so long has to last what one read of an eventually consistent service says.
_DOUBT_S = 10.0
# How long the way back of a staged rollout is waited for that took too long: the old tasks run, and traffic alone has to shift.
_WAY_BACK_S = 600.0


@dataclass(frozen=True)
class Clock:
    """Time and chance, so that tests need neither: `now` is monotonic seconds, `jitter` a factor of each wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = lambda: random.uniform(*JITTER)  # noqa: S311 - spreads polls, guards nothing


def follow(
    ecs: ECSClient, started: Started, emit: Emit, terms: Terms, *, clock: Clock | None = None
) -> Rollout:
    """Follows one rollout to its end, and says how it ended: UNKNOWN when ECS does not answer any more."""
    watch = Watch(ecs, emit, clock=clock)
    watch.add(started, terms)
    (ended,) = watch.wait()
    return ended


class Watch:
    """Rollouts that are followed together, by one thread: `add` them, and `wait` until one or more have ended."""

    def __init__(
        self, ecs: ECSClient, emit: Emit, *, clock: Clock | None = None, judge: Judge | None = None
    ) -> None:
        self._ecs = ecs
        self._emit = emit
        self._clock = clock or Clock()
        self._judge_stages = judge
        self._followed: list[Followed] = []
        self._pace = Pace(self._clock.now())
        self._is_answered = True
        self._has_looked = False
        self._answered_at = self._clock.now()
        self._warned_at = float("-inf")

    def add(self, started: Started, terms: Terms) -> None:
        """Follows one more, from now on."""
        now = self._clock.now()
        one = Followed(
            started,
            terms,
            now + terms.timeout_s,
            added_at=now,
            looked_at=now,
            find_at=now,
            state=started.state,
            memory=verdict.Memory(started.earlier, started.seen_events),
            has_api=started.known_arns is not None,
            seen_events=set(started.seen_events),
            is_stale=started.state is None,
        )
        self._followed.append(one)
        self._pace.begin(now, followed=len(self._followed))
        if len(self._followed) == 1:
            self._answered_at = now

    @property
    def is_idle(self) -> bool:
        """Whether nothing is followed any more."""
        return not self._followed

    def wait(self) -> tuple[Rollout, ...]:
        """Looks until at least one rollout ended, and returns those that did. Between two looks it pauses, across calls too: many
        services that end one after the other must not be looked at without a rest.
        """
        while self._followed:
            if self._has_looked:
                self._clock.sleep(self._pause_s())
            self._has_looked = True
            if ended := self._look():
                return ended
        return ()

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
            one.wait_for_others(self._clock.now())
            for event in progress.news(one):
                self._emit(event)
            if trouble is None:
                self._diagnose(one)
        if trouble is None:
            self._ask_judge()
        self._is_answered = trouble is None
        if self._is_answered:
            self._pace.answered()
        done = self._end({one: self._verdict(one, is_blind=trouble is not None) for one in self._followed})
        return done if trouble is None else done + self._blinded(trouble)

    def _end(self, said: dict[Followed, tuple[Verdict, str] | None]) -> tuple[Rollout, ...]:
        """Takes those out of the watch of which something is said."""
        self._followed = [one for one in self._followed if said.get(one) is None]
        self._pace.followed = len(self._followed)
        return tuple(followed.rollout(one, found) for one, found in said.items() if found is not None)

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
        self._read_deployments([one for one in spared if followed.has_turned(one)])

    def _calls(self) -> None:
        self._pace.called(self._clock.now())

    def _find(self, one: Followed) -> None:
        """Looks for our service deployment, less often the longer it is not listed."""
        arn = identify.find(self._ecs, one.started, one.state, self._calls)
        self._answered_at = now = self._clock.now()
        one.has_api, one.arn = arn is not None, arn or ""
        one.find_at = now + max((now - one.added_at) / 2, 1.0)

    def _read_deployments(self, those: list[Followed]) -> None:
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

    def _read_services(self, those: list[Followed]) -> None:
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
                if one.lacks_tasks:
                    one.looks_left = max(one.looks_left, 1)
                memory = verdict.remember(one.memory, deployment_id, state)
                if verdict.is_older_than_ours(memory, deployment_id, state):
                    one.is_stale = True
                    continue
                if followed.has_moved(one, state):
                    self._pace.news(now)
                one.state, one.memory = state, memory

    def _verdict(self, one: Followed, *, is_blind: bool) -> tuple[Verdict, str] | None:
        """What is to be said now, with the cause, which a rollout may end without when its last task was slow to be shown."""
        said = self._judge(one, is_blind=is_blind)
        if said is None or said[0] not in {Verdict.ROLLED_BACK, Verdict.FAILED} or one.failures:
            return said
        one.looks_left = 1
        self._diagnose(one)
        return self._judge(one, is_blind=is_blind) if one.failures else said

    def _judge(self, one: Followed, *, is_blind: bool) -> tuple[Verdict, str] | None:
        """What is to be said now. A look that failed (`is_blind`) can end nothing but what ECS has said is over."""
        now = self._clock.now()
        said = verdict.judge(one.started.deployment_id, one.state, one.ours, one.memory)
        if not one.started.has_fallback and self._is_hopeless(one, said):
            return (
                Verdict.FAILED,
                f"{followed.why(one)}; it is the first rollout of this service: there is nothing to go back to",
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
            return followed.attributed(one, said)
        return self._overdue(one) if now >= one.deadline and not is_blind else None

    def _overdue(self, one: Followed) -> tuple[Verdict, str] | None:
        """TIMED_OUT, at once or once a staged rollout is rolled back."""
        said = f"not finished after {one.terms.timeout_s:g} s"
        if one.bakes_s:
            said += f" and {one.bakes_s:g} s of bake time"
        goes_on = "the deployment goes on in ECS: `orch watch` follows it"
        if one.stopped_for:
            return (
                Verdict.TIMED_OUT,
                f"{said}; ECS was asked to roll it back, and has not yet done so: {goes_on}",
            )
        if not (one.terms.is_ours and one.strategy.is_staged and one.started.has_fallback):
            return Verdict.TIMED_OUT, f"{said}; {goes_on}"
        if not self._stop(one, said):
            return Verdict.TIMED_OUT, f"{said}, and could not be rolled back; {goes_on}"
        one.is_late, one.deadline = True, self._clock.now() + _WAY_BACK_S
        self._emit(
            Warned(
                f"{one.started.service}: {said}; orch asked ECS to roll back now",
                f"nothing else may end a {one.strategy.type} rollout; timeout_s in [rollout] of orch.toml gives it longer",
            )
        )
        self._pace.begin(self._clock.now(), followed=len(self._followed))
        return None

    def _has_lasted(self, one: Followed, said: Verdict) -> bool:
        """Whether several looks at the service have said the same, so that it is no late read."""
        now = self._clock.now()
        if one.doubt is not said:
            one.doubt, one.doubted_at = said, now
            self._pace.news(now)
        one.is_stale = True
        return now - one.doubted_at >= _DOUBT_S or now >= one.deadline

    def _is_hopeless(self, one: Followed, said: tuple[Verdict, str] | None) -> bool:
        """Whether a first rollout has failed, though ECS would go on to roll back to a revision that never ran."""
        if said is not None and (said[0] is not Verdict.FAILED or one.state is None):
            return False
        hopeless = verdict.ROLLING_BACK | {"ROLLBACK_FAILED"}
        is_over = one.ours is not None and (one.ours.status in hopeless or one.ours.is_triggered)
        is_decided = one.terms.fail_fast and followed.decisive(one.failures) is not None
        return bool(one.memory.failure) or is_over or is_decided

    # --- what orch does about it

    def _ask_judge(self) -> None:
        """Rolls back what the judge finds bad, where there is something to go back to."""
        stages = {one.started.service: one.stage for one in self._followed if not one.stopped_for}
        going = {service: stage for service, stage in stages.items() if stage is not None}
        if self._judge_stages is None or not going:
            return
        try:
            found = self._judge_stages(going)
        except AwsError as error:
            self._emit(Warned(f"the rollout could not be judged: {error.message}", error.hint))
            return
        for one in self._followed:
            reason = found.get(one.started.service, "")
            if reason and one.started.has_fallback and self._stop(one, reason):
                self._emit(Warned(f"{one.started.service}: {reason}; orch asked ECS to roll back now"))

    def _diagnose(self, one: Followed) -> None:
        count = one.progress.failed if one.progress else 0
        # ECS was faster.
        is_decided = one.ours is not None and one.ours.status in verdict.TERMINAL | verdict.ROLLING_BACK
        if count > one.failure_count:
            # ECS may count a failure before the task has its last word.
            one.looks_left = _LOOKS_A_FAILURE
        # `failedTasks` counts failures in a row: a task that ran sets it back.
        one.failure_count = count
        if one.terms.diagnose is None or not one.looks_left:
            return
        try:
            found = one.terms.diagnose()
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
        cause = followed.decisive(one.failures)
        if not (cause and one.terms.fail_fast and one.started.has_fallback) or is_decided or one.stopped_for:
            return
        if self._stop(one, cause):
            self._emit(
                Warned(
                    f"{one.started.service}: {cause}; orch asked ECS to roll back now",
                    "fail_fast = false in [rollout] of orch.toml waits for the circuit breaker"
                    + (", or for timeout_s" if one.strategy.is_staged else ""),
                )
            )

    def _stop(self, one: Followed, reason: str) -> bool:
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
