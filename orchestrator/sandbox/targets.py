"""Tasks of a service as targets of its target groups: registered while they run, with the health that their fate gives them.

States and reasons are those of API_TargetHealth. Simplified: a target that is told to go drains until its task has stopped
(AWS: for the target group's deregistration delay), and nothing is asked over the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.elbv2.models import FakeHealthStatus, FakeTargetGroup, elbv2_backends

from orchestrator.sandbox.reasons import TargetHealth

if TYPE_CHECKING:
    from orchestrator.sandbox.launch import Place
    from orchestrator.sandbox.tasks import TaskLife

_INITIAL = TargetHealth("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
_DRAINING = TargetHealth(
    "draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"
)
_known_health = FakeTargetGroup.health_for


def follow(task: Any, now: float, *, place: Place) -> None:
    """Registers the task with its service's target groups, tells its health, and takes it out, as the time has come."""
    details = [detail for attachment in task.attachments for detail in attachment["details"]]
    address = next((str(item["value"]) for item in details if item["name"] == "privateIPv4Address"), "")
    health = _health(task.life, now)
    for balancer in task.load_balancers if address else ():
        group = elbv2_backends[place.account_id][place.region].target_groups.get(
            balancer.get("targetGroupArn")
        )
        if group is None:
            continue
        if health is None:
            group.targets.pop(address, None)
            continue
        if address not in group.targets:
            group.register([{"Id": address, "Port": balancer.get("containerPort")}])
        group.targets[address]["health"] = health


def _health(life: TaskLife, now: float) -> TargetHealth | None:
    """None for a task that is no target: not yet, or not any more."""
    if life.running_at is None or life.running_at > now or life.status(now) == "STOPPED":
        return None
    if not life.is_active(now):
        return _DRAINING
    if life.ending is not None and life.ending.target_health is not None:
        return life.ending.target_health
    return TargetHealth("healthy") if life.is_healthy(now) else _INITIAL


def _health_for(group: Any, target: dict[str, Any], ec2_backend: Any) -> FakeHealthStatus:
    """What moto answers, and for a task's target the health that it was given."""
    known = _known_health(group, target, ec2_backend)
    health = group.targets.get(target["Id"], {}).get("health")
    if health is None:
        return known
    return FakeHealthStatus(
        target["Id"],
        group.targets[target["Id"]]["Port"],
        group.health_check_port,
        health.state,
        health.reason or None,
        health.description or None,
    )


def install() -> None:
    """Lets DescribeTargetHealth tell of tasks; before the first request."""
    FakeTargetGroup.health_for = _health_for  # type: ignore[method-assign,assignment]  # no other way in
