"""A task that no service starts, from RunTask to its exit code, with its log as it is written: for `orch run`, and before rollouts.

Comes in: a service, the revision to run, a command. Goes out: how the command ended. May touch: RunTask, StopTask, the log.
A task that is interrupted, or takes too long, is stopped and seen to its end: it does not go on unwatched.
"""

from __future__ import annotations

import uuid
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.ecs import causes, logs, tasks
from orchestrator.ecs.rollout import Clock
from orchestrator.ecs.task_definition import TaskDefinition
from orchestrator.errors import AwsError, InterruptedByUserError, PreconditionError
from orchestrator.events import TaskProgress, Warned
from orchestrator.masks import scrub
from orchestrator.model import ContainerExit, TaskFailure

if TYPE_CHECKING:
    from orchestrator.aws import Aws
    from orchestrator.ecs.revisions import Revision
    from orchestrator.ecs.tasks import Container, Placement, Task
    from orchestrator.events import Emit
    from orchestrator.model import Cause, ServiceContract
    from orchestrator.settings import Environment, Settings

_POLL_S = 1.5
# A new task is not visible at once; one that stays so was never there.
_VISIBLE_AFTER_S = 60.0
# The longest stop timeout that ECS takes is 120 s on Fargate; beyond it, ECS kills.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
_STOP_WAIT_S = 150.0
# How long a log that is silent may still get a last line: the log driver hands over what it holds when the container ends, and
# CloudWatch takes a moment to show it.
_SILENCE_S = 3.0
# The times of tasks are ECS's, those of lines are the host's.
_CLOCK_SKEW_MS = 60_000
_TAG_LENGTH = 256
# As many as a known cause is looked for in.
_LAST_LINES = 50


@dataclass(frozen=True)
class Job:
    """One command to run once in a container of a revision. `purpose` is a word such as `run`; `cpu` and `memory` may be empty."""

    service: ServiceContract
    revision: Revision
    container: str
    command: tuple[str, ...]
    purpose: str
    cpu: str = ""
    memory: str = ""

    @property
    def is_essential(self) -> bool:
        """Whether ECS stops the whole task when this container ends."""
        containers = self.revision.definition.request["containerDefinitions"]
        return any(item["name"] == self.container and item.get("essential", True) for item in containers)

    @property
    def started_by(self) -> str:
        """Tells orch's tasks apart in ECS; at most 128 letters, digits, hyphens, slashes and underscores."""
        return f"orch/{self.purpose}/{self.service.name}"


@dataclass(frozen=True)
class Ended:
    """How the command of a one-off task ended; `exit_code` is None when it never started. `cause` is why it failed, if known."""

    task: Task
    exit_code: int | None
    cause: Cause | None = None
    is_timed_out: bool = False

    @property
    def details(self) -> tuple[str, ...]:
        """What ECS says of the task and of each of its containers, a line each."""
        said = [f"{self.task.stop_code}: {self.task.stopped_reason}"] if self.task.stopped_reason else []
        said += [_said_of(one) for one in self.task.containers]
        return (*(scrub(line) for line in said), f"task {self.task.id}")


def require_container(job: Job) -> None:
    """Raises PreconditionError when the revision has no such container."""
    names = [item["name"] for item in job.revision.definition.request["containerDefinitions"]]
    if job.container not in names:
        raise PreconditionError(
            f"{job.revision.arn.rsplit('/', 1)[-1]} has no container `{job.container}`",
            hint=f"choose one of: {', '.join(names)}",
        )


def start(job: Job, place: Placement, session: Aws, settings: Settings, environment: Environment) -> Task:
    """Starts the task where the service's own run, tagged with whose it is. Raises OrchError."""
    require_container(job)
    wanted = tasks.OneOff(
        revision_arn=job.revision.arn,
        container=job.container,
        command=job.command,
        started_by=job.started_by,
        tags={
            # The policy of the deploy role may ask for these two (permissions.py).
            "orch:project": settings.project,
            "orch:environment": environment.name,
            "orch:by": session.identity().arn[-_TAG_LENGTH:],
        },
        client_token=str(uuid.uuid4()),
        cpu=job.cpu,
        memory=job.memory,
    )
    return tasks.run(session.ecs, place, wanted)


def follow(
    job: Job,
    task: Task,
    session: Aws,
    emit: Emit,
    *,
    timeout_s: float | None = None,
    clock: Clock | None = None,
) -> Ended:
    """Shows the task's log until its command ended, and says how. After `timeout_s`, and on Ctrl-C, it is stopped first.

    Raises InterruptedByUserError once the task has stopped, or at a second Ctrl-C; AwsError when ECS cannot be asked.
    """
    watch = _Watch(job, task, session, emit, clock or Clock())
    try:
        is_over = watch.until_over(timeout_s)
        if not is_over:
            watch.stop(f"orch: not finished after {timeout_s:g} s")
            watch.until_over(_STOP_WAIT_S)
        watch.read_the_rest()
    except KeyboardInterrupt:
        raise watch.interrupted() from None
    return replace(watch.ended(), is_timed_out=not is_over)


class _Watch:
    """Holds what was seen of one task."""

    def __init__(self, job: Job, task: Task, session: Aws, emit: Emit, clock: Clock) -> None:
        self._job = job
        self._task = task
        self._session = session
        self._emit = emit
        self._clock = clock
        self._status = ""
        self._is_stop_asked = False
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._tail = self._open_log()

    def until_over(self, timeout_s: float | None) -> bool:
        """Polls until the command ended, and whether it did within that time."""
        began = seen_at = self._clock.now()
        while True:
            is_known = self._look()
            self._show_log()
            if self._is_over():
                return True
            now = self._clock.now()
            seen_at = now if is_known else seen_at
            if now - seen_at > _VISIBLE_AFTER_S:
                raise AwsError(f"ECS does not know the task {self._task.id} any more", code="MISSING")
            if timeout_s is not None and now - began >= timeout_s:
                return False
            self._clock.sleep(_POLL_S * self._clock.jitter())

    def stop(self, reason: str) -> None:
        if not self._is_stop_asked:
            tasks.stop(self._session.ecs, self._job.service.cluster, self._task.arn, reason)
            self._is_stop_asked = True

    def read_the_rest(self) -> None:
        """The last lines, which may show up after the command has ended; and stops what would go on without it."""
        if not self._task.is_stopped and not self._job.is_essential:
            # ECS stops a task whose essential container ended; this one would run on.
            self.stop("orch: its command ended")
        if self._exit_code is None:
            return
        silent_s = 0.0
        while silent_s < _SILENCE_S and self._tail is not None:
            pause_s = _POLL_S / 2
            self._clock.sleep(pause_s)
            silent_s = 0.0 if self._show_log() else silent_s + pause_s

    def interrupted(self) -> InterruptedByUserError:
        """Stops the task, and waits for its end unless somebody is in a hurry."""
        self.stop("orch: interrupted")
        with suppress(KeyboardInterrupt):
            self.until_over(_STOP_WAIT_S)
            self.read_the_rest()
        what = "has stopped" if self._is_over() else "was asked to stop"
        return InterruptedByUserError(f"interrupted; the task {self._task.id} {what}")

    def ended(self) -> Ended:
        code = self._exit_code
        return Ended(self._task, code, None if code == 0 else self._cause())

    @property
    def _exit_code(self) -> int | None:
        found = self._task.container(self._job.container)
        return found.exit_code if found else None

    def _cause(self) -> Cause | None:
        task, job = self._task, self._job
        failure = TaskFailure(
            service=job.service.name,
            task_id=task.id,
            deployment_id=task.started_by,
            stop_code=task.stop_code,
            stopped_reason=task.stopped_reason,
            stopped_at=task.stopped_at,
            containers=tuple(ContainerExit(one.name, one.exit_code, one.reason) for one in task.containers),
            log_lines=tuple(self._last_lines),
        )
        return causes.find(failure, _as_run(job))

    def _is_over(self) -> bool:
        return self._task.is_stopped or self._exit_code is not None

    def _look(self) -> bool:
        """Asks how the task stands; whether ECS knows it."""
        try:
            found = tasks.describe(self._session.ecs, self._job.service.cluster, [self._task.arn])
        except AwsError as error:
            if error.code in logs.PASSING:
                return True
            raise
        self._task = next(iter(found), self._task)
        if self._task.status != self._status:
            self._status = self._task.status
            self._emit(TaskProgress(self._job.service.name, self._task.id, self._status))
        return bool(found)

    def _show_log(self) -> bool:
        """Shows what is new in the log; whether there was anything. A log that cannot be read stops nothing."""
        if self._tail is None:
            return False
        try:
            found = self._tail.poll()
        except AwsError as error:
            if error.code not in logs.PASSING:
                self._tail = None
                self._emit(Warned(f"the task goes on without its log: {error.message}", error.hint))
            return False
        for entry in found:
            for line in entry.lines(self._job.service.name):
                self._last_lines.append(line.text)
                self._emit(line)
        return bool(found)

    def _open_log(self) -> logs.Tail | None:
        place = logs.place_of(self._job.revision.definition, self._job.container)
        if place is None:
            self._emit(
                Warned(
                    f"the container {self._job.container} does not log to CloudWatch: its output is not shown"
                )
            )
            return None
        if place.region not in {"", self._session.region}:
            self._emit(
                Warned(f"the container {self._job.container} logs to {place.region}: its output is not shown")
            )
            return None
        return logs.Tail(
            self._session.logs,
            place.group,
            start_ms=int(self._task.created_at.timestamp() * 1000) - _CLOCK_SKEW_MS,
            streams=(place.stream(self._task.id),),
        )


def _as_run(job: Job) -> TaskDefinition:
    """The definition with the command that was run, for causes to name."""
    containers = [
        {**item, "command": list(job.command)} if item["name"] == job.container else item
        for item in job.revision.definition.request["containerDefinitions"]
    ]
    return TaskDefinition({**job.revision.definition.request, "containerDefinitions": containers})


def _said_of(container: Container) -> str:
    code = "did not start" if container.exit_code is None else f"exit code {container.exit_code}"
    if container.exit_code is None and container.status == "RUNNING":
        code = "still running"
    return f"{container.name}: {code}{f', {container.reason}' if container.reason else ''}"
