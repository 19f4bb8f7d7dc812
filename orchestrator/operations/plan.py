"""`orch plan --env NAME`, and the first half of apply: preflight and a saved plan.

Comes in: settings and an environment. Goes out: a SavedPlan. May touch: read-only AWS calls, the root module's .terraform
folder, the state (read and locked by Terraform).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import aws
from orchestrator.errors import PreconditionError
from orchestrator.events import PlanReady
from orchestrator.terraform import binary, runner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.settings import Environment, Settings
    from orchestrator.terraform.runner import RootModule, SavedPlan


def prepare(
    settings: Settings, environment: Environment, session: Aws, environ: Mapping[str, str], steps: Steps
) -> RootModule:
    """Preflight: Terraform is there and fits, and the credentials belong to the environment's account."""
    with steps.step("preflight", "Check account and tools") as step:
        terraform = binary.find(settings.terraform.binary, environ)
        identity = session.identity()
        aws.require_account(identity, account_id=environment.account_id, environment=environment.name)
        root = runner.open_root_module(
            terraform,
            environment.root_module,
            backend_config={"bucket": environment.state_bucket, "region": environment.region},
            environ=environ,
            aws_environ=session.process_environment(),
            provider_mirror=settings.terraform.provider_mirror,
            lock_timeout_s=settings.terraform.lock_timeout_s,
            emit=steps.emit,
        )
        step.detail = f"account {identity.account_id}, {environment.region}, Terraform {terraform.version}"
    return root


def plan(root: RootModule, environment: Environment, steps: Steps) -> SavedPlan:
    """Inits when needed and plans. The caller discards the saved plan. Raises TerraformError, PreconditionError."""
    with steps.step("init", "terraform init") as step:
        step.skipped = not runner.init_if_needed(root)
        step.detail = "nothing it depends on has changed" if step.skipped else ""
    with steps.step("plan", "terraform plan") as step:
        saved = runner.plan(root, steps.emit)
        step.detail = saved.plan.summary
    try:
        require_place(
            environment,
            account_id=saved.plan.contract.get("account_id"),
            region=saved.plan.contract.get("region"),
        )
    except PreconditionError:
        saved.discard()
        raise
    steps.emit(PlanReady(environment.name, saved.plan))
    return saved


def require_place(environment: Environment, *, account_id: object, region: object) -> None:
    """Raises PreconditionError unless the root module works where orch.toml says; what is not known yet passes."""
    for key, said, expected in (
        ("account_id", account_id, environment.account_id),
        ("region", region, environment.region),
    ):
        if isinstance(said, str) and said != expected:
            raise PreconditionError(
                f"{environment.root_module} is for {key} {said}, but orch.toml says {expected} for"
                f" environment `{environment.name}`",
                hint=f"make `{key}` in its terraform.tfvars and in orch.toml agree",
            )
