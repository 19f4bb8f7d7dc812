"""`orch run --env NAME --service S -- COMMAND`: one task with the revision the service runs now, its log live, its exit code.

    contract.read   state                         → Contract
    placement       the service                   → where its tasks run, and its revision
    one_off         RunTask, the log, StopTask    → TaskRun

May touch: tasks, and reads of the service, its revision and its log. The service itself is left as it is. Run again, it starts
another task: what a command does twice is its own affair.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.ecs import revisions, tasks
from orchestrator.errors import PreconditionError, TaskError
from orchestrator.model import TaskRun
from orchestrator.operations import contract, one_off
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.aws import Aws
    from orchestrator.ecs.tasks import Task
    from orchestrator.events import Steps
    from orchestrator.settings import Environment, Settings

# Not executable, not found, ended by a signal: https://www.gnu.org/software/bash/manual/html_node/Exit-Status.html
_FIRST_SHELL_CODE = 126


@dataclass(frozen=True)
class Wish:
    """What to run. `service` and `container` are empty for the only one there is, `cpu` and `memory` for the revision's own."""

    command: tuple[str, ...]
    service: str = ""
    container: str = ""
    cpu: str = ""
    memory: str = ""
    is_detached: bool = False


def run_task(
    settings: Settings,
    environment: Environment,
    wish: Wish,
    *,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
) -> TaskRun:
    """Runs the command to its end, unless it is to be detached. Raises TaskError when the task could not start, OrchError."""
    agreed = contract.read(settings, environment, session, environ, steps)
    service = contract.choose_one(agreed, wish.service)
    deploying = session.acting_as(Role.DEPLOY)
    with steps.step("task", f"Start a task of {service.name}") as step:
        place = tasks.placement(deploying.ecs, service.cluster, service.service)
        revision = revisions.describe(deploying.ecs, place.revision_arn)
        if not revision.is_registered_by_orch:
            raise PreconditionError(
                f"{service.name} runs nothing yet: orch has released no image there",
                hint=f"run `orch apply --env {environment.name}` first",
            )
        container = wish.container or service.container
        job = one_off.Job(service, revision, container, wish.command, "run", wish.cpu, wish.memory)
        task = one_off.start(job, place, deploying, settings, environment)
        step.detail = f"{task.id}, {task.revision}"
    started = time.monotonic()

    def done(task: Task, exit_code: int | None) -> TaskRun:
        return TaskRun(
            environment=environment.name,
            service=service.name,
            task_id=task.id,
            revision=task.revision,
            container=container,
            exit_code=exit_code,
            stop_code=task.stop_code,
            stopped_reason=task.stopped_reason,
            duration_s=round(time.monotonic() - started, 3),
        )

    if wish.is_detached:
        return done(task, None)
    ended = one_off.follow(job, task, deploying, steps.emit)
    if ended.exit_code is None:
        raise TaskError(
            f"the task of {service.name} ended before its command started",
            hint=ended.cause.advice
            if ended.cause
            else "the reason is ECS's own; orch knows no remedy for it",
            details=ended.details,
        )
    # What is below 126 is the command's own word, and its log says the rest.
    advice = ended.cause.advice if ended.cause and ended.exit_code >= _FIRST_SHELL_CODE else ""
    return replace(done(ended.task, ended.exit_code), advice=advice)
