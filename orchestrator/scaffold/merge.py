"""What becomes of one file: three texts (what orch wrote last, what is there, what orch would write now) → one of eight fates.

Pure, but for the three-way merge, which is Git's own (`git merge-file`) in a folder of its own that is deleted again.
"""

from __future__ import annotations

import difflib
import enum
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import git

if TYPE_CHECKING:
    from collections.abc import Mapping


class Fate(enum.StrEnum):
    """What `orch init` does with a file."""

    CREATED = "created"  # it is not there
    UPDATED = "updated"  # it is as orch wrote it, and orch writes it otherwise now
    MERGED = "merged"  # both sides changed, in different places
    SAME = "same"  # nothing to do
    KEPT = "kept"  # the user changed it, and orch has nothing new
    REMOVED = "removed"  # the user deleted it
    CONFLICT = "conflict"  # both sides changed the same place
    FOREIGN = "foreign"  # it is there, other than orch would write it, and orch did not write it


@dataclass(frozen=True)
class Change:
    """One file: what becomes of it, its text now (None when it is not there), its text afterwards, and for a conflict why."""

    path: str
    fate: Fate
    before: str | None
    after: str
    reason: str = ""

    @property
    def is_written(self) -> bool:
        """Whether the file is changed."""
        return self.fate in {Fate.CREATED, Fate.UPDATED, Fate.MERGED}

    @property
    def is_open(self) -> bool:
        """Whether somebody has to decide."""
        return self.fate in {Fate.CONFLICT, Fate.FOREIGN}

    def diff(self) -> str:
        """A unified diff from what is there to what orch would write."""
        before = (self.before or "").splitlines(keepends=True)
        after = self.after.splitlines(keepends=True)
        lines = difflib.unified_diff(before, after, f"a/{self.path}", f"b/{self.path}")
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def decide(
    path: str,
    *,
    written: str | None,
    before: str | None,
    after: str,
    environ: Mapping[str, str],
) -> Change:
    """The fate of a file. `written` is what orch wrote last, None when it never did; `before` what is there, None when nothing is.

    Raises ToolMissingError without git.
    """
    if before is None:
        fate = Fate.CREATED if written is None else Fate.REMOVED
        return Change(path, fate, None, after)
    if before == after:
        return Change(path, Fate.SAME, before, after)
    if written is None:
        return Change(
            path, Fate.FOREIGN, before, after, "it was there before, and differs from what orch writes"
        )
    if before == written:
        return Change(path, Fate.UPDATED, before, after)
    if after == written:
        return Change(path, Fate.KEPT, before, after)
    merged = three_way(written, before, after, environ)
    if merged is None:
        return Change(path, Fate.CONFLICT, before, after, "you and orch changed the same lines")
    if merged == before:
        return Change(path, Fate.SAME, before, after)
    return Change(path, Fate.MERGED, before, merged)


def three_way(base: str, ours: str, theirs: str, environ: Mapping[str, str]) -> str | None:
    """Both sides' changes to `base` in one text; None when they touch the same lines. Raises ToolMissingError.

    https://git-scm.com/docs/git-merge-file: the exit code is the number of conflicts.
    """
    with tempfile.TemporaryDirectory(prefix="orch-merge-") as name:
        folder = Path(name)
        for file, text in (("ours", ours), ("base", base), ("theirs", theirs)):
            (folder / file).write_bytes(text.encode())
        done = git.run(["merge-file", "--quiet", "ours", "base", "theirs"], folder, environ)
        return (folder / "ours").read_bytes().decode() if done.code == 0 else None
