"""A lock as the object that holds it, and what S3's clock says of it. Pure.

What is read was written by whoever may write to the bucket, by an older or newer orch, or by Terraform: nothing here raises for
it, and its texts come out on one line, without what would steer a terminal.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.model import Lock, LockKind

MAX_LIFETIME_S = 366 * 86_400.0
_VERSION = 1
_LONGEST_TEXT = 500
_TEXTS = (
    "owner",
    "person",
    "command",
    "run_url",
    "commit",
    "host",
    "reason",
    "acquired_at",
    "heartbeat_at",
    "expires_at",
)


def encode(lock: Lock, *, at: datetime, beat: int) -> bytes:
    """A lock as its object, written at that time by the writer's clock. `beat` makes each differ from the one before, and so
    its ETag.
    """
    ends_at = at + timedelta(seconds=lock.lifetime_s) if lock.lifetime_s is not None else None
    fields = dataclasses.asdict(lock) | {
        "heartbeat_at": shown_time(at),
        "expires_at": shown_time(ends_at) if ends_at is not None else "",
    }
    del fields["is_expired"]
    return json.dumps({"version": _VERSION, **fields, "beat": beat}, indent=1).encode()


def decode(content: bytes, environment: str) -> Lock:
    """What an object says. One that is no lock of this version is of kind UNKNOWN, and never ends by itself."""
    unknown = Lock(environment, LockKind.UNKNOWN, "", None)
    try:
        fields = json.loads(content)
        kind, lifetime_s, lock_id = LockKind(fields["kind"]), fields["lifetime_s"], plain(fields["id"])
        if fields["version"] != _VERSION or not lock_id or not _is_lifetime(kind, lifetime_s):
            return unknown
        texts: Any = {name: plain(fields.get(name)) for name in _TEXTS}
        pid = fields.get("pid")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return unknown
    return Lock(environment, kind, lock_id, lifetime_s, pid=pid if isinstance(pid, int) else 0, **texts)


def decode_terraform(content: bytes, environment: str) -> Lock:
    """Terraform's lock of the state as a Lock; what is not told is empty.

    The members: https://github.com/hashicorp/terraform/blob/v1.11.0/internal/states/statemgr/locker.go (LockInfo)
    """
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        told = {}
    fields: dict[str, object] = told if isinstance(told, dict) else {}
    try:
        created = shown_time(datetime.fromisoformat(plain(fields.get("Created"))))
    except (ValueError, OverflowError):
        created = ""
    return Lock(
        environment,
        LockKind.TERRAFORM,
        plain(fields.get("ID")),
        None,
        person=plain(fields.get("Who")),
        command=plain(fields.get("Operation")).removeprefix("OperationType").lower(),
        reason=plain(fields.get("Info")),
        acquired_at=created,
    )


def judge(lock: Lock, *, written_at: datetime, now: datetime | None) -> Lock:
    """The lock with what S3's clock says of it: when it was written, when it ends, and whether that is past.

    Both moments come as whole seconds, cut off (HTTP-date, RFC 9110 section 5.6.7), so one second more than the lifetime must
    have gone by. Without `now` nothing has ended.
    """
    lock = replace(lock, heartbeat_at=shown_time(written_at), expires_at="", is_expired=False)
    if lock.lifetime_s is None:
        return lock
    ends_at = written_at + timedelta(seconds=lock.lifetime_s)
    is_expired = now is not None and now >= ends_at + timedelta(seconds=1)
    return replace(lock, expires_at=shown_time(ends_at), is_expired=is_expired)


def shown_time(at: datetime) -> str:
    """A moment as a lock says it: `2026-07-01 10:22:05 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def plain(value: object) -> str:
    """A text that somebody else wrote, on one line, without what would steer a terminal, and not endless; "" for no text."""
    if not isinstance(value, str):
        return ""
    cut = value if len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]}…"
    return "".join(character if character.isprintable() else "·" for character in cut)


def _is_lifetime(kind: LockKind, value: object) -> bool:
    """A person's lock may have none; a run's always ends. bool is an int, and is neither."""
    if value is None:
        return kind is LockKind.MANUAL
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return kind in {LockKind.RUN, LockKind.MANUAL} and is_number and 0 < value <= MAX_LIFETIME_S  # type: ignore[operator]
