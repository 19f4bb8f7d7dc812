"""The verbs on tasks through the command `orch`, on one deployed service: one story, told in order.

What can go wrong with each, on a clock that need not be waited for, is in tests/contract/test_tasks.py and test_logs.py.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from dataclasses import dataclass

import pytest

from tests.e2e import hand_made
from tests.e2e.conftest import Project, events

SANDBOX = ("--env", "dev", "--sandbox")
CLUSTER, SERVICE, GROUP = "demo-dev", "hello", "/ecs/demo-dev/hello"


@dataclass(frozen=True)
class Applied:
    """What an apply printed, and the ECS calls by which it changed something."""

    stdout: str
    stderr: str
    changes: list[str]


def apply(project: Project, pre_deploy: str, *, code: int = 0) -> Applied:
    """An apply with this script as the pre-deploy task."""
    text = re.sub(r"(?m)^pre_deploy = .*\n", "", (project.path / "orch.toml").read_text())
    line = f"pre_deploy = {{ command = {json.dumps(['sh', '-c', pre_deploy])} }}\n"
    context = 'context = "examples/hello"\n'
    (project.path / "orch.toml").write_text(text.replace(context, context + line))
    before = len(project.calls())
    done = project.orch("apply", *SANDBOX, "--yes", code=code)
    changing = {"ecs:RegisterTaskDefinition", "ecs:RunTask", "ecs:UpdateService"}
    made = [call.removeprefix("ecs:") for call in project.calls()[before:] if call in changing]
    return Applied(done.stdout, done.stderr, made)


@pytest.fixture(scope="module")
def failed(project: Project) -> Applied:
    """The first apply of all, whose pre-deploy task fails."""
    hand_made.make(project, SERVICE)
    applied = apply(project, "echo table is locked; exit 7", code=1)
    assert "error: the pre-deploy task of hello ended with exit code 7" in applied.stderr, applied.stderr
    return applied


@pytest.fixture(scope="module")
def deployed(project: Project, failed: Applied) -> Applied:
    """The second one, with a good pre-deploy task."""
    return apply(project, "echo migrated")


def run(project: Project, *command: str, options: tuple[str, ...] = (), code: int = 0, **environ: str):
    return project.orch("run", *SANDBOX, *options, "--", *command, code=code, **environ)


def described(project: Project, task_id: str) -> dict:
    return project.client("ecs").describe_tasks(cluster=CLUSTER, tasks=[task_id])["tasks"][0]


def test_a_pre_deploy_task_that_fails_keeps_the_rollout_from_starting(failed):
    assert failed.changes == ["RegisterTaskDefinition", "RunTask"]
    assert "    hello: table is locked\n" in failed.stderr
    assert (
        "error: the pre-deploy task of hello ended with exit code 7; nothing was rolled out" in failed.stderr
    )
    assert "hello: exit code 7" in failed.stderr


def test_one_that_ends_well_is_run_once_before_the_rollout_of_the_revision_that_is_there_already(
    project, deployed
):
    assert deployed.changes == ["RunTask", "UpdateService"]
    assert "    hello: migrated\n" in deployed.stderr
    assert re.search(r"✓ Pre-deploy task of hello .* ended with exit code 0", deployed.stderr)
    assert "dev · hello: SUCCEEDED" in deployed.stdout
    again = apply(project, "echo migrated")
    assert again.changes == []
    assert "dev · hello: NO_CHANGE" in again.stdout


def test_run_prints_what_the_command_says_and_ends_as_it_does(project, deployed):
    done = run(project, "sh", "-c", "echo one; echo ::error::two; exit 3", code=3, GITHUB_ACTIONS="true")
    token = re.match(r"::stop-commands::([0-9a-f]{32})\n", done.stdout)[1]
    assert done.stdout == f"::stop-commands::{token}\none\n::error::two\n::{token}::\n"
    assert "exit code 3" in done.stderr
    happened = events(run(project, "echo", "fine", options=("-o", "json")))
    assert [event["text"] for event in happened if event["type"] == "log_line"] == ["fine"]
    assert (happened[-1]["type"], happened[-1]["exit_code"]) == ("task_run", 0)
    assert described(project, happened[-1]["task_id"])["startedBy"] == "orch/run/hello"


def test_tasks_shows_what_runs_and_why_others_stopped(project, deployed):
    said = project.orch("tasks", *SANDBOX, "--stopped").stdout
    lines = said.splitlines()
    assert lines[0] == "dev · hello"
    row = lines[2].split()
    assert row[1:3] == ["demo-dev-hello:2", "RUNNING"]
    assert row[-1].startswith("ecs-svc/")
    assert (
        "      EssentialContainerExited: Essential container in task exited\n      hello: exit code 3\n"
        in said
    )
    shown = events(project.orch("tasks", *SANDBOX, "-o", "json"))
    (task,) = [event for event in shown if event["type"] == "task_status"]
    assert task["task_id"].startswith(row[0])
    assert task["containers"] == [{"name": "hello", "status": "RUNNING", "exit_code": None, "reason": ""}]


def test_logs_are_merged_and_can_be_narrowed(project, deployed):
    said = project.orch("logs", *SANDBOX).stdout.splitlines()
    assert [line.split("  ")[1] for line in said if line.endswith(("one", "two", "fine"))] == [
        "one",
        "::error::two",
        "fine",
    ]
    owner = next(line for line in said if line.endswith("two")).split("/")[0]
    narrowed = project.orch("logs", *SANDBOX, "--task", owner, "--filter", "r::tw", "--times").stdout
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\dT\S+Z {owner}/hello  ::error::two\n", narrowed)
    assert "not a duration" in project.orch("logs", *SANDBOX, "--since", "soon", code=2).stderr


def test_logs_of_a_detached_task_are_followed_until_ctrl_c_each_line_once(project, deployed):
    following = project.start("logs", *SANDBOX, "-f", "--filter", "followed", "--since", "1m")
    try:
        script = "echo followed 1; sleep 2; echo followed 2; sleep 100"
        task_id = run(project, "sh", "-c", script, options=("--detach",)).stdout.strip()
        assert described(project, task_id)["desiredStatus"] == "RUNNING"
        lines = [following.stdout.readline() for _ in range(2)]
        time.sleep(2.0)
        following.send_signal(signal.SIGINT)
        rest, errors = following.communicate(timeout=20)
    finally:
        following.kill()
    assert lines == [f"{task_id[:12]}/hello  followed {number}\n" for number in (1, 2)]
    assert (rest, following.returncode) == ("", 0), errors
    project.client("ecs").stop_task(cluster=CLUSTER, task=task_id)


def test_ctrl_c_stops_the_task(project, deployed):
    running = project.start("run", *SANDBOX, "--", "sh", "-c", "echo up; sleep 100")
    assert running.stdout.readline() == "up\n"
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130, errors
    task_id = re.search(r"interrupted; the task ([0-9a-f]{32}) has stopped", errors)[1]
    assert described(project, task_id)["stopCode"] == "UserInitiated"


# --- how many


def test_scale_waits_for_the_tasks_starts_no_deployment_and_heeds_autoscaling(project, deployed):
    ecs = project.client("ecs")

    def deployments() -> int:
        return len(ecs.list_service_deployments(cluster=CLUSTER, service=SERVICE)["serviceDeployments"])

    before = deployments()
    done = project.orch("scale", *SANDBOX, "--service", SERVICE, "3")
    assert done.stdout.startswith("dev · hello: SUCCEEDED\n  desired   1 → 3\n  tasks     3 of 3 running\n")
    again = events(project.orch("scale", *SANDBOX, "3", "-o", "json"))[-1]
    assert (again["type"], again["verdict"], again["running_count"]) == ("scaled", "NO_CHANGE", 3)
    project.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=f"service/{CLUSTER}/{SERVICE}",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=2,
        MaxCapacity=4,
    )
    refused = project.orch("scale", *SANDBOX, "1", code=20)
    assert "autoscaling keeps the desired count of hello between 2 and 4; 1 is outside" in refused.stderr
    forced = events(project.orch("scale", *SANDBOX, "1", "--force", "--no-wait", "-o", "json"))[-1]
    assert (forced["verdict"], forced["desired_before"], forced["desired_count"]) == (None, 3, 1)
    assert deployments() == before


# --- a shell


PLUGIN = f"""#!{sys.executable}
import os, sys
if sys.argv[1:] == ["--version"]:
    print("1.2.707.0")
else:
    print("entered", sys.argv[1:4], os.environ[sys.argv[1]][:13], sys.stdin.read())
    sys.exit(5)
"""


def test_exec_says_what_is_missing_then_enters(project, deployed, tmp_path):
    plugin = tmp_path / "session-manager-plugin"
    plugin.write_text(PLUGIN)
    plugin.chmod(0o755)
    path = f"{tmp_path}:{project.environ['PATH']}"
    command = ("exec", *SANDBOX, "--", "ls", "-l")
    off = project.orch(*command, code=1, PATH=path)
    assert "ECS Exec is off for hello" in off.stderr
    assert "enable_execute_command = true" in off.stderr
    ecs = project.client("ecs")
    ecs.update_service(cluster=CLUSTER, service=SERVICE, enableExecuteCommand=True, forceNewDeployment=True)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        arns = ecs.list_tasks(cluster=CLUSTER, serviceName=SERVICE)["taskArns"]
        tasks = ecs.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"]
        if all(task["enableExecuteCommand"] and task["lastStatus"] == "RUNNING" for task in tasks):
            break
        time.sleep(0.2)
    entered = project.orch(*command, code=5, PATH=path)
    assert entered.stdout.startswith(
        "entered ['AWS_SSM_START_SESSION_RESPONSE', 'eu-central-1', 'StartSession'] {\"SessionId\":"
    )


# --- at the end, since it takes away what Terraform made


def test_a_task_that_cannot_start_says_why_and_what_to_do(project, deployed):
    project.client("logs").delete_log_group(logGroupName=GROUP)
    done = run(project, "true", code=1)
    assert "error: the task of hello ended before its command started" in done.stderr
    assert "ResourceInitializationError: failed to validate logger args" in done.stderr
    assert re.search(rf"→ .*{GROUP}", done.stderr)
    assert "a log group of hello does not exist" in project.orch("logs", *SANDBOX, code=1).stderr
