"""terraform/ against the real binary and the real AWS provider, without any AWS: format, validity, `terraform test`, lock files.

Works on a copy, so that no .terraform lands in the tree. Terraform is slow to start (about 1.5 s of CPU for each run of a
test file), so every folder is prepared once, two at a time, and the tests wait for what they need.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.terraform.mirror import cli_config
from tests.conftest import require_tool

TERRAFORM = Path(__file__).parents[2] / "terraform"
MODULES = sorted(path.name for path in (TERRAFORM / "modules").iterdir() if path.is_dir())
ROOTS = sorted(path.name for path in (TERRAFORM / "envs").iterdir() if path.is_dir())
FOLDERS = [*(f"modules/{name}" for name in MODULES), *(f"envs/{name}" for name in ROOTS)]


# Put beside each root's own files in the copy: its tfvars must fit the modules.
ROOT_TEST = """
mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\\"Version\\":\\"2012-10-17\\",\\"Statement\\":[]}" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-central-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "999999999999" }
  }
}

run "plans_with_its_own_tfvars" {
  command = plan

  assert {
    condition     = output.orch.contract == 1 && keys(output.orch.services) == keys(var.services)
    error_message = "The root module must hand on the contract for each of its services."
  }
}
"""

# The roots are alike, so one of them answers for all.
MISSPELT_TEST = """
run "refuses_a_misspelt_attribute" {
  command = plan

  variables {
    services = { hello = { container_port = 8080, healthcheck = { command = ["CMD", "/hello"] } } }
  }

  expect_failures = [var.services]
}
"""


@dataclass(frozen=True)
class Ran:
    code: int
    output: str


@dataclass(frozen=True)
class Prepared:
    init: Ran
    validate: Ran
    test: Ran


@pytest.fixture(scope="session")
def copy(tmp_path_factory):
    target = tmp_path_factory.mktemp("modules") / "terraform"
    shutil.copytree(TERRAFORM, target, ignore=shutil.ignore_patterns(".terraform"))
    for root in ROOTS:
        tests = target / "envs" / root / "tests"
        tests.mkdir()
        (tests / "root.tftest.hcl").write_text(ROOT_TEST + (MISSPELT_TEST if root == "dev" else ""))
    return target


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    terraform = require_tool("terraform")
    config = cli_config("", os.environ, folder=tmp_path_factory.mktemp("cli-config"))
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "AWS_"))}
    environ |= {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    if config.path is not None:
        environ["TF_CLI_CONFIG_FILE"] = config.path

    def run(folder: Path, *arguments: str) -> Ran:
        done = subprocess.run(
            [terraform, *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
        return Ran(done.returncode, done.stdout + done.stderr)

    return run


@pytest.fixture(scope="session")
def prepared(copy, run):
    """For each folder a future of Prepared; what no test asked for is cancelled at the end."""

    def prepare(name: str) -> Prepared:
        folder = copy / name
        readonly = ["-lockfile=readonly"] if name.startswith("envs/") else []
        return Prepared(
            run(folder, "init", "-backend=false", "-input=false", "-no-color", *readonly),
            run(folder, "validate", "-json"),
            run(folder, "test", "-json"),
        )

    with ThreadPoolExecutor(max_workers=2) as pool:
        futures: dict[str, Future[Prepared]] = {name: pool.submit(prepare, name) for name in FOLDERS}
        yield lambda name: futures[name].result()
        pool.shutdown(cancel_futures=True)


def _test_lines(ran: Ran) -> list[dict[str, object]]:
    return [json.loads(line) for line in ran.output.splitlines() if line.startswith("{")]


def test_everything_is_formatted(run):
    done = run(TERRAFORM, "fmt", "-check", "-recursive", "-diff", "-no-color", ".")
    assert done.code == 0, done.output


@pytest.mark.parametrize("name", FOLDERS)
def test_is_valid_without_a_warning(name, prepared):
    ready = prepared(name)
    assert ready.init.code == 0, ready.init.output
    answer = json.loads(ready.validate.output)
    assert answer["diagnostics"] == []
    assert answer["valid"] is True


@pytest.mark.parametrize("name", FOLDERS)
def test_own_tests_pass(name, prepared):
    ready = prepared(name)
    lines = _test_lines(ready.test)
    problems = [line["diagnostic"] for line in lines if line["type"] == "diagnostic"]
    assert ready.test.code == 0, json.dumps(problems, indent=1) or ready.test.output
    summary = next(line["test_summary"] for line in lines if line["type"] == "test_summary")
    assert summary["status"] == "pass"
    assert summary["passed"] >= 1
    assert summary["failed"] + summary["errored"] + summary["skipped"] == 0


@pytest.mark.parametrize("root", ROOTS)
def test_lock_file_is_complete(root, prepared, copy):
    ready = prepared(f"envs/{root}")
    assert ready.init.code == 0, ready.init.output
    locked = (copy / "envs" / root / ".terraform.lock.hcl").read_text()
    assert locked == (TERRAFORM / "envs" / root / ".terraform.lock.hcl").read_text()
    assert 'constraints = ">= 5.100.0, < 6.0.0"' in locked
    assert len(re.findall(r'"h1:[^"]{44}"', locked)) == 2
    assert len(re.findall(r'"zh:[0-9a-f]{64}"', locked)) == 15


def test_roots_differ_only_in_backend_key_and_tfvars():
    def files(root: str) -> dict[str, str]:
        folder = TERRAFORM / "envs" / root
        return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}

    roots = {root: files(root) for root in ROOTS}
    assert set(roots) >= {"dev", "staging", "prod"}
    for root, texts in roots.items():
        assert f'"{root}/terraform.tfstate"' in texts["backend.tf"]
        texts["backend.tf"] = texts["backend.tf"].replace(f'"{root}/terraform.tfstate"', "KEY")
        tfvars = texts.pop("terraform.tfvars")
        assert f'environment = "{root}"' in tfvars
        assert texts == roots["dev"]
    accounts = {
        re.findall(r'account_id\s*= "(\d{12})"', files(root)["terraform.tfvars"])[0] for root in ROOTS
    }
    assert len(accounts) == len(ROOTS)


def test_backend_leaves_bucket_and_region_to_orch_toml():
    text = (TERRAFORM / "envs" / "dev" / "backend.tf").read_text()
    arguments = re.findall(r"^    (\w+) +=", text, flags=re.MULTILINE)
    assert arguments == ["key", "encrypt", "use_lockfile"]


def test_root_knows_exactly_the_modules_service_attributes():
    module = (TERRAFORM / "modules" / "environment" / "variables.tf").read_text()
    declared = module[module.index('variable "services"') :].split("\n  }))\n", 1)[0]
    # The attributes of the object itself stand four columns in; those of nested objects further.
    known = re.findall(r"^    (\w+) += (?:optional\()?\w", declared, flags=re.MULTILINE)
    root = (TERRAFORM / "envs" / "dev" / "variables.tf").read_text()
    listed = root[root.index("setsubtract(") :].split("])", 1)[0]
    assert sorted(known) == re.findall(r'^ +"(\w+)",$', listed, flags=re.MULTILINE)
    assert "container_port" in known


@pytest.mark.parametrize("name", FOLDERS)
def test_variables_and_outputs_are_described(name):
    folder = TERRAFORM / name
    texts = {path.name: path.read_text() for path in folder.glob("*.tf")}
    assert {"main.tf", "variables.tf", "outputs.tf", "versions.tf"} <= set(texts)
    blocks = [
        match
        for text in texts.values()
        for match in re.findall(
            r'^(variable|output) "(\w+)" {\n(.*?)^}', text, flags=re.MULTILINE | re.DOTALL
        )
    ]
    assert blocks
    lacking = [
        f"{kind} {title}"
        for kind, title, body in blocks
        if not re.search(r"^  description +=", body, flags=re.MULTILINE)
        or (kind == "variable" and not re.search(r"^  type +=", body, flags=re.MULTILINE))
    ]
    assert lacking == []


@pytest.mark.parametrize("name", MODULES)
def test_modules_configure_no_provider_and_no_backend(name):
    for path in (TERRAFORM / "modules" / name).glob("*.tf"):
        assert not re.search(r"^\s*(provider|backend) \"", path.read_text(), flags=re.MULTILINE), path
    assert (TERRAFORM / "modules" / name / "README.md").is_file()
