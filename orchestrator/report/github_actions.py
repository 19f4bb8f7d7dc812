"""Workflow commands: lines by which a step tells GitHub's runner to fold the log, to mask a value, to annotate a file.

Pure: the caller prints each line to stdout, where the runner reads it. Escaping is that of GitHub's own toolkit
(actions/toolkit, packages/core/src/command.ts): `%`, CR and LF in the data, `:` and `,` too in a property. The runner takes
every line that begins with `::` for a command, whoever wrote it; what a program prints belongs between `stop_commands` and
`resume_commands`.
"""

# No `from __future__ import annotations` here: it would take the name of the function below.
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "notice"]

# What GitHub shows of one step; it drops the rest without a word ("Workflow commands", and "REST API: check runs").
ANNOTATIONS_PER_STEP = 10
_LONGEST_MESSAGE = 4_000
_LONGEST_TITLE = 200
_CONTROLS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Annotation:
    """A message on a run, and with `file` (relative to the repository) on a line of the pull request; `line` 0 is none."""

    severity: Severity
    message: str
    title: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Annotations:
    """The commands to print, and how many of each severity GitHub would not have shown."""

    lines: tuple[str, ...]
    errors_left_out: int
    warnings_left_out: int
    notices_left_out: int


def group(title: str) -> str:
    """Begins a fold of the log; folds do not nest."""
    return _command("group", _clean(title))


def end_group() -> str:
    return _command("endgroup", "")


def mask(value: str) -> tuple[str, ...]:
    """What makes the runner show `***` for a value from here on, in this job only.

    The runner looks for the value in each line of the log by itself, so that of several lines each is masked on its own.
    Nothing of it is cleaned: another text would mask another value. An empty mask is an error to the runner.
    """
    lines = [line for line in re.split(r"[\r\n]+", value) if line.strip()]
    wanted = [value, *lines] if len(lines) > 1 else lines
    return tuple(_command("add-mask", text) for text in wanted)


def stop_commands(token: str) -> str:
    """From here on the runner takes no line for a command until `resume_commands(token)`; the token must be unguessable."""
    return _command("stop-commands", _token(token))


def resume_commands(token: str) -> str:
    return f"::{_token(token)}::"


def annotate(annotation: Annotation) -> str:
    """One annotation as a command."""
    properties = {
        "file": annotation.file,
        "line": str(annotation.line) if annotation.line > 0 and annotation.file else "",
        "title": _clip(annotation.title, _LONGEST_TITLE),
    }
    return _command(annotation.severity, _clip(annotation.message, _LONGEST_MESSAGE), properties)


def annotations(diagnostics: Iterable[Annotation]) -> Annotations:
    """The first ten of each severity as commands, in their order, each text once; the rest is counted."""
    lines: list[str] = []
    seen: dict[Severity, int] = {"error": 0, "warning": 0, "notice": 0}
    for diagnostic in dict.fromkeys(diagnostics):
        seen[diagnostic.severity] += 1
        if seen[diagnostic.severity] <= ANNOTATIONS_PER_STEP:
            lines.append(annotate(diagnostic))
    left_out = {severity: max(0, number - ANNOTATIONS_PER_STEP) for severity, number in seen.items()}
    return Annotations(tuple(lines), left_out["error"], left_out["warning"], left_out["notice"])


def _command(name: str, data: str, properties: dict[str, str] | None = None) -> str:
    given = [f"{key}={_property(_clean(value))}" for key, value in (properties or {}).items() if value]
    return f"::{name}{' ' if given else ''}{','.join(given)}::{_data(data)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _clean(text: str) -> str:
    return _CONTROLS.sub("", text)


def _clip(text: str, limit: int) -> str:
    cleaned = _clean(text)
    return cleaned if len(cleaned) <= limit else f"{cleaned[: limit - 1]}…"


def _token(token: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]{16,}", token):
        raise ValueError("a token for stop-commands is at least 16 letters and digits, and new in each run")
    return token
