"""Starts one ECS service deployment and follows it to its end; the verdict on it is decided here, purely, by `judge`.

A verdict comes from the service deployment that orch started, found by its deployment id and its service deployment ARN —
never from stability, an equal task definition, or a missing error. Where the service deployments API answers, its terminal
state decides; where it is missing, `deployments[]` by id.
Touches: ecs:DescribeServices, ecs:UpdateService, ecs:ListServiceDeployments, ecs:DescribeServiceDeployments,
ecs:DescribeServiceRevisions.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated
from orchestrator.errors import AwsError, PreconditionError
from orchestrator.events import Emit, RolloutProgress, ServiceEvent
from orchestrator.model import Rollout, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_ecs import ECSClient

_FIRST_POLL_S = 1.0
_LAST_POLL_S = 5.0
_POLL_GROWTH = 1.3
JITTER = (0.8, 1.2)
"""Each wait between two polls is multiplied by a factor of this range, so that many runs do not poll in step."""
# Codes with which an account, a role or an emulator says that it has no service deployments API.
_NO_API = frozenset(
    {
        "AccessDeniedException",
        "UnknownOperationException",
        "InvalidAction",
        "UnsupportedFeatureException",
        "501",
    }
)
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html
_TERMINAL = frozenset({"SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"})


@dataclass(frozen=True)
class Deployment:
    """One entry of a service's `deployments[]`."""

    id: str
    status: str
    rollout_state: str
    rollout_state_reason: str
    task_definition: str
    desired: int
    pending: int
    running: int
    failed: int


@dataclass(frozen=True)
class ServiceState:
    """A service as DescribeServices gives it. `events` are (id, time, message), oldest first."""

    status: str
    task_definition: str
    desired: int
    running: int
    rolls_back: bool
    deployments: tuple[Deployment, ...]
    events: tuple[tuple[str, str, str], ...]

    @property
    def primary(self) -> Deployment | None:
        return next((item for item in self.deployments if item.status == "PRIMARY"), None)

    def deployment(self, deployment_id: str) -> Deployment | None:
        return next((item for item in self.deployments if item.id == deployment_id), None)


@dataclass(frozen=True)
class ServiceDeployment:
    """Our service deployment as DescribeServiceDeployments gives it."""

    arn: str
    status: str
    status_reason: str
    failure_count: int
    threshold: int
    rollback_reason: str


@dataclass(frozen=True)
class Started:
    """What to follow: our deployment id, the revision it rolls out, and its service deployment ARN once known."""

    cluster: str
    service: str
    deployment_id: str
    task_definition: str
    known_arns: frozenset[str] | None
    seen_events: frozenset[str]


@dataclass(frozen=True)
class Clock:
    """Time and chance, so that tests need neither: `now` is monotonic seconds, `jitter` a factor of each wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = lambda: random.uniform(*JITTER)  # noqa: S311 - spreads polls, guards nothing


def describe(ecs: ECSClient, cluster: str, service: str) -> ServiceState:
    """The service as it is. Raises PreconditionError when there is none, AwsError."""
    with translated("ecs:DescribeServices"):
        answer = ecs.describe_services(cluster=cluster, services=[service])
    found: list[Mapping[str, Any]] = list(answer["services"])
    if not found or found[0].get("status") == "INACTIVE":
        raise PreconditionError(
            f"there is no service {service} in cluster {cluster}",
            hint="the root module's output `orch` names it; was it deleted outside Terraform?",
        )
    return _service_state(found[0])


def start(
    ecs: ECSClient,
    before: ServiceState,
    *,
    cluster: str,
    service: str,
    task_definition: str,
    desired_count: int | None,
    force: bool = False,
) -> Started:
    """UpdateService to that revision (full ARN), in the same call to that desired count, and the id of our deployment.

    `before` is the service just before; `force` starts a new deployment although the definition is the same.
    """
    known = _service_deployment_arns(ecs, cluster, service)
    request: dict[str, Any] = {"cluster": cluster, "service": service, "taskDefinition": task_definition}
    if desired_count is not None:
        request["desiredCount"] = desired_count
    if force:
        request["forceNewDeployment"] = True
    with translated("ecs:UpdateService"):
        answer = ecs.update_service(**request)
    state = _service_state(answer["service"])
    primary = state.primary
    if primary is None:
        raise AwsError(
            f"ecs:UpdateService of {service} gave no PRIMARY deployment", code="NoPrimaryDeployment"
        )
    return Started(
        cluster, service, primary.id, task_definition, known, frozenset(event[0] for event in before.events)
    )


def attach(before: ServiceState, *, cluster: str, service: str) -> Started:
    """The deployment under way, started by an earlier run: what to follow after a crash or a lost connection."""
    primary = before.primary
    if primary is None:
        raise PreconditionError(f"service {service} in cluster {cluster} has no deployment to follow")
    return Started(
        cluster,
        service,
        primary.id,
        primary.task_definition,
        frozenset(),
        frozenset(event[0] for event in before.events),
    )


def follow(
    ecs: ECSClient, started: Started, emit: Emit, *, timeout_s: float, clock: Clock | None = None
) -> Rollout:
    """Polls until our deployment ended, and says how. Raises AwsError when ECS cannot be asked."""
    clock = clock or Clock()
    deadline = clock.now() + timeout_s
    poll_s = _FIRST_POLL_S
    watch = _Watch(started, emit)
    while True:
        # In this order: the state is never older than a terminal service deployment that it is judged with.
        service_deployment = watch.find(ecs)
        state = describe(ecs, started.cluster, started.service)
        watch.report(state, service_deployment)
        verdict = judge(started.deployment_id, state, service_deployment)
        if verdict is None and clock.now() >= deadline:
            verdict = (
                Verdict.TIMED_OUT,
                f"not finished after {timeout_s:g} s; the deployment goes on in ECS, run orch again to follow it",
            )
        if verdict is not None:
            return Rollout(
                service=started.service,
                verdict=verdict[0],
                reason=verdict[1],
                revision_arn=started.task_definition,
                deployment_id=started.deployment_id,
                running_count=state.running,
                desired_count=state.desired,
            )
        clock.sleep(min(poll_s, max(0.0, deadline - clock.now())) * clock.jitter())
        poll_s = min(poll_s * _POLL_GROWTH, _LAST_POLL_S)


def judge(
    deployment_id: str, state: ServiceState, service_deployment: ServiceDeployment | None
) -> tuple[Verdict, str] | None:
    """The verdict on our deployment and the reason in ECS's words, or None while it goes on. Pure."""
    if service_deployment is not None:
        return _judge_service_deployment(deployment_id, state, service_deployment)
    return _judge_deployment(deployment_id, state)


def _judge_service_deployment(
    deployment_id: str, state: ServiceState, ours: ServiceDeployment
) -> tuple[Verdict, str] | None:
    if ours.status not in _TERMINAL:
        stalled = state.deployment(deployment_id)
        if stalled and stalled.rollout_state == "FAILED" and not _can_roll_back(deployment_id, state):
            # A first deployment that fails has no earlier one to go back to: ECS leaves it standing.
            return Verdict.FAILED, stalled.rollout_state_reason
        return None
    reason = ours.rollback_reason or ours.status_reason
    if ours.status == "SUCCESSFUL":
        return Verdict.SUCCEEDED, reason
    if ours.status == "ROLLBACK_SUCCESSFUL":
        return Verdict.ROLLED_BACK, reason
    if ours.status == "ROLLBACK_FAILED":
        return Verdict.FAILED, reason
    primary = state.primary
    if primary is not None and primary.id != deployment_id:
        return Verdict.SUPERSEDED, f"stopped; {primary.id} with {primary.task_definition} took its place"
    failed = primary is not None and primary.rollout_state == "FAILED"
    return (Verdict.FAILED if failed else Verdict.CANCELLED), reason or "the deployment was stopped"


def _judge_deployment(deployment_id: str, state: ServiceState) -> tuple[Verdict, str] | None:
    ours = state.deployment(deployment_id)
    if ours is not None and ours.rollout_state == "COMPLETED":
        return Verdict.SUCCEEDED, ours.rollout_state_reason
    if ours is not None and ours.status == "PRIMARY":
        if ours.rollout_state == "FAILED" and not _can_roll_back(deployment_id, state):
            return Verdict.FAILED, ours.rollout_state_reason
        return None
    primary = state.primary
    if primary is None:
        return Verdict.UNKNOWN, "the service has no PRIMARY deployment any more"
    if not _is_rollback(ours, primary):
        return Verdict.SUPERSEDED, f"{primary.id} with {primary.task_definition} took its place"
    if primary.rollout_state == "FAILED":
        return Verdict.FAILED, f"the rollback failed too: {primary.rollout_state_reason}"
    return (
        (Verdict.ROLLED_BACK, primary.rollout_state_reason) if primary.rollout_state == "COMPLETED" else None
    )


def _can_roll_back(deployment_id: str, state: ServiceState) -> bool:
    return state.rolls_back and any(item.id != deployment_id for item in state.deployments)


def _is_rollback(ours: Deployment | None, primary: Deployment) -> bool:
    """Whether the new PRIMARY is ECS's rollback of ours rather than somebody's newer deployment."""
    failed = ours is not None and ours.rollout_state == "FAILED"
    return failed or "roll" in primary.rollout_state_reason.lower().replace("rollout", "")


class _Watch:
    """Holds what was seen of one rollout: the service deployment's ARN, and what was already reported."""

    def __init__(self, started: Started, emit: Emit) -> None:
        self._started = started
        self._emit = emit
        self._arn = ""
        self._has_api = started.known_arns is not None
        self._seen_events = set(started.seen_events)
        self._last_progress: RolloutProgress | None = None

    def find(self, ecs: ECSClient) -> ServiceDeployment | None:
        """Our service deployment, or None while it is not listed yet or where the API is missing."""
        if not self._has_api:
            return None
        if not self._arn:
            self._arn = self._find_arn(ecs)
        return _describe_service_deployment(ecs, self._arn) if self._arn else None

    def report(self, state: ServiceState, ours: ServiceDeployment | None) -> None:
        for event_id, at, message in state.events:
            if event_id not in self._seen_events:
                self._seen_events.add(event_id)
                self._emit(ServiceEvent(self._started.service, at, message))
        deployment = state.deployment(self._started.deployment_id)
        progress = RolloutProgress(
            service=self._started.service,
            deployment_id=self._started.deployment_id,
            state=ours.status if ours else deployment.rollout_state if deployment else "GONE",
            running=deployment.running if deployment else 0,
            pending=deployment.pending if deployment else 0,
            desired=deployment.desired if deployment else state.desired,
            failed=ours.failure_count if ours else deployment.failed if deployment else 0,
            failure_threshold=ours.threshold if ours else 0,
        )
        if progress != self._last_progress:
            self._last_progress = progress
            self._emit(progress)

    def _find_arn(self, ecs: ECSClient) -> str:
        started = self._started
        listed = _list_service_deployments(ecs, started.cluster, started.service)
        if listed is None:
            self._has_api = False
            return ""
        candidates = {
            str(item["serviceDeploymentArn"]): str(item.get("targetServiceRevisionArn", ""))
            for item in listed
            if item["serviceDeploymentArn"] not in (started.known_arns or frozenset())
        }
        if not candidates:
            return ""
        definitions = _task_definitions(ecs, [arn for arn in candidates.values() if arn])
        for arn, revision in candidates.items():
            if definitions.get(revision) == started.task_definition:
                return arn
        return ""


def _service_deployment_arns(ecs: ECSClient, cluster: str, service: str) -> frozenset[str] | None:
    """ARNs of the newest service deployments, or None where the API is missing."""
    listed = _list_service_deployments(ecs, cluster, service)
    return None if listed is None else frozenset(str(item["serviceDeploymentArn"]) for item in listed)


def _list_service_deployments(ecs: ECSClient, cluster: str, service: str) -> list[Mapping[str, Any]] | None:
    try:
        with translated("ecs:ListServiceDeployments"):
            answer = ecs.list_service_deployments(cluster=cluster, service=service, maxResults=20)
    except AwsError as error:
        if error.code in _NO_API:
            return None
        raise
    return list(answer["serviceDeployments"])


def _describe_service_deployment(ecs: ECSClient, arn: str) -> ServiceDeployment | None:
    with translated("ecs:DescribeServiceDeployments"):
        answer = ecs.describe_service_deployments(serviceDeploymentArns=[arn])
    found: list[Mapping[str, Any]] = list(answer["serviceDeployments"])
    if not found:
        return None
    breaker = found[0].get("deploymentCircuitBreaker", {})
    return ServiceDeployment(
        arn=arn,
        status=found[0]["status"],
        status_reason=found[0].get("statusReason", ""),
        failure_count=breaker.get("failureCount", 0),
        threshold=breaker.get("threshold", 0),
        rollback_reason=found[0].get("rollback", {}).get("reason", ""),
    )


def _task_definitions(ecs: ECSClient, revision_arns: list[str]) -> dict[str, str]:
    with translated("ecs:DescribeServiceRevisions"):
        answer = ecs.describe_service_revisions(serviceRevisionArns=revision_arns)
    return {item["serviceRevisionArn"]: item.get("taskDefinition", "") for item in answer["serviceRevisions"]}


def _service_state(data: Mapping[str, Any]) -> ServiceState:
    breaker = data.get("deploymentConfiguration", {}).get("deploymentCircuitBreaker", {})
    return ServiceState(
        status=data.get("status", ""),
        task_definition=data["taskDefinition"],
        desired=data["desiredCount"],
        running=data["runningCount"],
        rolls_back=bool(breaker.get("rollback")),
        deployments=tuple(_deployment(item) for item in data.get("deployments", [])),
        events=tuple(
            (item["id"], item["createdAt"].isoformat(), item["message"])
            for item in reversed(data.get("events", []))
        ),
    )


def _deployment(data: Mapping[str, Any]) -> Deployment:
    return Deployment(
        id=data["id"],
        status=data["status"],
        rollout_state=data.get("rolloutState", ""),
        rollout_state_reason=data.get("rolloutStateReason", ""),
        task_definition=data["taskDefinition"],
        desired=data.get("desiredCount", 0),
        pending=data.get("pendingCount", 0),
        running=data.get("runningCount", 0),
        failed=data.get("failedTasks", 0),
    )
