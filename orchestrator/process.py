"""Runs other programs: the only user of subprocess.

Hides process groups, line-by-line reading, and what happens when orch itself is told to stop. A child runs in its own
process group, so a Ctrl-C in the terminal reaches orch alone; orch then sends the child one SIGINT, goes on reading
what it prints, and waits for it, however long it takes (Terraform saves its state and releases its lock in that time).
Only the third signal kills: whoever sends it wants out at any price. No shell is ever involved.

Touches: child processes, signal handlers for the moment a child starts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SIGNALS_UNTIL_KILL = 3
_KILL_WAIT_S = 5.0
# Children of all threads. A signal reaches the main thread alone, which then has to tell the others' children.
_running: set[subprocess.Popen[str]] = set()
_running_lock = threading.Lock()


@dataclass(frozen=True)
class Completed:
    """How a program ended. `stdout` and `stderr` are its whole output, unless a line callback consumed it."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    duration_s: float


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str],
    stdin: str | None = None,
    on_stdout: Callable[[str], None] | None = None,
    on_stderr: Callable[[str], None] | None = None,
) -> Completed:
    """Runs a program to its end and returns how it ended, whatever its exit code.

    A callback gets each line without its newline as it is printed; lines given to a callback are not kept. `on_stderr`
    is called from another thread. Raises FileNotFoundError or PermissionError when the program cannot be started.
    On KeyboardInterrupt the child is interrupted and awaited, then the exception goes on.
    """
    started = time.monotonic()
    out: list[str] = []
    err: list[str] = []
    process: subprocess.Popen[str] | None = None
    errors: threading.Thread | None = None
    try:
        with _signals_held():
            process = _start(argv, cwd, env, has_stdin=stdin is not None)
            with _running_lock:
                _running.add(process)
            take = on_stderr or err.append
            errors = threading.Thread(target=_drain, args=(_pipe(process.stderr), take), daemon=True)
            errors.start()
        if stdin is not None:
            _write(_pipe(process.stdin), stdin)
        _drain(_pipe(process.stdout), on_stdout or out.append)
        code = process.wait()
    except KeyboardInterrupt:
        if process is not None:
            _interrupt_and_wait(process, on_stdout or out.append)
        raise
    except BaseException:
        # A callback failed: the child must not outlive the run that started it.
        if process is not None:
            _kill(process)
        raise
    finally:
        _close(process, errors)
        if process is not None:
            with _running_lock:
                _running.discard(process)
    return Completed(tuple(argv), code, "\n".join(out), "\n".join(err), time.monotonic() - started)


def interrupt_all() -> None:
    """Sends one SIGINT to every child that runs in another thread; whoever started it goes on waiting for its end."""
    with _running_lock:
        for process in _running:
            _signal(process, signal.SIGINT)


def _start(
    argv: Sequence[str], cwd: Path | None, env: Mapping[str, str], *, has_stdin: bool
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        list(argv),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.PIPE if has_stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        process_group=0,
    )


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise RuntimeError("the child was started without this pipe")
    return stream


def _write(stream: IO[str], text: str) -> None:
    # A child may end without reading; its exit code and stderr say why.
    with suppress(BrokenPipeError):
        stream.write(text)
        stream.close()


def _drain(stream: IO[str], take: Callable[[str], object]) -> None:
    for line in stream:
        take(line.rstrip("\r\n"))


def _close(process: subprocess.Popen[str] | None, errors: threading.Thread | None) -> None:
    if errors is not None:
        errors.join()
    for stream in (process.stdin, process.stdout, process.stderr) if process is not None else ():
        with suppress(BrokenPipeError):
            if stream is not None:
                stream.close()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Holds stop signals back while a child is being started, so that none can orphan it; then delivers them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)

    before = {number: signal.signal(number, hold) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            os.kill(os.getpid(), held[0])


def _interrupt_and_wait(process: subprocess.Popen[str], take: Callable[[str], object]) -> None:
    signals = 1
    _signal(process, signal.SIGINT)
    while True:
        try:
            _drain(_pipe(process.stdout), take)
            process.wait()
        except KeyboardInterrupt:
            signals += 1
            if signals >= _SIGNALS_UNTIL_KILL:
                _kill(process)
                return
        else:
            return


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def _kill(process: subprocess.Popen[str]) -> None:
    # The whole group: Terraform's provider plugins and an engine's helpers live in it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_KILL_WAIT_S)
