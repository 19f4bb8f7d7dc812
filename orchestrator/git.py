"""Git, asked read-only: the only place that runs it. Touches: `git`, in the folder it is given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.errors import ToolMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


_HASH = re.compile(r"[0-9a-f]{7,64}")


def run(arguments: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> process.Completed:
    """One git command to its end, whatever its exit code. Raises ToolMissingError without git."""
    # A hook or a rebase may have set GIT_DIR and the like for another repository.
    env = {key: value for key, value in environ.items() if not key.startswith("GIT_")}
    try:
        return process.run(["git", *arguments], cwd=cwd, env=env | {"GIT_OPTIONAL_LOCKS": "0"})
    except FileNotFoundError as error:
        raise ToolMissingError("git is not on PATH", hint="install git") from error


@dataclass(frozen=True)
class Commit:
    """A commit and its title."""

    sha: str
    title: str


def has_commit(commit: str, cwd: Path, environ: Mapping[str, str]) -> bool:
    """Whether this checkout holds the commit; a shallow one may not. Raises ToolMissingError."""
    # A name of anything else could be taken for an option.
    if not _HASH.fullmatch(commit):
        return False
    return run(["cat-file", "-e", f"{commit}^{{commit}}"], cwd, environ).code == 0


def branches_with(
    commit: str, branches: Sequence[str], cwd: Path, environ: Mapping[str, str]
) -> dict[str, bool]:
    """For each branch that this checkout knows, as `origin` had it when it was fetched last, else as it is here, whether it holds
    the commit; none of one that it does not have. Raises ToolMissingError.
    """
    found: dict[str, bool] = {}
    if not has_commit(commit, cwd, environ):
        return found
    for branch in branches:
        for ref in (f"refs/remotes/origin/{branch}", f"refs/heads/{branch}"):
            # 0: it does; 1: it does not; else there is no such ref. https://git-scm.com/docs/git-merge-base
            code = run(["merge-base", "--is-ancestor", commit, ref], cwd, environ).code
            if code in {0, 1}:
                found[branch] = code == 0
                break
    return found


def commits_between(
    old: str, new: str, cwd: Path, environ: Mapping[str, str], *, limit: int
) -> tuple[Commit, ...] | None:
    """The commits of `new` that `old` lacks, the newest first, at most `limit`; None where this checkout does not hold both.
    Raises ToolMissingError.
    """
    if not (has_commit(old, cwd, environ) and has_commit(new, cwd, environ)):
        return None
    told = run(["log", f"--max-count={limit}", "--format=%H %s", f"{old}..{new}"], cwd, environ)
    if told.code != 0:
        return None
    pairs = (line.partition(" ") for line in told.stdout.splitlines())
    return tuple(Commit(sha, title) for sha, _, title in pairs)


def titles(commits: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The titles of those of the commits, named by their full hashes, that this checkout holds. Raises ToolMissingError."""
    asked = [
        "log",
        "--no-walk=unsorted",
        "--ignore-missing",
        "--format=%H %s",
        *filter(_HASH.fullmatch, commits),
        "--",
    ]
    told = run(asked, cwd, environ)
    pairs = (line.partition(" ") for line in told.stdout.splitlines()) if told.code == 0 else ()
    return {sha: title for sha, _, title in pairs}
