"""The same work on several environments at once, each in a thread; one that fails hides no other.

Comes in: the work, and what to do it with. Goes out: what each came to, in their order. May touch: what the work touches.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from orchestrator import process
from orchestrator.errors import InterruptedByUserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def side_by_side(
    work: Callable[[Item], Outcome], items: Sequence[Item], *, parallel: int = 8
) -> list[Outcome]:
    """Does the work on every item, at most `parallel` at a time. Raises what the first item that failed raised, once all have
    ended; InterruptedByUserError after Ctrl-C, when every program that they started has ended.
    """
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            wait(futures)
        except KeyboardInterrupt:
            for future in futures:
                future.cancel()
            # The signal reached this thread alone, and the children are in process groups of their own.
            process.interrupt_all()
            raise InterruptedByUserError("interrupted; nothing was changed") from None
        return [future.result() for future in futures]
