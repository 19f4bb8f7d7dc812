"""Starts a service deployment, or takes up one that is under way: both give what a watch (rollout.py) has to follow.

    start     ServiceState just before    → Started    UpdateService: revision, desired count and strategy in one call
    attach    ServiceState                → Started    nothing is changed

Touches: ecs:UpdateService, ecs:ListServiceDeployments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated
from orchestrator.ecs import services, strategy
from orchestrator.ecs.strategy import ROLLING, Strategy
from orchestrator.errors import AwsError, PreconditionError

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_ecs import ECSClient

    from orchestrator.ecs.services import ServiceState
    from orchestrator.model import BlueGreen


@dataclass(frozen=True)
class Started:
    """What to follow: our deployment id, the revision it rolls out, and how to find its service deployment.

    `known_arns` are those that were there before ours, None where the API is missing. `has_fallback` says whether the service
    ran something before that it could go back to. `earlier` are the ids of deployments older than ours, `state` is the service
    when it was started.
    """

    cluster: str
    service: str
    deployment_id: str
    task_definition: str
    known_arns: frozenset[str] | None
    seen_events: frozenset[str]
    created_at: datetime | None = None
    has_fallback: bool = True
    earlier: frozenset[str] = frozenset()
    state: ServiceState | None = None


def start(
    ecs: ECSClient,
    before: ServiceState,
    *,
    cluster: str,
    service: str,
    task_definition: str,
    desired_count: int | None,
    force: bool = False,
    has_fallback: bool = True,
    wanted: Strategy = ROLLING,
    traffic: BlueGreen | None = None,
) -> Started:
    """UpdateService to that revision (full ARN), in the same call to that desired count and strategy, and the id of our deployment.

    `before` is the service just before; `force` starts a new deployment although the definition is the same. `traffic` is what a
    staged strategy shifts it with, None for a service without a load balancer. Raises AwsError.
    """
    listed = services.list_deployments(ecs, cluster, service)
    known = None if listed is None else frozenset(brief.arn for brief in listed)
    request: dict[str, Any] = {"cluster": cluster, "service": service, "taskDefinition": task_definition}
    if desired_count is not None:
        request["desiredCount"] = desired_count
    if force:
        request["forceNewDeployment"] = True
    configuration = strategy.configuration(wanted, before.configuration)
    if configuration is not None:
        request["deploymentConfiguration"] = configuration
    load_balancers = strategy.load_balancers(wanted, traffic, before.load_balancers)
    if load_balancers is not None:
        request["loadBalancers"] = load_balancers
    with translated("ecs:UpdateService"):
        answer = ecs.update_service(**request)
    state = services.state_of(answer["service"])
    primary = state.primary
    if primary is None or primary.task_definition != task_definition:
        raise AwsError(
            f"ecs:UpdateService of {service} answered without a PRIMARY deployment of {task_definition}",
            code="NoPrimaryDeployment",
            hint="`orch status` shows what the service does now",
        )
    seen = frozenset(event[0] for event in before.events)
    return Started(
        cluster,
        service,
        primary.id,
        task_definition,
        known,
        seen,
        primary.created_at,
        has_fallback,
        frozenset(item.id for item in (*before.deployments, *state.deployments)) - {primary.id},
        state,
    )


def attach(before: ServiceState, *, cluster: str, service: str, has_fallback: bool = True) -> Started:
    """The deployment under way, started by an earlier run: what to follow after a crash or a lost connection."""
    primary = before.primary
    if primary is None:
        raise PreconditionError(f"service {service} in cluster {cluster} has no deployment to follow")
    seen = frozenset(event[0] for event in before.events)
    return Started(
        cluster,
        service,
        primary.id,
        primary.task_definition,
        frozenset(),
        seen,
        primary.created_at,
        has_fallback,
        frozenset(item.id for item in before.deployments) - {primary.id},
        before,
    )
