from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.errors import GitHubError, SettingsError
from orchestrator.github.context import completed, connect, from_environment
from tests.contract.github_fake import TOKEN, Answer, GitHub

HEAD, BASE, MERGE = "a" * 40, "b" * 40, "c" * 40
ACTIONS = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_REPOSITORY": "acme/shop",
    "GITHUB_SHA": MERGE,
    "GITHUB_REF": "refs/heads/main",
    "GITHUB_RUN_ID": "99",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_ACTOR": "octocat",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_API_URL": "https://api.github.com",
    "GITHUB_STEP_SUMMARY": "/runner/summary",
    "GITHUB_TOKEN": TOKEN,
}
PULL_REQUESTS = [
    "pull_request",
    "pull_request_target",
    "pull_request_review",
    "pull_request_review_comment",
]


def pull_request(repository: str | None = "acme/shop"):
    head = {"sha": HEAD, "repo": None if repository is None else {"full_name": repository}}
    return {"number": 12, "head": head, "base": {"sha": BASE, "repo": {"full_name": "acme/shop"}}}


@pytest.fixture
def run(tmp_path):
    """The context of a run in Actions for an event and what its file holds."""

    def context(event, file, *, variables=None, **flags):
        path = tmp_path / "event.json"
        path.write_text(json.dumps(file))
        environ = ACTIONS | {"GITHUB_EVENT_NAME": event, "GITHUB_EVENT_PATH": str(path)} | (variables or {})
        return from_environment(environ, **flags)

    return context


@pytest.mark.parametrize("event", PULL_REQUESTS)
def test_the_commit_of_a_pull_request_is_its_head_and_not_the_merge_commit(run, event):
    found = run(event, {"pull_request": pull_request()})
    assert (found.pull_request, found.commit, found.base_commit) == (12, HEAD, BASE)
    assert (found.repository, found.head_repository, found.is_fork) == ("acme/shop", "acme/shop", False)
    assert (found.event, found.actor, found.is_actions) == (event, "octocat", True)
    assert found.run_url == "https://github.com/acme/shop/actions/runs/99/attempts/2"
    assert (found.run_id, found.run_attempt) == ("99", 2)
    assert found.summary_path == Path("/runner/summary")


@pytest.mark.parametrize("event", PULL_REQUESTS)
@pytest.mark.parametrize(
    ("repository", "is_fork"),
    [("mallory/shop", True), (None, True), ("acme/shop", False), ("Acme/Shop", False)],
)
def test_a_fork_is_another_repository_or_one_that_is_gone(run, event, repository, is_fork):
    found = run(event, {"pull_request": pull_request(repository)})
    assert found.is_fork is is_fork
    assert found.head_repository == (repository or "")
    assert found.is_fork_without_rights is (is_fork and event != "pull_request_target")


@pytest.mark.parametrize(
    ("event", "file", "expected"),
    [
        ("push", {"before": BASE}, (None, MERGE, BASE)),
        ("push", {"before": "0" * 40}, (None, MERGE, "")),
        ("push", {}, (None, MERGE, "")),
        ("merge_group", {"merge_group": {"head_sha": HEAD, "base_sha": BASE}}, (None, HEAD, BASE)),
        ("workflow_dispatch", {"inputs": {"environment": "prod"}}, (None, MERGE, "")),
        ("schedule", {"schedule": "0 0 * * *"}, (None, MERGE, "")),
        ("issue_comment", {"issue": {"number": 12, "pull_request": {}}}, (12, "", "")),
        ("issue_comment", {"issue": {"number": 7}}, (None, MERGE, "")),
        ("workflow_run", {"workflow_run": {"head_sha": HEAD, "pull_requests": []}}, (None, HEAD, "")),
        (
            "workflow_run",
            {"workflow_run": {"head_sha": HEAD, "pull_requests": [{"number": 12}]}},
            (12, HEAD, ""),
        ),
        (
            "workflow_run",
            {"workflow_run": {"head_sha": HEAD, "pull_requests": [{"number": 12}, {"number": 13}]}},
            (None, HEAD, ""),
        ),
    ],
)
def test_other_events(run, event, file, expected):
    found = run(event, file)
    assert (found.pull_request, found.commit, found.base_commit) == expected
    assert not found.is_fork_without_rights


@pytest.mark.parametrize(("repository", "is_fork"), [("acme/shop", False), ("mallory/shop", True)])
def test_a_workflow_run_may_come_from_a_fork_but_has_the_rights_of_the_repository(run, repository, is_fork):
    file = {"workflow_run": {"head_sha": HEAD, "head_repository": {"full_name": repository}}}
    found = run("workflow_run", file)
    assert (found.is_fork, found.is_fork_without_rights) == (is_fork, False)


@pytest.mark.parametrize("event", ["deployment", "deployment_status"])
def test_a_deployment_names_its_environment(run, event):
    assert run(event, {"deployment": {"environment": "prod"}}).environment == "prod"


def test_flags_come_first(run):
    found = run(
        "pull_request",
        {"pull_request": pull_request()},
        repository="acme/other",
        pull_request=3,
        commit=BASE,
    )
    assert (found.repository, found.pull_request, found.commit) == ("acme/other", 3, BASE)
    assert "/acme/shop/actions/runs/99" in found.run_url


def test_outside_of_actions_there_are_flags_alone():
    found = from_environment({}, repository="acme/shop", pull_request=12, commit=HEAD)
    assert (found.repository, found.pull_request, found.commit) == ("acme/shop", 12, HEAD)
    assert (found.is_actions, found.is_fork, found.run_url, found.summary_path) == (False, False, "", None)
    assert (found.api_url, found.server_url) == ("https://api.github.com", "https://github.com")
    nothing = from_environment({})
    assert (nothing.repository, nothing.pull_request, nothing.commit) == ("", None, "")


@pytest.mark.parametrize(
    ("server", "api", "expected"),
    [
        ("https://ghe.example", "https://ghe.example/api/v3", "https://ghe.example/api/v3"),
        ("https://ghe.example:8443/", "", "https://ghe.example:8443/api/v3"),
        ("https://acme.ghe.com", "", "https://api.acme.ghe.com"),
        ("https://acme.ghe.com", "https://api.acme.ghe.com", "https://api.acme.ghe.com"),
        ("https://github.com", "", "https://api.github.com"),
    ],
)
def test_an_enterprise_server_has_its_own_urls(server, api, expected):
    environ = ACTIONS | {"GITHUB_SERVER_URL": server, "GITHUB_API_URL": api}
    found = from_environment(environ)
    assert found.api_url == expected
    assert found.run_url == f"{server.rstrip('/')}/acme/shop/actions/runs/99/attempts/2"
    assert connect(found).api_url == expected


BROKEN = [
    (None, "GITHUB_EVENT_PATH is not set"),
    ("missing", "cannot be read: No such file or directory"),
    (b"{", "is not JSON"),
    (b"\xff\xfe", "is not JSON"),
    (b"[]", "holds no object"),
    (b"{}", "does not hold the pull request's number and its head's commit"),
    (b'{"pull_request": {"number": 12, "head": null}}', "does not hold the pull request's number"),
]


def environ_with(tmp_path, event, content):
    environ = ACTIONS | {"GITHUB_EVENT_NAME": event, "GITHUB_REF": "refs/pull/12/merge"}
    if content == "missing":
        environ["GITHUB_EVENT_PATH"] = str(tmp_path / "none.json")
    elif content is not None:
        path = tmp_path / "event.json"
        path.write_bytes(content)
        environ["GITHUB_EVENT_PATH"] = str(path)
    return environ


@pytest.mark.parametrize(("content", "text"), BROKEN)
def test_a_missing_or_broken_event_file_is_explained_where_it_is_needed(tmp_path, content, text):
    with pytest.raises(GitHubError) as caught:
        from_environment(environ_with(tmp_path, "pull_request", content))
    assert text in caught.value.message
    assert "by hand" in caught.value.hint
    assert TOKEN not in f"{caught.value.message}{caught.value!r}"


@pytest.mark.parametrize("content", [content for content, _ in BROKEN])
def test_and_does_no_harm_where_it_is_not(tmp_path, content):
    found = from_environment(environ_with(tmp_path, "push", content) | {"GITHUB_REF": "refs/heads/main"})
    assert (found.pull_request, found.commit) == (None, MERGE)
    found = from_environment(environ_with(tmp_path, "pull_request", content), commit=HEAD)
    assert (found.pull_request, found.commit) == (12, HEAD)


@pytest.mark.parametrize("variable", ["GITHUB_TOKEN", "GH_TOKEN"])
def test_the_token_is_shown_nowhere(variable):
    found = from_environment({variable: TOKEN}, repository="acme/shop")
    assert found.token == TOKEN
    assert TOKEN not in f"{found!r}{found}"
    assert TOKEN not in repr(connect(found))


@pytest.mark.parametrize(
    ("variables", "hint"),
    [
        ({"GITHUB_TOKEN": ""}, "GITHUB_TOKEN: ${{ github.token }}"),
        ({"GITHUB_TOKEN": "", "GITHUB_ACTIONS": ""}, "gh auth token"),
    ],
)
def test_a_missing_token_is_explained(run, variables, hint):
    context = run("pull_request", {"pull_request": pull_request()}, variables=variables)
    with pytest.raises(GitHubError) as caught:
        connect(context)
    assert hint in caught.value.hint


def test_a_forks_missing_token_is_explained(run):
    file = {"pull_request": pull_request("mallory/shop")}
    context = run("pull_request", file, variables={"GITHUB_TOKEN": ""})
    with pytest.raises(GitHubError) as caught:
        connect(context)
    assert "comes from a fork" in caught.value.hint


def test_a_repository_that_nobody_names_or_that_is_none(run):
    with pytest.raises(GitHubError, match="which GitHub repository"):
        connect(from_environment({"GITHUB_TOKEN": TOKEN}))
    with pytest.raises(SettingsError):
        connect(from_environment({"GITHUB_TOKEN": TOKEN}, repository="shop"))


@pytest.fixture
def direct(monkeypatch):
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("direct")
@pytest.mark.parametrize(
    ("repository", "is_fork"), [("acme/shop", False), ("mallory/shop", True), (None, True)]
)
def test_what_a_comment_does_not_tell_of_its_pull_request_is_asked_for(run, repository, is_fork):
    with GitHub().serving() as github:
        github.pull(12, HEAD, BASE, repository)
        file = {"issue": {"number": 12, "pull_request": {}}}
        context = run("issue_comment", file, variables={"GITHUB_API_URL": github.url})
        found = completed(context, connect(context))
        assert (found.commit, found.base_commit, found.is_fork) == (HEAD, BASE, is_fork)
        assert not found.is_fork_without_rights
        github.calls.clear()
        assert completed(found, connect(found)) is found
        assert github.calls == []


@pytest.mark.usefixtures("direct")
def test_a_pull_request_that_github_does_not_have_or_would_not_give():
    with GitHub().serving() as github:
        environ = {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": github.url}
        context = from_environment(environ, repository="acme/shop", pull_request=5)
        with pytest.raises(GitHubError, match="404 Not Found"):
            completed(context, connect(context))
        github.next_answers["GET /pulls/5"] = [Answer(200, {"number": 5})]
        with pytest.raises(GitHubError, match="has no number or no head"):
            completed(context, connect(context))
