"""`orch verify`, and what it is that keeps an apply from rolling out: one environment that loses, one by one, what its tasks need."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess

import pytest

from tests.e2e import hand_made
from tests.e2e.conftest import ORCH, TIMEOUT_S, Project, events

DEV = ("--env", "dev", "--sandbox")
APPLY = ("apply", *DEV, "--yes")
LOG_GROUP = "/ecs/demo-dev/hello"
READS = re.compile(r"^\w+:(Describe|Get|List|BatchGet|Head)\w*$")


@pytest.fixture(scope="module")
def story(project: Project) -> Project:
    """An environment that was applied once, with a secret."""
    arn = project.client("secretsmanager").create_secret(Name="db", SecretString="hush-hush")["ARN"]
    project.secret = arn
    never = project.orch("verify", *DEV, code=1)
    assert "has not been applied yet" in never.stderr
    hand_made.make(project, "hello", secrets={"DB": f"{arn}:password::"})
    project.orch(*APPLY)
    return project


def verify(project: Project, *options: str, code: int = 0, **environ: str) -> dict[str, dict]:
    """The findings on the service by id."""
    done = project.orch("verify", *DEV, "--output", "json", *options, code=code, **environ)
    found = [line for line in events(done) if line["type"] == "preflight"]
    assert [one["service"] for one in found] == ["", "hello"]
    return {finding["id"]: finding for one in found for finding in one["findings"]}


def test_an_environment_in_order_passes_and_nothing_is_changed_or_read_that_is_secret(story):
    before = len(story.calls())
    done = story.orch("verify", *DEV)
    made = story.calls()[before:]
    assert done.stdout.splitlines()[0] == "dev: 1 OK"
    assert done.stdout.splitlines()[-1] == "✓ Nothing stands in the way of a rollout"
    head = story.commit_nothing("Only to know the commit before")
    for line in (
        "✓ OK    account                111111111111, eu-central-1, as orch.toml says",
        "✓ OK    room to roll           desired 1: at least 1 (100%), at most 2 (200%)",
        "✓ OK    architecture           linux/amd64",
        "✓ OK    execution role         demo-dev-hello-execution, lets ECS tasks in",
        "its key password not looked at",
        f"✓ OK    log group              {LOG_GROUP}",
        f"in ECR, of commit {story.parent(head)[:12]}",
    ):
        assert line in done.stdout, line
    # Terraform reads its state and nothing else; the sandbox's own S3 request stands for the download of the image's config.
    assert not [call for call in made if not READS.match(call)]
    assert not {"secretsmanager:GetSecretValue", "ssm:GetParameters", "ssm:GetParameter"} & set(made)
    assert "hush-hush" not in done.stdout + done.stderr
    ours = [call for call in made if not call.startswith(("s3:", "sts:"))]
    assert len(ours) == len(set(ours)) + 2, ours  # two task definitions, two roles


def test_without_an_image_of_this_commit_the_one_that_runs_is_looked_at(story):
    assert "the one that runs" in verify(story)["image"]["detail"]
    (story.path / "examples/hello/README.md").write_text("not committed")
    assert "the one that runs" in verify(story)["image"]["detail"]
    (story.path / "examples/hello/README.md").write_text("committed")
    story.commit("Another commit")
    found = verify(story)["image"]
    assert (found["outcome"], "the one that runs" in found["detail"]) == ("OK", True)


@pytest.mark.parametrize("columns", [80, 140])
def test_on_a_terminal_it_fits(story, columns):
    screen = on_terminal(story, columns)
    lines = screen.splitlines()
    assert any("✓ OK    circuit breaker" in line for line in lines)
    assert max(map(len, lines)) <= columns


def on_terminal(project: Project, columns: int) -> str:
    """What `orch verify` prints on a terminal of that width, without its colours."""
    hand, terminal = pty.openpty()
    os.set_blocking(hand, True)
    done = subprocess.Popen(
        [ORCH, "verify", *DEV],
        cwd=project.path,
        env=project.environ | {"COLUMNS": str(columns), "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
    )
    os.close(terminal)
    said = b""
    with os.fdopen(hand, "rb", buffering=0) as stream:
        try:
            while chunk := stream.read(4096):
                said += chunk
        except OSError:  # how Linux tells that the other side is closed
            pass
    assert done.wait(timeout=TIMEOUT_S) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", said.decode()).replace("\r", "")


def test_an_apply_that_could_not_start_its_tasks_rolls_nothing_out(story):
    manager = story.client("secretsmanager")
    manager.delete_secret(SecretId=story.secret)
    found = verify(story, code=1)["secret"]
    assert (found["outcome"], found["title"]) == ("FAIL", "secret DB")
    story.edit("examples/hello/Dockerfile", "USER 10001:10001", 'LABEL test="1"\nUSER 10001:10001')
    story.commit("Another image")
    before = len(story.calls())
    done = story.orch(*APPLY, code=1)
    assert "error: nothing was rolled out: 1 check failed" in done.stderr
    assert "hello: secret DB: db-" in done.stderr
    assert "is to be deleted" in done.stderr
    assert "→ aws secretsmanager restore-secret" in done.stderr
    assert "✗ Check what the rollout needs" in done.stderr
    made = story.calls()[before:]
    assert not [call for call in made if call in {"ecs:UpdateService", "ecs:RegisterTaskDefinition"}]
    # The image is there already; the same command goes on from here.
    manager.restore_secret(SecretId=story.secret)
    assert "of commit" in verify(story)["image"]["detail"]
    again = story.orch(*APPLY)
    assert "dev · hello: SUCCEEDED" in again.stdout
    assert "podman" not in again.stderr


def test_whatever_is_missing_is_told_with_what_to_do(story):
    ecs, logs = story.client("ecs"), story.client("logs")
    logs.delete_log_group(logGroupName=LOG_GROUP)
    deployment = ecs.describe_services(cluster="demo-dev", services=["hello"])["services"][0][
        "deploymentConfiguration"
    ]
    spoiled = {
        "maximumPercent": 100,
        "minimumHealthyPercent": 100,
        "deploymentCircuitBreaker": {"enable": False, "rollback": False},
        "alarms": {"alarmNames": ["too-slow"], "enable": True, "rollback": True},
    }
    ecs.update_service(cluster="demo-dev", service="hello", deploymentConfiguration=spoiled)
    done = story.orch("verify", *DEV, "--service", "hello", code=1)
    assert "dev · hello: 4 FAIL, 9 OK" in done.stdout
    assert "✗ FAIL  circuit breaker        it is off" in done.stdout
    assert (
        "→ set the service's maximum_percent to 200 or more, or minimum_healthy_percent to 0\n" in done.stdout
    )
    assert "✗ FAIL  alarm too-slow         CloudWatch has no such alarm" in done.stdout
    assert f"✗ FAIL  log group              CloudWatch Logs has no {LOG_GROUP}" in done.stdout
    assert done.stdout.splitlines()[-1] == "✗ 4 in the way of a rollout"
    logs.create_log_group(logGroupName=LOG_GROUP)
    ecs.update_service(
        cluster="demo-dev",
        service="hello",
        deploymentConfiguration=deployment
        | {"alarms": {"alarmNames": [], "enable": False, "rollback": False}},
    )
    assert "FAIL" not in {finding["outcome"] for finding in verify(story).values()}


def test_another_rollout_is_told_and_refused_when_so_set(story):
    ecs = story.client("ecs")
    before = ecs.describe_services(cluster="demo-dev", services=["hello"])["services"][0]["taskDefinition"]
    definition = ecs.describe_task_definition(taskDefinition=before)["taskDefinition"]
    members = ("family", "containerDefinitions", "executionRoleArn", "networkMode", "cpu", "memory")
    slow = {name: definition[name] for name in members}
    slow["requiresCompatibilities"] = ["FARGATE"]
    slow["containerDefinitions"][0]["environment"] = [{"name": "ORCH_SANDBOX_BEHAVIOUR", "value": "slow:600"}]
    arn = ecs.register_task_definition(**slow)["taskDefinition"]["taskDefinitionArn"]
    ecs.update_service(cluster="demo-dev", service="hello", taskDefinition=arn)
    found = verify(story)["in-flight"]
    assert (found["outcome"], "its end is waited for" in found["detail"]) == ("WARN", True)
    settings = (story.path / "orch.toml").read_text()
    story.edit("orch.toml", "[services.hello]", '[rollout]\nin_flight = "refuse"\n\n[services.hello]')
    found = verify(story, code=1)["in-flight"]
    assert (found["outcome"], "is being rolled out" in found["detail"]) == ("FAIL", True)
    (story.path / "orch.toml").write_text(settings)
    ecs.update_service(cluster="demo-dev", service="hello", taskDefinition=before)


def test_an_image_for_another_platform_is_found_out(story):
    overlay = {"runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}}
    settings = (story.path / "orch.toml").read_text()
    story.edit("orch.toml", "[services.hello]", '[services.hello]\ntask_definition = "overlay.json.j2"')
    (story.path / "overlay.json.j2").write_text(json.dumps(overlay))
    found = verify(story, code=1)["architecture"]
    assert found["detail"] == "the image is for linux/amd64, the task definition for linux/arm64"
    (story.path / "overlay.json.j2").write_text("{{ nowhere }}")
    found = verify(story, code=1)
    assert found["definition"]["outcome"] == "FAIL"
    assert "overlay.json.j2: 'nowhere' is undefined" in found["definition"]["detail"]
    assert {name for name, one in found.items() if one["outcome"] != "OK"} == {"definition"}
    (story.path / "orch.toml").write_text(settings)


def test_bad_input(story):
    assert "there is no service `absent`" in story.orch("verify", *DEV, "-s", "absent", code=1).stderr
    assert "there is no environment `qa`" in story.orch("verify", "--env", "qa", code=2).stderr


def test_credentials_of_another_account_are_the_one_thing_told(story):
    environ = story.aws_environ("staging")
    named = {key: environ[key] for key in environ if key.startswith("AWS_")}
    before = len(story.calls())
    done = story.orch("verify", "--env", "dev", code=1, **named)
    assert "✗ FAIL  account" in done.stdout
    assert "belong to account 222222222222" in done.stdout
    assert "hello" not in done.stdout
    assert story.calls()[before:] == ["sts:GetCallerIdentity"]


def test_a_service_that_was_deleted_is_told(story):
    ecs = story.client("ecs")
    ecs.delete_service(cluster="demo-dev", service="hello", force=True)
    found = verify(story, code=1)
    assert found["service"]["outcome"] == "FAIL"
    assert "`orch apply`" in found["service"]["hint"]
    # What its tasks would need is checked all the same.
    assert found["log-group"]["outcome"] == "OK"
