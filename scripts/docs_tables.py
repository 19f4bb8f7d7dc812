"""Parts of the pages that come from the product's own tables: the settings, the causes, the roles and their policies.

The text of each page stands in docs/; scripts/docs.py puts these parts between two markers.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from docs_words import CODES

from orchestrator import permissions, promotion, settings
from orchestrator.ecs import causes, evidence
from orchestrator.model import Verdict
from orchestrator.permissions import Role
from orchestrator.settings_analysis import PLACEHOLDERS
from orchestrator.terraform import gates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.ecs.causes import Row
    from orchestrator.permissions import Statement

# --- the settings


def configuration() -> str:
    """Every table of orch.toml with its keys, from the JSON Schema of the settings model."""
    schema: dict[str, Any] = dict(settings.json_schema())
    lines: list[str] = []
    for path, table in _tables(schema, schema, ()):
        lines += [f"## {_header(path)}", ""]
        if path:
            lines += [_escaped(table.get("description", "")), ""]
        required = table.get("required", [])
        for key, value in table["properties"].items():
            if _is_table(_deref(schema, value)):
                continue
            default = "required" if key in required else _default(value)
            kind = ", ".join(filter(None, [_kind(schema, value), default]))
            lines += [f"`{key}` — {kind}", f":   {_escaped(value.get('description', ''))}", ""]
    lines += ["## Placeholders of an analysis", "", "| written | stands for |", "| --- | --- |"]
    lines += [f"| `${name}` | {text} |" for name, text in PLACEHOLDERS.items()]
    return "\n".join(lines)


def _tables(
    schema: dict[str, Any], table: dict[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    yield path, table
    for key, value in table["properties"].items():
        inner = _deref(schema, value)
        if "properties" in inner:
            yield from _tables(schema, inner, (*path, key))
        elif _is_table(inner):
            of = _deref(schema, inner.get("additionalProperties") or _items(inner))
            # A pattern of names stands for the keys; strategies of an environment are by service.
            name = "SERVICE" if path[:1] == ("environments",) else "QUERY" if key == "queries" else "NAME"
            yield from _tables(schema, of, (*path, key, name if "additionalProperties" in inner else "[]"))


def _deref(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """What a schema comes to, without references and without the null of an optional one."""
    options = [one for one in value.get("anyOf", ()) if one.get("type") != "null"]
    if len(options) == 1:
        return _deref(schema, options[0])
    if "$ref" in value:
        found: dict[str, Any] = schema["$defs"][value["$ref"].rsplit("/", 1)[-1]]
        return found
    inner = value.get("additionalProperties") or value.get("patternProperties") or value.get("items")
    if isinstance(inner, dict) and "patternProperties" in value:
        return {"type": "object", "additionalProperties": _deref(schema, next(iter(inner.values())))}
    if isinstance(inner, dict) and "additionalProperties" in value:
        return {**value, "additionalProperties": _deref(schema, inner)}
    if isinstance(inner, dict):
        return {**value, "items": _deref(schema, inner)}
    return value


def _items(value: dict[str, Any]) -> dict[str, Any]:
    return dict(value.get("items") or {})


def _is_table(value: dict[str, Any]) -> bool:
    inner = value.get("additionalProperties") or value.get("items") or {}
    return "properties" in value or (isinstance(inner, dict) and "properties" in inner)


def _header(path: tuple[str, ...]) -> str:
    if not path:
        return "At the top"
    dotted = ".".join(part for part in path if part != "[]")
    return f"`[[{dotted}]]`" if path[-1] == "[]" else f"`[{dotted}]`"


def _kind(schema: dict[str, Any], value: dict[str, Any]) -> str:
    options = [one for one in value.get("anyOf", ()) if one.get("type") != "null"]
    if len(options) > 1:
        return " or ".join(dict.fromkeys(_kind(schema, one) for one in options))
    found = _deref(schema, value)
    if "enum" in found:
        return " or ".join(f"`{one}`" for one in found["enum"])
    kind = found.get("type", "")
    if kind == "array":
        return f"list of {_kind(schema, found.get('items', {}))}"
    if kind == "object":
        return "table of texts"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
    text = {"date-time": "date and time", "date": "date"}.get(found.get("format", ""), words[kind])
    low, high = found.get("minimum"), found.get("maximum")
    if found.get("exclusiveMinimum") is not None:
        low_text = f"> {found['exclusiveMinimum']:g}"
        return f"{text}, {low_text}" + (f", ≤ {high:g}" if high is not None else "")
    if low is not None and high is not None:
        return f"{text}, {low:g} to {high:g}"
    return f"{text}, ≥ {low:g}" if low is not None else text


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if default is None:
        return ""
    return f"default `{json.dumps(default, ensure_ascii=False)}`"


def _escaped(text: str) -> str:
    """Text for a cell of a table: `|` would end it, and * or < would be markup."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("\n", " ")


# --- verdicts and gates


def verdicts() -> str:
    """How a rollout ends, with its exit code."""
    lines = ["| verdict | exit code | meaning |", "| --- | --- | --- |"]
    more = {
        Verdict.SUCCEEDED: "our deployment reached its end, and the tasks that run are ours",
        Verdict.NO_CHANGE: "what runs is what would be rolled out; nothing was done",
        Verdict.NOT_STARTED: "a service that this one `needs` failed",
    }
    for verdict in Verdict:
        code = verdict.exit_code
        meaning = more.get(verdict) or CODES[code].partition(": ")[2]
        lines.append(f"| {verdict} | {code} | {meaning} |")
    return "\n".join(lines)


def gate_rules() -> str:
    """The rules of the gates on plans, and of those on promotions."""
    plans = ", ".join(f"`{rule}`" for rule in gates.RULES)
    promotions = ", ".join(f"`{rule}`" for rule in promotion.RULES)
    return (
        f"Rules that `--override RULE --reason TEXT` may open for a plan: {plans}.\n"
        f"For a promotion: {promotions}."
    )


# --- the causes


def known_causes() -> str:
    """Each known cause: its title, how it is recognised, what to do."""
    lines: list[str] = []
    for row in causes.TABLE:
        lines += [f"### {row.title} {{ #{row.id} }}", ""]
        lines += [f"**Recognised by:** {_recognised(row)}", ""]
        lines += [f"**What to do:** {_advice(row.advice)}", ""]
        what = "Every later task meets it too, so the rollout is ended at once." if row.is_permanent else ""
        lines += [f"{what} `{row.id}` · [read on]({row.source})".strip(), ""]
    return "\n".join(lines).rstrip()


def _recognised(row: Row) -> str:
    kind, patterns, codes = causes_evidence(row)
    said = {
        "reason": "ECS says, of the task or of a container,",
        "health": "the load balancer says of the target",
        "log": "the log of a container that failed says",
        "reason_or_log": "ECS, or the container's log, says",
    }
    if kind in said:
        return f"{said[kind]} {', and '.join(map(_alternatives, patterns))}."
    if kind == "ended":
        return f"exit code {' or '.join(map(str, codes))}." if codes else "any other exit code than 0."
    words = {
        "signalled": "an exit code of 128 and the number of a signal.",
        "listens_elsewhere": "the load balancer gets no answer, and the log tells of another port, or of loopback alone.",
    }
    return words[kind]


def causes_evidence(row: Row) -> tuple[str, tuple[str, ...], tuple[int, ...]]:
    """Which evidence a row looks at, and for what: the name of its maker in ecs/evidence.py, its patterns, its exit codes.

    A Finder is a closure; what it was made with is what it is about.
    """
    finder: Any = row.finds
    name = finder.__qualname__.split(".")[0]
    cells = dict(zip(finder.__code__.co_freevars, finder.__closure__ or (), strict=True))
    if name == "ended":
        return name, (), cells["codes"].cell_contents
    if name != "_all_of":
        return name, (), ()
    texts = tuple(one.pattern for one in cells["compiled"].cell_contents)
    return cells["read"].cell_contents.__qualname__.split(".")[0], texts, ()


def _alternatives(pattern: str) -> str:
    """What a pattern looks for, each alternative by itself."""
    if pattern == evidence.NETWORK:
        return "[a sign that no packet arrived](#no-packet-arrived)"
    return _spelled(pattern)


def _spelled(pattern: str) -> str:
    parts, depth, part = [], 0, ""
    for character in _readable(pattern):
        depth += (character == "(") - (character == ")")
        if character == "|" and not depth:
            parts.append(part)
            part = ""
        else:
            part += character
    return " or ".join(f"`{one.strip()}`" for one in (*parts, part))


def network() -> str:
    """How the agents say that a packet did not arrive."""
    return _spelled(evidence.NETWORK)


def _readable(pattern: str) -> str:
    """A pattern as a person reads it: without the names of its groups and the escapes."""
    text = re.sub(r"\(\?P<\w+>((?:[^()\\]|\\.|\((?:[^()\\]|\\.)*\))*)\)", _unnamed, pattern)
    # Escaped brackets are text, and stay out of what follows.
    text = text.replace("\\[", "\x01").replace("\\]", "\x02")
    text = text.replace("(?:", "(").replace("\\b", "").replace("\\W{0,3}", " ")
    text = re.sub(r"\.\{1,\d+\}|\[\^\\n\]\{0,\d+\}|\[[^\]]*\\[wsd][^\]]*\]\+|\\[wd]\+", "…", text)
    text = re.sub(r"\[\\?[\"'\\]+\]\?|'\?", "", text)
    text = text.replace("…\\w", "…").replace("\\.", ".").replace("^", "")
    return text.replace("\x01", "[").replace("\x02", "]")


def _unnamed(group: re.Match[str]) -> str:
    return f"({group[1]})" if "|" in group[1] else group[1]


def _advice(advice: str) -> str:
    """The advice with what is filled in, shown as names."""
    named = re.sub(r"`?\{(\w+)\}`?", lambda found: f"*{found[1].replace('_', ' ')}*", advice)
    return named.replace("<", "&lt;")


# --- the roles


def roles() -> str:
    """Each role of the pipeline with the statements of its policy, and the boundary of what Terraform makes."""
    lines: list[str] = []
    for role in Role:
        lines += [f"### Role `{role}`", "", *_policy(permissions.TABLE[role]), ""]
    lines += [
        "### Permissions boundary of every role that Terraform makes",
        "",
        *_policy(permissions.BOUNDARY),
    ]
    return "\n".join(lines)


def _policy(statements: tuple[Statement, ...]) -> list[str]:
    lines: list[str] = []
    for one in statements:
        actions = ", ".join(f"`{action}`" for action in one.actions)
        word = "Never" if one.effect == "Deny" else "All but" if one.all_but else "May"
        said = [f"{word} {actions}"]
        if one.resources != ("*",):
            said.append(f"on {', '.join(f'`{_arn(resource)}`' for resource in one.resources)}")
        said += [f"where `{item.key}` {item.test} `{'`, `'.join(item.values)}`" for item in one.conditions]
        said += ["in an environment that is `protected`"] if one.only_protected else []
        said += ["once for each service"] if one.each_service else []
        lines += [one.sid, f":   {'; '.join(said)}.", ""]
    return lines[:-1]


def _arn(resource: str) -> str:
    """An ARN without what is the same in all of them."""
    return (
        resource.replace("arn:{partition}:", "")
        .replace(":{region}:{account}:", ":")
        .replace("::{account}:", ":")
    )
