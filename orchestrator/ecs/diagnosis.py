"""Why tasks of our deployment failed: what ECS, the load balancer and the log tell of each, and the cause (causes.py).

A failed task is known by our deployment id (`startedBy`), so that it stays ours after ECS has begun to roll back and our deployment
is PRIMARY no more. ECS shows a stopped task for an hour at least. What cannot be read fails nothing: the failure says in words
why a part of it is empty. Text of programs and of AWS is scrubbed of credentials, and of what would steer a terminal.
Touches: ecs:ListTasks, ecs:DescribeTasks, and for tasks that ran ecs:DescribeServices, elasticloadbalancing:DescribeTargetHealth
and logs:GetLogEvents.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated
from orchestrator.ecs import causes, logs, services, tasks
from orchestrator.errors import AwsError, PreconditionError
from orchestrator.events import Emit, Warned
from orchestrator.masks import scrub
from orchestrator.model import ContainerExit, TaskFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_ecs import ECSClient

    from orchestrator.ecs.services import ServiceState
    from orchestrator.ecs.task_definition import TaskDefinition

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html
_TASKS_PER_CALL = 100
_LOGS_READ = 5
_LINES = 50
_LINES_OF_OTHERS = 10
_LONGEST_LINE = 2_000
# The other stop codes are no fault of the release: UserInitiated, SpotInterruption, TerminationNotice, InfrastructureHealth.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html
_FAILED = frozenset({"TaskFailedToStart", "EssentialContainerExited"})
_UNHEALTHY = re.compile(r"failed (ELB|container) health checks", re.IGNORECASE)
_ESCAPE_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z^_])|\x9b[0-?]*[ -/]*[@-~]"
)
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
_UNPLACED = re.compile(
    r"was unable to place a task(?:\. Reason: (?P<reason>.+)| because (?P<because>.+))"
    r"|failed to launch a task with \(error (?P<error>.+)\)"
    r"|could not launch (?P<launch>.+)"
    r"|unable to reach steady state\. Reason: (?P<steady>.+)",
    re.DOTALL,
)
# These come with a task that was placed, and that DescribeTasks tells more of.
_PLACED = ("CannotPull", "ResourceInitializationError", "CannotStart", "CannotCreate")
_MORE = re.compile(r"\s*For more information, see the Troubleshooting section.*", re.DOTALL)


@dataclass(frozen=True)
class Readers:
    """The clients that a diagnosis asks; all of them only read. `logs` and `elbv2` are untyped boto3 clients."""

    ecs: ECSClient
    logs: Any
    elbv2: Any


@dataclass(frozen=True)
class Place:
    """A service, and the definition that the watched deployment runs: it tells where the logs of its tasks are."""

    cluster: str
    service: str
    definition: TaskDefinition


def failures(
    readers: Readers, place: Place, deployment_id: str, seen: set[str], emit: Emit | None = None
) -> tuple[TaskFailure, ...]:
    """The tasks of that deployment that failed and are not in `seen`, the oldest first.

    `seen` is the caller's memory between two looks: the ARNs of the stopped tasks that need no second look. When tasks cannot be
    read at all, `emit` gets one Warned for each reason; the next look tries again.
    """
    try:
        listed = tasks.list_arns(readers.ecs, place.cluster, service=place.service, is_stopped=True)
        stopped = _describe(readers.ecs, place.cluster, [arn for arn in listed if arn not in seen])
    except AwsError as error:
        if error.code not in seen and emit is not None:
            emit(Warned(f"why tasks of {place.service} fail cannot be read: {error.message}", error.hint))
        seen.add(error.code)
        return ()
    failed = []
    for task in stopped:
        is_failure = task.get("startedBy") == deployment_id and _is_failure(task)
        if is_failure and _is_final(task):
            failed.append(task)
        # A task on its way to STOPPED has no exit codes yet, so it is looked at again.
        if task.get("lastStatus") == "STOPPED" or (is_failure and _is_final(task)):
            seen.add(task["taskArn"])
    failed.sort(key=_stopped_at)
    surroundings = _Surroundings(readers, place, any(_has_run(task) for task in failed))
    newest = len(failed) - _LOGS_READ
    return tuple(
        _failure(readers, place, task, surroundings, reads_log=index >= newest)
        for index, task in enumerate(failed)
    )


def unplaced(place: Place, deployment_id: str, message: str, at: str) -> TaskFailure | None:
    """A failure from an event of the service which says that no task could be placed: then there is no task to ask about.

    None for an event that says something else, or that speaks of a task which `failures` finds. Pure.
    """
    match = _UNPLACED.search(message)
    reason = next((text for text in match.groupdict().values() if text), "") if match else ""
    if not reason or reason.startswith(_PLACED):
        return None
    failure = TaskFailure(
        service=place.service,
        task_id="",
        deployment_id=deployment_id,
        stop_code="",
        stopped_reason=_clean(_MORE.sub("", reason)),
        stopped_at=at,
        log_place="(no task, no log)",
    )
    return replace(failure, cause=causes.find(failure, place.definition))


def _describe(ecs: ECSClient, cluster: str, arns: Sequence[str]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for start in range(0, len(arns), _TASKS_PER_CALL):
        with translated("ecs:DescribeTasks"):
            answer = ecs.describe_tasks(cluster=cluster, tasks=list(arns[start : start + _TASKS_PER_CALL]))
        found += answer.get("tasks", [])
    return found


def _is_failure(task: Mapping[str, Any]) -> bool:
    """Whether it failed by itself or by its health, and was not replaced, scaled in, stopped by hand, or taken by AWS."""
    return task.get("stopCode") in _FAILED or bool(_UNHEALTHY.search(task.get("stoppedReason", "")))


def _is_final(task: Mapping[str, Any]) -> bool:
    """Whether all is known of it. What an unhealthy task ends with only tells of the signal that it gets, and until then its target
    drains for minutes: that one is told at once.
    """
    return task.get("lastStatus") == "STOPPED" or bool(_UNHEALTHY.search(task.get("stoppedReason", "")))


def _has_run(task: Mapping[str, Any]) -> bool:
    return task.get("stopCode") != "TaskFailedToStart"


def _stopped_at(task: Mapping[str, Any]) -> str:
    moment = task.get("stoppedAt") or task.get("stoppingAt")
    return moment.isoformat() if moment else ""


def _failure(
    readers: Readers, place: Place, task: Mapping[str, Any], surroundings: _Surroundings, *, reads_log: bool
) -> TaskFailure:
    details = {
        item["name"]: item.get("value", "")
        for attachment in task.get("attachments", [])
        for item in attachment.get("details", [])
    }
    failure = TaskFailure(
        service=place.service,
        task_id=task["taskArn"].rsplit("/", 1)[-1],
        deployment_id=task.get("startedBy", ""),
        stop_code=task.get("stopCode", ""),
        stopped_reason=_clean(task.get("stoppedReason", "")),
        stopped_at=_stopped_at(task),
        created_at=task["createdAt"].isoformat() if "createdAt" in task else "",
        containers=tuple(_container(item) for item in task.get("containers", [])),
    )
    if _has_run(task):
        health = surroundings.of(failure.task_id, details.get("privateIPv4Address", ""))
        failure = replace(failure, target_health=health)
    log_place, lines = _log(readers.logs, place.definition, failure, reads_log=reads_log)
    failure = replace(failure, log_place=log_place, log_lines=lines)
    cause = causes.find(failure, place.definition, subnet=details.get("subnetId", ""))
    return replace(failure, cause=cause)


def _container(data: Mapping[str, Any]) -> ContainerExit:
    reason = _clean(data.get("reason", ""))
    if data.get("exitCode") is None and data.get("lastStatus") not in {"STOPPED", "PENDING"}:
        reason = reason or "still stopping"
    return ContainerExit(data["name"], data.get("exitCode"), reason)


class _Surroundings:
    """What the service and its target groups say of tasks, asked once for all failures of one look."""

    def __init__(self, readers: Readers, place: Place, is_needed: bool) -> None:
        self._events: tuple[tuple[str, str, str], ...] = ()
        self._targets: list[tuple[str, str]] = []  # private IP address, what is said of it
        self._trouble: tuple[str, ...] = ()
        state = self._ask(readers.ecs, place) if is_needed else None
        if state is not None:
            self._events = state.events
            for arn in state.target_groups:
                self._read(readers.elbv2, arn)

    def of(self, task_id: str, address: str) -> tuple[str, ...]:
        """The state of the task's targets, and what ECS said of its health, which outlives the target; and what was refused."""
        targets = [said for target, said in self._targets if target == address and address]
        events = [
            message
            for _, _, message in self._events
            if f"(task {task_id})" in message and "health" in message
        ]
        return tuple(
            _clean(line) for line in [*targets, *(f"ECS: {text}" for text in events), *self._trouble]
        )

    def _ask(self, ecs: ECSClient, place: Place) -> ServiceState | None:
        try:
            return services.describe(ecs, place.cluster, place.service)
        except (AwsError, PreconditionError) as error:
            self._trouble = (f"(not read: {error.message})",)
            return None

    def _read(self, elbv2: Any, arn: str) -> None:
        name = arn.rsplit(":", 1)[-1].split("/")[1] if "/" in arn else arn
        try:
            with translated("elasticloadbalancing:DescribeTargetHealth"):
                answer = elbv2.describe_target_health(TargetGroupArn=arn)
        except AwsError as error:
            self._trouble += (f"(target group {name} not read: {error.message})",)
            return
        for item in answer.get("TargetHealthDescriptions", []):
            target, health = item["Target"], item.get("TargetHealth", {})
            said = [health.get("State", ""), health.get("Reason", ""), health.get("Description", "")]
            line = f"target group {name}, {target['Id']}:{target.get('Port', '')}: "
            self._targets.append((target["Id"], line + ", ".join(part for part in said if part)))


def _log(
    client: Any, definition: TaskDefinition, failure: TaskFailure, *, reads_log: bool
) -> tuple[str, tuple[str, ...]]:
    """Where the logs of the containers that ended are, and their last lines: most of the one that made the task end."""
    culprit = failure.culprit
    ended = [one for one in failure.containers if one.exit_code is not None or one.reason == "still stopping"]
    ended.sort(key=lambda one: one != culprit)
    if not ended:
        return "(no log: no container started)", ()
    if not reads_log:
        return f"(not read: only the {_LOGS_READ} newest failures' logs are)", ()
    places, read = [], []
    room = _LINES - _LINES_OF_OTHERS * (len(ended) - 1)
    for one in ended:
        place, lines = _tail(client, definition, one.name, failure.task_id)
        places.append(place)
        read.append((one.name, lines[-max(room, _LINES_OF_OTHERS) :]))
        room = _LINES_OF_OTHERS
    with_lines = [item for item in read if item[1]]
    if len(with_lines) == 1:
        return "; ".join(places), with_lines[0][1]
    named = [f"{name}: {line}" for name, lines in with_lines for line in lines]
    return "; ".join(places), tuple(named[:_LINES])


def _tail(
    client: Any, definition: TaskDefinition, container: str, task_id: str
) -> tuple[str, tuple[str, ...]]:
    place = logs.place_of(definition, container)
    if place is None:
        return f"({container}: {_why_no_place(definition, container)})", ()
    stream = place.stream(task_id)
    shown = f"{place.group} {stream}"
    if place.region not in {"", client.meta.region_name}:
        return f"{shown} (not read: it is in {place.region})", ()
    try:
        with translated("logs:GetLogEvents"):
            answer = client.get_log_events(
                logGroupName=place.group, logStreamName=stream, limit=_LINES, startFromHead=False
            )
    except AwsError as error:
        return f"{shown} ({_why_no_lines(error)})", ()
    lines = tuple(_lines("\n".join(item.get("message", "") for item in answer.get("events", []))))
    return (shown if lines else f"{shown} (the container wrote nothing)"), lines[-_LINES:]


def _why_no_place(definition: TaskDefinition, container: str) -> str:
    found: list[Mapping[str, Any]] = [
        item for item in definition.request.get("containerDefinitions", []) if item.get("name") == container
    ]
    driver = (found[0].get("logConfiguration") or {}).get("logDriver") if found else None
    if driver is None:
        return "no log: it has no logConfiguration"
    if driver != "awslogs":
        return f"log not read: the log driver is {driver}"
    return "log not read: without awslogs-stream-prefix its stream cannot be named"


def _why_no_lines(error: AwsError) -> str:
    if error.code != "ResourceNotFoundException":
        return f"not read: {error.message}"
    missing = "group" if "group" in error.message.lower() else "stream"
    return f"the log {missing} does not exist: the container wrote nothing"


def _lines(text: str) -> Iterator[str]:
    """Scrubbed as a whole, because a private key has many lines."""
    for line in scrub(_ESCAPE_SEQUENCE.sub("", text)).splitlines():
        shown = _printable(line)
        yield shown if len(shown) <= _LONGEST_LINE else f"{shown[: _LONGEST_LINE - 1]}…"


def _clean(text: str) -> str:
    return " ".join(_lines(text))


def _printable(line: str) -> str:
    line = line.expandtabs(4).rstrip()
    return line if line.isprintable() else "".join(one if one.isprintable() else "·" for one in line)
