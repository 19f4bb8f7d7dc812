"""The lock of an environment: one object in the state bucket that keeps two runs from changing the environment at once.

Hides S3's conditional requests, and time. `orch/locks/ENV.json` is created only where there is none (If-None-Match), and is
written again, taken over and deleted only as it was last seen (If-Match with its ETag): of two who try at the same moment, one
succeeds. https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html and .../conditional-deletes.html

A run's lock lives for the lifetime that is written in it, counted from when S3 wrote it last; a thread of the run writes it
again four times in that time. Whether it is dead is judged by one clock, S3's: what an answer says it is now (Date) against when
the object was written (LastModified). No machine's clock is held against another's, and the times that stand in the object are
only shown. A run that was taken for dead, as on a laptop that slept, learns it from its next write, whose ETag no longer fits;
`require_held` writes before each step that changes something. Terraform's own lock of the state is another one, which a run
takes beside this.

The bucket keeps every version for 90 days, as of everything in it: some 2 kB for each minute that a lock is held.
Touches: S3, that one object; Terraform's `.tflock`, read only; a thread for as long as a lock is held.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated
from orchestrator.errors import AwsError, EnvironmentLockedError
from orchestrator.events import Warned
from orchestrator.lock import record
from orchestrator.model import LockKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_s3 import S3Client

    from orchestrator.events import Emit
    from orchestrator.model import Lock

LIFETIME_S = 120.0
_BEATS_A_LIFETIME = 4
_POLL_S = 2.0
_JOIN_S = 10.0
# Rounds in which somebody else was faster, without any of them holding the lock for as long as it takes to read it.
_MAX_ROUNDS = 20
# "On a 409 failure you should retry": https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
_CONFLICT = frozenset({"ConditionalRequestConflict", "Conflict", "OperationAborted", "409"})
_CONFLICT_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
_NO_OBJECT = frozenset({"NoSuchKey", "NotFound", "404"})
# With If-Match, an object that was deleted meanwhile is a 404.
_NOT_AS_SEEN = _NO_OBJECT | {"PreconditionFailed", "412"}
_NO_BUCKET = "NoSuchBucket"


@dataclass(frozen=True)
class Place:
    """Where the lock of one environment lies."""

    s3: S3Client
    bucket: str
    account_id: str
    environment: str

    @property
    def key(self) -> str:
        return f"orch/locks/{self.environment}.json"

    @property
    def request(self) -> Any:
        """What every request about the lock names."""
        return {"Bucket": self.bucket, "Key": self.key, "ExpectedBucketOwner": self.account_id}

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Found:
    """A lock as it lies in the bucket; `etag` is what a change of it must name."""

    lock: Lock
    etag: str


def read(place: Place) -> Found | None:
    """The environment's lock, dead or alive; None when there is none, nor a bucket. Raises AwsError."""
    try:
        with translated("s3:GetObject"):
            answer = place.s3.get_object(**place.request)
            content = answer["Body"].read()
    except AwsError as error:
        if error.code in _NO_OBJECT or error.code == _NO_BUCKET:
            return None
        raise
    lock = record.decode(content, place.environment)
    now = _date(answer["ResponseMetadata"]["HTTPHeaders"])
    return Found(record.judge(lock, written_at=answer["LastModified"], now=now), answer["ETag"])


def read_terraform(place: Place) -> Lock | None:
    """Terraform's own lock of the environment's state; None when there is none. Raises AwsError.

    It lies beside the state: https://developer.hashicorp.com/terraform/language/backend/s3#state-locking
    """
    request: Any = place.request | {"Key": f"{place.environment}/terraform.tfstate.tflock"}
    try:
        with translated("s3:GetObject"):
            content = place.s3.get_object(**request)["Body"].read()
    except AwsError as error:
        if error.code in _NO_OBJECT or error.code == _NO_BUCKET:
            return None
        raise
    return record.decode_terraform(content, place.environment)


def remove(place: Place, lock_id: str) -> None:
    """Deletes the lock of that id, however often it is renewed meanwhile; one that is gone is no error.

    Raises EnvironmentLockedError when another has taken its place, AwsError.
    """
    for _round in range(_MAX_ROUNDS):
        found = read(place)
        if found is None:
            return
        if found.lock.id != lock_id:
            raise EnvironmentLockedError(
                f"the lock of environment `{place.environment}` changed hands meanwhile: it is now {found.lock.line}",
                hint=f"look again: `orch locks --env {place.environment}`",
            )
        if _delete(place, found.etag):
            return
    raise _restless(place)


class Held:
    """A lock that this process wants, gets, renews and gives back. Threads may share it."""

    def __init__(self, place: Place, wanted: Lock, emit: Emit) -> None:
        self.lock = wanted
        self._place = place
        self._emit = emit
        self._etag = ""
        self._beats = 0
        self._confirmed_at = 0.0  # by the monotonic clock, when the last write that succeeded was begun
        self._is_sent = False  # a write is under way, or nobody knows how it ended
        self._is_lost = False
        self._instead = "somebody else has changed it"
        self._instead_details: tuple[str, ...] = ()
        self._mutex = threading.RLock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_held(self) -> bool:
        return bool(self._etag) and not self._is_lost

    def acquire(self, *, wait_s: float = 0.0, may_replace: Callable[[Lock], bool] | None = None) -> bool:
        """Takes the lock, in place of one that is dead, or that `may_replace` gives leave for, and waits for it that long.

        False: there is no bucket yet, and so nothing to protect. Raises EnvironmentLockedError that names the holder, AwsError.
        """
        try:
            self._acquire(time.monotonic() + wait_s, may_replace or (lambda _lock: False))
        except AwsError as error:
            if error.code != _NO_BUCKET:
                raise
            self._is_sent = False
        return self.is_held

    def keep(self, *, heartbeat_s: float = 0.0) -> None:
        """From now on a thread renews the lock, four times in its lifetime unless told otherwise."""
        lifetime_s = self.lock.lifetime_s or LIFETIME_S
        beat = heartbeat_s or lifetime_s / _BEATS_A_LIFETIME
        self._thread = threading.Thread(
            target=self._keep, args=(beat,), name=f"lock of {self._place.environment}", daemon=True
        )
        self._thread.start()

    def require_held(self) -> None:
        """Renews the lock now; before every step that changes something. Raises EnvironmentLockedError when it is lost."""
        if not self._etag:
            return
        with self._mutex:
            try:
                self.renew()
            except AwsError as error:
                age_s = time.monotonic() - self._confirmed_at
                # As long as it has not run out, nobody took it over, whether S3 answers just now or not.
                if age_s >= (self.lock.lifetime_s or record.MAX_LIFETIME_S):
                    raise EnvironmentLockedError(
                        f"the lock of environment `{self._place.environment}` could not be renewed for {age_s:.0f} s, so"
                        f" another run may have taken it over: {error.message}",
                        hint=f"nothing more is changed; once S3 answers, look: `orch locks --env {self._place.environment}`",
                    ) from error
            if self._is_lost:
                raise self._lost()

    def renew(self) -> None:
        """Writes the lock again, unless it is lost already; whether it now is, `is_held` says. Raises AwsError."""
        with self._mutex:
            if self._is_lost or not self._etag or self._ended.is_set():
                return
            if self._write(IfMatch=self._etag):
                return
            self._is_lost = True
            found = read(self._place)
            if found is None:
                self._instead = "somebody has removed it"
            else:
                self._instead, self._instead_details = f"it is now {found.lock.line}", _details(found.lock)

    def release(self) -> None:
        """Stops renewing, and deletes the lock if it is still ours. Raises nothing: what is left ends by itself, and is told."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                self._tell_left("S3 does not answer")
                return
        if self._is_lost or not (self._etag or self._is_sent):
            return
        try:
            if self._is_sent:
                # Interrupted while it was written: whether it was, the object tells.
                found = read(self._place)
                self._etag = found.etag if found is not None and found.lock.id == self.lock.id else ""
            if self._etag:
                _delete(self._place, self._etag)
        except AwsError as error:
            if self._etag:
                self._tell_left(error.message)
        self._etag, self._is_sent = "", False

    def _acquire(self, deadline: float, may_replace: Callable[[Lock], bool]) -> None:
        rounds, told = 0, ""
        while not self._write(IfNoneMatch="*"):
            found = read(self._place)
            if found is not None and (found.lock.is_expired or may_replace(found.lock)):
                if self._write(IfMatch=found.etag):
                    self._tell_takeover(found.lock)
                    return
                found = None
            if found is None:
                # Given back, or taken over, by somebody who was faster.
                rounds += 1
                if rounds >= _MAX_ROUNDS:
                    raise _restless(self._place)
                continue
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise refusal(found.lock, self._place)
            if told != found.lock.id:
                told = found.lock.id
                self._emit(
                    Warned(f"{_locked(self._place, found.lock)}; waiting for it, {left_s:.0f} s at most")
                )
            rounds = 0
            time.sleep(min(left_s, _POLL_S * random.uniform(0.75, 1.25)))  # noqa: S311 - spreads those who wait

    def _write(self, **condition: str) -> bool:
        """Writes the lock on a condition; False when somebody else was faster. Raises AwsError."""
        started = time.monotonic()
        self._beats += 1
        self._is_sent = True
        etag = _put(
            self._place, record.encode(self.lock, at=datetime.now(UTC), beat=self._beats), **condition
        )
        if not etag:
            # An SDK that got no answer asks again, and is then refused for what it wrote itself.
            found = read(self._place)
            etag = found.etag if found is not None and found.lock.id == self.lock.id else ""
        self._is_sent = False
        if etag:
            self._etag, self._confirmed_at = etag, started
        return bool(etag)

    def _keep(self, heartbeat_s: float) -> None:
        wait_s, is_told = heartbeat_s, False
        while not self._ended.wait(wait_s):
            try:
                self.renew()
            except AwsError as error:
                # Sooner than usual: there is still time to save it.
                wait_s = heartbeat_s / _BEATS_A_LIFETIME
                if not is_told:
                    is_told = True
                    self._emit(
                        Warned(
                            f"the lock of environment `{self._place.environment}` could not be renewed, and is tried again:"
                            f" {error.message}",
                            error.hint,
                        )
                    )
                continue
            wait_s, is_told = heartbeat_s, False
            if self._is_lost:
                self._emit(
                    Warned(self._lost().message, "the run stops before the next step that changes something")
                )
                return

    def _lost(self) -> EnvironmentLockedError:
        return EnvironmentLockedError(
            f"this run has lost the lock of environment `{self._place.environment}`: {self._instead}",
            details=self._instead_details,
            hint=f"nothing more is changed; look at `orch locks --env {self._place.environment}`, then run the same command again",
        )

    def _tell_takeover(self, before: Lock) -> None:
        if not before.is_expired:
            return
        self._emit(
            Warned(
                f"took over the lock of environment `{self._place.environment}`, which was dead since"
                f" {before.expires_at}: {before.line}",
                "what that run was about may be half done; this one goes on from there"
                if before.kind is LockKind.RUN
                else "",
            )
        )

    def _tell_left(self, why: str) -> None:
        lifetime_s = self.lock.lifetime_s
        ends = "stays" if lifetime_s is None else f"ends by itself in {lifetime_s:.0f} s"
        self._emit(
            Warned(
                f"the lock of environment `{self._place.environment}` could not be given back, and {ends}: {why}",
                f"`orch unlock --env {self._place.environment} --force` removes it",
            )
        )


def refusal(lock: Lock, place: Place) -> EnvironmentLockedError:
    """Why an environment cannot be changed now: who holds its lock, and what to do."""
    env = place.environment
    hints = {
        LockKind.RUN: f"wait for it, as `--lock-timeout SECONDS` does; if that run is dead its lock ends by itself at"
        f" {lock.expires_at}, or now by `orch unlock --env {env} --force`",
        LockKind.MANUAL: f"ask them; `orch unlock --env {env}` ends a lock of your own, --force one of somebody else",
        LockKind.UNKNOWN: f"look at {place}; `orch unlock --env {env} --force` removes it",
    }
    return EnvironmentLockedError(_locked(place, lock), details=_details(lock), hint=hints.get(lock.kind, ""))


def _locked(place: Place, lock: Lock) -> str:
    return f"environment `{place.environment}` is locked: {lock.line}"


def _details(lock: Lock) -> tuple[str, ...]:
    is_run = lock.kind is LockKind.RUN
    rows = (
        ("run", lock.run_url),
        ("identity", lock.owner),
        ("process", f"{lock.pid} on {lock.host}" if is_run else ""),
        ("commit", lock.commit if is_run else ""),
        ("renewed", lock.heartbeat_at if is_run else ""),
        (
            "ends",
            f"{lock.expires_at}{', unless it is renewed again' if is_run else ''}" if lock.expires_at else "",
        ),
    )
    return tuple(f"{name:9} {value}" for name, value in rows if value)


def _restless(place: Place) -> EnvironmentLockedError:
    return EnvironmentLockedError(
        f"the lock of environment `{place.environment}` changes hands faster than it can be read",
        hint="run the same command again",
    )


def _date(headers: Mapping[str, str]) -> datetime | None:
    """What S3 says the time is."""
    try:
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None


# --- conditional requests


def _put(place: Place, content: bytes, **condition: str) -> str:
    """Writes the object on a condition and returns its ETag; "" when the condition does not hold. Raises AwsError."""
    request: Any = place.request | {"Body": content, "ContentType": "application/json", **condition}

    def put() -> str:
        with translated("s3:PutObject"):
            return place.s3.put_object(**request)["ETag"]

    return _unless_changed(put)


def _delete(place: Place, etag: str) -> bool:
    """Deletes the object as it was seen; False when it is another by now, or gone. Raises AwsError."""

    def delete() -> str:
        with translated("s3:DeleteObject"):
            place.s3.delete_object(**place.request, IfMatch=etag)
        return etag

    return bool(_unless_changed(delete))


def _unless_changed(change: Callable[[], str]) -> str:
    """What the change returns; "" when its condition does not hold. A conflict with another request is tried again."""
    pauses = iter(_CONFLICT_PAUSES_S)
    while True:
        try:
            return change()
        except AwsError as error:
            if error.code in _NOT_AS_SEEN:
                return ""
            pause_s = next(pauses, None) if error.code in _CONFLICT else None
            if pause_s is None:
                raise
        time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads those who met
