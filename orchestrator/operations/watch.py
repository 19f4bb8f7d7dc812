"""`orch watch --env NAME`: follows the rollouts under way to their verdicts, from any machine, whoever started them.

    contract.read   state                        → Contract
    find            each service                 → its newest service deployment, and whether it has ended
    Watch           those under way              → Rollouts      as the run that started them would follow them
    conclude        a Rollout                    → Release       recorded, unless the run that started it has done so

A rollout that has ended, but of which nobody recorded how (its run was killed), is concluded as well. Touches nothing in ECS but
the tag of a revision that was released: it takes no lock, stops no deployment, and Ctrl-C ends the watching alone.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.ecs import diagnosis, revisions, rollout
from orchestrator.ecs.followed import Terms
from orchestrator.ecs.rollout import Clock
from orchestrator.errors import InterruptedByUserError
from orchestrator.events import TaskFailed
from orchestrator.image import ecr
from orchestrator.model import Verdict, Watched
from orchestrator.operations import contract, release
from orchestrator.operations.look import read_services
from orchestrator.operations.rollouts import continue_command
from orchestrator.operations.under_way import find
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from orchestrator.aws import Aws
    from orchestrator.ecs.followed import Diagnose
    from orchestrator.events import Step, Steps
    from orchestrator.model import ReleaseRecord, Rollout
    from orchestrator.operations.release import Candidate, Target
    from orchestrator.operations.under_way import Found
    from orchestrator.settings import Environment, Settings

_GOOD = frozenset({Verdict.SUCCEEDED, Verdict.NO_CHANGE})
_ID_TIME = "%Y%m%dT%H%M%SZ"


def watch(
    settings: Settings,
    environment: Environment,
    *,
    names: tuple[str, ...],
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
    clock: Clock | None = None,
) -> tuple[Watched, ...]:
    """Follows every rollout of the named services, or of all, and says how each ended; for a service without one, how its last
    release did. Raises InterruptedByUserError, OrchError.
    """
    agreed = contract.read(settings, environment, session, environ, steps)
    sources = release.Sources(settings, environ, {})
    deploying = session.acting_as(Role.DEPLOY)
    targets = [
        release.Target(service, agreed, environment, sources, deploying, steps)
        for service in contract.choose(agreed, names)
    ]
    return follow(targets, clock=clock or Clock())


def follow(targets: Sequence[Target], *, clock: Clock) -> tuple[Watched, ...]:
    """What `watch` does once it knows the services. Raises InterruptedByUserError, AwsError."""
    steps = targets[0].steps
    with steps.step("look", "Look for rollouts") as step:
        states = read_services(targets[0].session.ecs, [target.service for target in targets])
        records = {target.service.name: release.newest_records(target) for target in targets}
        wanted = {}
        for target in targets:
            name = target.service.name
            one = find(target, states[name]) if name in states else None
            if one is not None and (not one.is_over or _is_left(one, records[name])):
                wanted[name] = one
        step.detail = ", ".join(wanted) or "none is under way"
    ended = _follow(wanted, steps, clock)
    return tuple(
        ended.get(target.service.name) or _idle(target, records[target.service.name]) for target in targets
    )


def _follow(wanted: Mapping[str, Found], steps: Steps, clock: Clock) -> dict[str, Watched]:
    """Follows all of them together, and concludes each when it ends."""
    done: dict[str, Watched] = {}
    under_way: dict[str, tuple[Step, ExitStack]] = {}
    if not wanted:
        return done
    watching = rollout.Watch(next(iter(wanted.values())).target.session.ecs, steps.emit, clock=clock)
    with ExitStack() as every:
        for name, one in wanted.items():
            closing = every.enter_context(ExitStack())
            step_name = "rollout" if len(wanted) == 1 else f"rollout of {name}"
            under_way[name] = (closing.enter_context(steps.step(step_name, f"Watch {name}")), closing)
            watching.add(
                one.started,
                Terms(
                    one.target.sources.settings.rollout.timeout_s,
                    diagnose=_diagnose(one),
                    # Whoever only watches stops nothing.
                    fail_fast=False,
                    continue_with=continue_command(one.target),
                ),
            )
        try:
            while not watching.is_idle:
                for ended in watching.wait():
                    name = _name(ended, wanted, under_way)
                    step, closing = under_way.pop(name)
                    step.detail = (
                        f"{ended.verdict}, {ended.running_count} of {ended.desired_count} tasks running"
                    )
                    step.failed = ended.verdict not in _GOOD
                    closing.close()
                    _tell_why(wanted[name], ended)
                    done[name] = _conclude(wanted[name], ended)
        except KeyboardInterrupt:
            left = f"; the deployment of {', '.join(under_way)} goes on in ECS" if under_way else ""
            raise InterruptedByUserError(
                f"no longer watched{left}", hint="`orch watch` follows it again"
            ) from None
    return done


def _name(ended: Rollout, wanted: Mapping[str, Found], under_way: Collection[str]) -> str:
    return next(name for name in under_way if wanted[name].target.service.service == ended.service)


# --- what becomes of it


def _conclude(one: Found, ended: Rollout) -> Watched:
    """The release of a rollout that ended, as the run that started it would have told and recorded it."""
    target, revision = one.target, one.revision
    place = (target.environment.name, target.service.name)
    if not revision.is_registered_by_orch:
        return Watched(*place, ended)
    # Either the run that started it was faster, or somebody else deployed a revision whose release had ended long since. A run
    # that comes later writes the same record again.
    is_recorded = release.is_on_record(release.newest_records(target), revision)
    # Who registered a revision need not be who goes back to it.
    actor = "" if revision.has_succeeded else revision.tags.get(release.BY_TAG, "")
    done = release.conclude(_candidate(one), ended, actor=actor, is_recorded=is_recorded)
    return Watched(*place, ended, done)


def _candidate(one: Found) -> Candidate:
    target, revision = one.target, one.revision
    release_id = revision.tags[revisions.RELEASE_TAG]
    return release.Candidate(
        target=target,
        image=ecr.parse_reference(revision.definition.image_of(target.service.container)),
        # The tag of an image from a working tree that differs from its commit has more.
        commit=revision.tags.get(revisions.COMMIT_TAG, "").partition("-")[0],
        move=release.Move.FOLLOW,
        wanted=revision.definition,
        revision=revision,
        current=revision,
        state=one.state,
        desired_count=None,
        has_fallback=one.started.has_fallback,
        release_id=release_id,
        started_at=_started_at(release_id, one.started.created_at or datetime.now(UTC)),
        runs_pre_deploy=False,
    )


def _started_at(release_id: str, otherwise: datetime) -> datetime:
    """When the run began that gave the release its id."""
    try:
        return datetime.strptime(release_id.partition("-")[0], _ID_TIME).replace(tzinfo=UTC)
    except ValueError:
        return otherwise.astimezone(UTC)


def _is_left(one: Found, records: Sequence[ReleaseRecord]) -> bool:
    """Whether a release of orch has ended, and nobody recorded how."""
    revision = one.revision
    if not revision.is_registered_by_orch or release.is_on_record(records, revision):
        return False
    # A revision that ran well before is released anew only by a later release than those on record; ids sort by time.
    newest = max((record.release.id for record in records), default="")
    return not revision.has_succeeded or "" < newest < revision.tags[revisions.RELEASE_TAG]


def _idle(target: Target, records: Sequence[ReleaseRecord]) -> Watched:
    return Watched(target.environment.name, target.service.name, None, last=records[0] if records else None)


def _tell_why(one: Found, ended: Rollout) -> None:
    """Why the tasks failed of a rollout that had ended before anybody watched it: the way back has set its counts to zero."""
    diagnose = _diagnose(one)
    if ended.failures or ended.verdict not in {Verdict.ROLLED_BACK, Verdict.FAILED} or diagnose is None:
        return
    for failure in diagnose():
        one.target.steps.emit(TaskFailed(failure))


def _diagnose(one: Found) -> Diagnose | None:
    """Finds out why tasks of the deployment failed, each task once; nothing of one that ECS no longer lists."""
    if not one.started.deployment_id:
        return None
    session = one.target.session
    readers = diagnosis.Readers(session.ecs, session.logs, session.elbv2)
    place = diagnosis.Place(one.started.cluster, one.started.service, one.revision.definition)
    seen: set[str] = set()
    return lambda: diagnosis.failures(readers, place, one.started.deployment_id, seen, one.target.steps.emit)
