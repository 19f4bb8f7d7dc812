"""What a Plan says, held to plans that the real Terraform makes: terraform_data and local state, no AWS, no provider."""

from __future__ import annotations

import json
import os

import pytest

from orchestrator.errors import TerraformError
from orchestrator.events import PlanReady
from orchestrator.model import Action, Masked
from orchestrator.report import json_lines, text
from orchestrator.terraform import binary, plan_json, runner
from tests.conftest import require_tool

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

    def apply(self, configuration):
        root = self.opened(configuration)
        saved = runner.plan(root, self.events.append)
        try:
            runner.apply(root, saved, self.events.append)
        finally:
            saved.discard()
        return saved.plan


@pytest.fixture
def root_in(tmp_path, terraform):
    def root_in(**more):
        (tmp_path / "root").mkdir()
        return Root(terraform, tmp_path / "root", ENVIRON | more)

    return root_in


def shown(plan) -> str:
    """All of a plan that anybody may come to see."""
    return "\n".join([repr(plan), json_lines.line(PlanReady("dev", plan)), *text.plan_lines("dev", plan)])


def details(change):
    return [(detail.label, detail.before, detail.after) for detail in change.details]


def test_forget_alone(root_in):
    root = root_in()
    root.apply(ONE)
    plan = root.plan("removed {\n  from = terraform_data.one\n  lifecycle {\n    destroy = false\n  }\n}\n")
    assert plan.summary == "1 to forget"
    assert plan.is_applicable
    assert plan.changes[0].details == ()


def test_move_alone(root_in):
    root = root_in()
    root.apply(ONE)
    moved = (
        ONE.replace('"one"', '"two"') + "moved {\n  from = terraform_data.one\n  to = terraform_data.two\n}\n"
    )
    plan = root.plan(moved)
    assert plan.summary == "1 to move"
    (change,) = plan.changes
    assert (change.address, change.previous_address) == ("terraform_data.two", "terraform_data.one")
    both = root.plan(moved.replace("v1", "v2"))
    assert both.summary == "1 to update"
    assert both.changes[0].previous_address == "terraform_data.one"
    assert details(both.changes[0]) == [("input", "v1", "v2")]


def test_import_alone(root_in):
    root = root_in()
    imported = 'import {\n  to = terraform_data.one\n  id = "known-id"\n}\n'
    plan = root.plan('resource "terraform_data" "one" {}\n' + imported)
    assert plan.summary == "1 to import"
    assert plan.changes[0].import_id == "known-id"
    # With an update, and with a replace, which destroys what it has just imported.
    plan = root.plan(ONE + imported)
    assert (plan.summary, plan.changes[0].details[0].after) == ("1 to import", "v1")
    plan = root.plan(ONE.replace("input", "triggers_replace") + imported)
    assert plan.summary == "1 to replace"
    assert plan.changes[0].import_id == "known-id"


def test_outputs_alone(root_in):
    root = root_in()
    root.apply(ONE + 'output "x" {\n  value = "a"\n}\n')
    plan = root.plan(ONE + 'output "x" {\n  value = "b"\n}\noutput "y" {\n  value = [1]\n}\n')
    assert plan.summary == "2 outputs to change"
    assert plan.is_applicable
    assert [(output.name, output.action, output.before, output.after) for output in plan.output_changes] == [
        ("x", Action.UPDATE, "a", "b"),
        ("y", Action.CREATE, Masked.ABSENT, [1]),
    ]


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
    plan = plan_json.decode(runner.show(opened, file))
    assert (plan.is_errored, plan.is_applicable) == (True, False)
    assert ("fail", ("not v0",)) in [(check.status, check.messages) for check in plan.checks]


@pytest.mark.parametrize("lifecycle", ["", "  lifecycle {\n    create_before_destroy = true\n  }\n"])
def test_replace_both_ways(root_in, lifecycle):
    root = root_in()
    config = (
        'resource "terraform_data" "one" {\n  input = "v1"\n  triggers_replace = "a"\n' + lifecycle + "}\n"
    )
    root.apply(config)
    plan = root.plan(config.replace('"a"', '"b"').replace("v1", "v2"))
    assert plan.summary == "1 to replace"
    (change,) = plan.changes
    assert change.reason == "replace_because_cannot_update"
    assert [(detail.label, detail.forces_replacement) for detail in change.details] == [
        ("triggers_replace", True),
        ("input", False),
    ]


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
