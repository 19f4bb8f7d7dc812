"""One service of an environment, from its source to a verdict: image → revision → rollout → record.

Comes in: the contract of the service, and what its image is built from. Goes out: a Release. May touch: ECR and the image
engine, task definition revisions, the ECS service, the store. `next_move` decides what ECS needs, purely.
"""

from __future__ import annotations

import enum
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator import store
from orchestrator.ecs import revisions, rollout, task_definition
from orchestrator.errors import AwsError, ContractError, ImageError, InterruptedByUserError, SettingsError
from orchestrator.events import Released, Warned
from orchestrator.image import ecr, engine, source
from orchestrator.model import (
    Contract,
    Image,
    Override,
    Release,
    Rollout,
    ServiceContract,
    Source,
    Verdict,
)
from orchestrator.permissions import Role
from orchestrator.terraform import contract

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.aws import Aws
    from orchestrator.ecs.revisions import Revision
    from orchestrator.ecs.rollout import ServiceState
    from orchestrator.ecs.task_definition import TaskDefinition
    from orchestrator.events import Steps
    from orchestrator.settings import Environment, ServiceSettings, Settings

_TAG_LENGTH = 256


class Move(enum.Enum):
    """What ECS needs so that the service runs the wanted definition."""

    NOTHING = "it runs already"
    FOLLOW = "its rollout is under way, or ended without anybody recording how"
    RETRY = "its last rollout failed"
    UPDATE = "another definition runs"


@dataclass
class Sources:
    """What each service's image comes from, and the engine once one was needed."""

    settings: Settings
    environ: Mapping[str, str]
    services: Mapping[str, Source | Image]
    _engine: engine.Engine | None = None
    _digests: dict[str, str | None] = field(default_factory=dict)

    def engine(self) -> engine.Engine:
        """The image engine. Raises ToolMissingError when none works here."""
        if self._engine is None:
            self._engine = engine.find(self.settings.image.engine, self.environ)
        return self._engine

    def digest(self, session: Aws, repository_url: str, tag: str) -> str | None:
        """The digest that ECR has under a tag, asked once."""
        reference = f"{repository_url}:{tag}"
        if reference not in self._digests:
            self._digests[reference] = ecr.digest_of_tag(session.ecr, repository_url, tag)
        return self._digests[reference]


def identify_sources(settings: Settings, images: tuple[str, ...], environ: Mapping[str, str]) -> Sources:
    """The source of every service: an image given by digest (`[SERVICE=]REPOSITORY@sha256:…`), else its build context.

    Raises SettingsError for a service that orch.toml lacks, ImageError, ToolMissingError.
    """
    given: dict[str, Image] = {}
    for text in images:
        name, separator, reference = text.rpartition("=")
        if not separator:
            if len(settings.services) > 1:
                raise SettingsError(
                    "--image: there are several services",
                    hint=f"write --image SERVICE=REPOSITORY@sha256:…, SERVICE one of: {', '.join(settings.services)}",
                )
            name = next(iter(settings.services))
        if name not in settings.services:
            raise SettingsError(
                f"--image: there is no service `{name}`",
                hint=f"choose one of: {', '.join(settings.services)}",
            )
        given[name] = ecr.parse_reference(reference)
    found: dict[str, Source | Image] = {
        name: given.get(name) or source.identify(settings.root / service.context, environ)
        for name, service in settings.services.items()
    }
    return Sources(settings, environ, found)


def require_engine(sources: Sources, outputs: Mapping[str, object], session: Aws) -> None:
    """Raises ToolMissingError when an image will have to be built and nothing here can build it.

    `outputs` are the planned ones: before the first apply they name no repository yet, so every image must be built.
    """
    try:
        services = contract.decode(outputs, root_module="").services
    except ContractError:
        services = ()
    known = {service.name: service.repository_url for service in services}
    for name, origin in sources.services.items():
        if isinstance(origin, Image):
            continue
        if name not in known or sources.digest(session, known[name], origin.tag) is None:
            sources.engine()
            return


@dataclass(frozen=True)
class Target:
    """One service of one environment, with everything its release needs."""

    service: ServiceContract
    agreed: Contract
    environment: Environment
    sources: Sources
    session: Aws
    steps: Steps
    overrides: tuple[Override, ...] = ()

    @property
    def origin(self) -> Source | Image:
        return self.sources.services[self.service.name]

    @property
    def settings(self) -> ServiceSettings:
        return self.sources.settings.services[self.service.name]


def release(target: Target) -> Release:
    """Brings one service to its source's image on Terraform's newest skeleton. Raises OrchError; verdicts are returned."""
    started_at = datetime.now(UTC)
    release_id = new_release_id(started_at)
    image = _ensure_image(target)
    wanted, current, state = _wanted(target, image)
    move = next_move(wanted, current, state)
    if move is Move.NOTHING:
        ended = _unchanged(target, current, state)
    else:
        revision = current
        if move is Move.UPDATE:
            revision = _ensure_revision(target, wanted, _tags(target, release_id, image))
        ended = roll_out(target, move, revision, current, state)
    commit = target.origin.commit if isinstance(target.origin, Source) else ""
    return conclude(target, ended, image, commit=commit, release_id=release_id, started_at=started_at)


def new_release_id(started_at: datetime) -> str:
    """An id that sorts by time."""
    return f"{started_at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def conclude(
    target: Target, ended: Rollout, image: Image, *, commit: str, release_id: str, started_at: datetime
) -> Release:
    """The release of a rollout that ended: recorded, unless nothing had to be rolled out, and reported."""
    done = Release(
        id=release_id,
        environment=target.environment.name,
        service=target.service.name,
        account_id=target.agreed.account_id,
        region=target.agreed.region,
        image=image,
        commit=commit,
        revision_arn=ended.revision_arn,
        verdict=ended.verdict,
        reason=ended.reason,
        running_count=ended.running_count,
        desired_count=ended.desired_count,
        actor=target.session.identity().arn,
        started_at=started_at.isoformat(timespec="seconds"),
        durations_s={name: round(value, 3) for name, value in target.steps.durations_s.items()},
        overrides=target.overrides,
    )
    if ended.verdict is not Verdict.NO_CHANGE:
        _record(target, done)
    target.steps.emit(Released(done))
    return done


def next_move(wanted: TaskDefinition, current: Revision, state: ServiceState) -> Move:
    """What has to happen, given the revision the service is on and its deployments. Pure."""
    if not task_definition.is_equal(wanted, current.definition):
        return Move.UPDATE
    primary = state.primary
    if primary is None or primary.task_definition != current.arn or primary.rollout_state == "FAILED":
        return Move.RETRY
    is_done = primary.rollout_state == "COMPLETED" and current.has_succeeded
    return Move.NOTHING if is_done else Move.FOLLOW


def _ensure_image(target: Target) -> Image:
    """The image by digest: given, found in ECR under the source's tag, or built and pushed."""
    origin, repository_url = target.origin, target.service.repository_url
    with target.steps.step("image", f"Image of {target.service.name}") as step:
        if isinstance(origin, Image):
            is_ours = origin.repository == repository_url
            if is_ours and not ecr.has_digest(target.session.ecr, origin.repository, origin.digest):
                raise ImageError(
                    f"ECR has no {origin}", hint="check the digest; a lifecycle policy may have expired it"
                )
            step.skipped, step.detail = True, f"given: {_short(origin.digest)}"
            return origin
        digest = target.sources.digest(target.session, repository_url, origin.tag)
        if digest is not None:
            step.skipped, step.detail = True, f"{origin.tag[:12]} is in ECR: {_short(digest)}"
            return Image(repository_url, digest)
        step.detail = f"{origin.tag[:12]} is not in ECR yet"
    return _build_and_push(target, origin)


def _build_and_push(target: Target, origin: Source) -> Image:
    builder = target.sources.engine()
    name, repository_url = target.service.name, target.service.repository_url
    context = target.sources.settings.root / target.settings.context
    reference = f"{repository_url}:{origin.tag}"
    spec = engine.Build(
        context=context,
        dockerfile=context / target.settings.dockerfile,
        platform=target.settings.platform,
        build_args=target.settings.build_args,
        labels={"org.opencontainers.image.revision": origin.commit},
        reference=reference,
    )
    with target.steps.step("build", f"Build {name} with {builder.name}"):
        engine.build(builder, spec, target.steps.emit)
    with target.steps.step("push", f"Push {name}") as step:
        registry = target.session.acting_as(Role.PUSH).ecr
        login = ecr.log_in(registry, repository_url)
        pushed = engine.push(builder, reference, login, target.steps.emit)
        stored = ecr.digest_of_tag(registry, repository_url, origin.tag)
        if stored != pushed:
            raise ImageError(
                f"{builder.name} pushed {pushed} as {reference}, but ECR has {stored or 'nothing'} under that tag",
                hint="run the same command again; if it stays so, somebody else pushes this tag",
            )
        step.detail = _short(pushed)
    return Image(repository_url, pushed)


def _wanted(target: Target, image: Image) -> tuple[TaskDefinition, Revision, ServiceState]:
    """The definition to run, the revision the service is on, and the service."""
    service, ecs = target.service, target.session.ecs
    with target.steps.step("task_definition", f"Task definition of {service.name}") as step:
        skeleton = revisions.describe(ecs, service.skeleton_arn)
        state = rollout.describe(ecs, service.cluster, service.service)
        is_new = state.task_definition == skeleton.arn
        current = skeleton if is_new else revisions.describe(ecs, state.task_definition)
        wanted = task_definition.render(
            skeleton.definition, container=service.container, image=image, overlay=_overlay(target, image)
        )
        step.detail = f"from skeleton {short_arn(skeleton.arn)}, service on {short_arn(current.arn)}"
    return wanted, current, state


def _overlay(target: Target, image: Image) -> dict[str, Any]:
    name = target.settings.task_definition
    if name is None:
        return {}
    try:
        template = (target.sources.settings.root / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        key = f"services.{target.service.name}.task_definition"
        raise SettingsError(f"{key}: {name} cannot be read: {error}") from error
    context = {
        "outputs": target.agreed.outputs,
        "image": str(image),
        "digest": image.digest,
        "environment": target.environment.name,
        "account_id": target.agreed.account_id,
        "region": target.agreed.region,
        "service": target.service.name,
        "container": target.service.container,
    }
    return task_definition.render_overlay(template, name=name, context=context)


def _unchanged(target: Target, current: Revision, state: ServiceState) -> Rollout:
    name = target.service.name
    if state.desired == 0:
        target.steps.emit(Warned(f"the desired count of {name} is 0: nothing runs"))
    elif state.running < state.desired:
        target.steps.emit(Warned(f"{state.running} of {state.desired} tasks of {name} run at the moment"))
    primary = state.primary
    return Rollout(
        service=target.service.service,
        verdict=Verdict.NO_CHANGE,
        reason="this image and definition run already",
        revision_arn=current.arn,
        deployment_id=primary.id if primary else "",
        running_count=state.running,
        desired_count=state.desired,
    )


def _ensure_revision(target: Target, wanted: TaskDefinition, tags: Mapping[str, str]) -> Revision:
    """A revision of the wanted definition; registered unless the newest one is it already: left by a run that died
    before its rollout, or rolled back.
    """
    family = target.service.task_family
    with target.steps.step("register", f"Register a revision of {family}") as step:
        newest = revisions.describe(target.session.ecs, family)
        step.skipped = task_definition.is_equal(newest.definition, wanted)
        revision = newest if step.skipped else revisions.register(target.session.ecs, wanted, tags)
        step.detail = short_arn(revision.arn)
    return revision


def roll_out(
    target: Target, move: Move, revision: Revision, current: Revision, state: ServiceState
) -> Rollout:
    """Starts the rollout that the move asks for, or attaches to the one under way, and follows it to its end."""
    service, ecs = target.service, target.session.ecs
    with target.steps.step("rollout", f"Roll out {service.name}") as step:
        try:
            if move is Move.FOLLOW:
                started = rollout.attach(state, cluster=service.cluster, service=service.service)
            else:
                started = rollout.start(
                    ecs,
                    state,
                    cluster=service.cluster,
                    service=service.service,
                    task_definition=revision.arn,
                    # Terraform creates the service with no task; from then on its count is its own, or autoscaling's.
                    desired_count=None if current.is_registered_by_orch else service.desired_count,
                    force=move is Move.RETRY,
                )
            timeout_s = target.sources.settings.rollout.timeout_s
            ended = rollout.follow(ecs, started, target.steps.emit, timeout_s=timeout_s)
        except KeyboardInterrupt:
            raise InterruptedByUserError(
                f"interrupted while {service.name} rolls out; the rollout goes on in ECS",
                hint="run the same command again to follow it",
            ) from None
        step.detail = f"{ended.verdict}, {ended.running_count} of {ended.desired_count} tasks running"
    return ended


def _record(target: Target, done: Release) -> None:
    """Marks a released revision, and writes the release record. The verdict stands whether or not this works."""
    now = datetime.now(UTC)
    try:
        if done.verdict is Verdict.SUCCEEDED:
            revisions.mark_released(target.session.ecs, done.revision_arn, now.isoformat(timespec="seconds"))
        store.put_release(target.session.s3, target.environment.state_bucket, done, at=now)
    except AwsError as error:
        target.steps.emit(Warned(f"the release could not be recorded: {error.message}", error.hint))


def _tags(target: Target, release_id: str, image: Image) -> dict[str, str]:
    tags = {
        revisions.RELEASE_TAG: release_id,
        # The policy of the deploy role lets it register under these two alone (permissions.py).
        "orch:project": target.sources.settings.project,
        "orch:environment": target.environment.name,
        "orch:digest": image.digest,
        "orch:by": target.session.identity().arn[-_TAG_LENGTH:],
    }
    if isinstance(target.origin, Source):
        tags[revisions.COMMIT_TAG] = target.origin.tag
    return tags


def short_arn(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


def _short(digest: str) -> str:
    return digest[: len("sha256:") + 12]
