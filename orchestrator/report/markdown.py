"""A board as GitHub's Markdown: the one comment of a pull request, its update by one environment, and the step summary.

What a plan shows was written by others, so every text goes through one of the escapes of escapes.py.

The layout is code and not a template: what does not fit is cut, row by row, to a budget in bytes, and a template knows no
budget. Room goes to the table first, then to what is destroyed or replaced, to rights that grow, and what is left to the
environments' diffs, an equal share each, of which each takes the fullest form that fits (`_Form`).

Limits: GitHub refuses a comment over 65,536 characters ("Body is too long"), and fails to upload a step summary over 1 MiB
while the job stays green ("Workflow commands: step isolation and limits"). Pure.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from orchestrator.model import Action, Verdict
from orchestrator.report import board as boards
from orchestrator.report.board import Board, Row, State, Tally
from orchestrator.report.escapes import (
    NEWLINES,
    cell,
    code,
    fence,
    link,
    markup,
    plain,
    prose,
)
from orchestrator.report.plan_diff import ORDER, REASONS, Fit, by_its_ends, fit, items_of, size_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orchestrator.model import Change, Plan

COMMENT_BYTES = 60_000
SUMMARY_BYTES = 1_000_000
_LEAST_BYTES = 4_000
_MOST_DANGERS = 200
# So that a line on each of the 200 fits into a comment, whatever their addresses are.
_ADDRESS_BYTES = 200
_MOST_WIDENINGS = 50
_NONE = "\N{EN DASH}"
_SOLID = "\N{NO-BREAK SPACE}"  # keeps a narrow column of the table in one piece


# --- the outcome -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rendered:
    """A text, and the environments of which something was left out, which the step summary has."""

    body: str
    overflow: tuple[str, ...]


def comment(board: Board, *, max_bytes: int = COMMENT_BYTES) -> Rendered:
    """The comment that shows a whole board."""
    entries = [_entry(row, _in_summary) for row in _placed(board)]
    return _assemble(entries, {"schema": board.schema}, max_bytes, note=board.note)


def merge(old_body: str, *rows: Row, max_bytes: int = COMMENT_BYTES) -> Rendered:
    """The comment with the rows of some environments put in, all others kept as they stand, also those that a newer orch wrote.

    The same twice is the same once, and rows of different environments may come in any order; a row of an older run changes
    nothing. A row without numbers of its own keeps those of the comment when it is of the same commit, and while it is being
    applied also its diff. A body that is no board begins a new one.
    """
    old_body = old_body.encode("utf-8", "replace").decode()
    parts = {part.environment: part for part in boards.parse(old_body)}
    mine = {}
    for row in rows:
        name = boards.key(row.environment)
        old = parts.get(name)
        if old is None or boards.sequence(old) <= row.sequence:
            mine[name] = _merged(old, row)
    if not mine:
        return Rendered(old_body, ())
    entries = [mine.pop(name) if name in mine else _kept(part) for name, part in parts.items()]
    return _assemble([*entries, *mine.values()], boards.head(old_body), max_bytes)


def summary(board: Board, *, max_bytes: int = SUMMARY_BYTES) -> str:
    """The board for the step summary, in full as far as it may be."""
    entries = [_entry(row, _in_bundle) for row in _placed(board)]
    return _assemble(entries, None, max_bytes, note=board.note).body


def _placed(board: Board) -> list[Row]:
    return [
        dataclasses.replace(row, commit=row.commit or board.commit, run_url=row.run_url or board.run_url)
        for row in board.rows
    ]


def _merged(old: boards.Part | None, row: Row) -> _Entry:
    known = boards.recalled(old.record) if old is not None else None
    if old is None or known is None or row.counts is not None or known.commit != row.commit[:64]:
        return _entry(row, _in_summary)
    mine = _entry(
        dataclasses.replace(
            row, tally=known.tally, images=row.images or known.images, bundle=row.bundle or known.bundle
        ),
        _in_summary,
    )
    if row.state is not State.APPLYING:
        return mine
    kept = _kept(old)
    return dataclasses.replace(
        mine, alerts=kept.alerts, section=kept.section, is_kept=True, is_gone=kept.is_gone
    )


# --- what is cut -----------------------------------------------------------------------------------------------------------

_Place: TypeAlias = "Callable[[Row], str]"


def _in_summary(row: Row) -> str:
    return f"in {link('the step summary', row.run_url)}"


def _in_bundle(row: Row) -> str:
    return f"in the sealed bundle {code(row.bundle)}" if row.bundle else "in the plan itself (`orch plan`)"


@dataclass(frozen=True)
class _Alert:
    """An unfolded list of an environment, of which `items` are lines and `total` counts those that were cut before, too."""

    kind: str
    environment: str
    label: str
    intro: str
    items: tuple[str, ...]
    total: int
    more: str

    def text(self, items: int, *, is_marked: bool) -> str:
        lines = [f"> [!{self.label}]", f"> {self.intro}", *self.items[:items]]
        if self.total > items:
            lines += [">", f"> **{self.total - items} more** {self.more}"]
        return _marked(
            self.kind, {"environment": self.environment, "total": self.total}, lines, is_marked=is_marked
        )


@dataclass(frozen=True)
class _Entry:
    """One environment on its way into a text. `section` gives what fits into so many bytes, and whether that is all."""

    environment: str
    sequence: int
    position: int
    commit: str
    run_url: str
    line: str
    short_line: str
    alerts: tuple[_Alert, ...]
    section: Fit
    others: tuple[boards.Block, ...] = ()
    is_kept: bool = False
    is_gone: bool = False


def _assemble(
    entries: list[_Entry], old_head: Mapping[str, object] | None, limit: int, note: str = ""
) -> Rendered:
    """`old_head` is None for a text that nobody will edit: it gets no markers."""
    if limit < _LEAST_BYTES:
        raise ValueError(f"a board needs {_LEAST_BYTES} bytes, not {limit}")
    is_marked = old_head is not None
    entries = sorted(entries, key=lambda entry: entry.position)
    newest = max(entries, key=lambda entry: entry.sequence, default=None)
    lines, shortened = _table(entries, limit // 2)
    top = [_heading(newest, len(entries)), lines]
    if old_head is not None:
        top.insert(0, boards.marker("v1", {"schema": boards.SCHEMA, **old_head}))
    if note:
        top.append(f"> [!NOTE]\n> {prose(note, 1_000)}")
    foot = _footer(newest, is_marked=is_marked)
    left = limit - sum(size_bytes(text) + 2 for text in [*top, foot])
    dangers, left, cut_dangers = _alerts(entries, "danger", _MOST_DANGERS, left, is_marked=is_marked)
    widenings, left, cut_widenings = _alerts(entries, "widening", _MOST_WIDENINGS, left, is_marked=is_marked)
    sections, cut_sections = _sections(entries, left, is_marked=is_marked)
    cut = shortened | cut_dangers | cut_widenings | cut_sections
    overflow = tuple(entry.environment for entry in entries if entry.environment in cut)
    return Rendered("\n\n".join([*top, *dangers, *widenings, *sections, foot]) + "\n", overflow)


def _table(entries: list[_Entry], budget: int) -> tuple[str, set[str]]:
    head = [
        "| environment | plan | drift | image | gates | state | next |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines = [entry.line for entry in entries]
    shortened: set[str] = set()
    if sum(size_bytes(line) + 1 for line in lines) > budget:
        lines = [min(entry.line, entry.short_line, key=size_bytes) for entry in entries]
        shortened = {entry.environment for entry in entries if entry.line != entry.short_line}
    left, shown = budget - 700, 0
    for line in lines:
        left -= size_bytes(line) + 1
        if left < 0:
            break
        shown += 1
    if shown < len(lines):
        shortened |= {entry.environment for entry in entries[shown:]}
        lines = [
            *lines[:shown],
            f"| **{len(lines) - shown} more**, each in the step summary of its run | | | | | | |",
        ]
    return "\n".join([*head, *filter(None, lines)]), shortened


def _alerts(
    entries: list[_Entry], kind: str, most: int, left: int, *, is_marked: bool
) -> tuple[list[str], int, set[str]]:
    """As many lines as fit; while they do not, the longest list loses its last."""
    alerts = [alert for entry in entries for alert in entry.alerts if alert.kind == kind]
    shown = [min(len(alert.items), most) for alert in alerts]
    # Room for each frame with its line on what was cut, which is what the last one to be cut leaves behind.
    frames = [
        size_bytes(dataclasses.replace(alert, total=10**6).text(0, is_marked=is_marked)) + 2
        for alert in alerts
    ]
    size = sum(frames) + sum(size_bytes(item) + 1 for alert in alerts for item in alert.items[:most])
    while sum(shown) > most or (size > left and any(shown)):
        longest = max(range(len(alerts)), key=shown.__getitem__)
        shown[longest] -= 1
        size -= size_bytes(alerts[longest].items[shown[longest]]) + 1
    while size > left:
        size -= frames.pop()
        shown.pop()
    texts = [alert.text(items, is_marked=is_marked) for alert, items in zip(alerts, shown, strict=False)]
    cut = {alert.environment for alert, items in zip(alerts, shown, strict=False) if items < alert.total}
    cut |= {alert.environment for alert in alerts[len(shown) :]}
    return texts, left - size, cut


@dataclass(frozen=True)
class _Block:
    """What asks for room below the table. `is_kept`: it stands in the comment already, and can only stay or go; `is_gone`: of
    that, only the line that says where to look is left, and its own job may want to put it back.
    """

    environment: str
    kind: str
    meta: Mapping[str, object]
    fit: Fit
    is_kept: bool
    is_gone: bool = False

    def taken(self, budget: int, *, is_marked: bool) -> tuple[str, int, bool]:
        """What fits into so many bytes, what it takes of them, and whether that is all."""
        frame = size_bytes(_marked(self.kind, self.meta, [""], is_marked=is_marked)) + 2
        text, is_whole = self.fit(max(0, budget - frame))
        marked = _marked(self.kind, self.meta, [text], is_marked=is_marked) if text else ""
        return marked, size_bytes(marked) + 2 if text else 0, is_whole


def _sections(entries: list[_Entry], left: int, *, is_marked: bool) -> tuple[list[str], set[str]]:
    """What the comment holds, as far as `_staying` lets it; of the rest, what small ones leave of an equal share goes to the
    large ones.
    """
    asking = [block for entry in entries for block in _asking(entry)]
    at_most = [block.taken(left, is_marked=is_marked) for block in asking]
    sizes = [size for _, size, _ in at_most]
    gone = {
        place
        for place, (block, (*_, is_whole)) in enumerate(zip(asking, at_most, strict=True))
        if block.is_gone or not is_whole
    }
    kept = _staying(asking, sizes, gone, left, is_marked=is_marked)
    texts: dict[int, str] = {}
    cut: set[str] = set()

    def take(place: int, budget: int) -> int:
        texts[place], size, is_whole = asking[place].taken(budget, is_marked=is_marked)
        if not is_whole:
            cut.add(asking[place].environment)
        return size

    for place, budget in kept.items():
        take(place, min(budget, sizes[place]))
    left -= sum(kept.values())
    wanted = sorted((place for place in range(len(asking)) if place not in kept), key=sizes.__getitem__)
    for number, place in enumerate(wanted):
        left -= take(place, left // (len(wanted) - number))
    return [texts[place] for place in sorted(texts) if texts[place]], cut


def _staying(
    asking: list[_Block], sizes: list[int], gone: set[int], left: int, *, is_marked: bool
) -> dict[int, int]:
    """The room of each block that the comment holds. All of them stay whole, unless new ones would have to show less for it than
    an equal share holds: then the largest goes, and its share stays free for its own job, which puts it back.

    So environments that are all too large come to rest, in whatever order their jobs merge them and look again: once each has
    its share, nobody makes way any more. Without it, they would take turns for as long as their jobs look.
    """
    share = left // max(1, sum(map(bool, sizes)))
    needed = sum(block.taken(share, is_marked=is_marked)[1] for block in asking if not block.is_kept)
    kept = {
        place: max(share, sizes[place]) if place in gone else sizes[place]
        for place, block in enumerate(asking)
        if block.is_kept
    }
    for place in sorted(kept, key=kept.__getitem__, reverse=True):
        if left - sum(kept.values()) < needed:
            kept[place] = min(kept[place], share)
    return kept


def _asking(entry: _Entry) -> list[_Block]:
    meta = {"environment": entry.environment}
    section = _Block(entry.environment, "section", meta, entry.section, entry.is_kept, is_gone=entry.is_gone)
    others = (
        _Block(entry.environment, block.kind, block.meta, _whole(block.text), is_kept=True)
        for block in entry.others
    )
    return [section, *others]


def _whole(text: str) -> Fit:
    return lambda budget: (text, True) if size_bytes(text) <= budget else ("", False)


def _marked(kind: str, meta: Mapping[str, object], lines: Sequence[str], *, is_marked: bool) -> str:
    text = "\n".join(lines)
    return f"{boards.marker(kind, meta)}\n\n{text}\n\n{boards.END}" if is_marked else text


def _kept(part: boards.Part) -> _Entry:
    """What a comment says of an environment, as text."""
    run_url = boards.url(str(part.record.get("run_url", "")))
    row = Row(
        part.environment,
        State.PLANNED,
        commit=str(part.record.get("commit", "")),
        run_url=run_url,
    )
    alerts = tuple(
        alert
        for block in part.blocks
        if block.kind in _ALERTS and (alert := _kept_alert(block, _in_summary(row)))
    )
    section = next((block.text for block in part.blocks if block.kind == "section"), "")
    state = str(part.record.get("state", ""))
    marked = boards.marker("row", {name: part.record[name] for name in _CORE if name in part.record})
    return _Entry(
        environment=part.environment,
        sequence=boards.sequence(part),
        position=boards.position(part),
        commit=row.commit,
        run_url=run_url,
        line=part.line,
        short_line=_line(marked, part.environment, [_NONE] * 4, link(plain(state, 50), run_url), _NONE)
        if part.line
        else "",
        alerts=alerts,
        section=_fitting(section, row, _in_summary) if section else _whole(""),
        others=tuple(block for block in part.blocks if block.kind not in {*_ALERTS, "section"}),
        is_kept=True,
        is_gone=section.endswith(_pointer(row, _in_summary)),
    )


_ALERTS = ("danger", "widening")
_CORE = ("schema", "environment", "state", "commit", "run_url", "sequence", "position", "tally")


def _kept_alert(block: boards.Block, more: str) -> _Alert | None:
    lines = block.text.split("\n")
    items = tuple(line for line in lines if line.startswith("> - "))
    label = re.fullmatch(r"> \[!([A-Z]+)\]", lines[0])
    if label is None or len(lines) < 2:
        return None
    total = block.meta.get("total")
    return _Alert(
        block.kind,
        block.environment,
        label[1],
        lines[1].removeprefix("> "),
        items,
        max(len(items), total) if isinstance(total, int) else len(items),
        more,
    )


# --- one environment -------------------------------------------------------------------------------------------------------

_ICONS = {
    State.PLANNED: "📋",
    State.REFUSED: "⛔",
    State.FAILED: "❌",
    State.SKIPPED: "⏭️",
    State.APPLYING: "⏳",
    State.APPLY_FAILED: "❌",
    State.APPLIED: "✅",
    State.ROLLING_OUT: "⏳",
}
_VERDICT_ICONS = {Verdict.SUCCEEDED: "✅", Verdict.NO_CHANGE: "✅", Verdict.ROLLED_BACK: "↩️"}
# Terraform replaces a task definition on every change, and with skip_destroy the old revision stays: nothing is lost, and an
# alarm at each deployment would teach readers to look away. gates.py counts by the same rule.
_LOSES_NOTHING = "aws_ecs_task_definition"


def _entry(row: Row, place: _Place) -> _Entry:
    name = boards.key(row.environment)
    marked = boards.marker("row", boards.record(row)) if place is _in_summary else ""
    marked_short = boards.marker("row", boards.record(row, is_short=True)) if marked else ""
    middle = [_plan_cell(row.counts), _drift_cell(row.counts), _image_cell(row), _gates_cell(row)]
    short = [*middle[:2], _NONE, _NONE]
    commit = f"<br>{code(row.commit[:7])}" if row.commit else ""
    is_pending = row.plan is not None and not row.state.is_applied
    return _Entry(
        environment=name,
        sequence=row.sequence,
        position=row.position,
        commit=row.commit[:64],
        run_url=boards.url(row.run_url),
        line=_line(
            marked,
            name,
            middle,
            _state_cell(row) + commit,
            prose(row.next_step, 200) if row.next_step else _NONE,
        ),
        short_line=_line(marked_short, name, short, _state_cell(row) + commit, _NONE),
        alerts=tuple(_row_alerts(row, row.plan, place)) if row.plan is not None and is_pending else (),
        section=_section(row, place),
    )


def _line(marked: str, name: str, middle: list[str], state: str, next_step: str) -> str:
    cells = [f"{marked}{' ' if marked else ''}**{plain(name)}**", *middle, state, next_step]
    return f"| {' | '.join(cell(text) for text in cells)} |"


def _plan_cell(tally: Tally | None) -> str:
    if tally is None:
        return _NONE
    others = "<br>".join(
        f"{number} {word if number == 1 else words}".replace(" ", _SOLID)
        for number, word, words in (
            (tally.forget, "forgotten", "forgotten"),
            (tally.imports, "import", "imports"),
            (tally.move, "move", "moves"),
            (tally.outputs, "output", "outputs"),
        )
        if number
    )
    safe = f"+{tally.create}{_SOLID}~{tally.update}"
    lost = f"±{tally.replace}{_SOLID}\N{MINUS SIGN}{tally.delete}"
    if tally.replace or tally.delete:
        return f"`{safe}`{_SOLID}**{lost}**{'<br>' if others else ''}{others}"
    if tally.create or tally.update:
        return f"`{safe}{_SOLID}{lost}`{'<br>' if others else ''}{others}"
    return others or "no changes"


def _drift_cell(tally: Tally | None) -> str:
    if tally is None or not tally.drift:
        return _NONE
    return f"⚠️ {tally.drift}"


def _image_cell(row: Row) -> str:
    lines = [f"{plain(image.service, 60)} {_image(image)}" for image in row.images[:5]]
    if len(row.images) > 5:
        lines.append(f"{len(row.images) - 5} more")
    return "<br>".join(lines) or _NONE


def _image(image: boards.ServiceImage) -> str:
    running, wanted = _short(image.running, image.wanted), _short(image.wanted, image.running)
    if image.verdict in {Verdict.SUCCEEDED, Verdict.NO_CHANGE}:
        return f"{code(wanted)} ✅"
    if image.verdict is not None:
        icon = _VERDICT_ICONS.get(image.verdict, "❌")
        return f"{icon} {code(wanted)}, {image.verdict}" + (f"; before: {code(running)}" if running else "")
    if not wanted or image.running == image.wanted:
        return f"{code(running)}, stays" if running else "none"
    arrow = f"{code(running) if running else 'none'}{_SOLID}→ {code(wanted)}"
    return arrow if "@" in image.wanted else f"{arrow}, to be built"


def _short(image: str, other: str) -> str:
    """The digest's first eight digits, else the tag's twelve; with the repository's name when the two are of different ones."""
    repository, name, version = _parts(image)
    if not version:
        return name
    return f"{name}@{version}" if other and _parts(other)[0] != repository else version


def _parts(image: str) -> tuple[str, str, str]:
    """The repository, its last name, and the beginning of the digest or the tag."""
    place, _, digest = image.partition("@")
    name, _, tag = place.rpartition("/")[2].partition(":")
    repository = place.removesuffix(f":{tag}") if tag else place
    return repository, name, digest.removeprefix("sha256:")[:8] or tag[:12]


def _gates_cell(row: Row) -> str:
    if not row.gates:
        return "✅ open" if row.counts is not None else _NONE
    rules = [rule for gate in row.gates[:3] if (rule := _RULE.match(gate))]
    more = len(row.gates) - len(rules)
    texts = [
        *(code(rule[1]) for rule in rules),
        *([f"{more} more" if rules else f"{more} refused"] if more else []),
    ]
    return f"⛔ {'<br>'.join(texts)}"


_RULE = re.compile(r"([a-z_]{1,40}): ")


def _gate(gate: str) -> str:
    rule = _RULE.match(gate)
    return f"{code(rule[1])}: {prose(gate[rule.end() :])}" if rule else prose(gate)


def _state_cell(row: Row) -> str:
    icon = _ICONS.get(row.state, "")
    words = str(row.state)
    if row.state is State.ROLLED_OUT:
        icon = _VERDICT_ICONS.get(row.verdict, "❌") if row.verdict else "✅"
        words = f"{row.state}: {row.verdict}" if row.verdict else words
    return f"{icon} {link(words, row.run_url)}"


def _row_alerts(row: Row, plan: Plan, place: _Place) -> Iterable[_Alert]:
    name, bold = boards.key(row.environment), f"**{plain(boards.key(row.environment))}**"
    lost = sorted(
        (change for change in plan.changes if change.action in {Action.DELETE, Action.REPLACE}),
        key=lambda change: (_is_harmless(change), ORDER[change.action]),
    )
    items = [f"> - AWS will refuse this as it stands: {prose(text)}" for text in plan.undeletable]
    items += [f"> - {_loss(change)}" for change in lost]
    real = [change for change in lost if not _is_harmless(change)]
    if lost:
        counted = Counter(change.action for change in real)
        words = [f"{verb} {number}" for action, verb in _VERBS.items() if (number := counted[action])]
        intro = f"{bold} gets a new revision of its task definition"
        if words:
            intro = f"{bold} {' and '.join(words)} resource{'' if words[-1].endswith(' 1') else 's'}"
        label = "CAUTION" if real or plan.undeletable else "NOTE"
        yield _Alert("danger", name, label, f"{intro}:", tuple(items), len(items), place(row))
    if plan.widenings:
        items = [f"> - {_address(address)}: {prose(text)}" for address, text in plan.widenings]
        yield _Alert(
            "widening", name, "WARNING", f"{bold} gives more rights:", tuple(items), len(items), place(row)
        )


_VERBS = {Action.DELETE: "destroys", Action.REPLACE: "replaces"}


def _is_harmless(change: Change) -> bool:
    return change.type == _LOSES_NOTHING and change.action is Action.REPLACE


def _loss(change: Change) -> str:
    if _is_harmless(change):
        return f"replaces {_address(change.address)}: a new revision; with `skip_destroy` the old one stays"
    forcing = [detail.label for detail in change.details if detail.forces_replacement]
    if forcing:
        shown = ", ".join(code(label, 80) for label in forcing[:3])
        why = f": {shown}{f' and {len(forcing) - 3} more' if len(forcing) > 3 else ''} cannot be changed in place"
    else:
        why = f": {plain(REASONS.get(change.reason, change.reason), 100)}" if change.reason else ""
    verb = "destroys" if change.action is Action.DELETE else "replaces"
    return f"{verb} {_address(change.address)}{why}"


def _address(address: str) -> str:
    return code(by_its_ends(address, _ADDRESS_BYTES))


# --- the section --------------------------------------------------------------------------------------------------------------


def _section(row: Row, place: _Place) -> Fit:
    above = _above(row)
    items = items_of(row.plan) if row.plan is not None and not row.state.is_applied else []
    if not items or row.plan is None:
        return _fitting(above, row, place) if above else _whole("")
    title = f"<details><summary><b>{markup(boards.key(row.environment))}</b>: {markup(row.plan.summary)}</summary>"
    numbers = _fitting(f"{above}\n\n{_pointer(row, place)}".strip(), row, place)
    return fit(items, above=above, title=title, place=place(row), otherwise=numbers)


def _fitting(text: str, row: Row, place: _Place) -> Fit:
    """The text, or else only where to look for it, or else nothing."""
    pointer = _pointer(row, place)

    def fit(budget: int) -> tuple[str, bool]:
        if size_bytes(text) <= budget:
            return text, True
        return (pointer if size_bytes(pointer) <= budget else ""), False

    return fit


def _pointer(row: Row, place: _Place) -> str:
    return f"**{plain(boards.key(row.environment))}**: all of it {place(row)}"


def _above(row: Row) -> str:
    """What stands unfolded above an environment's diff: what became of it, a note, refusals, an error."""
    bold = f"**{plain(boards.key(row.environment))}**"
    texts = []
    if row.state.is_applied and row.counts is not None:
        texts.append(f"{bold}: {_applied(row.counts)}")
    if row.note:
        texts.append(f"{bold}: {prose(row.note, 500)}")
    reasons = [
        image
        for image in row.images
        if image.reason and image.verdict not in {Verdict.SUCCEEDED, Verdict.NO_CHANGE}
    ]
    texts += [
        f"{bold}: {plain(image.service, 60)} {image.verdict or ''}: {prose(image.reason)}"
        for image in reasons[:10]
    ]
    if row.gates:
        gates = [f"- {_gate(gate)}" for gate in row.gates[:20]]
        more = [f"- {len(row.gates) - 20} more"] if len(row.gates) > 20 else []
        texts.append("\n".join([f"{bold} is refused by its gates:", "", *gates, *more]))
    if row.error:
        lines = NEWLINES.sub("\n", row.error[:6_000]).strip("\n").split("\n")
        shown = [*lines[:30], *([f"… {len(lines) - 30} more lines"] if len(lines) > 30 else [])]
        texts.append(f"{bold} failed:\n\n{fence((line[:500] for line in shown), 'text')}")
    return "\n\n".join(texts)


def _applied(tally: Tally) -> str:
    words = [
        f"{number} {word}"
        for number, word in (
            (tally.create, "created"),
            (tally.update, "updated"),
            (tally.replace, "replaced"),
            (tally.delete, "destroyed"),
            (tally.forget, "forgotten"),
            (tally.imports, "imported"),
            (tally.move, "moved"),
        )
        if number
    ]
    return ", ".join(words) or "nothing to change in the infrastructure"


def _heading(newest: _Entry | None, environments: int) -> str:
    at = f" at {code(newest.commit[:7])}" if newest is not None and newest.commit else ""
    return f"### orch · {environments} environment{'' if environments == 1 else 's'}{at}"


def _footer(newest: _Entry | None, *, is_marked: bool) -> str:
    run = link("The run", newest.run_url) if newest is not None else "The run"
    if not is_marked:
        return f"<sub>Secrets are masked. {run} says what was done.</sub>"
    return (
        f"<sub>Secrets are masked. {run} has all of it in its step summary. orch edits this comment in place until everything is"
        " rolled out; what is applied is the sealed plan, never this text.</sub>"
    )
