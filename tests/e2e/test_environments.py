"""staging and prod, each in its own account: a cancelled apply is finished by the next, and plans are empty afterwards."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from tests.e2e.conftest import Project

ACCOUNTS = {"staging": "222222222222", "prod": "333333333333"}


def apply(env: str) -> tuple[str, ...]:
    return ("apply", "--env", env, "--yes", "--sandbox")


def locks(project: Project, env: str) -> list[str]:
    account_id = ACCOUNTS[env]
    listed = project.client("s3", account_id).list_objects_v2(Bucket=f"orch-state-{account_id}-eu-central-1")
    return [item["Key"] for item in listed.get("Contents", []) if item["Key"].endswith(".tflock")]


def test_sigterm_in_the_middle_of_an_apply_leaves_nothing_behind(project: Project):
    started = project.start(*apply("staging"))
    for line in started.stderr:
        if "aws_vpc.this: create …" in line:
            break
    time.sleep(1)
    assert locks(project, "staging"), "the apply should hold the state lock now"
    started.send_signal(signal.SIGTERM)
    _out, err = started.communicate(timeout=120)
    assert started.returncode == 130
    assert "interrupted during terraform apply" in err
    assert locks(project, "staging") == []
    processes = subprocess.run(["ps", "axo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(project.path) not in processes
    folder = project.path / "terraform/envs/staging/.terraform/orch"
    assert list(folder.glob("plan-*")) == []
    assert list(project.path.rglob("*.tfvars.json")) == []


@pytest.mark.parametrize("env", ["staging", "prod"])
def test_each_environment_applies_in_its_own_account(project: Project, env):
    done = project.orch(*apply(env))
    assert f"{env} · hello: SUCCEEDED" in done.stdout
    service = project.client("ecs", ACCOUNTS[env]).describe_services(
        cluster=f"demo-{env}", services=["hello"]
    )["services"][0]
    assert service["serviceArn"].split(":")[4] == ACCOUNTS[env]
    assert service["runningCount"] == service["desiredCount"] >= 2
    others = [account for account in ("111111111111", *ACCOUNTS.values()) if account != ACCOUNTS[env]]
    for account in others:
        clusters = project.client("ecs", account).list_clusters()["clusterArns"]
        assert not [arn for arn in clusters if arn.endswith(f"demo-{env}")]


@pytest.mark.parametrize("env", ["staging", "prod"])
def test_a_plan_right_after_is_empty(project: Project, env):
    done = project.orch("plan", "--env", env, "--sandbox", "--detailed-exitcode")
    assert done.stdout == f"Plan for {env}: no changes\n"
