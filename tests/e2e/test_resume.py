"""`orch apply --resume`: a sealed plan that failed half way, and what of it is left. What counts as left: tests/contract/test_resume.py."""

from __future__ import annotations

import base64
import re

from tests.e2e import hand_made
from tests.e2e.conftest import Project

APPLY = ("apply", "--env", "dev", "--yes", "--sandbox")
HALF = """
resource "terraform_data" "first" {
  input = "made"
}
resource "terraform_data" "second" {
  input = terraform_data.first.id
  lifecycle {
    precondition {
      condition     = terraform_data.first.id != "" && fileexists("${path.module}/../../../go")
      error_message = "Not yet."
    }
  }
}
"""


def test_a_sealed_plan_that_failed_half_way_is_resumed_and_held_to_what_was_reviewed(project: Project):
    hand_made.make(project, "hello")
    first = project.orch(*APPLY).stdout
    given = ("--image", re.search(r"image     (\S+)", first)[1])
    key = {"ORCH_SEAL_KEY": base64.b64encode(bytes(range(32))).decode()}
    half = project.path / "terraform/envs/dev/half.tf"
    half.write_text(HALF)
    project.edit("orch.toml", "[environments.dev]", '[environments.dev]\nseal = { equivalent = "allow" }')
    project.commit("Two more")
    project.orch("plan", "--env", "dev", "--sandbox", "--seal", **key)
    failed = project.orch(*APPLY, *given, "--sealed", "HEAD", code=1, **key)
    assert "Not yet." in failed.stderr
    assert "orch apply --env dev --sealed HEAD --resume" in failed.stderr
    stale = project.orch(*APPLY, *given, "--sealed", "HEAD", code=21, **key)
    said = stale.stderr.split("error:", 1)[1]
    assert "--resume" in said
    # Why a new plan could not be compared is told, and does not take the refusal's place.
    assert "serial: the sealed plan says" in said
    assert "Not yet." in said

    (project.path / "go").touch()
    half.write_text(HALF + 'resource "terraform_data" "third" {\n}\n')
    refused = project.orch(*APPLY, *given, "--resume", code=21, **key)
    said = refused.stderr.split("error:", 1)[1]
    assert "what is left is more than the plan of" in said
    assert "terraform_data.third: create, of which the reviewed plan knows nothing" in said

    half.write_text(HALF)
    done = project.orch(*APPLY, *given, "--resume", **key)
    assert "Of the reviewed plan for dev: 1 done, 1 left" in done.stderr
    assert "✓ terraform_data.first: create" in done.stderr
    assert "• terraform_data.second: create" in done.stderr
    assert "dev · hello: " in done.stdout
    again = project.orch("plan", "--env", "dev", "--sandbox", "--detailed-exitcode", **key)
    assert "no changes" in again.stdout
    nobody = project.orch("apply", "--env", "dev", "--sandbox", "--resume", **key)
    assert "Of the reviewed plan for dev: 2 done, 0 left" in nobody.stderr
