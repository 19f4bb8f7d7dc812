"""One service of an environment, from its source to what has to be rolled out, and from its verdict to the record.

    prepare     Target                    → Candidate    ECR and the image engine; the service is read
    register    Candidate                 → Revision     skipped when the newest one is it already
    (rollouts.py rolls out: several services side by side)
    conclude    Candidate, Rollout        → Release      a tag on the revision, the store

`next_move` decides what ECS needs, purely.
"""

from __future__ import annotations

import enum
import itertools
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator import store
from orchestrator.ecs import revisions, services, task_definition
from orchestrator.errors import AwsError, ContractError, ImageError, SettingsError
from orchestrator.events import Released, Warned
from orchestrator.image import ecr, engine, source
from orchestrator.model import (
    Contract,
    Image,
    Override,
    PromotedFrom,
    Release,
    Replaced,
    Rollout,
    ServiceContract,
    Source,
    Verdict,
)
from orchestrator.operations import provenance
from orchestrator.operations.provenance import Provenance
from orchestrator.permissions import Role
from orchestrator.terraform import contract

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.aws import Aws
    from orchestrator.ecs.revisions import Revision
    from orchestrator.ecs.services import ServiceState
    from orchestrator.ecs.task_definition import TaskDefinition
    from orchestrator.events import Steps
    from orchestrator.model import ReleaseRecord
    from orchestrator.settings import Environment, ServiceSettings, Settings

BY_TAG = "orch:by"
_TAG_LENGTH = 256
_RECORDS_READ = 10


class Move(enum.Enum):
    """What ECS needs so that the service runs the wanted definition."""

    NOTHING = "it runs already"
    FOLLOW = "its rollout is under way, or ended without anybody recording how"
    RETRY = "its last rollout failed"
    UPDATE = "another definition runs"


@dataclass
class Sources:
    """What each service's image comes from, and the engine once one was needed. Without `builds`, an image that is not there is
    never made: the environment gets its images by promotion.
    """

    settings: Settings
    environ: Mapping[str, str]
    services: Mapping[str, Source | Image]
    builds: bool = True
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


def identify_sources(
    settings: Settings, images: tuple[str, ...], environ: Mapping[str, str], *, builds: bool = True
) -> Sources:
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
    return Sources(settings, environ, found, builds)


def require_engine(sources: Sources, outputs: Mapping[str, object], session: Aws) -> None:
    """Raises ToolMissingError when an image will have to be built and nothing here can build it.

    `outputs` are the planned ones: before the first apply they name no repository yet, so every image must be built.
    """
    if not sources.builds:
        return
    try:
        described = contract.decode(outputs, root_module="").services
    except ContractError:
        described = ()
    known = {service.name: service.repository_url for service in described}
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
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def origin(self) -> Source | Image:
        return self.sources.services[self.service.name]

    @property
    def tag(self) -> str:
        """The tag under which the image was built, which begins with its commit; empty for one that was given by digest alone."""
        return self.origin.tag if isinstance(self.origin, Source) else self.provenance.image_tag

    @property
    def settings(self) -> ServiceSettings:
        return self.sources.settings.services[self.service.name]


@dataclass(frozen=True)
class Candidate:
    """One service's release before its rollout: what it is to run, and what ECS says of it now.

    `revision` is the one to roll out, None when `wanted` has yet to be registered. `desired_count` is set with the first
    rollout of all, which has nothing to fall back on.
    """

    target: Target
    image: Image
    commit: str
    move: Move
    wanted: TaskDefinition
    revision: Revision | None
    current: Revision
    state: ServiceState
    desired_count: int | None
    has_fallback: bool
    release_id: str
    started_at: datetime
    # A way back, or a rollout that is only followed, runs no pre-deploy task: a migration has no way back.
    runs_pre_deploy: bool = True
    is_way_back: bool = False

    @property
    def name(self) -> str:
        return self.target.service.name


def prepare(target: Target) -> Candidate:
    """The image, built and pushed if it has to be, on Terraform's newest skeleton; no service is touched. Raises OrchError."""
    started_at = datetime.now(UTC)
    image = _ensure_image(target)
    wanted, current, state = _wanted(target, image)
    return assess(target, image, wanted, current, state, started_at=started_at)


def assess(
    target: Target,
    image: Image,
    wanted: TaskDefinition,
    current: Revision,
    state: ServiceState,
    *,
    started_at: datetime,
) -> Candidate:
    """What has to happen to a service so that it runs the wanted definition, given what it is on. Pure, but for a new id."""
    move = next_move(wanted, current, state)
    # A rollout under way is that of the release that its revision names.
    named = current.tags.get(revisions.RELEASE_TAG, "") if move is Move.FOLLOW else ""
    return Candidate(
        target=target,
        image=image,
        commit=target.tag.partition("-")[0],
        move=move,
        wanted=wanted,
        revision=None if move is Move.UPDATE else current,
        current=current,
        state=state,
        # Terraform creates the service with no task; from then on its count is its own, or autoscaling's.
        desired_count=None if current.is_registered_by_orch else target.service.desired_count,
        has_fallback=current.arn != target.service.skeleton_arn,
        release_id=named or new_release_id(started_at),
        started_at=started_at,
        runs_pre_deploy=move in {Move.UPDATE, Move.RETRY},
    )


def without_build(target: Target) -> Target | None:
    """The target with an image that is there: that of the checkout if its registry has it, else the one that runs. Only where
    images come by promotion; elsewhere it stays as it is. None when nothing was released yet. Raises AwsError.
    """
    origin, service, ecs = target.origin, target.service, target.session.ecs
    if target.sources.builds or isinstance(origin, Image):
        return target
    if target.sources.digest(target.session, service.repository_url, origin.tag) is not None:
        return target
    state = services.describe(ecs, service.cluster, service.service)
    running = revisions.describe(ecs, state.task_definition)
    if not running.is_registered_by_orch:
        return None
    image = ecr.parse_reference(running.definition.image_of(service.container))
    environment, separator, release_id = running.tags.get(revisions.PROMOTED_FROM_TAG, "").partition("/")
    return replace(
        target,
        sources=replace(target.sources, services={**target.sources.services, service.name: image}),
        provenance=replace(
            target.provenance,
            image_tag=running.tags.get(revisions.COMMIT_TAG, ""),
            promoted_from=PromotedFrom(environment, release_id) if separator else None,
        ),
    )


def register(candidate: Candidate) -> Revision:
    """The revision to roll out, registered if it has to be, and named after this release. Raises AwsError."""
    target, revision, release_id = candidate.target, candidate.revision, candidate.release_id
    if revision is None:
        revision = _ensure_revision(target, candidate.wanted, _tags(target, release_id, candidate.image))
    if candidate.move is not Move.FOLLOW and revision.tags.get(revisions.RELEASE_TAG) != release_id:
        revisions.name_release(target.session.ecs, revision.arn, release_id)
    return revision


def new_release_id(started_at: datetime) -> str:
    """An id that sorts by time."""
    return f"{started_at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def conclude(candidate: Candidate, ended: Rollout, *, actor: str = "", is_recorded: bool = False) -> Release:
    """The release of a rollout that ended: recorded, unless nothing was rolled out or that `is_recorded` already, and reported.
    `actor` is who released it, where that was not the holder of these credentials.
    """
    target = candidate.target
    is_recorded = is_recorded or ended.verdict in {Verdict.NO_CHANGE, Verdict.NOT_STARTED}
    done = Release(
        id=candidate.release_id,
        environment=target.environment.name,
        service=target.service.name,
        account_id=target.agreed.account_id,
        region=target.agreed.region,
        image=candidate.image,
        commit=candidate.commit,
        revision_arn=ended.revision_arn,
        verdict=ended.verdict,
        reason=ended.reason,
        running_count=ended.running_count,
        desired_count=ended.desired_count,
        actor=actor or target.session.identity().arn,
        started_at=candidate.started_at.isoformat(timespec="seconds"),
        durations_s={name: round(value, 3) for name, value in target.steps.durations_s.items()},
        overrides=target.overrides,
        replaced=None if is_recorded else _replaced(candidate, ended.revision_arn),
        plan=target.provenance.plan,
        gates=target.provenance.gates,
        run_url=provenance.run_url(target.sources.environ),
        committed_at=provenance.committed_at(
            candidate.commit, target.sources.settings.root, target.sources.environ
        ),
        promoted_from=target.provenance.promoted_from,
        strategy=ended.strategy,
    )
    if not is_recorded:
        # Named after the deployment, so that a run that is repeated after a crash writes the same record, and not another.
        at = datetime.fromisoformat(ended.began_at) if ended.began_at else candidate.started_at
        _record(target, done, at)
    target.steps.emit(Released(done))
    return done


def _replaced(candidate: Candidate, revision_arn: str) -> Replaced | None:
    return provenance.replaced(
        candidate.state,
        revision_arn,
        candidate.current,
        is_followed=candidate.move is Move.FOLLOW,
        service=candidate.target.service,
        session=candidate.target.session,
    )


def was_released_before(candidate: Candidate) -> bool:
    """Whether what was followed is no release of its own: its revision had been released, and how is on record."""
    current = candidate.current
    if candidate.move is not Move.FOLLOW or not current.has_succeeded:
        return False
    return is_on_record(newest_records(candidate.target), current)


def newest_records(target: Target) -> tuple[ReleaseRecord, ...]:
    """The service's newest records; none where they cannot be read: no verdict hangs on them."""
    environment = target.environment
    found = store.releases(
        target.session.s3,
        environment.state_bucket,
        environment=environment.name,
        account_id=environment.account_id,
        service=target.service.name,
    )
    try:
        return tuple(itertools.islice(found, _RECORDS_READ))
    except AwsError:
        return ()


def is_on_record(records: Sequence[ReleaseRecord], revision: Revision) -> bool:
    """Whether one of the records says how the release ended that the revision names. Pure."""
    named = revision.tags.get(revisions.RELEASE_TAG)
    return any(record.release.id == named and record.release.verdict.is_final for record in records)


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
        state = services.describe(ecs, service.cluster, service.service)
        is_new = state.task_definition == skeleton.arn
        current = skeleton if is_new else revisions.describe(ecs, state.task_definition)
        wanted = render(target, skeleton, image)
        step.detail = f"from skeleton {short_arn(skeleton.arn)}, service on {short_arn(current.arn)}"
    return wanted, current, state


def render(target: Target, skeleton: Revision, image: Image) -> TaskDefinition:
    """The skeleton with the service's overlay and that image. Raises SettingsError, ContractError."""
    return task_definition.render(
        skeleton.definition,
        container=target.service.container,
        image=image,
        overlay=_overlay(target, image),
    )


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


def unchanged(candidate: Candidate) -> Rollout:
    """The verdict on a service that runs what it should. What is odd about it all the same is told."""
    name, state = candidate.name, candidate.state
    emit = candidate.target.steps.emit
    if state.desired == 0:
        emit(Warned(f"the desired count of {name} is 0: nothing runs"))
    elif state.running < state.desired:
        emit(Warned(f"{state.running} of {state.desired} tasks of {name} run at the moment"))
    return untouched(candidate, Verdict.NO_CHANGE, "this image and definition run already")


def untouched(candidate: Candidate, verdict: Verdict, reason: str) -> Rollout:
    """A verdict on a service that goes on as it was."""
    primary = candidate.state.primary
    return Rollout(
        service=candidate.target.service.service,
        verdict=verdict,
        reason=reason,
        revision_arn=candidate.current.arn,
        deployment_id=primary.id if primary else "",
        running_count=candidate.state.running,
        desired_count=candidate.state.desired,
    )


def _ensure_revision(target: Target, wanted: TaskDefinition, tags: Mapping[str, str]) -> Revision:
    """A revision of the wanted definition; registered unless the newest one is it already: left by a run that died
    before its rollout, or rolled back.
    """
    family = target.service.task_family
    with target.steps.step("register", f"Register a revision of {family}") as step:
        newest = revisions.describe(target.session.ecs, family)
        step.skipped = task_definition.is_equal(newest.definition, wanted)
        revision = newest if step.skipped else revisions.register(target.session, wanted, tags)
        step.detail = short_arn(revision.arn)
    return revision


def _record(target: Target, done: Release, at: datetime) -> None:
    """Writes the release record, and then marks a released revision: without the mark, the next run looks again and records
    again. The verdict stands whether or not this works.
    """
    now = datetime.now(UTC)
    try:
        store.put_release(target.session.s3, target.environment.state_bucket, done, at=at)
        if done.verdict is Verdict.SUCCEEDED:
            revisions.mark_released(target.session.ecs, done.revision_arn, now.isoformat(timespec="seconds"))
    except AwsError as error:
        target.steps.emit(Warned(f"the release could not be recorded: {error.message}", error.hint))


def _tags(target: Target, release_id: str, image: Image) -> dict[str, str]:
    tags = {
        revisions.RELEASE_TAG: release_id,
        # The policy of the deploy role lets it register under these two alone (permissions.py).
        "orch:project": target.sources.settings.project,
        "orch:environment": target.environment.name,
        "orch:digest": image.digest,
        BY_TAG: target.session.identity().arn[-_TAG_LENGTH:],
    }
    if target.tag:
        tags[revisions.COMMIT_TAG] = target.tag
    if (carried := target.provenance.promoted_from) is not None:
        tags[revisions.PROMOTED_FROM_TAG] = f"{carried.environment}/{carried.release_id}"
    return tags


def short_arn(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


def _short(digest: str) -> str:
    return digest[: len("sha256:") + 12]
