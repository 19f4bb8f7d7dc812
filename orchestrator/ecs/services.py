"""ECS services and their deployments as the API gives them, read into values; up to ten services or twenty deployments a call.

Hides the shapes of DescribeServices and of the service deployments API, and that some accounts and emulators lack the latter.
Touches: ecs:DescribeServices, ecs:ListServiceDeployments, ecs:DescribeServiceDeployments, ecs:DescribeServiceRevisions,
ecs:ContinueServiceDeployment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated
from orchestrator.ecs import strategy
from orchestrator.ecs.strategy import ROLLING, Strategy
from orchestrator.errors import AwsError, PreconditionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_ecs import ECSClient

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
_SERVICES_PER_CALL = 10
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceDeployments.html
_DEPLOYMENTS_PER_CALL = 20
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
    created_at: datetime | None = None


@dataclass(frozen=True)
class ServiceState:
    """A service as DescribeServices gives it. `events` are (id, time, message), oldest first. `rolls_back` is the circuit
    breaker's switch; alarms have their own. `configuration` and `load_balancers` are what UpdateService takes, as ECS gives them.
    """

    status: str
    task_definition: str
    desired: int
    running: int
    rolls_back: bool
    deployments: tuple[Deployment, ...]
    events: tuple[tuple[str, str, str], ...]
    target_groups: tuple[str, ...] = ()
    alarms_roll_back: bool = False
    configuration: Mapping[str, Any] = field(default_factory=dict)
    load_balancers: tuple[Mapping[str, Any], ...] = ()

    @property
    def may_roll_back(self) -> bool:
        return self.rolls_back or self.alarms_roll_back

    @property
    def strategy(self) -> Strategy:
        return strategy.of(self.configuration)

    @property
    def primary(self) -> Deployment | None:
        return next((item for item in self.deployments if item.status == "PRIMARY"), None)

    def deployment(self, deployment_id: str) -> Deployment | None:
        return next((item for item in self.deployments if item.id == deployment_id), None)


@dataclass(frozen=True)
class Hook:
    """A hook of a service deployment that has been reached. A pause waits for somebody while it is AWAITING_ACTION, until
    `expires_at`; then comes `timeout_action`.
    """

    id: str
    kind: str
    status: str
    expires_at: datetime | None = None
    timeout_action: str = ""

    @property
    def is_paused(self) -> bool:
        return self.kind == "PAUSE" and self.status == "AWAITING_ACTION"


@dataclass(frozen=True)
class ServiceDeployment:
    """One service deployment as DescribeServiceDeployments gives it; the counts are those of the revision it deploys, and
    `production_percent` is the part of the traffic that goes to it, None where ECS shifts none. `is_triggered` says that its circuit
    breaker or an alarm has found it failed; `updated_at` is ECS's time.
    """

    arn: str
    status: str
    status_reason: str
    failure_count: int
    threshold: int
    rollback_reason: str
    lifecycle_stage: str = ""
    desired: int = 0
    running: int = 0
    pending: int = 0
    is_triggered: bool = False
    strategy: Strategy = ROLLING
    production_percent: float | None = None
    hooks: tuple[Hook, ...] = ()
    updated_at: datetime | None = field(default=None, compare=False)

    @property
    def paused(self) -> tuple[Hook, ...]:
        return tuple(hook for hook in self.hooks if hook.is_paused)


@dataclass(frozen=True)
class Brief:
    """What ListServiceDeployments tells of one; `task_definition` is looked up behind its target revision."""

    arn: str
    created_at: datetime | None
    target_revision_arn: str


def describe(ecs: ECSClient, cluster: str, service: str) -> ServiceState:
    """The service as it is. Raises PreconditionError when there is none, AwsError."""
    found = describe_many(ecs, cluster, [service]).get(service)
    if found is None:
        raise PreconditionError(
            f"there is no service {service} in cluster {cluster}",
            hint="the root module's output `orch` names it; was it deleted outside Terraform?",
        )
    return found


def describe_many(ecs: ECSClient, cluster: str, services: Sequence[str]) -> dict[str, ServiceState]:
    """The services of one cluster by name; those that do not exist, or not any more, are left out. Raises AwsError."""
    found = {}
    for names in _batches(services, _SERVICES_PER_CALL):
        with translated("ecs:DescribeServices"):
            answer = ecs.describe_services(cluster=cluster, services=names)
        for data in answer.get("services", []):
            if data.get("status") != "INACTIVE":
                found[data["serviceName"]] = state_of(data)
    return found


def means_no_api(error: AwsError) -> bool:
    """Whether this account, role or emulator has no service deployments API."""
    return error.code in _NO_API


def list_deployments(ecs: ECSClient, cluster: str, service: str) -> list[Brief] | None:
    """The newest service deployments, newest first; none when the service is gone, or None where the API is missing.

    Raises AwsError.
    """
    try:
        with translated("ecs:ListServiceDeployments"):
            answer = ecs.list_service_deployments(cluster=cluster, service=service, maxResults=20)
    except AwsError as error:
        if means_no_api(error):
            return None
        if error.code == "ServiceNotFoundException":
            return []
        raise
    return [
        Brief(
            str(item["serviceDeploymentArn"]),
            item.get("createdAt"),
            str(item.get("targetServiceRevisionArn", "")),
        )
        for item in answer.get("serviceDeployments", [])
    ]


def describe_deployments(ecs: ECSClient, arns: Sequence[str]) -> dict[str, ServiceDeployment]:
    """Service deployments by ARN; those that ECS does not know any more are left out. Raises AwsError."""
    found = {}
    for some in _batches(arns, _DEPLOYMENTS_PER_CALL):
        with translated("ecs:DescribeServiceDeployments"):
            answer = ecs.describe_service_deployments(serviceDeploymentArns=some)
        for data in answer.get("serviceDeployments", []):
            found[data["serviceDeploymentArn"]] = _service_deployment(data)
    return found


def task_definitions_of(ecs: ECSClient, revision_arns: Sequence[str]) -> dict[str, str]:
    """Which task definition each service revision holds, by the revision's ARN; none where the API is missing. Raises AwsError."""
    found: dict[str, str] = {}
    for some in _batches(revision_arns, _DEPLOYMENTS_PER_CALL):
        try:
            with translated("ecs:DescribeServiceRevisions"):
                answer = ecs.describe_service_revisions(serviceRevisionArns=some)
        except AwsError as error:
            if means_no_api(error):
                return {}
            raise
        for item in answer.get("serviceRevisions", []):
            found[item["serviceRevisionArn"]] = item.get("taskDefinition", "")
    return found


def state_of(data: Mapping[str, Any]) -> ServiceState:
    """One service of an answer of DescribeServices, CreateService or UpdateService."""
    configuration = data.get("deploymentConfiguration", {})
    return ServiceState(
        status=data.get("status", ""),
        task_definition=data["taskDefinition"],
        desired=data["desiredCount"],
        running=data["runningCount"],
        rolls_back=_is_on(configuration.get("deploymentCircuitBreaker", {})),
        deployments=tuple(_deployment(item) for item in data.get("deployments", [])),
        events=tuple(_events(data)),
        target_groups=tuple(
            item["targetGroupArn"] for item in data.get("loadBalancers", []) if item.get("targetGroupArn")
        ),
        alarms_roll_back=_is_on(configuration.get("alarms", {})),
        configuration=configuration,
        load_balancers=tuple(data.get("loadBalancers", ())),
    )


def _is_on(detector: Mapping[str, Any]) -> bool:
    """Whether this way of finding failures is on, and rolls back."""
    return bool(detector.get("enable") and detector.get("rollback"))


def _events(data: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for item in reversed(data.get("events", [])):
        yield item["id"], item["createdAt"].isoformat(), item["message"]


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
        created_at=data.get("createdAt"),
    )


def _service_deployment(data: Mapping[str, Any]) -> ServiceDeployment:
    breaker = data.get("deploymentCircuitBreaker", {})
    target = data.get("targetServiceRevision", {})
    return ServiceDeployment(
        arn=data["serviceDeploymentArn"],
        status=data["status"],
        status_reason=data.get("statusReason", ""),
        failure_count=breaker.get("failureCount", 0),
        threshold=breaker.get("threshold", 0),
        rollback_reason=data.get("rollback", {}).get("reason", ""),
        lifecycle_stage=data.get("lifecycleStage", ""),
        desired=target.get("requestedTaskCount", 0),
        running=target.get("runningTaskCount", 0),
        pending=target.get("pendingTaskCount", 0),
        is_triggered="TRIGGERED" in {breaker.get("status"), data.get("alarms", {}).get("status")},
        strategy=strategy.of(data.get("deploymentConfiguration", {})),
        production_percent=target.get("requestedProductionTrafficWeight"),
        hooks=tuple(
            Hook(
                hook.get("hookId", ""),
                hook.get("targetType", ""),
                hook.get("status", ""),
                hook.get("expiresAt"),
                hook.get("timeoutAction", ""),
            )
            for hook in data.get("lifecycleHookDetails", ())
        ),
        updated_at=data.get("updatedAt"),
    )


def continue_deployment(ecs: ECSClient, arn: str, hook_id: str, action: str) -> None:
    """Ends a pause of a service deployment: CONTINUE, or ROLLBACK. Raises AwsError.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/continue-service-deployment.html
    """
    request: Any = {"serviceDeploymentArn": arn, "hookId": hook_id, "action": action}
    with translated("ecs:ContinueServiceDeployment"):
        ecs.continue_service_deployment(**request)


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    every = list(items)
    for start in range(0, len(every), size):
        yield every[start : start + size]
