"""The JSON Schemas that are published for editors and programs: orch.toml, the JSON lines, a release record.

All three come from the types that the product itself uses; nothing is described twice.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from orchestrator import dora, events, model, promotion, settings
from orchestrator.cli.init import FileFate
from orchestrator.model import Masked
from orchestrator.sandbox import control, scenario
from orchestrator.store import release_json

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
# What verbs find out, beside the events of a run: the values that cli hands to `result`.
RESULTS: tuple[type, ...] = (
    model.Bootstrapped,
    model.Checkup,
    model.Destroyed,
    model.Drift,
    model.Lock,
    model.PathView,
    model.Pause,
    model.Preflight,
    model.ReleaseRecord,
    model.Scaled,
    model.Sealed,
    model.ServiceDifference,
    model.ServiceStatus,
    model.TaskRun,
    model.TaskStatus,
    model.Unlocked,
    model.Watched,
    dora.Metrics,
    scenario.Behaviour,
    scenario.ScenarioSet,
    control.ClockTime,
    FileFate,
)
_NAMES = {**vars(model), **vars(promotion), "Mapping": Mapping, "Sequence": Sequence, "datetime": datetime}
_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
}


def orch_toml() -> dict[str, Any]:
    """The schema of orch.toml."""
    schema = settings.json_schema()
    return {
        "$schema": _DIALECT,
        **schema,
        "title": "orch.toml",
        "description": "The settings of orch for one project.",
    }


def release_record() -> dict[str, Any]:
    """The schema of a release record in the state bucket."""
    return dict(release_json.json_schema())


def json_lines() -> dict[str, Any]:
    """The schema of one line that `--output json` prints."""
    kinds: tuple[type, ...] = (*typing.get_args(events.Event), *RESULTS)
    definitions = {_kind(kind): _line(kind) for kind in kinds}
    definitions["error"] = _object(
        {
            "message": _PLAIN[str],
            "hint": _PLAIN[str],
            "details": {"type": "array", "items": _PLAIN[str]},
            "exit_code": _PLAIN[int],
        },
        "error",
        "What went wrong, as the last line; of several environments, one line each.",
    )
    return {
        "$schema": _DIALECT,
        "title": "A line of orch --output json",
        "description": "One JSON object a line. `type` says which. Members and types may be added; none changes its meaning.",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in definitions],
        "$defs": definitions,
    }


def _kind(kind: type) -> str:
    return _CAPITAL.sub("_", kind.__name__).lower()


def _line(kind: type) -> dict[str, Any]:
    properties = _properties(kind)
    # report/json_lines.py lays these two open, and adds what a program would else have to work out.
    if kind is events.Released:
        properties = _properties(model.Release) | {"image": _PLAIN[str], "exit_code": _PLAIN[int]}
    elif kind is events.PlanReady:
        plan = {name: schema for name, schema in _properties(model.Plan).items() if name != "contract"}
        properties = {"environment": _PLAIN[str], "summary": _PLAIN[str], **plan}
    return _object(properties, _kind(kind), _paragraph(kind))


def _object(properties: dict[str, Any], kind: str, description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": {"type": {"const": kind}, **properties},
        "required": ["type", *properties],
    }


def _paragraph(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def _properties(kind: type) -> dict[str, Any]:
    # What a module imports for type checkers alone is not in it.
    module = vars(typing.cast("Any", __import__(kind.__module__, fromlist=["*"])))
    hints = typing.get_type_hints(kind, {**_NAMES, **module})
    return {field.name: _schema(hints[field.name]) for field in dataclasses.fields(kind)}


def _schema(kind: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if _is_value(kind):
        return {"description": "Any JSON value; what is secret or not known is a text in round brackets."}
    if origin in {types.UnionType, typing.Union}:
        return {"anyOf": [{"type": "null"} if one is types.NoneType else _schema(one) for one in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is not Ellipsis:
            return {"type": "array", "prefixItems": [_schema(one) for one in arguments], "items": False}
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        properties = _properties(kind)
        return {"type": "object", "properties": properties, "required": list(properties)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    return {} if kind in {object, Any} else _PLAIN[kind]


def _is_value(kind: Any) -> bool:
    """Whether it is model.Value, which holds itself."""
    return kind == model.Value or (
        typing.get_origin(kind) in {types.UnionType, typing.Union} and Masked in typing.get_args(kind)
    )
