"""What a bug leaves behind: one line for the user, and a log file to paste into an issue.

Touches: one file in orch's state folder. The log holds versions and a traceback, never the environment's values.
"""

from __future__ import annotations

import platform
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def write(bug: BaseException, environ: Mapping[str, str], arguments: Sequence[str]) -> str:
    """Writes the log and returns the line to show."""
    now = datetime.now(UTC)
    text = (
        f"orch {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"{now.isoformat(timespec='seconds')}\n"
        f"orch {' '.join(arguments)}\n\n"
        f"{''.join(traceback.format_exception(bug))}"
    )
    path = _folder(environ) / f"bug-{now:%Y%m%dT%H%M%S}.log"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return f"bug: {type(bug).__name__}: {bug}\n  → this is a fault of orch; please report it with {path}"


def _folder(environ: Mapping[str, str]) -> Path:
    home = environ.get("XDG_STATE_HOME") or (f"{environ['HOME']}/.local/state" if "HOME" in environ else "")
    folder = Path(home or tempfile.gettempdir()) / "orch" / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="orch-bug-"))
    return folder
