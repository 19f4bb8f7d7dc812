"""`orch metrics`: DORA's metrics of environments over a period, from the keys of their release records.

Comes in: environments, a period. Goes out: Metrics, computed in dora.py. May touch: reads of the store alone. For each environment
it costs one listing for 1,000 releases of the period and a month around it; no record is read, except those of an earlier orch,
whose keys do not tell.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from orchestrator import dora, store
from orchestrator.errors import SettingsError
from orchestrator.operations.history import Answers, ask_all, reading, tell_unread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.dora import Metrics, Step
    from orchestrator.model import ReleaseBrief
    from orchestrator.operations.plan_all import Ready

# What followed a release, and whether its commit had been there before, is looked for that far outside the period.
_AROUND = timedelta(days=30)
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
# Further than keys count.
_LATEST_YEAR = 5000
_AGO = re.compile(r"(\d{1,6})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def metrics(
    ready: Sequence[Ready],
    *,
    since: datetime,
    until: datetime,
    step: Step | None = None,
    service: str = "",
) -> Answers[Metrics]:
    """The metrics of each environment and each of its services in [since, until), or of one service; with `step` those of each
    part of the period. An environment without releases is there, with nothing in it; one that cannot be read hides no other.
    """
    answers = ask_all(ready, lambda one: (one.environment.name, briefs(one, since=since, until=until)))
    names = [name for name, _found in answers.found]
    releases = [
        release
        for _name, found in answers.found
        for release in found
        if not service or release.service == service
    ]
    if step is None:
        found = dora.measure(releases, since=since, until=until, environments=names)
    else:
        found = dora.series(releases, since=since, until=until, step=step, environments=names)
    if service:
        found = _of_one_service(found, service)
    order = {name: number for number, name in enumerate(names)}
    return Answers(tuple(sorted(found, key=lambda one: (one.since, order[one.environment]))), answers.errors)


def _of_one_service(found: Sequence[Metrics], service: str) -> tuple[Metrics, ...]:
    """Without those of environments as a whole, which would be the same; one that has nothing of the service says so."""
    there = {one.environment for one in found if one.service}
    return tuple(
        one if one.service else replace(one, service=service)
        for one in found
        if one.service or one.environment not in there
    )


def briefs(one: Ready, *, since: datetime, until: datetime) -> tuple[ReleaseBrief, ...]:
    """The releases of an environment that its metrics in [since, until) rest on, in short, the newest first: those of the period
    and of a month around it. Raises PreconditionError for credentials of another account and without a state bucket, AwsError.
    """
    unread: list[str] = []
    with reading(one.environment, one.session) as s3:
        found = store.briefs(
            s3,
            one.environment.state_bucket,
            environment=one.environment.name,
            account_id=one.environment.account_id,
            since=since - _AROUND,
            until=until + _AROUND,
            skipped=unread.append,
        )
    tell_unread(unread, one.environment, one.steps)
    return found


def period(since: str, until: str, *, now: datetime) -> tuple[datetime, datetime]:
    """What `--since` and `--until` mean: `30d`, `2w` and `12h` ago, a day as `2026-01-01` (its beginning, in UTC), or a time with
    its zone; an empty `until` is now. Raises SettingsError.
    """
    begins = _moment("--since", since, now)
    ends = _moment("--until", until, now) if until else now
    if begins >= ends:
        raise SettingsError(
            f"the period is empty: it begins {begins:%Y-%m-%d %H:%M} and ends {ends:%Y-%m-%d %H:%M} UTC",
            hint="give an earlier --since, or a later --until",
        )
    return begins, ends


def _moment(option: str, text: str, now: datetime) -> datetime:
    if ago := _AGO.fullmatch(text):
        try:
            return max(now - int(ago[1]) * _UNITS[ago[2]], _EARLIEST)
        except OverflowError:
            return _EARLIEST
    try:
        if len(text) == len("2026-01-01"):
            found = datetime.combine(date.fromisoformat(text), time(), tzinfo=UTC)
        else:
            found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not _EARLIEST.year <= found.year <= _LATEST_YEAR:
        raise SettingsError(
            f"{option} {text}: not a time",
            hint="write 30d, 2w or 12h, a day as 2026-01-01, or a time as 2026-01-01T08:00Z",
        )
    return found.astimezone(UTC)
