"""`orch release --through ENV`: what the checkout says goes to the first environment of the path, and from there to the next ones.

    apply      the first environment     → Releases    builds, as `orch apply` does
    promote    each pair after it        → Releases    never builds; its gate is asked as `orch promote` asks it

It stops at the first release that does not succeed, and at the first gate that is not open. Nothing is kept between two runs: what
an environment runs already is NO_CHANGE there, so the same command later goes on where this one stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from orchestrator.errors import EnvironmentLockedError, OrchError, PreconditionError, RefusedError
from orchestrator.model import Verdict
from orchestrator.operations import apply as applying
from orchestrator.operations import promote as promoting
from orchestrator.operations.survey import Asked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.model import Release
    from orchestrator.operations.apply import Approve as ApprovePlan
    from orchestrator.operations.plan_all import Ready
    from orchestrator.operations.promote import Patience
    from orchestrator.promotion import Gate
    from orchestrator.settings import Settings

_GOOD = frozenset({Verdict.SUCCEEDED, Verdict.NO_CHANGE})


@dataclass
class Passage:
    """How far a release came; filled as it goes, so that what was done is known when a later step raises."""

    path: tuple[str, ...]
    releases: list[Release] = field(default_factory=list)

    @property
    def failed(self) -> tuple[Release, ...]:
        return tuple(one for one in self.releases if one.verdict not in _GOOD)


def path_to(settings: Settings, through: str) -> tuple[str, ...]:
    """The environments that a release goes through. Raises PreconditionError where there is but one, SettingsError."""
    path = settings.path_to(through)
    if len(path) == 1:
        raise PreconditionError(
            f"no path leads to `{through}`",
            hint=f"set promotes_from in [environments.{through}], or run `orch apply --env {through}`",
        )
    return path


def release_through(
    settings: Settings,
    passage: Passage,
    ready: Sequence[Ready],
    *,
    patience: Patience,
    approve_plan: ApprovePlan,
    approve: Callable[[Sequence[Gate]], bool],
) -> None:
    """Takes the release through the environments of `ready`, those of the path in its order, as far as it may go.

    Raises RefusedError, EnvironmentLockedError where a gate is shut, with how to go on; OrchError. A verdict other than success ends it
    without an exception.
    """
    first = ready[0]
    passage.releases += applying.apply(
        settings,
        first.environment,
        applying.Options(),
        session=first.session,
        environ=first.environ,
        steps=first.steps,
        approve=approve_plan,
    )
    for source, target in pairwise(ready):
        if passage.failed:
            return
        try:
            passage.releases += promoting.promote(
                settings, source, target, Asked(), patience=patience, approve=approve
            )
        except (RefusedError, EnvironmentLockedError) as error:
            raise _stopped(error, passage, source, target) from error


def _stopped(error: OrchError, passage: Passage, source: Ready, target: Ready) -> OrchError:
    """The refusal, with how far the release came and what goes on from there."""
    reached, next_one = source.environment.name, target.environment.name
    again = f"`orch release --through {passage.path[-1]}` again goes on from there (with --wait, it waits)"
    hint = f"{error.hint}; then {again}" if error.hint else again
    return type(error)(
        f"the release is in {reached}, and not yet in {next_one}: {error.message}",
        details=error.details,
        hint=hint,
    )
