"""Whether a role's trust policy lets in the workflow runs that it is for, and nobody else. Pure.

GitHub's tokens say who runs in `sub`: `repo:OWNER/NAME:…` or `repo:OWNER@OWNER-ID/NAME@REPOSITORY-ID:…` (see `identity`), then
`environment:NAME` for a job with an environment, else `ref:refs/heads/BRANCH`, or `pull_request`
(docs.github.com, "OpenID Connect reference"). IAM compares it letter by letter, also its case. What a role should trust is
what terraform/modules/oidc writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.permissions import Role, partition_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
_ACTION = "sts:assumerolewithwebidentity"
_IDS = re.compile(r"@\d+(?=[/:])")
_CLAIMS = ("aud", "sub", "job_workflow_ref")


@dataclass(frozen=True)
class Wanted:
    """Who is to be let in: the identity provider by its ARN, the exact subjects, and the reusable workflows, if it asks for any."""

    provider_arn: str
    subjects: frozenset[str]
    job_workflow_refs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Judged:
    """What is wrong in words, and what is worth knowing; empty when there is nothing."""

    problem: str = ""
    remark: str = ""


def provider_arn(account_id: str, region: str) -> str:
    """The ARN of the account's identity provider for GitHub: an account can hold one for an issuer."""
    return f"arn:{partition_of(region)}:iam::{account_id}:oidc-provider/{ISSUER}"


def subjects(
    role: Role,
    *,
    subject_repository: str,
    environment: str,
    branches: Iterable[str],
    promotes_to: Iterable[str] = (),
) -> frozenset[str]:
    """The subjects of the runs that a pipeline role of an environment is for; `subject_repository` as `identity` tells it, and
    `promotes_to` the environments that get their releases from this one. As terraform/bootstrap/main.tf has them.
    """
    here = f"repo:{subject_repository}"
    names = [environment, *(promotes_to if role is Role.DEPLOY else ())]
    found = {f"{here}:environment:{name.replace(':', '%3A')}" for name in names}
    if role in {Role.PLAN, Role.PUSH}:
        found |= {f"{here}:ref:refs/heads/{branch.replace(':', '%3A')}" for branch in branches}
    if role is Role.PLAN:
        found.add(f"{here}:pull_request")
    return frozenset(found)


def judge(policy: Mapping[str, Any], wanted: Wanted) -> Judged:
    """Holds the trust policy of a role to what it should let in."""
    allowing: list[Mapping[str, Any]] = []
    others: list[Mapping[str, Any]] = []
    for statement in _listed(policy.get("Statement")):
        is_web = _is_web_identity(statement)
        (allowing if is_web else others).append(statement)
    problem = _problem(allowing, wanted)
    return Judged(problem, _remark(others))


def _problem(allowing: Sequence[Mapping[str, Any]], wanted: Wanted) -> str:
    ours = [one for one in allowing if _principals(one) == [("Federated", wanted.provider_arn)]]
    if not ours:
        return f"it does not let the identity provider {wanted.provider_arn} in"
    if len(ours) < len(allowing):
        named = sorted({name for one in allowing for _kind, name in _principals(one)} - {wanted.provider_arn})
        return f"it lets tokens of another identity provider in: {', '.join(named)}"
    trusted: set[str] = set()
    for statement in ours:
        claims, loose = _claims(statement)
        if loose:
            return loose
        if claims.get("aud") != {AUDIENCE}:
            return f"it does not ask for the audience {AUDIENCE} alone"
        if not claims.get("sub"):
            return f"it asks for no subject ({ISSUER}:sub): any repository on GitHub may take the role on"
        refs = claims.get("job_workflow_ref", set())
        if refs != wanted.job_workflow_refs:
            return f"it asks for the workflow {_named(refs)}, and orch.toml for {_named(wanted.job_workflow_refs)}"
        trusted |= claims["sub"]
    return _subject_problem(trusted, wanted.subjects)


def _subject_problem(trusted: set[str], wanted: frozenset[str]) -> str:
    missing, extra = sorted(wanted - trusted), sorted(trusted - wanted)
    if missing:
        said = f"it lets {_named(trusted)} in, and the tokens say {_named(missing)}"
        for one in missing:
            if any(_without_ids(one) == _without_ids(other) for other in extra):
                return f"{said}: the same repository in the other of GitHub's two forms"
            if any(one.casefold() == other.casefold() for other in extra):
                return f"{said}: the case differs, and IAM tells them apart"
        return said
    return f"it lets others in too: {_named(extra)}" if extra else ""


def _claims(statement: Mapping[str, Any]) -> tuple[dict[str, set[str]], str]:
    """The values asked of each claim by plain StringEquals, and in words what is asked in a looser way."""
    claims: dict[str, set[str]] = {}
    for test, keys in (statement.get("Condition") or {}).items():
        for key, values in keys.items():
            claim = key.lower().removeprefix(f"{ISSUER}:")
            named = {str(value) for value in _listed(values)}
            if claim not in _CLAIMS:
                continue
            # StringLike without a wildcard asks for the same; …IfExists and ForAllValues: are true without the claim.
            is_exact = test == "StringEquals" or (
                test == "StringLike" and not any(re.search(r"[*?]", value) for value in named)
            )
            if not is_exact:
                return {}, f"it asks for {claim} by {test} {_named(named)}, which may let others in"
            claims[claim] = named & claims[claim] if claim in claims else named
    return claims, ""


def _is_web_identity(statement: Mapping[str, Any]) -> bool:
    actions = {str(action).lower() for action in _listed(statement.get("Action"))}
    return statement.get("Effect") == "Allow" and bool(actions & {_ACTION, "sts:*", "*"})


def _remark(others: Sequence[Mapping[str, Any]]) -> str:
    if any(one.get("Effect") == "Deny" for one in others):
        return "it holds a Deny, which is not judged here"
    named = sorted({name for one in others for _kind, name in _principals(one)})
    return f"it lets in without a token of GitHub: {', '.join(named)}" if named else ""


def _principals(statement: Mapping[str, Any]) -> list[tuple[str, str]]:
    named = statement.get("Principal", {})
    if not isinstance(named, dict):
        return [("*", str(named))]
    return [(kind, str(value)) for kind, values in named.items() for value in _listed(values)]


def _without_ids(subject: str) -> str:
    return _IDS.sub("", subject)


def _named(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in sorted(values)) or "none"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
