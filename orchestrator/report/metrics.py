"""DORA's metrics as lines of text. Pure. What there is no data for is said to be none, and is never a zero."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.report import releases, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.dora import Metrics, Spread

_NONE = "-"
_HEAD = ("deployments", "a day", "lead time", "p90", "failed", "rate", "recovery", "p90", "rollbacks")


def metrics_lines(measured: Sequence[Metrics], *, is_series: bool) -> list[str]:
    """A table with a row for each environment and, below it, each of its services; in a series, for each part of the period."""
    told = [one for one in measured if one.changes or one.rollbacks]
    lines = []
    if told:
        head = (("from (UTC)",) if is_series else ()) + ("environment", "service", *_HEAD)
        rows = [((_day(one.since),) if is_series else ()) + _row(one) for one in told]
        lines = releases.aligned([head, *rows])
    environments = {one.environment: None for one in measured}
    there = {one.environment for one in told}
    for name in environments:
        if name in there:
            continue
        mine = [one for one in measured if one.environment == name]
        lines.append(f"{name}: no release between {_time(mine[0].since)} and {_time(mine[-1].until)} UTC")
    if measured and not is_series:
        lines.append(
            f"{_time(measured[0].since)} to {_time(measured[0].until)} UTC; lead time and recovery: median, p90"
        )
    left = [one for one in measured if one.unrecovered and one.service and not is_series]
    lines += [
        f"! {one.environment} · {one.service}: {one.unrecovered} failed without a later success"
        for one in left
    ]
    return lines


def _row(one: Metrics) -> tuple[str, ...]:
    return (
        one.environment,
        one.service or "all",
        str(one.deployments),
        _NONE if one.deployments_per_day is None else f"{one.deployments_per_day:.2g}",
        *_spread(one.lead_time),
        f"{one.failed_changes} of {one.changes}" if one.changes else _NONE,
        _NONE if one.change_failure_rate is None else f"{100 * one.change_failure_rate:.0f} %",
        *_spread(one.recovery_time),
        str(one.rollbacks),
    )


def _spread(spread: Spread | None) -> tuple[str, str]:
    return (text.age(spread.median_s), text.age(spread.p90_s)) if spread is not None else (_NONE, _NONE)


def _day(at: str) -> str:
    return datetime.fromisoformat(at).strftime("%Y-%m-%d")


def _time(at: str) -> str:
    return datetime.fromisoformat(at).strftime("%Y-%m-%d %H:%M")
