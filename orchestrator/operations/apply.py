"""`orch apply --env NAME`, the whole way, one direction; each value is made once and handed on.

    identify_sources   settings                         → Sources       Git, read-only
    prepare            settings, environment            → Prepared      tools; the account check starts beside the rest
    lock.hold          environment                      → Held          from here to the end: nobody else changes it
    plan               Prepared                         → SavedPlan     state read; init only when its inputs changed
    approve            Plan                             → yes or no     asks
    runner.apply       SavedPlan                        → Contract      AWS through Terraform, the state
    release.prepare    each service of the contract     → Candidate     ECR, image engine
    require_ready      Candidates                       → Candidates    read-only; waits for another run's rollout: verify.py
    roll_out_all       Candidates                       → Releases      ECS, the store: rollouts.py

Every step may be repeated: after a crash at any point, running it again builds nothing twice and registers nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.errors import DeclinedError, InterruptedByUserError, SettingsError, TerraformError
from orchestrator.events import Warned
from orchestrator.operations import lock as locking
from orchestrator.operations import plan as planning
from orchestrator.operations import provenance, release, rollouts, verify
from orchestrator.operations.provenance import Provenance
from orchestrator.permissions import Role
from orchestrator.terraform import contract, gates, runner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.lock.held import Held
    from orchestrator.model import Contract, Override, Plan, Release
    from orchestrator.operations.plan import Prepared
    from orchestrator.settings import Environment, Settings
    from orchestrator.terraform.runner import RootModule, SavedPlan

Approve = Callable[["Plan"], bool]


@dataclass(frozen=True)
class Options:
    """What the user asked for: images to use instead of building them, each `[SERVICE=]REPOSITORY@sha256:…`, gates to open
    knowingly, and the command that goes on when Terraform fails half way.
    """

    images: tuple[str, ...] = ()
    overrides: tuple[Override, ...] = ()
    again: str = "the same command again"


def apply(
    settings: Settings,
    environment: Environment,
    options: Options,
    *,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
    approve: Approve,
    reviewed: Callable[[Prepared], SavedPlan] | None = None,
) -> tuple[Release, ...]:
    """Brings the environment to what the checkout says and returns one Release a service, with its verdict. `reviewed` gives
    the plan to apply in place of a new one.

    Raises OrchError; a verdict other than success is returned, not raised.
    """
    gates.require_known(options.overrides)
    sources = release.identify_sources(
        settings, options.images, environ, builds=environment.promotes_from is None
    )
    prepared = planning.prepare(settings, environment, session, environ, steps, role=Role.APPLY)
    with locking.hold(
        settings, environment, "apply", session=session, role=Role.APPLY, environ=environ, steps=steps
    ) as held:
        saved = planning.plan(prepared, environment, steps) if reviewed is None else reviewed(prepared)
        try:
            if reviewed is not None:
                planning.present(saved, environment, steps)
            # A freeze holds for releases too, so the gates are asked when the plan is empty as well.
            opened = gates.require_open(
                saved.plan, environment, now=datetime.now(UTC), overrides=options.overrides
            )
            agreed = _apply_plan(
                prepared.root,
                saved,
                sources,
                environment,
                options,
                session=session,
                steps=steps,
                approve=approve,
                held=held,
            )
        finally:
            saved.discard()
        held.require_held()
        deploying = session.acting_as(Role.DEPLOY)
        origin = Provenance(plan=provenance.count(saved.plan), gates=gates.RULES)
        targets = [
            release.Target(service, agreed, environment, sources, deploying, steps, opened, origin)
            for service in agreed.services
        ]
        # Every image is there before the first service moves.
        candidates = verify.require_ready([release.prepare(target) for target in _with_images(targets)])
        return rollouts.roll_out_all(candidates, may_start=held.require_held)


def _with_images(targets: Sequence[release.Target]) -> Iterator[release.Target]:
    """Those that there is something to release for; an environment that was just made waits for its first promotion."""
    for target in targets:
        ready = release.without_build(target)
        if ready is not None:
            yield ready
            continue
        name, source = target.environment.name, target.environment.promotes_from
        target.steps.emit(
            Warned(
                f"{name} has no release of {target.service.name} yet, and gets its images by promotion",
                f"`orch promote --from {source} --to {name}` brings the first",
            )
        )


def _apply_plan(
    root: RootModule,
    saved: SavedPlan,
    sources: release.Sources,
    environment: Environment,
    options: Options,
    *,
    session: Aws,
    steps: Steps,
    approve: Approve,
    held: Held,
) -> Contract:
    if not saved.plan.is_applicable:
        return _decode(saved.outputs, environment, sources)
    # Before anything changes: if an image must be built, something must be there to build it.
    release.require_engine(sources, saved.outputs, session.acting_as(Role.DEPLOY))
    if not approve(saved.plan):
        raise DeclinedError("the plan was not approved; nothing was changed")
    held.require_held()
    return _decode(apply_saved(root, saved, steps, again=options.again), environment, sources)


def apply_saved(
    root: RootModule, saved: SavedPlan, steps: Steps, *, again: str = "the same command again"
) -> dict[str, object]:
    """Applies an approved plan and returns the outputs; `again` is what to run when it fails half way.

    Raises TerraformError, InterruptedByUserError.
    """
    with steps.step("apply", "terraform apply") as step:
        try:
            outputs = runner.apply(root, saved, steps.emit)
        except KeyboardInterrupt:
            raise InterruptedByUserError(
                "interrupted during terraform apply; Terraform was asked to stop, and has ended",
                hint=f"run {again}: it plans what is left",
            ) from None
        except TerraformError as error:
            error.hint = error.hint or f"mend that, then run {again}: it plans what is left"
            raise
        step.detail = saved.plan.summary
    return outputs


def _decode(outputs: Mapping[str, object], environment: Environment, sources: release.Sources) -> Contract:
    agreed = contract.decode(outputs, root_module=str(environment.root_module))
    planning.require_place(environment, account_id=agreed.account_id, region=agreed.region)
    unknown = [service.name for service in agreed.services if service.name not in sources.services]
    if unknown:
        raise SettingsError(
            f"Terraform has services that orch.toml lacks: {', '.join(unknown)}",
            hint=f"add [services.{unknown[0]}] with its build context to orch.toml",
        )
    return agreed
