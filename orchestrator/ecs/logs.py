"""What containers write to CloudWatch Logs: read from a moment on, then followed.

Hides pages, and that lines come late. A container's log driver sends them in batches, so a line may reach CloudWatch seconds
after its own timestamp, behind younger ones of other tasks. So each look reaches `OVERLAP_MS` back behind the youngest line
seen, and lines are told apart by their event ids: none is lost unless it is later than that, and none comes twice.
Text that looks like a credential is taken out: orch's output ends in build logs, which more people read than the log group.
Touches: logs:FilterLogEvents, and no other action: it takes one log group, or single streams of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated
from orchestrator.errors import AwsError
from orchestrator.events import LogLine
from orchestrator.masks import scrub

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.ecs.task_definition import TaskDefinition

OVERLAP_MS = 30_000
# What may be over in a moment; botocore has tried five times by then. The codes of CloudWatch Logs, ECS and the network.
PASSING = frozenset(
    {
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "InternalFailure",
        "ReadTimeoutError",
        "ServerException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_NOT_THERE = "ResourceNotFoundException"
# The phrase between double quotes of a filter pattern; how it would be escaped is not documented.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
_UNQUOTABLE = frozenset('"\\')


@dataclass(frozen=True)
class Place:
    """Where a container logs to: a log group, its region, and what its streams begin with."""

    group: str
    region: str
    prefix: str
    container: str

    def stream(self, task_id: str) -> str:
        """Its stream for one task (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html)."""
        return f"{self.prefix}/{self.container}/{task_id}"


@dataclass(frozen=True)
class Entry:
    """One event of a log; `at_ms` is milliseconds since the epoch."""

    id: str
    at_ms: int
    stream: str
    text: str

    def lines(self, service: str) -> Iterator[LogLine]:
        """What it says, line by line: a message may hold several."""
        task_id, container = _owner(self.stream)
        at = datetime.fromtimestamp(self.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
        for line in scrub(self.text).splitlines() or [""]:
            yield LogLine(service, task_id, container, at.replace("+00:00", "Z"), line)


def place_of(definition: TaskDefinition, container: str) -> Place | None:
    """Where a container of this definition logs to; None when that is not CloudWatch, or its streams cannot be named."""
    for item in definition.request["containerDefinitions"]:
        configuration: Mapping[str, Any] = item.get("logConfiguration") or {}
        options: Mapping[str, str] = configuration.get("options") or {}
        is_ours = item["name"] == container and configuration.get("logDriver") == "awslogs"
        if is_ours and options.get("awslogs-group") and options.get("awslogs-stream-prefix"):
            return Place(
                options["awslogs-group"],
                options.get("awslogs-region", ""),
                options["awslogs-stream-prefix"],
                container,
            )
    return None


class Tail:
    """The events of one log group from a moment on, each once."""

    def __init__(
        self, logs: Any, group: str, *, start_ms: int, streams: tuple[str, ...] = (), text: str = ""
    ) -> None:
        """`streams` are names, all of them when empty; `text` is what a message must contain, case and all."""
        self._logs = logs
        self._text = text
        self._request: dict[str, Any] = {"logGroupName": group}
        if streams:
            self._request["logStreamNames"] = list(streams)
        if text and not _UNQUOTABLE & set(text):
            self._request["filterPattern"] = f'"{text}"'
        self._start_ms = start_ms
        self._newest_ms = start_ms
        self._seen: dict[str, int] = {}
        self._has_streams = bool(streams)

    def entries(self) -> Iterator[Entry]:
        """What came since the last look, the oldest first, page by page. Raises AwsError."""
        token = ""
        while True:
            request = self._request | {"startTime": self._start_ms} | ({"nextToken": token} if token else {})
            try:
                with translated("logs:FilterLogEvents"):
                    page = self._logs.filter_log_events(**request)
            except AwsError as error:
                if error.code == _NOT_THERE and self._has_streams:
                    # A stream is made with its first line.
                    return
                raise
            for item in page["events"]:
                entry = Entry(item["eventId"], item["timestamp"], item["logStreamName"], item["message"])
                if entry.id not in self._seen and self._text in entry.text:
                    self._seen[entry.id] = entry.at_ms
                    # A container may date its lines ahead; what others write meanwhile must not be passed over.
                    self._newest_ms = max(self._newest_ms, min(entry.at_ms, item["ingestionTime"]))
                    yield entry
            token = page.get("nextToken") or ""
            if not token:
                break
        self._move_on()

    def poll(self) -> list[Entry]:
        """The same as a list. When a page fails, those before it are given and the next look goes on from them; raises AwsError
        only when there was none.
        """
        found: list[Entry] = []
        try:
            for entry in self.entries():
                found.append(entry)  # noqa: PERF402 - what came before an exception must stay
        except AwsError:
            if not found:
                raise
            self._move_on()
        return found

    def _move_on(self) -> None:
        self._start_ms = max(self._start_ms, self._newest_ms - OVERLAP_MS)
        self._seen = {key: at_ms for key, at_ms in self._seen.items() if at_ms >= self._start_ms}


def _owner(stream: str) -> tuple[str, str]:
    """The task id and the container of a stream `prefix/container/task-id`; a stream of another form is its own owner."""
    parts = stream.split("/")
    return (parts[-1], parts[-2]) if len(parts) >= 3 else (stream, "")
