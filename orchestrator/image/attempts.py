"""How a registry fails, and how often and after what waits something is tried again. Pure but for the waits."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

# Attempts in a row that brought nothing forward.
_ATTEMPTS = 6
_FIRST_BACKOFF_S = 0.2
_LONGEST_BACKOFF_S = 20.0


class RegistryError(ImageError):
    """The registry of that repository refused: `status` is HTTP's, `code` the distribution API's, such as MANIFEST_UNKNOWN, or ""."""

    def __init__(self, message: str, *, repository: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.repository = repository
        self.status = status
        self.code = code


class TransientError(ImageError):
    """The connection or the registry failed in a way that may pass; `after_s` is the wait that the registry asks for."""

    def __init__(self, message: str, *, after_s: float = 0.0) -> None:
        super().__init__(message, hint="run the same command again: what has arrived is not sent twice")
        self.after_s = after_s


@dataclass
class Patience:
    """Attempts at one thing, and the waits between them: exponential, with jitter. `forward` counts anew after progress."""

    sleep: Callable[[float], object] = time.sleep
    failed: int = 0

    def forward(self) -> None:
        self.failed = 0

    def wait(self, error: TransientError) -> None:
        """Waits before the next attempt; raises the error as an ImageError when there have been enough."""
        self.failed += 1
        if self.failed >= _ATTEMPTS:
            raise ImageError(f"{error.message} ({self.failed} attempts)", hint=error.hint) from error
        backoff_s = min(_FIRST_BACKOFF_S * 2.0 ** (self.failed - 1), _LONGEST_BACKOFF_S)
        jittered_s = backoff_s * (0.5 + random.random() / 2)  # noqa: S311 - jitter, not a secret
        self.sleep(max(jittered_s, min(error.after_s, _LONGEST_BACKOFF_S)))
