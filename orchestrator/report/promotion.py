"""The gate of a promotion as lines of text. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.promotion import State
from orchestrator.report.escapes import clean, scrubbed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.promotion import Gate, Row

_SIGNS = {
    State.OPEN: "✓",
    State.WAITS: "…",
    State.SHUT: "✗",
    State.OVERRIDDEN: "!",
    State.SKIPPED: "•",
}
_SHORT_DIGEST = 19
_SHORT_COMMIT = 12
_LONGEST = 400


def gate_lines(gate: Gate) -> list[str]:
    """One service: where it stands in a line, and below it what was asked; what is not open with what to do about it."""
    width = max((len(row.title) for row in gate.rows), default=0)
    lines = [f"{readable(gate.service)}: {gate.source} → {gate.target}  {_what(gate)}  {_stands(gate)}"]
    for row in gate.rows:
        lines.append(f"  {_SIGNS[row.state]} {row.title:<{width}}  {readable(row.sentence)}")
        if not row.is_open and row.hint:
            lines.append(f"    → {readable(row.hint)}")
    return lines


def all_gates_lines(gates: Sequence[Gate]) -> list[str]:
    """The gates of several services, a blank line between them."""
    lines: list[str] = []
    for gate in gates:
        lines += ([""] if lines else []) + gate_lines(gate)
    return lines


def _what(gate: Gate) -> str:
    commit = f", commit {readable(gate.commit[:_SHORT_COMMIT])}" if gate.commit else ""
    return f"{gate.digest[:_SHORT_DIGEST] or 'no image'}{commit}"


def _stands(gate: Gate) -> str:
    if gate.is_open:
        return "OPEN, and there already" if gate.is_carried else "OPEN"
    when = gate.opens_at
    if when is not None:
        return f"SHUT until {when:%Y-%m-%d %H:%M %Z}"
    return "WAITS" if gate.may_open_by_itself else f"SHUT by {', '.join(_names(gate.shut))}"


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.title for row in rows))


def readable(text: str) -> str:
    """Words of others on one line, without what looks like a credential or would steer a terminal."""
    return clean(scrubbed(text), _LONGEST)
