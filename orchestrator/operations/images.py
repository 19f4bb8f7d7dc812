"""Which image each service runs, and which one an apply of this checkout would give it: a column of the pull request's comment.

Comes in: the outputs of a plan, and what the images come from. Goes out: a ServiceImage for each service. May touch: read-only
calls of ECS and ECR, with the rights of the plan role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.ecs import revisions, services
from orchestrator.errors import ContractError
from orchestrator.model import Image, Source
from orchestrator.permissions import Role
from orchestrator.report.board import ServiceImage
from orchestrator.terraform import contract

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.aws import Aws
    from orchestrator.model import ServiceContract
    from orchestrator.operations.release import Sources


def compare(outputs: Mapping[str, object], sources: Sources, session: Aws) -> tuple[ServiceImage, ...]:
    """Every service of orch.toml, in the order of their names; one that `outputs` do not name runs nothing yet.

    An image that is not built yet is wanted as `REPOSITORY:TAG`. Raises AwsError, PreconditionError.
    """
    try:
        known = {service.name: service for service in contract.decode(outputs, root_module="").services}
    except ContractError:
        known = {}
    reader = session.acting_as(Role.PLAN)
    return tuple(
        _compared(known[name], sources, reader)
        if name in known
        else ServiceImage(name, "", _unbuilt(name, origin) if sources.builds else "")
        for name, origin in sorted(sources.services.items())
    )


def _compared(service: ServiceContract, sources: Sources, reader: Aws) -> ServiceImage:
    running, wanted = _running(service, reader), _wanted(service, sources, reader)
    # What is not there is built, or, where images come by promotion, what runs stays.
    is_there = "@" in wanted
    return ServiceImage(service.name, running, wanted if is_there or sources.builds else running)


def _running(service: ServiceContract, reader: Aws) -> str:
    state = services.describe(reader.ecs, service.cluster, service.service)
    revision = revisions.describe(reader.ecs, state.task_definition)
    return revision.definition.image_of(service.container) if revision.is_registered_by_orch else ""


def _wanted(service: ServiceContract, sources: Sources, reader: Aws) -> str:
    origin = sources.services[service.name]
    if isinstance(origin, Image):
        return str(origin)
    digest = sources.digest(reader, service.repository_url, origin.tag)
    return (
        _unbuilt(service.repository_url, origin) if digest is None else f"{service.repository_url}@{digest}"
    )


def _unbuilt(repository: str, origin: Source | Image) -> str:
    return f"{repository}:{origin.tag}" if isinstance(origin, Source) else str(origin)
