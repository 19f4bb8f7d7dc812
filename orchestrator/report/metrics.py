"""DORA's metrics as lines of text. Pure. What there is no data for is said to be none, and is never a zero."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.report import releases, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.dora import Metrics, Spread

_NONE = "-"
_HEAD = ("deployments", "a day", "lead time", "p90", "failed", "rate", "recovery", "p90", "rollbacks")


def metrics_lines(measured: Sequence[Metrics], *, is_series: bool) -> list[str]:
    """A table with a row for each environment and, below it, each of its services; in a series, for each part of the period. An
    environment of a single service has that one's row alone.
    """
    services = Counter(
        name for name, service in {(one.environment, one.service) for one in measured} if service
    )
    told = [
        one
        for one in measured
        if (one.changes or one.rollbacks) and (one.service or services[one.environment] != 1)
    ]
    lines = []
    if told:
        head = (("from (UTC)",) if is_series else ()) + ("environment", "service", *_HEAD)
        rows = [((_day(one.since),) if is_series else ()) + _row(one) for one in told]
        lines = releases.aligned([head, *rows])
    there = {one.environment for one in told}
    # The last part of a series is where its period ends.
    for last in {one.environment: one for one in measured if one.environment not in there}.values():
        where = f"{last.environment} · {last.service}" if last.service else last.environment
        lines.append(f"{where}: no release between {_time(measured[0].since)} and {_time(last.until)} UTC")
    if is_series:
        return lines
    if told:
        period = f"{_time(told[0].since)} to {_time(told[0].until)} UTC"
        lines.append(f"{period}; lead time and recovery: median, p90")
    lines += [
        f"! {one.environment} · {one.service}: {one.unrecovered} failed without a later success"
        for one in told
        if one.unrecovered and one.service
    ]
    return lines


def _row(one: Metrics) -> tuple[str, ...]:
    return (
        one.environment,
        one.service or "all",
        str(one.deployments),
        _number(one.deployments_per_day),
        *_spread(one.lead_time),
        f"{one.failed_changes} of {one.changes}" if one.changes else _NONE,
        _NONE if one.change_failure_rate is None else f"{100 * one.change_failure_rate:.0f} %",
        *_spread(one.recovery_time),
        str(one.rollbacks),
    )


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _spread(spread: Spread | None) -> tuple[str, str]:
    return (text.age(spread.median_s), text.age(spread.p90_s)) if spread is not None else (_NONE, _NONE)


def _day(at: str) -> str:
    return datetime.fromisoformat(at).strftime("%Y-%m-%d")


def _time(at: str) -> str:
    return datetime.fromisoformat(at).strftime("%Y-%m-%d %H:%M")
