"""A scripted ECS for tests of the watch: what a service shows from which moment on, and when the API fails, lags or is missing.

A `World` is one service. Its methods are what can happen to it, and a history says when: `(12, breaks())` means that from second
12 on the API shows a deployment whose circuit breaker has opened. Nothing happens by itself, except what ECS does when it is
asked (UpdateService, StopServiceDeployment). `Ecs` answers for some worlds, on a clock that only a watch's waiting moves; what
it is asked and what it answers are held to botocore's model of the API, enumerations too.

The texts are AWS's where they are known: rolloutStateReason and statusReason as in
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html and in answers that people have
published. That a service revision has the number of the deployment that rolls it out is what Terraform's provider relies on
(findPrimaryDeploymentARN in internal/service/ecs/service.go of hashicorp/terraform-provider-aws).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.validate import ParamValidator

from orchestrator.ecs import launch, rollout, services, strategy
from orchestrator.ecs.followed import Terms
from orchestrator.ecs.strategy import ROLLING, Strategy
from orchestrator.model import Cause, Rollout, TaskFailure, Verdict

CLUSTER, WEB = "main", "web"
DEFINITION = "arn:aws:ecs:eu-central-1:111111111111:task-definition/"
BREAKER = "ECS deployment circuit breaker: tasks failed to start."
ALARM = "ECS deployment failed: alarm detected."
BREAKER_TRIPPED = "Service deployment rolled back because the circuit breaker threshold was exceeded."
ALARM_TRIPPED = "Service deployment rolled back because of a CloudWatch alarm."
ASKED = "Service deployment rolled back because StopServiceDeployment was called."
# AWS publishes no text for these.
HOOK_FAILED = "Service deployment rolled back because a lifecycle hook failed."
READS = (
    "DescribeServices",
    "ListServiceDeployments",
    "DescribeServiceDeployments",
    "DescribeServiceRevisions",
)
MODEL = botocore.session.get_session().get_service_model("ecs")
# The model's documentation of `lifecycleStage` has this one, its enumeration lacks it.
_DOCUMENTED = {"ServiceDeploymentLifecycleStage": ("PRE_PRODUCTION_TRAFFIC_SHIFT",)}
_START = datetime(2026, 1, 1, tzinfo=UTC)
_UNDER_WAY = frozenset(
    {"PENDING", "IN_PROGRESS", "STOP_REQUESTED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS"}
)


def check_shape(value: Any, shape: Any) -> None:
    """Raises AssertionError unless botocore could have sent or returned this value."""
    errors = ParamValidator().validate(value, shape)
    assert not errors.has_errors(), errors.generate_report()
    _check_enumerations(value, shape, shape.name)


def _check_enumerations(value: Any, shape: Any, name: str) -> None:
    if shape.type_name == "structure":
        for key, item in value.items():
            _check_enumerations(item, shape.members[key], f"{name}.{key}")
    elif shape.type_name == "list":
        for item in value:
            _check_enumerations(item, shape.member, name)
    elif allowed := getattr(shape, "enum", None):
        known = {*allowed, *_DOCUMENTED.get(shape.name, ())}
        assert value in known, f"{name}: {value!r} is none of {allowed}"


class World:
    """One service. What it shows now is in `shown`; what it showed before is kept, for reads that come too late."""

    def __init__(
        self,
        name: str = WEB,
        *,
        desired: int = 2,
        breaker: bool = True,
        breaker_rolls_back: bool = True,
        alarms_roll_back: bool | None = None,
        is_first: bool = False,
        has_early_success: bool = False,
        skew_s: float = 0.0,
        numbers_match: bool = True,
        lag_of_ours_s: float = 0.0,
        stop_answer: str = "",
        rolls_back_in_s: float = 10.0,
    ) -> None:
        self.name, self.skew_s, self.numbers_match = name, skew_s, numbers_match
        self.lag_of_ours_s, self.stop_answer, self.rolls_back_in_s = (
            lag_of_ours_s,
            stop_answer,
            rolls_back_in_s,
        )
        self.rolls_back = breaker_rolls_back
        self.load_balancers: list[dict[str, Any]] = []
        self.now_s = 0.0
        self.ours = ""
        self.rollback_id = ""
        self.facts: dict[str, float] = {}  # what has become of ours, and since which second
        self.lags: dict[str, float] = {}
        self.planned: list[tuple[float, Callable[[World], None]]] = []
        self._numbers = iter(range(1_000_000_000_000_000_001, 2_000_000_000_000_000_000))
        self.revisions: dict[str, str] = {}
        configuration: dict[str, Any] = {
            "deploymentCircuitBreaker": {"enable": breaker, "rollback": breaker and breaker_rolls_back},
            "maximumPercent": 200,
            "minimumHealthyPercent": 100,
        }
        if alarms_roll_back is not None:
            configuration["alarms"] = {"alarmNames": ["errors"], "enable": True, "rollback": alarms_roll_back}
        if has_early_success:
            configuration["earlySuccessCriteria"] = {
                "enable": True,
                "healthyPercent": 100,
                "sourceServiceRevisionCleanup": "DEFERRED",
            }
        self.shown: dict[str, Any] = {
            "status": "ACTIVE",
            "desired": desired,
            "configuration": configuration,
            "deployments": [],
            "service_deployments": [],
            "events": [],
        }
        self.now_s = -3600.0
        self._deploy(f"{DEFINITION}{name}:1")
        self.now_s = 0.0
        first = self.shown["deployments"][0]
        if not is_first:
            first |= {"runningCount": desired, "rolloutState": "COMPLETED"}
            first["rolloutStateReason"] = f"ECS deployment {first['id']} completed."
            self.shown["service_deployments"][0] |= {"status": "SUCCESSFUL", "finishedAt": self.time()}
        self.before = first["id"]
        self.past: list[tuple[float, dict[str, Any]]] = []
        self.keep()

    # --- time

    def time(self, at_s: float | None = None) -> datetime:
        """AWS's time of day at a second of the history; `skew_s` is how far this machine's may be from it."""
        return _START + timedelta(seconds=(self.now_s if at_s is None else at_s) + self.skew_s)

    def advance(self, now_s: float) -> None:
        """What was planned for a moment until now happens."""
        while due := sorted((item for item in self.planned if item[0] <= now_s), key=lambda item: item[0]):
            self.planned.remove(due[0])
            self.now_s = max(self.now_s, due[0][0])
            due[0][1](self)
            self.keep()
        self.now_s = now_s

    def keep(self) -> None:
        self.past.append((self.now_s, copy.deepcopy(self.shown)))

    def seen_by(self, operation: str) -> dict[str, Any]:
        """What a read shows: the state now, or as it was a while ago."""
        moment = self.now_s - self.lags.get(operation, 0.0)
        return next((shown for at, shown in reversed(self.past) if at <= moment), self.past[0][1])

    def after(self, delay_s: float, action: Callable[[World], None]) -> None:
        self.planned.append((self.now_s + delay_s, action))

    # --- what is there

    def deployment(self, deployment_id: str = "") -> dict[str, Any]:
        wanted = deployment_id or self.ours
        return next((item for item in self.shown["deployments"] if item["id"] == wanted), {})

    def service_deployment(self, deployment_id: str = "") -> dict[str, Any]:
        wanted = deployment_id or self.ours
        return next((item for item in self.shown["service_deployments"] if item["_of"] == wanted), {})

    @property
    def primary(self) -> dict[str, Any]:
        return next(item for item in self.shown["deployments"] if item["status"] == "PRIMARY")

    def say(self, text: str) -> None:
        number = len(self.shown["events"]) + 1
        event = {
            "id": f"event-{number}",
            "createdAt": self.time(),
            "message": f"(service {self.name}) {text}",
        }
        self.shown["events"].insert(0, event)

    # --- what ECS does when it is asked

    def update(
        self,
        definition: str,
        *,
        desired: int | None = None,
        force: bool = False,
        configuration: dict[str, Any] | None = None,
    ) -> None:
        """UpdateService: a new deployment, unless nothing asks for one."""
        if desired is not None:
            self.shown["desired"] = desired
        if configuration is not None:
            self.shown["configuration"] = configuration
        if force or self.primary["taskDefinition"] != definition:
            self._deploy(definition)
        self.keep()

    def stop(self, arn: str) -> str:
        """StopServiceDeployment: what ECS then does by itself, or the code with which it refuses."""
        if self.stop_answer:
            return self.stop_answer
        found = next(
            item for item in self.shown["service_deployments"] if item["serviceDeploymentArn"] == arn
        )
        if found["status"] not in _UNDER_WAY:
            return "ConflictException"
        if found["status"] in {"PENDING", "IN_PROGRESS"}:
            self.note(found["_of"], "STOPPED")
            found["status"] = "ROLLBACK_REQUESTED"
            self.after(1.0, lambda world: world.roll_back(ASKED, found["_of"]))
            self.after(1.0 + self.rolls_back_in_s, lambda world: world.finish_rollback())
            self.keep()
        return ""

    def _deploy(self, definition: str) -> str:
        """A new PRIMARY deployment and its service deployment; one that is still under way is superseded."""
        number = next(self._numbers)
        deployment_id = f"ecs-svc/{number}"
        path = f"{CLUSTER}/{self.name}"
        revision_number = number if self.numbers_match else 9_000_000_000_000_000_000 - number
        revision = f"arn:aws:ecs:eu-central-1:111111111111:service-revision/{path}/{revision_number}"
        self.revisions[revision] = definition
        if self.ours and "SUCCESSFUL" not in self.facts:
            self.note(self.ours, "SUPERSEDED")
        self._demote()
        for item in self.shown["service_deployments"]:
            if item["status"] in _UNDER_WAY:
                item |= {"status": "STOPPED", "finishedAt": self.time(), "stoppedAt": self.time()}
        self._add_deployment(deployment_id, definition, f"ECS deployment {deployment_id} in progress.")
        self.shown["service_deployments"].insert(
            0,
            {
                "_of": deployment_id,
                "_listed_at": self.now_s,
                "serviceDeploymentArn": f"arn:aws:ecs:eu-central-1:111111111111:service-deployment/{path}/{number:x}",
                "createdAt": self.time(),
                "status": "PENDING",
                "target": revision,
                "running": 0,
                "pending": 0,
                "failures": 0,
                "breaker": "MONITORING",
                "alarms": "MONITORING",
                "configuration": self.shown["configuration"],
                "stage": "",
                "percent": None,
                "hooks": [],
                "updated": self.time(),
            },
        )
        return deployment_id

    def _demote(self) -> None:
        for item in self.shown["deployments"]:
            if item["status"] == "PRIMARY":
                item["status"] = "ACTIVE"

    def _add_deployment(self, deployment_id: str, definition: str, reason: str) -> None:
        self.shown["deployments"].insert(
            0,
            {
                "id": deployment_id,
                "status": "PRIMARY",
                "taskDefinition": definition,
                "desiredCount": self.shown["desired"],
                "pendingCount": 0,
                "runningCount": 0,
                "failedTasks": 0,
                "createdAt": self.time(),
                "updatedAt": self.time(),
                "launchType": "FARGATE",
                "rolloutState": "IN_PROGRESS",
                "rolloutStateReason": reason,
            },
        )

    def note(self, deployment_id: str, fact: str) -> None:
        if deployment_id == self.ours:
            self.facts.setdefault(fact, self.now_s)

    # --- what happens to it (the verbs of a history are at the end of this module)

    def progress(self, running: int, pending: int) -> None:
        found = self.service_deployment()
        if found["status"] == "PENDING":
            found["status"] = "IN_PROGRESS"
        found |= {"running": running, "pending": pending}
        self.deployment().update({"runningCount": running, "pendingCount": pending})

    def succeed(self, deployment_id: str = "", *, old_tasks_stay: bool = False) -> None:
        wanted = deployment_id or self.ours
        self.note(wanted, "SUCCESSFUL")
        ours, desired = self.deployment(wanted), self.shown["desired"]
        ours |= {"rolloutState": "COMPLETED", "runningCount": desired, "pendingCount": 0, "failedTasks": 0}
        ours["rolloutStateReason"] = f"ECS deployment {wanted} completed."
        self.service_deployment(wanted).update(
            {"status": "SUCCESSFUL", "finishedAt": self.time(), "running": desired, "pending": 0}
        )
        if not old_tasks_stay:
            self.shown["deployments"] = [item for item in self.shown["deployments"] if item["id"] == wanted]
        self.say(f"(deployment {wanted}) deployment completed.")
        self.say("has reached a steady state.")

    def enter(self, stage: str, percent: float | None) -> None:
        """A stage of a staged rollout."""
        found = self.service_deployment()
        if found["status"] == "PENDING":
            found["status"] = "IN_PROGRESS"
        found |= {"stage": stage, "percent": percent, "updated": self.time()}

    def pause(self, minutes: float, action: str) -> None:
        hooks = self.service_deployment()["hooks"]
        hooks.append(
            {
                "hookId": f"ecs-pause-{len(hooks) + 1}",
                "targetType": "PAUSE",
                "status": "AWAITING_ACTION",
                "expiresAt": self.time(self.now_s + 60 * minutes),
                "timeoutAction": action,
            }
        )

    def fail_tasks(self, count: int) -> None:
        self.service_deployment()["failures"] = count
        self.deployment()["failedTasks"] = count

    def fail(self, reason: str, deployment_id: str = "") -> None:
        """The circuit breaker opens, or an alarm goes off: the deployment is FAILED, and starts no more tasks."""
        wanted = deployment_id or self.ours
        self.note(wanted, "FAILED")
        self.deployment(wanted).update({"rolloutState": "FAILED", "rolloutStateReason": reason})
        self.service_deployment(wanted)["alarms" if reason == ALARM else "breaker"] = "TRIGGERED"
        self.say(f"(deployment {wanted}) deployment failed: {reason.partition(': ')[2]}")

    def stop_failed(self, reason: str = BREAKER_TRIPPED) -> None:
        """It failed, and rollback is off."""
        self.service_deployment().update(
            {"status": "STOPPED", "statusReason": reason, "finishedAt": self.time(), "stoppedAt": self.time()}
        )

    def roll_back(self, reason: str, deployment_id: str = "", *, text: str = "") -> str:
        """A new PRIMARY deployment with the definition that ran before."""
        wanted = deployment_id or self.ours
        failed = self.deployment(wanted)
        self._demote()
        failed |= {"status": "ACTIVE", "rolloutState": "FAILED"}
        if failed.get("rolloutStateReason", "").endswith("in progress."):
            failed["rolloutStateReason"] = "ECS deployment stopped."
        number = next(self._numbers)
        self.rollback_id = rollback_id = f"ecs-svc/{number}"
        cause = "alarm" if "alarm" in reason else "circuit breaker"
        said = text or f"ECS deployment {cause}: rolling back to deploymentId {self.before}."
        self._add_deployment(rollback_id, f"{DEFINITION}{self.name}:1", said)
        found = self.service_deployment(wanted)
        revision = self.service_deployment(self.before)["target"]
        found["status"] = "ROLLBACK_IN_PROGRESS"
        found["rollback"] = {"reason": reason, "startedAt": self.time(), "serviceRevisionArn": revision}
        self.say(f"rolling back to deployment {self.before}.")
        return rollback_id

    def finish_rollback(self) -> None:
        primary = self.deployment(self.rollback_id)
        if primary.get("status") != "PRIMARY":
            return
        for item in self.shown["service_deployments"]:
            if item["status"] == "ROLLBACK_IN_PROGRESS":
                item |= {"status": "ROLLBACK_SUCCESSFUL", "finishedAt": self.time()}
                self.note(item["_of"], "ROLLED_BACK")
        primary |= {"rolloutState": "COMPLETED", "runningCount": self.shown["desired"]}
        primary["rolloutStateReason"] = f"ECS deployment {primary['id']} completed."
        self.shown["deployments"] = [primary]
        self.say(f"(deployment {primary['id']}) deployment completed.")

    def fail_rollback(self, reason: str) -> None:
        self.primary.update({"rolloutState": "FAILED", "rolloutStateReason": BREAKER})
        self.service_deployment().update(
            {"status": "ROLLBACK_FAILED", "statusReason": reason, "finishedAt": self.time()}
        )

    # --- what the API shows of it

    def service_json(self, operation: str = "DescribeServices") -> dict[str, Any]:
        shown = self.seen_by(operation)
        deployments = shown["deployments"]
        return {
            "serviceArn": f"arn:aws:ecs:eu-central-1:111111111111:service/{CLUSTER}/{self.name}",
            "serviceName": self.name,
            "clusterArn": f"arn:aws:ecs:eu-central-1:111111111111:cluster/{CLUSTER}",
            "status": shown["status"],
            "desiredCount": shown["desired"],
            "runningCount": sum(item["runningCount"] for item in deployments),
            "pendingCount": sum(item["pendingCount"] for item in deployments),
            "taskDefinition": (deployments or self.past[0][1]["deployments"])[0]["taskDefinition"],
            "deploymentConfiguration": shown["configuration"],
            "deployments": deployments,
            "events": shown["events"][:100],
            "loadBalancers": self.load_balancers,
        }

    def is_missing(self, operation: str) -> bool:
        return bool(self.seen_by(operation)["status"] == "MISSING")

    def briefs_json(self) -> list[dict[str, Any]]:
        shown = self.seen_by("ListServiceDeployments")["service_deployments"]
        return [
            {
                "serviceDeploymentArn": item["serviceDeploymentArn"],
                "createdAt": item["createdAt"],
                "targetServiceRevisionArn": item["target"],
                "status": item["status"],
                **({"finishedAt": item["finishedAt"]} if "finishedAt" in item else {}),
            }
            for item in shown
            if item["_of"] != self.ours or self.now_s >= item["_listed_at"] + self.lag_of_ours_s
        ]

    def service_deployments_json(self) -> dict[str, dict[str, Any]]:
        shown = self.seen_by("DescribeServiceDeployments")
        return {
            item["serviceDeploymentArn"]: {
                "serviceDeploymentArn": item["serviceDeploymentArn"],
                "serviceArn": f"arn:aws:ecs:eu-central-1:111111111111:service/{CLUSTER}/{self.name}",
                "createdAt": item["createdAt"],
                "status": item["status"],
                "targetServiceRevision": {
                    "arn": item["target"],
                    "requestedTaskCount": shown["desired"],
                    "runningTaskCount": item["running"],
                    "pendingTaskCount": item["pending"],
                    **(
                        {}
                        if item["percent"] is None
                        else {"requestedProductionTrafficWeight": item["percent"]}
                    ),
                },
                "deploymentConfiguration": item["configuration"],
                "updatedAt": item["updated"],
                "lifecycleHookDetails": item["hooks"],
                **({"lifecycleStage": item["stage"]} if item["stage"] else {}),
                "deploymentCircuitBreaker": {"status": "DISABLED"}
                if item["stage"]
                else {"status": item["breaker"], "failureCount": item["failures"], "threshold": 3},
                "alarms": {"status": item["alarms"], "alarmNames": [], "triggeredAlarmNames": []},
                **{
                    name: item[name]
                    for name in ("statusReason", "finishedAt", "stoppedAt", "rollback")
                    if name in item
                },
            }
            for item in shown["service_deployments"]
        }


class Ecs:
    """The operations of ECS that a watch uses, for some worlds. `calls` are (second, operation), those that failed too."""

    def __init__(self, *worlds: World, checks_shapes: bool = True) -> None:
        self.worlds = {world.name: world for world in worlds}
        self.now_s = 0.0
        self.calls: list[tuple[float, str]] = []
        self.faults: dict[str, Callable[[int], str]] = {}
        self._checks_shapes = checks_shapes

    def advance(self, now_s: float) -> None:
        self.now_s = now_s
        for world in self.worlds.values():
            world.advance(now_s)

    def describe_services(self, **request: Any) -> dict[str, Any]:
        assert len(request["services"]) <= 10, "DescribeServices takes ten services at most"
        self._called("DescribeServices", request)
        known = [self.worlds[name] for name in request["services"]]
        found = [one.service_json() for one in known if not one.is_missing("DescribeServices")]
        failures = [
            {"arn": one.service_json()["serviceArn"], "reason": "MISSING"}
            for one in known
            if one.is_missing("DescribeServices")
        ]
        return self._answer("DescribeServices", {"services": found, "failures": failures})

    def list_service_deployments(self, **request: Any) -> dict[str, Any]:
        self._called("ListServiceDeployments", request)
        world = self.worlds[request["service"]]
        if world.is_missing("ListServiceDeployments"):
            raise _error("ServiceNotFoundException", "ListServiceDeployments")
        briefs = world.briefs_json()[: request["maxResults"]]
        return self._answer("ListServiceDeployments", {"serviceDeployments": briefs})

    def describe_service_deployments(self, **request: Any) -> dict[str, Any]:
        arns = request["serviceDeploymentArns"]
        assert len(arns) <= 20, "DescribeServiceDeployments takes twenty ARNs at most"
        self._called("DescribeServiceDeployments", request)
        every: dict[str, dict[str, Any]] = {}
        for world in self.worlds.values():
            every |= world.service_deployments_json()
        found = [every[arn] for arn in arns if arn in every]
        failures = [{"arn": arn, "reason": "MISSING"} for arn in arns if arn not in every]
        return self._answer("DescribeServiceDeployments", {"serviceDeployments": found, "failures": failures})

    def describe_service_revisions(self, **request: Any) -> dict[str, Any]:
        arns = request["serviceRevisionArns"]
        assert 1 <= len(arns) <= 20
        self._called("DescribeServiceRevisions", request)
        every: dict[str, str] = {}
        for world in self.worlds.values():
            every |= world.revisions
        found = [{"serviceRevisionArn": arn, "taskDefinition": every[arn]} for arn in arns]
        return self._answer("DescribeServiceRevisions", {"serviceRevisions": found, "failures": []})

    def update_service(self, **request: Any) -> dict[str, Any]:
        self._called("UpdateService", request)
        world = self.worlds[request["service"]]
        world.update(
            request["taskDefinition"],
            desired=request.get("desiredCount"),
            force=request.get("forceNewDeployment", False),
            configuration=request.get("deploymentConfiguration"),
        )
        world.ours = world.primary["id"]
        return self._answer("UpdateService", {"service": world.service_json("UpdateService")})

    def stop_service_deployment(self, **request: Any) -> dict[str, Any]:
        self._called("StopServiceDeployment", request)
        arn = request["serviceDeploymentArn"]
        (world,) = [one for one in self.worlds.values() if arn in one.service_deployments_json()]
        if refusal := world.stop(arn):
            raise _error(refusal, "StopServiceDeployment")
        return self._answer("StopServiceDeployment", {"serviceDeploymentArn": arn})

    def _called(self, operation: str, request: dict[str, Any]) -> None:
        self.calls.append((self.now_s, operation))
        if self._checks_shapes:
            check_shape(request, MODEL.operation_model(operation).input_shape)
        fault = self.faults.get(operation)
        code = fault(len(self.calls)) if fault else ""
        if code == "EndpointConnectionError":
            raise EndpointConnectionError(endpoint_url="https://ecs.eu-central-1.amazonaws.com")
        if code:
            raise _error(code, operation)

    def _answer(self, operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        if self._checks_shapes:
            check_shape(answer, MODEL.operation_model(operation).output_shape)
        return copy.deepcopy(answer)


def _error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": f"{code} was scripted"}}, operation)


def busiest_minute(calls: list[tuple[float, str]]) -> int:
    """The most calls in any 60 s."""
    moments = [at for at, _operation in calls]
    return max((sum(start <= at < start + 60 for at in moments) for start in moments), default=0)


# --- a history, and its replay


@dataclass(frozen=True)
class History:
    """What happened, by the second, and what has to be said of it.

    `timeline` holds (second, action): an action of a World, of the Ecs (`Fault`), or `CANCEL`. `attaches` follows a deployment
    that is under way instead of starting one. `diagnoses` are (second, TaskFailure) that a diagnosis would find from then on.
    """

    name: str
    verdict: Verdict
    reason: str
    timeline: tuple[tuple[float, Any], ...]
    world: dict[str, Any] = field(default_factory=dict)
    definition: int = 2
    force: bool = False
    attaches: bool = False
    has_fallback: bool = True
    timeout_s: float = 600.0
    fail_fast: bool = True
    diagnoses: tuple[tuple[float, TaskFailure], ...] = ()
    strategy: Strategy = ROLLING
    judge: Callable[[Any], dict[str, str]] | None = None
    told_by: float = 0.0
    """At which second the verdict has to be there at the latest; 0 for no matter."""


@dataclass(frozen=True)
class Fault:
    """From then on these operations fail with that code: every call, or those whose number the function picks."""

    code: str
    operations: tuple[str, ...] = READS
    picks: Callable[[int], bool] = lambda _number: True


CANCEL = "the first Ctrl-C"


@dataclass
class Replay:
    """A history as it was replayed: how it ended, what was told, and what was asked."""

    ended: Rollout
    events: list[Any]
    ecs: Ecs
    now_s: float
    started: launch.Started

    @property
    def watched(self) -> list[tuple[float, str]]:
        """The calls after the start."""
        changes = [index for index, (_at, name) in enumerate(self.ecs.calls) if name == "UpdateService"]
        return self.ecs.calls[changes[0] + 1 if changes else 1 :]


class Clockwork:
    """The clock of a replay: waiting moves it, and what is due happens in between."""

    def __init__(self, ecs: Ecs, *, jitter: float = 1.0) -> None:
        self.ecs, self.now_s, self.jitter = ecs, 0.0, jitter
        self.interrupts: list[float] = []

    def clock(self) -> rollout.Clock:
        return rollout.Clock(now=lambda: self.now_s, sleep=self.sleep, jitter=lambda: self.jitter)

    def sleep(self, duration_s: float) -> None:
        assert duration_s > 0, "a watch must not spin"
        self.now_s += duration_s
        self.ecs.advance(self.now_s)
        if self.interrupts and self.interrupts[0] <= self.now_s:
            self.interrupts.pop(0)
            raise KeyboardInterrupt


def replay(history: History, *, jitter: float = 1.0) -> Replay:
    """Replays a history through the real watch."""
    world = World(**history.world)
    ecs = Ecs(world)
    time = Clockwork(ecs, jitter=jitter)
    for at, action in history.timeline:
        if action is CANCEL:
            time.interrupts.append(at)
        elif isinstance(action, Fault):
            world.planned.append((at, lambda _world, fault=action: break_api(ecs, fault)))
        else:
            world.planned.append((at, action))
    if history.attaches:
        world.update(
            f"{DEFINITION}{WEB}:{history.definition}",
            force=history.force,
            configuration=strategy.configuration(history.strategy, world.shown["configuration"]),
        )
        world.ours = world.primary["id"]
        ecs.advance(0.0)
        before = services.describe(ecs, CLUSTER, WEB)
        started = launch.attach(before, cluster=CLUSTER, service=WEB, has_fallback=history.has_fallback)
    else:
        ecs.advance(0.0)
        started = begin(
            ecs,
            WEB,
            history.definition,
            force=history.force,
            has_fallback=history.has_fallback,
            wanted=history.strategy,
        )
    events: list[Any] = []
    watch = rollout.Watch(ecs, events.append, clock=time.clock(), judge=history.judge)
    found = sorted(history.diagnoses, key=lambda item: item[0])

    def diagnose() -> tuple[TaskFailure, ...]:
        due = tuple(failure for at, failure in found if at <= time.now_s)
        del found[: len(due)]
        return due

    watch.add(
        started,
        Terms(
            history.timeout_s,
            diagnose=diagnose,
            fail_fast=history.fail_fast,
            is_ours=not history.attaches,
        ),
    )
    while True:
        try:
            (ended,) = watch.wait()
        except KeyboardInterrupt:
            watch.cancel("cancelled")
        else:
            return Replay(ended, events, ecs, time.now_s, started)


def begin(ecs: Ecs, name: str, definition: int, **options: Any) -> launch.Started:
    """What `orch deploy` does before it watches."""
    before = services.describe(ecs, CLUSTER, name)
    return launch.start(
        ecs,
        before,
        cluster=CLUSTER,
        service=name,
        task_definition=f"{DEFINITION}{name}:{definition}",
        desired_count=None,
        **options,
    )


def break_api(ecs: Ecs, fault: Fault) -> None:
    """From now on; a Fault without a code mends its operations."""
    for operation in fault.operations:
        if fault.code:
            ecs.faults[operation] = lambda number: fault.code if fault.picks(number) else ""
        else:
            ecs.faults.pop(operation, None)


def failure(number: int, *, cause: str = "", permanent: bool = False, reason: str = "") -> TaskFailure:
    """A failed task; two with the same cause or reason have the same signature."""
    return TaskFailure(
        service=WEB,
        task_id=f"task{number}",
        deployment_id="",
        stop_code="EssentialContainerExited",
        stopped_reason=reason or "Essential container in task exited",
        stopped_at="",
        cause=Cause(cause, f"the {cause} is wrong", "", permanent) if cause else None,
    )


# --- the verbs of a history


Action = Callable[[World], None]


def runs(running: int, pending: int = 0) -> Action:
    """So many tasks of our deployment are RUNNING, so many on their way."""
    return lambda world: world.progress(running, pending)


def succeeds(*, old_tasks_stay: bool = False) -> Action:
    return lambda world: world.succeed(old_tasks_stay=old_tasks_stay)


def tasks_fail(count: int) -> Action:
    """So many tasks in a row, as ECS counts."""
    return lambda world: world.fail_tasks(count)


def breaks(reason: str = BREAKER) -> Action:
    """Our deployment is FAILED; what becomes of it is the next line's matter."""

    def action(world: World) -> None:
        world.fail_tasks(3)
        world.fail(reason)

    return action


def stops_failed(reason: str = BREAKER_TRIPPED) -> Action:
    return lambda world: world.stop_failed(reason)


def rolls_back(reason: str = BREAKER_TRIPPED, *, text: str = "") -> Action:
    def action(world: World) -> None:
        world.roll_back(reason, text=text)

    return action


def rolled_back() -> Action:
    return lambda world: world.finish_rollback()


def rollback_fails(reason: str = "The rollback failed: tasks failed to start.") -> Action:
    return lambda world: world.fail_rollback(reason)


def somebody_deploys(definition: int) -> Action:
    """A person, another run or Terraform updates the service."""

    def action(world: World) -> None:
        world.update(f"{DEFINITION}{world.name}:{definition}", force=True)

    return action


def theirs_succeeds(*, old_tasks_stay: bool = False) -> Action:
    return lambda world: world.succeed(world.primary["id"], old_tasks_stay=old_tasks_stay)


def theirs_fails_and_rolls_back() -> Action:
    """The deployment that superseded ours fails in its turn."""

    def action(world: World) -> None:
        theirs = world.primary["id"]
        world.fail(BREAKER, theirs)
        world.roll_back(BREAKER_TRIPPED, theirs)

    return action


def somebody_stops() -> Action:
    """A person calls StopServiceDeployment on ours."""
    return lambda world: world.stop(world.service_deployment()["serviceDeploymentArn"]) and None


def is_stopped(reason: str = "") -> Action:
    """Our service deployment ends STOPPED, and its deployment stays PRIMARY as it is."""

    def action(world: World) -> None:
        world.service_deployment().update({"status": "STOPPED", "finishedAt": world.time()})
        if reason:
            world.service_deployment()["statusReason"] = reason

    return action


def is_requested_to_stop() -> Action:
    return lambda world: world.service_deployment().update({"status": "STOP_REQUESTED"})


def is_requested_to_roll_back() -> Action:
    return lambda world: world.service_deployment().update({"status": "ROLLBACK_REQUESTED"})


def drains() -> Action:
    """DeleteService."""

    def action(world: World) -> None:
        world.shown["status"] = "DRAINING"
        world.service_deployment().update({"status": "STOPPED", "finishedAt": world.time()})

    return action


def is_gone() -> Action:
    def action(world: World) -> None:
        world.shown |= {"status": "MISSING", "deployments": []}

    return action


def leaves_the_list() -> Action:
    """Our entry of `deployments[]` is gone, as when the last of its tasks is."""

    def action(world: World) -> None:
        world.shown["deployments"] = [item for item in world.shown["deployments"] if item["id"] != world.ours]

    return action


def old_leaves_the_list() -> Action:
    def action(world: World) -> None:
        world.shown["deployments"] = [
            item for item in world.shown["deployments"] if item["id"] != world.before
        ]

    return action


def service_deployment_is_forgotten() -> Action:
    def action(world: World) -> None:
        world.shown["service_deployments"] = [
            item for item in world.shown["service_deployments"] if item["_of"] != world.ours
        ]

    return action


def wants(desired: int) -> Action:
    """Autoscaling changes the desired count."""

    def action(world: World) -> None:
        world.shown["desired"] = desired
        world.primary["desiredCount"] = desired

    return action


def old_runs(count: int) -> Action:
    return lambda world: world.deployment(world.before).update({"runningCount": count})


def says(text: str) -> Action:
    return lambda world: world.say(text)


def events_come_twice() -> Action:
    def action(world: World) -> None:
        world.shown["events"] = [*world.shown["events"], *world.shown["events"]]

    return action


def events_are_shuffled() -> Action:
    def action(world: World) -> None:
        events = world.shown["events"]
        world.shown["events"] = events[1::2] + events[::2]

    return action


def lags(seconds: float, *operations: str) -> Action:
    """From then on these reads show what was so many seconds ago."""

    def action(world: World) -> None:
        world.lags |= dict.fromkeys(operations or READS, seconds)

    return action


def enters(stage: str, percent: float | None = 0.0) -> Action:
    """A staged rollout comes to a stage, with so much of the traffic on the new tasks."""
    return lambda world: world.enter(stage, percent)


def pauses(minutes: float = 60.0, action: str = "ROLLBACK") -> Action:
    """ECS waits at the stage for somebody."""
    return lambda world: world.pause(minutes, action)


def pause_ends(status: str = "SUCCEEDED", *, is_kept: bool = True) -> Action:
    """Somebody continued, or nobody came (TIMED_OUT)."""

    def action(world: World) -> None:
        world.service_deployment()["hooks"][-1]["status"] = status
        if not is_kept:
            world.service_deployment()["hooks"].pop()

    return action


def also(*actions: Action) -> Action:
    """All of these in the same moment."""

    def action(world: World) -> None:
        for one in actions:
            one(world)

    return action
