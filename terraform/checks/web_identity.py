"""What a trust policy must ask before it lets a GitHub Actions workflow in. The rules of both tools stand here.

`problems(policy)` says in sentences what is loose; an empty list is a good policy. A statement that allows
sts:AssumeRoleWithWebIdentity must

- name that action itself, and the federated principal itself: no wildcard, no NotAction, no NotPrincipal;
- ask aud and sub, both of one issuer, by plain StringEquals. StringLike matches patterns; ForAllValues: and …IfExists are
  true when the token lacks the key (IAM user guide, "Condition operators");
- ask the audience sts.amazonaws.com, and subjects that say both who and when, letter by letter: the repository
  (`repo:OWNER/NAME`, or `repo:OWNER@ID/NAME@ID` as GitHub writes it for repositories made since July 2026) and a
  context, or the workflow that runs (job_workflow_ref). A subject without `who`, such as `environment:prod`, is one
  that any repository on GitHub can give itself (GitHub: "OpenID Connect reference", customized subject claims);

and beside it no statement may let a whole AWS account in, which would be a way around the question.

Other issuers than GitHub's get no gentler rules: orch knows no other workload that may assume a role this way.

With `expressions=True` the policy comes from source text, where a value may be an expression that only a plan resolves.
The structure is judged all the same: effect, actions, operators and keys must be literal or count as loose. Of values
(audience, subjects, ARNs) an expression is let through, unless a literal part of it holds a wildcard already: that is
for plan_trusts to judge. So is an empty list, for which checkov takes every list that it cannot resolve. What does not
look like an expression counts as literal.

Pure: standard library only, no file, no output. Must not raise on any JSON value: checkov passes over a check that does.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

AUDIENCE = "sts.amazonaws.com"
ACTION = "sts:AssumeRoleWithWebIdentity"

# Each is, or hands out, a credential that lives until somebody deletes it; a group only serves users.
LONG_LIVED = (
    "aws_iam_access_key",
    "aws_iam_group",
    "aws_iam_service_specific_credential",
    "aws_iam_user",
    "aws_iam_user_login_profile",
    "aws_iam_user_ssh_key",
)

_WILDCARD = re.compile(r"[*?]")
# Both ids or none: GitHub sends either form, never a mixture.
_REPOSITORY = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9._-]+|[A-Za-z0-9_-]+@\d+/[A-Za-z0-9._-]+@\d+")
_WORKFLOW = re.compile(r"[^/\s]+/[^/\s]+/\.github/workflows/[^/\s@]+@\S+")
_CLAIM = re.compile(r"[a-z][a-z_]*")
_FORMS = {
    "repo": _REPOSITORY,
    "repository": _REPOSITORY,
    "repository_id": re.compile(r"\d+"),
    "ref": re.compile(r"refs/(heads|tags)/\S+"),
    "job_workflow_ref": _WORKFLOW,
    "workflow_ref": _WORKFLOW,
}
# Names one repository, or one file in it.
_WHO = {"repo", "repository", "repository_id", "job_workflow_ref", "workflow_ref"}
# True of every run in a repository, or of every repository of an owner: none of these says when.
_ALWAYS = {
    "enterprise",
    "enterprise_id",
    "repo",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "repository_visibility",
}

_REFERENCE = re.compile(
    r"(?:var|local|each|data|module|self|count|path|terraform)\."  # a named value
    r"|(?:aws|github|terraform)_\w+\."  # a resource's attribute
    r"|\w+\.(?:value|key)\b"  # the iterator of a dynamic block
    r"|[a-z]\w*\(|\[|\{"  # a function call, a list, an object, a for expression
)
_INTERPOLATION = re.compile(r"(?<!\$)\$\{[^{}]*\}")
_QUOTED = re.compile(r"""["']([^"']*)["']""")


def problems(policy: Any, *, expressions: bool = False) -> list[str]:
    """What is loose in a trust policy in its JSON form (a dict with a Statement)."""
    if not isinstance(policy, dict):
        return ["is no policy document"]
    found: list[str] = []
    statements: list[dict[str, Any]] = []
    for statement in _listed(_elements(policy).get("Statement")):
        if isinstance(statement, dict):
            statements.append(_elements(statement))
        elif not expressions or mentions_web_identity(statement):
            found.append("has statements that cannot be read here: write them as a list of objects")
    federated = [statement for statement in statements if _allows_web_identity(statement, expressions)]
    for statement in federated:
        found += _statement_problems(statement, expressions)
    if federated:
        found += [
            f"lets the whole of {identifier!r} in beside the federated principal"
            for statement in statements
            if statement.get("Effect") != "Deny"
            for kind, identifier in _principals(statement)
            if kind in {"AWS", "*"} and _is_whole_account(identifier)
        ]
    return list(dict.fromkeys(found))


def subject_problem(subject: str) -> str | None:
    """Why a subject is not exact, or None."""
    if _WILDCARD.search(subject):
        return "holds a wildcard"
    if "${" in subject or "&{" in subject:
        return "holds a policy variable"
    names: set[str] = set()
    parts = iter(subject.split(":"))
    for name in parts:
        if name != "pull_request":
            value = next(parts, "")
            if not _CLAIM.fullmatch(name) or not value.strip():
                return "is not written CLAIM:VALUE:CLAIM:VALUE"
            if name in _FORMS and not _FORMS[name].fullmatch(value):
                return f"gives {name} the value {value!r}, which GitHub never sends"
        names.add(name)
    if not names & _WHO:
        return "names no repository, so that any repository can claim it"
    if not names - _ALWAYS:
        return "names no context (environment, ref or pull_request): every run of the repository has it"
    return None


def mentions_web_identity(text: Any) -> bool:
    return ACTION.lower() in str(text).lower()


def statement_of_block(block: dict[str, Any]) -> dict[str, Any]:
    """A `statement` block of aws_iam_policy_document, as checkov parses it, in the JSON form of IAM.

    A condition in a dynamic block may be absent, or may add values to a plain one, so it gets an operator of its own,
    which is not the plain StringEquals that aud and sub need.
    """
    statement: dict[str, Any] = {"Effect": "Allow", "Principal": {}, "Condition": {}}
    for effect in _strings(block.get("effect")):
        statement["Effect"] = effect
    for argument, element in (("actions", "Action"), ("not_actions", "NotAction")):
        if argument in block:
            statement[element] = _strings(block[argument])
    if block.get("not_principals"):
        statement["NotPrincipal"] = block["not_principals"]
    for _, content in _blocks(block, "principals"):
        for kind in _strings(content.get("type")):
            statement["Principal"].setdefault(kind, []).extend(_strings(content.get("identifiers")))
    for prefix, content in _blocks(block, "condition"):
        for test in _strings(content.get("test")):
            keys = statement["Condition"].setdefault(prefix + test, {})
            for variable in _strings(content.get("variable")):
                keys.setdefault(variable, []).extend(_strings(content.get("values")))
    return statement


def _blocks(block: dict[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
    """The blocks of a name within a block: the plain ones, then those that a dynamic block makes."""
    found = [("", content) for content in _listed(block.get(name))]
    found += [("dynamic ", content) for made, content in dynamic_blocks(block) if made == name]
    return [(prefix, content) for prefix, content in found if isinstance(content, dict)]


def dynamic_blocks(block: dict[str, Any]) -> list[tuple[str, Any]]:
    """The contents of a block's dynamic blocks, as checkov parses them, each with the name of the block it makes."""
    return [
        (name, content)
        for item in _listed(block.get("dynamic"))
        if isinstance(item, dict)
        for name, made in item.items()
        if isinstance(made, dict)
        for content in _listed(made.get("content"))
    ]


def _allows_web_identity(statement: dict[str, Any], expressions: bool) -> bool:
    """Whether the statement may allow it: what cannot be read counts as allowing where the principal is federated."""
    if statement.get("Effect") == "Deny":
        return False
    actions = _strings(statement.get("Action"))
    if any(action.lower() == ACTION.lower() for action in actions):
        return True
    # Without a principal it is the policy of an identity, which grants nothing of the kind.
    if "NotPrincipal" not in statement and not any(
        kind in {"Federated", "*"} or (expressions and _is_expression(kind)) for kind in _kinds(statement)
    ):
        return False
    if "NotAction" in statement:
        return not any(_covers(action) for action in _strings(statement["NotAction"]))
    if expressions and not actions:
        return True
    return any(_covers(action) or (expressions and _is_expression(action)) for action in actions)


def _statement_problems(statement: dict[str, Any], expressions: bool) -> list[str]:
    found = []
    actions = _strings(statement.get("Action"))
    if "NotAction" in statement:
        found.append("allows by NotAction whatever that does not name")
    found += [
        f"allows {action!r}, which is more than {ACTION}"
        for action in actions
        if _WILDCARD.search(action) or (expressions and _is_expression(action))
    ]
    if not actions and "NotAction" not in statement:
        found.append("names no action that can be read here")
    providers = [identifier for kind, identifier in _principals(statement) if kind == "Federated"]
    if "Federated" not in _kinds(statement):
        found.append("names no federated principal")
    found += [f"trusts every provider that fits {name!r}" for name in providers if _WILDCARD.search(name)]
    return found + _condition_problems(statement.get("Condition"), providers, expressions)


def _condition_problems(condition: Any, providers: list[str], expressions: bool) -> list[str]:
    found: list[str] = []
    issuers: set[str] = set()
    asked: set[str] = set()
    for operator, key, values in _conditions(condition):
        issuer, _, claim = key.rpartition(":")
        # IAM compares keys without regard to case.
        claim = claim.lower()
        if claim not in {"aud", "sub"}:
            continue
        asked.add(claim)
        issuers.add(issuer.lower())
        if operator != "StringEquals":
            found.append(f"asks {claim} by {operator}, not by plain StringEquals")
        if not values and not expressions:
            found.append(f"asks {claim} for no value")
        found += [
            f"{'audience' if claim == 'aud' else 'subject'} {value!r} {problem}"
            for value in values
            if (problem := _value_problem(claim, value, expressions))
        ]
    found += [f"does not ask {claim}" for claim in ("aud", "sub") if claim not in asked]
    # A provider's ARN ends in its issuer. Of expressions neither side is known.
    for provider in providers:
        _, _, name = provider.lower().partition(":oidc-provider/")
        if name:
            issuers.add(name)
    if len({issuer for issuer in issuers if not (expressions and "${" in issuer)}) > 1:
        found.append(f"asks claims of different issuers: {', '.join(sorted(issuers))}")
    return found


def _conditions(condition: Any) -> list[tuple[str, str, list[str]]]:
    """(operator, key, values) of each condition; what is no condition is left out, and so counts as not asked."""
    return [
        (str(operator), str(key), _strings(values))
        for part in _listed(condition)
        if isinstance(part, dict)
        for operator, keys in part.items()
        if isinstance(keys, dict)
        for key, values in keys.items()
    ]


def _value_problem(claim: str, value: str, expressions: bool) -> str | None:
    if claim == "aud" and value == AUDIENCE:
        return None
    if expressions and _is_expression(value):
        return "holds a wildcard" if any(map(_WILDCARD.search, _literal_parts(value))) else None
    return f"is not {AUDIENCE}" if claim == "aud" else subject_problem(value)


def _is_expression(text: str) -> bool:
    """Whether the text of a configuration stands for a value that only a plan knows. checkov drops the quotes of strings."""
    # $${ and &{ are how a configuration writes IAM's own variables: literal text, and never exact.
    if "$${" in text or "&{" in text:
        return False
    return "${" in text or _REFERENCE.match(text) is not None


def _literal_parts(expression: str) -> list[str]:
    """What an expression holds of literal text: around the interpolations of a template, or the subjects in quotes."""
    if _REFERENCE.match(expression):
        parts = [part for part in _QUOTED.findall(expression) if ":" in part]
    else:
        parts = [expression]
    bare = []
    for part in parts:
        before, rest = "", part
        while rest != before:
            before, rest = rest, _INTERPOLATION.sub("", rest)
        bare.append(rest)
    return bare


def _covers(pattern: str) -> bool:
    """Whether IAM's pattern for actions covers ours; `[` is no wildcard there, as it is for fnmatch."""
    return fnmatchcase(ACTION.lower(), pattern.lower().replace("[", "[[]"))


def _is_whole_account(identifier: str) -> bool:
    """Everybody, or an account: as such, as its root, or by an expression that names its id."""
    bare = identifier.removesuffix("}")
    return (
        "*" in identifier
        or bare.endswith((":root", "account_id"))
        or re.fullmatch(r"\d{12}", bare) is not None
    )


def _kinds(statement: dict[str, Any]) -> set[str]:
    """The kinds of principals, also of those whose identifiers checkov could not resolve to more than an empty list."""
    principals = _listed(statement.get("Principal"))
    return {
        str(kind)
        for principal in principals
        for kind in (principal if isinstance(principal, dict) else [principal])
    }


def _principals(statement: dict[str, Any]) -> list[tuple[str, str]]:
    """(kind, identifier) of each principal; one that is no object, "*" above all, is its own kind."""
    found: list[tuple[str, str]] = []
    for principal in _listed(statement.get("Principal")):
        if isinstance(principal, dict):
            found += [(str(kind), name) for kind, names in principal.items() for name in _strings(names)]
        else:
            found.append((str(principal), str(principal)))
    return found


def _elements(policy: dict[str, Any]) -> dict[str, Any]:
    """With IAM's own spelling of the elements' names, so that no other one slips past."""
    names = ("Statement", "Effect", "Action", "NotAction", "Principal", "NotPrincipal", "Condition")
    spelled = {name.lower(): name for name in names}
    return {spelled.get(str(name).lower(), str(name)): value for name, value in policy.items()}


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _strings(value: Any) -> list[str]:
    """The strings in a value, a list, or checkov's lists of lists."""
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [] if value is None else [str(value)]
