"""The GitHub issue of an environment that has drifted, as Markdown. Pure.

The body depends on the drift alone, not on run or time, so that a nightly run that finds the same again edits nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.report import text
from orchestrator.report.escapes import clean, code, fence

if TYPE_CHECKING:
    from orchestrator.model import Drift

# GitHub takes 65,536 characters; a drift of more than this is not read line by line in an issue.
_MOST_BYTES = 40_000
_LONGEST_LINE = 1_000


def title(drift: Drift) -> str:
    """The title of the environment's issue."""
    return f"{clean(drift.environment, 100)} was changed outside Terraform"


def body(drift: Drift) -> str:
    """What was changed, whether the next apply reverts it, and what to do; at most some 40 kB."""
    shown: list[str] = []
    room = _MOST_BYTES
    lines = text.drift_lines(drift)[1:]
    for line in lines:
        kept = clean(line, _LONGEST_LINE)
        room -= len(kept.encode()) + 1
        if room < 0:
            shown.append(f"  … {len(lines) - len(shown)} more lines")
            break
        shown.append(kept)
    apply = code(f"orch apply --env {drift.environment}")
    again = code(f"orch drift --env {drift.environment} --issue")
    steps = [
        f"- {apply} reverts what is marked with `!`. To keep such a change, write it into the configuration.",
        "- What is marked with `~` stays as it is: nothing in the configuration says otherwise.",
    ]
    wanted = [step for step, changes in zip(steps, (drift.reverted, drift.kept), strict=True) if changes]
    return "\n".join(
        [
            fence(shown, "text"),
            "",
            *wanted,
            "",
            f"{again} edits this issue, and closes it when nothing differs.",
        ]
    )
