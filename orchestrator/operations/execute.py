"""`orch exec --env NAME --service S`: a command, a shell unless told otherwise, in a container that runs, on this terminal.

Comes in: an environment, a service, a command. Goes out: the exit code of the Session Manager plugin, which carries the session;
it tells nothing of the command's own. May touch: ECS Exec, reads of the service and its tasks, one child process.

No role of the pipeline may do this: the calls are those of whoever runs orch. All that can be wrong is said before the session
is opened. The token, with which anybody could join it, goes to the plugin by its environment, as in the AWS CLI's
`ssm start-session`; older plugins take it only as an argument, which every user of the machine may read, and are refused.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.ecs import tasks as ecs_tasks
from orchestrator.errors import AwsError, PreconditionError, ToolMissingError
from orchestrator.operations import contract
from orchestrator.operations import tasks as listing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.aws import Aws
    from orchestrator.ecs.tasks import Container, Task
    from orchestrator.events import Steps
    from orchestrator.model import ServiceContract
    from orchestrator.settings import Environment, Settings

PLUGIN = "session-manager-plugin"
SHELL = ("/bin/sh",)
_INSTALL = (
    "install it from https://docs.aws.amazon.com/systems-manager/latest/userguide/"
    "session-manager-working-with-install-plugin.html"
)
# The last version that knows no variable; the AWS CLI has the same number.
# https://github.com/aws/aws-cli/blob/v2/awscli/customizations/sessionmanager.py
_LAST_WITHOUT_VARIABLE = (1, 2, 497, 0)
# The plugin reads the session from the variable that its first argument names, when that begins so.
# https://github.com/aws/session-manager-plugin/blob/mainline/src/sessionmanagerplugin/session/session.go
_VARIABLE = "AWS_SSM_START_SESSION_RESPONSE"


@dataclass(frozen=True)
class Wish:
    """Where to run what. `service`, `task` and `container` are empty for the only or the newest one; `task` may be cut short."""

    service: str = ""
    task: str = ""
    container: str = ""
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A container that can be entered; `target` is Session Manager's name for it."""

    cluster: str
    task: Task
    container: str
    target: str


def execute(
    settings: Settings,
    environment: Environment,
    wish: Wish,
    *,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
) -> int:
    """Opens the session and hands the terminal over until it ends; the plugin's exit code. Raises OrchError."""
    require_plugin(environ)
    agreed = contract.read(settings, environment, session, environ, steps)
    service = contract.choose_one(agreed, wish.service)
    with steps.step("exec", f"Find a task of {service.name} to enter") as step:
        entry = choose(service, wish, session, environment)
        step.detail = f"{entry.task.id}, container {entry.container}"
    return enter(entry, wish.command or SHELL, session, environ)


def require_plugin(environ: Mapping[str, str]) -> None:
    """Raises ToolMissingError when the Session Manager plugin is not on PATH, or too old to keep the token to itself."""
    try:
        said = process.run((PLUGIN, "--version"), env=environ).stdout.strip()
    except (FileNotFoundError, PermissionError):
        raise ToolMissingError(f"`{PLUGIN}` is not on PATH: it carries the session", hint=_INSTALL) from None
    if not re.fullmatch(r"\d+(\.\d+){0,3}", said):
        raise ToolMissingError(f"`{PLUGIN} --version` says {said[:80]!r}, which is no version", hint=_INSTALL)
    if tuple(int(part) for part in said.split(".")) <= _LAST_WITHOUT_VARIABLE:
        raise ToolMissingError(
            f"`{PLUGIN}` {said} is too old: it takes the session's token as an argument, which every user of this machine can"
            " read",
            hint=_INSTALL,
        )


def choose(service: ServiceContract, wish: Wish, session: Aws, environment: Environment) -> Entry:
    """The container to enter. Raises PreconditionError when it cannot be, and says what would let one in; AwsError."""
    place = ecs_tasks.placement(session.ecs, service.cluster, service.service)
    task = listing.choose(session.ecs, service, wish.task)
    if not task.has_exec and not place.has_exec:
        raise PreconditionError(
            f"ECS Exec is off for {service.name}",
            hint=f"set enable_execute_command = true and readonly_root_filesystem = false for {service.name} in the `services`"
            f" of {'/'.join(environment.root_module.parts[-3:])}, then `orch apply --env {environment.name}`; tasks that start"
            " after that can be entered",
        )
    if not task.has_exec:
        raise PreconditionError(
            f"the task {task.id} of {service.name} was started before ECS Exec was turned on",
            hint=f"release again, or start new tasks by `aws ecs update-service --cluster {service.cluster} --service"
            f" {service.service} --force-new-deployment`",
        )
    name = wish.container or service.container
    found = task.container(name)
    if found is None:
        names = ", ".join(one.name for one in task.containers)
        raise PreconditionError(
            f"the task {task.id} has no container `{name}`", hint=f"choose one of: {names}"
        )
    return Entry(service.cluster, task, name, target_of(task.id, task.arn.split("/")[-2], found))


def target_of(task_id: str, cluster: str, container: Container) -> str:
    """How Session Manager names a container of a task, as the AWS CLI does. Raises PreconditionError when its agent is not there."""
    if container.exec_agent != "RUNNING" or not container.runtime_id:
        state = container.exec_agent or "missing"
        why = f": {container.exec_agent_reason}" if container.exec_agent_reason else ""
        raise PreconditionError(
            f"the agent of ECS Exec in container {container.name} of task {task_id} is {state}{why}",
            hint="it needs some seconds after the start; then a writable root filesystem, the ssmmessages permissions of the task"
            " role, and a route to the ssmmessages endpoint, all of which `enable_execute_command` brings along",
        )
    return f"ecs:{cluster}_{task_id}_{container.runtime_id}"


def enter(entry: Entry, command: tuple[str, ...], session: Aws, environ: Mapping[str, str]) -> int:
    """Opens a session with the command and hands the terminal to the plugin; its exit code. Raises PreconditionError, AwsError."""
    try:
        # ECS takes one text and splits it into words as a shell would.
        opened = ecs_tasks.open_session(
            session.ecs, entry.cluster, entry.task, entry.container, shlex.join(command)
        )
    except AwsError as error:
        if error.code != "TargetNotConnectedException":
            raise
        raise PreconditionError(
            f"the agent of ECS Exec in task {entry.task.id} is not connected",
            hint="it needs a route to the ssmmessages endpoint, and the ssmmessages permissions of the task role",
            details=(error.message,),
        ) from error
    # As the AWS CLI calls it; the source above names the arguments in order. Credentials and profile are in the environment.
    parameters = json.dumps({"Target": entry.target})
    endpoint_url = session.ssm.meta.endpoint_url
    argv = (PLUGIN, _VARIABLE, session.region, "StartSession", "", parameters, endpoint_url)
    response = {"SessionId": opened.id, "StreamUrl": opened.stream_url, "TokenValue": opened.token}
    variables = {_VARIABLE: json.dumps(response)}
    return process.attach(argv, env={**environ, **session.process_environment(), **variables})
