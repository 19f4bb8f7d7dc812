"""Takes a service through the stages of its staged deployment: which tasks run in a stage, and what it waits for. Pure.

The stages themselves, and how long hooks and time hold them, are strategies.py's; what it means to fail and to go back is
rollout.py's, as for every strategy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.sandbox.deployments import Deployment
    from orchestrator.sandbox.rollout import ServiceRollouts
    from orchestrator.sandbox.strategies import Stages, Step


def pass_stages(rollouts: ServiceRollouts, stages: Stages, at: float) -> None:
    """Goes on as far as it may in this moment."""
    current = rollouts.current
    if stages.stage == "":
        stages.enter(at)
    overdue = stages.expire(at)
    if overdue is not None:
        rollouts.fail(at, f"{overdue.stage} lifecycle hook(s) failed: timed out", rolls_back=True)
    elif stages.is_overdue(at):
        rollouts.fail(at, f"the stage {stages.stage} timed out", rolls_back=True)
    while current.stages is stages and not current.is_over:
        step = stages.step
        if step is None:
            _finish(rollouts, stages, at)
            return
        _keep_counts(rollouts, step, at)
        is_asked_back = current.status == "ROLLBACK_REQUESTED"
        if is_asked_back or not stages.may_leave(at) or not _is_done(rollouts, step, at):
            return
        stages.enter(at)
        current.updated_at = at


def is_kept(rollouts: ServiceRollouts, deployment: Deployment) -> bool:
    """Whether it is to have the desired number of tasks now, whatever the strategy."""
    stages = rollouts.current.stages
    if stages is None or rollouts.current.is_over:
        return deployment is rollouts.primary
    if deployment is rollouts.primary:
        return stages.goes_back or stages.stage not in ("", "RECONCILE_SERVICE", "PRE_SCALE_UP")
    return deployment is rollouts.blue and stages.stage != "CLEAN_UP"


def _keep_counts(rollouts: ServiceRollouts, step: Step, at: float) -> None:
    """Starts and stops tasks as the stage wants it; blue keeps its number until it is cleaned up."""
    blue = rollouts.blue
    cleans = step.stage == "CLEAN_UP"
    reconciles = step.stage == "RECONCILE_SERVICE" and blue is not None
    for other in rollouts.deployments[1:]:
        if cleans or (reconciles and other is not blue):
            rollouts.stop_tasks(other, other.active(at), at)
    for deployment in [one for one in rollouts.deployments if is_kept(rollouts, one)]:
        rollouts.scale_in(deployment, at)
        missing = rollouts.desired_count - len(deployment.active(at))
        if missing > 0 and deployment.rollout_state != "FAILED" and at >= deployment.next_launch_at:
            rollouts.start(deployment, missing, at)


def _is_done(rollouts: ServiceRollouts, step: Step, at: float) -> bool:
    primary, blue, others = rollouts.primary, rollouts.blue, rollouts.deployments[1:]
    if step.stage == "SCALE_UP":
        return len(primary.active(at)) == primary.healthy_count(at) == rollouts.desired_count
    if step.stage == "CLEAN_UP":
        return not any(other.tasks for other in others)
    if step.stage == "RECONCILE_SERVICE" and blue is not None:
        return not any(other.tasks for other in others if other is not blue)
    return True


def _finish(rollouts: ServiceRollouts, stages: Stages, at: float) -> None:
    if not stages.goes_back:
        rollouts.complete(at)
    rollouts.say(at, "has reached a steady state.")
    rollouts.current.finish("ROLLBACK_SUCCESSFUL" if stages.goes_back else "SUCCESSFUL", at, "")
