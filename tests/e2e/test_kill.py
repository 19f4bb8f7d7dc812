"""orch is killed with SIGKILL in the middle of an apply, at ten points; running it again converges each time.

Killed is what a runner does that is taken away: no handler runs, nothing is put away. Afterwards there is exactly one release of
the commit and one revision of it, and no lock that outlives its time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from orchestrator.lock.held import LIFETIME_S
from orchestrator.sandbox import control
from tests.conftest import IS_SOAK
from tests.e2e import hand_made
from tests.e2e.conftest import ORCH, Project

APPLY = ("apply", "--env", "dev", "--sandbox", "--yes", "--output", "json")
# What orch said last before it was killed: the type of an event, and its step's name.
EVERY_POINT = [
    ("step_started", "preflight"),
    ("step_started", "plan"),
    ("step_finished", "plan"),
    ("resource_progress", ""),
    ("step_finished", "apply"),
    ("step_started", "build"),
    ("step_started", "push"),
    ("step_finished", "push"),
    ("step_started", "register"),
    ("step_finished", "register"),
    ("rollout_progress", ""),
    ("step_finished", "rollout"),
]
# Those where most can be left half done; all of them by `make soak`.
POINTS = EVERY_POINT if IS_SOAK else [EVERY_POINT[number] for number in (3, 7, 9, 11)]


@pytest.fixture(scope="module")
def story(project: Project) -> Project:
    hand_made.make(project, "hello")
    project.orch(*APPLY)
    return project


def kill_at(project: Project, kind: str, name: str) -> None:
    """Starts an apply, and kills it with SIGKILL the moment it says that."""
    process = subprocess.Popen(
        [ORCH, *APPLY],
        cwd=project.path,
        env=project.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    try:
        for line in process.stdout:
            event = json.loads(line)
            if event["type"] == kind and event.get("name", "") == name:
                os.kill(process.pid, signal.SIGKILL)
                break
        else:
            raise AssertionError(f"it never said {kind} {name}")
    finally:
        process.stdout.close()
        process.wait()
    assert process.returncode == -signal.SIGKILL


def revisions_of(project: Project, commit: str) -> list[str]:
    ecs = project.client("ecs")
    family = f"{hand_made.CLUSTER}-hello"
    listed = ecs.list_task_definitions(familyPrefix=family, status="ACTIVE")["taskDefinitionArns"]
    found = []
    for arn in listed:
        tags = ecs.describe_task_definition(taskDefinition=arn, include=["TAGS"])["tags"]
        if {"key": "orch:git-sha", "value": commit} in tags:
            found.append(arn)
    return found


def releases_of(project: Project, commit: str) -> list[dict]:
    s3 = project.client("s3")
    listed = s3.list_objects_v2(Bucket=hand_made.BUCKET, Prefix="orch/releases/dev/").get("Contents", [])
    records = [
        json.loads(s3.get_object(Bucket=hand_made.BUCKET, Key=item["Key"])["Body"].read())
        for item in listed
        if item["Key"].endswith(".json")
    ]
    return [record for record in records if record["commit"] == commit]


def locks(project: Project) -> list[str]:
    listed = project.client("s3").list_objects_v2(Bucket=hand_made.BUCKET)["Contents"]
    return [item["Key"] for item in listed if "lock" in item["Key"]]


@pytest.mark.parametrize(("kind", "name"), POINTS)
def test_a_killed_apply_is_finished_by_the_next(story: Project, kind, name):
    step = story.path / "terraform/envs/dev/step.auto.tfvars"
    step.write_text(f'step = "{kind} {name}"\n')
    commit = story.commit(f"Until {kind} {name}")
    kill_at(story, kind, name)
    # Terraform, if it ran, goes on to its end; the lock of the killed run dies by the clock of S3, which is the sandbox's.
    time.sleep(1)
    control.control(story.sandbox, "POST", "clock", {"advance": LIFETIME_S + 5})
    done = story.orch(*APPLY)
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["verdict"] in {"SUCCEEDED", "NO_CHANGE"}
    (revision,) = revisions_of(story, commit)
    service = story.client("ecs").describe_services(cluster=hand_made.CLUSTER, services=["hello"])[
        "services"
    ][0]
    assert service["taskDefinition"] == revision
    assert (service["runningCount"], len(service["deployments"])) == (1, 1)
    (release,) = releases_of(story, commit)
    assert (release["verdict"], release["revision_arn"]) == ("SUCCEEDED", revision)
    assert locks(story) == []


def test_nothing_is_left_to_do_in_the_end(story: Project):
    assert story.orch("plan", "--env", "dev", "--sandbox").stdout == "Plan for dev: no changes\n"
