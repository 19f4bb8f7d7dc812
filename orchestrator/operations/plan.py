"""`orch plan --env NAME`, and the first half of apply: preflight and a saved plan.

Comes in: settings and an environment. Goes out: a SavedPlan. May touch: read-only AWS calls, the root module's .terraform
folder, the state (read and locked by Terraform).

Asking STS whose credentials these are takes about as long as importing boto3 does; planning reads only, so both go on side by
side, and nothing is shown or applied before the account is known to be the right one.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator import aws
from orchestrator.errors import OrchError, PreconditionError, TerraformError
from orchestrator.events import GateShut, PlanReady
from orchestrator.permissions import Role
from orchestrator.terraform import binary, gates, runner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.settings import Environment, Settings
    from orchestrator.terraform.runner import RootModule, SavedPlan


@dataclass(frozen=True)
class Prepared:
    """A root module that is ready to plan, and the account check that runs beside it."""

    root: RootModule
    account: AccountCheck


class AccountCheck:
    """Asks STS in another thread whether the credentials belong to the environment's account."""

    def __init__(self, session: Aws, environment: Environment) -> None:
        self._session = session
        self._environment = environment
        self._error: OrchError | None = None
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def require(self) -> None:
        """Waits for the answer. Raises PreconditionError for another account, AwsError without valid credentials."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        environment = self._environment
        aws.require_account(
            self._session.identity(), account_id=environment.account_id, environment=environment.name
        )

    def _ask(self) -> None:
        try:
            self._session.identity()
        except OrchError as error:
            self._error = error


def prepare(
    settings: Settings,
    environment: Environment,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
    *,
    role: Role = Role.PLAN,
) -> Prepared:
    """Preflight: Terraform is there and fits, and the check of the account is under way. `role` is the pipeline role
    whose work Terraform does.
    """
    session = session.acting_as(role)
    with steps.step("preflight", "Check tools and account") as step:
        terraform = binary.find(settings.terraform.binary, environ)
        root = runner.open_root_module(
            terraform,
            environment.root_module,
            backend_config=backend_config(environment, session),
            environ=environ,
            aws_environ=session.process_environment(),
            role=role,
            provider_mirror=settings.terraform.provider_mirror,
            lock_timeout_s=settings.terraform.lock_timeout_s,
            emit=steps.emit,
        )
        step.detail = f"account {environment.account_id}, {environment.region}, Terraform {terraform.version}"
    return Prepared(root, AccountCheck(session, environment))


def plan(
    prepared: Prepared, environment: Environment, steps: Steps, *, is_destroy: bool = False
) -> SavedPlan:
    """Inits when needed, plans, and shows the plan. The caller discards it. Raises TerraformError, PreconditionError."""
    with _account_first(prepared):
        init(prepared.root, steps)
    saved = run(prepared, environment, steps, is_destroy=is_destroy)
    if is_destroy:
        steps.emit(PlanReady(environment.name, saved.plan))
    else:
        present(saved, environment, steps)
    return saved


def run(prepared: Prepared, environment: Environment, steps: Steps, *, is_destroy: bool = False) -> SavedPlan:
    """Plans a root module that is initialised; nothing is shown yet. Raises TerraformError, PreconditionError."""
    with _account_first(prepared):
        saved = _plan(prepared.root, steps, is_destroy=is_destroy)
    try:
        prepared.account.require()
        require_place(
            environment,
            account_id=saved.plan.contract.get("account_id"),
            region=saved.plan.contract.get("region"),
        )
    except BaseException:
        saved.discard()
        raise
    return saved


@contextmanager
def _account_first(prepared: Prepared) -> Iterator[None]:
    """Credentials of another account make Terraform fail in many ways; the account is the cause worth telling."""
    try:
        yield
    except TerraformError:
        prepared.account.require()
        raise


def present(saved: SavedPlan, environment: Environment, steps: Steps) -> None:
    """Shows a plan, and every gate that is shut for it."""
    steps.emit(PlanReady(environment.name, saved.plan))
    for shut in gates.refusals(saved.plan, environment, now=datetime.now(UTC)):
        steps.emit(GateShut(environment.name, shut.rule, shut.sentence, shut.about))


def backend_config(environment: Environment, session: Aws) -> dict[str, str]:
    """What orch.toml says about the S3 backend, for `terraform init`."""
    config = {"bucket": environment.state_bucket, "region": environment.region}
    if session.s3_endpoint_url is not None:
        # Terraform's S3 backend puts the bucket's name before any host, which no address but AWS's own resolves.
        config["use_path_style"] = "true"
    return config


def init(root: RootModule, steps: Steps) -> None:
    """`terraform init`, when what it depends on has changed. Raises TerraformError."""
    with steps.step("init", "terraform init") as step:
        step.skipped = not runner.init_if_needed(root)
        step.detail = "nothing it depends on has changed" if step.skipped else ""


def _plan(root: RootModule, steps: Steps, *, is_destroy: bool) -> SavedPlan:
    with steps.step("plan", "terraform plan -destroy" if is_destroy else "terraform plan") as step:
        saved = runner.plan(root, steps.emit, is_destroy=is_destroy)
        step.detail = saved.plan.summary
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
