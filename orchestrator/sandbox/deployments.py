"""What a service's rollouts are made of: configuration, revisions, deployments, service deployments, events. Pure.

In the words of the ECS API: API_DeploymentConfiguration, API_ServiceRevision, API_Deployment, API_ServiceDeployment.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.sandbox.strategies import Stages
    from orchestrator.sandbox.tasks import TaskLife


@dataclass(frozen=True)
class Configuration:
    """`deploymentConfiguration`, as far as it steers the scheduler."""

    minimum_healthy_percent: int = 100
    maximum_percent: int = 200
    breaker_enabled: bool = False
    breaker_rolls_back: bool = False
    breaker_resets: bool = True
    threshold_type: str = "BOUNDED_PERCENT"
    threshold_value: int = 50
    strategy: str = "ROLLING"
    alarm_names: tuple[str, ...] = ()
    alarms_roll_back: bool = False

    @staticmethod
    def parse(raw: Mapping[str, Any]) -> Configuration:
        """From the API's shape; what is absent has ECS's default."""
        breaker = raw.get("deploymentCircuitBreaker") or {}
        threshold = breaker.get("thresholdConfiguration") or {}
        alarms = raw.get("alarms") or {}
        return Configuration(
            minimum_healthy_percent=raw.get("minimumHealthyPercent", 100),
            maximum_percent=raw.get("maximumPercent", 200),
            breaker_enabled=bool(breaker.get("enable")),
            breaker_rolls_back=bool(breaker.get("rollback")),
            breaker_resets=breaker.get("resetOnHealthyTask") is not False,
            threshold_type=threshold.get("type", "BOUNDED_PERCENT"),
            threshold_value=threshold.get("value", 50),
            strategy=raw.get("strategy") or "ROLLING",
            alarm_names=tuple(alarms.get("alarmNames") or ()) if alarms.get("enable") else (),
            alarms_roll_back=bool(alarms.get("rollback")),
        )

    def threshold(self, desired_count: int) -> int:
        """How many consecutive failures open the circuit breaker."""
        if self.threshold_type == "COUNT":
            return max(1, self.threshold_value)
        share = math.ceil(desired_count * self.threshold_value / 100)
        return max(1, share) if self.threshold_type == "UNBOUNDED_PERCENT" else min(max(share, 3), 200)

    def least_healthy(self, desired_count: int) -> int:
        return math.ceil(desired_count * self.minimum_healthy_percent / 100)

    def most_tasks(self, desired_count: int) -> int:
        return math.floor(desired_count * self.maximum_percent / 100)


@dataclass(frozen=True)
class Revision:
    """A service revision: what a deployment deploys. `settings` are the service's own fields at that time. `is_swapped` says that its
    tasks belong to the alternate target groups.
    """

    arn: str
    task_definition: str
    created_at: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[Mapping[str, str], ...] = ()
    is_swapped: bool = False

    @property
    def load_balancers(self) -> list[dict[str, Any]]:
        """The service's own, each with the target group that is this revision's."""
        found = []
        for balancer in self.settings.get("loadBalancers") or ():
            alternate = (balancer.get("advancedConfiguration") or {}).get("alternateTargetGroupArn")
            own = {"targetGroupArn": alternate} if self.is_swapped and alternate else {}
            found.append({**balancer, **own})
        return found

    @property
    def resolved_load_balancers(self) -> list[dict[str, str]]:
        """Of `resolvedConfiguration`: which target group is this revision's, and which rule sends production traffic to it."""
        found = []
        for balancer in self.load_balancers:
            rule = (balancer.get("advancedConfiguration") or {}).get("productionListenerRule")
            if group := balancer.get("targetGroupArn"):
                found.append({"targetGroupArn": group} | ({"productionListenerRule": rule} if rule else {}))
        return found

    @property
    def number(self) -> int:
        """What its ARN ends in: the number of the deployment that rolls it out too."""
        last = self.arn.rpartition("/")[2]
        return int(last) if last.isdigit() and last.isascii() else new_number()


@dataclass
class Deployment:
    """An entry of `deployments[]`."""

    number: int
    revision: Revision
    created_at: float
    updated_at: float
    reason: str
    status: str = "PRIMARY"
    rollout_state: str = "IN_PROGRESS"
    failed_tasks: int = 0
    tasks: list[TaskLife] = field(default_factory=list)  # those not yet seen STOPPED
    healthy: set[str] = field(default_factory=set)
    explained: set[str] = field(default_factory=set)
    failures_in_a_row: int = 0
    next_launch_at: float = 0.0
    replaced_at: float | None = None

    @property
    def deployment_id(self) -> str:
        return f"ecs-svc/{self.number}"

    def active(self, now: float) -> list[TaskLife]:
        return [task for task in self.tasks if task.is_active(now)]

    def running_count(self, now: float) -> int:
        return sum(task.is_running(now) for task in self.tasks)

    def pending_count(self, now: float) -> int:
        return sum(task.is_active(now) and not task.is_running(now) for task in self.tasks)

    def healthy_count(self, now: float) -> int:
        return sum(task.is_healthy(now) for task in self.tasks)


@dataclass
class ServiceDeployment:
    """What ListServiceDeployments and DescribeServiceDeployments show."""

    arn: str
    created_at: float
    updated_at: float
    target: Revision
    sources: tuple[Revision, ...]
    configuration: Configuration
    raw_configuration: Mapping[str, Any]
    status: str = "PENDING"
    reason: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    stopped_at: float | None = None
    failure_count: int = 0
    triggered: bool = False
    triggered_alarms: tuple[str, ...] = ()
    ignored_alarms: frozenset[str] = frozenset()
    baking_since: float | None = None
    stages: Stages | None = None
    blue_arn: str = ""
    shifted_to: tuple[float, float] | None = None  # the weights that the listener rules have
    rollback_requested_at: float | None = None
    rollback_reason: str = ""
    rollback_started_at: float | None = None
    rollback_revision_arn: str = ""

    @property
    def is_over(self) -> bool:
        return self.finished_at is not None

    def move(self, status: str, at: float, reason: str = "") -> None:
        self.status, self.updated_at = status, at
        self.reason = reason or self.reason

    def finish(self, status: str, at: float, reason: str) -> None:
        self.move(status, at, reason)
        self.finished_at = at
        if status == "STOPPED":
            self.stopped_at = at


@dataclass(frozen=True)
class Event:
    event_id: str
    created_at: float
    message: str


def new_number() -> int:
    """A number as ECS gives deployments and service revisions."""
    return secrets.randbelow(9 * 10**18) + 10**18
