"""What a bug leaves behind: one line for the user, and a log file to paste into an issue.

Touches: one file in orch's state folder. The log holds versions and a traceback, never the environment's values. What an exception
quotes is left out, of the line too: nobody knows what is in a value that orch did not expect.
"""

from __future__ import annotations

import platform
import re
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import __version__, masks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_QUOTED = re.compile(r"(?s)(?P<quote>[\"'`]).*(?P=quote)")
# They quote names of the code, or of files.
_QUOTES_NAMES = (AttributeError, NameError, ImportError, TypeError, OSError)
_SECRET_NAME = re.compile(r"(?i)secret|token|password|credential|key$")
# Shorter values are words that may be anywhere.
_SHORTEST_VALUE = 8


def write(bug: BaseException, environ: Mapping[str, str], arguments: Sequence[str]) -> str:
    """Writes the log and returns the line to show."""
    now = datetime.now(UTC)
    told = "".join(traceback.format_exception(bug))
    for member in _family(bug):
        if str(member):
            told = told.replace(str(member), _message(member))
    text = _without_values(
        f"orch {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"{now.isoformat(timespec='seconds')}\n"
        f"orch {' '.join(arguments)}\n\n"
        f"{told}",
        environ,
    )
    path = _folder(environ) / f"bug-{now:%Y%m%dT%H%M%S}.log"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    line = _without_values(f"bug: {type(bug).__name__}: {_message(bug)}", environ)
    return f"{line}\n  → this is a fault of orch; please report it with {path}"


def _family(bug: BaseException) -> Iterator[BaseException]:
    """The exception, and those that its traceback tells with it."""
    left, seen = [bug], set[int]()
    while left:
        member = left.pop()
        if id(member) in seen:
            continue
        seen.add(id(member))
        yield member
        left += [other for other in (member.__cause__, member.__context__) if other is not None]
        left += member.exceptions if isinstance(member, BaseExceptionGroup) else ()


def _message(bug: BaseException) -> str:
    return str(bug) if isinstance(bug, _QUOTES_NAMES) else _QUOTED.sub("…", str(bug))


def _without_values(text: str, environ: Mapping[str, str]) -> str:
    """The text without what looks like a credential, and without values of variables that may be secret."""
    values = [
        value
        for name, value in environ.items()
        if len(value) >= _SHORTEST_VALUE and (name.startswith("TF_VAR_") or _SECRET_NAME.search(name))
    ]
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, masks.SENSITIVE)
    return masks.scrub(text)


def _folder(environ: Mapping[str, str]) -> Path:
    home = environ.get("XDG_STATE_HOME") or (f"{environ['HOME']}/.local/state" if "HOME" in environ else "")
    folder = Path(home or tempfile.gettempdir()) / "orch" / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="orch-bug-"))
    return folder
