"""github.deployments against a GitHub that keeps state and holds both sides to GitHub's description."""

from __future__ import annotations

import pytest

from orchestrator.errors import GitHubError
from orchestrator.github import api
from orchestrator.github.api import Patience
from orchestrator.github.deployments import State, find, report, start
from tests.contract.github_fake import TOKEN, Answer, Deployment, GitHub

REPOSITORY = "acme/shop"
FIRST, SECOND, THIRD = "a" * 40, "b" * 40, "c" * 40
RUN = "https://github.com/acme/shop/actions/runs/1/attempts/1"


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    """No proxy of this machine on the way, and no waiting between attempts to connect."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(api, "_BACKOFF_S", 0)


@pytest.fixture
def github():
    with GitHub().serving() as fake:
        yield fake


def patience(slept=None):
    slept = [] if slept is None else slept
    return Patience(sleep=slept.append, clock=lambda: sum(slept))


def connect(github):
    return api.connect(TOKEN, REPOSITORY, github.url)


def begin(github, commit=FIRST, environment="prod", *, is_production=True, release="r1", **others):
    return start(
        connect(github),
        environment,
        commit,
        release=release,
        is_production=is_production,
        log_url=RUN,
        patience=others.pop("patience", None) or patience(),
        **others,
    )


def ship(github, commit, environment="prod", *, is_production=True):
    deployment = begin(github, commit, environment, is_production=is_production)
    report(connect(github), deployment, State.SUCCESS, log_url=RUN, patience=patience())
    return deployment


def states(github, deployment):
    return [status["state"] for status in github.deployments[deployment.id].statuses]


def test_a_deployment_is_made_for_the_commit_and_reported_to_its_end(github):
    deployment = begin(github, description="release r1")
    made = github.deployments[deployment.id]
    assert made.body == {
        "ref": FIRST,
        "task": "deploy",
        "environment": "prod",
        "description": "release r1",
        "auto_merge": False,
        "required_contexts": [],
        "production_environment": True,
        "transient_environment": False,
        "payload": {"orch": {"release": "r1"}},
    }
    assert report(
        connect(github),
        deployment,
        State.SUCCESS,
        log_url=RUN,
        environment_url="https://shop.example",
        description="x" * 200,
        patience=patience(),
    )
    assert states(github, deployment) == ["in_progress", "success"]
    last = made.statuses[-1]
    assert (last["log_url"], last["environment_url"]) == (RUN, "https://shop.example")
    assert last["description"] == "x" * 139 + "…"
    assert deployment == find(connect(github), "prod", FIRST)
    assert deployment.release == "r1"


def test_a_second_run_finds_the_deployment_and_says_nothing_twice(github):
    first = begin(github)
    github.calls.clear()
    assert begin(github, release="r2") == first
    assert github.writes() == []
    other_run = f"{RUN[:-1]}2"
    assert report(connect(github), first, State.IN_PROGRESS, log_url=other_run, patience=patience())
    assert not report(connect(github), first, State.IN_PROGRESS, log_url=other_run, patience=patience())


def test_what_orch_did_not_make_is_not_taken_for_orchs(github):
    jobs_own = {"ref": FIRST, "environment": "prod", "task": "deploy", "payload": {}}
    jobs_own["production_environment"] = True
    github.deployments[5] = Deployment(5, jobs_own, [{"id": 6, "state": "success"}])
    deployment = ship(github, FIRST)
    assert deployment.id != 5
    ship(github, SECOND)
    assert github.deployments[5].state == "success"


def test_each_commit_and_each_environment_has_its_own(github):
    made = {
        begin(github, FIRST).id,
        begin(github, SECOND).id,
        begin(github, FIRST, "dev", is_production=False).id,
    }
    assert len(made) == len(github.deployments) == 3


@pytest.mark.parametrize("is_production", [True, False])
def test_the_earlier_deployment_becomes_inactive_in_any_environment(github, is_production):
    first = ship(github, FIRST, is_production=is_production)
    dev = ship(github, FIRST, "dev", is_production=False)
    failed = begin(github, SECOND, is_production=is_production)
    report(connect(github), failed, State.FAILURE, log_url=RUN, patience=patience())
    assert states(github, first) == ["in_progress", "success"]
    third = ship(github, THIRD, is_production=is_production)
    assert states(github, first) == ["in_progress", "success", "inactive"]
    assert states(github, failed) == ["in_progress", "failure"]
    assert states(github, third) == ["in_progress", "success"]
    assert states(github, dev) == ["in_progress", "success"]
    report(connect(github), third, State.SUCCESS, log_url=RUN, patience=patience())
    assert states(github, first) == ["in_progress", "success", "inactive"]


@pytest.mark.parametrize("is_production", [True, False])
def test_after_a_rollback_the_older_deployment_is_the_one_that_is_active(github, is_production):
    first = ship(github, FIRST, is_production=is_production)
    second = ship(github, SECOND, is_production=is_production)
    assert ship(github, FIRST, is_production=is_production) == first
    assert github.deployments[first.id].state == "success"
    assert states(github, second) == ["in_progress", "success", "inactive"]


def test_a_creation_whose_answer_was_lost_is_looked_for_before_it_is_repeated(github):
    slept = []
    github.lost_answers = 1
    begin(github, patience=patience(slept))
    assert len(github.deployments) == 1
    assert slept == [1.0]


def test_a_creation_that_failed_is_repeated(github):
    slept = []
    github.next_answers["POST /deployments"] = [Answer(502, b"<html>"), Answer(502, b"<html>")]
    begin(github, patience=patience(slept))
    assert len(github.deployments) == 1
    assert slept == [1.0, 2.0]


def test_a_secondary_rate_limit_is_waited_for(github):
    slept = []
    limit = Answer(403, {"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "9"})
    github.next_answers["POST /deployments"] = [limit]
    begin(github, patience=patience(slept))
    assert slept == [9.0]


def test_a_missing_permission_names_itself_and_the_workflows_line(github):
    github.permissions["deployments"] = "read"
    with pytest.raises(GitHubError) as caught:
        begin(github)
    assert caught.value.endpoint == "POST /repos/acme/shop/deployments"
    assert "Deployments: write (in a workflow, `permissions: deployments: write`)" in caught.value.hint
    assert "GitHub asks for deployments=write" in caught.value.hint
    assert TOKEN not in f"{caught.value!r}{caught.value.hint}"


def test_a_commit_that_github_does_not_have(github):
    with pytest.raises(GitHubError, match="422 No ref found for: nonsense"):
        begin(github, "nonsense")


@pytest.mark.parametrize("body", [{"message": "Auto-merged"}, [], {"id": "x"}])
def test_an_answer_that_github_would_not_give(github, body):
    github.next_answers["POST /deployments"] = [Answer(202, body)]
    with pytest.raises(GitHubError, match="did not answer as GitHub does"):
        begin(github)


def test_a_status_without_an_id(github):
    deployment = begin(github)
    github.next_answers["GET /deployments"] = [Answer(200, [{"state": "success"}])]
    with pytest.raises(GitHubError, match="a status has no id"):
        report(connect(github), deployment, State.SUCCESS, patience=patience())
