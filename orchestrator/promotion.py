"""Whether a release may go from one environment to the next, and if not yet, when. Pure.

Comes in: what the source runs (Origin), what the target is like (Destination), the target's rules (Rules) and the time. Goes out:
a Gate, one Row for each thing that was asked. A row that is shut says why, and what to do; one that only waits says until when.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orchestrator.model import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.model import Lock, Override

# What may be opened knowingly; nothing makes a release good that failed, and a lock is its holder's to open.
RULES = ("path", "health", "soak", "branch", "checks", "drift", "plan", "freeze")
_SHORT_DIGEST = 19
_SHORT_COMMIT = 12


class State(enum.StrEnum):
    """How one thing that the gate asks for stands."""

    OPEN = "open"
    WAITS = "waits"
    SHUT = "shut"
    OVERRIDDEN = "overridden"
    SKIPPED = "not asked"


@dataclass(frozen=True)
class Row:
    """One thing that was asked of one service. `opens_at` is when time alone will open it, None where it will not."""

    rule: str
    title: str
    state: State
    sentence: str
    hint: str = ""
    opens_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.state not in {State.WAITS, State.SHUT}


@dataclass(frozen=True)
class Gate:
    """Whether a service's release may be promoted. `is_carried` says that the target runs it already."""

    source: str
    target: str
    service: str
    digest: str
    release_id: str
    commit: str
    rows: tuple[Row, ...]
    is_carried: bool = False

    @property
    def shut(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.is_open)

    @property
    def is_open(self) -> bool:
        return not self.shut

    @property
    def may_open_by_itself(self) -> bool:
        """Whether waiting is of any use: nothing is shut for good."""
        return all(row.state is State.WAITS for row in self.shut)

    @property
    def opens_at(self) -> datetime | None:
        """When it opens as far as anybody can tell; None where it is open, or nobody can."""
        times = [row.opens_at for row in self.shut]
        known = [time for time in times if time is not None]
        return max(known) if known and len(known) == len(times) else None

    @property
    def exit_code(self) -> int:
        """22 where nothing but a lock is in the way, else 20."""
        if self.is_open:
            return 0
        return 22 if all(row.rule == "lock" for row in self.shut) else 20


@dataclass(frozen=True)
class Unasked:
    """What could not be found out, and why."""

    reason: str


@dataclass(frozen=True)
class Origin:
    """What the source environment runs of one service, or a release of it that was asked for by its id (`is_named`).

    `digest` is what the revision names, `running_digest` what ECS resolved it to, empty where ECS does not say. `since` is when
    it took over, `until` when another release took its place: None while it runs. `rolled_back` names the revision that ECS has
    gone back from.
    """

    environment: str
    service: str
    is_there: bool
    standing: Standing = Standing.GONE
    revision: str = ""
    repository: str = ""
    digest: str = ""
    running_digest: str = ""
    release_id: str = ""
    commit: str = ""
    tag: str = ""
    since: datetime | None = None
    until: datetime | None = None
    running_count: int = 0
    desired_count: int = 0
    rolled_back: str = ""
    is_in_registry: bool | Unasked = True
    is_named: bool = False


@dataclass(frozen=True)
class Destination:
    """What the target environment is like for one service. `freezes` are the sentences and ends of those that hold now."""

    environment: str
    service: str
    is_there: bool
    standing: Standing = Standing.GONE
    revision: str = ""
    digest: str = ""
    commit: str = ""
    repository: str = ""
    tagged_digest: str | None = None
    lock: Lock | None = None
    freezes: tuple[tuple[str, datetime], ...] = ()
    pending_changes: int | Unasked = 0


@dataclass(frozen=True)
class Rules:
    """What the target's settings ask for, and what was found out about the commit. `on_branches` says for each branch whether
    it holds the commit; `checks` what GitHub says of each required check: `success`, another conclusion, or empty for none.
    """

    promotes_from: str | None
    soak: timedelta = timedelta()
    branches: tuple[str, ...] = ()
    on_branches: Mapping[str, bool] | Unasked | None = None
    checks: Mapping[str, str] | Unasked | None = None
    asks_for_plan: bool = False
    skips_path: bool = False


def judge(
    origin: Origin,
    destination: Destination,
    rules: Rules,
    *,
    now: datetime,
    overrides: tuple[Override, ...] = (),
) -> Gate:
    """The gate of one service; `overrides` open what is among RULES."""
    opened = {override.rule: override.reason for override in overrides}
    rows = tuple(_opened(row, opened) for row in _rows(origin, destination, rules, now))
    is_carried = bool(origin.digest) and origin.digest == destination.digest
    return Gate(
        origin.environment,
        destination.environment,
        origin.service,
        origin.digest,
        origin.release_id,
        origin.commit,
        rows,
        is_carried=is_carried and destination.standing is Standing.RELEASED,
    )


def _opened(row: Row, opened: Mapping[str, str]) -> Row:
    if row.is_open or row.rule not in opened or row.rule not in RULES:
        return row
    return Row(row.rule, row.title, State.OVERRIDDEN, f"{row.sentence}; overridden: {opened[row.rule]}")


def _rows(origin: Origin, destination: Destination, rules: Rules, now: datetime) -> Iterator[Row]:
    yield _path(origin, destination, rules)
    if not origin.is_there or not destination.is_there:
        yield _missing(origin, destination)
        return
    yield _verdict(origin)
    yield _digest(origin)
    if not origin.is_named:
        yield _health(origin)
    yield _soak(origin, rules, now)
    yield _branch(origin, rules)
    yield from _checks(rules)
    yield _registry(origin)
    yield _tag(origin, destination)
    yield _drift(destination)
    yield _rollout(destination)
    if rules.asks_for_plan:
        yield _plan(destination)
    yield from _freezes(destination)
    yield _lock(destination)


def _path(origin: Origin, destination: Destination, rules: Rules) -> Row:
    source, target = origin.environment, destination.environment
    title = "path"
    if rules.promotes_from == source:
        return _open("path", title, f"{target} promotes from {source}")
    if rules.skips_path:
        return Row(
            "path", title, State.OVERRIDDEN, f"{target} does not promote from {source}; skipped knowingly"
        )
    if rules.promotes_from is None:
        return _shut(
            "path",
            title,
            f"{target} promotes from no environment",
            f'set promotes_from = "{source}" in [environments.{target}], or pass --skip-path --reason TEXT',
        )
    return _shut(
        "path",
        title,
        f"{target} promotes from {rules.promotes_from}, not from {source}",
        f"promote to {rules.promotes_from} first, or pass --skip-path --reason TEXT (it goes on record)",
    )


def _missing(origin: Origin, destination: Destination) -> Row:
    place = destination.environment if origin.is_there else origin.environment
    return _shut(
        "service",
        "service",
        f"{place} has no service {origin.service}",
        f"`orch apply --env {place}` makes what its root module names",
    )


def _verdict(origin: Origin) -> Row:
    rule, title, place = "verdict", "verdict", origin.environment
    again = f"wait for its end: `orch watch --env {place}`"
    mend = f"release a good one to {place} first"
    if origin.is_named:
        if origin.standing is Standing.RELEASED:
            return _open(rule, title, f"release {origin.release_id} of {place} SUCCEEDED")
        return _shut(rule, title, f"release {origin.release_id} of {place} did not succeed", mend)
    if origin.standing is Standing.RELEASED and not origin.rolled_back:
        return _open(rule, title, f"{origin.revision} SUCCEEDED in {place}")
    if origin.rolled_back and origin.standing is Standing.RELEASED:
        return _shut(
            rule,
            title,
            f"ECS rolled {origin.rolled_back} back in {place}: what runs is an older release",
            f"{mend}, or name the one that runs: --release {origin.release_id or 'ID'}",
        )
    looks = f"`orch watch --env {place}` looks, and records it"
    make, sentence, hint = {
        Standing.ROLLING_OUT: (_waits, f"{place} is rolling {origin.revision} out", again),
        Standing.ROLLING_BACK: (_waits, f"{place} is being rolled back", again),
        Standing.FAILED: (_shut, f"the rollout of {origin.revision} failed in {place}", mend),
        Standing.NEW: (_shut, f"nothing was ever released to {place}", mend),
        Standing.UNRECORDED: (
            _shut,
            f"how the rollout of {origin.revision} in {place} ended is not on record",
            looks,
        ),
        Standing.GONE: (
            _shut,
            f"ECS has no service {origin.service} in {place}",
            f"`orch apply --env {place}` makes it again",
        ),
    }[origin.standing]
    return make(rule, title, sentence, hint)


def _digest(origin: Origin) -> Row:
    rule, title = "digest", "image"
    if not origin.digest:
        return _shut(
            rule,
            title,
            f"orch did not register {origin.revision or 'what runs'}, so its image is not known",
            f"release to {origin.environment} with orch first",
        )
    short = _short(origin.digest)
    if origin.running_digest and origin.running_digest != origin.digest:
        return _shut(
            rule,
            title,
            f"{origin.revision} names {short}, but {origin.environment} runs {_short(origin.running_digest)}",
            f"somebody changed the service by hand: `orch deploy --env {origin.environment} --force` brings it back",
        )
    if not origin.running_digest and not origin.is_named:
        return _open(rule, title, f"{short}, as the revision names it: ECS does not say what it runs")
    return _open(rule, title, short)


def _health(origin: Origin) -> Row:
    rule, title = "health", "healthy now"
    said = f"{origin.running_count} of {origin.desired_count} tasks run in {origin.environment}"
    if not origin.desired_count:
        return _shut(
            rule,
            title,
            f"the desired count in {origin.environment} is 0: nothing proves it",
            f"`orch scale --env {origin.environment}` starts it",
        )
    if origin.running_count < origin.desired_count:
        return _waits(
            rule, title, said, f"`orch tasks --env {origin.environment}` shows why tasks are missing"
        )
    return _open(rule, title, said)


def _soak(origin: Origin, rules: Rules, now: datetime) -> Row:
    rule, title = "soak", "soaked"
    if not rules.soak:
        return _skipped(rule, title, "no soak_minutes are set")
    if origin.since is None:
        return _shut(
            rule,
            title,
            f"nobody knows since when {origin.environment} runs it",
            f"`orch watch --env {origin.environment}` looks, and records it",
        )
    ran = (origin.until or now) - origin.since
    # Time past is rounded down and time to come up, so that neither promises too much.
    said = f"{_duration(ran, is_past=True)} of {_duration(rules.soak)} in {origin.environment}"
    if ran >= rules.soak:
        return _open(rule, title, said)
    if origin.until is not None:
        return _shut(
            rule, title, f"{said}, before another release took its place", "promote the one that runs now"
        )
    opens_at = origin.since + rules.soak
    return Row(
        rule,
        title,
        State.WAITS,
        f"{said}: opens in {_duration(opens_at - now)}, at {opens_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "wait with --wait",
        opens_at,
    )


def _branch(origin: Origin, rules: Rules) -> Row:
    rule, title = "branch", "branch"
    if not rules.branches:
        return _skipped(rule, title, "no branches are set")
    names = " or ".join(rules.branches)
    commit = origin.commit[:_SHORT_COMMIT]
    if not commit:
        return _shut(
            rule,
            title,
            "the release names no commit",
            "release from a Git checkout, so that its commit is known",
        )
    if origin.tag.partition("-")[2]:
        return _shut(
            rule,
            title,
            f"the image was built from a working tree that differs from {commit}",
            "commit, and release that to the source first",
        )
    if isinstance(rules.on_branches, Unasked):
        return _shut(
            rule,
            title,
            f"whether {names} holds {commit} is not known: {rules.on_branches.reason}",
            f"git fetch origin {' '.join(rules.branches)}",
        )
    found = [name for name in rules.branches if (rules.on_branches or {}).get(name)]
    if not found:
        return _shut(
            rule,
            title,
            f"{commit} is not on {names}",
            f"merge it to {names}, and release that to the source first",
        )
    return _open(rule, title, f"{commit} is on {found[0]}")


def _checks(rules: Rules) -> Iterator[Row]:
    if rules.checks is None:
        return
    rule = "checks"
    if isinstance(rules.checks, Unasked):
        yield _shut(
            rule,
            "checks",
            f"GitHub's checks are not known: {rules.checks.reason}",
            "set GITHUB_TOKEN with the right checks: read",
        )
        return
    for name, said in rules.checks.items():
        title = f"check {name}"
        if said == "success":
            yield _open(rule, title, "passed")
        elif not said:
            yield _shut(
                rule, title, "GitHub has no such check for the commit", "see that the workflow runs on it"
            )
        elif said in {"queued", "in_progress", "pending", "waiting", "requested"}:
            yield _waits(rule, title, f"it is {said.replace('_', ' ')}", "wait for its end")
        else:
            yield _shut(rule, title, f"it ended with {said}", "mend it, and release a commit that passes")


def _registry(origin: Origin) -> Row:
    rule, title = "registry", "in the registry"
    if isinstance(origin.is_in_registry, Unasked):
        return _skipped(rule, title, origin.is_in_registry.reason)
    if not origin.is_in_registry:
        return _shut(
            rule,
            title,
            f"{origin.repository or 'the repository'} has no {_short(origin.digest)} any more",
            "a lifecycle policy may have expired it: release the commit again",
        )
    return _open(rule, title, f"{origin.environment} has it")


def _tag(origin: Origin, destination: Destination) -> Row:
    rule, title = "tag", "tag in the target"
    held = destination.tagged_digest
    if not origin.tag:
        return _skipped(rule, title, "the release has none")
    if held is None or held == origin.digest:
        return _open(rule, title, "free" if held is None else "it is this image already")
    return _shut(
        rule,
        title,
        f"{origin.tag[:_SHORT_COMMIT]} is {_short(held)} in {destination.environment}, and tags never move",
        "the commit was built twice: release a new commit through the path",
    )


def _drift(destination: Destination) -> Row:
    rule, title = "drift", "as orch left it"
    if destination.standing is Standing.NEW:
        return _open(rule, title, f"{destination.environment} has no release yet")
    if not destination.digest and destination.standing is not Standing.GONE:
        return _shut(
            rule,
            title,
            f"{destination.environment} runs {destination.revision}, which orch did not register",
            "see who deployed it; the promotion would replace it",
        )
    return _open(rule, title, f"{destination.environment} runs {destination.revision}")


def _rollout(destination: Destination) -> Row:
    rule, title, place = "rollout", "no other rollout", destination.environment
    if destination.standing in {Standing.ROLLING_OUT, Standing.ROLLING_BACK}:
        return _waits(
            rule, title, f"{place} is {destination.standing}", f"wait for its end: `orch watch --env {place}`"
        )
    if destination.standing is Standing.GONE:
        return _shut(
            rule,
            title,
            f"ECS has no service {destination.service} in {place}",
            f"`orch apply --env {place}` makes it again",
        )
    return _open(rule, title, f"none under way in {place}")


def _plan(destination: Destination) -> Row:
    rule, title, place = "plan", "no pending changes", destination.environment
    if isinstance(destination.pending_changes, Unasked):
        return _shut(
            rule,
            title,
            f"Terraform's plan is not known: {destination.pending_changes.reason}",
            f"run `orch plan --env {place}`",
        )
    if destination.pending_changes:
        return _shut(
            rule,
            title,
            f"Terraform would change {destination.pending_changes} resources of {place}",
            f"`orch apply --env {place}` first, so that the release meets the infrastructure it was tried on",
        )
    return _open(rule, title, f"{place} is as its root module says")


def _freezes(destination: Destination) -> Iterator[Row]:
    rule, title = "freeze", "freeze"
    if not destination.freezes:
        yield _open(rule, title, "none holds")
    for sentence, until in destination.freezes:
        yield Row(
            rule,
            title,
            State.WAITS,
            f"{destination.environment} is frozen: {sentence}",
            "wait for its end, or --override freeze --reason TEXT",
            until,
        )


def _lock(destination: Destination) -> Row:
    rule, title = "lock", "lock"
    if destination.lock is None:
        return _open(rule, title, f"nobody holds that of {destination.environment}")
    return _waits(
        rule,
        title,
        f"{destination.environment} is locked by {destination.lock.line}",
        f"wait, or ask the holder: `orch locks --env {destination.environment}`",
    )


def _open(rule: str, title: str, sentence: str) -> Row:
    return Row(rule, title, State.OPEN, sentence)


def _shut(rule: str, title: str, sentence: str, hint: str) -> Row:
    return Row(rule, title, State.SHUT, sentence, hint)


def _waits(rule: str, title: str, sentence: str, hint: str) -> Row:
    return Row(rule, title, State.WAITS, sentence, hint)


def _skipped(rule: str, title: str, sentence: str) -> Row:
    return Row(rule, title, State.SKIPPED, sentence)


def _short(digest: str) -> str:
    return digest[:_SHORT_DIGEST]


def _duration(value: timedelta, *, is_past: bool = False) -> str:
    """`2 d 3 h`, `1 h 05 min`, `12 min`; to the minute, up or, of what is past, down."""
    duration_s = max(int(value.total_seconds()), 0)
    minutes = duration_s // 60 if is_past else -(-duration_s // 60)
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {rest:02d} min" if hours else f"{rest} min"
