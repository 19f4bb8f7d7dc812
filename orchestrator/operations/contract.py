"""The contract as the state holds it: for the verbs that change no infrastructure, and need not plan any.

Comes in: an environment. Goes out: its Contract. May touch: the state, read by `terraform output`; the .terraform folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import NotAppliedError, PreconditionError
from orchestrator.operations import plan as planning
from orchestrator.permissions import Role
from orchestrator.terraform import contract, runner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.model import Contract, ServiceContract
    from orchestrator.settings import Environment, Settings


def read(
    settings: Settings,
    environment: Environment,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
) -> Contract:
    """The contract of an environment that was applied. Raises NotAppliedError when it never was, OrchError."""
    prepared = planning.prepare(settings, environment, session, environ, steps, role=Role.DEPLOY)
    planning.init(prepared.root, steps)
    with steps.step("outputs", "terraform output") as step:
        outputs = runner.outputs(prepared.root)
        step.detail = f"{len(outputs)} outputs"
    prepared.account.require()
    if not outputs:
        raise NotAppliedError(
            f"environment `{environment.name}` has not been applied yet: its state has no outputs",
            hint=f"run `orch apply --env {environment.name}` first",
        )
    agreed = contract.decode(outputs, root_module=str(environment.root_module))
    planning.require_place(environment, account_id=agreed.account_id, region=agreed.region)
    return agreed


def choose(agreed: Contract, names: tuple[str, ...]) -> tuple[ServiceContract, ...]:
    """The services of those names, or all of them when none is given. Raises PreconditionError for an unknown one."""
    known = {service.name: service for service in agreed.services}
    for name in names:
        if name not in known:
            raise PreconditionError(
                f"there is no service `{name}` in this environment", hint=f"choose one of: {', '.join(known)}"
            )
    return tuple(known[name] for name in names) or agreed.services


def choose_one(agreed: Contract, name: str) -> ServiceContract:
    """The service of that name, or the only one there is when it is empty. Raises PreconditionError."""
    chosen = choose(agreed, (name,) if name else ())
    if len(chosen) != 1:
        raise PreconditionError(
            "there are several services in this environment",
            hint=f"name one: --service, one of: {', '.join(service.name for service in chosen)}",
        )
    return chosen[0]
