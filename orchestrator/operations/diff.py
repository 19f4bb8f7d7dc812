"""`orch diff --env NAME`: what `orch deploy` would change. `orch diff --env A --env B`: what differs between two environments.

    diff                  an environment     → ServiceDifferences   what runs, against what this checkout would run
    diff_environments     two of them        → ServiceDifferences   what runs in one, against what runs in the other

May touch: read-only calls of ECS and ECR, the states. Nothing is built: an image that has yet to be is told by its tag. The value
of an environment variable is never shown, only whether it differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.ecs import revisions, strategy
from orchestrator.ecs.task_definition import TaskDefinition
from orchestrator.errors import PreconditionError
from orchestrator.model import Detail, Masked, ServiceDifference
from orchestrator.operations import contract, release
from orchestrator.operations.definitions import details_between
from orchestrator.operations.look import look, name_images, read_services, targets_of
from orchestrator.operations.release import Move
from orchestrator.operations.side_by_side import side_by_side
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.ecs.revisions import Revision
    from orchestrator.ecs.services import ServiceState
    from orchestrator.model import ServiceContract
    from orchestrator.operations.look import Seen
    from orchestrator.operations.plan_all import Ready
    from orchestrator.settings import Environment, Settings

_OUTCOMES = {
    Move.NOTHING: "nothing to deploy",
    Move.FOLLOW: "the definition is the same; a deploy would follow its rollout, or record how it ended",
    Move.RETRY: "the definition is the same, but its last rollout failed: a deploy would try it again",
    Move.UPDATE: "a deploy would roll this out",
}


@dataclass(frozen=True)
class Running:
    """What one environment runs of a service."""

    environment: Environment
    service: ServiceContract
    state: ServiceState
    revision: Revision


def diff(
    settings: Settings, one: Ready, *, names: tuple[str, ...], images: tuple[str, ...]
) -> tuple[ServiceDifference, ...]:
    """What a deploy of the named services, or of all, would change. Raises OrchError."""
    sources = release.identify_sources(
        settings, name_images(images, names), one.environ, builds=one.environment.promotes_from is None
    )
    agreed = contract.read(settings, one.environment, one.session, one.environ, one.steps)
    targets = targets_of(
        contract.choose(agreed, names),
        agreed,
        one.environment,
        sources=sources,
        session=one.session.acting_as(Role.DEPLOY),
        steps=one.steps,
    )
    ready = [release.without_build(target) or target for target in targets]
    return tuple(_of_deploy(seen, one.environ) for seen in look(ready))


def diff_environments(
    settings: Settings, sides: tuple[Ready, Ready], *, names: tuple[str, ...]
) -> tuple[ServiceDifference, ...]:
    """What differs between what two environments run, of the named services or of all that either has. Raises OrchError."""
    before, after = side_by_side(lambda side: _read(settings, side), sides)
    for name in names:
        if name not in before and name not in after:
            raise PreconditionError(
                f"neither environment has a service `{name}`",
                hint=f"choose one of: {', '.join(sorted({*before, *after}))}",
            )
    chosen = names or tuple(sorted({*before, *after}))
    labels = (sides[0].environment.name, sides[1].environment.name)
    return tuple(
        compare(settings.project, name, labels, (before.get(name), after.get(name)), sides[0].environ)
        for name in chosen
    )


def compare(
    project: str,
    name: str,
    labels: tuple[str, str],
    sides: tuple[Running | None, Running | None],
    environ: Mapping[str, str],
) -> ServiceDifference:
    """What differs between what two environments, of those names, run of one service. Pure.

    Names that differ because of where they are (account, region, PROJECT-ENVIRONMENT) are no difference, nor is where a secret
    of the same name is read from.
    """
    one, other = sides
    before, after = (f"{label} {_number(side)}" for label, side in zip(labels, sides, strict=True))
    if one is None or other is None:
        missing = labels[0] if one is None else labels[1]
        return ServiceDifference(name, before, after, f"{missing} has no such service", is_change=True)
    details = tuple(_about_release(one, other)) + details_between(*_alike(project, one, other), environ)
    outcome = "both run the same" if not details else "they differ"
    return ServiceDifference(name, before, after, outcome, bool(details), details)


def _of_deploy(seen: Seen, environ: Mapping[str, str]) -> ServiceDifference:
    container = seen.target.service.container
    wanted = _with_images(seen.wanted, lambda item: seen.wanted_image if item["name"] == container else None)
    details = list(details_between(seen.current.definition, wanted, environ))
    declared = seen.target.service.desired_count
    if not seen.current.is_registered_by_orch and seen.state.desired != declared:
        details.append(Detail("desired count", seen.state.desired, declared))
    settings, environment = seen.target.sources.settings, seen.target.environment
    wanted_strategy = strategy.wanted(settings.strategy(environment, seen.target.service.name))
    if seen.state.strategy != wanted_strategy:
        # It changes with the next release, and is none itself.
        details.append(Detail("strategy", str(seen.state.strategy), str(wanted_strategy)))
    outcome = _OUTCOMES[seen.move]
    if seen.image is None:
        outcome += ", once its image is built"
    return ServiceDifference(
        seen.target.service.name,
        release.short_arn(seen.current.arn),
        "this checkout",
        outcome,
        seen.move is not Move.NOTHING,
        tuple(details),
    )


def _read(settings: Settings, side: Ready) -> dict[str, Running]:
    agreed = contract.read(settings, side.environment, side.session, side.environ, side.steps)
    ecs = side.session.acting_as(Role.DEPLOY).ecs
    with side.steps.step("status", "Ask ECS"):
        states = read_services(ecs, agreed.services)
        return {
            service.name: Running(
                side.environment,
                service,
                states[service.name],
                revisions.describe(ecs, states[service.name].task_definition),
            )
            for service in agreed.services
            if service.name in states
        }


def _number(side: Running | None) -> str:
    return release.short_arn(side.revision.arn) if side is not None else "nothing"


def _about_release(one: Running, other: Running) -> Sequence[Detail]:
    sides = [
        (
            _digest(side),
            side.revision.tags.get(revisions.COMMIT_TAG, ""),
            side.state.desired,
        )
        for side in (one, other)
    ]
    labels = ("image", "commit", "desired count")
    return [
        Detail(label, _told(before), _told(after))
        for label, before, after in zip(labels, *sides, strict=True)
        if before != after
    ]


def _told(value: str | int) -> str | int | Masked:
    return Masked.ABSENT if value == "" else value


def _digest(side: Running) -> str:
    """The digest that runs; what else the definition names where orch has released nothing."""
    image = side.revision.definition.image_of(side.service.container)
    return image.partition("@")[2] or image.rpartition("/")[2]


def _alike(project: str, one: Running, other: Running) -> tuple[TaskDefinition, TaskDefinition]:
    """Both definitions without what differs by where they are, and without the image, which is told by its digest."""
    shared = _secret_names(one) & _secret_names(other)

    def prepared(side: Running) -> TaskDefinition:
        place = {
            side.environment.account_id: "ACCOUNT",
            side.environment.region: "REGION",
            f"{project}-{side.environment.name}": "PROJECT-ENVIRONMENT",
        }
        request = _replaced(side.revision.definition.request, place)
        containers = [
            {
                **item,
                "secrets": [
                    secret
                    for secret in item.get("secrets") or ()
                    if (item["name"], secret["name"]) not in shared
                ],
            }
            for item in request["containerDefinitions"]
        ]
        definition = TaskDefinition({**request, "containerDefinitions": containers})
        # Its own container may have another name, and still be the one that the image is for.
        own = side.service.container
        return _with_images(definition, lambda item: "(told above)" if item["name"] == own else None)

    return prepared(one), prepared(other)


def _secret_names(side: Running) -> set[tuple[str, str]]:
    containers: list[Mapping[str, Any]] = side.revision.definition.request["containerDefinitions"]
    return {(item["name"], secret["name"]) for item in containers for secret in item.get("secrets") or ()}


def _replaced(value: Any, place: Mapping[str, str]) -> Any:
    """A part of a definition with the names of a place in general terms; environment variables stay as they are."""
    if isinstance(value, str):
        for name, general in place.items():
            value = value.replace(name, general)
        return value
    if isinstance(value, list | tuple):
        return [_replaced(member, place) for member in value]
    if isinstance(value, dict):
        return {
            key: member if key == "environment" else _replaced(member, place) for key, member in value.items()
        }
    return value


def _with_images(
    definition: TaskDefinition, image_of: Callable[[Mapping[str, Any]], str | None]
) -> TaskDefinition:
    """The definition with another image in each container for which there is one."""
    containers = [
        {**item, "image": image_of(item) or item.get("image", "")}
        for item in definition.request["containerDefinitions"]
    ]
    return TaskDefinition({**definition.request, "containerDefinitions": containers})
