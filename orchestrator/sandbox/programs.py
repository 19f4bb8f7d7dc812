"""What the program in a task's first container writes to its log: lines that fit its scripted behaviour. Pure.

ORCH_SANDBOX_LOGS, a variable of the container, replaces what it writes when it starts; each line of it is one event of the log.
The lines of programs are as Python, Node.js and the kernel write them.
"""

from __future__ import annotations

from typing import Literal

LOGS_VARIABLE = "ORCH_SANDBOX_LOGS"
Moment = Literal["start", "stop"]

_SERVES = ("listening on port 8080",)
_CRASHES = (
    "Traceback (most recent call last):",
    '  File "/app/main.py", line 12, in <module>',
    "    settings = Settings.from_environment(os.environ)",
    '  File "/app/settings.py", line 31, in from_environment',
    '    database_url=environ["DATABASE_URL"],',
    "                 ~~~~~~~^^^^^^^^^^^^^^^^",
    "KeyError: 'DATABASE_URL'",
)
_AT_START = {
    "crash": ("loading settings",),
    "flapping": _SERVES,
    "oom": ("loading 4,000,000 rows into memory",),
    "unhealthy": _SERVES,
    "elb-unhealthy": _SERVES,
}
_AT_STOP = {
    "crash": _CRASHES,
    "flapping": _CRASHES,
    "exec-format": ("exec /usr/local/bin/app: exec format error",),
}


def lines(behaviour: str, moment: Moment, scripted: str = "") -> tuple[str, ...]:
    """What the program writes when it starts, and when it ends."""
    kind = behaviour.partition(":")[0]
    if moment == "stop":
        return _AT_STOP.get(kind, ())
    return tuple(scripted.splitlines()) or _AT_START.get(kind, ())
