"""Decides whether a plan may be applied to an environment, from its changes, the settings and the time. Pure.

    protected            `protected = true`: what holds data is neither deleted nor replaced. Nothing opens this gate.
    max_destroy          more deletions than the environment allows
    max_replace          more replacements than it allows
    protected_types      a deletion or replacement of such a resource
    protected_addresses  a deletion or replacement at such an address
    privilege_widening   a role, policy or trust that gets more than it has
    freeze               a time in which nothing is applied

A task definition counts for nothing here: Terraform plans each new skeleton as a replacement, and `skip_destroy` keeps the old
revision all the same. Terraform's own `prevent_destroy` takes no variable, so what a setting protects is held here, and once
more by the policy of the role that applies (permissions.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from orchestrator.errors import RefusedError, SettingsError
from orchestrator.model import Action, Change, Override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from orchestrator.model import Plan
    from orchestrator.settings import Environment, FreezeSettings

# What holds data, or what everything else hangs on: a new one in its place is empty, or has another address.
PROTECTED_TYPES = frozenset(
    {
        "aws_cloudwatch_log_group",
        "aws_ecr_repository",
        "aws_ecs_cluster",
        "aws_ecs_service",
        "aws_kms_key",
        "aws_lb",
        "aws_vpc",
    }
)
RULES = (
    "max_destroy",
    "max_replace",
    "protected_types",
    "protected_addresses",
    "privilege_widening",
    "freeze",
)
_LOSES_NOTHING = frozenset({"aws_ecs_task_definition"})


@dataclass(frozen=True)
class Refusal:
    """Why one gate is shut: its rule, a sentence, and the addresses or times it is about."""

    rule: str
    sentence: str
    about: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        return (f"{self.rule}: {self.sentence}", *(f"  {item}" for item in self.about))


def refusals(plan: Plan, environment: Environment, *, now: datetime) -> tuple[Refusal, ...]:
    """Every gate that is shut for this plan. `now` must know its time zone."""
    return tuple(_refusals(plan, environment, now))


def require_known(overrides: tuple[Override, ...]) -> None:
    """Raises SettingsError for an override of a rule that does not exist, or without a reason."""
    for override in overrides:
        if override.rule not in RULES:
            raise SettingsError(
                f"--override {override.rule}: there is no such rule",
                hint=f"choose one of: {', '.join(RULES)}",
            )
        if not override.reason.strip():
            raise SettingsError(
                f"--override {override.rule} needs a reason", hint="say why with --reason; it goes on record"
            )


def require_open(
    plan: Plan, environment: Environment, *, now: datetime, overrides: tuple[Override, ...] = ()
) -> tuple[Override, ...]:
    """Raises RefusedError while a gate is shut that no override opens; returns the overrides that were needed."""
    shut = refusals(plan, environment, now=now)
    if not shut:
        return ()
    if overrides and not environment.gates.allow_overrides:
        raise RefusedError(
            f"environment `{environment.name}` allows no overrides",
            details=_details(shut),
            hint="change the plan, or the gates in orch.toml by a reviewed commit",
        )
    opened = {override.rule for override in overrides}
    left = tuple(refusal for refusal in shut if refusal.rule not in opened)
    if left:
        raise RefusedError(
            f"{_subject(left, environment)} is refused by {_count(left)}",
            details=_details(left),
            hint=_hint(left, environment),
        )
    return tuple(override for override in overrides if override.rule in {refusal.rule for refusal in shut})


def _refusals(plan: Plan, environment: Environment, now: datetime) -> Iterator[Refusal]:
    rules = environment.gates
    deleted = [change for change in plan.changes if _loses(change, Action.DELETE)]
    replaced = [change for change in plan.changes if _loses(change, Action.REPLACE)]
    lost = [*deleted, *replaced]
    if environment.is_protected and (held := _of_types(lost, PROTECTED_TYPES)):
        yield Refusal("protected", "the environment is protected, and the plan loses what must stay", held)
    if rules.max_destroy is not None and len(deleted) > rules.max_destroy:
        sentence = f"{len(deleted)} to delete, {rules.max_destroy} allowed"
        yield Refusal("max_destroy", sentence, _addresses(deleted))
    if rules.max_replace is not None and len(replaced) > rules.max_replace:
        sentence = f"{len(replaced)} to replace, {rules.max_replace} allowed"
        yield Refusal("max_replace", sentence, _addresses(replaced))
    if kept := _of_types(lost, rules.protected_types):
        yield Refusal("protected_types", "resources of these types are never deleted or replaced", kept)
    if kept := _addresses(change for change in lost if _is_named(change, rules.protected_addresses)):
        yield Refusal("protected_addresses", "these addresses are never deleted or replaced", kept)
    if not rules.allow_privilege_widening and plan.widenings:
        said = tuple(f"{address}: {sentence}" for address, sentence in plan.widenings)
        yield Refusal("privilege_widening", "the plan gives more rights than there are", said)
    for sentence, _until in freezes(environment, now):
        yield Refusal("freeze", sentence, ())


def freezes(environment: Environment, now: datetime) -> tuple[tuple[str, datetime], ...]:
    """The freezes that hold now: what to call each, and when it ends."""
    ends = [(freeze, _frozen_until(freeze, now)) for freeze in environment.gates.freeze]
    return tuple(
        (f"{freeze.name} until {until:%Y-%m-%d %H:%M} {freeze.time_zone}", until)
        for freeze, until in ends
        if until is not None
    )


def _loses(change: Change, action: Action) -> bool:
    return change.action is action and change.type not in _LOSES_NOTHING


def _of_types(changes: list[Change], types: Iterable[str]) -> tuple[str, ...]:
    wanted = frozenset(types)
    return _addresses(change for change in changes if change.type in wanted)


def _is_named(change: Change, patterns: list[str]) -> bool:
    # An address has brackets of its own, which fnmatch would take for a set of characters.
    return any(fnmatchcase(change.address, pattern.replace("[", "[[]")) for pattern in patterns)


def _addresses(changes: Iterable[Change]) -> tuple[str, ...]:
    return tuple(f"{change.address} ({change.action})" for change in changes)


def _frozen_until(freeze: FreezeSettings, now: datetime) -> datetime | None:
    """When the freeze that holds now ends, in its time zone; None when none holds."""
    if freeze.cron is None or freeze.hours is None:
        start, end = freeze.bounds()
        return end if start <= now < end else None
    from zoneinfo import ZoneInfo

    from cronsim import CronSim

    lasts = timedelta(hours=freeze.hours)
    # Elapsed time, not wall-clock time: a freeze of 12 hours lasts 12 hours through a change of the clocks.
    zone = ZoneInfo(freeze.time_zone)
    latest: datetime | None = None
    for start in CronSim(freeze.cron, (now.astimezone(UTC) - lasts).astimezone(zone)):
        if start.timestamp() > now.timestamp():
            break
        latest = start
    return None if latest is None else (latest.astimezone(UTC) + lasts).astimezone(zone)


def _details(shut: tuple[Refusal, ...]) -> tuple[str, ...]:
    return tuple(line for refusal in shut for line in refusal.lines)


def _subject(left: tuple[Refusal, ...], environment: Environment) -> str:
    """A freeze holds for every release, with a plan or without one."""
    is_freeze_alone = all(refusal.rule == "freeze" for refusal in left)
    return f"a release to `{environment.name}`" if is_freeze_alone else f"the plan for `{environment.name}`"


def _count(shut: tuple[Refusal, ...]) -> str:
    return shut[0].rule if len(shut) == 1 else f"{len(shut)} gates"


def _hint(left: tuple[Refusal, ...], environment: Environment) -> str:
    if any(refusal.rule == "protected" for refusal in left):
        return f"change the plan; if it is meant, set `protected = false` in [environments.{environment.name}] for it"
    if not environment.gates.allow_overrides:
        return "change the plan, or the gates in orch.toml by a reviewed commit: this environment allows no overrides"
    flags = " ".join(f"--override {refusal.rule}" for refusal in left)
    if all(refusal.rule == "freeze" for refusal in left):
        return f"wait for its end, or open it knowingly: {flags} --reason TEXT (it goes on record)"
    return f"change the plan, or open it knowingly: {flags} --reason TEXT (it goes on record)"
