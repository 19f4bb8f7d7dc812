"""`orch plan --all`: many environments planned side by side, each as `orch plan` would; one that fails hides no other.

Comes in: environments, and how to get each one's session. Goes out: a Planned for each, in their order. May touch: what plan
touches. A plan peaks near 0.7 GB of memory (the AWS provider's schema), so only a few run at a time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.errors import InterruptedByUserError, OrchError
from orchestrator.operations import plan as planning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.model import Plan
    from orchestrator.settings import Environment, Settings


@dataclass(frozen=True)
class Ready:
    """One environment with what its plan needs."""

    environment: Environment
    session: Aws
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Planned:
    """How the plan of one environment came out: a plan, or the error that kept it from one."""

    environment: Environment
    plan: Plan | None
    error: OrchError | None = None


def plan_all(
    settings: Settings, ready: Sequence[Ready], steps: Callable[[str], Steps], *, parallel: int
) -> tuple[Planned, ...]:
    """Plans each environment, at most `parallel` at a time; `steps` gives the steps of an environment by its name.

    Raises InterruptedByUserError after Ctrl-C, when every Terraform has ended and released its lock.
    """
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        futures = [pool.submit(_plan, settings, item, steps(item.environment.name)) for item in ready]
        try:
            wait(futures)
        except KeyboardInterrupt:
            for future in futures:
                future.cancel()
            # The signal reached this thread alone, and the children are in process groups of their own.
            process.interrupt_all()
            wait([future for future in futures if not future.cancelled()])
            raise InterruptedByUserError("interrupted while planning; every Terraform has ended") from None
        return tuple(future.result() for future in futures)


def _plan(settings: Settings, item: Ready, steps: Steps) -> Planned:
    try:
        prepared = planning.prepare(settings, item.environment, item.session, item.environ, steps)
        saved = planning.plan(prepared, item.environment, steps)
    except OrchError as error:
        return Planned(item.environment, None, error)
    saved.discard()
    return Planned(item.environment, saved.plan)
