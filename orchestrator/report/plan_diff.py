"""One plan as a diff in Markdown, as much of it as fits into so many bytes.

Pure. What is too long loses the attributes of what is created, then long values, then attributes, then lines, last to first:
deletions and replacements stand first.
"""

from __future__ import annotations

import enum
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from orchestrator.model import Action, Detail, Masked
from orchestrator.report.escapes import INVISIBLE, clean, code, fence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orchestrator.model import Change, Plan, Value

# Takes a number of bytes; gives what fits into them, and whether that is all.
Fit: TypeAlias = "Callable[[int], tuple[str, bool]]"


_SYMBOLS = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.REPLACE: "-/+",
    Action.DELETE: "-",
    Action.FORGET: "x",
    Action.IMPORT: "<",
    Action.MOVE: ">",
    Action.READ: "?",
}
ORDER = {
    action: place
    for place, action in enumerate(
        (
            Action.DELETE,
            Action.REPLACE,
            Action.FORGET,
            Action.UPDATE,
            Action.IMPORT,
            Action.MOVE,
            Action.CREATE,
            Action.READ,
        )
    )
}
REASONS = {
    "replace_because_cannot_update": "it cannot be changed in place",
    "replace_because_tainted": "it is tainted",
    "replace_by_request": "asked for with -replace",
    "replace_by_triggers": "by its replace_triggered_by",
    "delete_because_no_resource_config": "it is no longer in the configuration",
    "delete_because_wrong_repetition": "its count or for_each came or went",
    "delete_because_count_index": "its index is beyond count",
    "delete_because_each_key": "its key is no longer in for_each",
    "delete_because_no_module": "its module is no longer in the configuration",
    "delete_because_no_move_target": "it was moved to an address that is not in the configuration",
}


def size_bytes(text: str) -> int:
    """Bytes of UTF-8."""
    return len(text.encode())


def by_its_ends(address: str, most_bytes: int) -> str:
    """An address on one line. What tells the instances of a resource apart stands at its end, so a long one loses its middle."""
    shown = clean(address, max(len(address), 1))
    if size_bytes(shown) <= most_bytes:
        return shown
    data, half = shown.encode(), (most_bytes - size_bytes("…")) // 2
    return f"{data[:half].decode(errors='ignore')}…{data[-half:].decode(errors='ignore')}"


class _Form(enum.IntEnum):
    """How much of a resource is shown. What is still too long loses attributes, then lines, last to first."""

    FULL = 0
    BARE_CREATES = 1
    SHORT_VALUES = 2


@dataclass(frozen=True)
class Item:
    """One row of a diff: a line, the lines of its details in a form, and the word it is counted by when it is cut."""

    group: str
    kind: str
    line: str
    details: tuple[Detail, ...] = ()
    is_create: bool = False

    def lines(self, form: _Form) -> Iterable[str]:
        yield self.line
        if self.is_create and form >= _Form.BARE_CREATES:
            return
        for detail in self.details:
            yield from _detail_lines(detail, 200 if form is _Form.SHORT_VALUES else 1_000)


def fit(items: Sequence[Item], *, above: str, title: str, place: str, otherwise: Fit) -> Fit:
    """`above` stands unfolded on top, `title` opens the fold; `place` says where the rest is; `otherwise` when not even numbers
    fit.
    """

    def shown(budget: int, form: _Form, listed: int, detailed: int) -> str | None:
        lines = _lines(items[:listed], form, detailed, budget)
        if lines is None:
            return None
        return _diff(above, title, lines, _left_out(items, form, listed, detailed, place), budget)

    def fitted(budget: int) -> tuple[str, bool]:
        every = len(items)
        for form in (_Form.FULL, _Form.BARE_CREATES, _Form.SHORT_VALUES):
            if (text := shown(budget, form, every, every)) is not None:
                return text, form is _Form.FULL
        # All lines, the first of them with their attributes; or else the first lines; or else only numbers.
        best = _largest(every, lambda detailed: shown(budget, _Form.SHORT_VALUES, every, detailed))
        best = best or _largest(every, lambda listed: shown(budget, _Form.SHORT_VALUES, listed, 0))
        return (best if best is not None else otherwise(budget)[0]), False

    return fitted


def items_of(plan: Plan) -> list[Item]:
    """What there is to show of a plan: changes, deletions first; drift; checks that failed; outputs."""
    changes = sorted(plan.changes, key=lambda change: (ORDER[change.action], change.address))
    items = [_item("", change) for change in changes]
    items += [_item("Changed outside Terraform", change) for change in plan.drift]
    for check in plan.checks:
        said = "; ".join(check.messages)
        items.append(
            Item(
                "Checks that did not pass",
                "check",
                f"! {check.address}: {check.status}{': ' if said else ''}{said}",
            )
        )
    for output in plan.output_changes:
        detail = Detail("value", output.before, output.after)
        items.append(Item("Outputs", "output", f"{_SYMBOLS[output.action]} output {output.name}", (detail,)))
    return items


def _item(group: str, change: Change) -> Item:
    words = [REASONS.get(change.reason, change.reason)] if change.reason else []
    words += [f"was {change.previous_address}"] if change.previous_address else []
    words += [f"import of {change.import_id}"] if change.import_id else []
    note = f" ({clean('; '.join(words), 300)})" if words else ""
    line = f"{_SYMBOLS[change.action]} {by_its_ends(change.address, 300)}: {change.action}{note}"
    kind = f"drift of {change.type}" if group else change.type or "resource"
    return Item(group, kind, line, change.details, change.action is Action.CREATE)


def _largest(top: int, attempt: Callable[[int], str | None]) -> str | None:
    """The outcome of the largest number below `top` with which there is one."""
    best, low, high = attempt(0), 0, top - 1
    while best is not None and low < high:
        middle = (low + high + 1) // 2
        text = attempt(middle)
        low, high, best = (middle, high, text) if text is not None else (low, middle - 1, best)
    return best


def _lines(items: Iterable[Item], form: _Form, detailed: int, budget: int) -> dict[str, list[str]] | None:
    """The lines of each group, of the first `detailed` items with attributes; None as soon as they are too many."""
    groups: dict[str, list[str]] = {}
    for index, item in enumerate(items):
        lines = [clean(line, 4_000) for line in (item.lines(form) if index < detailed else [item.line])]
        if len(lines) > 1 and item.group in groups:
            lines.insert(0, "")
        budget -= sum(size_bytes(line) + 1 for line in lines)
        if budget < 0:
            return None
        groups.setdefault(item.group, []).extend(lines)
    return groups


def _diff(above: str, title: str, groups: Mapping[str, list[str]], left_out: str, budget: int) -> str | None:
    texts = [above, title]
    for group, lines in groups.items():
        texts += [f"**{group}**" if group else "", fence(lines, "diff")]
    text = "\n\n".join(filter(None, [*texts, left_out, "</details>"]))
    return text if size_bytes(text) <= budget else None


def _left_out(items: Sequence[Item], form: _Form, listed: int, detailed: int, place: str) -> str:
    if listed < len(items):
        return f"**{len(items) - listed} more** {place}: {_kinds(items[listed:])}"
    if detailed < len(items):
        return f"The attributes of **{len(items) - detailed} more** are {place}"
    if form is _Form.BARE_CREATES:
        return f"The attributes of what is created are {place}"
    return (
        f"Long values, and the attributes of what is created, are {place}"
        if form is _Form.SHORT_VALUES
        else ""
    )


def _kinds(items: Iterable[Item]) -> str:
    counted = Counter(item.kind for item in items).most_common()
    shown = [f"{number} {code(kind, 60)}" for kind, number in counted[:12]]
    if len(counted) > 12:
        shown.append(f"{sum(number for _, number in counted[12:])} of {len(counted) - 12} other types")
    return ", ".join(shown)


def _detail_lines(detail: Detail, limit: int) -> Iterable[str]:
    """The two sides below each other, as a diff has them; of long ones the part in which they differ."""
    note = "   # forces replacement" if detail.forces_replacement else ""
    label = clean(detail.label, 200)
    before, after = _text(detail.before), _text(detail.after)
    if before == after:
        # Two secrets, or two that are known after apply: there is a change all the same.
        yield f"~     {label}: {_window(before, 0, limit)}, changed{note}"
        return
    start = _first_difference(before, after) if max(len(before), len(after)) > limit else 0
    if detail.before is not Masked.ABSENT:
        yield f"-     {label}: {_window(before, start, limit)}{note if detail.after is Masked.ABSENT else ''}"
    if detail.after is not Masked.ABSENT:
        yield f"+     {label}: {_window(after, start, limit)}{note}"


def _first_difference(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _window(text: str, start: int, limit: int) -> str:
    if len(text) <= limit:
        return text
    begin = max(0, min(start - 40, len(text) - limit))
    before = "…" if begin else ""
    after = "…" if begin + limit < len(text) else ""
    return f"{before}{text[begin : begin + limit]}{after} ({len(text)} characters)"


def _text(value: Value) -> str:
    """A value on one line: JSON, in which what cannot be seen is escaped, and what stands for a value has no quotes."""
    if isinstance(value, Masked):
        return str(value)
    if isinstance(value, str):
        quoted = json.dumps(value, ensure_ascii=False)
        return INVISIBLE.sub(lambda found: json.dumps(found[0])[1:-1], quoted)
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    if hasattr(value, "items"):
        return "{" + ", ".join(f"{_text(name)}: {_text(inner)}" for name, inner in value.items()) + "}"
    return "[" + ", ".join(map(_text, value)) + "]"
