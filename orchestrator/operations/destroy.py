"""`orch destroy --env NAME`: everything that Terraform made in an environment, and the revisions that orch registered.

    refuse             settings          → protected environments stop here
    lock.hold          environment       → held from here to the end: nobody else changes it
    plan               Prepared          → SavedPlan, to destroy; refused when AWS would refuse some of it half-way
    confirm            Plan              → the environment's name, typed
    runner.apply       SavedPlan         → nothing is left in the state
    deregister         families          → their revisions are INACTIVE

May touch: everything in the environment's state, and the revisions of its families. Stays: the state bucket with the release
records, and what `orch bootstrap` made in the account. A run that died is finished by the next: the families are known from
orch.toml, not from what was just destroyed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.ecs import revisions
from orchestrator.errors import ContractError, DeclinedError, RefusedError
from orchestrator.model import Destroyed
from orchestrator.operations import apply as applying
from orchestrator.operations import lock as locking
from orchestrator.operations import plan as planning
from orchestrator.permissions import Role
from orchestrator.terraform import contract

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.model import Plan
    from orchestrator.settings import Environment, Settings
    from orchestrator.terraform.runner import SavedPlan

Confirm = Callable[["Plan"], bool]


def destroy(
    settings: Settings,
    environment: Environment,
    *,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
    confirm: Confirm,
) -> Destroyed:
    """Destroys the environment. `confirm` is asked once, with the plan. Raises RefusedError, DeclinedError, OrchError."""
    if environment.is_protected:
        raise RefusedError(
            f"environment `{environment.name}` is protected",
            hint=f"if it is meant, set `protected = false` in [environments.{environment.name}] of orch.toml first",
        )
    prepared = planning.prepare(settings, environment, session, environ, steps, role=Role.APPLY)
    with locking.hold(
        settings, environment, "destroy", session=session, role=Role.APPLY, environ=environ, steps=steps
    ) as held:
        saved = planning.plan(prepared, environment, steps, is_destroy=True)
        try:
            _require_deletable(saved.plan)
            if not confirm(saved.plan):
                raise DeclinedError("the environment's name was not typed; nothing was changed")
            held.require_held()
            if saved.plan.is_applicable:
                applying.apply_saved(prepared.root, saved, steps)
        finally:
            saved.discard()
        held.require_held()
        with steps.step("deregister", "Deregister task definition revisions") as step:
            ecs = session.acting_as(Role.APPLY).ecs
            gone = revisions.deregister_all(ecs, families(settings, environment, saved))
            step.skipped, step.detail = not gone, f"{len(gone)} deregistered"
    return Destroyed(
        environment=environment.name,
        resources=len(saved.plan.changes),
        revisions=gone,
        kept=(f"s3://{environment.state_bucket}", "what `orch bootstrap` made in the account"),
    )


def families(settings: Settings, environment: Environment, saved: SavedPlan) -> tuple[str, ...]:
    """The task definition families of the environment: those of the state, and those that orch.toml's services have."""
    known = {f"{settings.project}-{environment.name}-{name}" for name in settings.services}
    try:
        agreed = contract.decode(saved.outputs, root_module=str(environment.root_module))
    except ContractError:
        # Nothing was applied yet, or an earlier run destroyed it.
        return tuple(sorted(known))
    return tuple(sorted(known | {service.task_family for service in agreed.services}))


def _require_deletable(plan: Plan) -> None:
    if plan.undeletable:
        raise RefusedError(
            "AWS would refuse to delete some of it, and the environment would be left half destroyed",
            details=plan.undeletable,
            hint=(
                "set force_delete_repositories = true and load_balancer.deletion_protection = false in its"
                " terraform.tfvars, run `orch apply`, then destroy"
            ),
        )
