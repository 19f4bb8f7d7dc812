"""Events as JSON lines on stdout, for programs: one object a line, `type` first, times in seconds."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orchestrator.events import Event, PlanReady, Released
from orchestrator.model import Masked

if TYPE_CHECKING:
    from collections.abc import Mapping

_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def line(event: Event) -> str:
    """One event as one line, e.g. `{"type": "step_finished", "name": "plan", …}`."""
    kind = _CAPITAL.sub("_", type(event).__name__).lower()
    return json.dumps({"type": kind, **_members(event)}, default=_plain)


def value_line(value: Any) -> str:
    """A result that is no event, e.g. `{"type": "service_status", "environment": "dev", …}`."""
    kind = _CAPITAL.sub("_", type(value).__name__).lower()
    return json.dumps({"type": kind, **dataclasses.asdict(value)}, default=_plain)


def error_line(message: str, hint: str, details: tuple[str, ...], exit_code: int) -> str:
    """A failure, as the last line."""
    return json.dumps(
        {"type": "error", "message": message, "hint": hint, "details": list(details), "exit_code": exit_code}
    )


def _plain(value: object) -> str:
    if isinstance(value, Masked):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _members(event: Event) -> Mapping[str, Any]:
    members: dict[str, Any] = dataclasses.asdict(event)
    if isinstance(event, Released):
        release: dict[str, Any] = members["release"]
        return release | {
            "image": str(event.release.image),
            "exit_code": event.release.verdict.exit_code,
        }
    if isinstance(event, PlanReady):
        plan = members["plan"]
        del plan["contract"]
        return {"environment": event.environment, "summary": event.plan.summary, **plan}
    return members
