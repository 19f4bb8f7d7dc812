"""Tasks of a cluster: listed and described, and those that no service starts: run once, stopped; and a session in one.

Hides paging, the hundred tasks of a DescribeTasks, and that a new task may not be visible at once: ECS's API is eventually
consistent (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html).
Touches: ecs:DescribeServices, ecs:ListTasks, ecs:DescribeTasks, ecs:RunTask, ecs:StopTask, ecs:ExecuteCommand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated
from orchestrator.errors import AwsError, PreconditionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_ecs import ECSClient

_MOST_DESCRIBED = 100
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ManagedAgent.html
_EXEC_AGENT = "ExecuteCommandAgent"


@dataclass(frozen=True)
class Container:
    """One container of a task. `exec_agent` is the status of the agent by which ECS Exec gets in; empty where there is none."""

    name: str
    status: str
    exit_code: int | None
    reason: str
    runtime_id: str
    exec_agent: str
    exec_agent_reason: str


@dataclass(frozen=True)
class Task:
    """A task as DescribeTasks gives it. Times are ISO 8601, and empty until they come."""

    arn: str
    revision_arn: str
    status: str
    desired_status: str
    health: str
    started_by: str
    created_at: datetime
    started_at: str
    stopped_at: str
    stop_code: str
    stopped_reason: str
    availability_zone: str
    private_ip: str
    has_exec: bool
    containers: tuple[Container, ...]

    @property
    def id(self) -> str:
        return self.arn.rsplit("/", 1)[-1]

    @property
    def revision(self) -> str:
        """`family:number`, as the console shows it."""
        return self.revision_arn.rsplit("/", 1)[-1]

    @property
    def is_stopped(self) -> bool:
        return self.status == "STOPPED"

    def container(self, name: str) -> Container | None:
        return next((one for one in self.containers if one.name == name), None)


@dataclass(frozen=True)
class Placement:
    """How a service starts its tasks: what a one-off task needs to run where they run.

    `request` holds members of RunTask's request: network, launch type or capacity providers, platform version.
    """

    cluster: str
    service: str
    revision_arn: str
    has_exec: bool
    request: Mapping[str, Any]


@dataclass(frozen=True)
class OneOff:
    """A task to run once. `started_by` and `tags` say whose it is; `cpu` (units) and `memory` (MiB) are empty to leave them."""

    revision_arn: str
    container: str
    command: tuple[str, ...]
    started_by: str
    tags: Mapping[str, str]
    client_token: str
    cpu: str = ""
    memory: str = ""


@dataclass(frozen=True)
class Session:
    """A session that ECS opened in a container, for the Session Manager plugin to join. Whoever has the token is in it."""

    id: str
    stream_url: str
    token: str = field(repr=False)


def placement(ecs: ECSClient, cluster: str, service: str) -> Placement:
    """How the service starts its tasks, and its revision. Raises PreconditionError when there is no such service, AwsError."""
    with translated("ecs:DescribeServices"):
        answer = ecs.describe_services(cluster=cluster, services=[service])
    found: list[Mapping[str, Any]] = list(answer["services"])
    if not found or found[0].get("status") == "INACTIVE":
        raise PreconditionError(
            f"there is no service {service} in cluster {cluster}",
            hint="the root module's output `orch` names it; was it deleted outside Terraform?",
        )
    data = found[0]
    request = {
        name: data[name]
        for name in ("networkConfiguration", "platformVersion", "enableECSManagedTags")
        if data.get(name)
    }
    # RunTask takes one of both; of a service with a strategy DescribeServices may give a launch type all the same.
    if data.get("capacityProviderStrategy"):
        request["capacityProviderStrategy"] = data["capacityProviderStrategy"]
    elif data.get("launchType"):
        request["launchType"] = data["launchType"]
    return Placement(
        cluster, service, data["taskDefinition"], bool(data.get("enableExecuteCommand")), request
    )


def list_arns(
    ecs: ECSClient, cluster: str, *, service: str = "", family: str = "", is_stopped: bool = False
) -> tuple[str, ...]:
    """The ARNs of a service's tasks, or of a family's: those that are to run, or those that are to be stopped, of which ECS keeps
    the last hour's. Raises AwsError.
    """
    request: dict[str, Any] = {"cluster": cluster, "desiredStatus": "STOPPED" if is_stopped else "RUNNING"}
    request |= {"serviceName": service} if service else {}
    request |= {"family": family} if family else {}
    return _list(ecs, request)


def list_started_by(ecs: ECSClient, cluster: str, started_by: str) -> tuple[str, ...]:
    """The ARNs of the tasks to run that were started under this name. Raises AwsError."""
    # "When you specify startedBy as the filter, it must be the only filter that you use":
    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html
    return _list(ecs, {"cluster": cluster, "startedBy": started_by})


def describe(ecs: ECSClient, cluster: str, arns: Sequence[str]) -> tuple[Task, ...]:
    """Tasks by ARN or id, the oldest first; those that ECS does not know (any more, or yet) are left out. Raises AwsError."""
    found: list[Task] = []
    for start in range(0, len(arns), _MOST_DESCRIBED):
        with translated("ecs:DescribeTasks"):
            answer = ecs.describe_tasks(cluster=cluster, tasks=list(arns[start : start + _MOST_DESCRIBED]))
        found += [_task(item) for item in answer["tasks"]]
    return tuple(sorted(found, key=lambda task: (task.created_at, task.arn)))


def run(ecs: ECSClient, place: Placement, wanted: OneOff) -> Task:
    """Starts a task where the service's own run. The same client token starts none twice. Raises AwsError, also when ECS starts
    none.
    """
    override: dict[str, Any] = {
        "containerOverrides": [{"name": wanted.container, "command": list(wanted.command)}]
    }
    override |= {"cpu": wanted.cpu} if wanted.cpu else {}
    override |= {"memory": wanted.memory} if wanted.memory else {}
    request: dict[str, Any] = {
        **place.request,
        "cluster": place.cluster,
        "taskDefinition": wanted.revision_arn,
        "overrides": override,
        "startedBy": wanted.started_by,
        "clientToken": wanted.client_token,
        "tags": [{"key": key, "value": value} for key, value in wanted.tags.items()],
    }
    with translated("ecs:RunTask"):
        answer = ecs.run_task(**request)
    if not answer["tasks"]:
        failures = [
            f"{item.get('reason', '')} {item.get('detail', '')}".strip() for item in answer["failures"]
        ]
        raise AwsError(
            f"ecs:RunTask started no task: {'; '.join(failures) or 'ECS gave no reason'}",
            code="NoTaskStarted",
            hint="https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html tells what it means",
        )
    return _task(answer["tasks"][0])


def stop(ecs: ECSClient, cluster: str, arn: str, reason: str) -> None:
    """Asks ECS to stop a task: SIGTERM, and SIGKILL once the container's stop timeout is over. May be repeated. Raises AwsError."""
    with translated("ecs:StopTask"):
        ecs.stop_task(cluster=cluster, task=arn, reason=reason)


def open_session(ecs: ECSClient, cluster: str, task: Task, container: str, command: str) -> Session:
    """Starts a command in a container and opens a session with it. Raises AwsError."""
    with translated("ecs:ExecuteCommand"):
        answer = ecs.execute_command(
            # "Amazon ECS only supports initiating interactive sessions":
            # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ExecuteCommand.html
            cluster=cluster,
            task=task.arn,
            container=container,
            command=command,
            interactive=True,
        )
    session = answer["session"]
    return Session(session["sessionId"], session["streamUrl"], session["tokenValue"])


def _list(ecs: ECSClient, request: dict[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    while True:
        with translated("ecs:ListTasks"):
            page = ecs.list_tasks(**request)
        found += page["taskArns"]
        token = page.get("nextToken", "")
        if not token:
            return tuple(found)
        request = request | {"nextToken": token}


def _task(data: Mapping[str, Any]) -> Task:
    details = [
        detail["value"]
        for attachment in data.get("attachments", [])
        for detail in attachment.get("details", [])
        if detail.get("name") == "privateIPv4Address"
    ]
    return Task(
        arn=data["taskArn"],
        revision_arn=data["taskDefinitionArn"],
        status=data.get("lastStatus", ""),
        desired_status=data.get("desiredStatus", ""),
        health=data.get("healthStatus", ""),
        started_by=data.get("startedBy", ""),
        created_at=data["createdAt"],
        started_at=_time(data.get("startedAt")),
        stopped_at=_time(data.get("stoppedAt")),
        stop_code=data.get("stopCode", ""),
        stopped_reason=data.get("stoppedReason", ""),
        availability_zone=data.get("availabilityZone", ""),
        private_ip=next(iter(details), ""),
        has_exec=bool(data.get("enableExecuteCommand")),
        containers=tuple(_container(item) for item in data.get("containers", [])),
    )


def _container(data: Mapping[str, Any]) -> Container:
    agents = [agent for agent in data.get("managedAgents", []) if agent.get("name") == _EXEC_AGENT]
    agent: Mapping[str, Any] = next(iter(agents), {})
    return Container(
        name=data["name"],
        status=data.get("lastStatus", ""),
        exit_code=data.get("exitCode"),
        reason=data.get("reason", ""),
        runtime_id=data.get("runtimeId", ""),
        exec_agent=agent.get("lastStatus", ""),
        exec_agent_reason=agent.get("reason", ""),
    )


def _time(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="seconds")
