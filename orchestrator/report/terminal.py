"""Shows events on stderr while they happen: a live view on a terminal, plain lines elsewhere.

Touches: the stream it is given. rich is imported only for a terminal.
"""

from __future__ import annotations

import textwrap
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol, TextIO

from orchestrator.events import (
    CopyProgress,
    Event,
    GateJudged,
    GateShut,
    LogLine,
    Measured,
    OutputLine,
    PauseContinued,
    PlanReady,
    PlanResumed,
    Released,
    ResourceProgress,
    RolloutPaused,
    RolloutProgress,
    ScaleProgress,
    ServiceEvent,
    StageEntered,
    StepFinished,
    StepStarted,
    TaskFailed,
    TaskProgress,
    Warned,
)
from orchestrator.report import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType
    from rich.live import Live

_SHOWN_LINES = 6
_SHOWN_STEPS = 8
# Of a service deployment, and of an entry of `deployments[]`.
_ENDED = frozenset(
    {"SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED", "COMPLETED", "FAILED", "GONE"}
)
# By the sign that a line begins with, after its indentation.
_COLOURS = {
    "✓": "green",
    "•": "dim",
    "…": "yellow",
    "✗": "bold red",
    "!": "yellow",
    "+": "green",
    "~": "yellow",
    "±": "bold red",
    "-": "bold red",
    "x": "magenta",
    "<": "cyan",
    ">": "cyan",
    "→": "cyan",
}
_HANGING = 4


class View(Protocol):
    """Takes events; `pause` frees the terminal for a question or the end."""

    def take(self, event: Event) -> None: ...

    def pause(self) -> None: ...


def open_view(stream: TextIO, *, is_verbose: bool) -> View:
    """The view that fits the stream."""
    return LiveView(stream, is_verbose=is_verbose) if stream.isatty() else PlainView(stream)


class PlainView:
    """One line after the other, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tenths: dict[str, int] = {}
        self._failures: set[tuple[str, str]] = set()

    def take(self, event: Event) -> None:
        if isinstance(event, CopyProgress) and not self._is_news(event):
            return
        lines = text.event_lines(event)
        if isinstance(event, TaskFailed) and _is_again(event, self._failures):
            lines = [text.failure_again_line(event.failure)]
        for line in lines:
            print(line, file=self._stream, flush=True)

    def pause(self) -> None:
        """Nothing to free."""

    def _is_news(self, event: CopyProgress) -> bool:
        """Whether another tenth of the image has arrived: a log that is kept needs no more."""
        tenth = 10 * event.done_bytes // event.total_bytes if event.total_bytes else 10
        if self._tenths.get(event.image) == tenth:
            return False
        self._tenths[event.image] = tenth
        return True


class LiveView:
    """Finished steps scroll up; below them the running steps, what they wait for, and for how long."""

    def __init__(self, stream: TextIO, *, is_verbose: bool) -> None:
        from rich.console import Console

        self._console: Console = Console(file=stream, highlight=False)
        self._is_verbose = is_verbose
        self._steps: list[tuple[StepStarted, float]] = []
        self._resources: dict[str, tuple[ResourceProgress, float]] = {}
        self._lines: deque[str] = deque(maxlen=_SHOWN_LINES)
        self._copies: dict[str, CopyProgress] = {}
        self._rollouts: dict[str, RolloutProgress] = {}
        self._failures: set[tuple[str, str]] = set()
        self._read = 0
        self._live: Live | None = None

    def take(self, event: Event) -> None:
        match event:
            case StepStarted():
                self._steps.append((event, time.monotonic()))
                self._lines.clear()
                self._read = 0
            case StepFinished():
                self._finish(event)
            case ResourceProgress():
                self._resource(event)
            case RolloutProgress():
                self._roll_out(event)
            case CopyProgress():
                self._copies[event.image] = event
            case TaskFailed():
                self._failed(event)
            case OutputLine() if not self._is_verbose:
                self._lines.append(event.text)
            case (
                ServiceEvent()
                | StageEntered()
                | RolloutPaused()
                | PauseContinued()
                | Measured()
                | LogLine()
                | TaskProgress()
                | ScaleProgress()
                | OutputLine()
                | Warned()
                | PlanReady()
                | PlanResumed()
                | GateShut()
                | GateJudged()
                | Released()
            ):
                self._print(text.event_lines(event))
        if self._steps:
            self._show()
        else:
            self.pause()

    def pause(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _finish(self, event: StepFinished) -> None:
        self._steps = [item for item in self._steps if item[0].name != event.name]
        for shown in (self._resources, self._copies, self._lines):
            shown.clear()
        if not self._steps:
            self._rollouts.clear()
        self._print([text.step_line(event)])

    def _roll_out(self, event: RolloutProgress) -> None:
        self._rollouts.pop(event.service, None)
        if event.state not in _ENDED:
            self._rollouts[event.service] = event

    def _failed(self, event: TaskFailed) -> None:
        if _is_again(event, self._failures):
            self._print([text.failure_again_line(event.failure)])
        else:
            self._print(text.failure_lines(event.failure, width=max(self._console.width, 60)))

    def _resource(self, event: ResourceProgress) -> None:
        if event.state in {"started", "running"}:
            started = self._resources.get(event.address, (event, time.monotonic()))[1]
            self._resources[event.address] = (event, started)
            return
        self._resources.pop(event.address, None)
        if event.action in {"refresh", "read"}:
            self._read += 1
        else:
            self._print(text.resource_lines(event))

    def _print(self, lines: list[str]) -> None:
        _print(self._console, lines)

    def _show(self) -> None:
        if self._live is None:
            from rich.live import Live

            self._live = Live(
                console=self._console,
                get_renderable=self._renderable,
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _renderable(self) -> RenderableType:
        from rich.console import Group
        from rich.spinner import Spinner
        from rich.text import Text

        now = time.monotonic()
        rows: list[RenderableType] = []
        for event, started in self._steps[-_SHOWN_STEPS:]:
            read = f", {self._read} read" if self._read else ""
            rows.append(Spinner("dots", Text(f"{event.title}  {text.seconds(now - started)}{read}")))
        if len(self._steps) > _SHOWN_STEPS:
            rows.append(_dim(f"  and {len(self._steps) - _SHOWN_STEPS} more"))
        rows += [
            _dim(f"    {text.rollout_line(event)}") for event in list(self._rollouts.values())[-_SHOWN_STEPS:]
        ]
        busy = [item for item in self._resources.values() if item[0].action not in {"refresh", "read"}]
        rows += [
            _dim(f"    {event.address}: {event.action} … {text.seconds(now - started)}")
            for event, started in busy[:_SHOWN_LINES]
        ]
        if len(busy) > _SHOWN_LINES:
            rows.append(_dim(f"    and {len(busy) - _SHOWN_LINES} more"))
        rows += [_dim(f"    {text.copy_line(event)}") for event in list(self._copies.values())[:_SHOWN_LINES]]
        rows += [_dim(f"    {line}") for line in self._lines]
        return Group(*rows)


def _is_again(event: TaskFailed, told: set[tuple[str, str]]) -> bool:
    """Whether a task of the service has failed in that way before, and all of it was told."""
    key = (event.failure.service, event.failure.signature)
    is_again = key in told
    told.add(key)
    return is_again


def write(lines: Sequence[str], stream: TextIO) -> None:
    """Writes a result: in colour and wrapped at words on a terminal, as it is elsewhere."""
    if not stream.isatty():
        print("\n".join(lines), file=stream, flush=True)
        return
    from rich.console import Console

    _print(Console(file=stream, highlight=False), lines)


def _print(console: Console, lines: Sequence[str]) -> None:
    from rich.text import Text

    for line in lines:
        sign, _, rest = line.lstrip().partition(" ")
        style = _COLOURS.get(sign, "") if rest else ""
        if rest and not line.startswith(" ") and sign in {"Plan", "Drift"}:
            style = "bold"
        # No word is cut: what is an address or a command can be copied.
        for part in _wrapped(line, console.width):
            console.print(Text(part, style=style), soft_wrap=True)


def _wrapped(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + _HANGING)
    parts = textwrap.wrap(
        line,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return parts or [line]


def _dim(line: str) -> RenderableType:
    from rich.text import Text

    return Text(line, style="dim", no_wrap=True, overflow="ellipsis")
