"""Rolls out several services of an environment: who may start when, one watch for all of them, and what a cancel does.

    take_turns    needs, verdicts so far    → who may start, and who never will      pure
    roll_out_all  Candidates                → Releases                               ECS, through release.py and ecs/rollout.py

A service starts once all that it needs ended well; those that need nothing of each other go side by side. One that fails takes
nothing back but itself, and those that need it are not started. Every service has a Release in the end, in the given order.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.ecs import analysis, diagnosis, green, launch, metrics, rollout, services, strategy
from orchestrator.ecs.followed import Terms
from orchestrator.ecs.gate import Gate
from orchestrator.ecs.strategy import ROLLING
from orchestrator.errors import InterruptedByUserError, OrchError, PreconditionError
from orchestrator.events import Warned
from orchestrator.model import Verdict
from orchestrator.operations import release
from orchestrator.operations.pre_deploy import run_pre_deploy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.ecs.followed import Diagnose, Unplaced
    from orchestrator.ecs.launch import Started
    from orchestrator.ecs.revisions import Revision
    from orchestrator.ecs.rollout import Clock
    from orchestrator.ecs.strategy import Strategy
    from orchestrator.events import Step
    from orchestrator.model import Release, Rollout
    from orchestrator.operations.release import Candidate, Target
    from orchestrator.settings_analysis import AnalysisSettings

_GOOD = frozenset({Verdict.SUCCEEDED, Verdict.NO_CHANGE})


def take_turns(
    needs: Mapping[str, Sequence[str]], verdicts: Mapping[str, Verdict], under_way: frozenset[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Which services may start now; and which never will, with the service that failed them. Pure.

    Needs of services that take no part count as met.
    """
    ready, lost = [], {}
    for name, wanted in needs.items():
        if name in verdicts or name in under_way:
            continue
        here = [other for other in wanted if other in needs]
        failed = [other for other in here if other in verdicts and verdicts[other] not in _GOOD]
        if failed:
            lost[name] = failed[0]
        elif all(other in verdicts for other in here):
            ready.append(name)
    return tuple(ready), lost


def roll_out_all(
    candidates: Sequence[Candidate], *, may_start: Callable[[], None], clock: Clock | None = None
) -> tuple[Release, ...]:
    """Rolls out what has to be, and returns a Release for each candidate, in their order. `may_start` is called before each
    service is touched, and raises an OrchError when it must not be.

    A cancel does what `on_cancel` of [rollout] says. Raises InterruptedByUserError when it leaves rollouts to ECS, and the
    OrchError that kept one service from starting, once those under way have ended.
    """
    return _Turns(candidates, may_start, clock).run() if candidates else ()


@dataclass(frozen=True)
class _UnderWay:
    candidate: Candidate
    step: Step
    closing: ExitStack


@dataclass
class _Turns:
    """The rollouts of one run: what is under way, and how each ended."""

    candidates: Sequence[Candidate]
    may_start: Callable[[], None]
    clock: Clock | None
    releases: dict[str, Release] = field(default_factory=dict)
    under_way: dict[str, _UnderWay] = field(default_factory=dict)

    def __post_init__(self) -> None:
        target = self.candidates[0].target
        every = target.sources.settings.services
        self._settings = target.sources.settings.rollout
        self._steps = target.steps
        self._gate = _gate(target)
        self._watch = rollout.Watch(
            target.session.ecs, self._steps.emit, clock=self.clock, judge=self._gate.judge
        )
        self._by_name = {one.name: one for one in self.candidates}
        self._needs = {name: tuple(every[name].needs) if name in every else () for name in self._by_name}

    def run(self) -> tuple[Release, ...]:
        failed: OrchError | None = None
        why = "its turn never came"
        try:
            self._start_ready()
            self._finish(go_on=True)
        except KeyboardInterrupt:
            self._cancel()
            why = "cancelled before its turn came"
        except OrchError as error:
            failed = error
            self._finish(go_on=False)
        finally:
            for item in self.under_way.values():
                item.closing.close()
        if failed is not None:
            failed.details += tuple(f"{name}: {done.verdict}" for name, done in self.releases.items())
            raise failed
        for name, candidate in self._by_name.items():
            if name not in self.releases:
                self._skip(candidate, why)
        return tuple(self.releases[name] for name in self._by_name)

    def _start_ready(self) -> None:
        """Starts every service whose turn it is."""
        while True:
            verdicts = {name: done.verdict for name, done in self.releases.items()}
            ready, lost = take_turns(self._needs, verdicts, frozenset(self.under_way))
            for name, other in lost.items():
                self._skip(self._by_name[name], f"it needs {other}, which ended {verdicts[other]}")
            for name in ready:
                self._start(self._by_name[name])
            if not lost and not ready:
                return

    def _finish(self, *, go_on: bool) -> None:
        """Watches until nothing is under way; with `go_on`, each end may let others start."""
        while not self._watch.is_idle:
            for ended in self._watch.wait():
                self._end(ended)
            if go_on:
                self._start_ready()

    def _start(self, candidate: Candidate) -> None:
        if candidate.move is release.Move.NOTHING:
            self.releases[candidate.name] = release.conclude(candidate, release.unchanged(candidate))
            return
        require_measurable(candidate)
        self.may_start()
        revision = release.register(candidate)
        if candidate.runs_pre_deploy:
            run_pre_deploy(candidate.target, revision)
        closing = ExitStack()
        is_only = len(self.candidates) == 1
        name = "rollout" if is_only else f"rollout of {candidate.name}"
        step = closing.enter_context(self._steps.step(name, f"Roll out {candidate.name}"))
        self.under_way[candidate.name] = _UnderWay(candidate, step, closing)
        started = self._begin(candidate, revision)
        self._gate.add(started.service, analyses_of(candidate), _texts(candidate.target))
        self._watch.add(
            started,
            Terms(
                self._settings.timeout_s,
                diagnose=_diagnose(candidate, revision, started),
                unplaced=_unplaced(revision, started),
                fail_fast=self._settings.fail_fast,
                is_ours=True,
                continue_with=continue_command(candidate.target),
            ),
        )

    def _begin(self, candidate: Candidate, revision: Revision) -> Started:
        service = candidate.target.service
        place = {"cluster": service.cluster, "service": service.service}
        if candidate.move is release.Move.FOLLOW:
            return launch.attach(candidate.state, **place, has_fallback=candidate.has_fallback)
        return launch.start(
            candidate.target.session.ecs,
            candidate.state,
            **place,
            task_definition=revision.arn,
            desired_count=candidate.desired_count,
            force=candidate.move is release.Move.RETRY,
            has_fallback=candidate.has_fallback,
            wanted=strategy_of(candidate),
            traffic=service.blue_green,
        )

    def _end(self, ended: Rollout) -> None:
        (name,) = [
            name
            for name, item in self.under_way.items()
            if item.candidate.target.service.service == ended.service
        ]
        item = self.under_way.pop(name)
        self._gate.end(ended.service, has_succeeded=ended.verdict is Verdict.SUCCEEDED)
        item.step.detail = f"{ended.verdict}, {ended.running_count} of {ended.desired_count} tasks running"
        item.step.failed = ended.verdict not in _GOOD
        item.closing.close()
        candidate = item.candidate
        if ended.verdict is Verdict.SUCCEEDED and release.was_released_before(candidate):
            # ECS went back to it from another release that failed: nothing was released now, and nothing is recorded twice.
            reason = "it was released before, and is back after another release"
            ended = replace(ended, verdict=Verdict.NO_CHANGE, reason=reason)
        self.releases[name] = release.conclude(candidate, ended)

    def _skip(self, candidate: Candidate, why: str) -> None:
        ended = release.untouched(candidate, Verdict.NOT_STARTED, why)
        self.releases[candidate.name] = release.conclude(candidate, ended)

    # --- a cancel

    def _cancel(self) -> None:
        """The first Ctrl-C, or the SIGTERM of a cancelled job. Raises InterruptedByUserError when rollouts go on in ECS."""
        names = ", ".join(self.under_way)
        if not self.under_way:
            return
        if self._settings.on_cancel == "detach":
            raise _left(names, "interrupted")
        asked = self._watch.cancel("cancelled")
        self._steps.emit(
            Warned(
                f"cancelled: ECS was asked to roll {', '.join(asked) or 'nothing'} back",
                "once more leaves that to ECS",
            )
        )
        if len(asked) < len(self.under_way):
            raise _left(names, "interrupted, and not everything could be rolled back")
        try:
            self._finish(go_on=False)
        except KeyboardInterrupt:
            raise _left(names, "interrupted during the rollback that a cancel asked for") from None


def strategy_of(candidate: Candidate) -> Strategy:
    """How the release takes the place of what runs. The first one of a service rolls: there is nothing to shift traffic from, and the
    circuit breaker watches over it.
    """
    if not candidate.has_fallback:
        return ROLLING
    target = candidate.target
    table = target.sources.settings.strategy(target.environment, target.service.name)
    wanted = strategy.wanted(table)
    return strategy.way_back(wanted) if candidate.is_way_back else wanted


def analyses_of(candidate: Candidate) -> list[AnalysisSettings]:
    """What the release is held to: nothing where it does not come in stages, or is itself the way back, which has to be quick."""
    target = candidate.target
    table = target.sources.settings.services.get(target.service.name)
    is_followed = candidate.move is release.Move.FOLLOW
    wanted = candidate.state.strategy if is_followed else strategy_of(candidate)
    is_measured = wanted.is_staged and candidate.has_fallback and not candidate.is_way_back
    return table.analysis if table is not None and is_measured else []


def require_measurable(candidate: Candidate) -> None:
    """Raises PreconditionError where an analysis is about target groups, and the service has none to shift traffic between."""
    service = candidate.target.service
    named = [one.name for one in analyses_of(candidate) if analysis.needs_targets(one)]
    has_two = any(balancer.get("advancedConfiguration") for balancer in candidate.state.load_balancers)
    if named and service.blue_green is None and not has_two:
        raise PreconditionError(
            f"analysis `{named[0]}` of {service.name} names $TARGET_GROUP or $LOAD_BALANCER, but the service has no two target groups",
            hint="measure by $SERVICE and $CLUSTER, or give it a load balancer with an alternate target group in Terraform",
        )


def continue_command(target: Target) -> str:
    """What ends a pause of a service's rollout."""
    return f"orch continue --env {target.environment.name} --service {target.service.name}"


def _gate(target: Target) -> Gate:
    session = target.session
    return Gate(
        target.steps.emit,
        read=lambda questions: metrics.read(session.cloudwatch_once, questions),
        now=session.now,
        find_targets=lambda arn: green.find(session.ecs, arn),
        resume=lambda arn, hook_id: services.continue_deployment(session.ecs, arn, hook_id, "CONTINUE"),
    )


def _texts(target: Target) -> dict[str, str]:
    """The placeholders of analyses that are the same for every deployment of a service."""
    return {
        "CLUSTER": target.service.cluster,
        "SERVICE": target.service.service,
        "ENVIRONMENT": target.environment.name,
    }


def _left(names: str, why: str) -> InterruptedByUserError:
    return InterruptedByUserError(
        f"{why}; the deployment of {names} goes on in ECS",
        hint="`orch watch` follows it to its end; the same command again does so too",
    )


def _unplaced(revision: Revision, started: Started) -> Unplaced:
    """Reads from an event of the service that no task could be placed."""
    place = diagnosis.Place(started.cluster, started.service, revision.definition)
    return lambda message, at: diagnosis.unplaced(place, started.deployment_id, message, at)


def _diagnose(candidate: Candidate, revision: Revision, started: Started) -> Diagnose:
    """Finds out why tasks of this deployment failed, each task once."""
    target = candidate.target
    session = target.session
    readers = diagnosis.Readers(session.ecs, session.logs, session.elbv2)
    place = diagnosis.Place(started.cluster, started.service, revision.definition)
    seen: set[str] = set()
    return lambda: diagnosis.failures(readers, place, started.deployment_id, seen, target.steps.emit)
