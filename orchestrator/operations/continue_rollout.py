"""`orch continue --env NAME`: ends the pauses of rollouts under way, from any machine: on with them, or back.

    contract.read   state                     → Contract
    find            each service              → its Pauses         the newest service deployment's hooks that wait
    approve         Pauses                    → yes or no          asks
    answer          each Pause                → nothing            ECS; looked at until the hook waits no longer
    watch.follow    those services            → Watched            as `orch watch` does, unless nobody wants to know

May touch: the service deployments, and what `orch watch` touches. It takes no lock: the run that started the rollout holds it, and
waits for just this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.ecs import services
from orchestrator.ecs.rollout import Clock
from orchestrator.errors import AwsError, DeclinedError, PreconditionError
from orchestrator.events import Warned
from orchestrator.model import Pause
from orchestrator.operations import contract, release, watch
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.model import Watched
    from orchestrator.operations.release import Target
    from orchestrator.settings import Environment, Settings

# How long ECS may take to show that a pause is over.
_ANSWER_S = 60.0
_LOOK_EVERY_S = 1.0


def continue_(
    settings: Settings,
    environment: Environment,
    *,
    names: tuple[str, ...],
    rolls_back: bool,
    follows: bool,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
    approve: Callable[[tuple[Pause, ...]], bool],
    clock: Clock | None = None,
) -> tuple[tuple[Pause, ...], tuple[Watched, ...]]:
    """Ends every pause of the named services, or of all, and returns those, with how each rollout ended when it is followed.

    Raises PreconditionError when nothing is paused, DeclinedError, OrchError.
    """
    agreed = contract.read(settings, environment, session, environ, steps)
    sources = release.Sources(settings, environ, {})
    deploying = session.acting_as(Role.DEPLOY)
    targets = [
        release.Target(service, agreed, environment, sources, deploying, steps)
        for service in contract.choose(agreed, names)
    ]
    with steps.step("look", "Look for pauses") as step:
        found = {target.service.name: find(target) for target in targets}
        paused = tuple(pause for pauses in found.values() for pause in pauses)
        step.detail = ", ".join(f"{pause.service} at {pause.stage}" for pause in paused) or "none"
    if not paused:
        raise PreconditionError(
            f"no rollout of {', '.join(found)} in `{environment.name}` is paused: there is nothing to continue",
            hint=f"`orch watch --env {environment.name}` shows what is under way",
        )
    if not approve(paused):
        raise DeclinedError("nothing was continued or rolled back; ECS waits on")
    clock = clock or Clock()
    title = "Roll back" if rolls_back else "Continue"
    with steps.step("continue", f"{title} {', '.join(dict.fromkeys(pause.service for pause in paused))}"):
        for pause in paused:
            answer(deploying, pause, "ROLLBACK" if rolls_back else "CONTINUE", steps, clock)
    if not follows:
        return paused, ()
    return paused, watch.follow([target for target in targets if found[target.service.name]], clock=clock)


def find(target: Target) -> tuple[Pause, ...]:
    """The pauses of a service's newest deployment, while that goes on. Raises AwsError."""
    ecs, service = target.session.ecs, target.service
    briefs = services.list_deployments(ecs, service.cluster, service.service)
    if not briefs:
        return ()
    ours = services.describe_deployments(ecs, [briefs[0].arn]).get(briefs[0].arn)
    # ECS lets none be continued in another state: developerguide/continue-service-deployment.html
    if ours is None or ours.status != "IN_PROGRESS":
        return ()
    return tuple(
        Pause(
            target.environment.name,
            service.name,
            ours.lifecycle_stage,
            _iso(ours.updated_at),
            _iso(hook.expires_at),
            hook.timeout_action,
            ours.arn,
            hook.id,
        )
        for hook in ours.paused
    )


def answer(session: Aws, pause: Pause, action: str, steps: Steps, clock: Clock) -> None:
    """Ends one pause, and sees that ECS says so. One that somebody else has ended meanwhile is told, and left.

    Raises AwsError.
    """
    try:
        services.continue_deployment(session.ecs, pause.deployment_arn, pause.hook_id, action)
    except AwsError:
        if _waits(session, pause):
            raise
        steps.emit(
            Warned(
                f"the pause of {pause.service} at {pause.stage} has ended already: somebody else, or its timeout, was faster"
            )
        )
        return
    until = clock.now() + _ANSWER_S
    while _waits(session, pause):
        if clock.now() >= until:
            raise AwsError(
                f"ECS took {action} for {pause.service}, but still shows its pause at {pause.stage} after {_ANSWER_S:g} s",
                code="StillPaused",
                hint=f"`orch continue --env {pause.environment} --service {pause.service}` asks again",
            )
        clock.sleep(_LOOK_EVERY_S)


def _waits(session: Aws, pause: Pause) -> bool:
    """Whether ECS shows that very pause as waiting."""
    found: Sequence[services.ServiceDeployment] = tuple(
        services.describe_deployments(session.ecs, [pause.deployment_arn]).values()
    )
    return any(hook.id == pause.hook_id for one in found for hook in one.paused)


def _iso(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment is not None else ""
