"""Secrets planted wherever a plan can carry one, and looked for wherever orch writes: none may come out.

The root module is made for this test; AWS is the sandbox, GitHub the fake, Terraform real. Each canary is a text of its own, so
that a leak says which place it came from.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
import urllib.parse
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.contract.github_fake import TOKEN, GitHub
from tests.e2e.conftest import Project

BUCKET = "orch-state-111111111111-eu-central-1"
SEAL_KEY = base64.b64encode(bytes(range(32))).decode()
# Each canary and where it is planted.
PLACES = {
    "canary-variable-7f3a91": "a sensitive variable, copied into resources, a map's key, an output and a hash's input",
    "canary-nested-2c8e40": "a member of a sensitive object",
    "canary-output-9d1b77": "a sensitive output",
    "canary-container-5e6f02": "a container's plain environment",
    "canary-userdata-8a4c13": "user data",
    "canary-policy-3b7d55": "a condition of a policy, from a sensitive variable",
    "canary-removed-6e2f98": "a sensitive value that the plan removes",
    "canary-replaced-1a9c34": "a sensitive value that the plan replaces",
    "canary-url-4d8b60": "the password in a URL",
    "canary-named-0c5e27": "an attribute whose name says what it is",
    "canary-check-7b1d83": "the message of a check that fails",
    "canary-diagnostic-9f4a16": "the message of a precondition that fails",
    "canary-provisioner-2e7c49": "what a provisioner prints",
    'canary-quoted"-5a8d': "a value that JSON writes in another way",
}
SHAPED = {
    "AKIAIOSFODNN7CANARY1": "an access key id in a plain value",
    "ghp_" + "c" * 36: "a GitHub token in a plain value",
    "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOjF9.c2lnbmF0dXJlLWNhbmFyeQ": "a JWT in a plain value",
    "MIICANARYPRIVATEKEYBODY": "a PEM key in a plain value",
}
ROOT = r"""
terraform {
  backend "s3" {
    key          = "dev/terraform.tfstate"
    use_lockfile = true
  }
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.100.0, < 6.0.0" }
  }
}
provider "aws" { region = "eu-central-1" }

variable "secret" {
  type      = string
  sensitive = true
}
variable "settings" {
  type      = object({ open = string, shut = string })
  sensitive = true
}
variable "policy_secret" {
  type      = string
  sensitive = true
}
variable "phase" { type = string }

resource "terraform_data" "copies" {
  input = {
    direct  = var.secret
    nested  = var.settings
    encoded = base64encode(nonsensitive(var.secret))
    url     = urlencode(nonsensitive(var.secret))
    quoted  = sensitive("canary-quoted\"-5a8d")
    list    = [nonsensitive(var.secret)]
  }
}
resource "terraform_data" "keyed" {
  input = { (nonsensitive(var.secret)) = "value" }
}
resource "terraform_data" "shaped" {
  input = {
    database  = "postgres://app:canary-url-4d8b60@db.example/app"
    access    = "AKIAIOSFODNN7CANARY1"
    github    = "ghp_cccccccccccccccccccccccccccccccccccc"
    session   = "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOjF9.c2lnbmF0dXJlLWNhbmFyeQ"
    pem       = "-----BEGIN PRIVATE KEY-----\nMIICANARYPRIVATEKEYBODY\n-----END PRIVATE KEY-----"
    db_password = "canary-named-0c5e27"
  }
}
resource "terraform_data" "gone" {
  count = var.phase == "first" ? 1 : 0
  input = sensitive("canary-removed-6e2f98")
}
resource "terraform_data" "swapped" {
  triggers_replace = sensitive(var.phase == "first" ? "canary-replaced-1a9c34" : "other")
}
resource "aws_ecs_task_definition" "web" {
  family = "web"
  container_definitions = jsonencode([{
    name        = "web"
    image       = "web@sha256:${var.phase == "first" ? "1" : "2"}"
    memory      = 128
    environment = [{ name = "DATABASE", value = "canary-container-5e6f02" }, { name = "PHASE", value = var.phase }]
  }])
}
resource "aws_launch_template" "web" {
  name      = "web"
  user_data = base64encode("#!/bin/sh\n# canary-userdata-8a4c13 ${var.phase}\n")
}
resource "aws_iam_policy" "web" {
  name = "web"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Read"
      Effect    = "Allow"
      Action    = "s3:GetObject"
      Resource  = "arn:aws:s3:::web-${var.phase}/*"
      Condition = { StringEquals = { "aws:PrincipalTag/key" = nonsensitive(var.policy_secret) } }
    }]
  })
}
resource "terraform_data" "talks" {
  triggers_replace = var.phase
  provisioner "local-exec" {
    command = "echo canary-provisioner-2e7c49; echo ${nonsensitive(var.secret)}"
  }
}
check "fails" {
  assert {
    condition     = var.phase == "first"
    error_message = "Not fine: password=canary-check-7b1d83"
  }
}
output "secret" {
  value     = "canary-output-9d1b77"
  sensitive = true
}
output "open" { value = nonsensitive(var.secret) }
"""
BROKEN = """
resource "terraform_data" "broken" {
  lifecycle {
    precondition {
      condition     = var.phase == "never"
      error_message = "Cannot use password=canary-diagnostic-9f4a16 here, nor ${nonsensitive(var.secret)}."
    }
  }
}
"""


def variables(phase: str) -> dict[str, str]:
    return {
        "TF_VAR_secret": "canary-variable-7f3a91",
        "TF_VAR_settings": json.dumps({"open": "fine", "shut": "canary-nested-2c8e40"}),
        "TF_VAR_policy_secret": "canary-policy-3b7d55",
        "TF_VAR_phase": phase,
        "ORCH_SEAL_KEY": SEAL_KEY,
    }


@pytest.fixture(scope="module")
def planted(project: Project):
    """A project whose dev is ROOT, with the first phase in its state, and a terraform that writes down how it was called."""
    root = project.path / "terraform" / "envs" / "dev"
    for file in root.glob("*.tf*"):
        file.unlink()
    (root / "main.tf").write_text(ROOT)
    tools = project.path.parent / "tools"
    tools.mkdir()
    log = project.path.parent / "argv.log"
    script = tools / "terraform"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\nexec {require_tool("terraform")} "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    project.environ["PATH"] = f"{tools}:{project.environ['PATH']}"
    project.environ["TMPDIR"] = str(project.path.parent / "tmp")
    (project.path.parent / "tmp").mkdir()
    project.commit("Canaries")
    # Without the output `orch` the apply of its own root module ends with an error, after Terraform is done.
    said = project.orch("apply", "--env", "dev", "--sandbox", "--yes", code=1, **variables("first"))
    assert "has no output object named `orch`" in said.stderr
    return project, said, log


@pytest.fixture(scope="module")
def told(planted):
    """Everything that orch says and writes while it plans the second phase: place → text."""
    project, applied, log = planted
    with GitHub().serving() as github:
        github.pull(7, "c" * 40)
        summary = project.path.parent / "summary.md"
        environ = variables("second") | {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "workflow_dispatch",
            "GITHUB_REPOSITORY": "acme/shop",
            "GITHUB_API_URL": github.url,
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_TOKEN": TOKEN,
        }
        plan = ("plan", "--env", "dev", "--sandbox", "--comment", "--pull-request", "7")
        text = project.orch(*plan, "--seal", "--verbose", **environ)
        as_json = project.orch(*plan, "--output", "json", **environ)
        comments = "\n".join(comment.body for comment in github.comments.values())
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project.path, capture_output=True, text=True, check=True
    ).stdout.strip()
    bundle = (
        project.client("s3").get_object(Bucket=BUCKET, Key=f"orch/plans/dev/{commit}.bundle")["Body"].read()
    )
    root = project.path / "terraform" / "envs" / "dev"
    (root / "broken.tf").write_text(BROKEN)
    failed = project.orch("plan", "--env", "dev", "--sandbox", code=1, **variables("second"))
    (root / "broken.tf").unlink()
    return {
        "terminal of apply": applied.stdout + applied.stderr,
        "terminal of plan": text.stdout + text.stderr,
        "JSON lines": as_json.stdout + as_json.stderr,
        "comment": comments,
        "step summary": summary.read_text(),
        "error of a failed plan": failed.stdout + failed.stderr,
        "sealed bundle": bundle.decode("latin-1"),
        "arguments of Terraform": log.read_text(),
    }


def forms(canary: str) -> set[str]:
    """The ways in which a text can stand in another."""
    raw = canary.encode()
    return {
        canary,
        json.dumps(canary)[1:-1],
        urllib.parse.quote(canary, safe=""),
        base64.b64encode(raw).decode().rstrip("="),
        raw.hex(),
    }


@pytest.mark.parametrize("canary", [*PLACES, *SHAPED])
def test_no_canary_comes_out(told, canary):
    leaks = [
        f"{place}: {PLACES.get(canary) or SHAPED[canary]}"
        for place, text in told.items()
        if any(form in text for form in forms(canary))
    ]
    assert leaks == []


def test_what_is_no_secret_is_still_told(told):
    """The nets must not be so tight that nobody can review a plan."""
    for place in ("terminal of plan", "comment"):
        text = told[place]
        assert "terraform_data.swapped" in text
        assert "terraform_data.gone[0]" in text
        assert "(sensitive)" in text
        assert "DATABASE" in text or "PHASE" in text
        assert "web@sha256:2" in text or "sha256:2" in text
    assert "aws_iam_policy.web" in told["comment"]
    assert "Cannot use" in told["error of a failed plan"]
    assert len(told["sealed bundle"]) > 1000


def test_nothing_is_left_on_disk_in_clear(planted, told):
    """But for the configuration itself, which is the user's own file, and the sandbox's own state."""
    project, _applied, log = planted
    base = project.path.parent
    left = []
    for file in base.rglob("*"):
        if not file.is_file() or file.is_symlink() or ".git" in file.parts or "sandbox" in file.parts:
            continue
        if file.name in {"main.tf", "broken.tf"} or file == log:
            continue
        data = file.read_bytes()
        left += [
            f"{file.relative_to(base)}: {PLACES[canary]}" for canary in PLACES if canary.encode() in data
        ]
    assert left == []
    assert not list((base / "tmp").iterdir())


def test_the_log_of_a_bug_holds_none(planted, told, tmp_path):
    project, _applied, _log = planted
    environ = variables("second") | {"XDG_STATE_HOME": str(tmp_path)}
    # A state folder that cannot be a folder is nothing that orch expects.
    root = project.path / "terraform" / "envs" / "dev" / ".terraform" / "orch"
    shutil.rmtree(root, ignore_errors=True)
    root.write_text("not a folder")
    done = project.orch("plan", "--env", "dev", "--sandbox", code=None, **environ)
    root.unlink()
    written = "".join(file.read_text() for file in Path(tmp_path).rglob("*") if file.is_file())
    said = done.stdout + done.stderr + written
    assert done.returncode in {1, 3}
    assert not [canary for canary in PLACES if canary in said]
    assert SEAL_KEY not in said
    assert os.environ.get("HOME")
