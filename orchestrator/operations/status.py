"""`orch status`: what each service of an environment runs, or of all environments side by side, as ECS says it now.

Comes in: environments. Goes out: an EnvironmentStatus each: a ServiceStatus for each service, and who holds the lock. May touch:
read-only calls of ECS, the states, and in the store the locks and the newest release records, which are only shown.
One DescribeServices for up to ten services, one DescribeTaskDefinition for each; environments in threads of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator import store
from orchestrator.ecs import revisions
from orchestrator.errors import AwsError, NotAppliedError, OrchError
from orchestrator.events import Warned
from orchestrator.lock import held
from orchestrator.model import ServiceStatus, Standing
from orchestrator.operations import contract
from orchestrator.operations.look import read_services
from orchestrator.operations.side_by_side import side_by_side
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.ecs.revisions import Revision
    from orchestrator.ecs.services import ServiceState
    from orchestrator.model import Contract, Lock, ReleaseRecord, ServiceContract
    from orchestrator.operations.plan_all import Ready
    from orchestrator.settings import Environment, Settings


@dataclass(frozen=True)
class EnvironmentStatus:
    """How one environment stands, or the error that kept it from being known; `note` says why it has no services."""

    environment: str
    services: tuple[ServiceStatus, ...] = ()
    lock: Lock | None = None
    error: OrchError | None = None
    note: str = ""

    @property
    def is_healthy(self) -> bool:
        return self.error is None and all(service.is_healthy for service in self.services)


def board(settings: Settings, ready: Sequence[Ready]) -> tuple[EnvironmentStatus, ...]:
    """Every environment, in the given order; one that cannot be read has its error, and hides no other."""
    return tuple(side_by_side(lambda one: _row(settings, one), ready))


def status(settings: Settings, one: Ready) -> EnvironmentStatus:
    """One environment; its services in the order of their names. Raises OrchError."""
    return status_of(one, contract.read(settings, one.environment, one.session, one.environ, one.steps))


def status_of(one: Ready, agreed: Contract) -> EnvironmentStatus:
    """The same, with the contract at hand. Raises OrchError."""
    reader = one.session.acting_as(Role.DEPLOY)
    with one.steps.step("status", "Ask ECS"):
        states = read_services(reader.ecs, agreed.services)
        running = {
            service.name: revisions.describe(reader.ecs, states[service.name].task_definition)
            for service in agreed.services
            if service.name in states
        }
    last, lock = _from_store(one, [service.name for service in agreed.services])
    return EnvironmentStatus(
        one.environment.name,
        tuple(
            assess(
                one.environment,
                service,
                states.get(service.name),
                running.get(service.name),
                last.get(service.name),
            )
            for service in agreed.services
        ),
        lock,
    )


def assess(
    environment: Environment,
    service: ServiceContract,
    state: ServiceState | None,
    revision: Revision | None,
    last: ReleaseRecord | None,
) -> ServiceStatus:
    """How a service stands, from what ECS says of it and of the revision it is on, and its newest release. Pure."""
    is_released = revision is not None and revision.is_registered_by_orch
    tags: Mapping[str, str] = revision.tags if revision is not None else {}
    primary = state.primary if state is not None else None
    return ServiceStatus(
        environment=environment.name,
        service=service.name,
        revision_arn=revision.arn if revision is not None else "",
        image=revision.definition.image_of(service.container) if revision is not None and is_released else "",
        deployment_state=primary.rollout_state if primary else "",
        running_count=state.running if state is not None else 0,
        desired_count=state.desired if state is not None else 0,
        release_id=tags.get(revisions.RELEASE_TAG, ""),
        commit=tags.get(revisions.COMMIT_TAG, ""),
        released_at=tags.get(revisions.RELEASED_AT_TAG, ""),
        standing=_standing(state, revision),
        declared_count=service.desired_count,
        last_verdict=last.release.verdict if last is not None else None,
        last_reason=last.release.reason if last is not None else "",
        last_at=last.recorded_at if last is not None else "",
    )


def _standing(state: ServiceState | None, revision: Revision | None) -> Standing:
    if state is None or revision is None:
        return Standing.GONE
    primary = state.primary
    if primary is not None and primary.rollout_state == "FAILED":
        return Standing.FAILED
    if primary is not None and primary.rollout_state == "IN_PROGRESS" and state.desired:
        # The deployment that failed may have left the list already.
        is_back = "rolling back" in primary.rollout_state_reason or any(
            other.rollout_state == "FAILED" for other in state.deployments
        )
        return Standing.ROLLING_BACK if is_back else Standing.ROLLING_OUT
    if not revision.is_registered_by_orch:
        return Standing.NEW
    return Standing.RELEASED if revision.has_succeeded else Standing.UNRECORDED


def _row(settings: Settings, one: Ready) -> EnvironmentStatus:
    try:
        return status(settings, one)
    except NotAppliedError:
        return EnvironmentStatus(one.environment.name, note="not applied")
    except OrchError as error:
        hint = f"; {error.hint}" if error.hint else ""
        return EnvironmentStatus(
            one.environment.name, error=error, note=f"cannot be read: {error.message}{hint}"
        )


def _from_store(one: Ready, names: Sequence[str]) -> tuple[dict[str, ReleaseRecord], Lock | None]:
    """The newest release of each service, and the lock; or none and a warning: they are not what runs."""
    environment = one.environment
    s3 = one.session.acting_as(Role.DEPLOY).s3
    try:
        last = store.last_releases(
            s3,
            environment.state_bucket,
            environment=environment.name,
            account_id=environment.account_id,
            services=names,
        )
        found = held.read(held.Place(s3, environment.state_bucket, environment.account_id, environment.name))
    except AwsError as error:
        one.steps.emit(
            Warned(
                f"past releases and the lock of {environment.name} are not known: {error.message}", error.hint
            )
        )
        return {}, None
    return last, found.lock if found is not None and not found.lock.is_expired else None
