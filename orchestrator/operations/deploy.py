"""`orch deploy --env NAME`: the second half of apply alone. No plan and no apply of Terraform, only what its state says.

    contract.read      state                     → Contract
    look               Targets                   → Seen          read-only; when nothing has to happen, that is the end
    lock.hold          environment               → Held          from here to the end: nobody else changes it
    release.prepare    each service              → Candidate     ECR, image engine; looked at again, under the lock
    require_ready      Candidates                → Candidates    preflight, read-only: verify.py
    roll_out_all       Candidates                → Releases      ECS, the store: rollouts.py

May touch: what a release touches; no infrastructure. Repeated, it finds that everything runs and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.errors import PreconditionError
from orchestrator.model import Plan
from orchestrator.operations import contract, release, rollouts, verify
from orchestrator.operations import lock as locking
from orchestrator.operations.look import look, name_images, targets_of
from orchestrator.operations.provenance import Provenance
from orchestrator.operations.release import Move
from orchestrator.permissions import Role
from orchestrator.terraform import gates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.model import Override, Release
    from orchestrator.operations.release import Candidate, Target
    from orchestrator.settings import Environment, Settings

# A freeze holds for releases too; the other gates have nothing to say without a plan.
_NO_PLAN = Plan((), (), (), is_applicable=False, terraform_version="", contract={})


@dataclass(frozen=True)
class Options:
    """What the user asked for: the services, all when empty; images to use instead of building them, each
    `[SERVICE=]REPOSITORY@sha256:…`; a new deployment even of what runs already; gates to open knowingly.
    """

    names: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    is_forced: bool = False
    overrides: tuple[Override, ...] = ()


def deploy(
    settings: Settings,
    environment: Environment,
    options: Options,
    *,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
) -> tuple[Release, ...]:
    """Rolls the services out as this checkout has them, and returns one Release each, with its verdict. Raises OrchError."""
    gates.require_known(options.overrides)
    opened = gates.require_open(_NO_PLAN, environment, now=datetime.now(UTC), overrides=options.overrides)
    sources = release.identify_sources(
        settings,
        name_images(options.images, options.names),
        environ,
        builds=environment.promotes_from is None,
    )
    agreed = contract.read(settings, environment, session, environ, steps)
    chosen = contract.choose(agreed, options.names)
    deploying = session.acting_as(Role.DEPLOY)
    targets = [
        _with_image(replace(target, provenance=Provenance(gates=("freeze",))))
        for target in targets_of(
            chosen,
            agreed,
            environment,
            sources=sources,
            session=deploying,
            steps=steps,
            overrides=opened,
        )
    ]
    if not options.is_forced:
        unchanged = [seen.unchanged() for seen in look(targets)]
        candidates = [candidate for candidate in unchanged if candidate is not None]
        if len(candidates) == len(targets):
            return rollouts.roll_out_all(candidates, may_start=lambda: None)
    with locking.hold(
        settings, environment, "deploy", session=session, role=Role.DEPLOY, environ=environ, steps=steps
    ) as held:
        change = force if options.is_forced else _as_it_is
        # Every image is there before the first service moves.
        ready = verify.require_ready([change(release.prepare(target)) for target in targets])
        # One that another run's rollout held up was prepared anew.
        return rollouts.roll_out_all([change(one) for one in ready], may_start=held.require_held)


def _with_image(target: Target) -> Target:
    ready = release.without_build(target)
    if ready is None:
        name, source = target.environment.name, target.environment.promotes_from
        raise PreconditionError(
            f"{name} has no release of {target.service.name} yet, and gets its images by promotion",
            hint=f"`orch promote --from {source} --to {name}` brings the first",
        )
    return ready


def force(candidate: Candidate) -> Candidate:
    """The release with a new deployment of the revision that runs, where there would be none. Pure."""
    if candidate.move not in {Move.NOTHING, Move.FOLLOW}:
        return candidate
    return replace(candidate, move=Move.RETRY, revision=candidate.current, runs_pre_deploy=True)


def _as_it_is(candidate: Candidate) -> Candidate:
    return candidate
