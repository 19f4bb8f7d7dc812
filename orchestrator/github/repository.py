"""A repository's deployment environments and Actions variables: compared with what orch wants, and brought there.

`compare` reads alone, and its result can be shown line by line; `apply` does exactly those differences, may be repeated, and
claims nothing that GitHub does not show afterwards. A second `compare` then finds nothing to do.

An environment's deployment branch rule is what protects it: a job with `environment:` loses the ref from its OIDC subject
(docs.github.com, "OpenID Connect"), so whoever may deploy to `prod` gets its role. Hence:

- A missing environment is created closed (custom branch policies, none yet) and then opened to the wanted branches; its
  variables come last. A run that dies in between leaves an environment that nobody may deploy to.
- "Create or update an environment" is a PUT. GitHub does not document that it keeps what it is not told, and reviewers have
  been lost so (ministryofjustice/modernisation-platform issue #4516). An environment without a rule gets one together with
  the reviewers, wait timer and bypass that it has just then, and these are read back. Settings that it does not have are not
  sent, since plans and servers refuse those that they do not know (see `api`).
- A rule that differs is never loosened or replaced, only remarked.
- Environments, rules and variables that orch does not want are left alone.

Touches: that repository, through `api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from orchestrator.errors import GitHubError
from orchestrator.events import OutputLine
from orchestrator.github import api
from orchestrator.github.api import API_URL, Api
from orchestrator.github.difference import (
    Actual,
    ActualEnvironment,
    BranchRule,
    CreateEnvironment,
    Difference,
    Protections,
    Remark,
    RestrictBranches,
    SetVariable,
    Wanted,
    check,
    differences,
    rule_of,
    wanted_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.events import Emit

# docs.github.com, "Permissions required for fine-grained personal access tokens"; there an environment's variables are under
# both headings.
_READ_REPOSITORY = "Metadata: read"
_READ_ENVIRONMENTS = "Actions: read"
_WRITE_ENVIRONMENTS = "Administration: write"
_READ_ENVIRONMENT_VARIABLES = "Environments: read, Variables: read"
_WRITE_ENVIRONMENT_VARIABLES = "Environments: write, Variables: write"
_READ_VARIABLES = "Variables: read"
_WRITE_VARIABLES = "Variables: write"
# docs.github.com/rest/deployments/environments, "About deployment environments".
_PLAN_HINT = (
    "environments and their branch rules in a private repository need GitHub Pro, Team or Enterprise: change the plan, or"
    " make the repository public; the environment may be there now, but without a rule"
)


def compare(token: str, repository: str, wanted: Wanted, *, api_url: str = API_URL) -> tuple[Difference, ...]:
    """What differs from `wanted`, in the order in which to mend it. Changes nothing. Raises SettingsError, GitHubError."""
    check(wanted)
    connection = api.connect(token, repository, api_url)
    _require_repository(connection)
    return differences(_read(connection, wanted), wanted)


def apply(
    token: str,
    repository: str,
    found: tuple[Difference, ...],
    *,
    api_url: str = API_URL,
    emit: Emit | None = None,
) -> None:
    """Does what `compare` found, and reads it back; may be repeated. Emits a line for each thing that GitHub accepted.

    Raises GitHubError where GitHub refuses, where the repository was changed since `compare`, and when it does not show
    afterwards what was written; what was done until then stays.
    """
    doable = tuple(difference for difference in found if not isinstance(difference, Remark))
    if not doable:
        return
    written = wanted_of(doable)
    check(written)
    connection = api.connect(token, repository, api_url)
    is_private = _require_repository(connection)
    for difference in doable:
        if isinstance(difference, SetVariable):
            _set_variable(connection, difference)
        else:
            _protect(connection, difference, is_private=is_private)
        if emit is not None:
            emit(OutputLine("github", difference.line))
    remaining = differences(_read(connection, written), written)
    if remaining:
        raise GitHubError(
            f"GitHub accepted every change to {repository}, but does not show all of them",
            hint="something else changes this repository too, or GitHub is late: run it again",
            details=tuple(difference.line for difference in remaining),
        )


def _require_repository(connection: Api) -> bool:
    """Whether it is private. Raises GitHubError unless the repository exists under this very name: after a rename GitHub
    redirects, and lists would come without their pages; and the OIDC subject has the new name.
    """
    answer = connection.get("", permission=_READ_REPOSITORY)
    name, is_private = answer.get("full_name"), answer.get("private")
    if not isinstance(name, str) or not isinstance(is_private, bool):
        raise connection.unexpected("GET ", 200, "the repository has no name")
    if name.casefold() != connection.repository.casefold():
        raise GitHubError(
            f"the repository {connection.repository} is called {name} now",
            status=301,
            endpoint=f"GET /repos/{connection.repository}",
            hint=f"write {name} in its place: workflows of the repository identify themselves by that name",
        )
    return is_private


def _read(connection: Api, wanted: Wanted) -> Actual:
    """Only what is wanted is read: each kind needs a permission of its own."""
    environments: dict[str, ActualEnvironment] = {}
    if wanted.environments:
        listed = _list_environments(connection)
        for environment in wanted.environments:
            key = environment.name.casefold()
            if key in listed:
                environments[key] = _environment(
                    connection, listed[key], with_variables=bool(environment.variables)
                )
    variables = _variables(connection, "/actions/variables", _READ_VARIABLES) if wanted.variables else {}
    return Actual(variables, environments)


def _list_environments(connection: Api) -> dict[str, dict[str, Any]]:
    """By name in lower case. The list alone tells that one is missing: asked for by itself, 404 may also mean that the token
    may not see it, and a PUT would then reset what is there.
    """
    items = connection.items("/environments", "environments", permission=_READ_ENVIRONMENTS)
    return {_text(connection, "/environments", item, "name").casefold(): item for item in items}


def _environment(connection: Api, answer: Mapping[str, Any], *, with_variables: bool) -> ActualEnvironment:
    name = _text(connection, "/environments", answer, "name")
    path = _path(name)
    protections = _protections(connection, path, answer)
    rule = None
    policy = answer.get("deployment_branch_policy")
    if isinstance(policy, dict):
        is_custom = policy.get("custom_branch_policies") is True
        rule = BranchRule(not is_custom, _patterns(connection, path) if is_custom else frozenset())
    elif policy is not None:
        raise connection.unexpected(f"GET {path}", 200, "the deployment branch policy is not as documented")
    variables = (
        _variables(connection, f"{path}/variables", _READ_ENVIRONMENT_VARIABLES) if with_variables else {}
    )
    return ActualEnvironment(name, rule, protections, variables)


def _patterns(connection: Api, path: str) -> frozenset[tuple[str, str]]:
    policies = connection.items(
        f"{path}/deployment-branch-policies", "branch_policies", permission=_READ_ENVIRONMENTS
    )
    # Servers without tag rules do not name the type.
    return frozenset(
        (str(policy.get("type") or "branch"), _text(connection, path, policy, "name")) for policy in policies
    )


def _protections(connection: Api, path: str, answer: Mapping[str, Any]) -> Protections:
    """Strict: what is not understood here could get lost on the next PUT."""
    reviewers: list[tuple[str, int]] = []
    wait_timer_minutes, prevent_self_review = 0, False
    others: list[str] = []
    rules = answer.get("protection_rules")
    if not isinstance(rules, list):
        raise connection.unexpected(f"GET {path}", 200, "it does not list the protection rules")
    has_branch_rule = False
    for rule in rules:
        match rule:
            case {"type": "wait_timer", "wait_timer": int(minutes)}:
                wait_timer_minutes = minutes
            case {"type": "required_reviewers", "reviewers": list(listed)}:
                prevent_self_review = rule.get("prevent_self_review") is True
                for reviewer in listed:
                    match reviewer:
                        case {"type": str(kind), "reviewer": {"id": int(number)}}:
                            reviewers.append((kind, number))
                        case _:
                            raise connection.unexpected(f"GET {path}", 200, "a reviewer has no type or id")
            case {"type": "branch_policy"}:
                has_branch_rule = True
            case {"type": str(kind)} if kind not in {"wait_timer", "required_reviewers"}:
                others.append(kind)
            case _:
                raise connection.unexpected(f"GET {path}", 200, "a protection rule is not as documented")
    if has_branch_rule and answer.get("deployment_branch_policy") is None:
        raise connection.unexpected(f"GET {path}", 200, "it names a branch policy, and does not show it")
    return Protections(
        tuple(sorted(reviewers)),
        wait_timer_minutes,
        prevent_self_review,
        # In GitHub's answers, but not in its description; see google/go-github issue #2725.
        answer.get("can_admins_bypass") is not False,
        tuple(sorted(others)),
    )


def _variables(connection: Api, path: str, permission: str) -> dict[str, str]:
    items = connection.items(path, "variables", permission=permission)
    return {
        _text(connection, path, item, "name").upper(): _text(connection, path, item, "value")
        for item in items
    }


def _protect(connection: Api, difference: CreateEnvironment | RestrictBranches, *, is_private: bool) -> None:
    """Creates the environment, or gives the one that is there its rule; looks first, since it may have changed."""
    path = _path(difference.environment)
    try:
        answer = _list_environments(connection).get(difference.environment.casefold())
        if answer is None and isinstance(difference, RestrictBranches):
            raise _changed(difference.environment, "is gone")
        now = None if answer is None else _environment(connection, answer, with_variables=False)
        _put_environment(connection, path, now, difference)
        if difference.branches and (now is None or now.rule != rule_of(difference.branches)):
            for branch in difference.branches:
                # 303: GitHub has this pattern already.
                connection.send(
                    "POST",
                    f"{path}/deployment-branch-policies",
                    {"name": branch, "type": "branch"},
                    permission=_WRITE_ENVIRONMENTS,
                    accepted={303},
                )
    except GitHubError as error:
        if is_private and error.status in {403, 404, 422}:
            raise GitHubError(
                error.message,
                status=error.status,
                endpoint=error.endpoint,
                hint=f"{error.hint}; or: {_PLAN_HINT}" if error.status != 422 else _PLAN_HINT,
                details=error.details,
            ) from error
        raise


def _put_environment(
    connection: Api,
    path: str,
    now: ActualEnvironment | None,
    difference: CreateEnvironment | RestrictBranches,
) -> None:
    closed = BranchRule(protected_only=False)
    if now is not None:
        if not difference.branches or now.rule in {closed, rule_of(difference.branches)}:
            return
        if now.rule is not None:
            raise _changed(difference.environment, f"is open to {now.rule} now")
    kept = Protections() if now is None else now.protections
    connection.send("PUT", path, _settings(kept, difference.branches), permission=_WRITE_ENVIRONMENTS)
    if now is None:
        return
    after = _protections(connection, path, connection.get(path, permission=_READ_ENVIRONMENTS))
    if after != kept:
        raise GitHubError(
            f"environment `{difference.environment}` of {connection.repository} has its branch rule, but GitHub changed"
            f" its protection: it had {str(kept) or 'none'}, and has {str(after) or 'none'}",
            endpoint=f"PUT /repos/{connection.repository}{path}",
            hint="restore it in the repository's settings, Environments, before the next deployment",
        )


def _settings(kept: Protections, branches: tuple[str, ...]) -> dict[str, Any]:
    """The body of the PUT: the rule, and of the protections those that the environment has."""
    body: dict[str, Any] = {}
    if branches:
        body["deployment_branch_policy"] = {"protected_branches": False, "custom_branch_policies": True}
    if kept.reviewers:
        body["reviewers"] = [{"type": kind, "id": number} for kind, number in kept.reviewers]
    if kept.wait_timer_minutes:
        body["wait_timer"] = kept.wait_timer_minutes
    if kept.prevent_self_review:
        body["prevent_self_review"] = True
    if not kept.can_admins_bypass:
        body["can_admins_bypass"] = False
    return body


def _set_variable(connection: Api, difference: SetVariable) -> None:
    body = {"name": difference.name, "value": difference.new}
    if difference.environment is None:
        path, permission = "/actions/variables", _WRITE_VARIABLES
    else:
        path, permission = f"{_path(difference.environment)}/variables", _WRITE_ENVIRONMENT_VARIABLES
    # 409: the variable is there already, of an earlier run or an attempt whose answer was lost. Not in the description of
    # the API, but what GitHub's own command `gh variable set` goes by.
    if difference.old is None:
        status = connection.send("POST", path, body, permission=permission, accepted={409})
        if status != 409:
            return
    connection.send("PATCH", f"{path}/{difference.name}", body, permission=permission)


def _changed(environment: str, what: str) -> GitHubError:
    return GitHubError(
        f"environment `{environment}` {what}: it was changed since it was compared",
        hint="run it again, and look at the new differences",
    )


def _path(environment: str) -> str:
    # "The name must be URL encoded. For example, any slashes in the name must be replaced with %2F."
    return f"/environments/{quote(environment, safe='')}"


def _text(connection: Api, path: str, item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise connection.unexpected(f"GET {path}", 200, f"an item of the list has no `{key}`")
    return value
