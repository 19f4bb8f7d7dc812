"""github.issues against a GitHub that keeps state and holds both sides to GitHub's description."""

from __future__ import annotations

import pytest

from orchestrator.errors import GitHubError, SettingsError
from orchestrator.github import api, issues
from orchestrator.github.api import BodyTooLongError, Patience
from orchestrator.github.issues import LABEL, Outcome, find
from tests.contract.github_fake import BOT, TOKEN, Answer, GitHub, Issue

REPOSITORY = "acme/shop"
PERSON = {"login": "mallory", "id": 666, "type": "User"}
MARKED = "<!-- orch:drift prod -->\n2 resources drifted"


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


def keep_open(github, body="2 resources drifted", environment="prod", title=None, slept=None, **others):
    return issues.keep_open(
        connect(github),
        environment,
        title=title or f"Drift in {environment}",
        body=body,
        patience=patience(slept),
        **others,
    )


def close(github, environment="prod", **others):
    return issues.close(connect(github), environment, patience=patience(), **others)


def writes(github):
    return [(verb, path, body) for verb, path, body in github.writes() if path != "/graphql"]


def test_an_issue_is_opened_updated_closed_and_opened_again(github):
    opened = keep_open(github)
    assert (opened.outcome, opened.issue.title, opened.issue.body) == (
        Outcome.OPENED,
        "Drift in prod",
        MARKED,
    )
    assert opened.issue.url == "https://github.com/acme/shop/issues/1"
    assert github.issues[1].labels == [LABEL]
    assert github.labels[LABEL]["color"] == "d93f0b"

    updated = keep_open(github, "3 resources drifted")
    assert (updated.outcome, updated.issue.number) == (Outcome.UPDATED, 1)
    assert github.issues[1].body.endswith("3 resources drifted")

    closed = close(github, body="No drift")
    assert (closed.outcome, closed.issue.is_open) == (Outcome.CLOSED, False)
    assert (github.issues[1].state, github.issues[1].state_reason) == ("closed", "completed")
    assert github.issues[1].body == "<!-- orch:drift prod -->\nNo drift"

    reopened = keep_open(github)
    assert (reopened.outcome, reopened.issue.number, reopened.issue.is_open) == (Outcome.REOPENED, 1, True)
    assert (github.issues[1].state, github.issues[1].body) == ("open", MARKED)
    assert len(github.issues) == 1


def test_what_is_equal_is_not_written(github):
    keep_open(github)
    github.issues[1].body = f"{MARKED}\r\n".replace("\n", "\r\n")
    github.calls.clear()
    assert keep_open(github).outcome is Outcome.UNCHANGED
    close(github)
    github.calls.clear()
    assert close(github).outcome is Outcome.UNCHANGED
    assert writes(github) == []


def test_there_is_nothing_to_close_at_first(github):
    assert close(github) is None
    assert find(connect(github), "prod") is None
    assert writes(github) == []


def test_each_environment_has_its_own_even_where_one_name_begins_another(github):
    keep_open(github)
    keep_open(github, environment="prod-eu")
    keep_open(github, environment="prod -->")
    assert [issue.title for issue in github.issues.values()] == [
        "Drift in prod",
        "Drift in prod-eu",
        "Drift in prod -->",
    ]
    assert find(connect(github), "prod -->").number == 3
    assert github.issues[3].body.startswith("<!-- orch:drift prod%20--%3E -->")


def test_neither_title_nor_marker_nor_label_alone_makes_an_issue_ours(github):
    github.labels[LABEL] = {"name": LABEL, "color": "d93f0b"}
    github.issues[1] = Issue(1, "Drift in prod", "written by hand", dict(BOT), [LABEL])
    github.issues[2] = Issue(2, "Drift in prod", MARKED, dict(PERSON), [LABEL])
    github.issues[3] = Issue(3, "Drift in prod", MARKED, dict(BOT), [])
    github.issues[4] = Issue(4, "Drift in prod", MARKED, dict(BOT), [LABEL], is_pull_request=True)
    github.issues[5] = Issue(5, "Drift in prod", None, dict(BOT), [LABEL])
    assert find(connect(github), "prod") is None
    assert keep_open(github).issue.number == 6


def test_a_changed_title_is_put_right_and_does_not_hide_the_issue(github):
    keep_open(github)
    github.issues[1].title = "please look"
    assert keep_open(github).outcome is Outcome.UPDATED
    assert github.issues[1].title == "Drift in prod"


def test_an_open_issue_comes_before_an_older_closed_one(github):
    for number, state in ((1, "closed"), (2, "open"), (3, "open")):
        github.issues[number] = Issue(number, "Drift", MARKED, dict(BOT), [LABEL], state)
    assert find(connect(github), "prod").number == 2
    github.issues[2].state = github.issues[3].state = "closed"
    assert find(connect(github), "prod").number == 1


def test_an_issue_is_found_on_a_later_page(github):
    for number in range(1, 150):
        github.issues[number] = Issue(number, "Other", "other", dict(PERSON), [LABEL], "closed")
    assert keep_open(github).issue.number == 150
    assert keep_open(github).outcome is Outcome.UNCHANGED


def test_a_label_that_someone_else_creates_meanwhile_is_taken(github):
    label = {"name": LABEL, "color": "000000"}
    github.before["POST /labels"] = [lambda: github.labels.update({LABEL: label})]
    assert keep_open(github).outcome is Outcome.OPENED
    assert github.labels[LABEL] == label


def test_a_label_of_ones_own(github):
    keep_open(github, label="infra: drift?")
    assert github.issues[1].labels == ["infra: drift?"]
    assert find(connect(github), "prod", label="infra: drift?").number == 1
    with pytest.raises(SettingsError, match="with a comma"):
        keep_open(github, label="a,b")


def test_an_opening_whose_answer_was_lost_is_looked_for_before_it_is_repeated(github):
    slept = []
    github.labels[LABEL] = {"name": LABEL, "color": "d93f0b"}
    github.lost_answers = 1
    assert keep_open(github, slept=slept).issue.number == 1
    assert len(github.issues) == 1
    assert slept == [1.0]


def test_a_secondary_rate_limit_is_waited_for(github):
    slept = []
    limit = Answer(429, {"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "9"})
    github.next_answers["POST /issues"] = [limit]
    keep_open(github, slept=slept)
    assert slept == [9.0]


def test_a_body_that_is_too_long_is_told_apart(github):
    with pytest.raises(BodyTooLongError):
        keep_open(github, "x" * 65_536)
    keep_open(github)
    with pytest.raises(BodyTooLongError):
        keep_open(github, "x" * 65_536)


def test_issues_that_are_switched_off_are_explained(github):
    github.has_issues = False
    with pytest.raises(GitHubError) as caught:
        keep_open(github)
    assert "410 Issues are disabled for this repo" in caught.value.message
    assert "switch issues on" in caught.value.hint


def test_a_missing_permission_names_itself_and_the_workflows_line(github):
    github.permissions["issues"] = "read"
    with pytest.raises(GitHubError) as caught:
        keep_open(github)
    assert "Issues: write (in a workflow, `permissions: issues: write`)" in caught.value.hint
    assert TOKEN not in f"{caught.value!r}{caught.value.hint}"


@pytest.mark.parametrize("body", [b"{}", b"[7]", b"<html>"])
def test_a_list_that_github_would_not_give(github, body):
    github.next_answers["GET /issues"] = [Answer(200, body)]
    with pytest.raises(GitHubError, match="did not answer as GitHub does"):
        keep_open(github)


def test_an_issue_that_github_would_not_give(github):
    github.next_answers["POST /issues"] = [Answer(201, {"number": 1})]
    with pytest.raises(GitHubError, match="an issue has no number, title, body, URL or state"):
        keep_open(github)
