"""terraform/runner against the real binary, with terraform_data and local state: no AWS, no provider."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from orchestrator.errors import StateLockedError, TerraformError, ToolMissingError
from orchestrator.events import ResourceProgress, Warned
from orchestrator.model import Action
from orchestrator.terraform import binary, runner
from tests.conftest import require_tool

ENVIRON = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
CONFIG = """
variable "password" {
  type      = string
  sensitive = true
  default   = "canary-s3cret"
}
resource "terraform_data" "one" {
  input = "v1"
}
resource "terraform_data" "two" {
  input = var.password
}
output "orch" {
  value = { contract = 1, account_id = "111111111111", id = terraform_data.one.output }
}
output "hidden" {
  value     = var.password
  sensitive = true
}
"""


@pytest.fixture(scope="session")
def terraform():
    require_tool("terraform")
    return binary.find("terraform", ENVIRON)


@pytest.fixture
def open_root(tmp_path, terraform):
    def open_root(text=CONFIG, environ=ENVIRON, emit=lambda _event: None, lock_timeout_s=0):
        path = tmp_path / "root"
        path.mkdir(exist_ok=True)
        (path / "main.tf").write_text(text)
        return runner.open_root_module(
            terraform,
            path,
            backend_config={},
            environ=environ,
            aws_environ={},
            role="plan",
            provider_mirror="",
            lock_timeout_s=lock_timeout_s,
            emit=emit,
        )

    return open_root


def apply(root, emit=lambda _event: None):
    runner.init_if_needed(root)
    saved = runner.plan(root, emit)
    try:
        return saved, runner.apply(root, saved, emit)
    finally:
        saved.discard()


def test_plan_apply_and_nothing_left(open_root):
    events = []
    root = open_root()
    saved, outputs = apply(root, events.append)
    assert [(change.address, change.action) for change in saved.plan.changes] == [
        ("terraform_data.one", Action.CREATE),
        ("terraform_data.two", Action.CREATE),
    ]
    assert outputs["orch"] == {"contract": 1, "account_id": "111111111111", "id": "v1"}
    assert "hidden" not in outputs
    done = {
        event.address for event in events if isinstance(event, ResourceProgress) and event.state == "done"
    }
    assert done == {"terraform_data.one", "terraform_data.two"}
    again = runner.plan(root, events.append)
    assert not again.plan.is_applicable
    assert again.plan.changes == ()
    assert again.outputs["orch"] == outputs["orch"]
    again.discard()


def test_no_secret_leaves_the_runner_and_no_plan_file_stays(open_root):
    events = []
    root = open_root()
    saved, outputs = apply(root, events.append)
    assert "canary" not in repr((events, saved.plan, saved.outputs, outputs))
    assert not saved.file.exists()
    assert list((root.data_dir / "orch").glob("plan-*")) == []


def test_the_plan_file_is_closed_to_others(open_root):
    root = open_root()
    runner.init_if_needed(root)
    saved = runner.plan(root, lambda _event: None)
    assert saved.file.parent.stat().st_mode & 0o077 == 0
    saved.discard()


def test_plans_of_dead_runs_are_removed(open_root):
    root = open_root()
    runner.init_if_needed(root)
    left = root.data_dir / "orch" / "plan-4194305"
    left.mkdir()
    (left / "plan.tfplan").write_text("secret")
    runner.plan(root, lambda _event: None).discard()
    assert not left.exists()


def test_init_runs_only_when_what_it_reads_has_changed(open_root, tmp_path):
    root = open_root()
    assert runner.init_if_needed(root) is True
    assert runner.init_if_needed(root) is False
    (root.path / "main.tf").write_text(CONFIG.replace("v1", "v2"))
    assert runner.init_if_needed(root) is False
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text('output "x" { value = 1 }')
    (root.path / "more.tf").write_text('module "m" {\n  source = "../module"\n}\n')
    assert runner.init_if_needed(root) is True
    assert runner.init_if_needed(root) is False


def test_a_plan_inits_by_itself_when_terraform_asks_for_it(open_root, tmp_path):
    root = open_root()
    runner.init_if_needed(root)
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "main.tf").write_text('output "x" { value = 1 }')
    # On one line, so that the fingerprint does not see it.
    (root.path / "more.tf").write_text('/**/ module "m" { source = "../inner" }')
    saved = runner.plan(root, lambda _event: None)
    assert saved.plan.is_applicable
    saved.discard()


def test_an_error_says_what_terraform_said_and_where(open_root):
    root = open_root(CONFIG + 'output "bad" { value = terraform_data.absent.id }\n')
    runner.init_if_needed(root)
    with pytest.raises(TerraformError) as caught:
        runner.plan(root, lambda _event: None)
    said = "\n".join(caught.value.details)
    assert "Reference to undeclared resource" in said
    assert "main.tf:" in said
    assert list((root.data_dir / "orch").glob("plan-*")) == []


def test_a_failed_apply_names_the_resource_and_keeps_what_was_done(open_root):
    text = CONFIG + (
        'resource "terraform_data" "bad" {\n  depends_on = [terraform_data.one]\n'
        '  provisioner "local-exec" {\n    command = "echo leaked-canary; exit 3"\n  }\n}\n'
    )
    root, events = open_root(text), []
    with pytest.raises(TerraformError) as caught:
        apply(root, events.append)
    said = "\n".join(caught.value.details)
    assert "terraform_data.bad" in said
    assert "exit status 3" in said
    assert "leaked-canary" not in repr([event for event in events if not isinstance(event, Warned)])
    state = json.loads((root.path / "terraform.tfstate").read_text())
    assert "one" in {resource["name"] for resource in state["resources"]}


def test_a_replace_counts_once(open_root):
    text = CONFIG.replace('input = "v1"', 'input = "v1"\n  triggers_replace = "a"')
    apply(open_root(text))
    root = open_root(text.replace('"a"', '"b"'))
    saved = runner.plan(root, lambda _event: None)
    assert saved.plan.count(Action.REPLACE) == 1
    assert saved.plan.count(Action.CREATE) == saved.plan.count(Action.DELETE) == 0
    saved.discard()


def test_the_callers_environment_cannot_change_the_commands(open_root, tmp_path):
    environ = ENVIRON | {
        "TF_CLI_ARGS_plan": "-destroy",
        "TF_CLI_ARGS": "-no-such-flag",
        "TF_WORKSPACE": "other",
        "TF_DATA_DIR": str(tmp_path / "data"),
        "TF_LOG": "TRACE",
        "TF_CLI_CONFIG_FILE": str(tmp_path / "absent.tfrc"),
        "TF_VAR_password": "from-the-caller",
    }
    events = []
    root = open_root(environ=environ, emit=events.append)
    saved, _outputs = apply(root)
    assert saved.plan.count(Action.CREATE) == 2
    assert not (tmp_path / "data").exists()
    assert [event for event in events if "absent.tfrc" in event.message]
    assert "from-the-caller" in (root.path / "terraform.tfstate").read_text()


def test_a_folder_without_configuration(terraform, tmp_path):
    with pytest.raises(TerraformError, match="no Terraform configuration"):
        runner.open_root_module(
            terraform,
            tmp_path,
            backend_config={},
            environ=ENVIRON,
            aws_environ={},
            role="plan",
            provider_mirror="",
            lock_timeout_s=0,
            emit=lambda _event: None,
        )


SLOW = 'resource "terraform_data" "slow" {\n  provisioner "local-exec" {\n    command = "sleep 3"\n  }\n}\n'
APPLY = """
import os, signal, sys
from pathlib import Path
from orchestrator.terraform import binary, runner
def stop(*_): raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
environ = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
nothing = lambda _event: None
root = runner.open_root_module(binary.find("terraform", environ), Path(sys.argv[1]), backend_config={},
    environ=environ, aws_environ={}, role="plan", provider_mirror="", lock_timeout_s=0, emit=nothing)
runner.init_if_needed(root)
saved = runner.plan(root, nothing)
try:
    runner.apply(root, saved, lambda event: print(event.state, event.address, flush=True))
finally:
    saved.discard()
"""


def start_slow_apply(open_root):
    root = open_root(SLOW)
    started = subprocess.Popen(
        [sys.executable, "-c", APPLY, str(root.path)], stdout=subprocess.PIPE, text=True
    )
    assert "started terraform_data.slow" in started.stdout.readline()
    return root, started


def test_another_runs_lock_is_told_with_its_id(open_root):
    root, started = start_slow_apply(open_root)
    with pytest.raises(StateLockedError) as caught:
        runner.plan(root, lambda _event: None)
    assert caught.value.exit_code == 22
    assert "force-unlock" in caught.value.hint
    assert any("ID:" in line for line in caught.value.details)
    started.communicate()


def test_sigterm_leaves_no_process_no_lock_no_plan_file(open_root):
    root, started = start_slow_apply(open_root)
    at = time.monotonic()
    started.send_signal(signal.SIGTERM)
    started.communicate()
    assert started.returncode != 0
    assert time.monotonic() - at < 15
    assert not list(root.path.glob(".terraform.tfstate.lock.info"))
    assert list((root.data_dir / "orch").glob("plan-*")) == []
    processes = subprocess.run(["ps", "axo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(root.path) not in processes
    saved = runner.plan(root, lambda _event: None)
    saved.discard()


def test_argv_with_every_kind_of_flag(terraform):
    built = runner.argv(terraform, "plan", "last", json=True, input=False, out="f", target=["a", "b"])
    assert built == [
        *terraform.argv,
        "plan",
        "-json",
        "-input=false",
        "-out=f",
        "-target=a",
        "-target=b",
        "last",
    ]


def script(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_terraform_too_old_is_named_with_its_version(tmp_path):
    script(tmp_path, "terraform", """echo '{"terraform_version": "1.5.7"}'""")
    with pytest.raises(ToolMissingError) as caught:
        binary.find(str(tmp_path / "terraform"), {"PATH": "/bin"})
    assert "is version 1.5.7; orch needs terraform >= 1.11" in caught.value.message


def test_setup_terraforms_wrapper_is_passed_by(tmp_path, terraform):
    script(tmp_path, "terraform", "exit 9")
    real = tmp_path / "real"
    real.mkdir()
    script(real, "terraform-bin", """echo '{"terraform_version": "1.12.0"}'""")
    environ = {"PATH": f"{tmp_path}:/bin", "TERRAFORM_CLI_PATH": str(real)}
    assert binary.find("terraform", environ).path == str(real / "terraform-bin")


def test_a_binary_that_is_something_else(tmp_path):
    script(tmp_path, "terraform", "echo hello; exit 1")
    with pytest.raises(ToolMissingError) as caught:
        binary.find(str(tmp_path / "terraform"), {"PATH": "/bin"})
    assert "did not tell its version" in caught.value.message


def test_opentofu_is_taken_where_there_is_no_terraform(tmp_path):
    script(tmp_path, "tofu", """echo '{"terraform_version": "1.10.3"}'""")
    found = binary.find("auto", {"PATH": f"{tmp_path}:/bin"})
    assert (found.path, found.version) == (str(tmp_path / "tofu"), "1.10.3")
