"""One-off tasks (RunTask): what their command does, that a client token starts none twice, and ECS Exec into any task.

The sandbox runs no image, so it plays a command as far as it knows it: `true`, `false`, `exit CODE`, `sleep SECONDS` (of the
sandbox's clock) and `echo WORDS`, alone or joined by `;`, `&&` and `||` in `sh -c`. What echo says is logged; any other command is
logged as not run, and ends with 0. A command decides in place of ORCH_SANDBOX_BEHAVIOUR in the task definition, which tells how
the service itself fares; what keeps a task from starting keeps its command from starting too.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moto.ecs.exceptions import ECSException, InvalidParameterException

from orchestrator.sandbox import launch, tasks
from orchestrator.sandbox.tasks import Ending, Fate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.sandbox.ecs import SandboxTask
    from orchestrator.sandbox.launch import Place
    from orchestrator.sandbox.tasks import Timing

_SHELLS = frozenset({"sh", "/bin/sh", "bash", "/bin/bash"})
_JOINTS = frozenset({";", "&&", "||"})
_APART_S = 0.001
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec-troubleshooting.html
_NO_AGENT = (
    "The execute command failed because execute command was not enabled when the task was run or the execute command agent isn't"
    " running. Wait and try again or run a new task with execute command enabled and try again."
)


@dataclass(frozen=True)
class Play:
    """What the command of a container does: its lines, each with the seconds since its start, and when and how it ends."""

    container: str
    lines: tuple[tuple[float, str], ...]
    run_s: float
    exit_code: int


@dataclass
class Launches:
    """What RunTask was asked for under each client token."""

    known: dict[tuple[str, str], tuple[dict[str, Any], list[SandboxTask]]]

    def find(self, cluster: str, parameters: Mapping[str, Any]) -> list[SandboxTask] | None:
        """The tasks of an earlier request with the same token (API_RunTask, ConflictException when it was another one)."""
        token = str(parameters.get("clientToken") or "")
        if (cluster, token) not in self.known:
            return None
        asked, started = self.known[cluster, token]
        if asked != dict(parameters):
            raise ECSException(
                "ConflictException",
                f"The provided clientToken is already in use with a different RunTask request: {token}",
            )
        return started

    def keep(self, cluster: str, parameters: Mapping[str, Any], started: list[SandboxTask]) -> None:
        token = str(parameters.get("clientToken") or "")
        if token:
            self.known[cluster, token] = (dict(parameters), started)


def require_containers(definition: Any, overrides: Mapping[str, Any]) -> None:
    """Raises InvalidParameterException for an override of a container that the definition lacks."""
    names = {container["name"] for container in definition.container_definitions}
    for override in overrides.get("containerOverrides") or []:
        if override.get("name") not in names:
            raise InvalidParameterException(
                f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
            )


def decide_command(fate: Fate, overrides: Mapping[str, Any], timing: Timing) -> tuple[Fate, Play | None]:
    """The fate of a one-off task with these overrides, given the one it would have without its command."""
    for override in overrides.get("containerOverrides") or []:
        names = {pair.get("name") for pair in override.get("environment") or []}
        if fate.start_failure is None and override.get("command") and tasks.BEHAVIOUR_VARIABLE not in names:
            play = play_of(override["name"], override["command"])
            ending = Ending("EssentialContainerExited", "Essential container in task exited", play.exit_code)
            return Fate(fate.start_s, run_s=play.run_s + timing.crash_s, ending=ending), play
    return fate, None


def play_of(container: str, command: Sequence[str]) -> Play:
    """What a command does in that container. Pure."""
    lines: list[tuple[float, str]] = []
    at, code = 0.0, 0
    for joint, words in _statements(command):
        if (joint == "&&" and code) or (joint == "||" and not code):
            continue
        at += _APART_S
        name, *arguments = words
        argument = arguments[0] if arguments else ""
        code = 0
        if name == "echo":
            lines.append((at, " ".join(arguments)))
        elif name == "false":
            code = 1
        elif name == "sleep" and argument.replace(".", "", 1).isdigit():
            at += float(argument)
        elif name == "exit":
            return Play(container, tuple(lines), at, int(argument) if argument.isdigit() else 0)
        elif name != "true":
            lines.append((at, f"[orch sandbox] not run, no image runs here: {shlex.join(words)}"))
    return Play(container, tuple(lines), at, code)


def log_command(task: SandboxTask, now: float, *, place: Place) -> None:
    """Writes what the task's command has said by now, each line once."""
    life, play = task.life, task.play
    if play is None or life.running_at is None:
        return
    until = now if life.stopping_at is None else min(now, life.stopping_at)
    for index, (after_s, text) in enumerate(play.lines):
        at, mark = life.running_at + after_s, f"line {index}"
        if at <= until and mark not in task.told:
            task.told.add(mark)
            launch.write_line(task.definition, life, place=place, container=play.container, text=text, at=at)


def exec_agents(task: SandboxTask, status: str) -> dict[str, Any]:
    """The members of a container that ECS Exec needs, once it runs."""
    if status in {"PROVISIONING", "PENDING"}:
        return {}
    found: dict[str, Any] = {"runtimeId": f"{task.id}-{int(task.id[:8], 16):010d}"}
    if task.has_exec:
        agent = "RUNNING" if status == "RUNNING" else "STOPPED"
        found["managedAgents"] = [{"name": "ExecuteCommandAgent", "lastStatus": agent}]
    return found


def made_it_end(task: SandboxTask, index: int) -> bool:
    """Whether it is by this container, by its position, that the task ends."""
    containers = task.definition.container_definitions
    return index == 0 if task.play is None else containers[index]["name"] == task.play.container


def open_session(task: SandboxTask, container: str, now: float) -> dict[str, Any]:
    """ExecuteCommand: a session that leads nowhere, since no container runs."""
    names = [item["name"] for item in task.definition.container_definitions]
    if container and container not in names:
        raise InvalidParameterException("The specified container was not found.")
    if not task.has_exec or task.life.status(now) != "RUNNING":
        raise InvalidParameterException(_NO_AGENT)
    name = container or names[0]
    session_id = f"ecs-execute-command-{secrets.token_hex(9)}"
    return {
        "clusterArn": task.cluster_arn,
        "containerArn": f"{task.task_arn.replace(':task/', ':container/')}/{name}",
        "containerName": name,
        "interactive": True,
        "taskArn": task.task_arn,
        "session": {
            "sessionId": session_id,
            "streamUrl": f"wss://ssmmessages.{task.region_name}.amazonaws.com/v1/data-channel/{session_id}?role=publish_subscribe",
            "tokenValue": secrets.token_urlsafe(60),
        },
    }


def _statements(command: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The commands one after the other, each with what joins it to the one before."""
    if len(command) < 3 or command[0] not in _SHELLS or command[1] != "-c":
        yield "", list(command)
        return
    parser = shlex.shlex(command[2], posix=True, punctuation_chars=";&|")
    parser.whitespace_split = True
    joint, words = "", list[str]()
    for token in parser:
        if token in _JOINTS:
            if words:
                yield joint, words
            joint, words = token, []
        else:
            words.append(token)
    if words:
        yield joint, words
