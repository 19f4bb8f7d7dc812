"""Git, asked read-only: the only place that runs it. Touches: `git`, in the folder it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.errors import ToolMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def run(arguments: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> process.Completed:
    """One git command to its end, whatever its exit code. Raises ToolMissingError without git."""
    # A hook or a rebase may have set GIT_DIR and the like for another repository.
    env = {key: value for key, value in environ.items() if not key.startswith("GIT_")}
    try:
        return process.run(["git", *arguments], cwd=cwd, env=env | {"GIT_OPTIONAL_LOCKS": "0"})
    except FileNotFoundError as error:
        raise ToolMissingError("git is not on PATH", hint="install git") from error
