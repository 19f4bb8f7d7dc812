"""The command line: options → arguments, the composition root, the error boundary, exit codes; nothing else.

    app        the typer application, the options that verbs share, and `guarded`, the only place that catches
    init       the verb that writes into a repository what it needs to ship
    run        what a verb on an environment needs: settings, session, view, steps, questions
    verbs      the verbs on environments
    releases   the verbs on releases, and on what runs
    records    the verbs on release records
    board      the verb that makes a page of all environments
    tasks      the verbs on tasks
    verify     the verb that checks what a rollout needs
    doctor     the verb that says what a machine, a repository and its accounts lack
    locks      the verbs on the locks of environments
    sandbox    the verbs on the embedded AWS

Everything heavy is imported inside the verbs, so that `orch --help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from orchestrator.cli import (  # noqa: F401 - importing them registers their verbs
    board,
    doctor,
    init,
    locks,
    promote,
    records,
    releases,
    sandbox,
    tasks,
    verbs,
    verify,
)
from orchestrator.cli.app import app

if TYPE_CHECKING:
    from types import FrameType


def main() -> NoReturn:
    """The entry point of the command `orch`."""
    signal.signal(signal.SIGTERM, _interrupt)
    # Looking for pydantic plugins of other packages costs a tenth of the start-up, and orch uses none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        app()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    with suppress(BrokenPipeError):
        sys.stderr.flush()
    # Taking boto3's modules apart at the end takes 0.1 s, and nothing is left that needs it.
    os._exit(code)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
