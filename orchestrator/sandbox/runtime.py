"""What every part of the running sandbox shares: its port, folder, clock and timing.

moto makes its backends itself, from a region and an account, so the parts that replace them find this object as a class
attribute set once by `server.install`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.sandbox.scenario import Scenarios

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.sandbox.blobs import BlobStore
    from orchestrator.sandbox.clock import Clock
    from orchestrator.sandbox.tasks import Timing


@dataclass(frozen=True)
class Password:
    """A registry login that GetAuthorizationToken gave to an account; `expires_at` in the sandbox's time."""

    account_id: str
    expires_at: float


@dataclass
class Runtime:
    """`lock` is held by whoever reads or changes moto's state: moto itself is not safe to use from several threads."""

    state_dir: Path
    clock: Clock
    timing: Timing
    blobs: BlobStore
    port: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    scenarios: Scenarios = field(default_factory=Scenarios)
    passwords: dict[str, Password] = field(default_factory=dict)  # by the password itself

    @property
    def registry_host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"
