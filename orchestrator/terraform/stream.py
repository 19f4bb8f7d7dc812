"""The line-by-line JSON that `plan -json` and `apply -json` print → events, diagnostics and outputs. Pure.

The stream holds no attribute values, so it is safe to show; provisioner output is not, and is dropped.
Format: https://developer.hashicorp.com/terraform/internals/machine-readable-ui
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.events import Emit, ResourceProgress, Warned

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATES: dict[str, Literal["started", "running", "done", "failed"]] = {
    "apply_start": "started",
    "apply_progress": "running",
    "apply_complete": "done",
    "apply_errored": "failed",
    "refresh_start": "started",
    "refresh_complete": "done",
}


@dataclass(frozen=True)
class Diagnostic:
    """An error or warning of Terraform: what, where, and its explanation. Snippets with values are left out."""

    severity: str
    summary: str
    detail: str
    address: str
    place: str

    def lines(self) -> tuple[str, ...]:
        where = " ".join(part for part in (self.address, self.place and f"({self.place})") if part)
        head = f"{self.summary} — {where}" if where else self.summary
        return (head, *(f"  {line}" for line in self.detail.splitlines() if line.strip()))


@dataclass
class Stream:
    """Takes the lines of one command and holds what it said: errors, raw lines that were no JSON, and outputs."""

    emit: Emit
    errors: list[Diagnostic] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    outputs: dict[str, object] = field(default_factory=dict)

    def take(self, line: str) -> None:
        """One line of stdout. Lines that are not JSON (a panic, a wrapper's text) are kept as raw."""
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            if line.strip():
                self.raw.append(line)
            return
        kind = message.get("type")
        if kind in _STATES:
            self._resource(kind, message.get("hook", {}))
        elif kind == "diagnostic":
            self._diagnostic(message.get("diagnostic", {}))
        elif kind == "outputs":
            self.outputs = {
                name: output["value"]
                for name, output in message.get("outputs", {}).items()
                if not output.get("sensitive") and "value" in output
            }

    def _resource(self, kind: str, hook: Mapping[str, Any]) -> None:
        resource = hook.get("resource", {})
        action = str(hook.get("action", "refresh"))
        self.emit(
            ResourceProgress(
                address=str(resource.get("addr", "")),
                action=action,
                state=_STATES[kind],
                elapsed_s=float(hook.get("elapsed_seconds", 0)),
            )
        )

    def _diagnostic(self, data: Mapping[str, Any]) -> None:
        diagnostic = _decode(data)
        if diagnostic.severity == "error":
            self.errors.append(diagnostic)
        else:
            self.emit(Warned("\n".join(diagnostic.lines())))


def _decode(data: Mapping[str, Any]) -> Diagnostic:
    place = ""
    if isinstance(location := data.get("range"), dict):
        place = f"{location.get('filename', '')}:{location.get('start', {}).get('line', '')}"
    return Diagnostic(
        severity=str(data.get("severity", "error")),
        summary=str(data.get("summary", "")),
        detail=str(data.get("detail", "")),
        address=str(data.get("address", "") or ""),
        place=place,
    )
