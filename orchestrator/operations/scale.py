"""`orch scale --env NAME --service S COUNT`: the desired count of one service, and the wait until so many tasks run.

Comes in: an environment, a service, a count. Goes out: Scaled, with a verdict when it was awaited. May touch: the desired count,
and nothing else of the service: no deployment is started. Run again with the same count, it changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.ecs import scaling, services
from orchestrator.ecs.rollout import Clock
from orchestrator.errors import InterruptedByUserError, RefusedError
from orchestrator.events import ScaleProgress, ServiceEvent
from orchestrator.model import Scaled, Verdict
from orchestrator.operations import contract
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_ecs import ECSClient

    from orchestrator.aws import Aws
    from orchestrator.ecs.services import ServiceState
    from orchestrator.events import Emit, Steps
    from orchestrator.model import ServiceContract
    from orchestrator.settings import Environment, Settings

_FIRST_POLL_S = 1.0
_LAST_POLL_S = 5.0
_POLL_GROWTH = 1.3
# ECS's API is eventually consistent: for a while it may still give the count from before.
_SEEN_AFTER_S = 20.0


def scale(
    settings: Settings,
    environment: Environment,
    *,
    service: str,
    count: int,
    is_forced: bool,
    is_awaited: bool,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
) -> Scaled:
    """Sets the count. Raises RefusedError when autoscaling owns it, unless that is overridden by `is_forced`; OrchError."""
    agreed = contract.read(settings, environment, session, environ, steps)
    chosen = contract.choose_one(agreed, service)
    deploying = session.acting_as(Role.DEPLOY)
    with steps.step("scale", f"Set the desired count of {chosen.name} to {count}") as step:
        if not is_forced:
            require_unowned(chosen, deploying, count)
        before = services.describe(deploying.ecs, chosen.cluster, chosen.service)
        step.skipped = before.desired == count
        step.detail = f"it was {before.desired}" if not step.skipped else "it is already"
        if not step.skipped:
            scaling.set_desired_count(deploying.ecs, chosen.cluster, chosen.service, count)
    verdict: Verdict | None = None
    state, reason = before, "the tasks were not waited for"
    if step.skipped and before.running == count:
        verdict, reason = Verdict.NO_CHANGE, "so many tasks run already"
    elif is_awaited:
        with steps.step("wait", f"Wait for the tasks of {chosen.name}") as step:
            timeout_s = settings.rollout.timeout_s
            verdict, reason, state = follow(
                deploying.ecs, chosen, before, steps.emit, count=count, timeout_s=timeout_s
            )
            step.detail = f"{verdict}, {state.running} of {count} tasks running"
    return Scaled(
        environment=environment.name,
        service=chosen.name,
        desired_before=before.desired,
        desired_count=count,
        running_count=state.running,
        verdict=verdict,
        reason=reason,
    )


def follow(
    ecs: ECSClient,
    service: ServiceContract,
    before: ServiceState,
    emit: Emit,
    *,
    count: int,
    timeout_s: float,
    clock: Clock | None = None,
) -> tuple[Verdict, str, ServiceState]:
    """Polls until so many tasks run and no other count is wanted any more; the verdict, why, and the service then.

    Events of the service that are not in `before` are shown. Raises InterruptedByUserError, AwsError.
    """
    clock = clock or Clock()
    began, poll_s = clock.now(), _FIRST_POLL_S
    seen = {event[0] for event in before.events}
    shown, last_event = None, ""
    try:
        while True:
            state = services.describe(ecs, service.cluster, service.service)
            for event_id, at, message in state.events:
                if event_id not in seen:
                    seen.add(event_id)
                    last_event = message
                    emit(ServiceEvent(service.name, at, message))
            pending = sum(deployment.pending for deployment in state.deployments)
            progress = ScaleProgress(service.name, state.running, pending, state.desired)
            if progress != shown:
                shown = progress
                emit(progress)
            elapsed_s = clock.now() - began
            is_late = state.desired == before.desired != count and elapsed_s < _SEEN_AFTER_S
            verdict = None if is_late else _judge(state, count, pending)
            if verdict is None and elapsed_s >= timeout_s:
                verdict = (
                    Verdict.TIMED_OUT,
                    f"not so after {timeout_s:g} s; {last_event or 'ECS says nothing'}",
                )
            if verdict is not None:
                return (*verdict, state)
            clock.sleep(poll_s * clock.jitter())
            poll_s = min(poll_s * _POLL_GROWTH, _LAST_POLL_S)
    except KeyboardInterrupt:
        raise InterruptedByUserError(
            f"interrupted while the tasks of {service.name} start or stop; its desired count is {count}, and ECS goes on",
            hint="run the same command again to wait for them",
        ) from None


def _judge(state: ServiceState, count: int, pending: int) -> tuple[Verdict, str] | None:
    if state.desired != count:
        return Verdict.SUPERSEDED, f"somebody set the desired count to {state.desired} meanwhile"
    if state.running == count and not pending:
        return Verdict.SUCCEEDED, f"{count} tasks run"
    return None


def require_unowned(service: ServiceContract, session: Aws, count: int) -> None:
    """Raises RefusedError when Application Auto Scaling would soon set another count; AwsError."""
    cluster = service.cluster.rsplit("/", 1)[-1]
    target = scaling.scalable_target(session.autoscaling, cluster, service.service)
    if target is None or target.is_suspended:
        return
    bounds = f"between {target.min_count} and {target.max_count}"
    outside = "" if target.min_count <= count <= target.max_count else f"; {count} is outside"
    raise RefusedError(
        f"autoscaling keeps the desired count of {service.name} {bounds}{outside}: it would soon replace what is set here",
        hint="change min_tasks and max_tasks of its `autoscaling` in Terraform, or pass --force to set it for the moment",
    )
