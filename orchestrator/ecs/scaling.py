"""The desired count of a service: set, and whose it is.

Touches: ecs:UpdateService, application-autoscaling:DescribeScalableTargets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_ecs import ECSClient


@dataclass(frozen=True)
class ScalableTarget:
    """Application Auto Scaling keeps the desired count between these two; nothing moves it while `is_suspended`."""

    min_count: int
    max_count: int
    is_suspended: bool


def set_desired_count(ecs: ECSClient, cluster: str, service: str, count: int) -> None:
    """UpdateService with that count and nothing else, which starts no deployment. Raises AwsError."""
    with translated("ecs:UpdateService"):
        ecs.update_service(cluster=cluster, service=service, desiredCount=count)


def scalable_target(autoscaling: Any, cluster: str, service: str) -> ScalableTarget | None:
    """The scalable target of a service, None when nothing scales it. `cluster` is a name. Raises AwsError."""
    with translated("application-autoscaling:DescribeScalableTargets"):
        answer = autoscaling.describe_scalable_targets(
            ServiceNamespace="ecs",
            ResourceIds=[f"service/{cluster}/{service}"],
            ScalableDimension="ecs:service:DesiredCount",
        )
    for data in answer["ScalableTargets"]:
        suspended: Mapping[str, bool] = data.get("SuspendedState", {})
        return ScalableTarget(
            data["MinCapacity"],
            data["MaxCapacity"],
            all(
                suspended.get(f"{kind}Suspended")
                for kind in ("DynamicScalingIn", "DynamicScalingOut", "ScheduledScaling")
            ),
        )
    return None
