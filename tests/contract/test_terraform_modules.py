"""Modules, root modules and Terraform examples against the real binary and the real AWS provider, without any AWS: format,
validity, `terraform test`, lock files, and what their plans hold.

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
from typing import Any

import pytest

from orchestrator.terraform.mirror import cli_config
from tests.conftest import require_tool

REPOSITORY = Path(__file__).parents[2]
TERRAFORM = REPOSITORY / "terraform"
ENVIRONMENTS = sorted(path.name for path in (TERRAFORM / "envs").iterdir() if path.is_dir())
MODULES = sorted(
    f"terraform/modules/{path.name}" for path in (TERRAFORM / "modules").iterdir() if path.is_dir()
)
EXAMPLES = sorted(f"examples/{path.parent.name}" for path in REPOSITORY.glob("examples/*/versions.tf"))
ROOTS = [
    *(f"terraform/envs/{name}" for name in ENVIRONMENTS),
    *(["terraform/bootstrap"] if (TERRAFORM / "bootstrap" / "versions.tf").is_file() else []),
    *EXAMPLES,
]
FOLDERS = [*MODULES, *ROOTS]
# Whose plans are read here: `terraform test` sees the resources of no module below the one it runs.
PLANNED = ["terraform/modules/environment", *(f"terraform/envs/{name}" for name in ENVIRONMENTS), *EXAMPLES]


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
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
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
REFUSED_TEST = """
run "refuses_a_misspelt_attribute" {
  command = plan

  variables {
    services = { hello = { container_port = 8080, healthcheck = { command = ["CMD", "/hello"] } } }
  }

  expect_failures = [var.services]
}

run "refuses_the_boundary_of_another_account" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::999999999999:policy/orch/demo-dev/boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "refuses_a_bad_account_id" {
  command = plan

  variables {
    account_id = "1111"
  }

  expect_failures = [var.account_id]
}

run "refuses_a_region_that_is_none" {
  command = plan

  variables {
    region = "frankfurt"
  }

  expect_failures = [var.region]
}
"""

# What a newcomer may get wrong, and the sentences that must answer it. What is checked against another variable stays
# unsaid while that one is wrong, in every service, so a bad name and a bad secret stand apart.
WRONG_SERVICES = {
    "values": """
run "says_what_is_wrong_and_where" {
  command = plan

  variables {
    services = {
      web = {
        cpu         = 512
        memory      = 512
        environment = { LOG_LEVEL = "info", DB_PASSWORD = "hunter2" }
      }
      jobs = {
        user                 = "root"
        environment          = { DB_PASSWORD = "", DATABASE = "postgres://app:correct-horse@db.internal/app" }
        task_role_statements = { All = { actions = ["s3:GetObject"], resources = ["*"] } }
      }
    }
  }
}
""",
    "secrets": """
run "says_what_is_wrong_and_where" {
  command = plan

  variables {
    services = {
      web = { secrets = { API = "arn:aws:secretsmanager:us-east-1:111111111111:secret:api-a1b2c3" } }
    }
  }
}
""",
    "names": """
run "says_what_is_wrong_and_where" {
  command = plan

  variables {
    services = {
      Bad_Name = {}
      web      = {}
    }
  }
}
""",
}
SENTENCES = (
    "Service web: Fargate does not offer 512 MiB with 512 CPU units. Choose a memory it offers with them, in MiB: 1024,",
    "Service web: environment gives a literal value to DB_PASSWORD, but",
    "put its ARN under that name in secrets.",
    "Service web: each Secrets Manager secret must lie in the service's region eu-central-1. Replicate the secret there",
    "Service jobs: the container must run as a user other than root",
    "Service jobs: environment holds what looks like a secret: DATABASE (a URL with a password).",
    "demo-dev-jobs: a task role statement that reads data or assumes roles must name what it may reach",
    'The service name "Bad_Name" is too long or has a wrong character: it must have 2 to 32 lower-case letters',
    'The repository name "demo-dev/Bad_Name" is not one that ECR takes',
)
VALUES = ("hunter2", "correct-horse")


@dataclass(frozen=True)
class Ran:
    code: int
    output: str


@dataclass(frozen=True)
class Outcome:
    """What `terraform test` said, and with -verbose the resources of the plan of each of its runs, by address."""

    code: int
    lines: list[dict[str, Any]]
    plans: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Prepared:
    init: Ran
    test: Outcome


@pytest.fixture(scope="session")
def copy(tmp_path_factory):
    target = tmp_path_factory.mktemp("modules")
    for name in ("terraform", *EXAMPLES):
        shutil.copytree(REPOSITORY / name, target / name, ignore=shutil.ignore_patterns(".terraform"))
    for name in ENVIRONMENTS:
        tests = target / "terraform" / "envs" / name / "tests"
        tests.mkdir()
        (tests / "root.tftest.hcl").write_text(ROOT_TEST + (REFUSED_TEST if name == "dev" else ""))
    return target


@pytest.fixture(scope="session")
def environ(tmp_path_factory):
    config = cli_config("", os.environ, folder=tmp_path_factory.mktemp("cli-config"))
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "AWS_"))}
    # Terraform and the provider collect garbage a third of their time, most of it the provider's schema. They end soon anyway.
    environ |= {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "GOGC": "400"}
    if config.path is not None:
        environ["TF_CLI_CONFIG_FILE"] = config.path
    return environ


@pytest.fixture(scope="session")
def run(environ):
    terraform = require_tool("terraform")

    def run(folder: Path, *arguments: str) -> Ran:
        done = subprocess.run(
            [terraform, *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
        return Ran(done.returncode, done.stdout + done.stderr)

    return run


@pytest.fixture(scope="session")
def tested(environ):
    terraform = require_tool("terraform")

    def tested(folder: Path, *arguments: str) -> Outcome:
        lines, plans = [], {}
        command = [terraform, "test", "-json", *arguments]
        with subprocess.Popen(
            command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for text in process.stdout:
                # A plan brings the provider's whole schema along, 14 MB of it; a state too.
                line = json.loads(text) if text.startswith("{") else {"type": "text", "text": text}
                if line["type"] == "test_plan":
                    changes = line["test_plan"].get("resource_changes", [])
                    plans[line["@testrun"]] = {change["address"]: change for change in changes}
                elif line["type"] != "test_state":
                    lines.append(line)
        return Outcome(process.returncode, lines, plans)

    return tested


@pytest.fixture(scope="session")
def prepared(copy, run, tested):
    """For each folder a future of Prepared; what no test asked for is cancelled at the end."""

    def prepare(name: str) -> Prepared:
        folder = copy / name
        readonly = ["-lockfile=readonly"] if name in ROOTS else []
        return Prepared(
            run(folder, "init", "-backend=false", "-input=false", "-no-color", *readonly),
            tested(folder, *(["-verbose"] if name in PLANNED else [])),
        )

    with ThreadPoolExecutor(max_workers=2) as pool:
        futures: dict[str, Future[Prepared]] = {name: pool.submit(prepare, name) for name in FOLDERS}
        yield lambda name: futures[name].result()
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", ["terraform", "examples"])
def test_everything_is_formatted(run, name):
    done = run(REPOSITORY, "fmt", "-check", "-recursive", "-diff", "-no-color", name)
    assert done.code == 0, done.output


@pytest.mark.parametrize("name", FOLDERS)
def test_is_valid_without_a_warning(name, prepared):
    ready = prepared(name)
    assert ready.init.code == 0, ready.init.output
    # Each run validates the whole configuration first: what `terraform validate` warns of stands among its lines too.
    said = [line["diagnostic"] for line in ready.test.lines if line["type"] == "diagnostic"]
    assert said == []
    assert any(line["type"] == "test_summary" for line in ready.test.lines)


@pytest.mark.parametrize("name", FOLDERS)
def test_own_tests_pass(name, prepared):
    done = prepared(name).test
    assert done.code == 0, json.dumps(done.lines, indent=1)
    summary = next(line["test_summary"] for line in done.lines if line["type"] == "test_summary")
    assert summary["status"] == "pass"
    assert summary["passed"] >= 1
    assert summary["failed"] + summary["errored"] + summary["skipped"] == 0


@pytest.mark.parametrize("root", ROOTS)
def test_lock_file_is_complete(root, prepared, copy):
    ready = prepared(root)
    assert ready.init.code == 0, ready.init.output
    locked = (copy / root / ".terraform.lock.hcl").read_text()
    assert locked == (REPOSITORY / root / ".terraform.lock.hcl").read_text()
    assert 'constraints = ">= 5.100.0, < 6.0.0"' in locked
    assert len(re.findall(r'"h1:[^"]{44}"', locked)) == 2
    assert len(re.findall(r'"zh:[0-9a-f]{64}"', locked)) == 15


def _tfvars(root: str) -> dict[str, str]:
    """The plain strings of a root's terraform.tfvars."""
    text = (REPOSITORY / root / "terraform.tfvars").read_text()
    return dict(re.findall(r'^(\w+) += "(.*)"$', text, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("root", "services"),
    [*((f"terraform/envs/{name}", 1) for name in ENVIRONMENTS), ("examples/existing-network", 2)],
)
def test_every_role_is_bounded_and_lies_under_the_environments_path(root, services, prepared):
    told = _tfvars(root)
    prefix = f"{told['project']}-{told['environment']}"
    boundary = f"arn:aws:iam::{told['account_id']}:policy/orch/{prefix}/boundary"
    assert told["permissions_boundary_arn"] == boundary
    plan = next(iter(prepared(root).test.plans.values()))
    roles = {
        address: (change["change"]["after"]["permissions_boundary"], change["change"]["after"]["path"])
        for address, change in plan.items()
        if change["type"] == "aws_iam_role"
    }
    # A task role and an execution role for each service; the flow log's where the network is our own.
    assert len(roles) == 2 * services + (root not in EXAMPLES)
    assert set(roles.values()) == {(boundary, f"/orch/{prefix}/")}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_only_dev_may_be_torn_down_whole(name, prepared):
    plan = prepared(f"terraform/envs/{name}").test.plans["plans_with_its_own_tfvars"]
    after = [(change["type"], change["change"]["after"]) for change in plan.values()]
    repositories = [values["force_delete"] for kind, values in after if kind == "aws_ecr_repository"]
    windows = [values["deletion_window_in_days"] for kind, values in after if kind == "aws_kms_key"]
    assert repositories == [name == "dev"]
    assert windows == [30]


def test_an_environment_hands_on_what_the_roles_and_repositories_offer(prepared):
    plans = prepared("terraform/modules/environment").test.plans
    bounded = plans["key_serves_this_environment_only"]
    asked = plans["what_is_not_protected_was_asked_for"]

    def after(plan: dict[str, Any], address: str) -> dict[str, Any]:
        return plan[address]["change"]["after"]

    def conditions(plan: dict[str, Any], role: str) -> dict[str, Any]:
        trust = json.loads(after(plan, f'module.iam["hello"].aws_iam_role.{role}')["assume_role_policy"])
        return trust["Statement"][0].get("Condition", {})

    account = {"aws:SourceAccount": "111111111111"}
    source = {"aws:SourceArn": "arn:aws:ecs:eu-central-1:111111111111:*"}
    for plan in (bounded, asked):
        assert conditions(plan, "task") == {"StringEquals": account, "ArnLike": source}
    assert conditions(bounded, "execution") == {"StringEquals": account}
    assert conditions(asked, "execution") == {}

    repository = 'module.ecr["hello"].aws_ecr_repository.this'
    assert [after(plan, repository)["force_delete"] for plan in (bounded, asked)] == [False, True]


def test_a_second_service_changes_nothing_of_the_first_nor_of_what_they_share(prepared):
    # The run before it applied the first service, so what stays is a no-op here.
    plan = prepared("terraform/modules/environment").test.plans["a_second_service_leaves_the_first_alone"]
    actions = {address: change["change"]["actions"] for address, change in plan.items()}
    kept = {address for address, done in actions.items() if done == ["no-op"]}
    added = set(actions) - kept
    # Reading is for a policy document whose ARNs are not known yet.
    assert [address for address in added if actions[address] not in (["create"], ["read"])] == []
    assert [address for address in added if '["worker"]' not in address] == []
    for module in ("ecr", "iam", "ecs"):
        assert any(address.startswith(f'module.{module}["worker"].') for address in added)
        assert any(address.startswith(f'module.{module}["hello"].') for address in kept)
    service = plan['module.ecs["worker"].aws_ecs_service.this']["change"]["after"]
    assert service["alarms"] == [{"alarm_names": ["worker-errors"], "enable": True, "rollback": False}]


def test_blue_green_leaves_what_runs_alone(prepared):
    # The run before it applied the service without. With a rule of its own, the one that carries the traffic would go.
    plan = prepared("terraform/modules/environment").test.plans["blue_green_is_added_to_a_service_that_runs"]
    actions = {address: change["change"]["actions"] for address, change in plan.items()}
    kept = {address for address, done in actions.items() if done == ["no-op"]}
    service = 'module.ecs["hello"]'
    assert kept >= {f"{service}.aws_lb_listener_rule.this[0]", f"{service}.aws_ecs_service.this"}
    assert {address: done for address, done in actions.items() if address not in kept} == {
        f"{service}.aws_iam_role.traffic[0]": ["create"],
        f"{service}.aws_iam_role_policy.traffic[0]": ["create"],
        f"{service}.aws_lb_listener_rule.test[0]": ["create"],
        f"{service}.aws_lb_target_group.alternate[0]": ["create"],
        f"{service}.data.aws_iam_policy_document.traffic[0]": ["read"],
        "aws_lb_listener.test[0]": ["create"],
        'module.load_balancer[0].aws_vpc_security_group_ingress_rule.test["198.51.100.0/24"]': ["create"],
    }


def test_bad_input_is_answered_with_the_service_and_the_next_step_but_without_values(copy, prepared, tested):
    assert prepared("terraform/envs/dev").init.code == 0
    folder = copy / "terraform" / "envs" / "dev"
    mocks = ROOT_TEST.split("\nrun ", 1)[0]
    for name, text in WRONG_SERVICES.items():
        (folder / "tests" / f"wrong_{name}.tftest.hcl").write_text(mocks + text)
    done = tested(folder, *(f"-filter=tests/wrong_{name}.tftest.hcl" for name in WRONG_SERVICES))
    assert done.code == 1
    said = [
        line["diagnostic"]["detail"].split("\n", 1)[0] for line in done.lines if line["type"] == "diagnostic"
    ]
    for sentence in SENTENCES:
        assert any(sentence in text for text in said), (sentence, said)
    everything = json.dumps(done.lines)
    assert not [value for value in VALUES if value in everything]


def test_roots_differ_only_in_backend_key_and_tfvars():
    def files(root: str) -> dict[str, str]:
        folder = TERRAFORM / "envs" / root
        return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}

    roots = {root: files(root) for root in ENVIRONMENTS}
    assert set(roots) >= {"dev", "staging", "prod"}
    for root, texts in roots.items():
        assert f'"{root}/terraform.tfstate"' in texts["backend.tf"]
        texts["backend.tf"] = texts["backend.tf"].replace(f'"{root}/terraform.tfstate"', "KEY")
        tfvars = texts.pop("terraform.tfvars")
        assert f'environment = "{root}"' in tfvars
        assert texts == roots["dev"]
    accounts = {
        re.findall(r'account_id\s*= "(\d{12})"', files(root)["terraform.tfvars"])[0] for root in ENVIRONMENTS
    }
    assert len(accounts) == len(ENVIRONMENTS)


@pytest.mark.parametrize("root", [*(f"terraform/envs/{name}" for name in ENVIRONMENTS), *EXAMPLES])
def test_backend_locks_encrypts_and_leaves_bucket_and_region_to_orch_toml(root):
    text = (REPOSITORY / root / "backend.tf").read_text()
    arguments = dict(re.findall(r"^    (\w+) += (.+)$", text, flags=re.MULTILINE))
    assert set(arguments) == {"key", "encrypt", "use_lockfile"}
    assert (arguments["encrypt"], arguments["use_lockfile"]) == ("true", "true")


@pytest.mark.parametrize("root", [*(f"terraform/envs/{name}" for name in ENVIRONMENTS), *EXAMPLES])
def test_provider_refuses_every_account_but_the_environments(root):
    text = (REPOSITORY / root / "providers.tf").read_text()
    assert re.search(r"^  allowed_account_ids = \[var\.account_id\]$", text, flags=re.MULTILINE)
    assert re.search(r"^  default_tags {$", text, flags=re.MULTILINE)


def test_root_knows_exactly_the_modules_service_attributes():
    module = (TERRAFORM / "modules" / "environment" / "variables.tf").read_text()
    declared = module[module.index('variable "services"') :].split("\n  }))\n", 1)[0]
    # The attributes of the object itself stand four columns in; those of nested objects further.
    known = re.findall(r"^    (\w+) += (?:optional\()?\w", declared, flags=re.MULTILINE)
    root = (TERRAFORM / "envs" / "dev" / "variables.tf").read_text()
    listed = root[root.index("service_attributes = [") :].split("]", 1)[0]
    assert sorted(known) == re.findall(r'^ +"(\w+)",$', listed, flags=re.MULTILINE)
    assert "container_port" in known
