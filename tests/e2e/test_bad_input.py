"""What goes wrong before anything starts: a clear error, the right exit code, no traceback."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.conftest import Project, events, make_project

VERBS = [
    "plan",
    "apply",
    "deploy",
    "promote",
    "watch",
    "continue",
    "rollback",
    "verify",
    "status",
    "board",
    "history",
    "release",
    "metrics",
    "diff",
    "drift",
    "tasks",
    "logs",
    "run",
    "exec",
    "scale",
    "lock",
    "unlock",
    "locks",
    "init",
    "doctor",
    "bootstrap",
    "policy",
    "destroy",
    "sandbox",
]
NOWHERE = {
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    base = tmp_path_factory.mktemp("bad")
    (base / "project").mkdir()
    return make_project(base / "project", None, base / "no-sandbox")


def test_help_names_every_verb(project):
    shown = project.orch("--help").stdout
    listed = shown.split("Commands:", 1)[1].splitlines()
    assert [line.split()[0] for line in listed if re.match(r"  \w", line)] == VERBS


def test_version(project):
    assert project.orch("--version").stdout.startswith("orch 0.")


def test_an_unknown_environment_lists_those_there_are(project):
    done = project.orch("apply", "--env", "qa", "--sandbox", code=2)
    assert "there is no environment `qa`" in done.stderr
    assert "dev, staging, prod" in done.stderr


def test_three_mistakes_in_orch_toml_are_all_reported(project):
    text = (project.path / "orch.toml").read_text()
    broken = (
        text.replace('project = "demo"', 'project = "Demo"').replace('"111111111111"', '"1"') + "\nx = 1\n"
    )
    (project.path / "orch.toml").write_text(broken)
    done = project.orch("plan", "--env", "dev", code=2)
    (project.path / "orch.toml").write_text(text)
    assert "has 3 problems" in done.stderr
    for key in ("project", "environments.dev.account_id", "environments.prod.x"):
        assert f": {key}: " in done.stderr
    assert done.stderr.count("line ") == 3


def test_no_orch_toml(project, tmp_path):
    done = project.orch("plan", "--env", "dev", "--project", str(tmp_path), code=2)
    assert "no orch.toml" in done.stderr


def test_the_sandbox_is_not_running(project):
    done = project.orch("apply", "--env", "dev", "--sandbox", code=1)
    assert "the sandbox is not running" in done.stderr
    assert "orch sandbox up" in done.stderr
    assert project.orch("sandbox", "status", code=1).stdout == ""
    assert "no sandbox was running" in project.orch("sandbox", "down").stdout


def test_terraform_is_missing(project):
    text = (project.path / "orch.toml").read_text()
    (project.path / "orch.toml").write_text(text + '\n[terraform]\nbinary = "no-such-terraform"\n')
    done = project.orch("plan", "--env", "dev", code=1, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    (project.path / "orch.toml").write_text(text)
    assert "`no-such-terraform` (terraform.binary in orch.toml)" in done.stderr


def test_no_aws_that_answers(project):
    done = project.orch("bootstrap", "--env", "dev", code=1, **NOWHERE)
    assert "sts:GetCallerIdentity failed" in done.stderr
    assert "AWS_ENDPOINT_URL" in done.stderr


def test_usage_errors_exit_with_2(project):
    assert "--env" in project.orch("apply", code=2).stderr
    project.orch("no-such-verb", code=2)


def test_a_policy_is_printed_for_each_role_and_no_other(project):
    printed = project.orch("policy", "--env", "prod", "--role", "deploy")
    document = json.loads(printed.stdout)
    assert document["Version"] == "2012-10-17"
    assert printed.stderr == ""
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert {"RegisterRevisions", "RollOutHello"} <= set(sids)
    apply = project.orch("policy", "--env", "prod", "--role", "apply")
    assert "KeepWhatHoldsData" in apply.stdout
    assert "10,240 characters in a role's inline policies" in apply.stderr
    refused = project.orch("policy", "--env", "prod", "--role", "admin", code=2).stderr
    assert "admin" in refused
    assert all(role in refused for role in ("plan", "push", "apply", "deploy"))
    assert "there is no environment `qa`" in project.orch("policy", "-e", "qa", "-r", "plan", code=2).stderr


def test_a_wildcard_repository_is_refused_before_anything_is_asked(project):
    text = (project.path / "orch.toml").read_text()
    (project.path / "orch.toml").write_text(text + '\n[github]\nrepository = "acme/*"\n')
    done = project.orch("bootstrap", "--env", "dev", "--sandbox", code=2)
    (project.path / "orch.toml").write_text(text)
    assert "github.repository: must be one repository, OWNER/NAME or" in done.stderr
    assert "without wildcards" in done.stderr


def test_a_protected_environment_is_not_destroyed(project):
    done = project.orch("destroy", "--env", "prod", "--confirm", "prod", code=20, **NOWHERE)
    assert "environment `prod` is protected" in done.stderr
    assert "protected = false" in done.stderr


def test_an_image_by_tag_is_refused(project):
    done = project.orch("apply", "--env", "dev", "--image", "r/web:latest", code=1)
    assert "does not name an image by its digest" in done.stderr


def test_errors_are_json_for_programs(project):
    done = project.orch("apply", "--env", "dev", "--sandbox", "--output", "json", code=1)
    assert events(done)[-1] == {
        "type": "error",
        "message": "the sandbox is not running",
        "hint": "start it with `orch sandbox up`",
        "details": [],
        "exit_code": 1,
    }
