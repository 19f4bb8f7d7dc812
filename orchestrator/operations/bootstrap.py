"""`orch bootstrap --env NAME`: what an account must have before anything else can run, in one command that may be repeated.

    require_account    STS                        → whose credentials these are
    state bucket       S3                         → versioned, encrypted, private, kept; by boto3, since Terraform needs it first
    plan               terraform/bootstrap        → identity provider, roles, boundaries of all environments in this account
    approve            Plan                       → yes or no
    runner.apply       SavedPlan                  → Bootstrapped
    GitHub             the repository             → variables and environments, when a token is given

Nothing is created before it was shown and approved. Everything stays inside one account: environments in other accounts have a
bootstrap of their own. May touch: the state bucket, the bootstrap root's resources, the repository's settings on GitHub.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator import aws, store
from orchestrator.errors import AwsError, DeclinedError, PreconditionError, RefusedError, SettingsError
from orchestrator.events import PlanReady, Warned
from orchestrator.github import by_hand, identity, repository, trust
from orchestrator.github.difference import Remark, Wanted, WantedEnvironment
from orchestrator.model import Bootstrapped, Destroyed
from orchestrator.operations import apply as applying
from orchestrator.operations import plan as planning
from orchestrator.permissions import Role, partition_of
from orchestrator.settings import GitHubSettings
from orchestrator.terraform import binary, runner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.github.difference import Difference
    from orchestrator.model import Plan
    from orchestrator.settings import Environment, Settings
    from orchestrator.terraform.runner import RootModule, SavedPlan

_STATE_KEY = "bootstrap/terraform.tfstate"
_STATE_TAG = "orch:state"
_NO_PROVIDER = frozenset({"NoSuchEntity", "NoSuchEntityException"})


@dataclass(frozen=True)
class Questions:
    """What the user is asked, and answers with yes or no: a sentence about the bucket, a plan, GitHub's differences."""

    bucket: Callable[[str], bool]
    plan: Callable[[Plan], bool]
    github: Callable[[tuple[Difference, ...]], bool]


def bootstrap(
    settings: Settings,
    environment: Environment,
    *,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
    questions: Questions,
    github_token: str = "",
) -> Bootstrapped:
    """Brings the environment's account to what all its environments need. Raises PreconditionError, DeclinedError, OrchError.

    Without [github] in orch.toml there is the state bucket alone. With `github_token` the repository is set up too.
    """
    _require_account(session, environment, steps)
    if settings.github is not None and github_token:
        _require_subject(settings.github, github_token, steps)
    is_new = ensure_bucket(session, environment, steps, ask=questions.bucket)
    if settings.github is None:
        return Bootstrapped(environment.account_id, environment.state_bucket, is_new, {})
    root = _open_root(settings, environment, session, environ, steps)
    role_arns = _apply(root, environment, steps, questions.plan)
    _require_roles(settings, environment, role_arns)
    wanted = wanted_on_github(settings, neighbours(settings, environment))
    done = Bootstrapped(environment.account_id, environment.state_bucket, is_new, role_arns)
    if not github_token:
        return replace(done, left_to_do=by_hand.commands(settings.github.full_name, wanted))
    set_up_github(settings.github, wanted, github_token, steps, questions.github)
    return replace(done, github=settings.github.full_name)


def tear_down(
    settings: Settings,
    environment: Environment,
    *,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
    confirm: Callable[[Plan], bool],
) -> Destroyed:
    """Takes back what bootstrap made in the account, but for the state bucket. Raises RefusedError while an environment that
    needs it is protected or still stands, DeclinedError, OrchError.
    """
    _require_account(session, environment, steps)
    _require_gone(settings, environment, session)
    root = _open_root(settings, environment, session, environ, steps)
    saved = _plan(root, environment, steps, is_destroy=True)
    try:
        if not confirm(saved.plan):
            raise DeclinedError("the account id was not typed; nothing was changed")
        if saved.plan.is_applicable:
            applying.apply_saved(root, saved, steps)
    finally:
        saved.discard()
    kept = (f"s3://{environment.state_bucket}",)
    return Destroyed(f"account {environment.account_id}", len(saved.plan.changes), (), kept)


def ensure_bucket(
    session: Aws, environment: Environment, steps: Steps, *, ask: Callable[[str], bool]
) -> bool:
    """Creates the state bucket or brings it back to its settings; says whether it is new. Raises DeclinedError, OrchError."""
    bucket, account_id = environment.state_bucket, environment.account_id
    is_new = not store.has_bucket(session.s3, bucket, account_id=account_id)
    sentence = f"Create the state bucket {bucket} in account {account_id}, {environment.region}?"
    if is_new and not ask(sentence):
        raise DeclinedError("the state bucket was not approved; nothing was changed")
    with steps.step("state_bucket", "Create the state bucket") as step:
        store.create_bucket(session.s3, bucket, region=environment.region, account_id=account_id)
        step.detail = f"{bucket} {'created' if is_new else 'was there, settings confirmed'}"
    return is_new


def neighbours(settings: Settings, environment: Environment) -> tuple[Environment, ...]:
    """The environments that share account, region and state bucket with this one, itself among them: one bootstrap."""

    def place(item: Environment) -> tuple[str, str, str]:
        return item.account_id, item.region, item.state_bucket

    return tuple(item for item in settings.environments.values() if place(item) == place(environment))


def wanted_on_github(settings: Settings, environments: tuple[Environment, ...]) -> Wanted:
    """The variables and environments that the workflows read: roles that trust pull requests and branches stand in the
    repository, those that trust an environment in that environment. Pure.
    """
    branches = tuple(settings.github.branches) if settings.github else ()
    variables: dict[str, str] = {}
    wanted = []
    for environment in environments:
        place = settings.place(environment)
        name = environment.name.upper().replace("-", "_")
        for role in (Role.PLAN, Role.PUSH):
            variables[f"ORCH_{name}_{role.upper()}_ROLE"] = place.role_arn(role)
        own = {f"ORCH_{role.upper()}_ROLE": place.role_arn(role) for role in (Role.APPLY, Role.DEPLOY)}
        wanted.append(WantedEnvironment(environment.name, branches, own))
    return Wanted(variables, tuple(wanted))


def _require_account(session: Aws, environment: Environment, steps: Steps) -> None:
    with steps.step("preflight", "Check the account") as step:
        who = session.identity()
        aws.require_account(who, account_id=environment.account_id, environment=environment.name)
        step.detail = f"account {who.account_id}, {who.arn}"


def variables(settings: Settings, environment: Environment, *, create_provider: bool) -> dict[str, str]:
    """The variables of the bootstrap root, as Terraform takes them from its environment. Facts that orch.toml owns reach
    it so, and no file holds them a second time. Pure.
    """
    github = settings.github or GitHubSettings(repository="")
    services = sorted(settings.services)
    environments = {
        item.name: {
            "services": services,
            "protected": item.is_protected,
            "trusted_accounts": item.trusted_accounts,
            "promotes_to": settings.targets_of(item.name),
        }
        for item in neighbours(settings, environment)
    }
    values = {
        "project": settings.project,
        "account_id": environment.account_id,
        "region": environment.region,
        "partition": partition_of(environment.region),
        "state_bucket": environment.state_bucket,
        "repository": github.repository,
        "environments": json.dumps(environments),
        "push_branches": json.dumps(github.branches),
        "job_workflow_refs": json.dumps(github.job_workflow_refs),
        "create_provider": json.dumps(create_provider),
    }
    return {f"TF_VAR_{name}": value for name, value in values.items()}


def _require_subject(github: GitHubSettings, token: str, steps: Steps) -> None:
    """Raises SettingsError when GitHub's tokens name the repository in another way than orch.toml, so that no role would let
    its workflows in.
    """
    with steps.step("github_identity", f"Ask GitHub how the tokens of {github.full_name} name it") as step:
        found = identity.repository_identity(token, github.full_name, api_url=github.api_url)
        step.detail = found.subject_repository
    if not found.uses_default_subject:
        steps.emit(
            Warned(
                f"{github.full_name} has a subject template of its own: its tokens may not say what the roles trust",
                "see docs.github.com, Customizing the token claims; take the template away, or write the roles by hand",
            )
        )
    if found.subject_repository == github.repository:
        return
    hint = f'set repository = "{found.subject_repository}" in [github] of orch.toml'
    said = f"the tokens of {github.full_name} name it {found.subject_repository}, and orch.toml {github.repository}"
    if found.is_confirmed:
        raise SettingsError(f"{said}: no role would let its workflows in", hint=hint)
    steps.emit(Warned(f"{said}; GitHub does not say so itself, it follows from the date of creation", hint))


def _open_root(
    settings: Settings, environment: Environment, session: Aws, environ: Mapping[str, str], steps: Steps
) -> RootModule:
    given = variables(settings, environment, create_provider=_is_provider_ours(session, environment))
    return runner.open_root_module(
        binary.find(settings.terraform.binary, environ),
        settings.bootstrap_module,
        backend_config=planning.backend_config(environment, session),
        environ={**environ, **given},
        aws_environ=session.process_environment(),
        role="bootstrap",
        provider_mirror=settings.terraform.provider_mirror,
        lock_timeout_s=settings.terraform.lock_timeout_s,
        emit=steps.emit,
    )


def _is_provider_ours(session: Aws, environment: Environment) -> bool:
    """Whether the identity provider is Terraform's to make: there is none, or this very state made it. Raises AwsError.

    An account can hold one provider for an issuer, and another project, or somebody by hand, may have made it before.
    """
    arn = trust.provider_arn(environment.account_id, environment.region)
    try:
        with aws.translated("iam:GetOpenIDConnectProvider"):
            answer = session.iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    except AwsError as error:
        if error.code in _NO_PROVIDER:
            return True
        raise
    tags = {tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])}
    return tags.get(_STATE_TAG) == f"{environment.state_bucket}/{_STATE_KEY}"


def _require_gone(settings: Settings, environment: Environment, session: Aws) -> None:
    """Raises RefusedError unless every environment that this bootstrap serves is destroyed, which its roles tell."""
    for item in neighbours(settings, environment):
        if item.is_protected:
            raise RefusedError(f"environment `{item.name}` is protected, and needs what bootstrap made")
        path = f"/orch/{settings.project}-{item.name}/"
        with aws.translated("iam:ListRoles"):
            found = session.iam.list_roles(PathPrefix=path)["Roles"]
        if found:
            raise RefusedError(
                f"environment `{item.name}` still has roles that are bounded by what bootstrap made",
                details=tuple(role["Arn"] for role in found),
                hint=f"run `orch destroy --env {item.name}` first",
            )


def _plan(root: RootModule, environment: Environment, steps: Steps, *, is_destroy: bool = False) -> SavedPlan:
    planning.init(root, steps)
    with steps.step("plan", "terraform plan -destroy" if is_destroy else "terraform plan") as step:
        saved = runner.plan(root, steps.emit, is_destroy=is_destroy)
        step.detail = saved.plan.summary
    steps.emit(PlanReady(f"account {environment.account_id}", saved.plan))
    return saved


def _apply(
    root: RootModule, environment: Environment, steps: Steps, approve: Callable[[Plan], bool]
) -> dict[str, str]:
    saved = _plan(root, environment, steps)
    try:
        outputs: Mapping[str, object] = saved.outputs
        if saved.plan.is_applicable:
            if not approve(saved.plan):
                raise DeclinedError("the plan was not approved; beside the state bucket nothing was changed")
            outputs = applying.apply_saved(root, saved, steps)
    finally:
        saved.discard()
    arns = outputs.get("role_arns")
    return {str(name): str(arn) for name, arn in arns.items()} if isinstance(arns, dict) else {}


def _require_roles(settings: Settings, environment: Environment, role_arns: Mapping[str, str]) -> None:
    """Raises PreconditionError unless the module made the very roles that orch speaks of."""
    for item in neighbours(settings, environment):
        place = settings.place(item)
        for role in Role:
            expected = place.role_arn(role)
            if expected not in role_arns.values():
                raise PreconditionError(
                    f"{settings.bootstrap_module} made no role {expected}",
                    hint="keep its output role_arns and the role names as terraform/bootstrap of orch has them",
                    details=tuple(sorted(role_arns.values())),
                )


def set_up_github(
    github: GitHubSettings,
    wanted: Wanted,
    token: str,
    steps: Steps,
    approve: Callable[[tuple[Difference, ...]], bool],
) -> None:
    """Brings the repository to what is wanted, once that was shown and approved. Raises DeclinedError, OrchError."""
    with steps.step("github_compare", f"Compare {github.full_name} on GitHub") as step:
        found = repository.compare(token, github.full_name, wanted, api_url=github.api_url)
        doable = tuple(difference for difference in found if not isinstance(difference, Remark))
        step.detail = f"{len(doable)} to change" if doable else "as it should be"
    for difference in found:
        if isinstance(difference, Remark):
            steps.emit(Warned(difference.line))
    if not doable:
        return
    if not approve(doable):
        raise DeclinedError("the changes on GitHub were not approved; what is in AWS stays")
    with steps.step("github", f"Set up {github.full_name} on GitHub"):
        repository.apply(token, github.full_name, doable, api_url=github.api_url, emit=steps.emit)
