"""`orch status --env NAME`: what each service runs, as ECS says it now.

Comes in: an environment. Goes out: a ServiceStatus for each service. May touch: read-only calls of ECS, the state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.ecs import revisions, rollout
from orchestrator.model import ServiceStatus
from orchestrator.operations import contract
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.model import ServiceContract
    from orchestrator.settings import Environment, Settings


def status(
    settings: Settings, environment: Environment, *, session: Aws, environ: Mapping[str, str], steps: Steps
) -> tuple[ServiceStatus, ...]:
    """The services of the environment, in the order of their names. Raises OrchError."""
    agreed = contract.read(settings, environment, session, environ, steps)
    with steps.step("status", "Ask ECS"):
        return tuple(_status(environment, service, session) for service in agreed.services)


def _status(environment: Environment, service: ServiceContract, session: Aws) -> ServiceStatus:
    ecs = session.acting_as(Role.DEPLOY).ecs
    state = rollout.describe(ecs, service.cluster, service.service)
    revision = revisions.describe(ecs, state.task_definition)
    primary = state.primary
    return ServiceStatus(
        environment=environment.name,
        service=service.name,
        revision_arn=revision.arn,
        image=revision.definition.image_of(service.container) if revision.is_registered_by_orch else "",
        deployment_state=primary.rollout_state if primary else "",
        running_count=state.running,
        desired_count=state.desired,
        release_id=revision.tags.get(revisions.RELEASE_TAG, ""),
        commit=revision.tags.get(revisions.COMMIT_TAG, ""),
        released_at=revision.tags.get(revisions.RELEASED_AT_TAG, ""),
    )
