"""terraform/bootstrap as a real plan: the policies that IAM would get are the very ones that `orch policy` prints, and every
trust in it is exact. The AWS provider computes the documents itself and calls no AWS.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator import permissions
from orchestrator.permissions import Place, Role
from orchestrator.terraform.mirror import cli_config
from tests.conftest import require_tool

TERRAFORM = Path(__file__).parents[2] / "terraform"
ACCOUNT = "111111111111"
BUCKET = f"orch-state-{ACCOUNT}-eu-central-1"
# The environments of example.tfvars.
PLACES = (
    Place("aws", "eu-central-1", ACCOUNT, "demo", "dev", BUCKET, ("hello",)),
    Place(
        "aws",
        "eu-central-1",
        ACCOUNT,
        "demo",
        "prod",
        BUCKET,
        ("hello", "worker"),
        is_protected=True,
        trusted_accounts=("444444444444",),
    ),
)
OFFLINE = """
terraform {
  backend "local" {}
}
provider "aws" {
  access_key                  = "offline"
  secret_key                  = "offline"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  allowed_account_ids         = []
}
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """`terraform show -json` of a plan of the bootstrap root with its example.tfvars."""
    terraform = require_tool("terraform")
    base = tmp_path_factory.mktemp("bootstrap")
    copy = base / "terraform"
    shutil.copytree(TERRAFORM, copy, ignore=shutil.ignore_patterns(".terraform", "envs"))
    root = copy / "bootstrap"
    (root / "offline_override.tf").write_text(OFFLINE)
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "AWS_"))}
    config = cli_config("", os.environ, folder=base)
    environ |= {"CHECKPOINT_DISABLE": "1"} | ({"TF_CLI_CONFIG_FILE": config.path} if config.path else {})

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [terraform, *arguments], cwd=root, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("init", "-input=false", "-no-color", "-lockfile=readonly")
    run("plan", "-input=false", "-no-color", "-var-file=example.tfvars", "-out=plan.tfplan")
    return json.loads(run("show", "-json", "plan.tfplan"))


def planned(plan: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The values of the planned resources of a type, by address."""
    return {
        change["address"]: change["change"]["after"]
        for change in plan["resource_changes"]
        if change["type"] == kind
    }


def canonical(document: str | dict[str, Any]) -> list[Any]:
    """Statements without the difference between one value and a list of one, and without order."""

    def spread(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spread(member) for key, member in value.items()}
        return sorted(value) if isinstance(value, list) else [value]

    decoded = json.loads(document) if isinstance(document, str) else document
    return sorted((spread(item) for item in decoded["Statement"]), key=lambda item: item["Sid"])


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.environment)
def test_each_role_gets_what_orch_policy_prints(plan, place):
    inline = planned(plan, "aws_iam_role_policy")
    managed = planned(plan, "aws_iam_policy")
    attached = planned(plan, "aws_iam_role_policy_attachment")
    for role in Role:
        name = f"{place.prefix}-{role}"
        own = inline.get(f'module.oidc.aws_iam_role_policy.this["{name}/{role}"]')
        statements = json.loads(own["policy"])["Statement"] if own else []
        for shared in ("read", "watch"):
            if f'module.oidc.aws_iam_role_policy_attachment.this["{name}/{shared}"]' in attached:
                address = f'module.permissions["{place.environment}"].aws_iam_policy.{shared}'
                statements += json.loads(managed[address]["policy"])["Statement"]
        assert canonical({"Statement": statements}) == canonical(permissions.policy(role, place))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.environment)
def test_the_boundary_is_the_tables(plan, place):
    made = planned(plan, "aws_iam_policy")[
        f'module.permissions["{place.environment}"].aws_iam_policy.boundary'
    ]
    assert (made["path"], made["name"]) == (f"/orch/{place.prefix}/", "boundary")
    assert canonical(made["policy"]) == canonical(permissions.boundary(place))


def test_inline_policies_stay_within_iams_quota(plan):
    sizes: dict[str, int] = {}
    for values in planned(plan, "aws_iam_role_policy").values():
        sizes[values["role"]] = sizes.get(values["role"], 0) + len(values["policy"])
    assert max(sizes.values()) <= 10_240
    assert all(len(values["policy"]) <= 6144 for values in planned(plan, "aws_iam_policy").values())


def test_every_trust_is_exact_and_no_key_is_for_a_person(plan, tmp_path):
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan))
    argv = [sys.executable, str(TERRAFORM / "checks" / "plan_trusts.py"), str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert len(planned(plan, "aws_iam_role")) == len(PLACES) * len(Role)


def test_there_is_one_provider_without_thumbprints_of_ours(plan):
    (provider,) = planned(plan, "aws_iam_openid_connect_provider").values()
    assert provider["url"] == "https://token.actions.githubusercontent.com"
    assert provider["client_id_list"] == ["sts.amazonaws.com"]
    assert "thumbprint_list" not in provider
    assert provider["tags"]["orch:state"] == f"{BUCKET}/bootstrap/terraform.tfstate"
