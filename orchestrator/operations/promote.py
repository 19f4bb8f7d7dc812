"""`orch promote --from A --to B`: one digest, from what one environment runs to the next. It never builds.

    read_ends        both environments       → Ends          their contracts
    survey           Ends                    → Surveyed      what runs, what the target is like, the gate; read-only
    approve          the gates               → yes or no     asks
    lock.hold        the target              → Held          from here to the end: nobody else changes it
    survey           Ends                    → Surveyed      once more, under the lock
    copy             each image              → Copied        the same bytes, signatures and all; the digest is the same or it fails
    release.prepare  each service            → Candidate     the target's own skeleton with that digest
    require_ready    Candidates              → Candidates    read-only; waits for another run's rollout
    roll_out_all     Candidates              → Releases      ECS, the store; each says where it was promoted from

What the target runs already is NO_CHANGE, so that a run that died is just run again. Touches in the source: nothing but reads.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator import promotion
from orchestrator.errors import (
    DeclinedError,
    EnvironmentLockedError,
    InterruptedByUserError,
    RefusedError,
)
from orchestrator.events import GateJudged
from orchestrator.image import copy as copying
from orchestrator.model import Image, Override, PromotedFrom
from orchestrator.operations import lock as locking
from orchestrator.operations import path_view, release, rollouts, verify
from orchestrator.operations.provenance import Provenance
from orchestrator.operations.survey import read_ends, survey
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.ecs.rollout import Clock
    from orchestrator.model import PathView, Release
    from orchestrator.operations.plan_all import Ready
    from orchestrator.operations.survey import Asked, Ends, Surveyed
    from orchestrator.promotion import Gate
    from orchestrator.settings import Settings

    Approve = Callable[[Sequence[Gate]], bool]

_LONGEST_PAUSE_S = 30.0
_SHORTEST_PAUSE_S = 1.0


@dataclass(frozen=True)
class Patience:
    """How long to wait for a gate that opens by itself: None is not at all. The functions are for tests."""

    timeout_s: float | None = None
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic


def check(
    settings: Settings, source: Ready, target: Ready, asked: Asked, patience: Patience
) -> tuple[Gate, ...]:
    """How the gate of each service stands, waited for as long as `patience` says. Raises OrchError."""
    ends = read_ends(settings, source, target)
    return tuple(one.gate for one in _await_open(ends, asked, patience))


def plan(settings: Settings, source: Ready, target: Ready, asked: Asked) -> PathView:
    """Everything that the promotion would change, whether its gate is open or not. Raises OrchError."""
    ends = read_ends(settings, source, target)
    found = survey(ends, asked)
    for one in found:
        target.steps.emit(GateJudged(one.gate))
    return path_view.view(ends, found)


def promote(
    settings: Settings,
    source: Ready,
    target: Ready,
    asked: Asked,
    *,
    reason: str = "",
    patience: Patience,
    approve: Approve,
) -> tuple[Release, ...]:
    """Carries the services, and returns a Release for each, with its verdict; `reason` is why the path is left, where it is.

    Raises RefusedError or EnvironmentLockedError when a gate is shut: nothing was changed. DeclinedError, OrchError.
    """
    return carry(
        read_ends(settings, source, target), asked, reason=reason, patience=patience, approve=approve
    )


def carry(
    ends: Ends,
    asked: Asked,
    *,
    reason: str = "",
    patience: Patience,
    approve: Approve,
    clock: Clock | None = None,
) -> tuple[Release, ...]:
    """What `promote` does once both contracts are read. Raises what it raises."""
    settings, target = ends.settings, ends.target
    found = _await_open(ends, asked, patience)
    _require_open(found, target)
    if not all(one.gate.is_carried for one in found) and not approve([one.gate for one in found]):
        raise DeclinedError("the promotion was not approved; nothing was changed")
    with locking.hold(
        settings,
        target.environment,
        "promote",
        session=target.session,
        role=Role.DEPLOY,
        environ=target.environ,
        steps=target.steps,
    ) as held:
        # Whoever had the lock until now may have changed what the first look saw.
        found = survey(ends, asked, is_locked_by_us=True)
        _require_open(found, target)
        overrides = (*asked.overrides, *((Override("path", reason),) if asked.skips_path else ()))
        targets = [_carry(ends, one, overrides) for one in found]
        candidates = verify.require_ready([release.prepare(one) for one in targets], clock=clock)
        return rollouts.roll_out_all(candidates, may_start=held.require_held, clock=clock)


def _await_open(ends: Ends, asked: Asked, patience: Patience) -> tuple[Surveyed, ...]:
    """The survey, made again until every gate is open, one is shut for good, or the patience is over."""
    began, told = patience.now(), None
    while True:
        found = survey(ends, asked)
        gates = [one.gate for one in found]
        state = [(row.rule, row.state, row.opens_at) for gate in gates for row in gate.rows]
        if state != told:
            told = state
            for gate in gates:
                ends.target.steps.emit(GateJudged(gate))
        shut = [gate for gate in gates if not gate.is_open]
        left_s = None if patience.timeout_s is None else patience.timeout_s - (patience.now() - began)
        if not shut or left_s is None or left_s <= 0 or not all(gate.may_open_by_itself for gate in shut):
            return found
        try:
            patience.sleep(min(_pause_s(shut), left_s))
        except KeyboardInterrupt:
            raise InterruptedByUserError(
                "no longer waited for the gate; nothing was changed", hint="the same command waits again"
            ) from None


def _pause_s(shut: Sequence[Gate]) -> float:
    """Until the next gate opens by time alone, if that is soon; another run's rollout or lock is looked at again before."""
    now = datetime.now(UTC)
    left = [(gate.opens_at - now).total_seconds() for gate in shut if gate.opens_at is not None]
    return min(max(min(left, default=_LONGEST_PAUSE_S), _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)


def _require_open(found: Sequence[Surveyed], target: Ready) -> None:
    shut = [one.gate for one in found if not one.gate.is_open]
    if not shut:
        return
    details = tuple(f"{gate.service}: {row.title}: {row.sentence}" for gate in shut for row in gate.shut)
    hints = [row.hint for gate in shut for row in gate.shut if row.hint]
    name = target.environment.name
    services = ", ".join(gate.service for gate in shut)
    if all(gate.exit_code == EnvironmentLockedError.exit_code for gate in shut):
        raise EnvironmentLockedError(f"environment `{name}` is locked", details=details, hint=hints[0])
    raise RefusedError(f"the promotion of {services} to `{name}` is refused", details=details, hint=hints[0])


def _carry(ends: Ends, one: Surveyed, overrides: tuple[Override, ...]) -> release.Target:
    """The image, in the target's registry by the same digest, and what its release needs."""
    target, origin = ends.target, one.origin
    assert one.target is not None, "an open gate has a service at both ends"  # noqa: S101
    image = Image(one.target.repository_url, origin.digest)
    if not one.gate.is_carried:
        with target.steps.step("copy", f"Carry the image of {one.name}") as step:
            copied = copying.copy(
                copying.Side(origin.repository, ends.source.session.acting_as(Role.DEPLOY)),
                copying.Side(image.repository, target.session.acting_as(Role.PUSH)),
                origin.digest,
                tags=[origin.tag] if origin.tag else [],
                emit=target.steps.emit,
            )
            step.detail = _detail(copied)
    return release.Target(
        one.target,
        ends.target_contract,
        target.environment,
        release.Sources(ends.settings, target.environ, {one.name: image}),
        target.session.acting_as(Role.DEPLOY),
        target.steps,
        overrides,
        Provenance(
            gates=promotion.RULES,
            promoted_from=PromotedFrom(origin.environment, origin.release_id),
            image_tag=origin.tag,
        ),
    )


def _detail(copied: copying.Copied) -> str:
    moved = f"{copied.bytes_copied / 1e6:.1f} MB" if copied.bytes_copied else "everything was there"
    extra = f", {copied.referrers} signatures and the like" if copied.referrers else ""
    return f"{copied.digest[:19]}, {moved}{extra}"
