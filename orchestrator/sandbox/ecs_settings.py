"""A service's own fields: ECS's defaults, what UpdateService changes of them, and what it refuses. Pure, but for moto's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.ecs.exceptions import InvalidParameterException

from orchestrator.sandbox import strategies

if TYPE_CHECKING:
    from collections.abc import Mapping

# API_UpdateService: "This parameter triggers a new service deployment."
DEPLOYED = (
    "networkConfiguration",
    "platformVersion",
    "loadBalancers",
    "serviceRegistries",
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
)
_STRATEGY_OWN = ("bakeTimeInMinutes", "lifecycleHooks", "linearConfiguration", "canaryConfiguration")


def of_new_service(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A new service's fields with ECS's defaults (API_CreateService)."""
    strategy = parameters.get("capacityProviderStrategy")
    launch_type = parameters.get("launchType") or (None if strategy else "EC2")
    return {
        "launchType": launch_type,
        "capacityProviderStrategy": strategy or [],
        "platformVersion": parameters.get("platformVersion")
        or ("LATEST" if launch_type == "FARGATE" else None),
        "networkConfiguration": network(parameters.get("networkConfiguration")),
        "loadBalancers": parameters.get("loadBalancers") or [],
        "serviceRegistries": parameters.get("serviceRegistries") or [],
        "schedulingStrategy": parameters.get("schedulingStrategy") or "REPLICA",
        "deploymentController": parameters.get("deploymentController") or {"type": "ECS"},
        "deploymentConfiguration": _configuration({}, parameters.get("deploymentConfiguration")),
        "availabilityZoneRebalancing": parameters.get("availabilityZoneRebalancing") or "ENABLED",
        "propagateTags": parameters.get("propagateTags") or "NONE",
        "enableECSManagedTags": bool(parameters.get("enableECSManagedTags")),
        "enableExecuteCommand": bool(parameters.get("enableExecuteCommand")),
        "healthCheckGracePeriodSeconds": parameters.get("healthCheckGracePeriodSeconds"),
        "placementConstraints": parameters.get("placementConstraints") or [],
        "placementStrategy": parameters.get("placementStrategy") or [],
        "serviceConnectConfiguration": parameters.get("serviceConnectConfiguration"),
        "volumeConfigurations": parameters.get("volumeConfigurations") or [],
        "vpcLatticeConfigurations": parameters.get("vpcLatticeConfigurations") or [],
    }


def changes(settings: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What UpdateService's parameters change of a service's fields; an absent parameter changes nothing."""
    given = {name: value for name, value in parameters.items() if name in settings and value is not None}
    if "networkConfiguration" in given:
        given["networkConfiguration"] = network(given["networkConfiguration"])
    if "deploymentConfiguration" in given:
        known = settings["deploymentConfiguration"]
        given["deploymentConfiguration"] = _configuration(known, given["deploymentConfiguration"])
    return given


def _configuration(known: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    defaults = {
        "deploymentCircuitBreaker": {"enable": False, "rollback": False},
        "maximumPercent": 200,
        "minimumHealthyPercent": 100,
        "strategy": "ROLLING",
    }
    named = {name: value for name, value in (given or {}).items() if value is not None}
    if named.get("strategy") not in (None, known.get("strategy")):
        # What belongs to the strategy that it leaves goes with it.
        known = {name: value for name, value in known.items() if name not in _STRATEGY_OWN}
    return {**defaults, **known, **named}


def require_valid_strategy(settings: Mapping[str, Any]) -> None:
    """Raises InvalidParameterException, as ECS does, for a deployment configuration that the load balancers do not fit."""
    said = strategies.problem(settings["deploymentConfiguration"], settings["loadBalancers"])
    if said:
        raise InvalidParameterException(said)


def network(configuration: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A complete awsvpcConfiguration: security groups may be absent (then the VPC's default one), as may the public IP."""
    if not configuration or not configuration.get("awsvpcConfiguration"):
        return None
    given = configuration["awsvpcConfiguration"]
    return {
        "awsvpcConfiguration": {
            "subnets": given.get("subnets") or [],
            "securityGroups": given.get("securityGroups") or [],
            "assignPublicIp": given.get("assignPublicIp") or "DISABLED",
        }
    }
