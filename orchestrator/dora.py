"""DORA's software delivery metrics, computed from releases in short. Pure: imports the model alone, touches nothing.

The definitions are those of https://dora.dev/guides/dora-metrics/ (updated 2026-01-05), measured for one service of one environment,
as DORA advises. What of them a release record can tell, exactly:

    deployment             a release that SUCCEEDED and is no rollback
    deployment frequency   "the number of deployments over a given period": deployments a day of the period
    change lead time       "the time it takes for a change to go from committed to version control to deployed in production":
                           from the release's commit until its success was recorded; median and 90th percentile over the
                           deployments whose commit's time is known, each commit only where it succeeded first. Older commits
                           that the release brings along are not looked at.
    change                 a release that ended SUCCEEDED, ROLLED_BACK, FAILED or TIMED_OUT, and is no rollback
    failed change          one that ended ROLLED_BACK, FAILED or TIMED_OUT, or SUCCEEDED and was then left by a rollback, whatever
                           became of that, before another change of the service succeeded
    change failure rate    "the ratio of deployments that require immediate intervention following a deployment": failed changes of
                           changes. DORA calls it change fail rate.
    failed deployment      "the time it takes to recover from a deployment that fails and requires immediate intervention": from
    recovery time          when the rollout of a failed change began until the service was well again. That is its own record when
                           it was ROLLED_BACK, since ECS had brought the former revision back by then; else the next release of
                           the service that SUCCEEDED, rollback or not. A failed change without one is `unrecovered`.

NO_CHANGE and NOT_STARTED count for nothing: no rollout began. Nor do CANCELLED, SUPERSEDED and UNKNOWN tell whether a change was
good. A rollback is a release to an older revision than the one it replaced. DORA's fifth metric, deployment rework rate, is left out:
no record tells that a deployment was an unplanned one.

A release belongs to the period in which its rollout began. What lies outside a period is still looked at to learn what followed, so
hand in more than the period where there is more. Without changes a rate is None, and never 0.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator.model import ReleaseBrief, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_DAY_S = 86_400.0
_BAD = frozenset({Verdict.ROLLED_BACK, Verdict.FAILED, Verdict.TIMED_OUT})
_NOTHING_BEGAN = frozenset({Verdict.NO_CHANGE, Verdict.NOT_STARTED})


class Step(StrEnum):
    """How a period is divided: calendar days, weeks (from Monday) or months, in UTC."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True)
class Spread:
    """How long something took, in seconds, over `count` times. `p90_s` is the smallest that nine in ten do not exceed."""

    median_s: float
    p90_s: float
    count: int


@dataclass(frozen=True)
class Metrics:
    """The metrics of one service in [since, until) (ISO 8601, UTC), or of a whole environment, where `service` is empty.

    What there was no data for is None: the rates without a change, a spread without a time. `changes` of 0 means that there is
    nothing to tell. In an environment as a whole, each service's releases count by themselves.
    """

    environment: str
    service: str
    since: str
    until: str
    changes: int
    deployments: int
    deployments_per_day: float | None
    lead_time: Spread | None
    failed_changes: int
    change_failure_rate: float | None
    recovery_time: Spread | None
    unrecovered: int
    rollbacks: int


@dataclass(frozen=True)
class Judged:
    """One release with what followed it: whether it counts, and its times in seconds, None where there is none."""

    release: ReleaseBrief
    is_change: bool
    is_deployment: bool
    is_failed: bool
    lead_time_s: float | None
    recovery_s: float | None


def measure(
    releases: Iterable[ReleaseBrief], *, since: datetime, until: datetime, environments: Iterable[str] = ()
) -> tuple[Metrics, ...]:
    """The metrics of each environment there is a release of in the period, and of each of its services, sorted; an environment's
    own, with an empty service, come first. Those of `environments` are there in any case, with nothing in them if need be.
    """
    within = _within(judge(releases), since, until)
    return tuple(_metrics(*one, within, since, until) for one in _subjects(within, environments))


def series(
    releases: Iterable[ReleaseBrief],
    *,
    since: datetime,
    until: datetime,
    step: Step,
    environments: Iterable[str] = (),
) -> tuple[Metrics, ...]:
    """The same for each part of the period, the earliest first; the first and the last part may be cut short by the period. A
    part in which an environment or service that the period knows had no release is there with nothing in it.
    """
    judged = _within(judge(releases), since, until)
    subjects = _subjects(judged, environments)
    return tuple(
        _metrics(*subject, here, begins, ends)
        for begins, ends in parts(since, until, step)
        for here in (_within(judged, begins, ends),)
        for subject in subjects
    )


def parts(since: datetime, until: datetime, step: Step) -> Iterator[tuple[datetime, datetime]]:
    """The period cut where a day, week or month begins in UTC."""
    begins = since
    while begins < until:
        ends = min(_next(begins, step), until)
        yield begins, ends
        begins = ends


def judge(releases: Iterable[ReleaseBrief]) -> tuple[Judged, ...]:
    """Every release that began, with what became of it; in no order that counts."""
    by_service: dict[tuple[str, str], list[ReleaseBrief]] = defaultdict(list)
    for release in releases:
        if release.verdict not in _NOTHING_BEGAN:
            by_service[release.environment, release.service].append(release)
    return tuple(
        judged
        for several in by_service.values()
        for judged in _judged(sorted(several, key=lambda one: (one.began_at, one.id)))
    )


def _judged(releases: Sequence[ReleaseBrief]) -> Iterator[Judged]:
    """Those of one service, in the order in which they began. From the last to the first, so that what follows is known."""
    first_of = _first_successes(releases)
    well_again: datetime | None = None
    is_left = False
    for release in reversed(releases):
        is_success = release.verdict is Verdict.SUCCEEDED
        is_change = not release.is_rollback and (is_success or release.verdict in _BAD)
        is_deployment = is_change and is_success
        is_failed = is_change and (not is_success or is_left)
        recovered_at = release.recorded_at if release.verdict is Verdict.ROLLED_BACK else well_again
        yield Judged(
            release,
            is_change=is_change,
            is_deployment=is_deployment,
            is_failed=is_failed,
            lead_time_s=_seconds(release.committed_at, release.recorded_at)
            if is_deployment and first_of.get(release.commit, release) is release
            else None,
            recovery_s=_seconds(release.began_at, recovered_at) if is_failed else None,
        )
        if is_success:
            well_again = release.recorded_at
        if release.is_rollback:
            is_left = True
        elif is_success:
            is_left = False


def _first_successes(releases: Sequence[ReleaseBrief]) -> dict[str, ReleaseBrief]:
    """The release with which each known commit succeeded first, by the commit."""
    found: dict[str, ReleaseBrief] = {}
    for release in releases:
        if release.commit and release.verdict is Verdict.SUCCEEDED:
            found.setdefault(release.commit, release)
    return found


def _within(judged: Iterable[Judged], since: datetime, until: datetime) -> list[Judged]:
    return [one for one in judged if since <= one.release.began_at < until]


def _subjects(judged: Iterable[Judged], environments: Iterable[str]) -> list[tuple[str, str]]:
    """Environment and service of what is measured, and each environment with an empty service, sorted."""
    services = {(one.release.environment, one.release.service) for one in judged}
    return sorted(
        services | {(environment, "") for environment in {*environments, *(one for one, _ in services)}}
    )


def _metrics(
    environment: str, service: str, within: Sequence[Judged], since: datetime, until: datetime
) -> Metrics:
    mine = [
        one
        for one in within
        if one.release.environment == environment and service in {"", one.release.service}
    ]
    changes = sum(one.is_change for one in mine)
    deployments = sum(one.is_deployment for one in mine)
    failed = [one for one in mine if one.is_failed]
    days = (until - since).total_seconds() / _DAY_S
    return Metrics(
        environment,
        service,
        since=since.astimezone(UTC).isoformat(timespec="seconds"),
        until=until.astimezone(UTC).isoformat(timespec="seconds"),
        changes=changes,
        deployments=deployments,
        deployments_per_day=deployments / days if changes else None,
        lead_time=_spread([one.lead_time_s for one in mine if one.lead_time_s is not None]),
        failed_changes=len(failed),
        change_failure_rate=len(failed) / changes if changes else None,
        recovery_time=_spread([one.recovery_s for one in failed if one.recovery_s is not None]),
        unrecovered=sum(one.recovery_s is None for one in failed),
        rollbacks=sum(one.release.is_rollback for one in mine),
    )


def _spread(durations_s: Sequence[float]) -> Spread | None:
    if not durations_s:
        return None
    ranked = sorted(durations_s)
    # The nearest rank: of ten, the ninth. In whole numbers, because 0.9 is none that a float can hold.
    rank = -(-9 * len(ranked) // 10)
    middle = (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2
    return Spread(middle, ranked[rank - 1], len(ranked))


def _seconds(begins: datetime | None, ends: datetime | None) -> float | None:
    """The time between; clocks that disagree make it 0 at the least."""
    return max(0.0, (ends - begins).total_seconds()) if begins is not None and ends is not None else None


def _next(at: datetime, step: Step) -> datetime:
    """Where the next day, week or month begins."""
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match step:
        case Step.DAY:
            return midnight + timedelta(days=1)
        case Step.WEEK:
            return midnight + timedelta(days=7 - midnight.weekday())
        case Step.MONTH:
            return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
