"""The wheel that users install: it holds the Terraform modules, and nothing that a working copy only happens to hold."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl"))).namelist()


def test_modules_and_environments_travel_along(names):
    for wanted in (
        "modules/environment/main.tf",
        "modules/ecs/main.tf",
        "envs/prod/.terraform.lock.hcl",
        "envs/dev/backend.tf",
    ):
        assert f"orchestrator/scaffold/terraform/{wanted}" in names


def test_nothing_generated_travels_along(names):
    assert not [
        name for name in names if "/.terraform/" in name or ".tfstate" in name or "__pycache__" in name
    ]


def test_the_package_is_typed_and_whole(names):
    assert {
        "orchestrator/py.typed",
        "orchestrator/cli/__init__.py",
        "orchestrator/sandbox/control.py",
        "orchestrator/report/board.html.jinja",
        "orchestrator/report/board.css",
        "orchestrator/scaffold/templates/orch.toml.jinja",
        "orchestrator/scaffold/templates/workflows/apply.yml.jinja",
    } <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "bench/", "scripts/"))]
