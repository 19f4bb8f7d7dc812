"""What the table of known causes (causes.py) reads of a failed task, and the names that its advice is filled with. Pure.

Four kinds of evidence: `reason` is what ECS says of the task and its containers, `health` what it says of a task that failed its
load balancer's checks, `log` the last lines of a container that failed by itself, `ended` its exit code. Each gives a Finder.
"""

from __future__ import annotations

import re
import signal
from collections import UserDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.ecs.task_definition import TaskDefinition
    from orchestrator.model import TaskFailure

NETWORK = (
    r"i/o timeout|connection issue|check your (?:task )?network|request cancel+ed|context cancel+ed|deadline exceeded"
    r"|no such host|dial tcp|connection (?:refused|reset|timed out)|TLS handshake timeout|signal: killed|invalid memory address"
)
"""How the agents say that a packet did not arrive; the last one is what a blocked S3 makes of a pull
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_cannot_pull_image.html).
"""
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
_LISTENS = re.compile(
    r"\b(?:listen\w*|serv\w*|start\w*|running|bound|ready)\b[^\n]{0,80}?\bport\W{0,3}(?P<port>\d{2,5})\b"
    r"|(?<![\w.])(?P<host>0\.0\.0\.0|127\.0\.0\.1|localhost|\[::1?\]):(?P<at>\d{2,5})\b",
    re.IGNORECASE,
)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_FALLBACKS = {
    "execution_role": "the execution role, of which the task definition names none",
    "task_role": "the task role, of which the task definition names none",
    "log_group": "that awslogs-group names",
    "port": "the port of the target group",
    "health_check": "its command",
    "command": "the image's command",
    "memory": "what it has",
    "size": "its CPU",
    "subnet": "its subnet",
}


@dataclass(frozen=True)
class Evidence:
    """A failure, and the definition that its task ran. `subnet` is where the task was placed, if that is known."""

    failure: TaskFailure
    definition: TaskDefinition
    subnet: str = ""

    @cached_property
    def reason(self) -> str:
        said = [self.failure.stopped_reason, *(one.reason for one in self.failure.containers)]
        # AWS writes some of these texts with typographic quotation marks.
        return "\n".join(said).translate(_QUOTES)

    @cached_property
    def health(self) -> str:
        """Empty unless the load balancer is why the task was stopped."""
        failed = "elb health checks" in self.reason.lower()
        return "\n".join([self.reason, *self.failure.target_health]) if failed else ""

    @cached_property
    def log(self) -> str:
        """Empty unless a container failed by itself: one that lives may log errors too."""
        return "\n".join(self.failure.log_lines) if self.exit_code else ""

    @cached_property
    def exit_code(self) -> int | None:
        """None for a task that somebody stopped: its containers' codes come from the signal."""
        culprit = self.failure.culprit
        return culprit.exit_code if culprit else None

    @cached_property
    def container(self) -> Mapping[str, Any]:
        """The definition of the container that the failure is about: the one that made the task end or is checked, else the first
        essential one.
        """
        containers: list[Mapping[str, Any]] = list(self.definition.request.get("containerDefinitions") or ())
        name = self.failure.culprit.name if self.failure.culprit else ""
        checked = "portMappings" if self.health else "healthCheck"
        ranked = sorted(
            containers,
            key=lambda one: (one.get("name") != name, not one.get(checked), not one.get("essential", True)),
        )
        return next(iter(ranked), {})


Found = Mapping[str, str]
"""What a row found, by names of its advice."""
Finder = Callable[[Evidence], Found | None]
"""None when the evidence does not speak for the row."""


def reason(*patterns: str, also: str = "") -> Finder:
    """All of these patterns in what ECS says; `also` may add names, and need not be there. Case does not count."""
    return _all_of(patterns, lambda evidence: evidence.reason, also)


def health(pattern: str) -> Finder:
    return _all_of((pattern,), lambda evidence: evidence.health)


def log(pattern: str) -> Finder:
    return _all_of((pattern,), lambda evidence: evidence.log)


def reason_or_log(pattern: str) -> Finder:
    return _all_of((pattern,), lambda evidence: f"{evidence.reason}\n{evidence.log}")


def denied(action: str) -> str:
    """The pattern of IAM's refusal of that action (itself a pattern)."""
    return rf"not authorized to perform: (?P<action>{action})(?: on resource: (?P<resource>[^\s,]+))?"


def ended(*codes: int) -> Finder:
    """Any of these exit codes; without codes, any at all."""

    def finds(evidence: Evidence) -> Found | None:
        code = evidence.exit_code
        return {} if code is not None and (code in codes or not codes) else None

    return finds


def signalled(evidence: Evidence) -> Found | None:
    """A shell's way to say that a signal ended the program: 128 and its number."""
    code = evidence.exit_code or 0
    names = {number.value: number.name for number in signal.Signals}
    return {"signal": names[code - 128]} if code - 128 in names else None


def listens_elsewhere(evidence: Evidence) -> Found | None:
    """A task that gave the load balancer no answer, while its log tells of another port only, or of loopback alone."""
    if not evidence.health or "these codes" in evidence.health.lower():
        return None
    wanted = Names(evidence, {})["port"]
    heard: list[str] = []
    for match in _LISTENS.finditer("\n".join(evidence.failure.log_lines)):
        host, port = (match["host"] or "").lower(), match["port"] or match["at"]
        if port == wanted and host not in _LOOPBACK:
            return None
        heard.append(f"{host}:{port}" if host in _LOOPBACK else f"port {port}")
    return {"heard": heard[-1]} if heard and wanted.isdigit() else None


class Names(UserDict[str, str]):
    """The names in an advice: what a row found, else what the task definition says, else words that fit in the sentence."""

    def __init__(self, evidence: Evidence, found: Found) -> None:
        super().__init__({name: value.strip(" .,:'\"") for name, value in found.items()})
        self._evidence = evidence

    def __missing__(self, name: str) -> str:
        request, container = self._evidence.definition.request, self._evidence.container
        options = (container.get("logConfiguration") or {}).get("options") or {}
        known = {
            "container": f"container {container['name']}" if container.get("name") else "",
            "image": container.get("image"),
            "execution_role": request.get("executionRoleArn"),
            "task_role": request.get("taskRoleArn"),
            "secret": _secrets(container),
            "log_group": options.get("awslogs-group"),
            "platform": _platform(request),
            "port": self._port(),
            "memory": _memory(request, container),
            "size": f"{request['cpu']} CPU units" if request.get("cpu") else "",
            "subnet": self._evidence.subnet,
            "target_group": self._target_group(),
            "health_check": " ".join((container.get("healthCheck") or {}).get("command") or ()),
            "command": " ".join([*(container.get("entryPoint") or ()), *(container.get("command") or ())]),
            "exit_code": str(self._evidence.exit_code),
        }
        return str(known.get(name) or "") or _FALLBACKS.get(name, f"the {name.replace('_', ' ')}")

    def _port(self) -> str:
        said = re.search(r"\(port (\d+)\)", self._evidence.health)
        mappings = self._evidence.container.get("portMappings") or [{}]
        return said[1] if said else str(mappings[0].get("containerPort") or "")

    def _target_group(self) -> str:
        arn = re.search(r":targetgroup/([\w-]+)/", self._evidence.health)
        return f"target group {arn[1]}" if arn else ""


def _all_of(patterns: tuple[str, ...], read: Callable[[Evidence], str], also: str = "") -> Finder:
    compiled = [re.compile(pattern, re.IGNORECASE | re.MULTILINE) for pattern in patterns]
    more = re.compile(also, re.IGNORECASE)

    def finds(evidence: Evidence) -> Found | None:
        text = read(evidence)
        matches = [pattern.search(text) for pattern in compiled]
        if None in matches:
            return None
        groups = [match.groupdict() for match in (*matches, more.search(text)) if match]
        return {name: value for group in groups for name, value in group.items() if value}

    return finds


def _secrets(container: Mapping[str, Any]) -> str:
    """What the container's `secrets` name in Secrets Manager."""
    values = [str(item.get("valueFrom", "")) for item in container.get("secrets") or ()]
    return ", ".join(dict.fromkeys(value for value in values if ":secretsmanager:" in value))


def _platform(request: Mapping[str, Any]) -> str:
    """As builders write it; X86_64 is what ECS takes when the definition says nothing."""
    architecture = (request.get("runtimePlatform") or {}).get("cpuArchitecture") or "X86_64"
    return {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}.get(str(architecture), str(architecture))


def _memory(request: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    limit = container.get("memory") or request.get("memory")
    return f"{limit} MiB" if limit else ""
