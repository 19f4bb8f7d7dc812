"""The environment's lock as its users meet it: two runs at once, runs that are stopped or killed, and a person's lock.

The root module is Terraform's own resources alone, so that what takes time is what the test says. It has no service, which orch
tells once Terraform is done: exit code 1 is how a run ends here that got as far as that.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from orchestrator.sandbox import control
from tests.e2e.conftest import ORCH, TIMEOUT_S, Project, events

BUCKET = "orch-state-111111111111-eu-central-1"
DEV = ("--env", "dev", "--sandbox")
APPLY = ("apply", *DEV, "--yes")
DONE = 1
ROOT = """
terraform {
  backend "s3" {
    key          = "dev/terraform.tfstate"
    use_lockfile = true
  }
}
resource "terraform_data" "slow" {
  triggers_replace = timestamp()
  provisioner "local-exec" {
    command = "sleep 3"
  }
}
"""
# What `make_service` makes in Terraform's place.
OUTPUTS = """
output "orch" {
  value = {
    contract   = 1
    account_id = "111111111111"
    region     = "eu-central-1"
    services = { hello = {
      repository_url     = "r/hello"
      cluster            = "demo-dev"
      service            = "hello"
      container          = "hello"
      skeleton_arn       = "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-hello:1"
      task_family        = "demo-dev-hello"
      log_group          = "/ecs/demo-dev/hello"
      execution_role_arn = "arn:aws:iam::111111111111:role/execution"
      task_role_arn      = "arn:aws:iam::111111111111:role/task"
      desired_count      = 1
    } }
  }
}
"""


@pytest.fixture(scope="module")
def story(project: Project) -> Project:
    root = project.path / "terraform/envs/dev"
    for file in (*root.glob("*.tf*"), root / ".terraform.lock.hcl"):
        file.unlink()
    (root / "main.tf").write_text(ROOT)
    project.environ["USER"] = "alice"
    project.commit("Nothing but time")
    # Makes the bucket.
    assert project.orch("plan", *DEV).returncode == 0
    return project


@pytest.fixture
def project_without_lock(story: Project) -> Project:
    assert locked_by(story) is None
    return story


def locked_by(project: Project) -> dict | None:
    s3 = project.client("s3")
    if not s3.list_objects_v2(Bucket=BUCKET, Prefix="orch/locks/").get("Contents"):
        return None
    return json.loads(s3.get_object(Bucket=BUCKET, Key="orch/locks/dev.json")["Body"].read())


class Asking:
    """A verb at a terminal, which waits for an answer."""

    def __init__(self, project: Project, errors: Path, verb: str, question: str):
        self._errors = errors
        self._hand, terminal = pty.openpty()
        with errors.open("w") as stderr:
            self.process = subprocess.Popen(
                [ORCH, verb, *DEV],
                cwd=project.path,
                env=project.environ,
                stdin=terminal,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        os.close(terminal)
        ends = time.monotonic() + TIMEOUT_S
        while question not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < ends, self.said
            time.sleep(0.05)

    @property
    def said(self) -> str:
        return self._errors.read_text()

    def answer(self, text: str) -> int:
        os.write(self._hand, f"{text}\n".encode())
        return self.process.wait(TIMEOUT_S)

    def send(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(TIMEOUT_S)
        os.close(self._hand)


def make_service(project: Project) -> None:
    ecs = project.client("ecs")
    container = {"name": "hello", "image": "r/hello:none", "memory": 128}
    ecs.register_task_definition(family="demo-dev-hello", containerDefinitions=[container])
    ecs.create_cluster(clusterName="demo-dev")
    ecs.create_service(
        cluster="demo-dev", serviceName="hello", taskDefinition="demo-dev-hello", desiredCount=0
    )


@pytest.fixture
def asking(project_without_lock, tmp_path):
    started = Asking(project_without_lock, tmp_path / "stderr", "apply", "Apply this to dev?")
    yield started
    started.close()


@pytest.fixture
def asking_to_destroy(project_without_lock, tmp_path):
    started = Asking(project_without_lock, tmp_path / "stderr", "destroy", "Type dev to destroy")
    yield started
    started.close()


def test_of_two_applies_at_once_one_is_refused_and_told_of_the_other(project_without_lock):
    project = project_without_lock
    runs = [project.start(*APPLY) for _run in range(2)]
    said = {run.pid: run.communicate(timeout=TIMEOUT_S)[1] for run in runs}
    by_code = {run.returncode: run.pid for run in runs}
    assert set(by_code) == {DONE, 22}, said
    winner, loser = said[by_code[DONE]], said[by_code[22]]
    assert "terraform_data.slow: create done" in winner
    assert "error: environment `dev` is locked: orch apply of alice@" in loser
    assert f"  process   {by_code[DONE]} on " in loser
    assert "terraform plan" not in loser
    assert "Traceback" not in winner + loser
    assert locked_by(project) is None


def test_while_one_holds_it_others_see_who_and_may_still_look(asking, story):
    holder = locked_by(story)
    assert (holder["pid"], holder["command"]) == (asking.process.pid, "apply")
    table = story.orch("locks", "--sandbox").stdout.splitlines()
    assert table[0].split()[:3] == ["environment", "holder", "command"]
    assert table[1].startswith("dev ")
    assert "alice@" in table[1]
    assert "orch apply" in table[1]
    (told,) = events(story.orch("locks", *DEV, "--output", "json"))
    assert (told["type"], told["pid"], told["is_expired"]) == ("lock", asking.process.pid, False)
    assert told["expires_at"] > told["heartbeat_at"]
    for verb in (("rollback", *DEV), ("destroy", *DEV, "--confirm", "dev")):
        assert "is locked: orch apply of alice@" in story.orch(*verb, code=22).stderr
    story.orch("plan", *DEV)
    refused = story.orch("unlock", *DEV, code=22)
    assert "orch unlock --env dev --force" in refused.stderr
    unasked = story.orch("unlock", *DEV, "--force", code=1)
    assert "If that run is alive" in unasked.stderr
    assert locked_by(story)["id"] == holder["id"]
    # Given back when the plan is declined, too.
    assert asking.answer("n") == 1
    assert locked_by(story) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_leaves_no_lock(asking, story, number):
    asking.send(number)
    assert "Traceback" not in asking.said
    assert locked_by(story) is None


def test_a_run_that_is_stopped_while_terraform_applies_leaves_no_lock(project_without_lock):
    project = project_without_lock
    run = project.start(*APPLY)
    for line in run.stderr:
        if "terraform_data.slow: create" in line:
            break
    assert locked_by(project)["pid"] == run.pid
    run.send_signal(signal.SIGTERM)
    said = run.communicate(timeout=TIMEOUT_S)[1]
    assert run.returncode == 130, said
    assert locked_by(project) is None
    assert project.orch("locks", "--sandbox").stdout == "not locked: dev, staging, prod\n"


def test_a_run_that_was_killed_leaves_a_lock_that_dies_by_itself(asking, story):
    asking.send(signal.SIGKILL)
    assert locked_by(story)["pid"] == asking.process.pid
    assert f"process   {asking.process.pid} on" in story.orch(*APPLY, code=22).stderr
    # S3's clock decides, which in the sandbox can be moved: nobody waits two minutes.
    control.control(story.sandbox, "POST", "clock", {"advance": 122})
    assert "dead since" in story.orch("locks", *DEV).stdout
    done = story.orch(*APPLY, code=DONE)
    assert "! took over the lock of environment `dev`, which was dead since" in done.stderr
    assert "orch apply of alice@" in done.stderr
    assert "terraform_data.slow: create done" in done.stderr
    assert locked_by(story) is None


def test_who_waits_gets_it_once_it_is_given_back(asking, story):
    waiting = story.start(*APPLY, "--lock-timeout", "60")
    for line in waiting.stderr:
        if "waiting for it" in line:
            break
    assert asking.answer("n") == 1
    said = waiting.communicate(timeout=TIMEOUT_S)[1]
    assert waiting.returncode == DONE, said
    assert "terraform_data.slow: create done" in said
    assert locked_by(story) is None


def test_a_run_whose_lock_was_removed_applies_nothing(asking, story):
    done = story.orch("unlock", *DEV, "--force", "--yes")
    assert "dev is unlocked; it was locked: orch apply of alice@" in done.stdout
    assert asking.answer("y") == 22
    assert "this run has lost the lock of environment `dev`: somebody has removed it" in asking.said
    assert "terraform apply" not in asking.said


def test_a_run_whose_lock_was_removed_destroys_nothing(asking_to_destroy, story):
    story.orch("unlock", *DEV, "--force", "--yes")
    assert asking_to_destroy.answer("dev") == 22
    assert "this run has lost the lock of environment `dev`" in asking_to_destroy.said
    assert "terraform apply" not in asking_to_destroy.said


def test_a_run_whose_lock_was_removed_while_terraform_applied_releases_nothing(project_without_lock):
    project = project_without_lock
    outputs = project.path / "terraform/envs/dev/outputs.tf"
    outputs.write_text(OUTPUTS)
    make_service(project)
    # Of another repository, which is taken as it is.
    image = f"r/other@sha256:{'0' * 64}"
    run = project.start(*APPLY, "--image", image)
    for line in run.stderr:
        if "terraform_data.slow: create" in line:
            break
    project.orch("unlock", *DEV, "--force", "--yes")
    said = run.communicate(timeout=TIMEOUT_S)[1]
    outputs.unlink()
    assert run.returncode == 22, said
    assert "✓ terraform apply" in said
    assert "this run has lost the lock of environment `dev`: somebody has removed it" in said
    listed = project.client("ecs").list_task_definitions(familyPrefix="demo-dev-hello")
    assert len(listed["taskDefinitionArns"]) == 1


def test_a_person_keeps_everybody_out(project_without_lock):
    project = project_without_lock
    locked = project.orch("lock", *DEV, "--reason", "the database moves", "--for", "2h")
    assert locked.stdout.startswith("dev is locked until 20")
    assert ": the database moves\n  → orch unlock --env dev\n" in locked.stdout
    refused = project.orch(*APPLY, "--output", "json", code=22)
    error = events(refused)[-1]
    assert (error["type"], error["exit_code"]) == ("error", 22)
    assert error["message"].startswith("environment `dev` is locked: orch lock of alice@")
    assert error["message"].endswith(": the database moves")
    assert "the database moves" in project.orch("locks", "--sandbox").stdout
    assert "is locked: orch lock of alice@" in project.orch("unlock", *DEV, code=22, USER="bob").stderr
    assert "dev is unlocked" in project.orch("unlock", *DEV).stdout
    assert project.orch("unlock", *DEV).stdout == "dev was not locked\n"
    assert project.orch("locks", *DEV, "--output", "json").stdout == ""


def test_what_is_no_lock_is_refused(project_without_lock):
    project = project_without_lock
    wrong = project.orch("lock", *DEV, "--reason", "x", "--for", "soon", code=2)
    assert "--for soon: this is no duration" in wrong.stderr
    assert "--reason" in project.orch("lock", *DEV, code=2).stderr
    assert "--reason says nothing" in project.orch("lock", *DEV, "--reason", " ", code=2).stderr
    assert locked_by(project) is None


def test_an_environment_that_cannot_be_asked_does_not_hide_the_others(project_without_lock):
    project = project_without_lock
    project.orch("lock", *DEV, "--reason", "the database moves")
    # The credentials of dev, for all of them.
    done = project.orch("locks", code=1, **project.aws_environ("dev"))
    assert "the database moves" in done.stdout
    assert "! the locks of prod: the credentials belong to account 111111111111" in done.stderr
    lines = events(project.orch("locks", "-o", "json", code=1, **project.aws_environ("dev")))
    assert [line["type"] for line in lines] == ["lock", "error", "error"]
    project.orch("unlock", *DEV)
