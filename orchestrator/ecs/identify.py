"""Which of a service's service deployments is the one behind a deployment id. Nothing in the API says so in so many words.

The target revision of a service deployment has the number of the deployment that rolls it out. AWS does not document that, but
Terraform's provider has always relied on it (findPrimaryDeploymentARN, internal/service/ecs/service.go,
https://github.com/hashicorp/terraform-provider-aws). Where the numbers are unrelated, as in emulators, ours is new since it was
started, of our task definition, and made when our deployment was: both times are AWS's. Never is another one taken for ours
only because ours is not listed yet.
Touches: ecs:ListServiceDeployments, ecs:DescribeServiceRevisions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.ecs import services

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_ecs import ECSClient

    from orchestrator.ecs.launch import Started
    from orchestrator.ecs.services import Brief, ServiceState

_SAME_MOMENT_S = 0.05


def find(
    ecs: ECSClient, started: Started, state: ServiceState | None, calls: Callable[[], None]
) -> str | None:
    """The ARN of our service deployment; empty when it is not listed yet, None where the API is missing.

    `state` is the service as it was last seen; `calls` is told of each call. Raises AwsError.
    """
    calls()
    listed = services.list_deployments(ecs, started.cluster, started.service)
    if listed is None:
        return None
    ours = _number(started.deployment_id)
    for brief in listed:
        if ours and _number(brief.target_revision_arn) == ours:
            return brief.arn
    others = {_number(item.id) for item in state.deployments} if state else set()
    if any(_number(brief.target_revision_arn) in others for brief in listed):
        return ""
    near = _made_with(started, listed)
    if not near:
        return ""
    calls()
    definitions = services.task_definitions_of(ecs, [brief.target_revision_arn for brief in near])
    held = (brief for brief in near if definitions.get(brief.target_revision_arn) == started.task_definition)
    return next((brief.arn for brief in held), "")


def _made_with(started: Started, listed: Sequence[Brief]) -> list[Brief]:
    """New service deployments that were made when our deployment was: the nearest first, the older of two first."""
    known = started.known_arns or frozenset()
    fresh = [brief for brief in reversed(listed) if brief.arn not in known and brief.target_revision_arn]
    near = [brief for brief in fresh if _distance_s(brief, started) <= _SAME_MOMENT_S]
    return sorted(near, key=lambda brief: _distance_s(brief, started))


def _distance_s(brief: Brief, started: Started) -> float:
    """How far apart AWS made a service deployment and our deployment; unknown counts as far."""
    if brief.created_at is None or started.created_at is None:
        return float("inf")
    return abs((brief.created_at - started.created_at).total_seconds())


def _number(name: str) -> str:
    return name.rpartition("/")[2]
