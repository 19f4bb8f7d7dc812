"""What a promotion would change, as lines of text. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.report import text
from orchestrator.report.promotion import readable

if TYPE_CHECKING:
    from orchestrator.model import PathService, PathView, PendingChanges

_SHORT_DIGEST = 19
_SHORT_COMMIT = 12
_MOST = 40


def view_lines(view: PathView) -> list[str]:
    """What a promotion would change, service by service, and then the infrastructure of both environments."""
    lines: list[str] = []
    for one in view.services:
        lines += ([""] if lines else []) + _service_lines(view, one)
    lines += ["", f"infrastructure  {view.source}: {_pending(view.source_pending)}"]
    lines.append(f"                {view.target}: {_pending(view.target_pending)}")
    if view.behind and not view.source_pending.error:
        lines.append(f"  {view.source} has had these, and {view.target} has not:")
        lines += [f"    {readable(address)}" for address in view.behind[:_MOST]]
        if len(view.behind) > _MOST:
            lines.append(f"    and {len(view.behind) - _MOST} more")
    return lines


def _service_lines(view: PathView, one: PathService) -> list[str]:
    if one.before == one.after:
        image = f"{_digest(one.after)}, which {view.target} runs already"
    else:
        image = f"{_digest(one.before)} → {_digest(one.after)}"
    lines = [f"{readable(one.service)}: {view.source} → {view.target}", f"  image    {image}"]
    commits = f"{_commit(one.before_commit)} → {_commit(one.after_commit)}"
    lines.append(
        f"  commits  {commits if one.before_commit != one.after_commit else _commit(one.after_commit)}"
    )
    lines += [f"    {commit.sha[:8]} {readable(commit.title)}" for commit in one.commits]
    if one.commits_note:
        lines.append(f"    {readable(one.commits_note)}")
    if one.changes:
        lines.append(f"  the definition of {view.target} changes")
        lines += [f"    ~ {readable(text.detail_line(detail))}" for detail in one.changes]
    if one.differs:
        lines.append(f"  {view.target} will differ from {view.source}")
        lines += [f"    ~ {readable(text.detail_line(detail))}" for detail in one.differs]
    return lines


def _pending(pending: PendingChanges) -> str:
    return f"not known: {readable(pending.error)}" if pending.error else pending.summary


def _digest(digest: str) -> str:
    return digest[:_SHORT_DIGEST] or "nothing"


def _commit(commit: str) -> str:
    return readable(commit[:_SHORT_COMMIT]) or "none"
