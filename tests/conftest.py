"""Shared by all tests: tools that may be absent locally but not in CI."""

from __future__ import annotations

import os
import shutil

import pytest

# Terraform, its providers and the image builders are Go programs of a few seconds: collecting their garbage less often saves a
# fifth of their CPU time, which is most of what the tests cost.
os.environ.setdefault("GOGC", "400")

IS_SOAK = os.environ.get("ORCH_SOAK") == "1"
"""`make soak`: every point, seed and example of what `make test` tries a part of."""


def require_tool(name: str) -> str:
    """The path of a program. Absent: the test is skipped, or fails where ORCH_REQUIRE_TOOLS=1 (CI) says so."""
    found = shutil.which(name)
    if found is not None:
        return found
    if os.environ.get("ORCH_REQUIRE_TOOLS") == "1":
        pytest.fail(f"{name} is not on PATH, and ORCH_REQUIRE_TOOLS=1 demands it")
    pytest.skip(f"{name} is not on PATH")
