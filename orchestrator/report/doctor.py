"""What `orch doctor` found out, as lines of text: the environments side by side, then every check. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.model import Outcome
from orchestrator.report import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.model import Checkup

_HEAD = ("environment", "account", "region", "credentials", "checks")


def lines(found: Sequence[Checkup], *, width: int = 0) -> list[str]:
    """Each check on a line, and below those that did not pass what to do; `width` 0 wraps nothing."""
    environments = [one for one in found if one.scope == "environment"]
    shown = _table(environments) if len(environments) > 1 else []
    shown += text.finding_lines([(_title(one), one.findings) for one in found], width=width)
    findings = [finding for one in found for finding in one.findings]
    failed = sum(finding.outcome is Outcome.FAIL for finding in findings)
    skipped = sum(finding.outcome is Outcome.SKIP for finding in findings)
    ending = f"; {skipped} could not be checked" if skipped else ""
    said = f"✗ {failed} to mend" if failed else "✓ Nothing to mend"
    return [*shown, said + ending]


def _title(one: Checkup) -> str:
    if one.scope != "environment":
        return one.name
    return f"{one.name} · {one.account_id} · {one.region}"


def _table(environments: Sequence[Checkup]) -> list[str]:
    rows = [_HEAD] + [
        (
            one.name,
            one.account_id,
            one.region,
            one.caller or "-",
            text.counts(finding.outcome for finding in one.findings),
        )
        for one in environments
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return [
        *(
            "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ),
        "",
    ]
