"""`orch rollback --env NAME`: each service back to the newest revision that was released before the one it is on.

    lock.hold          environment                → Held         from here to the end: nobody else changes it
    contract.read      state                      → Contract
    choose_revision    the family's revisions     → Revision     released with success, never merely the previous number
    roll_out_all       Candidates                 → Releases     as they were registered: nothing is rendered again

May touch: the ECS services, tags on the revision, the store; no infrastructure and no image. The target is always older than
what runs: a rollback that is repeated goes further back, and never forward to the release that was just left. Where releases are
staged it shifts all traffic at once, and waits for no step, bake time or pause (ecs/strategy.py says why).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.ecs import revisions, services
from orchestrator.errors import PreconditionError
from orchestrator.image import ecr
from orchestrator.operations import contract, release, rollouts
from orchestrator.operations import lock as locking
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.aws import Aws
    from orchestrator.ecs.revisions import Revision
    from orchestrator.events import Steps
    from orchestrator.model import Release
    from orchestrator.operations.release import Candidate, Target
    from orchestrator.settings import Environment, Settings


def rollback(
    settings: Settings,
    environment: Environment,
    *,
    names: tuple[str, ...],
    to: str,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
) -> tuple[Release, ...]:
    """Rolls back the named services, or all of them; `to` names a revision (NUMBER, FAMILY:NUMBER or its ARN) in place of
    the newest released one, and then exactly one service. Returns a Release for each. Raises OrchError.
    """
    with locking.hold(
        settings, environment, "rollback", session=session, role=Role.DEPLOY, environ=environ, steps=steps
    ) as held:
        agreed = contract.read(settings, environment, session, environ, steps)
        chosen = contract.choose(agreed, names)
        if to and len(chosen) != 1:
            raise PreconditionError(
                "a revision belongs to one service, and there are several",
                hint=f"name it: --service, one of: {', '.join(service.name for service in chosen)}",
            )
        sources = release.Sources(settings, environ, {})
        deploying = session.acting_as(Role.DEPLOY)
        targets = [
            release.Target(service, agreed, environment, sources, deploying, steps) for service in chosen
        ]
        # Every service must have somewhere to go before the first one moves.
        moves = [(target, choose_revision(target, to)) for target in targets]
        return rollouts.roll_out_all(
            [_candidate(target, revision) for target, revision in moves], may_start=held.require_held
        )


def choose_revision(target: Target, to: str) -> Revision:
    """The revision to go back to. Raises PreconditionError when there is none, or when `to` is not of this family or was
    never released with success.
    """
    service, ecs = target.service, target.session.ecs
    with target.steps.step("choose", f"Find what {service.name} ran before") as step:
        current = services.describe(ecs, service.cluster, service.service).task_definition
        revision = _named(target, to) if to else _newest_released(target, current)
        step.detail = (
            f"{release.short_arn(revision.arn)}, released {revision.tags[revisions.RELEASED_AT_TAG]}"
        )
    return revision


def _named(target: Target, to: str) -> Revision:
    family = target.service.task_family
    wanted = to.rsplit("/", 1)[-1]
    wanted = f"{family}:{wanted}" if wanted.isdigit() else wanted
    if wanted.rpartition(":")[0] != family:
        raise PreconditionError(
            f"--to {to}: {target.service.name} has the task definition family {family}",
            hint=f"write a number, or {family}:NUMBER",
        )
    revision = revisions.describe(target.session.ecs, wanted)
    if not revision.has_succeeded:
        raise PreconditionError(
            f"{wanted} was never released with success",
            hint=f"`orch rollback --env {target.environment.name}` without --to takes the newest one that was",
        )
    return revision


def _newest_released(target: Target, current: str) -> Revision:
    ecs = target.session.ecs
    for arn in revisions.newest_first(ecs, target.service.task_family):
        if _number(arn) >= _number(current):
            continue
        revision = revisions.describe(ecs, arn)
        if revision.has_succeeded:
            return revision
    raise PreconditionError(
        f"{target.service.name} has no revision before {release.short_arn(current)} that was released with success",
        hint="there is nothing to go back to: release a good image with `orch apply`, or name a revision by --to",
    )


def _number(arn: str) -> int:
    return int(arn.rpartition(":")[2])


def _candidate(target: Target, revision: Revision) -> Candidate:
    started_at = datetime.now(UTC)
    service = target.service
    return release.Candidate(
        target=target,
        image=ecr.parse_reference(revision.definition.image_of(service.container)),
        commit=revision.tags.get(revisions.COMMIT_TAG, ""),
        move=release.Move.UPDATE,
        wanted=revision.definition,
        revision=revision,
        current=revision,
        state=services.describe(target.session.ecs, service.cluster, service.service),
        # Its desired count is its own: only the first release of all sets one.
        desired_count=None,
        has_fallback=True,
        release_id=release.new_release_id(started_at),
        started_at=started_at,
        runs_pre_deploy=False,
        is_way_back=True,
    )
