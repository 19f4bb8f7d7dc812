"""A release record as JSON: encoded, decoded, and its JSON Schema, all three from the fields of model.Release. Pure.

Schemas only grow: a field that is added has a default, so that an older record is read by a newer orch, and a newer one's additions
are left out by an older orch.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from orchestrator import model
from orchestrator.model import Release

# 2 added what was replaced, the plan, the gates, the run, the commit's time and where it was promoted from. Records of 1 lack it.
VERSION = 2


def encode(release: Release) -> bytes:
    """The content of a record."""
    return json.dumps(
        {"schema": VERSION, **dataclasses.asdict(release)}, sort_keys=True, indent=1, default=str
    ).encode()


def decode(content: bytes) -> Release:
    """What a record says. Raises ValueError, TypeError or KeyError for what is none."""
    found: Release = _value(Release, json.loads(content))
    return found


def json_schema() -> dict[str, object]:
    """The JSON Schema of a record (draft 2020-12), for those who read the bucket themselves."""
    described = _schema(Release)
    described["properties"] = {"schema": {"type": "integer", "minimum": 1}, **described["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A release record of orch",
        "description": "One release of one service. Members may be added; none changes its meaning or goes away.",
        **described,
    }


@functools.cache
def _fields(kind: type) -> dict[str, tuple[Any, bool]]:
    """The fields of a dataclass of model.py, each with its type and whether it must be there."""
    # What model.py imports for type checkers alone is not in it.
    hints = typing.get_type_hints(kind, {**vars(model), "Mapping": Mapping, "datetime": datetime})
    return {
        field.name: (
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    }


def _value(kind: Any, data: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        # Only ever `X | None`.
        return None if data is None else _value(arguments[0], data)
    if origin is tuple:
        return tuple(_value(arguments[0], item) for item in _of(list, data))
    if origin is Mapping:
        return {name: _value(arguments[1], item) for name, item in _of(dict, data).items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        given = _of(dict, data)
        make: Any = kind
        return make(
            **{
                name: _value(type_, given[name])
                for name, (type_, is_required) in _fields(kind).items()
                if is_required or name in given
            }
        )
    if issubclass(kind, enum.Enum):
        return kind(data)
    return _of((int, float) if kind is float else kind, data)


def _of(kind: Any, data: Any) -> Any:
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise TypeError(f"{data!r} is no {kind}")
    return data


def _schema(kind: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return {"anyOf": [_schema(arguments[0]), {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        fields = _fields(kind)
        return {
            "type": "object",
            "properties": {name: _schema(type_) for name, (type_, _) in fields.items()},
            "required": [name for name, (_, is_required) in fields.items() if is_required],
        }
    if issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[kind]}
