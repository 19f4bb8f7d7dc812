"""What a release record tells beside the rollout: what was replaced, when the commit was made, and where the run is to be seen."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import pytest

from orchestrator.ecs.revisions import Revision
from orchestrator.ecs.services import Deployment, ServiceState
from orchestrator.ecs.task_definition import TaskDefinition
from orchestrator.model import Action, Change, Plan, Replaced, ServiceContract
from orchestrator.operations import provenance

ARN = "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-web"
DIGEST = "sha256:" + "ab12" * 16
SERVICE = ServiceContract("web", "r", "c", "web", "web", f"{ARN}:1", "demo-dev-web", "g", "e", "t", 2)


def state(on, *others, rollout_state="COMPLETED"):
    """A service on a revision, with deployments of others that still have tasks."""
    deployments = [
        Deployment(f"ecs-svc/{number}", kind, rollout_state, "", f"{ARN}:{number}", 2, 0, 2, 0)
        for number, kind in [(on, "PRIMARY"), *((other, "ACTIVE") for other in others)]
    ]
    return ServiceState("ACTIVE", f"{ARN}:{on}", 2, 2, True, tuple(deployments), ())


def revision(number, image=f"r.example/web@{DIGEST}"):
    definition = TaskDefinition({"family": "web", "containerDefinitions": [{"name": "web", "image": image}]})
    return Revision(f"{ARN}:{number}", definition, {"orch:git-sha": "c0ffee"})


@pytest.mark.parametrize(
    ("service", "rolled_out", "is_followed", "before"),
    [
        (state(7), 8, False, 7),
        (state(7), 6, False, 7),
        (state(8, 7), 8, True, 7),
        # A new deployment of what runs, and one of what failed while the former one still ran.
        (state(8), 8, False, 8),
        (state(8, 7, rollout_state="FAILED"), 8, False, 7),
        # It ended before anybody looked, and ECS shows no other any more.
        (state(8), 8, True, None),
    ],
)
def test_what_a_rollout_takes_the_place_of(service, rolled_out, is_followed, before):
    found = provenance.previous(service, f"{ARN}:{rolled_out}", is_followed=is_followed)
    assert found == (f"{ARN}:{before}" if before else "")


def replaced(known, service=None):
    return provenance.replaced(
        service or state(7),
        f"{ARN}:8",
        known,
        is_followed=False,
        service=SERVICE,
        session=SimpleNamespace(ecs=None),
    )


def test_what_was_replaced_is_told_by_digest_and_commit_as_far_as_it_has_them():
    assert replaced(revision(7)) == Replaced(f"{ARN}:7", DIGEST, "c0ffee")
    assert replaced(revision(7, image="nginx:latest")) == Replaced(f"{ARN}:7")
    # Terraform's skeleton is nothing that was released.
    assert replaced(revision(1), state(1)) is None


def test_a_plan_is_counted_by_what_it_does():
    actions = (Action.CREATE, Action.CREATE, Action.DELETE)
    plan = Plan(
        tuple(Change(f"a.{number}", action) for number, action in enumerate(actions)),
        (),
        (),
        is_applicable=True,
        terraform_version="",
        contract={},
    )
    assert provenance.count(plan) == {"create": 2, "delete": 1}


def test_a_commits_time_is_read_from_the_checkout_that_has_it(tmp_path):
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    who = {f"GIT_{kind}_{what}": "a@b.c" for kind in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    when = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-02T03:00:00+01:00"}

    def git(*arguments):
        done = subprocess.run(
            ["git", *arguments],
            cwd=tmp_path,
            env=environ | who | when,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "x")
    head = git("rev-parse", "HEAD")
    for commit in (head, f"{head}-dirty-0a1b2c"):
        assert provenance.committed_at(commit, tmp_path, environ) == "2026-01-02T03:00:00+01:00"
    for commit in ("", "0" * 40, "HEAD", "--output=x"):
        assert provenance.committed_at(commit, tmp_path, environ) == ""
    assert provenance.committed_at(head, tmp_path / "nowhere", environ) == ""


def test_where_the_run_is_to_be_seen():
    actions = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "7"}
    assert provenance.run_url({}) == ""
    assert provenance.run_url(actions) == "https://github.com/o/r/actions/runs/7/attempts/1"
    assert provenance.run_url({**actions, "ORCH_RUN_URL": "https://ci.example/7"}) == "https://ci.example/7"
    assert provenance.run_url({"GITHUB_RUN_ID": "7"}) == ""
