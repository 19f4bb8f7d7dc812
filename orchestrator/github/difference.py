"""What orch wants of a repository, what GitHub has, and what differs: pure values, touching nothing.

Names: variables [A-Z_][A-Z0-9_]*, not GITHUB_…; names of variables and of environments are equal without regard to case
(docs.github.com, "Variables reference" and "Managing environments for deployment").
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = re.compile(r"(?!GITHUB_)[A-Z_][A-Z0-9_]*")
_MAX_NAME_CHARACTERS = 255


@dataclass(frozen=True)
class WantedEnvironment:
    """`branches` are the patterns that may deploy; none leaves the rule alone."""

    name: str
    branches: tuple[str, ...]
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Wanted:
    """What orch wants of a repository; `variables` are the repository's own."""

    variables: Mapping[str, str]
    environments: tuple[WantedEnvironment, ...]


@dataclass(frozen=True)
class Protections:
    """What an environment has beside its branch rule: `reviewers` as (type, id), `others` the types of further rules."""

    reviewers: tuple[tuple[str, int], ...] = ()
    wait_timer_minutes: int = 0
    prevent_self_review: bool = False
    can_admins_bypass: bool = True
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        count = len(self.reviewers)
        parts = (
            f"{count} reviewer{'s' if count > 1 else ''}" if count else "",
            "no review of one's own deployments" if self.prevent_self_review else "",
            f"{self.wait_timer_minutes} minutes to wait" if self.wait_timer_minutes else "",
            "" if self.can_admins_bypass else "no bypass for administrators",
            *self.others,
        )
        return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class BranchRule:
    """Who may deploy: branches with branch protection, or what matches `patterns`, which are (type, pattern)."""

    protected_only: bool
    patterns: frozenset[tuple[str, str]] = frozenset()

    def __str__(self) -> str:
        if self.protected_only:
            return "protected branches"
        names = (f"`{name}`" if kind == "branch" else f"{kind} `{name}`" for kind, name in self.patterns)
        return ", ".join(sorted(names)) or "no branch"


@dataclass(frozen=True)
class ActualEnvironment:
    """An environment as GitHub has it; without a rule, any branch may deploy."""

    name: str
    rule: BranchRule | None
    protections: Protections
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Actual:
    """A repository as GitHub has it, as far as orch wants something of it; environments by their name in lower case."""

    variables: Mapping[str, str]
    environments: Mapping[str, ActualEnvironment]


@dataclass(frozen=True)
class CreateEnvironment:
    """The environment is missing."""

    environment: str
    branches: tuple[str, ...]

    @property
    def line(self) -> str:
        rule = f", open to {_named(self.branches)} alone" if self.branches else ""
        return f"create environment `{self.environment}`{rule}"


@dataclass(frozen=True)
class RestrictBranches:
    """The environment has no branch rule, or one that is still empty; `protections` stay as they are."""

    environment: str
    branches: tuple[str, ...]
    is_closed: bool
    protections: Protections

    @property
    def line(self) -> str:
        now = "no branch" if self.is_closed else "any branch"
        kept = f"; kept: {self.protections}" if str(self.protections) else ""
        return f"open environment `{self.environment}` to {_named(self.branches)} alone (now: {now} may deploy){kept}"


@dataclass(frozen=True)
class SetVariable:
    """A variable is missing (`old` is None) or has another value; of the repository when `environment` is None."""

    environment: str | None
    name: str
    old: str | None
    new: str

    @property
    def line(self) -> str:
        where = "" if self.environment is None else f" of environment `{self.environment}`"
        if self.old is None:
            return f"create variable {self.name}{where}: {self.new!r}"
        return f"change variable {self.name}{where}: {self.old!r} → {self.new!r}"


@dataclass(frozen=True)
class Remark:
    """Something to tell, and nothing to do."""

    environment: str
    text: str

    @property
    def line(self) -> str:
        return f"environment `{self.environment}`: {self.text}"


Difference = CreateEnvironment | RestrictBranches | SetVariable | Remark


def differences(actual: Actual, wanted: Wanted) -> tuple[Difference, ...]:
    """What to do, environments first: a variable may name a role, and is of use only once its environment is protected."""
    found: list[Difference] = []
    for environment in wanted.environments:
        known = actual.environments.get(environment.name.casefold())
        name = environment.name if known is None else known.name
        if known is None:
            found.append(CreateEnvironment(name, environment.branches))
        else:
            found += _rule_differences(known, environment)
        variables = {} if known is None else known.variables
        found += _variable_differences(variables, environment.variables, name)
    return (*found, *_variable_differences(actual.variables, wanted.variables, None))


def _rule_differences(actual: ActualEnvironment, wanted: WantedEnvironment) -> list[Difference]:
    found: list[Difference] = []
    if actual.name != wanted.name:
        found.append(
            Remark(
                actual.name, f"orch.toml writes `{wanted.name}`; GitHub ignores case, a role's trust does not"
            )
        )
    if not wanted.branches or actual.rule == rule_of(wanted.branches):
        return found
    is_closed = actual.rule == BranchRule(protected_only=False)
    if actual.rule is None or is_closed:
        found.append(RestrictBranches(actual.name, wanted.branches, is_closed, actual.protections))
    else:
        text = f"its branch rule differs, and is left alone: open to {actual.rule}; orch would open it to "
        found.append(Remark(actual.name, f"{text}{_named(wanted.branches)}"))
    return found


def _variable_differences(
    actual: Mapping[str, str], wanted: Mapping[str, str], environment: str | None
) -> list[Difference]:
    return [
        SetVariable(environment, name, actual.get(name), value)
        for name, value in wanted.items()
        if actual.get(name) != value
    ]


def rule_of(branches: tuple[str, ...]) -> BranchRule:
    return BranchRule(protected_only=False, patterns=frozenset(("branch", branch) for branch in branches))


def _named(branches: tuple[str, ...]) -> str:
    return ", ".join(f"`{branch}`" for branch in branches)


def wanted_of(found: tuple[Difference, ...]) -> Wanted:
    """What the repository must be like once these differences are mended."""
    branches: dict[str, tuple[str, ...]] = {}
    variables: dict[str | None, dict[str, str]] = {}
    for difference in found:
        match difference:
            case CreateEnvironment() | RestrictBranches():
                branches[difference.environment] = difference.branches
            case SetVariable():
                variables.setdefault(difference.environment, {})[difference.name] = difference.new
            case Remark():
                pass
    names = [*branches, *(name for name in variables if name is not None and name not in branches)]
    return Wanted(
        variables.get(None, {}),
        tuple(WantedEnvironment(name, branches.get(name, ()), variables.get(name, {})) for name in names),
    )


def check(wanted: Wanted) -> None:
    """Raises SettingsError with every name that GitHub would not take, or would take for another."""
    problems: list[str] = []
    seen: set[str] = set()
    for environment in wanted.environments:
        name = environment.name
        # `.` and `..` would lead to another endpoint.
        if not name.strip(" .") or len(name) > _MAX_NAME_CHARACTERS or not name.isprintable():
            problems.append(f"{name!r} cannot be the name of an environment")
        if name.casefold() in seen:
            problems.append(f"environment {name!r} is there twice; GitHub ignores case")
        seen.add(name.casefold())
        problems += [
            f"environment {name!r}: {branch!r} is not a branch"
            for branch in environment.branches
            if not branch.strip() or not branch.isprintable()
        ]
        problems += _name_problems(environment.variables)
    problems += _name_problems(wanted.variables)
    if problems:
        raise SettingsError("GitHub cannot have what is wanted", details=tuple(problems))


def _name_problems(variables: Mapping[str, str]) -> list[str]:
    return [
        f"{name!r} cannot be the name of a variable: capitals, digits and _, no digit first, not GITHUB_…"
        for name in variables
        if not _VARIABLE.fullmatch(name)
    ]
