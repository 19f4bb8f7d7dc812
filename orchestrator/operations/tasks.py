"""`orch tasks --env NAME`: the tasks of each service, and the one-off tasks of its family, as ECS says them now.

Comes in: an environment. Goes out: a TaskStatus for each task. May touch: read-only calls of ECS, the state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.ecs import tasks as ecs_tasks
from orchestrator.errors import PreconditionError
from orchestrator.masks import scrub
from orchestrator.model import ContainerStatus, TaskStatus
from orchestrator.operations import contract
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_ecs import ECSClient

    from orchestrator.aws import Aws
    from orchestrator.ecs.tasks import Task
    from orchestrator.events import Steps
    from orchestrator.model import ServiceContract
    from orchestrator.settings import Environment, Settings


def tasks(
    settings: Settings,
    environment: Environment,
    services: tuple[str, ...],
    *,
    with_stopped: bool,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
) -> tuple[TaskStatus, ...]:
    """The tasks of the named services, or of all; by service, those that run first, then the oldest first. Raises OrchError."""
    agreed = contract.read(settings, environment, session, environ, steps)
    chosen = contract.choose(agreed, services)
    ecs = session.acting_as(Role.DEPLOY).ecs
    with steps.step("tasks", "Ask ECS") as step:
        found = [
            _status(environment, service, task)
            for service in chosen
            for task in of_service(ecs, service, with_stopped=with_stopped)
        ]
        step.detail = f"{len(found)} tasks"
    return tuple(found)


def of_service(ecs: ECSClient, service: ServiceContract, *, with_stopped: bool) -> list[Task]:
    """A service's tasks, and those that were started one by one from its task definitions. Raises AwsError."""
    arns: dict[str, None] = {}
    for is_stopped in (False, True) if with_stopped else (False,):
        # The family has the one-off tasks too; the service's name has what was deployed by hand from another family.
        for by in ({"service": service.service}, {"family": service.task_family}):
            arns |= dict.fromkeys(ecs_tasks.list_arns(ecs, service.cluster, is_stopped=is_stopped, **by))
    found = ecs_tasks.describe(ecs, service.cluster, list(arns))
    return sorted(found, key=lambda task: task.desired_status == "STOPPED")


def choose(ecs: ECSClient, service: ServiceContract, task_id: str) -> Task:
    """The running task whose id begins so, the newest one that runs when it is empty. Raises PreconditionError, AwsError."""
    found = [task for task in of_service(ecs, service, with_stopped=False) if task.status == "RUNNING"]
    fitting = [task for task in found if task.id.startswith(task_id)]
    if not fitting:
        which = f"no task {task_id} of {service.name} runs" if task_id else f"no task of {service.name} runs"
        raise PreconditionError(
            which,
            hint=f"these do: {', '.join(task.id for task in found)}"
            if found
            else "see `orch tasks --stopped`",
        )
    if task_id and len(fitting) > 1:
        raise PreconditionError(
            f"several tasks of {service.name} begin with {task_id}",
            hint=f"write more of one: {', '.join(task.id for task in fitting)}",
        )
    return fitting[-1]


def _status(environment: Environment, service: ServiceContract, task: Task) -> TaskStatus:
    return TaskStatus(
        environment=environment.name,
        service=service.name,
        task_id=task.id,
        revision=task.revision,
        status=task.status,
        health=task.health,
        created_at=task.created_at.isoformat(timespec="seconds"),
        started_at=task.started_at,
        stopped_at=task.stopped_at,
        availability_zone=task.availability_zone,
        private_ip=task.private_ip,
        started_by=task.started_by,
        stop_code=task.stop_code,
        stopped_reason=scrub(task.stopped_reason),
        containers=tuple(
            ContainerStatus(one.name, one.status, one.exit_code, scrub(one.reason)) for one in task.containers
        ),
    )
