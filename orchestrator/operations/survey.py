"""What both ends of a promotion are like, and what the gate between them says of each service.

    read_ends    two environments              → Ends        their contracts, by `terraform output`, side by side
    survey       Ends, what was asked for      → Surveyed    one a service: what the source runs, what the target is like, the gate

May touch: read-only calls of ECS, ECR and the stores, GitHub's checks of a commit, Git; Terraform's plan of the target where its
settings ask for an empty one. Nothing is built, copied, registered or changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orchestrator import git, promotion, store
from orchestrator.ecs import revisions, running
from orchestrator.errors import (
    AwsError,
    GitHubError,
    ImageError,
    OrchError,
    PreconditionError,
    SettingsError,
    ToolMissingError,
)
from orchestrator.github import checks, context
from orchestrator.image import ecr
from orchestrator.lock import held
from orchestrator.model import Standing, Verdict
from orchestrator.operations import contract, release, status
from orchestrator.operations import plan as planning
from orchestrator.operations.look import read_services
from orchestrator.operations.side_by_side import side_by_side
from orchestrator.permissions import Role
from orchestrator.promotion import Destination, Origin, Rules, Unasked
from orchestrator.terraform import gates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.ecs.revisions import Revision
    from orchestrator.ecs.services import ServiceState
    from orchestrator.model import (
        Contract,
        Image,
        Lock,
        Override,
        ReleaseRecord,
        ServiceContract,
        ServiceStatus,
    )
    from orchestrator.operations.plan_all import Ready
    from orchestrator.promotion import Gate
    from orchestrator.settings import Environment, Settings

_RECORDS_READ = 500


@dataclass(frozen=True)
class Asked:
    """What the user asked for: the services, all of the target when empty; one release of the source by its id, in place of what
    runs; to leave the path; gates to open knowingly.
    """

    names: tuple[str, ...] = ()
    release_id: str = ""
    skips_path: bool = False
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True)
class Ends:
    """Both environments, and what Terraform says of them."""

    settings: Settings
    source: Ready
    target: Ready
    source_contract: Contract
    target_contract: Contract


@dataclass(frozen=True)
class Surveyed:
    """One service at both ends; a contract is None where that end lacks it."""

    name: str
    origin: Origin
    destination: Destination
    gate: Gate
    source: ServiceContract | None
    target: ServiceContract | None


def read_ends(settings: Settings, source: Ready, target: Ready) -> Ends:
    """The contracts of both. Raises PreconditionError when they are one environment, OrchError."""
    if source.environment.name == target.environment.name:
        raise PreconditionError(
            f"--from and --to both name `{source.environment.name}`",
            hint="a promotion carries a release from one environment to another",
        )

    def read(one: Ready) -> Contract:
        return contract.read(settings, one.environment, one.session, one.environ, one.steps)

    agreed = side_by_side(read, [source, target])
    return Ends(settings, source, target, agreed[0], agreed[1])


def survey(ends: Ends, asked: Asked, *, is_locked_by_us: bool = False) -> tuple[Surveyed, ...]:
    """Every service that was asked for, in the order of the target's contract. Raises SettingsError for one that orch.toml lacks,
    PreconditionError for a release that the source does not have, AwsError.
    """
    _require_known(ends, asked)
    source, target = ends.source, ends.target
    names = asked.names or tuple(service.name for service in ends.target_contract.services)
    with target.steps.step(
        "gate", f"Ask what may go from {source.environment.name} to {target.environment.name}"
    ) as step:
        origins, now = _origins(ends, names, asked)
        destinations = _destinations(ends, names, origins, now, is_locked_by_us=is_locked_by_us)
        found = tuple(_judged(ends, asked, origins[name], destinations[name], now) for name in names)
        step.detail = f"{sum(one.gate.is_open for one in found)} of {len(found)} open"
    return found


def _require_known(ends: Ends, asked: Asked) -> None:
    known = ends.settings.services
    for name in asked.names:
        if name not in known:
            raise SettingsError(
                f"--service: there is no service `{name}`", hint=f"choose one of: {', '.join(known)}"
            )
    for override in asked.overrides:
        if override.rule not in promotion.RULES or override.rule == "path":
            raise SettingsError(
                f"--override {override.rule}: a promotion has no such gate, or none that may be opened",
                hint=f"choose one of: {', '.join(rule for rule in promotion.RULES if rule != 'path')}",
            )
        if not override.reason.strip():
            raise SettingsError(
                f"--override {override.rule} needs a reason", hint="say why with --reason; it goes on record"
            )
    if asked.overrides and not ends.target.environment.gates.allow_overrides:
        raise SettingsError(
            f"environment `{ends.target.environment.name}` allows no overrides",
            hint="see allow_overrides in its gates in orch.toml",
        )


def _judged(ends: Ends, asked: Asked, origin: Origin, destination: Destination, now: datetime) -> Surveyed:
    gate = promotion.judge(
        origin,
        destination,
        _rules(ends, asked, origin),
        now=now,
        overrides=asked.overrides,
    )
    here, there = _by_name(ends.source_contract), _by_name(ends.target_contract)
    return Surveyed(
        origin.service, origin, destination, gate, here.get(origin.service), there.get(origin.service)
    )


def _by_name(agreed: Contract) -> dict[str, ServiceContract]:
    return {service.name: service for service in agreed.services}


# --- the source


def _origins(ends: Ends, names: tuple[str, ...], asked: Asked) -> tuple[dict[str, Origin], datetime]:
    """What the source runs of each service, and the time by AWS's clock."""
    one, known = ends.source, _by_name(ends.source_contract)
    session = one.session.acting_as(Role.DEPLOY)
    chosen = [known[name] for name in names if name in known]
    states = read_services(session.ecs, chosen) if chosen else {}
    found, times = {}, []
    for name in names:
        service, state = known.get(name), states.get(name)
        if service is None:
            found[name] = Origin(one.environment.name, name, is_there=False)
            continue
        if asked.release_id:
            found[name] = _named(one, service, asked.release_id)
            continue
        ran = running.describe(session.ecs, service.cluster, service.service)
        if ran is not None and ran.answered_at is not None:
            times.append(ran.answered_at)
        revision = revisions.describe(session.ecs, state.task_definition) if state is not None else None
        found[name] = _running(one, service, state, revision, ran)
    return found, max(times, default=datetime.now(UTC))


def _running(
    one: Ready,
    service: ServiceContract,
    state: ServiceState | None,
    revision: Revision | None,
    ran: running.Running | None,
) -> Origin:
    stands = status.assess(one.environment, service, state, revision, None)
    image = _image_of(revision, service)
    is_same = ran is not None and revision is not None and ran.task_definition == revision.arn
    origin = Origin(
        one.environment.name,
        service.name,
        is_there=True,
        standing=_standing(stands, service),
        revision=stands.revision,
        repository=image.repository if image else "",
        digest=image.digest if image else "",
        running_digest=ran.digests.get(service.container, "") if ran is not None and is_same else "",
        release_id=stands.release_id,
        commit=stands.commit.partition("-")[0],
        tag=stands.commit,
        since=ran.finished_at if ran is not None and is_same else _time(stands.released_at),
        running_count=stands.running_count,
        desired_count=stands.desired_count,
        rolled_back=release.short_arn(ran.rolled_back) if ran is not None and is_same else "",
    )
    return replace(origin, is_in_registry=_is_in_registry(one, image))


def _standing(stands: ServiceStatus, service: ServiceContract) -> Standing:
    """How the service stands; what neither orch nor Terraform registered was put there by hand."""
    is_by_hand = stands.standing is Standing.NEW and stands.revision_arn != service.skeleton_arn
    return Standing.UNRECORDED if is_by_hand else stands.standing


def _named(one: Ready, service: ServiceContract, release_id: str) -> Origin:
    """One release of the source, as its record has it."""
    until: datetime | None = None
    for record in _records(one, service):
        done = record.release
        if done.id != release_id:
            if done.verdict is Verdict.SUCCEEDED:
                until = _time(record.recorded_at)
            continue
        session = one.session.acting_as(Role.DEPLOY)
        revision = revisions.describe(session.ecs, done.revision_arn)
        has_succeeded = done.verdict is Verdict.SUCCEEDED
        origin = Origin(
            one.environment.name,
            service.name,
            is_there=True,
            standing=Standing.RELEASED if has_succeeded else Standing.FAILED,
            revision=done.revision,
            repository=done.image.repository,
            digest=done.image.digest,
            release_id=done.id,
            commit=done.commit.partition("-")[0],
            tag=revision.tags.get(revisions.COMMIT_TAG, ""),
            since=_time(record.recorded_at),
            until=until,
            is_named=True,
        )
        return replace(origin, is_in_registry=_is_in_registry(one, done.image))
    raise PreconditionError(
        f"{one.environment.name} has no release {release_id} of {service.name} among its newest {_RECORDS_READ}",
        hint=f"`orch history --env {one.environment.name} --service {service.name}` lists them",
    )


def _records(one: Ready, service: ServiceContract) -> tuple[ReleaseRecord, ...]:
    environment = one.environment
    return store.newest(
        one.session.acting_as(Role.DEPLOY).s3,
        environment.state_bucket,
        environment=environment.name,
        account_id=environment.account_id,
        limit=_RECORDS_READ,
        service=service.name,
    )


def _image_of(revision: Revision | None, service: ServiceContract) -> Image | None:
    """The image of a revision that orch registered; None where it names none by its digest."""
    if revision is None or not revision.is_registered_by_orch:
        return None
    try:
        return ecr.parse_reference(revision.definition.image_of(service.container))
    except (ImageError, LookupError):
        return None


def _is_in_registry(one: Ready, image: Image | None) -> bool | Unasked:
    if image is None:
        return Unasked("the image is not known by its digest")
    try:
        return ecr.has_digest(one.session.acting_as(Role.DEPLOY).ecr, image.repository, image.digest)
    except AwsError as error:
        return Unasked(error.message)


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


# --- the target


def _destinations(
    ends: Ends, names: tuple[str, ...], origins: Mapping[str, Origin], now: datetime, *, is_locked_by_us: bool
) -> dict[str, Destination]:
    one, known = ends.target, _by_name(ends.target_contract)
    session = one.session.acting_as(Role.DEPLOY)
    chosen = [known[name] for name in names if name in known]
    states = read_services(session.ecs, chosen) if chosen else {}
    shared = _Shared(
        None if is_locked_by_us else _lock(one),
        gates.freezes(one.environment, now),
        _pending_changes(ends) if one.environment.promotion.require_empty_plan else 0,
    )
    return {
        name: _destination(one, known[name], states.get(name), origins[name].tag, shared)
        if name in known
        else Destination(one.environment.name, name, is_there=False)
        for name in names
    }


@dataclass(frozen=True)
class _Shared:
    """What holds for all services of the target."""

    lock: Lock | None = None
    freezes: tuple[tuple[str, datetime], ...] = ()
    pending_changes: int | Unasked = 0


def _destination(
    one: Ready, service: ServiceContract, state: ServiceState | None, tag: str, shared: _Shared
) -> Destination:
    session = one.session.acting_as(Role.DEPLOY)
    revision = revisions.describe(session.ecs, state.task_definition) if state is not None else None
    stands = status.assess(one.environment, service, state, revision, None)
    image = _image_of(revision, service)
    return Destination(
        one.environment.name,
        service.name,
        is_there=True,
        standing=_standing(stands, service),
        revision=stands.revision,
        digest=image.digest if image else "",
        commit=stands.commit.partition("-")[0],
        repository=service.repository_url,
        tagged_digest=ecr.digest_of_tag(session.ecr, service.repository_url, tag) if tag else None,
        lock=shared.lock,
        freezes=shared.freezes,
        pending_changes=shared.pending_changes,
    )


def _lock(one: Ready) -> Lock | None:
    environment = one.environment
    s3 = one.session.acting_as(Role.DEPLOY).s3
    found = held.read(held.Place(s3, environment.state_bucket, environment.account_id, environment.name))
    return found.lock if found is not None and not found.lock.is_expired else None


def _pending_changes(ends: Ends) -> int | Unasked:
    one = ends.target
    try:
        prepared = planning.prepare(ends.settings, one.environment, one.session, one.environ, one.steps)
        saved = planning.run(prepared, one.environment, one.steps)
    except OrchError as error:
        return Unasked(error.message)
    try:
        return len(saved.plan.changes)
    finally:
        saved.discard()


# --- the rules


def _rules(ends: Ends, asked: Asked, origin: Origin) -> Rules:
    environment = ends.target.environment
    branches = ends.settings.promotion_branches(environment)
    return Rules(
        promotes_from=environment.promotes_from,
        soak=timedelta(minutes=environment.promotion.soak_minutes),
        branches=branches,
        on_branches=_on_branches(ends, origin.commit, branches),
        checks=_checks(ends, environment, origin.commit),
        asks_for_plan=environment.promotion.require_empty_plan,
        skips_path=asked.skips_path,
    )


def _on_branches(ends: Ends, commit: str, branches: tuple[str, ...]) -> dict[str, bool] | Unasked | None:
    if not branches or not commit:
        return None
    root, environ = ends.settings.root, ends.target.environ
    try:
        if not git.has_commit(commit, root, environ):
            return Unasked("this checkout does not have the commit")
        found = git.branches_with(commit, branches, root, environ)
    except ToolMissingError as error:
        return Unasked(error.message)
    return found or Unasked(f"this checkout knows no branch {' or '.join(branches)}")


def _checks(ends: Ends, environment: Environment, commit: str) -> dict[str, str] | Unasked | None:
    names = environment.promotion.required_checks
    if not names:
        return None
    if not commit:
        return Unasked("the release names no commit")
    github = ends.settings.github
    try:
        where = context.from_environment(
            ends.target.environ, repository=github.full_name if github is not None else ""
        )
        if github is not None and not ends.target.environ.get("GITHUB_API_URL"):
            where = replace(where, api_url=github.api_url)
        return checks.conclusions(context.connect(where), commit, names)
    except (GitHubError, SettingsError) as error:
        return Unasked(error.message)
