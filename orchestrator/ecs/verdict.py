"""The verdict on a rollout, decided from the service deployment that orch started. Pure.

Where the service deployments API answers, the terminal state of our deployment decides; where it is missing, `deployments[]`
by id. Stability, an equal task definition or a missing error is never proof of success.
States: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html

`deployments[]` forgets a deployment once it has no task, and DescribeServices may be seconds behind: what earlier looks told is
kept in a Memory, and what only one read says has to last for a while (`is_doubtful`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.model import Verdict

if TYPE_CHECKING:
    from orchestrator.ecs.services import Deployment, ServiceDeployment, ServiceState

TERMINAL = frozenset({"SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"})
ROLLING_BACK = frozenset({"ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS"})
_GONE = "the service was deleted while it rolled out"
_DELETED = frozenset({"DRAINING", "INACTIVE"})
_ENDED = re.compile(
    r"\(deployment (?P<id>[^)]+)\) deployment (?P<how>failed|completed)(?:: (?P<why>.+?)\.?$)?"
)


@dataclass(frozen=True)
class Memory:
    """What earlier looks told of our deployment. `earlier` are the deployments that were there before it and `seen_events` the
    events, `failure` is why it failed, `is_turning_back` that ECS began to roll back something, `rollback_id` the deployment
    with which ECS rolls ours back, `newer` are those of others.
    """

    earlier: frozenset[str] = frozenset()
    seen_events: frozenset[str] = frozenset()
    failure: str = ""
    has_completed: bool = False
    is_turning_back: bool = False
    rollback_id: str = ""
    newer: frozenset[str] = frozenset()


def remember(memory: Memory, deployment_id: str, state: ServiceState | None) -> Memory:
    """The memory after one more look."""
    if state is None:
        return memory
    memory = _listen(memory, deployment_id, state)
    ours, primary = state.deployment(deployment_id), state.primary
    if ours is not None and ours is primary:
        others = {item.id for item in state.deployments} - {deployment_id}
        memory = replace(memory, earlier=memory.earlier | others)
    if ours is not None and ours.rollout_state == "FAILED":
        memory = replace(memory, failure=ours.rollout_state_reason or "the deployment failed")
    if primary is None or primary.id in memory.earlier | {deployment_id, memory.rollback_id}:
        return memory
    if not memory.rollback_id and _is_rollback(memory, deployment_id, state, primary):
        return replace(memory, rollback_id=primary.id)
    return replace(memory, newer=memory.newer | {primary.id})


def _listen(memory: Memory, deployment_id: str, state: ServiceState) -> Memory:
    """What new events say of deployments by their id: when they are shown, those may have left the list already.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
    """
    failure, has_completed, newer = memory.failure, memory.has_completed, set(memory.newer)
    messages = [message for event_id, _, message in state.events if event_id not in memory.seen_events]
    for match in filter(None, map(_ENDED.search, messages)):
        is_failed = match["how"] == "failed"
        if match["id"] == deployment_id:
            failure = failure or (match["why"] or "it failed" if is_failed else "")
            has_completed = has_completed or not is_failed
        elif is_failed and match["id"] not in memory.earlier | {memory.rollback_id}:
            newer.add(match["id"])
    return replace(
        memory,
        failure=failure,
        has_completed=has_completed,
        is_turning_back=any("rolling back to deployment" in message for message in messages),
        newer=frozenset(newer),
    )


def is_older_than_ours(memory: Memory, deployment_id: str, state: ServiceState | None) -> bool:
    """Whether DescribeServices shows the service as it was before UpdateService answered."""
    if state is None or state.primary is None or state.deployment(deployment_id) is not None:
        return False
    return state.primary.id in memory.earlier and not memory.rollback_id and not memory.failure


def judge(
    deployment_id: str,
    state: ServiceState | None,
    ours: ServiceDeployment | None,
    memory: Memory | None = None,
) -> tuple[Verdict, str] | None:
    """The verdict on our deployment and the reason in ECS's words, or None while it goes on.

    `state` is None when the service is gone, `ours` where the service deployments API is missing or does not list it.
    """
    memory = remember(memory or Memory(), deployment_id, state)
    if ours is not None and ours.status in TERMINAL:
        return _judge_terminal(deployment_id, state, ours, memory)
    if state is None or state.status in _DELETED:
        return Verdict.FAILED, _GONE
    if ours is None:
        return _judge_deployment(deployment_id, state, memory)
    if ours.status not in {"PENDING", "IN_PROGRESS"} or ours.strategy.is_staged:
        # How `deployments[]` looks while traffic shifts is not documented; the service deployment tells its own end.
        return None
    said = _judge_deployment(deployment_id, state, memory)
    # Their end is the service deployment's to tell.
    return said if said is not None and said[0] in {Verdict.FAILED, Verdict.SUPERSEDED} else None


def is_doubtful(
    said: tuple[Verdict, str], state: ServiceState | None, ours: ServiceDeployment | None
) -> bool:
    """Whether a verdict rests on one read of DescribeServices, which may be older than what ECS knows by now."""
    if ours is not None and ours.status in TERMINAL:
        return said[0] is Verdict.CANCELLED
    if said[0] in {Verdict.SUCCEEDED, Verdict.ROLLED_BACK}:
        return False
    is_deleted = state is not None and state.status in _DELETED
    is_final = ours is None and state is not None and not state.may_roll_back
    return not (is_deleted or (is_final and said[0] is Verdict.FAILED))


def _judge_terminal(
    deployment_id: str, state: ServiceState | None, ours: ServiceDeployment, memory: Memory
) -> tuple[Verdict, str]:
    reason = ours.rollback_reason or ours.status_reason
    if ours.status == "SUCCESSFUL":
        return Verdict.SUCCEEDED, reason
    if ours.status == "ROLLBACK_SUCCESSFUL":
        return Verdict.ROLLED_BACK, reason
    if ours.status == "ROLLBACK_FAILED":
        return Verdict.FAILED, "; ".join(dict.fromkeys(filter(None, (reason, ours.status_reason))))
    # STOPPED: stopped by hand, failed with rollback off, or superseded
    # (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeployment.html); the service tells which.
    if ours.is_triggered or memory.failure:
        return Verdict.FAILED, reason or memory.failure or "its tasks failed"
    if state is None or state.status in _DELETED:
        return Verdict.FAILED, _GONE
    primary = state.primary
    if primary is not None and primary.id != deployment_id:
        return Verdict.SUPERSEDED, f"stopped; {_place_taken_by(primary)}"
    return Verdict.CANCELLED, reason or "the deployment was stopped"


def _judge_deployment(deployment_id: str, state: ServiceState, memory: Memory) -> tuple[Verdict, str] | None:
    ours, primary = state.deployment(deployment_id), state.primary
    if memory.has_completed or (ours is not None and ours.rollout_state == "COMPLETED"):
        return Verdict.SUCCEEDED, ours.rollout_state_reason if ours else f"{deployment_id} completed"
    if ours is not None and ours.status == "PRIMARY":
        if ours.rollout_state == "FAILED" and not _can_roll_back(ours, state):
            return Verdict.FAILED, ours.rollout_state_reason
        return None
    if primary is None:
        return Verdict.UNKNOWN, "the service has no PRIMARY deployment any more"
    if primary.id != memory.rollback_id:
        if memory.failure:
            return Verdict.FAILED, f"{memory.failure}; {_place_taken_by(primary)}"
        return Verdict.SUPERSEDED, _place_taken_by(primary)
    if primary.rollout_state == "FAILED":
        return Verdict.FAILED, f"the rollback failed too: {primary.rollout_state_reason}"
    if primary.rollout_state == "COMPLETED":
        return Verdict.ROLLED_BACK, memory.failure or primary.rollout_state_reason
    return None


def _place_taken_by(primary: Deployment) -> str:
    return f"{primary.id} with {primary.task_definition} took its place"


def _can_roll_back(ours: Deployment, state: ServiceState) -> bool:
    """Whether ECS may be about to roll back, and has something to go back to."""
    return _rolls_back(ours.rollout_state_reason, state) and any(
        item.id != ours.id for item in state.deployments
    )


def _rolls_back(failure: str, state: ServiceState) -> bool:
    """Whether ECS rolls back after such a failure: the breaker and the alarms each have a switch of their own for that."""
    if "alarm" in failure.lower():
        return state.alarms_roll_back
    if "circuit breaker" in failure or "tasks failed" in failure:
        return state.rolls_back
    return state.may_roll_back


def _is_rollback(memory: Memory, deployment_id: str, state: ServiceState, primary: Deployment) -> bool:
    """Whether another PRIMARY, which is not older than ours, is ECS's rollback of it rather than somebody's deployment.

    ECS's own reason tells the two apart as long as they are in progress: `ECS deployment ecs-svc/1 in progress.` and `ECS
    deployment circuit breaker: rolling back to deploymentId ecs-svc/1.`
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
    """
    reason = primary.rollout_state_reason
    if reason == f"ECS deployment {primary.id} in progress.":
        return False
    is_told = memory.is_turning_back or "roll" in reason.lower().replace("rollout", "")
    known = memory.earlier | {deployment_id, primary.id}
    if memory.newer or any(item.id not in known for item in state.deployments):
        # Of a newer deployment than ours it may be the rollback.
        return False
    is_listed = state.deployment(deployment_id) is not None
    return is_told or (is_listed and bool(memory.failure) and _rolls_back(memory.failure, state))
