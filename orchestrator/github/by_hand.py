"""What a repository is set up with, as commands of GitHub's own command line tool `gh`, for people who give orch no token. Pure.

https://cli.github.com/manual/gh_variable_set, https://docs.github.com/rest/deployments/environments
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from orchestrator.github.difference import Wanted

_RULE = (
    "-F 'deployment_branch_policy[protected_branches]=false'"
    " -F 'deployment_branch_policy[custom_branch_policies]=true'"
)


def commands(repository: str, wanted: Wanted) -> tuple[str, ...]:
    """The commands that bring a repository without these environments to what is wanted; an environment's rule comes before
    anything that it protects. For one that exists, the PUT may reset its reviewers: there `compare` knows better.
    """
    found = []
    for environment in wanted.environments:
        place = f"repos/{repository}/environments/{quote(environment.name, safe='')}"
        found.append(f"gh api -X PUT {place} {_RULE}" if environment.branches else f"gh api -X PUT {place}")
        found += [
            f"gh api -X POST {place}/deployment-branch-policies -f {shlex.quote(f'name={branch}')}"
            for branch in environment.branches
        ]
        found += [
            f"gh variable set {name} --repo {repository} --env {shlex.quote(environment.name)} --body {shlex.quote(value)}"
            for name, value in environment.variables.items()
        ]
    found += [
        f"gh variable set {name} --repo {repository} --body {shlex.quote(value)}"
        for name, value in wanted.variables.items()
    ]
    return tuple(found)
