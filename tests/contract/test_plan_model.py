"""What a Plan says, held to plans that the real Terraform makes: terraform_data and local state, no AWS, no provider."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import re
import subprocess

import pytest

from orchestrator.errors import TerraformError
from orchestrator.events import PlanReady
from orchestrator.model import Action, Masked
from orchestrator.report import board, json_lines, markdown, text
from orchestrator.sandbox import control
from orchestrator.terraform import binary, plan_json, runner
from tests.conftest import require_tool
from tests.unit.test_markdown import HOSTILE, UNSEEN, parse, structure

pytest_plugins = ("tests.contract.sandbox_fixtures",)

ENVIRON = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
S = Masked.SENSITIVE
ONE = 'resource "terraform_data" "one" {\n  input = "v1"\n}\n'


@pytest.fixture(scope="session")
def terraform():
    require_tool("terraform")
    return binary.find("terraform", ENVIRON)


class Root:
    """A root module whose configuration may be written anew between plans."""

    def __init__(self, terraform, path, environ):
        self._arguments = (terraform, path, environ)
        self.events = []

    def opened(self, configuration):
        terraform, path, environ = self._arguments
        (path / "main.tf").write_text(configuration)
        root = runner.open_root_module(
            terraform,
            path,
            backend_config={},
            environ=environ,
            aws_environ={},
            role="plan",
            provider_mirror="",
            lock_timeout_s=0,
            emit=self.events.append,
        )
        runner.init_if_needed(root)
        return root

    def plan(self, configuration, *, is_destroy=False):
        saved = runner.plan(self.opened(configuration), self.events.append, is_destroy=is_destroy)
        saved.discard()
        return saved.plan

    def both(self, configuration):
        """The plan, and Terraform's own JSON of it."""
        root = self.opened(configuration)
        file = root.data_dir / "both.tfplan"
        runner._run_plan(root, file, self.events.append, is_destroy=False)
        data = runner.show(root, file)
        return plan_json.decode(data), data

    def apply(self, configuration):
        root = self.opened(configuration)
        saved = runner.plan(root, self.events.append)
        try:
            runner.apply(root, saved, self.events.append)
        finally:
            saved.discard()
        return saved.plan

    def words(self, configuration):
        """What Terraform itself tells a person of the plan: its exit code, and its text."""
        return self.terraform(configuration, "plan", "-detailed-exitcode")

    def terraform(self, configuration, *arguments):
        root = self.opened(configuration)
        done = subprocess.run(
            [*root.binary.argv, *arguments, "-no-color"],
            cwd=root.path,
            env=root.env,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture
def root_in(tmp_path, terraform):
    def root_in(**more):
        (tmp_path / "root").mkdir()
        return Root(terraform, tmp_path / "root", ENVIRON | more)

    return root_in


def shown(plan) -> str:
    """All of a plan that anybody may come to see."""
    return "\n".join([repr(plan), json_lines.line(PlanReady("dev", plan)), *text.plan_lines("dev", plan)])


def said(plan) -> list[str]:
    return text.plan_lines("dev", plan)


def in_comment(plan) -> str:
    """What the comment's table says of the plan."""
    row = board.Row("dev", board.State.PLANNED, plan=plan)
    body = markdown.comment(board.Board("", "", (row,))).body
    (line,) = [line for line in body.splitlines() if "**dev** |" in line]
    cell = line.split(" | ")[1]
    return cell.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")


def actions(data):
    """Of Terraform's JSON, what it does to each resource: (address, actions)."""
    return [(item["address"], item["change"]["actions"]) for item in data["resource_changes"]]


def details(change):
    return [(detail.label, detail.before, detail.after) for detail in change.details]


# --- where Terraform's own counts mislead, or a naive reading of its JSON would


def test_nothing_to_do(root_in):
    root = root_in()
    root.apply(ONE)
    plan, data = root.both(ONE)
    assert data["applyable"] is False
    # Terraform lists what stays as it is, too.
    assert actions(data) == [("terraform_data.one", ["no-op"])]
    assert not plan.is_applicable
    assert said(plan) == ["Plan for dev: no changes"]
    assert in_comment(plan) == "no changes"


def test_forget_alone(root_in):
    root = root_in()
    root.apply(ONE)
    forgotten = "removed {\n  from = terraform_data.one\n  lifecycle {\n    destroy = false\n  }\n}\n"
    plan, data = root.both(forgotten)
    assert actions(data) == [("terraform_data.one", ["forget"])]
    assert plan.summary == "1 to forget"
    assert plan.is_applicable
    assert plan.changes[0].details == ()
    assert said(plan) == [
        "Plan for dev: 1 to forget",
        "  x terraform_data.one (forget: no longer in the configuration)",
    ]
    assert in_comment(plan) == "1 forgotten"
    # What other tools take for "no changes", and the exit code for changes.
    code, words = root.words(forgotten)
    assert "Plan: 0 to add, 0 to change, 0 to destroy." in words
    assert code == 2


def test_move_alone(root_in):
    root = root_in()
    root.apply(ONE)
    moved = (
        ONE.replace('"one"', '"two"') + "moved {\n  from = terraform_data.one\n  to = terraform_data.two\n}\n"
    )
    plan, data = root.both(moved)
    assert actions(data) == [("terraform_data.two", ["no-op"])]
    assert plan.summary == "1 to move"
    assert plan.is_applicable
    (change,) = plan.changes
    assert (change.address, change.previous_address) == ("terraform_data.two", "terraform_data.one")
    assert said(plan)[1:] == ["  > terraform_data.two (move from terraform_data.one)"]
    assert in_comment(plan) == "1 move"
    code, words = root.words(moved)
    assert "Plan: 0 to add, 0 to change, 0 to destroy." in words
    assert code == 2
    both = root.plan(moved.replace("v1", "v2"))
    assert both.summary == "1 to update"
    assert both.changes[0].previous_address == "terraform_data.one"
    assert details(both.changes[0]) == [("input", "v1", "v2")]
    assert said(both)[1] == "  ~ terraform_data.two (update, was terraform_data.one)"


IMPORT = 'import {\n  to = terraform_data.one\n  id = "known-id"\n}\n'


@pytest.mark.parametrize(
    ("resource", "terraforms", "summary", "line"),
    [
        (
            'resource "terraform_data" "one" {}\n',
            ["no-op"],
            "1 to import",
            "  < terraform_data.one (import of known-id)",
        ),
        # With an update it is still told as an import, and what changes stands below it.
        (ONE, ["update"], "1 to import", "  < terraform_data.one (import of known-id)"),
        # With a replace it destroys what it has just imported.
        (
            ONE.replace("input", "triggers_replace"),
            ["delete", "create"],
            "1 to replace",
            "  ± terraform_data.one (replace, import of known-id: it cannot be updated in place)",
        ),
    ],
    ids=["alone", "and update", "and replace"],
)
def test_import_with_any_action(root_in, resource, terraforms, summary, line):
    plan, data = root_in().both(resource + IMPORT)
    assert actions(data) == [("terraform_data.one", terraforms)]
    assert plan.summary == summary
    assert plan.is_applicable
    assert plan.changes[0].import_id == "known-id"
    assert said(plan)[1] == line
    assert in_comment(plan) == ("`+0 ~0` **±1 -0**" if "replace" in summary else "1 import")
    if terraforms == ["update"]:
        assert ("input", Masked.ABSENT, "v1") in details(plan.changes[0])


def test_outputs_alone(root_in):
    root = root_in()
    root.apply(ONE + 'output "x" {\n  value = "a"\n}\noutput "z" {\n  value = 1\n}\n')
    plan, data = root.both(
        ONE + 'output "x" {\n  value = "b"\n}\noutput "y" {\n  value = [1]\n}\noutput "z" {\n  value = 1\n}\n'
    )
    assert actions(data) == [("terraform_data.one", ["no-op"])]
    assert plan.summary == "2 outputs to change"
    assert plan.is_applicable
    assert [(output.name, output.action, output.before, output.after) for output in plan.output_changes] == [
        ("x", Action.UPDATE, "a", "b"),
        ("y", Action.CREATE, Masked.ABSENT, [1]),
    ]
    assert said(plan) == [
        "Plan for dev: 2 outputs to change",
        "  ~ output x: a → b",
        "  + output y: 1",
    ]
    assert in_comment(plan) == "2 outputs"
    gone = root.plan(ONE)
    assert [(output.name, output.action) for output in gone.output_changes] == [
        ("x", Action.DELETE),
        ("z", Action.DELETE),
    ]
    assert said(gone)[0] == "Plan for dev: 2 outputs to change"


def test_an_errored_plan_can_be_decoded_but_not_applied(root_in, tmp_path):
    root = root_in()
    broken = ONE + (
        'resource "terraform_data" "two" {\n  input = "v"\n  lifecycle {\n    precondition {\n'
        '      condition     = terraform_data.one.input == "v0"\n      error_message = "not v0"\n    }\n  }\n}\n'
    )
    with pytest.raises(TerraformError) as caught:
        root.plan(broken)
    assert "not v0" in "\n".join(caught.value.details)
    opened = root.opened(broken)
    file = tmp_path / "errored.tfplan"
    with pytest.raises(TerraformError):
        runner._run_plan(opened, file, root.events.append, is_destroy=False)
    data = runner.show(opened, file)
    assert (data["errored"], data["applyable"], data["complete"]) == (True, False, False)
    plan = plan_json.decode(data)
    assert (plan.is_errored, plan.is_applicable) == (True, False)
    assert ("fail", ("not v0",)) in [(check.status, check.messages) for check in plan.checks]
    assert said(plan)[1] == (
        "! Terraform stopped at an error: this plan is not complete and cannot be applied"
    )
    # Its numbers are those of the part that was planned.
    assert said(plan)[0] == "Plan for dev: 1 to create"
    with pytest.raises(TerraformError) as caught:
        runner.apply(opened, runner.SavedPlan(file, plan, {}), root.events.append)
    assert "Cannot apply incomplete plan" in "\n".join(caught.value.details)


@pytest.mark.parametrize(
    ("lifecycle", "terraforms"),
    [
        ("", ["delete", "create"]),
        ("  lifecycle {\n    create_before_destroy = true\n  }\n", ["create", "delete"]),
    ],
    ids=["destroy first", "create first"],
)
def test_replace_both_ways(root_in, lifecycle, terraforms):
    root = root_in()
    config = (
        'resource "terraform_data" "one" {\n  input = "v1"\n  triggers_replace = "a"\n' + lifecycle + "}\n"
    )
    root.apply(config)
    plan, data = root.both(config.replace('"a"', '"b"').replace("v1", "v2"))
    assert actions(data) == [("terraform_data.one", terraforms)]
    assert plan.summary == "1 to replace"
    (change,) = plan.changes
    assert change.reason == "replace_because_cannot_update"
    assert [(detail.label, detail.forces_replacement) for detail in change.details] == [
        ("triggers_replace", True),
        ("input", False),
    ]
    assert said(plan) == [
        "Plan for dev: 1 to replace",
        "  ± terraform_data.one (replace: it cannot be updated in place)",
        "      triggers_replace: a → b  ← forces replacement",
        "      input: v1 → v2",
    ]
    assert in_comment(plan) == "`+0 ~0` **±1 -0**"


HALF_REPLACED = """
resource "terraform_data" "first" {
  triggers_replace = "v1"
  lifecycle {
    create_before_destroy = true
  }
}
resource "terraform_data" "second" {
  triggers_replace = terraform_data.first.id
  provisioner "local-exec" {
    command = "true"
  }
}
"""


def test_what_a_failed_replace_left_behind(root_in):
    """The address is listed twice, with the resource itself and with its deposed object; what failed is tainted."""
    root = root_in()
    root.apply(HALF_REPLACED)
    failing = HALF_REPLACED.replace("v1", "v2").replace('"true"', '"false"')
    with pytest.raises(TerraformError):
        root.apply(failing)
    plan, data = root.both(failing.replace("v2", "v3"))
    assert actions(data) == [
        ("terraform_data.first", ["create", "delete"]),
        ("terraform_data.first", ["delete"]),
        ("terraform_data.second", ["delete", "create"]),
    ]
    (deposed,) = [item["deposed"] for item in data["resource_changes"] if "deposed" in item]
    assert plan.summary == "2 to replace, 1 to delete"
    assert [line for line in said(plan) if line.startswith("  ") and not line.startswith("   ")] == [
        f"  - terraform_data.first (deposed {deposed}) (delete)",
        "  ± terraform_data.first (replace: it cannot be updated in place)",
        "  ± terraform_data.second (replace: it is tainted)",
    ]
    assert in_comment(plan) == "`+0 ~0` **±2 -1**"
    # Both objects are forgotten.
    forgotten = "removed {\n  from = terraform_data.first\n  lifecycle {\n    destroy = false\n  }\n}\n"
    second = 'resource "terraform_data" "second" {}\n'
    plan, data = root.both(forgotten + second)
    assert actions(data)[:2] == [("terraform_data.first", ["forget"])] * 2
    assert plan.summary == "1 to replace, 2 to forget"


UNKNOWN = """
resource "terraform_data" "new" {
  input = "v1"
}
resource "terraform_data" "old" {
  input = { known = "k", later = PART, list = ["a", PART] }
}
data "terraform_remote_state" "other" {
  backend    = "local"
  config     = { path = "other.tfstate" }
  depends_on = [terraform_data.new]
}
output "read" {
  value = data.terraform_remote_state.other.outputs
}
"""


def test_what_is_known_after_apply_alone_and_data_that_is_only_read(root_in):
    root = root_in()
    root.apply('resource "terraform_data" "old" {\n  input = { known = "k", list = ["a"] }\n}\n')
    plan, data = root.both(UNKNOWN.replace("PART", "terraform_data.new.id"))
    assert ("data.terraform_remote_state.other", ["read"]) in actions(data)
    # `after` alone would have the list lose a member, and no `later` at all.
    (old,) = [item["change"] for item in data["resource_changes"] if item["address"] == "terraform_data.old"]
    assert old["after"]["input"] == {"known": "k", "list": ["a", None]}
    assert plan.summary == "1 to create, 1 to update, 1 output to change"
    assert [(change.address, change.action) for change in plan.changes] == [
        ("terraform_data.new", Action.CREATE),
        ("terraform_data.old", Action.UPDATE),
    ]
    lines = said(plan)
    assert "      input.later: + (known after apply)" in lines
    assert "      input.list: a → a, (known after apply)" in lines
    assert not [line for line in lines if "remote_state" in line]
    assert in_comment(plan) == "`+1 ~1 ±0 -0`<br>1 output"


WHY_DELETED = """
resource "terraform_data" "counted" {
  count = 2
}
resource "terraform_data" "keyed" {
  for_each = toset(["a", "b"])
}
resource "terraform_data" "single" {
}
resource "terraform_data" "gone" {
}
resource "terraform_data" "moved" {
}
module "child" {
  source = "./child"
  count  = 1
}
"""
STILL_THERE = """
module "child" {
  source = "./child"
  count  = 0
}
resource "terraform_data" "counted" {
  count = 1
}
resource "terraform_data" "keyed" {
  for_each = toset(["a"])
}
resource "terraform_data" "single" {
  for_each = {}
}
moved {
  from = terraform_data.moved
  to   = terraform_data.nowhere
}
"""


def test_every_destroy_says_why(root_in, tmp_path):
    root = root_in()
    (tmp_path / "root" / "child").mkdir()
    (tmp_path / "root" / "child" / "main.tf").write_text(ONE)
    root.apply(WHY_DELETED)
    plan = root.plan(STILL_THERE)
    assert plan.summary == "6 to delete"
    assert said(plan)[1:] == [
        "  - module.child[0].terraform_data.one (delete: its module is no longer in the configuration)",
        "  - terraform_data.counted[1] (delete: beyond count)",
        "  - terraform_data.gone (delete: no longer in the configuration)",
        '  - terraform_data.keyed["b"] (delete: its key is no longer in for_each)',
        "  - terraform_data.nowhere (delete, was terraform_data.moved: what it moved to is not in the configuration)",
        "  - terraform_data.single (delete: it has count or for_each now, or no longer)",
    ]


BEFORE_ALL = """
resource "terraform_data" "forgotten" {
}
resource "terraform_data" "from" {
}
resource "terraform_data" "deleted" {
}
resource "terraform_data" "updated" {
  input = "v1"
}
resource "terraform_data" "destroy_first" {
  triggers_replace = "v1"
}
resource "terraform_data" "create_first" {
  triggers_replace = "v1"
  lifecycle {
    create_before_destroy = true
  }
}
resource "terraform_data" "triggered" {
  lifecycle {
    replace_triggered_by = [terraform_data.updated]
  }
}
resource "terraform_data" "same" {
}
output "x" {
  value = "v1"
}
"""
AFTER_ALL = (
    BEFORE_ALL.replace("v1", "v2")
    .replace('resource "terraform_data" "deleted" {\n}\n', "")
    .replace(
        'resource "terraform_data" "forgotten" {\n}\n',
        "removed {\n  from = terraform_data.forgotten\n  lifecycle {\n    destroy = false\n  }\n}\n",
    )
    .replace(
        '"from" {\n}\n', '"to" {\n}\nmoved {\n  from = terraform_data.from\n  to = terraform_data.to\n}\n'
    )
    + 'resource "terraform_data" "one" {\n}\nresource "terraform_data" "created" {\n}\n'
    + IMPORT
)


def test_all_of_them_in_one_plan(root_in):
    root = root_in()
    root.apply(BEFORE_ALL)
    plan, data = root.both(AFTER_ALL)
    assert plan.summary == (
        "1 to create, 1 to update, 3 to replace, 1 to delete, 1 to forget, 1 to import, 1 to move,"
        " 1 output to change"
    )
    assert in_comment(plan) == "`+1 ~1` **±3 -1**<br>1 forgotten<br>1 import<br>1 move<br>1 output"
    # Terraform counts a replace twice, and has no word for a forget and a move.
    _code, words = root.words(AFTER_ALL)
    assert "Plan: 1 to import, 4 to add, 1 to change, 4 to destroy." in words
    # Whoever takes the first action alone counts one replace as a create and two as deletions.
    first = collections.Counter(item["change"]["actions"][0] for item in data["resource_changes"])
    assert (first["create"], first["delete"], first["no-op"]) == (2, 3, 3)
    assert [line for line in said(plan) if line.startswith("  ") and not line.startswith("   ")] == [
        "  - terraform_data.deleted (delete: no longer in the configuration)",
        "  ± terraform_data.create_first (replace: it cannot be updated in place)",
        "  ± terraform_data.destroy_first (replace: it cannot be updated in place)",
        "  ± terraform_data.triggered (replace: triggered)",
        "  x terraform_data.forgotten (forget: no longer in the configuration)",
        "  + terraform_data.created (create)",
        "  ~ terraform_data.updated (update)",
        "  < terraform_data.one (import of known-id)",
        "  > terraform_data.to (move from terraform_data.from)",
        "  ~ output x: v1 → v2",
    ]


HOSTILE_ROOT = """
locals {
  hostile = jsondecode(file("hostile.json"))
}
resource "terraform_data" "hostile" {
  for_each = toset(local.hostile)
  input    = { (each.value) = "${each.value}SUFFIX" }
}
resource "terraform_data" "safe" {
  for_each = toset([for number in range(length(local.hostile)) : "safe-${number}"])
  input    = { (each.value) = "${each.value}SUFFIX" }
}
"""


def test_hostile_keys_and_values_of_a_real_plan_leave_the_comment_intact(root_in, tmp_path):
    """From Terraform's own way of writing addresses to the comment; tests/unit/test_markdown.py has more places."""
    # A half of a surrogate pair is no text to Terraform.
    hostile = [item for item in HOSTILE.values() if not any("\ud800" <= sign <= "\udfff" for sign in item)]
    assert len(hostile) >= 40
    root = root_in()
    (tmp_path / "root" / "hostile.json").write_text(json.dumps(hostile))
    root.apply(HOSTILE_ROOT.replace("SUFFIX", ""))
    plans = {"dev": root.plan(HOSTILE_ROOT.replace("SUFFIX", "!")), "prod": root.plan("")}
    assert plans["dev"].summary == f"{2 * len(hostile)} to update"
    assert plans["prod"].summary == f"{2 * len(hostile)} to delete"
    bodies = {}
    for kind in ("safe", "hostile"):
        rows = []
        for position, (name, plan) in enumerate(plans.items()):
            mine = tuple(
                change for change in plan.changes if change.address.startswith(f"terraform_data.{kind}[")
            )
            assert len(mine) == len(hostile)
            half = dataclasses.replace(plan, changes=mine)
            assert all(line.isprintable() for line in said(half))
            rows.append(board.Row(name, board.State.PLANNED, plan=half, position=position))
        shown = board.Board("", "", tuple(rows))
        assert len(markdown.comment(shown).body.encode()) <= 60_000
        bodies[kind] = markdown.comment(shown, max_bytes=10**7).body
    assert structure(bodies["hostile"]) == structure(bodies["safe"])
    assert structure(bodies["hostile"]).count("list_item_open li") == len(hostile)
    assert not UNSEEN.search(bodies["hostile"])
    updates, deletes = [token.content for token in parse(bodies["hostile"]) if token.type == "fence"]
    for fence in (updates, deletes):
        assert len(re.findall(r"^[-~] terraform_data\.hostile\[", fence, re.MULTILINE)) == len(hostile)


DRIFTING = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100.0, < 6.0.0"
    }
  }
}
resource "aws_cloudwatch_log_group" "changed" {
  name              = "/changed"
  retention_in_days = 30
}
resource "aws_cloudwatch_log_group" "gone" {
  name = "/gone"
}
resource "aws_cloudwatch_log_group" "same" {
  name = "/same"
}
"""


def test_drift_is_told_apart_from_what_it_makes_the_plan_do(root_in, cloud):
    """terraform_data has nothing outside of the state that could change, so this takes the AWS provider."""
    control.control(cloud.sandbox, "POST", "clock", {"freeze": False})
    root = root_in(**control.aws_environment(cloud.sandbox, account_id="111111111111", region="eu-central-1"))
    assert root.terraform(DRIFTING, "apply", "-auto-approve")[0] == 0
    logs = cloud.client("logs")
    logs.put_retention_policy(logGroupName="/changed", retentionInDays=3653)
    logs.delete_log_group(logGroupName="/gone")
    plan, data = root.both(DRIFTING)
    # What a refresh fills in counts as drift to Terraform, too.
    assert [(item["address"], item["change"]["actions"]) for item in data["resource_drift"]] == [
        ("aws_cloudwatch_log_group.changed", ["update"]),
        ("aws_cloudwatch_log_group.gone", ["delete"]),
        ("aws_cloudwatch_log_group.same", ["update"]),
    ]
    # A deletion by somebody else is no deletion by this plan.
    assert plan.summary == "1 to create, 1 to update"
    assert [(change.address, change.action) for change in plan.drift] == [
        ("aws_cloudwatch_log_group.changed", Action.UPDATE),
        ("aws_cloudwatch_log_group.gone", Action.DELETE),
    ]
    lines = said(plan)
    assert lines[0] == "Plan for dev: 1 to create, 1 to update"
    assert "      retention_in_days: 3653 → 30" in lines
    drift = lines.index(
        "Changed outside Terraform: aws_cloudwatch_log_group.changed, aws_cloudwatch_log_group.gone"
    )
    assert lines[drift + 1 :] == ["      retention_in_days: 30 → 3653"]
    assert not [line for line in lines if line.startswith("  -")]


SECRETS = """
variable "password" {
  type      = string
  sensitive = true
}
variable "nested" {
  type      = object({ user = string, keys = list(object({ key = string })) })
  sensitive = true
  default   = { user = "canary-user", keys = [{ key = "canary-key" }] }
}
resource "terraform_data" "one" {
  input = var.password
}
resource "terraform_data" "two" {
  input = { open = "shown", url = "https://x/?p=${var.password}", list = ["a", var.password] }
}
resource "terraform_data" "three" {
  input = var.nested
}
# What Terraform no longer knows to be secret.
resource "terraform_data" "four" {
  input = {
    plain   = nonsensitive(var.password)
    base64  = nonsensitive(base64encode("user:${var.password}"))
    json    = nonsensitive(jsonencode({ deep = var.nested.keys[0].key }))
    (nonsensitive(var.password)) = "key"
  }
}
resource "terraform_data" "five" {
  for_each = toset([nonsensitive(var.password)])
}
output "password" {
  value     = { all = var.password }
  sensitive = true
}
output "copied" {
  value = nonsensitive(var.password)
}
"""


def test_a_secret_comes_out_nowhere_and_its_change_is_seen(root_in, tmp_path):
    root = root_in(TF_VAR_password="canary-one&<1>")
    first = root.apply(SECRETS)
    assert first.count(Action.CREATE) == 5
    again = Root(root._arguments[0], tmp_path / "root", ENVIRON | {"TF_VAR_password": "canary-two&<2>"})
    plan = again.plan(SECRETS)
    by_address = {change.address: change for change in plan.changes}
    assert details(by_address["terraform_data.one"]) == [("input", S, S)]
    assert ("input.open", "shown", "shown") not in details(by_address["terraform_data.two"])
    assert {label for label, _, _ in details(by_address["terraform_data.two"])} == {"input.list", "input.url"}
    assert [output.name for output in plan.output_changes] == ["copied", "password"]
    # The old value is known to Terraform as the sensitive output's; a copy under another name is found by it.
    for encoded in ("canary", "Y2FuYXJ5", "NhbmFyeS", "jYW5hcnkt"):
        assert encoded not in shown(first)
        assert encoded not in shown(plan)
        assert encoded not in repr(root.events)
    # While the second plan is made, nobody knows yet that a key from the state was once the secret.
    assert "canary-two" not in repr(again.events)
    same = again.apply(SECRETS)
    assert same.summary == plan.summary
    assert again.plan(SECRETS).summary == "no changes"


def test_a_secret_that_is_removed_or_no_longer_declared_as_one_stays_hidden(root_in):
    root = root_in()
    secret = 'variable "p" {\n  type = string\n  sensitive = true\n  default = "canary-p"\n}\n'
    root.apply(secret + ONE.replace('"v1"', "var.p"))
    removed = root.plan(ONE.replace('input = "v1"', ""))
    assert details(removed.changes[0])[0] == ("input", S, Masked.ABSENT)
    replaced = root.plan(ONE)
    assert details(replaced.changes[0])[0] == ("input", S, S)
    destroyed = root.plan(secret + ONE, is_destroy=True)
    for plan in (removed, replaced, destroyed):
        assert "canary" not in shown(plan)


CHECK = """
variable "p" {
  type      = string
  sensitive = true
  default   = "canary-p"
}
check "health" {
  assert {
    condition     = terraform_data.one.input == "v2"
    error_message = "found ${nonsensitive(var.p)} with AKIAIOSFODNN7EXAMPLE"
  }
}
"""


def test_a_failed_check_is_told_and_stops_nothing(root_in):
    root = root_in()
    plan = root.plan(ONE + CHECK)
    (check,) = plan.checks
    assert (check.address, check.status) == ("check.health", "fail")
    assert check.messages == ("found (sensitive) with (sensitive)",)
    assert plan.is_applicable
    assert said(plan)[:2] == [
        "Plan for dev: 1 to create",
        "! check.health: found (sensitive) with (sensitive)",
    ]
    assert root.plan(ONE.replace("v1", "v2") + CHECK).checks == ()


def test_diagnostics_show_no_secret_of_the_environment_and_no_output_of_provisioners(root_in):
    root = root_in(TF_VAR_db_password="canary-password", AWS_SECRET_ACCESS_KEY="canary-key")
    broken = (
        'variable "db_password" {\n  type = string\n}\n'
        'resource "terraform_data" "one" {\n  provisioner "local-exec" {\n'
        '    command = "echo printed-$((40+2)); : ${var.db_password} $AWS_SECRET_ACCESS_KEY; exit 3"\n  }\n}\n'
    )
    with pytest.raises(TerraformError) as caught:
        root.apply(broken)
    said = "\n".join(caught.value.details)
    assert "exit status 3" in said
    assert "(sensitive)" in said
    assert "canary" not in said
    assert "printed-42" not in said
    assert "canary" not in repr(root.events)


def test_an_environment_that_is_json_text_shows_names_only(root_in):
    def task(level: str) -> str:
        variables = json.dumps([{"name": "web", "environment": [{"name": "LEVEL", "value": level}]}])
        return f'resource "terraform_data" "one" {{\n  input = {json.dumps(variables)}\n}}\n'

    root = root_in()
    root.apply(task("canary-a"))
    plan = root.plan(task("canary-b"))
    assert details(plan.changes[0]) == [("input[0].environment[0].value", S, S)]
    assert "canary" not in shown(plan)
