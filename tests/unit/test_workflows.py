"""The repository's own workflows keep the rules that a pull request must not be able to loosen unnoticed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github").rglob("*.y*ml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def steps(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The steps of a workflow's jobs, or of a composite action."""
    for job in document.get("jobs", {}).values():
        yield from job.get("steps", [])
    yield from document.get("runs", {}).get("steps", [])


def problems(document: dict[str, Any]) -> list[str]:
    """What a hardened workflow or composite action must not contain."""
    found = []
    for step in steps(document):
        uses, run = step.get("uses", ""), str(step.get("run", ""))
        if uses and not uses.startswith("./") and not PINNED.fullmatch(uses):
            found.append(f"{uses} is not pinned to a full commit")
        if (
            uses.startswith("actions/checkout@")
            and step.get("with", {}).get("persist-credentials") is not False
        ):
            found.append("checkout leaves its token in .git/config")
        if (
            uses.startswith("hashicorp/setup-terraform@")
            and step["with"].get("terraform_wrapper") is not False
        ):
            found.append("setup-terraform's wrapper hides exit codes")
        if "${{" in run:
            found.append(f"an expression becomes shell text in {run!r}")
    if "jobs" in document:
        found += workflow_problems(document)
    return found


def workflow_problems(document: dict[str, Any]) -> list[str]:
    found = []
    # YAML 1.1 reads the key `on` as true.
    if "pull_request_target" in (document.get(True) or document.get("on") or ()):
        found.append("pull_request_target runs with secrets on other people's code")
    if document.get("permissions") != {}:
        found.append("permissions are not empty at the top")
    if "concurrency" not in document:
        found.append("no concurrency group")
    for name, job in document["jobs"].items():
        if "permissions" not in job:
            found.append(f"job {name} does not list its permissions")
        if "uses" not in job and not isinstance(job.get("timeout-minutes"), int):
            found.append(f"job {name} has no timeout")
        if "uses" not in job and str(job.get("runs-on", "")).endswith("-latest"):
            found.append(f"job {name} runs on a moving image")
        if "uses" in job and not job["uses"].startswith("./") and not PINNED.fullmatch(job["uses"]):
            found.append(f"{job['uses']} is not pinned to a full commit")
    return found


def test_there_is_a_workflow_to_check():
    assert ROOT / ".github/workflows/ci.yml" in FILES


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_is_hardened(path: Path):
    assert problems(load(path)) == []


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_every_pinned_commit_names_its_release(path: Path):
    without = [
        line.strip()
        for line in path.read_text().splitlines()
        if re.search(r"uses:\s+\S+@[0-9a-f]{40}", line) and not re.search(r"# v\d+\.\d+\.\d+$", line)
    ]
    assert without == []


def test_a_soft_workflow_is_told_everything():
    soft = yaml.safe_load("""
on: pull_request_target
permissions: read-all
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v7
      - uses: hashicorp/setup-terraform@dfe3c3f87815947d99a8997f908cb6525fc44e9e
        with: {terraform_version: 1.11.4}
      - run: echo "${{ github.event.pull_request.title }}"
  elsewhere:
    uses: octo/workflows/.github/workflows/build.yml@main
""")
    assert problems(soft) == [
        "actions/checkout@v7 is not pinned to a full commit",
        "checkout leaves its token in .git/config",
        "setup-terraform's wrapper hides exit codes",
        "an expression becomes shell text in 'echo \"${{ github.event.pull_request.title }}\"'",
        "pull_request_target runs with secrets on other people's code",
        "permissions are not empty at the top",
        "no concurrency group",
        "job build does not list its permissions",
        "job build has no timeout",
        "job build runs on a moving image",
        "job elsewhere does not list its permissions",
        "octo/workflows/.github/workflows/build.yml@main is not pinned to a full commit",
    ]
