"""`orch plan --all`: many environments planned side by side, each as `orch plan` would; one that fails hides no other.

Comes in: environments, and how to get each one's session. Goes out: a Planned for each, in their order. May touch: what plan
touches. A plan peaks near 0.7 GB of memory (the AWS provider's schema), so only a few run at a time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.errors import InterruptedByUserError, OrchError
from orchestrator.events import Warned
from orchestrator.operations import plan as planning
from orchestrator.terraform import gates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.model import Plan, Sealed
    from orchestrator.operations.plan import Prepared
    from orchestrator.report.board import ServiceImage
    from orchestrator.settings import Environment, Settings
    from orchestrator.terraform.gates import Refusal
    from orchestrator.terraform.runner import SavedPlan

    Sealer = Callable[[Prepared, SavedPlan], Sealed | None]
    ImageFinder = Callable[[SavedPlan], tuple[ServiceImage, ...]]


@dataclass(frozen=True)
class Ready:
    """One environment with what its plan needs; `sealer` is given where the plan is to be sealed, `image_finder` where the
    images of its services are to be told.
    """

    environment: Environment
    session: Aws
    environ: Mapping[str, str]
    steps: Steps
    sealer: Sealer | None = None
    image_finder: ImageFinder | None = None


@dataclass(frozen=True)
class Planned:
    """How the plan of one environment came out: a plan, or the error that kept it from one. An error beside a plan is that of
    sealing it. `shut` are the gates that refuse it; `images` are those of its services, where they were asked for.
    """

    environment: Environment
    plan: Plan | None
    error: OrchError | None = None
    shut: tuple[Refusal, ...] = ()
    sealed: Sealed | None = None
    images: tuple[ServiceImage, ...] = ()


def plan_all(settings: Settings, ready: Sequence[Ready], *, parallel: int) -> tuple[Planned, ...]:
    """Plans each environment, at most `parallel` at a time. Raises InterruptedByUserError after Ctrl-C, when every Terraform
    has ended and released its lock.
    """
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        futures = [pool.submit(_plan, settings, item) for item in ready]
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


def _plan(settings: Settings, item: Ready) -> Planned:
    environment, steps = item.environment, item.steps
    try:
        prepared = planning.prepare(settings, environment, item.session, item.environ, steps)
        saved = planning.plan(prepared, environment, steps)
    except OrchError as error:
        return Planned(environment, None, error)
    shut = gates.refusals(saved.plan, environment, now=datetime.now(UTC))
    images = _find_images(item, saved)
    try:
        sealed = item.sealer(prepared, saved) if item.sealer is not None else None
    except OrchError as error:
        return Planned(environment, saved.plan, error, shut, images=images)
    finally:
        saved.discard()
    return Planned(environment, saved.plan, None, shut, sealed, images)


def _find_images(item: Ready, saved: SavedPlan) -> tuple[ServiceImage, ...]:
    """The images, or none and a warning: no plan fails because they cannot be told."""
    if item.image_finder is None:
        return ()
    try:
        return item.image_finder(saved)
    except OrchError as error:
        item.steps.emit(
            Warned(f"the images of {item.environment.name} are not known: {error.message}", error.hint)
        )
        return ()
