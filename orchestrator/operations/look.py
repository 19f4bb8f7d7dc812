"""What services run, against what this checkout would have them run: the same comparison as a release makes, but only a look.

    name_images     what --image says          → the same, by service
    read_services   services of a contract     → their ServiceStates       one DescribeServices for up to ten of them
    look            Targets                    → Seen, one each            ECS, and ECR where the image is not the one that runs

Nothing is built, registered or changed, and no lock is needed: what is seen is judged again before anything is done about it.
A service that runs what it should costs no more than that one DescribeServices and two DescribeTaskDefinition.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.ecs import revisions, services
from orchestrator.errors import SettingsError
from orchestrator.image import ecr
from orchestrator.model import Image, Source
from orchestrator.operations import release
from orchestrator.operations.release import Move

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_ecs import ECSClient

    from orchestrator.aws import Aws
    from orchestrator.ecs.revisions import Revision
    from orchestrator.ecs.services import ServiceState
    from orchestrator.ecs.task_definition import TaskDefinition
    from orchestrator.events import Steps
    from orchestrator.model import Contract, Override, ServiceContract
    from orchestrator.operations.release import Candidate, Sources, Target
    from orchestrator.settings import Environment

# In place of the digest of an image that is not built yet. No image has it.
_NO_DIGEST = f"sha256:{'0' * 64}"


@dataclass(frozen=True)
class Seen:
    """One service now, and what a release of this checkout would do to it. `image` is None when it has yet to be built."""

    target: Target
    state: ServiceState
    current: Revision
    image: Image | None
    wanted: TaskDefinition
    move: Move

    @property
    def wanted_image(self) -> str:
        """What the service is to run: `repository@digest`, or `repository:tag` of an image that is not built yet."""
        origin = self.target.origin
        if self.image is None and isinstance(origin, Source):
            return f"{self.target.service.repository_url}:{origin.tag}"
        return str(self.image)

    def unchanged(self) -> Candidate | None:
        """The service as a release that has nothing to do; None when there is something."""
        if self.image is None or self.move is not Move.NOTHING:
            return None
        return release.assess(
            self.target, self.image, self.wanted, self.current, self.state, started_at=datetime.now(UTC)
        )


def name_images(images: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """Images as `--image` takes them, with the service they are for where only one of `names` takes part. Raises SettingsError for
    an image of one that does not. Pure.
    """
    named = tuple(
        f"{names[0]}={image}" if len(names) == 1 and "=" not in image else image for image in images
    )
    for image in named:
        name, separator, _reference = image.partition("=")
        if separator and names and name not in names:
            raise SettingsError(
                f"--image {image}: `{name}` is not among the services that are asked for",
                hint=f"add --service {name}, or leave --service out",
            )
    return named


def targets_of(
    chosen: Sequence[ServiceContract],
    agreed: Contract,
    environment: Environment,
    *,
    sources: Sources,
    session: Aws,
    steps: Steps,
    overrides: tuple[Override, ...] = (),
) -> list[Target]:
    """The services to release, each with what that needs. Raises SettingsError for one that orch.toml lacks."""
    for service in chosen:
        if service.name not in sources.services:
            raise SettingsError(
                f"Terraform has a service that orch.toml lacks: {service.name}",
                hint=f"add [services.{service.name}] with its build context to orch.toml",
            )
    return [
        release.Target(service, agreed, environment, sources, session, steps, overrides) for service in chosen
    ]


def read_services(ecs: ECSClient, chosen: Sequence[ServiceContract]) -> dict[str, ServiceState]:
    """The services by their names in the contract; those that ECS does not have are left out. Raises AwsError."""
    found: dict[str, ServiceState] = {}
    for cluster in sorted({service.cluster for service in chosen}):
        here = [service for service in chosen if service.cluster == cluster]
        states = services.describe_many(ecs, cluster, [service.service for service in here])
        found |= {service.name: states[service.service] for service in here if service.service in states}
    return found


def look(targets: Sequence[Target]) -> tuple[Seen, ...]:
    """What a release would do to each service, in their order. Raises OrchError."""
    first = targets[0]
    with first.steps.step("look", "Compare with what runs") as step:
        states = read_services(first.session.ecs, [target.service for target in targets])
        found = tuple(_look(target, states.get(target.service.name)) for target in targets)
        changed = sum(seen.move is not Move.NOTHING for seen in found)
        step.detail = f"{changed} of {len(found)} services to roll out" if changed else "nothing to roll out"
    return found


def _look(target: Target, state: ServiceState | None) -> Seen:
    service, ecs = target.service, target.session.ecs
    if state is None:
        # Raises, unless it came just now.
        state = services.describe(ecs, service.cluster, service.service)
    current = revisions.describe(ecs, state.task_definition)
    is_new = current.arn == service.skeleton_arn
    skeleton = current if is_new else revisions.describe(ecs, service.skeleton_arn)
    image = _image(target, current)
    wanted = release.render(target, skeleton, image or Image(service.repository_url, _NO_DIGEST))
    return Seen(target, state, current, image, wanted, release.next_move(wanted, current, state))


def _image(target: Target, current: Revision) -> Image | None:
    """The image to run, if there is one: asked of ECR only where the revision that runs does not tell."""
    origin, repository_url = target.origin, target.service.repository_url
    if isinstance(origin, Image):
        return origin
    running = current.definition.image_of(target.service.container)
    if current.tags.get(revisions.COMMIT_TAG) == origin.tag and running.startswith(f"{repository_url}@"):
        # A tag of ours is given once, and its image never another: the repositories are immutable.
        return ecr.parse_reference(running)
    digest = target.sources.digest(target.session, repository_url, origin.tag)
    return None if digest is None else Image(repository_url, digest)
