"""What `orch doctor` checks of one environment's account: credentials, account, region, clock, state bucket, identity provider, the
pipeline roles' trust, the registry's login.

Calls of AWS: sts:GetCallerIdentity; s3:ListBucket, GetBucketVersioning, GetEncryptionConfiguration, GetBucketPublicAccessBlock,
GetBucketOwnershipControls, GetBucketPolicy and GetLifecycleConfiguration of the state bucket, s3:ListAllMyBuckets where that is
refused; iam:GetOpenIDConnectProvider, iam:GetRole; ecr:GetAuthorizationToken. Each reads alone, and what is refused is a SKIP.
Touches: those, and the registry, which is asked whether it takes the login.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from orchestrator import aws, store
from orchestrator.ecs import facts
from orchestrator.ecs.check import Check
from orchestrator.errors import AwsError, ImageError, PreconditionError
from orchestrator.github import trust
from orchestrator.image import distribution, ecr
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.aws import Aws, Identity
    from orchestrator.model import Finding
    from orchestrator.operations.doctor import Given
    from orchestrator.settings import Environment

_THREADS = 8
# Signature version 4 is good for 5 minutes: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-signing.html
_REFUSED_SKEW_S = 300
_NOTABLE_SKEW_S = 30
_REFUSED = frozenset({"403", "AccessDenied"})
_NO_PROVIDER = frozenset({"NoSuchEntity", "NoSuchEntityException"})
_SETTING = "state_bucket_"
_SETTINGS = ("versioning", "encryption", "public access", "ownership", "policy", "lifecycle")
# What `--fix` does when these fail. A bucket that is another's, or in another region, is not among them.
_NO_BUCKET = "state_bucket"
MENDABLE = frozenset({_NO_BUCKET, *(_SETTING + name.replace(" ", "_") for name in _SETTINGS)})


def examine(
    given: Given, environment: Environment, session: Aws, *, subject_repository: str
) -> tuple[str, tuple[Finding, ...]]:
    """The ARN of the credentials, "" without any, and the findings; `subject_repository` is how GitHub's tokens name the repository."""
    checks = _checks(given, environment, session, subject_repository)
    caller, account, reason = _who(environment, session)
    before = (*account, _region(given, environment), _clock(given, session))
    if reason:
        return caller, (*before, *(check.skip(reason) for check, _ask in checks))
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(_settle, checks)
        return caller, (*before, *(finding for findings in found for finding in findings))


def _settle(one: tuple[Check, Callable[[Check], list[Finding]]]) -> list[Finding]:
    check, ask = one
    answer = facts.asked(partial(ask, check))
    return [check.skip(answer.reason)] if isinstance(answer, facts.Unread) else answer


def _checks(
    given: Given, environment: Environment, session: Aws, subject_repository: str
) -> list[tuple[Check, Callable[[Check], list[Finding]]]]:
    """What needs credentials of the right account."""
    listed: list[tuple[Check, Callable[[Check], list[Finding]]]] = [
        (
            Check(_NO_BUCKET, "state bucket", environment.state_bucket),
            partial(_bucket, given, environment, session),
        )
    ]
    if given.settings.github is not None:
        arn = trust.provider_arn(environment.account_id, environment.region)
        listed.append(
            (
                Check("oidc_provider", "identity provider", arn),
                partial(_provider, given, environment, session),
            )
        )
        place = given.settings.place(environment)
        listed += [
            (
                Check("role_trust", f"trust of {role}", place.role_arn(role)),
                partial(_role, given, environment, session, role=role, subject_repository=subject_repository),
            )
            for role in Role
        ]
    registry = f"{environment.account_id} in {environment.region}"
    listed.append((Check("registry", "registry login", registry), partial(_registry, given, session)))
    return listed


# --- who, where, when


def _who(environment: Environment, session: Aws) -> tuple[str, tuple[Finding, ...], str]:
    """The caller's ARN, the findings about it, and why nothing else can be asked, if so."""
    credentials = Check("credentials", "credentials", environment.assume_role or "the default chain")
    account = Check("account", "account", environment.account_id)
    try:
        identity: Identity = session.identity()
    except AwsError as error:
        hint = error.hint or "log in to the account, and run this again"
        reason = "no credentials that AWS takes"
        return "", (credentials.fail(error.message, hint), account.skip(reason)), reason
    known = credentials.ok(identity.arn)
    try:
        aws.require_account(identity, account_id=environment.account_id, environment=environment.name)
    except PreconditionError as error:
        failed = account.fail(error.message, error.hint)
        return identity.arn, (known, failed), f"the credentials are those of account {identity.account_id}"
    return identity.arn, (known, account.ok(f"{identity.account_id}, as orch.toml says")), ""


def _region(given: Given, environment: Environment) -> Finding:
    """Only orch goes by orch.toml; what else runs in this shell goes by its variables."""
    check = Check("region", "region", environment.region)
    ours = {one.region for one in given.settings.environments.values()}
    # boto3 reads the second alone, the AWS CLI and Terraform the first before it.
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        other = given.environ.get(name, "")
        if other and other not in ours:
            return check.warn(
                f"orch.toml says {environment.region}, {name} in this shell {other}: orch goes by orch.toml, other tools do not",
                f"export {name}={environment.region}",
            )
    return check.ok(f"{environment.region}, as orch.toml says")


def _clock(given: Given, session: Aws) -> Finding:
    check = Check("clock", "clock", "this machine")
    told_s = session.told_now()
    if told_s is None:
        return check.skip("AWS has not answered")
    # AWS tells whole seconds.
    ahead_s = given.now() - told_s
    if abs(ahead_s) < _NOTABLE_SKEW_S:
        return check.ok("within seconds of AWS's")
    said = f"this machine is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} AWS"
    hint = "set the clock: `sudo timedatectl set-ntp true`, on macOS `sudo sntp -sS time.apple.com`"
    if abs(ahead_s) < _REFUSED_SKEW_S:
        return check.warn(f"{said}; it refuses signatures from {_REFUSED_SKEW_S} s on", hint)
    return check.fail(f"{said}, which refuses signatures older than {_REFUSED_SKEW_S} s", hint)


# --- the state bucket


def _bucket(given: Given, environment: Environment, session: Aws, check: Check) -> list[Finding]:
    bucket, account_id = environment.state_bucket, environment.account_id
    fix = f"run `{given.command('doctor', '--env', environment.name, '--fix')}`"
    try:
        region = store.region_of(session.s3, bucket, account_id=account_id)
    except AwsError as error:
        if error.code in _REFUSED:
            return [_foreign(environment, session, replace(check, id="state_bucket_owner"), error)]
        raise
    if region is None:
        return [check.fail(f"there is no bucket {bucket}", fix)]
    if region not in {"", environment.region}:
        return [
            replace(check, id="state_bucket_region").fail(
                f"{bucket} lies in {region}, and the environment in {environment.region}",
                f"set region or state_bucket in [environments.{environment.name}] of orch.toml",
            )
        ]
    asked = store.setting_checks(session.s3, bucket, region=environment.region, account_id=account_id)
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = dict(zip(asked, pool.map(facts.asked, asked.values()), strict=True))
    found = [check.ok(f"{bucket}, in {environment.region}")]
    for name, answer in answers.items():
        one = Check(_SETTING + name.replace(" ", "_"), f"its {name}", bucket)
        if isinstance(answer, facts.Unread):
            found.append(one.skip(answer.reason))
        else:
            found.append(one.fail(answer, fix) if answer else one.ok("as orch makes it"))
    return found


def _foreign(environment: Environment, session: Aws, check: Check, error: AwsError) -> Finding:
    """S3 refuses both a bucket of another account and one that the credentials may not look at: the account's list tells."""
    listed = facts.asked(partial(store.is_listed, session.s3, environment.state_bucket))
    if listed is False:
        return check.fail(
            f"{environment.state_bucket} belongs to another account than {environment.account_id}",
            f"choose another state_bucket in [environments.{environment.name}] of orch.toml",
        )
    owner = "" if listed is True else ", or the bucket is another account's"
    return check.skip(f"the credentials may not call {error.message.partition(' failed')[0]}{owner}")


# --- what GitHub's workflows come in by


def _provider(given: Given, environment: Environment, session: Aws, check: Check) -> list[Finding]:
    hint = f"run `{given.command('bootstrap', '--env', environment.name)}`"
    try:
        with aws.translated("iam:GetOpenIDConnectProvider"):
            answer = session.iam.get_open_id_connect_provider(OpenIDConnectProviderArn=check.subject)
    except AwsError as error:
        if error.code in _NO_PROVIDER:
            return [check.fail(f"the account has no identity provider {check.subject}", hint)]
        raise
    audiences = answer.get("ClientIDList", [])
    if trust.AUDIENCE in audiences:
        return [check.ok(f"{trust.ISSUER}, for {trust.AUDIENCE}")]
    return [
        check.fail(
            f"it does not take the audience {trust.AUDIENCE}, but {', '.join(audiences) or 'none'}",
            f"`aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn {check.subject}"
            f" --client-id {trust.AUDIENCE}`",
        )
    ]


def _role(
    given: Given,
    environment: Environment,
    session: Aws,
    check: Check,
    *,
    role: Role,
    subject_repository: str,
) -> list[Finding]:
    github = given.settings.github
    policy = facts.read_role(session.iam, check.subject)
    hint = f"run `{given.command('bootstrap', '--env', environment.name)}`"
    if github is None or policy is None:
        return [check.fail(f"there is no role {check.subject}", hint)]
    if subject_repository != github.repository:
        hint = f'set repository = "{subject_repository}" in [github] of orch.toml, then {hint}'
    subjects = trust.subjects(
        role,
        subject_repository=subject_repository,
        environment=environment.name,
        branches=github.branches,
        promotes_to=given.settings.targets_of(environment.name),
    )
    refs = frozenset(github.job_workflow_refs if role in {Role.APPLY, Role.DEPLOY} else ())
    arn = trust.provider_arn(environment.account_id, environment.region)
    judged = trust.judge(policy, trust.Wanted(arn, subjects, refs))
    if judged.problem:
        return [check.fail(judged.problem, hint)]
    if judged.remark:
        return [check.warn(judged.remark, hint)]
    return [check.ok(", ".join(sorted(subjects)))]


def _registry(given: Given, session: Aws, check: Check) -> list[Finding]:
    login = ecr.log_in_here(session.ecr)
    registry = distribution.Repository(
        f"{login.registry}/", log_in=lambda: login, environ=given.environ, user_agent=aws.user_agent("")
    )
    try:
        registry.check_login()
    except ImageError as error:
        hint = error.hint if error.hint.startswith("behind") else "check the network and HTTPS_PROXY"
        return [check.fail(f"{login.registry}: {error.message}", hint)]
    finally:
        registry.close()
    return [check.ok(f"{login.registry} takes it")]
