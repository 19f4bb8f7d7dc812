"""Runs other programs: the only user of subprocess.

Hides process groups, line-by-line reading, and what happens when orch itself is told to stop. A child runs in its own
process group, so a Ctrl-C in the terminal reaches orch alone; orch then sends the child one SIGINT, goes on reading
what it prints, and waits for it, however long it takes (Terraform saves its state and releases its lock in that time).
Only the third signal kills: whoever sends it wants out at any price. No shell is ever involved.

A pipe ends a program that writes to it once nobody reads any more. Where that would leave something half done, a program can
have files in memory instead: killed with orch is then nobody but orch, and what runs goes on to its end.

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
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What a terminal sends to every process in front.
_KEYS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)
_SIGNALS_UNTIL_KILL = 3
_KILL_WAIT_S = 5.0
_CHUNK_BYTES = 65_536
_TAIL_PAUSE_S = 0.05
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
    outlives: bool = False,
) -> Completed:
    """Runs a program to its end and returns how it ended, whatever its exit code.

    A callback gets each line without its newline as it is printed; lines given to a callback are not kept. `on_stderr`
    is called from another thread. Raises FileNotFoundError or PermissionError when the program cannot be started.
    On KeyboardInterrupt the child is interrupted and awaited, then the exception goes on. With `outlives` it goes on to its end
    even when orch is killed, where the system has files in memory (Linux).
    """
    started = time.monotonic()
    out: list[str] = []
    err: list[str] = []
    process: subprocess.Popen[str] | None = None
    errors: threading.Thread | None = None
    files = _files_in_memory() if outlives else ()
    said: Iterable[str] = ()
    try:
        with _signals_held():
            process = _start(argv, cwd, env, has_stdin=stdin is not None, files=files)
            with _running_lock:
                _running.add(process)
            said, complaints = _readers(process, files)
            errors = threading.Thread(target=_drain, args=(complaints, on_stderr or err.append), daemon=True)
            errors.start()
        if stdin is not None:
            _write(_pipe(process.stdin), stdin)
        _drain(said, on_stdout or out.append)
        code = process.wait()
    except KeyboardInterrupt:
        if process is not None:
            _interrupt_and_wait(process, said, on_stdout or out.append)
        raise
    except BaseException:
        # A callback failed: the child must not outlive the run that started it.
        if process is not None:
            _kill(process)
        raise
    finally:
        _close(process, errors)
        for file in files:
            os.close(file)
        if process is not None:
            with _running_lock:
                _running.discard(process)
    return Completed(tuple(argv), code, "\n".join(out), "\n".join(err), time.monotonic() - started)


def attach(argv: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Runs a program on orch's own terminal and returns its exit code. What is typed is the program's: Ctrl-C and its like reach
    it alone.

    SIGTERM ends the program, then KeyboardInterrupt goes on. Raises FileNotFoundError or PermissionError when it cannot start.
    """
    # A handler, not SIG_IGN: the program would inherit that, and could not be interrupted either.
    before = {number: signal.signal(number, _leave) for number in _KEYS}
    process: subprocess.Popen[bytes] | None = None
    try:
        process = subprocess.Popen(list(argv), env=dict(env))
        return process.wait()
    except KeyboardInterrupt:
        if process is not None:
            process.terminate()
            process.wait()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """The program in front takes the signal."""


def interrupt_all() -> None:
    """Sends one SIGINT to every child that runs in another thread; whoever started it goes on waiting for its end."""
    with _running_lock:
        for process in _running:
            _signal(process, signal.SIGINT)


def _start(
    argv: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str],
    *,
    has_stdin: bool,
    files: tuple[int, ...] = (),
) -> subprocess.Popen[str]:
    out, err = files or (subprocess.PIPE, subprocess.PIPE)
    return subprocess.Popen(
        list(argv),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.PIPE if has_stdin else subprocess.DEVNULL,
        stdout=out,
        stderr=err,
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


def _files_in_memory() -> tuple[int, ...]:
    """Two files that are on no disk, for a child's stdout and stderr; none where the system has no such thing."""
    if not hasattr(os, "memfd_create"):
        return ()
    return os.memfd_create("stdout"), os.memfd_create("stderr")


def _readers(process: subprocess.Popen[str], files: tuple[int, ...]) -> tuple[Iterable[str], Iterable[str]]:
    """What reads the child's stdout and stderr, line by line, to its end."""
    if not files:
        return _pipe(process.stdout), _pipe(process.stderr)
    out, err = files
    return _Tail(out, process), _Tail(err, process)


class _Tail:
    """The lines of a file that a child writes, until the child has ended; a second loop goes on where the first one stopped."""

    def __init__(self, file: int, process: subprocess.Popen[str]) -> None:
        self._file = file
        self._process = process
        self._offset = 0
        self._rest = b""

    def __iter__(self) -> Iterator[str]:
        while True:
            # Asked first: what is written after the answer was there before the end.
            has_ended = self._process.poll() is not None
            data = os.pread(self._file, _CHUNK_BYTES, self._offset)
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "replace")
            if not data and has_ended:
                break
            if not data:
                time.sleep(_TAIL_PAUSE_S)
        if self._rest:
            rest, self._rest = self._rest, b""
            yield rest.decode("utf-8", "replace")


def _drain(stream: Iterable[str], take: Callable[[str], object]) -> None:
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


def _interrupt_and_wait(
    process: subprocess.Popen[str], said: Iterable[str], take: Callable[[str], object]
) -> None:
    signals = 1
    _signal(process, signal.SIGINT)
    while True:
        try:
            _drain(said, take)
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
