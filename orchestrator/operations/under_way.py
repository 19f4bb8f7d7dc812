"""The newest deployment of a service, for whoever did not start it: its id, its revision, and whether it has ended.

Comes in: a service, as DescribeServices gives it. Goes out: a Found, or None. May touch: read-only calls of ECS.
While ECS rolls a deployment back, PRIMARY is the way back: what was to be released is behind the newest service deployment.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.ecs import revisions, services, tasks, verdict
from orchestrator.ecs.launch import Started

if TYPE_CHECKING:
    from orchestrator.ecs.revisions import Revision
    from orchestrator.ecs.services import Brief, Deployment, ServiceState
    from orchestrator.operations.release import Target

_SAME_MOMENT_S = 0.05
# Revisions among which one that was released is looked for; where so many failed in a row, it is taken for granted.
_MOST_LOOKED_AT = 10


@dataclass(frozen=True)
class Found:
    """The newest deployment of one service, with the revision that it rolls out."""

    target: Target
    state: ServiceState
    started: Started
    revision: Revision
    is_over: bool


def find(target: Target, state: ServiceState) -> Found | None:
    """The newest deployment of the service; None when there is none to be told. Raises AwsError."""
    ecs, service = target.session.ecs, target.service
    briefs = services.list_deployments(ecs, service.cluster, service.service)
    newest = briefs[0] if briefs else None
    if newest is None or not newest.target_revision_arn:
        return _find_primary(target, state)
    ours = services.describe_deployments(ecs, [newest.arn]).get(newest.arn)
    held_by = services.task_definitions_of(ecs, [newest.target_revision_arn])
    definition = held_by.get(newest.target_revision_arn, "")
    if ours is None or not definition:
        return _find_primary(target, state)
    deployment = next((one for one in state.deployments if _is_behind(one, newest, definition)), None)
    return _found(
        target,
        state,
        definition,
        deployment.id if deployment is not None else _unlisted(target, definition, newest),
        is_over=ours.status in verdict.TERMINAL,
        # The deployment's own time, if it is still listed: the release is recorded under it.
        created_at=(deployment.created_at if deployment is not None else None) or newest.created_at,
        known_arns=frozenset(),
    )


def _find_primary(target: Target, state: ServiceState) -> Found | None:
    """The same from `deployments[]` alone, where the API of service deployments is missing."""
    primary = state.primary
    if primary is None:
        return None
    failed = next((one for one in state.deployments if one.rollout_state == "FAILED"), None)
    if failed is None and "rolling back" in primary.rollout_state_reason:
        # Of what is rolled back, nothing is left to follow.
        return None
    ours = failed or primary
    return _found(
        target,
        state,
        ours.task_definition,
        ours.id,
        is_over=primary.rollout_state != "IN_PROGRESS",
        created_at=ours.created_at,
        known_arns=None,
    )


def _found(
    target: Target,
    state: ServiceState,
    definition: str,
    deployment_id: str,
    *,
    is_over: bool,
    created_at: datetime | None,
    known_arns: frozenset[str] | None,
) -> Found:
    revision = revisions.describe(target.session.ecs, definition)
    started = Started(
        cluster=target.service.cluster,
        service=target.service.service,
        deployment_id=deployment_id,
        task_definition=definition,
        known_arns=known_arns,
        # What ECS said since it began is told as well.
        seen_events=frozenset(
            event_id
            for event_id, at, _message in state.events
            if created_at is None or datetime.fromisoformat(at) < created_at
        ),
        created_at=created_at,
        has_fallback=is_over or revision.has_succeeded or _has_fallback(target, definition),
    )
    return Found(target, state, started, revision, is_over)


def _is_behind(deployment: Deployment, brief: Brief, definition: str) -> bool:
    """Whether that is the deployment of the service deployment: by its number, or its definition and time (ecs/identify.py)."""
    if _number(deployment.id) == _number(brief.target_revision_arn):
        return True
    return deployment.task_definition == definition and _distance_s(deployment, brief) <= _SAME_MOMENT_S


def _unlisted(target: Target, definition: str, brief: Brief) -> str:
    """The id of a deployment that has left the list: as its tasks say it, so that why they failed can be told, else by its number."""
    ecs, service = target.session.ecs, target.service
    listed = tasks.list_arns(ecs, service.cluster, service=service.service, is_stopped=True)
    names = [
        task.started_by
        for task in tasks.describe(ecs, service.cluster, listed)
        if task.revision_arn == definition
        and (brief.created_at is None or task.created_at >= brief.created_at)
    ]
    return names[-1] if names else f"ecs-svc/{_number(brief.target_revision_arn)}"


def _has_fallback(target: Target, definition: str) -> bool:
    """Whether there is anything to go back to: before a first rollout the service ran nothing but Terraform's skeleton."""
    ecs = target.session.ecs
    others = (arn for arn in revisions.newest_first(ecs, target.service.task_family) if arn != definition)
    looked = 0
    for arn in itertools.islice(others, _MOST_LOOKED_AT):
        looked += 1
        if revisions.describe(ecs, arn).has_succeeded:
            return True
    return looked == _MOST_LOOKED_AT


def _number(name: str) -> str:
    return name.rpartition("/")[2]


def _distance_s(deployment: Deployment, brief: Brief) -> float:
    if deployment.created_at is None or brief.created_at is None:
        return float("inf")
    return abs((deployment.created_at - brief.created_at).total_seconds())
