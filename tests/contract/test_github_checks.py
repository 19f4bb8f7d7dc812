"""github.checks against answers as GitHub documents them ("List check runs for a Git reference", "Get the combined status")."""

from __future__ import annotations

import pytest

from orchestrator.errors import GitHubError
from orchestrator.github import api, checks
from tests.contract.github_fake import TOKEN, Answer, GitHub

COMMIT = "c0ffee" * 6 + "abcd"


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(api, "_BACKOFF_S", 0)


@pytest.fixture
def github():
    with GitHub().serving() as fake:
        yield fake


def answers(github, runs, statuses=()):
    github.next_answers = {
        f"GET /commits/{COMMIT}/check-runs": [
            Answer(200, {"total_count": len(runs), "check_runs": list(runs)})
        ],
        f"GET /commits/{COMMIT}/status": [
            Answer(200, {"state": "pending", "total_count": len(statuses), "statuses": list(statuses)})
        ],
    }


def run(name, status="completed", conclusion=None):
    return {"id": 1, "name": name, "status": status, "conclusion": conclusion}


def asked(github, *names):
    return checks.conclusions(api.connect(TOKEN, "acme/shop", github.url), COMMIT, names)


def test_how_each_check_ended(github):
    runs = [
        run("test", conclusion="success"),
        run("scan", conclusion="failure"),
        run("slow", "in_progress"),
        run("docs", conclusion="skipped"),
    ]
    answers(github, runs)
    assert asked(github, "test", "scan", "slow", "docs") == {
        "test": "success",
        "scan": "failure",
        "slow": "in_progress",
        "docs": "success",
    }
    # Nothing was missing, so the older kind was not asked for.
    assert [path.split("?")[0] for _verb, path, _body in github.calls] == [f"/commits/{COMMIT}/check-runs"]


def test_the_context_of_a_commit_status_is_a_check_too(github):
    answers(
        github,
        [run("test", conclusion="success")],
        [{"context": "ci/old", "state": "failure"}, {"context": "test", "state": "failure"}],
    )
    assert asked(github, "test", "ci/old", "nobody") == {"test": "success", "ci/old": "failure", "nobody": ""}


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_with_one_name_the_worst_counts(github, order):
    answers(github, [run("test", conclusion="success"), run("test", conclusion="cancelled")][::order])
    assert asked(github, "test") == {"test": "cancelled"}


def test_a_token_without_the_right_names_it(github):
    github.next_answers = {
        f"GET /commits/{COMMIT}/check-runs": [
            Answer(403, {"message": "Resource not accessible by integration"}, {})
        ]
    }
    with pytest.raises(GitHubError) as caught:
        asked(github, "test")
    assert "Checks: read" in caught.value.hint
