"""What `orch doctor` checks of the repository on GitHub: token, repository, how its tokens name it, environments, variables.

Needs of a fine-grained token: Metadata, Actions, Environments and Variables, to read. Touches: that repository, reading alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.ecs.check import Check
from orchestrator.errors import GitHubError, OrchError
from orchestrator.github import identity, repository
from orchestrator.github.api import PassingError
from orchestrator.github.difference import (
    CreateEnvironment,
    Remark,
    RestrictBranches,
    SetVariable,
    Wanted,
)
from orchestrator.model import Checkup, Finding, Outcome
from orchestrator.operations.bootstrap import wanted_on_github

if TYPE_CHECKING:
    from orchestrator.github.difference import Difference
    from orchestrator.github.identity import RepositoryIdentity
    from orchestrator.operations.doctor import Given
    from orchestrator.settings import Environment, GitHubSettings

# What `--fix` does when these fail.
MENDABLE = frozenset({"github_environment", "github_variable"})
_MAY_NOT = frozenset({403, 404, 429})


def examine(given: Given, environments: tuple[Environment, ...]) -> tuple[Checkup, str]:
    """The findings, and how the repository's tokens name it: as GitHub says, or as orch.toml does where GitHub could not be asked."""
    github = given.settings.github
    if github is None:
        check = Check("github", "repository", "orch.toml")
        return Checkup("github", "GitHub", (check.skip("orch.toml has no [github]"),)), ""
    name = f"GitHub {github.full_name}"
    check = Check("github", "repository", github.full_name)
    if not given.github_token:
        skipped = check.skip("no token in GITHUB_TOKEN or GH_TOKEN")
        hint = f"with the GitHub CLI: `GITHUB_TOKEN=$(gh auth token) {given.command('doctor')}`"
        return Checkup("github", name, (replace(skipped, hint=hint),)), github.repository
    try:
        found = identity.repository_identity(given.github_token, github.full_name, api_url=github.api_url)
    except OrchError as error:
        failed = _unasked(check, error, may_not=frozenset({403, 429}))
        return Checkup("github", name, (failed,)), github.repository
    wanted = wanted_on_github(given.settings, environments)
    findings = (
        check.ok(f"{github.full_name} on {github.api_url}"),
        _subject(given, github, found, environments),
        *_compared(given, github, wanted),
    )
    told = found.subject_repository if found.is_confirmed else github.repository
    return Checkup("github", name, findings), told


def _subject(
    given: Given,
    github: GitHubSettings,
    found: RepositoryIdentity,
    environments: tuple[Environment, ...],
) -> Finding:
    check = Check("github_subject", "name in tokens", github.repository)
    told = found.subject_repository
    if told != github.repository:
        said = f"the tokens of {github.full_name} name it {told}, and orch.toml {github.repository}"
        commands = ", ".join(
            f"`{given.command('bootstrap', '--env', one.name)}`" for one in _of_each_account(environments)
        )
        hint = f'set repository = "{told}" in [github] of orch.toml, then run {commands}'
        if found.is_confirmed:
            return check.fail(f"{said}: no role lets its workflows in", hint)
        return check.warn(
            f"{said}; GitHub does not say so itself, it follows from the date of creation", hint
        )
    if not found.uses_default_subject:
        return check.warn(
            "the repository has a subject template of its own: its tokens may not say what the roles trust",
            "take the template away (docs.github.com, Customizing the token claims), or write the roles by hand",
        )
    form = "immutable, with ids" if found.uses_immutable_subject else "OWNER/NAME"
    return check.ok(f"{told} ({form}){'' if found.is_confirmed else ', as far as can be told'}")


def _of_each_account(environments: tuple[Environment, ...]) -> list[Environment]:
    """One environment of each place that has a bootstrap of its own."""
    places = {(one.account_id, one.region, one.state_bucket): one for one in reversed(environments)}
    return list(reversed(places.values()))


def _compared(given: Given, github: GitHubSettings, wanted: Wanted) -> list[Finding]:
    """Three questions, since each needs a permission of its own."""
    rules = Wanted({}, tuple(replace(one, variables={}) for one in wanted.environments))
    filled = Wanted({}, tuple(replace(one, branches=()) for one in wanted.environments))
    names = ", ".join(one.name for one in wanted.environments)
    branches = ", ".join(github.branches)
    own = sum(len(one.variables) for one in wanted.environments)

    def ask(check: Check, part: Wanted, kinds: tuple[type, ...], fine: str) -> list[Finding]:
        try:
            found = repository.compare(given.github_token, github.full_name, part, api_url=github.api_url)
        except OrchError as error:
            return [_unasked(check, error, may_not=_MAY_NOT)]
        kept = [one for one in found if isinstance(one, kinds)]
        return [_of(check, one, given.fix_command) for one in kept] or [check.ok(fine)]

    one = partial(Check, subject=github.full_name)
    return [
        *ask(
            one("github_environment", "environments"),
            rules,
            (CreateEnvironment, RestrictBranches, Remark),
            f"{names}: open to {branches} alone",
        ),
        *ask(
            one("github_variable", "their variables"), filled, (SetVariable,), f"all {own} as orch wants them"
        ),
        *ask(
            one("github_variable", "variables"),
            Wanted(wanted.variables, ()),
            (SetVariable,),
            f"all {len(wanted.variables)} as orch wants them",
        ),
    ]


def _of(check: Check, difference: Difference, command: str) -> Finding:
    match difference:
        case Remark():
            return check.warn(
                difference.line, "change it in the repository's settings, Environments, or in orch.toml"
            )
        case RestrictBranches(is_closed=False):
            return check.fail(f"any branch may deploy: {difference.line}", f"run `{command}`")
        case _:
            return check.fail(f"to do: {difference.line}", f"run `{command}`")


def _unasked(check: Check, error: OrchError, *, may_not: frozenset[int]) -> Finding:
    """A SKIP where the token may not ask, or GitHub does not answer just now; anything else is a fault."""
    status = error.status if isinstance(error, GitHubError) else 0
    is_passing = isinstance(error, PassingError) and status != 0
    outcome = Outcome.SKIP if is_passing or status in may_not else Outcome.FAIL
    return Finding(check.id, check.title, check.subject, outcome, error.message, error.hint)
