"""The lock of an environment: held for as long as a run changes it, and `orch lock`, `orch unlock`, `orch locks`.

    hold       a verb that changes things   → Held       from before it plans until it is done, by whatever exception
    lock       a person's reason            → Lock       refuses every such verb, until it is unlocked or its time is over
    unlock     an environment               → Unlocked   one's own, or a dead one; anything else only by force, and asked for
    locks      an environment               → its locks  orch's and Terraform's own

May touch: the one object of that environment in the state bucket, by conditional requests; Git, read-only. A second run of each
changes nothing more. `plan`, `status` and `drift` change nothing, and take no lock.
"""

from __future__ import annotations

import os
import pwd
import secrets
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator import aws, git
from orchestrator.errors import (
    AwsError,
    DeclinedError,
    GitHubError,
    OrchError,
    PreconditionError,
    SettingsError,
    ToolMissingError,
)
from orchestrator.github import context
from orchestrator.lock import held, record
from orchestrator.model import Lock, LockKind, Unlocked
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.lock.held import Held, Place
    from orchestrator.settings import Environment, Settings


@dataclass(frozen=True)
class Asked:
    """The locks of one environment, or the error that kept orch from reading them."""

    environment: str
    locks: tuple[Lock, ...] = ()
    error: OrchError | None = None


@contextmanager
def hold(
    settings: Settings,
    environment: Environment,
    command: str,
    *,
    session: Aws,
    role: Role,
    environ: Mapping[str, str],
    steps: Steps,
) -> Iterator[Held]:
    """Holds the environment's lock during the block; `command` is the verb, `role` the pipeline role whose work it is.

    Without a state bucket there is nothing to protect yet, and Terraform will say what to do. Raises EnvironmentLockedError that
    names the holder, PreconditionError for credentials of another account, AwsError.
    """
    place = _place(environment, session, role)
    wanted: Held | None = None
    try:
        with steps.step("lock", f"Lock {environment.name}") as step:
            owner = _owner(environment, session.acting_as(role))
            lock = _lock(settings, environment, command, owner, environ, kind=LockKind.RUN)
            wanted = held.Held(place, lock, steps.emit)
            with _explained(environment):
                step.skipped = not wanted.acquire(wait_s=settings.lock.timeout_s)
            step.detail = f"there is no bucket {environment.state_bucket} yet" if step.skipped else ""
        wanted.keep()
        yield wanted
    finally:
        if wanted is not None:
            wanted.release()


def lock(
    settings: Settings,
    environment: Environment,
    *,
    reason: str,
    lifetime_s: float | None,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
) -> Lock:
    """Locks the environment for a person: nothing is applied, rolled back or destroyed until it is unlocked, or until that
    time is over. One's own lock is replaced. Raises EnvironmentLockedError, PreconditionError, SettingsError, AwsError.
    """
    if not reason.strip():
        raise SettingsError(
            "--reason says nothing", hint="say why, for whoever is refused: --reason 'the database moves'"
        )
    place = _place(environment, session, Role.DEPLOY)
    wanted = _lock(
        settings,
        environment,
        "lock",
        _owner(environment, session),
        environ,
        kind=LockKind.MANUAL,
        lifetime_s=lifetime_s,
        reason=record.plain(reason.strip()),
    )
    with _explained(environment):
        is_locked = held.Held(place, wanted, steps.emit).acquire(
            wait_s=settings.lock.timeout_s, may_replace=lambda found: _is_own(found, wanted)
        )
        found = held.read(place)
    if not is_locked or found is None:
        raise PreconditionError(
            f"there is no state bucket {environment.state_bucket}, and nothing to lock",
            hint=f"`orch bootstrap --env {environment.name}` creates it",
        )
    return found.lock


def unlock(
    settings: Settings,
    environment: Environment,
    *,
    force: bool,
    ask: Callable[[str], bool],
    session: Aws,
    environ: Mapping[str, str],
) -> Unlocked:
    """Removes the environment's lock: one's own of `orch lock`, or one that is dead. The lock of a run that may be alive, or of
    somebody else, only with `force`, after `ask` was answered with yes.

    Raises EnvironmentLockedError, DeclinedError, PreconditionError, AwsError.
    """
    place = _place(environment, session, Role.DEPLOY)
    ours = _lock(settings, environment, "unlock", _owner(environment, session), environ, kind=LockKind.MANUAL)
    with _explained(environment):
        found = held.read(place)
        if found is None:
            return Unlocked(environment.name, None)
        if not found.lock.is_expired and not _is_own(found.lock, ours):
            if not force:
                raise held.refusal(found.lock, place)
            if not ask(_question(found.lock)):
                raise DeclinedError("the lock stays; nothing was changed")
        held.remove(place, found.lock.id)
    return Unlocked(environment.name, found.lock)


def locks(environment: Environment, session: Aws) -> Asked:
    """Who holds the environment's lock, and who Terraform's lock of its state. Raises nothing: an error is part of the answer."""
    place = _place(environment, session, Role.PLAN)
    try:
        _owner(environment, session.acting_as(Role.PLAN))
        with _explained(environment):
            found = held.read(place)
            of_state = held.read_terraform(place)
    except OrchError as error:
        return Asked(environment.name, error=error)
    listed = (found.lock if found is not None else None, of_state)
    return Asked(environment.name, tuple(one for one in listed if one is not None))


def _question(lock: Lock) -> str:
    danger = {
        LockKind.RUN: " If that run is alive, another one may change the environment beside it.",
        LockKind.MANUAL: " Others may then change the environment again.",
    }.get(lock.kind, "")
    run = f" ({lock.run_url})" if lock.run_url else ""
    return f"{lock.environment} is locked: {lock.line}{run}.{danger} Remove that lock?"


def _place(environment: Environment, session: Aws, role: Role) -> Place:
    return held.Place(
        session.acting_as(role).s3, environment.state_bucket, environment.account_id, environment.name
    )


def _owner(environment: Environment, session: Aws) -> str:
    """The ARN of whose credentials these are. Raises PreconditionError when they are of another account, AwsError."""
    identity = session.identity()
    aws.require_account(identity, account_id=environment.account_id, environment=environment.name)
    return identity.arn


def _is_own(found: Lock, ours: Lock) -> bool:
    """Whether it is a lock that this same person made. Roles are shared, so the ARN alone does not tell."""
    return found.kind is LockKind.MANUAL and (found.owner, found.person) == (ours.owner, ours.person)


def _lock(
    settings: Settings,
    environment: Environment,
    command: str,
    owner: str,
    environ: Mapping[str, str],
    *,
    kind: LockKind,
    lifetime_s: float | None = held.LIFETIME_S,
    reason: str = "",
) -> Lock:
    host = socket.gethostname()
    is_actions = environ.get("GITHUB_ACTIONS") == "true"
    return Lock(
        environment.name,
        kind,
        secrets.token_hex(8),
        lifetime_s,
        owner=owner,
        # A runner's user and host tell nobody anything.
        person=environ.get("GITHUB_ACTOR", "") if is_actions else f"{_user(environ)}@{host}",
        command=command,
        run_url=_run_url(environ) if is_actions else "",
        commit=_commit(settings, environ),
        host=host,
        pid=os.getpid(),
        reason=reason,
        acquired_at=record.shown_time(datetime.now(UTC)),
    )


def _user(environ: Mapping[str, str]) -> str:
    name = environ.get("USER") or environ.get("LOGNAME")
    if name:
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # As in a container that runs as a user of its own.
        return str(os.getuid())


def _run_url(environ: Mapping[str, str]) -> str:
    try:
        return context.from_environment(environ).run_url
    except GitHubError:
        # Its event file is not here, which nothing about a lock needs.
        return ""


def _commit(settings: Settings, environ: Mapping[str, str]) -> str:
    """The checkout's commit; "" where Git tells none."""
    try:
        done = git.run(["rev-parse", "--verify", "HEAD"], settings.root, environ)
    except ToolMissingError:
        return ""
    return done.stdout.strip() if done.code == 0 else ""


@contextmanager
def _explained(environment: Environment) -> Iterator[None]:
    """The roles of an older `orch bootstrap` know of no lock: what then is to be done is told."""
    try:
        yield
    except AwsError as error:
        if error.code in {"AccessDenied", "403"}:
            error.hint = (
                f"{error.hint}: on orch/locks/{environment.name}.json of the state bucket; roles that an earlier version"
                f" made get it by `orch bootstrap --env {environment.name}`"
            )
        raise
