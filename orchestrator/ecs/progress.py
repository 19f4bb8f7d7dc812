"""What is told of a rollout while it goes on: new events of the service, counts, stages, pauses. Pure: from what a watch knows to events.

Each is told once, however often ECS shows it, and in whatever order.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator.events import RolloutPaused, RolloutProgress, ServiceEvent, StageEntered, TaskFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from orchestrator.ecs.followed import Followed
    from orchestrator.ecs.services import ServiceDeployment, ServiceState
    from orchestrator.events import Event


def news(one: Followed) -> Iterator[Event]:
    """What has not been told yet; what is yielded counts as told."""
    if one.state is None:
        return
    for event_id, at, message in one.state.events:
        if event_id not in one.seen_events:
            one.seen_events.add(event_id)
            yield ServiceEvent(one.started.service, at, message)
            failure = one.terms.unplaced(message, at) if one.terms.unplaced else None
            # It is no reason to give up: what was full may have room a minute later.
            if failure is not None and failure.signature not in one.told:
                one.told.add(failure.signature)
                yield TaskFailed(failure)
    if one.ours is not None and one.is_ongoing and one.ours.strategy.is_staged:
        yield from _stages(one, one.ours)
    progress = _progress(one, one.state)
    if progress != one.progress:
        one.progress = progress
        yield progress


def _stages(one: Followed, ours: ServiceDeployment) -> Iterator[Event]:
    stage, percent = ours.lifecycle_stage, ours.production_percent
    key = f"stage {stage} {percent}"
    if stage and key not in one.told:
        one.told.add(key)
        since = ours.updated_at
        yield StageEntered(
            one.started.service,
            one.started.deployment_id,
            ours.strategy.type,
            stage,
            percent,
            _iso(since),
            _iso(_bakes_until(ours, since)),
        )
    for hook in ours.paused:
        if hook.id not in one.told:
            one.told.add(hook.id)
            yield RolloutPaused(
                one.started.service,
                one.started.deployment_id,
                stage,
                hook.id,
                _iso(hook.expires_at),
                hook.timeout_action,
                one.terms.continue_with,
            )


def _bakes_until(ours: ServiceDeployment, since: datetime | None) -> datetime | None:
    """When the bake ends that has just begun, in ECS's time; None where none did."""
    if since is None:
        return None
    if ours.lifecycle_stage == "BAKE_TIME" and ours.strategy.bake_minutes:
        return since + timedelta(minutes=ours.strategy.bake_minutes)
    is_part = ours.production_percent is not None and 0 < ours.production_percent < 100
    if ours.lifecycle_stage == "PRODUCTION_TRAFFIC_SHIFT" and is_part and ours.strategy.part_bake_minutes:
        return since + timedelta(minutes=ours.strategy.part_bake_minutes)
    return None


def _progress(one: Followed, state: ServiceState) -> RolloutProgress:
    started, ours, deployment = one.started, one.ours, state.deployment(one.started.deployment_id)
    counts = (0, 0, state.desired)
    if ours is not None:
        counts = (ours.running, ours.pending, ours.desired)
    elif deployment is not None:
        counts = (deployment.running, deployment.pending, deployment.desired)
    failed = deployment.failed if deployment is not None else 0
    if ours is not None:
        # In a staged rollout there may be no circuit breaker that counts them.
        failed = max(ours.failure_count, failed) if ours.strategy.is_staged else ours.failure_count
    return RolloutProgress(
        service=started.service,
        deployment_id=started.deployment_id,
        state=ours.status if ours else deployment.rollout_state if deployment else "GONE",
        running=counts[0],
        pending=counts[1],
        desired=counts[2],
        failed=failed,
        failure_threshold=ours.threshold if ours else 0,
    )


def _iso(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment is not None else ""
