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
# Besides assuming a role, these ask GitHub for a token: signatures and keyless publishing.
SIGNING = ("actions/attest", "pypa/gh-action-pypi-publish@", "sigstore/")
ROLE_INPUTS = {"role", "role-arn", "role-to-assume"}


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


def assumes_role(step: dict[str, Any], environ: dict[str, Any]) -> bool:
    """Whether a step, or a job that calls a workflow, exchanges GitHub's token for AWS credentials."""
    uses, environ = step.get("uses", ""), environ | step.get("env", {})
    if uses.startswith("aws-actions/configure-aws-credentials@") or ROLE_INPUTS & set(step.get("with", {})):
        return True
    if uses.startswith("./"):
        called = ROOT / uses
        files = [called, *called.glob("action.y*ml")] if called.is_dir() else [called]
        documents = [load(path) for path in files if path.is_file()]
        return any(assumes_role(inner, {}) for document in documents for inner in steps(document))
    # boto3 and orch take these two from the environment.
    known = {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"} & set(environ)
    return bool(known) and re.search(r"\b(orch|aws|terraform)\s+\w", str(step.get("run", ""))) is not None


def token_problems(document: dict[str, Any]) -> list[str]:
    """A job that assumes a role may ask GitHub for a token, and no other job may: any of its steps could use it."""
    found = []
    for name, job in document["jobs"].items():
        environ = document.get("env", {}) | job.get("env", {})
        acting = [job, *job.get("steps", [])]
        assumes = any(assumes_role(step, environ) for step in acting)
        signs = any(step.get("uses", "").startswith(SIGNING) for step in acting)
        permissions = job.get("permissions", {})
        # Beside a map of permissions there are the words read-all and write-all.
        granted = "write" in (
            permissions if isinstance(permissions, str) else permissions.get("id-token", "")
        )
        if assumes and not granted:
            found.append(f"job {name} assumes a role without id-token: write")
        if granted and not assumes and not signs:
            found.append(f"job {name} has id-token: write and assumes no role")
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
    return found + token_problems(document)


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


def test_a_workflow_that_is_loose_with_tokens_is_told_everything():
    soft = yaml.safe_load("""
env: {AWS_ROLE_ARN: arn}
jobs:
  without:
    permissions: {contents: read}
    steps:
      - uses: aws-actions/configure-aws-credentials@0123456789012345678901234567890123456789
        with: {role-to-assume: arn, aws-region: eu-central-1}
  without_any:
    steps:
      - uses: octo/deploy@0123456789012345678901234567890123456789
        with: {role-to-assume: arn}
  by_environment:
    permissions: {}
    steps:
      - run: orch apply --env prod
  calls:
    permissions: {contents: read}
    uses: ./.github/workflows/deploy.yml
    with: {role-arn: arn}
  needless:
    permissions: {contents: read, id-token: write}
    steps:
      - run: make test
  everything:
    permissions: write-all
    steps:
      - run: make test
  nothing:
    permissions: read-all
    steps:
      - run: aws sts get-caller-identity
  misspelt:
    permissions: {id-token: read}
    steps:
      - run: orch plan --env prod
  right:
    permissions: {contents: read, id-token: write}
    steps:
      - run: orch apply --env prod
  signs:
    permissions: {id-token: write, attestations: write}
    steps:
      - uses: actions/attest-build-provenance@0123456789012345678901234567890123456789
  neither:
    permissions: {contents: read}
    steps:
      - run: make test
""")
    assert token_problems(soft) == [
        "job without assumes a role without id-token: write",
        "job without_any assumes a role without id-token: write",
        "job by_environment assumes a role without id-token: write",
        "job calls assumes a role without id-token: write",
        "job needless has id-token: write and assumes no role",
        "job everything has id-token: write and assumes no role",
        "job nothing assumes a role without id-token: write",
        "job misspelt assumes a role without id-token: write",
    ]


def test_a_role_assumed_by_a_local_action_is_seen(tmp_path, monkeypatch):
    action = tmp_path / ".github/actions/login"
    action.mkdir(parents=True)
    (action / "action.yml").write_text("""
runs:
  using: composite
  steps:
    - uses: aws-actions/configure-aws-credentials@0123456789012345678901234567890123456789
""")
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    job = {"permissions": {}, "steps": [{"uses": "./.github/actions/login"}]}
    assert token_problems({"jobs": {"deploy": job}}) == ["job deploy assumes a role without id-token: write"]
    (action / "action.yml").write_text("runs: {using: composite, steps: []}")
    assert token_problems({"jobs": {"deploy": job}}) == []
