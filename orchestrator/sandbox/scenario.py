"""Scenarios: what a user can make happen in the sandbox, by name, and what is set at the moment. Pure; light to import.

Three kinds. Behaviours are lived by the next tasks that a service starts (tasks.py has what each one is). Happenings befall a
service once, now. Disturbances spoil calls of the ECS API in a service's account and region until they are cleared: with
`throttle` that share of the calls, evenly spread, so that a story always takes the same course.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_NEAR = 3
_LIKENESS = 0.5
# What orch itself treats as "this API is missing", next to a refusal by IAM.
_SERVICE_DEPLOYMENT_CALLS = frozenset(
    {
        "ListServiceDeployments",
        "DescribeServiceDeployments",
        "DescribeServiceRevisions",
        "StopServiceDeployment",
        "ContinueServiceDeployment",
    }
)


@dataclass(frozen=True)
class Behaviour:
    """One that can be set. `argument` is how its argument is written, in brackets when it may be left out; `kind` is `tasks`,
    `happening` or `disturbance`; `what` is what happens on AWS then.
    """

    name: str
    kind: str
    what: str
    argument: str = ""

    @property
    def usage(self) -> str:
        return f"{self.name} {self.argument}".strip()


# Of those that take an argument: what it looks like.
_ARGUMENTS = {
    "exit": r"\d{1,3}",
    "elb-unhealthy": r"(\d{3}|timeout)?",
    "slow": r"\d+(\.\d+)?",
    "alarm": r"[^:]*",
    "scale": r"\d{1,6}",
    "throttle": r"\d{1,3}",
}
_TASKS = (
    Behaviour(
        "crash", "tasks", "a task exits with code 1 soon after it runs; the circuit breaker ends the rollout"
    ),
    Behaviour("exit", "tasks", "the same with another exit code", "CODE"),
    Behaviour("oom", "tasks", "the kernel kills the container: code 137, OutOfMemoryError"),
    Behaviour("exec-format", "tasks", "the program is built for another architecture: exec format error"),
    Behaviour("unhealthy", "tasks", "the container's health check fails and the scheduler stops the task"),
    Behaviour(
        "elb-unhealthy",
        "tasks",
        "the load balancer's health check fails: no answer, a code, or `timeout`",
        "[CODE|timeout]",
    ),
    Behaviour("slow", "tasks", "a task takes that long until it runs", "SECONDS"),
    Behaviour("flapping", "tasks", "a task becomes healthy, then exits with code 1, again and again"),
    Behaviour("cannot-pull", "tasks", "CannotPullContainerError: the registry does not have the image"),
    Behaviour("no-route", "tasks", "CannotPullContainerError: the subnet has no way to the registry"),
    Behaviour("wrong-arch", "tasks", "CannotPullContainerError: the image is not there for this platform"),
    Behaviour("secret-denied", "tasks", "the execution role may not read a secret"),
    Behaviour("secret-missing", "tasks", "a secret does not exist"),
    Behaviour("log-group-missing", "tasks", "the log group does not exist"),
    Behaviour("no-addresses", "tasks", "the subnet has no free address"),
    Behaviour("no-capacity", "tasks", "Fargate has no capacity: no task is placed, only an event tells"),
    Behaviour(
        "quota", "tasks", "the account's vCPU quota is used up: no task is placed, only an event tells"
    ),
)
_HAPPENINGS = (
    Behaviour("task-dies", "happening", "a running task exits with code 1; with --times that many do"),
    Behaviour(
        "alarm", "happening", "the service's deployment alarms, or the named one, go to ALARM", "[NAME]"
    ),
    Behaviour("superseded", "happening", "somebody else starts a newer deployment of the service"),
    Behaviour("scale", "happening", "somebody, or autoscaling, sets the desired count", "COUNT"),
    Behaviour("deleted", "happening", "somebody deletes the service"),
)
_DISTURBANCES = (
    Behaviour(
        "throttle", "disturbance", "that share of ECS calls is answered ThrottlingException", "PERCENT%"
    ),
    Behaviour("api-missing", "disturbance", "the service deployments API answers UnknownOperationException"),
)
CATALOGUE = (*_TASKS, *_HAPPENINGS, *_DISTURBANCES)


@dataclass(frozen=True)
class Place:
    """One ECS service. `key` is CLUSTER:SERVICE."""

    account_id: str
    region: str
    key: str


@dataclass
class _Script:
    behaviour: str
    left: int | None  # task starts; None for all those of one deployment
    deployment_id: str = ""


@dataclass
class _Disturbance:
    throttle_percent: int = 0
    is_api_missing: bool = False
    _due: int = 0

    def throttles(self) -> bool:
        self._due += self.throttle_percent
        if self._due < 100:
            return False
        self._due -= 100
        return True


@dataclass(frozen=True)
class ScenarioSet:
    """What is set for a service, or for its account and region."""

    service: str
    cluster: str
    account_id: str
    region: str
    behaviour: str
    applies_to: str


class UnknownBehaviourError(Exception):
    """With what to tell the user: the message, and a hint."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def find(wanted: str) -> tuple[Behaviour, str]:
    """The behaviour and its argument, of `NAME` or `NAME:ARGUMENT`. Raises UnknownBehaviourError, which names the near ones."""
    name, _, argument = wanted.strip().partition(":")
    found = next((one for one in CATALOGUE if one.name == name), None)
    if found is None:
        names = [one.name for one in CATALOGUE]
        near = difflib.get_close_matches(name, names, n=_MOST_NEAR, cutoff=_LIKENESS)
        hint = f"did you mean {' or '.join(near)}?" if near else "`orch sandbox scenario list` shows them all"
        raise UnknownBehaviourError(f"the sandbox knows no behaviour {name!r}", hint)
    argument = argument.removesuffix("%") if found.name == "throttle" else argument
    fits = re.fullmatch(_ARGUMENTS.get(name, ""), argument) is not None
    if found.name == "throttle" and fits:
        fits = 0 < int(argument) <= 100
    if found.name == "slow" and fits:
        fits = float(argument) > 0
    if not fits:
        problem = f"{argument!r} is no argument for it" if argument else "its argument is missing"
        raise UnknownBehaviourError(f"behaviour {name}: {problem}", f"write `{found.usage}`")
    return found, argument


def duration_s(text: str) -> float:
    """`90s`, `20m`, `1h30m`, `2d` in seconds. Raises ValueError."""
    match = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip())
    if match is None or not text.strip():
        raise ValueError(f"no duration: {text!r}")
    units = (86_400, 3_600, 60, 1)
    return sum(float(part) * unit for part, unit in zip(match.groups(), units, strict=True) if part)


class Scenarios:
    """What is set in a running sandbox."""

    def __init__(self) -> None:
        self._scripts: dict[Place, _Script] = {}
        self._disturbances: dict[tuple[str, str], _Disturbance] = {}
        self._alarms: dict[Place, list[str]] = {}

    def script(self, place: Place, behaviour: str, times: int | None) -> None:
        """The next `times` task starts; without it every one of the deployment that starts the next task."""
        self._scripts[place] = _Script(behaviour, times)

    def disturb(self, place: Place, name: str, argument: str) -> None:
        one = self._disturbances.setdefault((place.account_id, place.region), _Disturbance())
        if name == "throttle":
            one.throttle_percent = int(argument)
        else:
            one.is_api_missing = True

    def remember_alarms(self, place: Place, names: list[str]) -> None:
        self._alarms.setdefault(place, []).extend(names)

    def next_start(self, place: Place, deployment_id: str) -> str | None:
        """How the task that is started now behaves; None for what its task definition says."""
        script = self._scripts.get(place)
        if script is None:
            return None
        if script.left is None:
            script.deployment_id = script.deployment_id or deployment_id
            return script.behaviour if script.deployment_id == deployment_id else None
        script.left -= 1
        if script.left <= 0:
            del self._scripts[place]
        return script.behaviour

    def fault(self, account_id: str, region: str, operation: str) -> tuple[str, str] | None:
        """The error code and message with which an ECS call is answered, if it is spoilt."""
        one = self._disturbances.get((account_id, region))
        if one is None:
            return None
        if one.is_api_missing and operation in _SERVICE_DEPLOYMENT_CALLS:
            return "UnknownOperationException", ""
        return ("ThrottlingException", "Rate exceeded") if one.throttles() else None

    def clear(self, place: Place | None) -> dict[Place, list[str]]:
        """Forgets what is set, of one service or of all; gives back which alarms were set off and are to be OK again."""
        if place is None:
            alarms = dict(self._alarms)
            self.__init__()  # type: ignore[misc]  # as new
            return alarms
        self._scripts.pop(place, None)
        self._disturbances.pop((place.account_id, place.region), None)
        names = self._alarms.pop(place, None)
        return {place: names} if names else {}

    def shown(self) -> Iterator[ScenarioSet]:
        for place, script in self._scripts.items():
            if script.left is not None:
                applies_to = f"the next {script.left} task starts"
            elif script.deployment_id:
                applies_to = f"every task of deployment {script.deployment_id}"
            else:
                applies_to = "every task of the next deployment"
            yield _set(place, script.behaviour, applies_to)
        for (account_id, region), one in self._disturbances.items():
            everywhere = Place(account_id, region, ":")
            if one.throttle_percent:
                yield _set(
                    everywhere, f"throttle:{one.throttle_percent}", "ECS calls of this account and region"
                )
            if one.is_api_missing:
                yield _set(everywhere, "api-missing", "ECS calls of this account and region")
        for place, names in self._alarms.items():
            yield _set(place, "alarm", f"alarms in ALARM: {', '.join(names)}")


def _set(place: Place, behaviour: str, applies_to: str) -> ScenarioSet:
    cluster, _, service = place.key.partition(":")
    return ScenarioSet(service, cluster, place.account_id, place.region, behaviour, applies_to)
