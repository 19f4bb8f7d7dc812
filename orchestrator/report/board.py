"""The release board of a pull request: what its one comment says of each environment, and how the comment remembers it.

The comment is the only place where the board is kept: GitHub has no database for us, and the jobs of the environments share
nothing else. So the text carries, invisible in HTML comments, what a later job needs to edit its own row and leave the others:

    <!-- orch:v1 {…} -->                           the first line, by which the comment is found
    | <!-- orch:row {…} --> **dev** | … |          each table row begins with the row as JSON
    <!-- orch:KIND {"environment": …} -->          around every other text that belongs to one environment; KIND is danger,
    …                                              widening, section, or one that only a newer orch knows
    <!-- orch:end -->

Rows and blocks are taken over as text, so those of a newer orch survive. Nothing from outside can forge a marker: JSON is
written without `<`, `>` and `--`, and text is shown only through markdown.py's escapes, which leave no `<!--`. Whoever may edit
comments can still change all of it, so it is a display: what may be applied is never read from here, and whoever looks for
the comment must also ask whether its author is orch's own identity.

Pure. markdown.py renders and merges.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.model import Action, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.model import Plan

SCHEMA = 1
FIND = "<!-- orch:v"
END = "<!-- orch:end -->"
FORK = (
    "This pull request comes from a fork: GitHub gives its workflows no OIDC token and a read-only `GITHUB_TOKEN`, so nothing"
    " was planned and no cloud account was reached."
)
_FORK_NEXT = "a maintainer reviews the change, then pushes it to a branch of this repository"


class State(enum.StrEnum):
    """How far an environment has come. A failed plan changed nothing; a failed apply may have changed some of it."""

    PLANNED = "planned"
    REFUSED = "refused"
    FAILED = "failed"
    SKIPPED = "skipped"
    APPLYING = "applying"
    APPLY_FAILED = "apply failed"
    APPLIED = "applied"
    ROLLING_OUT = "rolling out"
    ROLLED_OUT = "rolled out"

    @property
    def is_applied(self) -> bool:
        """Whether the plan has become history, so that one line of it is enough."""
        return self in {State.APPLIED, State.ROLLING_OUT, State.ROLLED_OUT}


@dataclass(frozen=True)
class Tally:
    """A plan in numbers: all that is remembered of it."""

    create: int = 0
    update: int = 0
    replace: int = 0
    delete: int = 0
    forget: int = 0
    imports: int = 0
    move: int = 0
    read: int = 0
    outputs: int = 0
    drift: int = 0
    checks: int = 0
    widenings: int = 0


@dataclass(frozen=True)
class ServiceImage:
    """What a service runs and what it is to run, each `repository@digest`, empty for none; `verdict` once it was rolled out.

    What is to run may be `repository:tag`: an image that is not built yet.
    """

    service: str
    running: str
    wanted: str
    verdict: Verdict | None = None
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """What the board says of one environment.

    `gates` are the refusals, `rule: sentence` each; none means open. `note`, `next_step` and `gates` are sentences in which
    `backticks` make code. `commit` and `run_url` say where the row comes from; empty, they are the board's. `sequence` grows
    from run to run (Unix seconds at which the run began): an older run never overwrites a newer one. `position` is the
    environment's place in orch.toml. A row without a plan shows `tally` in its place.
    """

    environment: str
    state: State
    plan: Plan | None = None
    tally: Tally | None = None
    gates: tuple[str, ...] = ()
    images: tuple[ServiceImage, ...] = ()
    error: str = ""
    note: str = ""
    next_step: str = ""
    bundle: str = ""
    commit: str = ""
    run_url: str = ""
    sequence: int = 0
    position: int = 0

    @property
    def counts(self) -> Tally | None:
        return count(self.plan) if self.plan is not None else self.tally

    @property
    def verdict(self) -> Verdict | None:
        """How the rollouts of all services ended: the worst of them, by exit code, or None before there is one."""
        verdicts = [image.verdict for image in self.images if image.verdict is not None]
        return max(
            verdicts, key=lambda verdict: (verdict.exit_code, verdict is Verdict.SUCCEEDED), default=None
        )


@dataclass(frozen=True)
class Board:
    """All environments of a pull request; `note` is a sentence on all of them."""

    commit: str
    run_url: str
    rows: tuple[Row, ...]
    note: str = ""
    schema: int = SCHEMA


@dataclass(frozen=True)
class Block:
    """Text of one environment as it stands in a comment; `meta` is what its opening marker says."""

    kind: str
    meta: Mapping[str, Any]
    text: str

    @property
    def environment(self) -> str:
        return str(self.meta.get("environment", ""))


@dataclass(frozen=True)
class Part:
    """What a comment holds of one environment: its record, its line of the table, its blocks."""

    environment: str
    record: Mapping[str, Any]
    line: str
    blocks: tuple[Block, ...]


def count(plan: Plan) -> Tally:
    """The numbers of a plan."""
    return Tally(
        create=plan.count(Action.CREATE),
        update=plan.count(Action.UPDATE),
        replace=plan.count(Action.REPLACE),
        delete=plan.count(Action.DELETE),
        forget=plan.count(Action.FORGET),
        imports=plan.count(Action.IMPORT),
        move=plan.count(Action.MOVE),
        read=plan.count(Action.READ),
        outputs=len(plan.output_changes),
        drift=len(plan.drift),
        checks=len(plan.checks),
        widenings=len(plan.widenings),
    )


def of_a_fork(commit: str, run_url: str, environments: tuple[str, ...]) -> Board:
    """The board of a pull request whose workflow has no credentials. Its token cannot comment: show it in the step summary."""
    rows = tuple(
        Row(name, State.SKIPPED, next_step=_FORK_NEXT, position=position)
        for position, name in enumerate(environments)
    )
    return Board(commit, run_url, rows, note=FORK)


def key(environment: str) -> str:
    """The name by which a comment knows an environment: the name itself, or a short one that is as unique."""
    if len(environment) <= 100:
        return environment
    digest = hashlib.sha256(environment.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{environment[:80]}…{digest[:12]}"


def url(text: str) -> str:
    """A URL that can stand in a link and in a table as it is, or nothing."""
    return text if re.fullmatch(r"https?://[A-Za-z0-9._~:/?#@%&=+,;-]{1,400}", text) else ""


def remembered(row: Row) -> Row:
    """The row as a comment remembers it: without its plan and error, and with no text too long."""
    images = tuple(
        ServiceImage(
            image.service[:100],
            image.running[:300],
            image.wanted[:300],
            image.verdict,
            image.reason[:200],
        )
        for image in row.images[:20]
    )
    return Row(
        environment=key(row.environment),
        state=row.state,
        tally=row.counts,
        gates=tuple(gate[:200] for gate in row.gates[:20]),
        images=images,
        note=row.note[:300],
        next_step=row.next_step[:200],
        bundle=row.bundle[:200],
        commit=row.commit[:64],
        run_url=url(row.run_url),
        sequence=row.sequence,
        position=row.position,
    )


def record(row: Row, *, is_short: bool = False) -> dict[str, Any]:
    """The row as JSON, without what is empty; `is_short` leaves out all but what a merge cannot do without."""
    kept = remembered(row)
    if is_short:
        kept = dataclasses.replace(kept, gates=(), images=(), note="", next_step="", bundle="")
    members = {name: value for name, value in dataclasses.asdict(kept).items() if value}
    if kept.tally is not None:
        members["tally"] = {name: value for name, value in dataclasses.asdict(kept.tally).items() if value}
    if kept.images:
        members["images"] = [
            {name: value for name, value in image.items() if value} for image in members["images"]
        ]
    return {"schema": SCHEMA, "environment": kept.environment, **members}


def recalled(members: Mapping[str, Any]) -> Row | None:
    """The row of a record, or None when a newer orch wrote it, or it is none."""
    if members.get("schema") != SCHEMA:
        return None
    known = {
        name: members[name]
        for name in ("environment", "note", "next_step", "bundle", "commit", "run_url")
        if isinstance(members.get(name), str)
    }
    try:
        return Row(
            **known,
            state=State(members["state"]),
            tally=Tally(**{name: _integer(number) for name, number in members["tally"].items()})
            if "tally" in members
            else None,
            gates=tuple(map(str, members.get("gates", ()))),
            images=tuple(_image(image) for image in members.get("images", ())),
            sequence=_integer(members.get("sequence")),
            position=_integer(members.get("position")),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _image(members: Mapping[str, Any]) -> ServiceImage:
    verdict = members.get("verdict")
    return ServiceImage(
        str(members.get("service", "")),
        str(members.get("running", "")),
        str(members.get("wanted", "")),
        Verdict(verdict) if verdict else None,
        str(members.get("reason", "")),
    )


def marker(kind: str, members: Mapping[str, Any]) -> str:
    """An HTML comment that no text inside can end, and that does not break the row of a table.

    CommonMark 0.31 ends a comment at `-->`; older parsers and HTML 4 do not allow `--` at all.
    """
    text = json.dumps(members, separators=(",", ":"))
    for character in "<>&|`@#":
        text = text.replace(character, f"\\u{ord(character):04x}")
    text = text.replace("--", "-\\u002d")
    return f"<!-- orch:{kind} {text} -->"


def read(body: str) -> tuple[Row, ...]:
    """The rows that a comment remembers, without those of a newer orch."""
    rows = (recalled(part.record) for part in parse(body))
    return tuple(row for row in rows if row is not None)


def holds(body: str, row: Row) -> bool:
    """Whether a comment shows this row, or a newer one of its environment.

    GitHub's API has no conditional update of a comment, so of two jobs that write at once one is lost without a word. Whoever
    writes reads again afterwards, and merges and writes once more until this is true.
    """
    for part in parse(body):
        if part.environment == key(row.environment):
            newest = _integer(part.record.get("sequence"))
            return newest > row.sequence or (newest == row.sequence and part.record.get("state") == row.state)
    return False


def sequence(part: Part) -> int:
    return _integer(part.record.get("sequence"))


def position(part: Part) -> int:
    return _integer(part.record.get("position"))


def head(body: str) -> dict[str, Any]:
    """What the first line of a comment says; empty when the comment is not a board."""
    found = _HEAD.match(body.lstrip())
    return _json(found[1]) if found else {}


def parse(body: str) -> tuple[Part, ...]:
    """What a comment holds, an environment each, in the order of its table. Never raises: what is no part is not returned."""
    if not body.lstrip().startswith(FIND):
        return ()
    records: dict[str, tuple[dict[str, Any], str]] = {}
    blocks: dict[str, list[Block]] = {}
    lines = iter(body.replace("\r\n", "\n").split("\n"))
    for line in lines:
        if row := _ROW.match(line):
            members = _json(row[1])
            records[str(members.get("environment", ""))] = (members, line)
        elif opened := _OPEN.fullmatch(line):
            text = []
            for inner in lines:
                if inner == END:
                    break
                text.append(inner)
            block = Block(opened[1], _json(opened[2]), "\n".join(text).strip("\n"))
            blocks.setdefault(block.environment, []).append(block)
    return tuple(
        Part(name, *records.get(name, ({}, "")), tuple(blocks.get(name, ())))
        for name in dict.fromkeys((*records, *blocks))
    )


_HEAD = re.compile(r"<!-- orch:v\d+ (\{.*?\}) -->")
_ROW = re.compile(r"\| <!-- orch:row (\{.*?\}) -->")
_OPEN = re.compile(r"<!-- orch:([a-z_]+) (\{.*\}) -->")


def _json(text: str) -> dict[str, Any]:
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0
