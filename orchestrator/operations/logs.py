"""`orch logs --env NAME`: what the containers of services log, merged by time, and followed with `-f`.

Comes in: an environment, and which lines are wanted. Goes out: LogLine events, and how many. May touch: reads of the services'
log groups, the state. The streams of a service's one-off tasks are in its group, and so are those of tasks long gone.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.ecs import logs as ecs_logs
from orchestrator.ecs.rollout import Clock
from orchestrator.errors import AwsError, PreconditionError
from orchestrator.events import Warned
from orchestrator.operations import contract
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.aws import Aws
    from orchestrator.ecs.logs import Entry, Tail
    from orchestrator.events import Emit, LogLine, Steps
    from orchestrator.settings import Environment, Settings

_POLL_S = 1.5
_LONGEST_POLL_S = 30.0


@dataclass(frozen=True)
class Wanted:
    """Which lines: from `start_ms` on (milliseconds since the epoch); empty texts leave nothing out.

    `task` is the beginning of a task's id; `text` is what the message must contain, in this case.
    """

    start_ms: int
    services: tuple[str, ...] = ()
    container: str = ""
    task: str = ""
    text: str = ""

    def takes(self, line: LogLine) -> bool:
        return line.task_id.startswith(self.task) and self.container in {"", line.container}


def logs(
    settings: Settings,
    environment: Environment,
    wanted: Wanted,
    *,
    is_followed: bool,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
) -> int:
    """Emits the lines, and goes on with new ones until it is interrupted when they are followed; their number. Raises OrchError."""
    agreed = contract.read(settings, environment, session, environ, steps)
    chosen = contract.choose(agreed, wanted.services)
    client = session.acting_as(Role.DEPLOY).logs
    # Services may share a group: its lines come once, under the first one's name.
    groups = {service.log_group: service.name for service in reversed(chosen)}
    tails = {
        name: ecs_logs.Tail(client, group, start_ms=wanted.start_ms, text=wanted.text)
        for group, name in groups.items()
    }
    return show(tails, wanted, steps.emit, is_followed=is_followed)


def show(
    tails: Mapping[str, Tail], wanted: Wanted, emit: Emit, *, is_followed: bool, clock: Clock | None = None
) -> int:
    """Emits the lines of these logs (by service), those of all merged by time; how many. Raises OrchError."""
    clock = clock or Clock()
    streams = [_named(name, tail.entries()) for name, tail in tails.items()]
    try:
        count = _emit_all(heapq.merge(*streams, key=lambda found: found[1].at_ms), wanted, emit)
    except AwsError as error:
        if error.code == "ResourceNotFoundException":
            raise PreconditionError(
                f"a log group of {', '.join(tails)} does not exist",
                details=(error.message,),
                hint="Terraform makes it: was it deleted by hand? `orch apply` brings it back",
            ) from error
        raise
    poll_s = _POLL_S
    while is_followed:
        clock.sleep(poll_s * clock.jitter())
        found, is_delayed = _poll(tails, emit, is_quiet=poll_s > _POLL_S)
        count += _emit_all(found, wanted, emit)
        poll_s = min(poll_s * 2, _LONGEST_POLL_S) if is_delayed else _POLL_S
    return count


def _poll(tails: Mapping[str, Tail], emit: Emit, *, is_quiet: bool) -> tuple[list[tuple[str, Entry]], bool]:
    """What is new in all of them, by time; and whether one of them could not be read for now."""
    found: list[tuple[str, Entry]] = []
    is_delayed = False
    for name, tail in tails.items():
        try:
            found += _named(name, tail.poll())
        except AwsError as error:
            if error.code not in ecs_logs.PASSING:
                raise
            if not is_quiet and not is_delayed:
                emit(Warned(f"lines of {name} are late: {error.message}", "going on; none is left out"))
            is_delayed = True
    return sorted(found, key=lambda item: item[1].at_ms), is_delayed


def _named(name: str, entries: Iterable[Entry]) -> Iterator[tuple[str, Entry]]:
    return ((name, entry) for entry in entries)


def _emit_all(found: Iterable[tuple[str, Entry]], wanted: Wanted, emit: Emit) -> int:
    count = 0
    for name, entry in found:
        for line in entry.lines(name):
            if wanted.takes(line):
                emit(line)
                count += 1
    return count
