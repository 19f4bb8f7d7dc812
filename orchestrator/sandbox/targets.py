"""Tasks of a service as targets of its target groups: registered while they run, with the health that their fate gives them;
and the weights of the listener rules between blue's and green's target groups.

States and reasons are those of API_TargetHealth. Simplified: a target that is told to go drains until its task has stopped
(AWS: for the target group's deregistration delay), nothing is asked over the network, no traffic flows, weights are whole
percents, and a rule that is not there fails no deployment.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from moto.elbv2.models import FakeAction, FakeHealthStatus, FakeTargetGroup, elbv2_backends

from orchestrator.sandbox.reasons import TargetHealth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.sandbox.launch import Place
    from orchestrator.sandbox.rollout import ServiceRollouts
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


def shift(rollouts: ServiceRollouts, *, place: Place) -> None:
    """Gives the listener rules of a staged deployment the weights of its stage; without blue only once green gets all."""
    current = rollouts.current
    if current.stages is None or current.shifted_to == current.stages.weights:
        return
    test, production = current.stages.weights
    if not current.blue_arn and (test, production) != (100, 100):
        return
    current.shifted_to = (test, production)
    for own, named in zip(
        current.target.load_balancers, current.target.settings["loadBalancers"], strict=True
    ):
        advanced = named.get("advancedConfiguration") or {}
        green = own.get("targetGroupArn")
        both = (named.get("targetGroupArn"), advanced.get("alternateTargetGroupArn"))
        blue = next((group for group in both if group != green), None)
        for rule, weight in (("productionListenerRule", production), ("testListenerRule", test)):
            if advanced.get(rule) and green and blue:
                percent = min(100, math.ceil(weight))
                _weigh(advanced[rule], {green: percent, blue: 100 - percent}, place)


def _weigh(rule_arn: str, weights: Mapping[str, int], place: Place) -> None:
    """A rule of an Application Load Balancer, or a listener of a Network Load Balancer."""
    for balancer in elbv2_backends[place.account_id][place.region].load_balancers.values():
        for listener in balancer.listeners.values():
            for rule in listener.rules.values():
                if rule_arn in (rule.arn, listener.arn if rule.is_default else None):
                    rule.actions[:] = [_weighed(action, weights) for action in rule.actions]


def _weighed(action: FakeAction, weights: Mapping[str, int]) -> FakeAction:
    known = action.data.get("ForwardConfig") or {}
    groups = {one["TargetGroupArn"]: one.get("Weight") for one in known.get("TargetGroups", [])}
    if action.type != "forward" or groups == weights:
        return action
    listed = [{"TargetGroupArn": group, "Weight": weight} for group, weight in weights.items()]
    kept = {name: value for name, value in action.data.items() if name != "TargetGroupArn"}
    return FakeAction(kept | {"ForwardConfig": {**known, "TargetGroups": listed}})


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
