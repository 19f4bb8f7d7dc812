"""The line-by-line JSON that `plan -json` and `apply -json` print → events, diagnostics and outputs. Pure.

The stream holds no attribute values; provisioner output does, and is dropped with the snippets of diagnostics. What is left
goes through the nets of masking.py all the same: a provider's error quotes what AWS answered, and an address the keys of a map.
What is said before there is a plan is kept until the plan tells what is secret.
Format: https://developer.hashicorp.com/terraform/internals/machine-readable-ui
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.events import Emit, ResourceProgress, Warned
from orchestrator.terraform.masking import Nets

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
# How local-exec and remote-exec end their errors: with all that the command printed.
_PROVISIONER_OUTPUT = re.compile(r"(?s)(Error running command .*?\. Output:).*")


@dataclass(frozen=True)
class Diagnostic:
    """An error or warning of Terraform: what, where, and its explanation, without secrets. Snippets with values are left out."""

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
    """Takes the lines of one command and holds what it said: errors, warnings, raw lines that were no JSON, and outputs. Of
    these only the outputs, which Terraform says are open, do not go through the nets. The others do when they are asked for:
    until then `nets` may be replaced by nets that know more.
    """

    emit: Emit
    nets: Nets = field(default_factory=Nets)
    outputs: dict[str, object] = field(default_factory=dict)
    _diagnostics: list[Mapping[str, Any]] = field(default_factory=list, repr=False)
    _raw: list[str] = field(default_factory=list, repr=False)

    @property
    def errors(self) -> list[Diagnostic]:
        return [found for found in self._decoded() if found.severity == "error"]

    @property
    def raw(self) -> list[str]:
        return [self.nets.text(line) for line in self._raw]

    def warn(self) -> None:
        """Emits the warnings. Terraform, too, says them only when all is done."""
        for found in self._decoded():
            if found.severity != "error":
                self.emit(Warned("\n".join(found.lines())))

    def take(self, line: str) -> None:
        """One line of stdout. Lines that are not JSON (a panic, a wrapper's text) are kept as raw."""
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            if line.strip():
                self._raw.append(line)
            return
        kind = message.get("type")
        if kind in _STATES:
            self._resource(kind, message.get("hook", {}))
        elif kind == "diagnostic":
            self._diagnostics.append(message.get("diagnostic", {}))
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
                address=self.nets.address(str(resource.get("addr", ""))),
                action=action,
                state=_STATES[kind],
                elapsed_s=float(hook.get("elapsed_seconds", 0)),
            )
        )

    def _decoded(self) -> list[Diagnostic]:
        return [_decode(data, self.nets) for data in self._diagnostics]


def _decode(data: Mapping[str, Any], nets: Nets) -> Diagnostic:
    place = ""
    if isinstance(location := data.get("range"), dict):
        place = f"{location.get('filename', '')}:{location.get('start', {}).get('line', '')}"
    address = str(data.get("address", "") or "")
    around = nets.at(address)
    return Diagnostic(
        severity=str(data.get("severity", "error")),
        # As one text each: a secret may have several lines.
        summary=around.text(str(data.get("summary", ""))),
        detail=around.text(_PROVISIONER_OUTPUT.sub(r"\1 (not shown)", str(data.get("detail", "")))),
        address=nets.address(address),
        place=nets.text(place),
    )
