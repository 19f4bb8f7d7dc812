"""The sandbox's one source of time: seconds since the epoch that a test can hold and push, and that never go back but by a reset.

Everything timed (task starts, rollouts, registry passwords, log lines) asks this object, so that a minute-long failure can
be tried in no time.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime


class Clock:
    """Wall-clock time at start plus monotonic time since, plus what `advance` added; stands still while frozen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._base = time.time() - time.monotonic()
        self._frozen_at: float | None = None
        self.resets = 0

    def now(self) -> float:
        """Seconds since the epoch."""
        with self._lock:
            return self._read()

    def freeze(self) -> None:
        with self._lock:
            self._frozen_at = self._read()

    def advance(self, seconds: float) -> None:
        """Moves time forward at once. Raises ValueError for a negative number: what has happened stays happened."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        with self._lock:
            if self._frozen_at is None:
                self._base += seconds
            else:
                self._frozen_at += seconds

    def resume(self) -> None:
        """Lets time run on from where it was held."""
        with self._lock:
            if self._frozen_at is not None:
                self._base = self._frozen_at - time.monotonic()
                self._frozen_at = None

    @property
    def is_frozen(self) -> bool:
        with self._lock:
            return self._frozen_at is not None

    def reset(self) -> None:
        """Back to the time of this machine: for when everything that happened is forgotten."""
        with self._lock:
            self._base = time.time() - time.monotonic()
            self._frozen_at = None
            self.resets += 1

    def _read(self) -> float:
        return self._base + time.monotonic() if self._frozen_at is None else self._frozen_at


def timestamp(seconds: float) -> datetime:
    """The moment as botocore's serialisers want it: an aware UTC datetime."""
    return datetime.fromtimestamp(seconds, UTC)
