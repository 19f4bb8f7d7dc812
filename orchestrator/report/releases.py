"""Releases as lines of text: the board of what runs, the history, what was watched, what differs. Pure.

Words of others (reasons, commits, names) are shown without what looks like a credential, and without what would steer a terminal.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.model import Standing, Verdict
from orchestrator.report import text
from orchestrator.report.escapes import scrubbed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.model import (
        Lock,
        Release,
        ReleaseRecord,
        Replaced,
        Rollout,
        ServiceDifference,
        ServiceStatus,
        Watched,
    )

_SHORT_COMMIT = 8
_SHORT_DIGEST = 12
_GOOD = frozenset({Verdict.SUCCEEDED, Verdict.NO_CHANGE})
_NOTHING = "-"


def status_lines(
    environments: Sequence[str],
    statuses: Sequence[ServiceStatus],
    *,
    locks: Sequence[Lock],
    notes: Mapping[str, str],
    now: datetime,
) -> list[str]:
    """The board: a row for each service, and below it what is odd about it. `notes` say why an environment has no rows."""
    head = ("environment", "service", "rev", "image", "commit", "state", "age", "tasks", "last verdict")
    table = aligned([head, *(_status_row(status, now) for status in statuses)])
    lines = table[:1] if statuses else []
    for name in environments:
        for status, row in zip(statuses, table[1:], strict=True):
            if status.environment == name:
                lines += [row, *(f"    ! {remark}" for remark in _remarks(status, now))]
        lines += [_readable(f"{name}: {notes[name]}")] if name in notes else []
        lines += [f"    ! locked: {_readable(lock.line)}" for lock in locks if lock.environment == name]
    return lines


def history_lines(environment: str, records: Sequence[ReleaseRecord], *, service: str = "") -> list[str]:
    """Releases as a table, the newest first; without an environment, those of all, each with its own."""
    if not records:
        where = " · ".join(filter(None, (environment, service)))
        return [f"{where}: no release on record" if where else "no release on record"]
    head = ("began (UTC)", "id", "service", "verdict", "rev", "image", "commit", "by", "took", "notes")
    if environment:
        return aligned([head, *(_record_row(record) for record in records)])
    rows = [(record.release.environment, *_record_row(record)) for record in records]
    return aligned([("environment", *head), *rows])


def record_lines(record: ReleaseRecord) -> list[str]:
    """Everything on record of one release."""
    release = record.release
    origin, before = release.promoted_from, release.replaced
    facts = (
        ("why", release.reason),
        (
            "began",
            f"{_moment(record.began_at)}, recorded {_moment(record.recorded_at)}, took {_took(record)}",
        ),
        ("revision", release.revision),
        ("strategy", release.strategy),
        ("tasks", f"{release.running_count} of {release.desired_count} running"),
        ("image", str(release.image)),
        ("commit", " ".join(filter(None, (release.commit, _of(release.committed_at))))),
        ("replaced", _replaced(before) if before is not None else ""),
        ("promoted", f"from {origin.environment}, release {origin.release_id}" if origin is not None else ""),
        ("plan", _plan(release.plan)),
        ("gates", ", ".join(release.gates)),
        *(("override", f"{one.rule}: {one.reason}") for one in release.overrides),
        ("steps", ", ".join(f"{name} {text.seconds(took)}" for name, took in release.durations_s.items())),
        ("by", release.actor),
        ("run", release.run_url),
    )
    kind = ", a rollback" if release.is_rollback else ""
    head = f"{release.environment} · {release.service}: {release.verdict}{kind}  ({release.id})"
    return [_readable(line) for line in [head, *(f"  {name:<9} {value}" for name, value in facts if value)]]


def watched_lines(watched: Watched, *, now: datetime) -> list[str]:
    """How the rollout of one service ended, or that there was none."""
    where = f"{watched.environment} · {watched.service}"
    if watched.release is not None:
        return text.release_lines(watched.release)
    if watched.rollout is not None:
        return _foreign_lines(where, watched.rollout)
    if watched.last is None:
        return [f"{where}: no rollout is under way, and no release is on record"]
    last, release = watched.last, watched.last.release
    why = f": {release.reason}" if release.reason and release.verdict not in _GOOD else ""
    return [
        f"{where}: no rollout is under way",
        _readable(
            f"  last      {release.verdict} {_age(last.recorded_at, now)} ago, {release.revision}{why}"
        ),
    ]


def difference_lines(difference: ServiceDifference) -> list[str]:
    """What differs for one service."""
    sides = f"{difference.before} → {difference.after}"
    return [
        _readable(f"{difference.service}: {difference.outcome}  ({sides})"),
        *(_readable(f"  ~ {text.detail_line(detail)}") for detail in difference.details),
    ]


def _status_row(status: ServiceStatus, now: datetime) -> tuple[str, ...]:
    standing = status.standing
    return (
        status.environment,
        status.service,
        status.revision_arn.rpartition(":")[2] or _NOTHING,
        _short_digest(status.image),
        _short_commit(status.commit),
        str(standing),
        _age(status.released_at, now) if status.released_at else _NOTHING,
        _NOTHING if standing is Standing.GONE else f"{status.running_count}/{status.desired_count}",
        str(status.last_verdict or _NOTHING),
    )


def _remarks(status: ServiceStatus, now: datetime) -> Iterable[str]:
    if status.running_count < status.desired_count:
        yield f"{status.running_count} of {status.desired_count} tasks run"
    is_released = status.standing not in {Standing.NEW, Standing.GONE}
    if is_released and status.desired_count != status.declared_count:
        yield f"desired count {status.desired_count}, in Terraform {status.declared_count}"
    if status.last_verdict is not None and status.last_verdict not in _GOOD:
        ago = f" {_age(status.last_at, now)} ago" if status.last_at else ""
        yield _readable(f"last release {status.last_verdict}{ago}: {status.last_reason}".rstrip(": "))
    if status.standing is Standing.UNRECORDED:
        yield "its rollout ended, and nobody recorded how: `orch watch` does"


def _record_row(record: ReleaseRecord) -> tuple[str, ...]:
    release = record.release
    return (
        datetime.fromisoformat(record.began_at).strftime("%Y-%m-%d %H:%M"),
        _short_id(release.id),
        release.service,
        str(release.verdict),
        release.revision.rpartition(":")[2] or _NOTHING,
        _short_digest(str(release.image)),
        _short_commit(release.commit),
        _short_actor(release.actor),
        _took(record),
        "; ".join(_notes(release)),
    )


def _notes(release: Release) -> Iterable[str]:
    """What is to be known of a release in its row: why it went wrong, where it came from, what was overridden."""
    if release.verdict not in _GOOD and release.reason:
        yield release.reason
    if release.is_rollback:
        yield "rollback"
    if release.promoted_from is not None:
        yield f"from {release.promoted_from.environment} ({_short_id(release.promoted_from.release_id)})"
    for one in release.overrides:
        yield f"override {one.rule}: {one.reason}"


def _replaced(before: Replaced) -> str:
    digest, commit = before.digest.removeprefix("sha256:")[:_SHORT_DIGEST], _short_commit(before.commit)
    known = (f"image {digest}" if digest else "", f"commit {commit}" if before.commit else "")
    return ", ".join([before.revision_arn.rsplit("/", 1)[-1], *filter(None, known)])


def _plan(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return ""
    return ", ".join(f"{count} to {action}" for action, count in counts.items()) or "no changes"


def _of(committed_at: str) -> str:
    return f"of {_moment(committed_at)}" if committed_at else ""


def _moment(at: str) -> str:
    try:
        return datetime.fromisoformat(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return at


def _short_id(release_id: str) -> str:
    """What tells a release from others in a few characters; `orch release show` takes it."""
    return release_id.rpartition("-")[2]


def _foreign_lines(where: str, rollout: Rollout) -> list[str]:
    return [
        f"{where}: {rollout.verdict}",
        f"  revision  {rollout.revision_arn.rsplit('/', 1)[-1]}",
        f"  tasks     {rollout.running_count} of {rollout.desired_count} running",
        *([_readable(f"  why       {rollout.reason}")] if rollout.reason else []),
        "  not recorded: orch did not register this revision",
    ]


def _took(record: ReleaseRecord) -> str:
    """From the beginning of the rollout until it was recorded."""
    ended, began = (datetime.fromisoformat(at) for at in (record.recorded_at, record.began_at))
    return text.seconds(max(0.0, (ended - began).total_seconds()))


def _age(at: str, now: datetime) -> str:
    try:
        return text.age(max(0.0, (now - datetime.fromisoformat(at)).total_seconds()))
    except (ValueError, TypeError):
        return "?"


def _short_digest(image: str) -> str:
    return image.partition("@sha256:")[2][:_SHORT_DIGEST] or _NOTHING


def _short_commit(commit: str) -> str:
    """`c0ffee12`, with a + when the working tree differed from it."""
    hexadecimal, _, rest = commit.partition("-")
    return f"{hexadecimal[:_SHORT_COMMIT]}{'+' if rest else ''}" or _NOTHING


def _short_actor(arn: str) -> str:
    """`deploy/alice` of an assumed role, `alice` of a user."""
    return arn.partition("/")[2] or arn.rpartition(":")[2] or _NOTHING


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell; the last one as long as it is."""
    shown = [[_readable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    widths[-1:] = [0]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in shown
    ]


def _readable(line: str) -> str:
    return text.log_text(scrubbed(line))
