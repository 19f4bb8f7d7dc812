"""github.repository and github.identity against a GitHub that keeps state and holds both sides to GitHub's description."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from orchestrator.errors import GitHubError, SettingsError
from orchestrator.github import api
from orchestrator.github.difference import (
    CreateEnvironment,
    Protections,
    Remark,
    RestrictBranches,
    SetVariable,
    Wanted,
    WantedEnvironment,
)
from orchestrator.github.identity import repository_identity
from orchestrator.github.repository import apply, compare
from tests.contract.github_fake import ALL, TOKEN, Answer, Environment, GitHub

REPOSITORY = "acme/shop"
CUSTOM = {"protected_branches": False, "custom_branch_policies": True}
PROTECTED = {"protected_branches": True, "custom_branch_policies": False}
WANTED = Wanted(
    {"AWS_REGION": "eu-central-1"},
    (
        WantedEnvironment("dev", ("main",), {"ROLE": "arn:dev"}),
        WantedEnvironment("prod", ("main", "release/*"), {"ROLE": "arn:prod", "ACCOUNT": "1"}),
    ),
)
REVIEWER_WITHOUT_ID = b'{"type": "required_reviewers", "reviewers": [{"type": "User", "reviewer": null}]}'
ONLY_PROD = Wanted({}, (WantedEnvironment("prod", ("main",), {}),))


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    """No proxy of this machine on the way, and no waiting between retries."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(api, "_BACKOFF_S", 0)


@pytest.fixture
def github():
    with GitHub().serving() as fake:
        yield fake


def differences(github, wanted):
    return compare(TOKEN, REPOSITORY, wanted, api_url=github.url)


def bring_about(github, wanted):
    apply(TOKEN, REPOSITORY, differences(github, wanted), api_url=github.url)


def refusal(github, wanted=WANTED):
    with pytest.raises(GitHubError) as caught:
        bring_about(github, wanted)
    error = caught.value
    assert TOKEN not in f"{error.message}{error.hint}{error.details}{error!r}{error.__cause__!r}"
    return error


def test_a_fresh_repository_gets_everything_and_a_second_run_finds_nothing(github):
    lines = [difference.line for difference in differences(github, WANTED)]
    assert lines == [
        "create environment `dev`, open to `main` alone",
        "create variable ROLE of environment `dev`: 'arn:dev'",
        "create environment `prod`, open to `main`, `release/*` alone",
        "create variable ROLE of environment `prod`: 'arn:prod'",
        "create variable ACCOUNT of environment `prod`: '1'",
        "create variable AWS_REGION: 'eu-central-1'",
    ]
    assert github.writes() == []
    told = []
    apply(TOKEN, REPOSITORY, differences(github, WANTED), api_url=github.url, emit=told.append)
    assert [event.text for event in told] == lines
    prod = github.environments["prod"]
    assert prod.policy == CUSTOM
    assert prod.patterns == [("branch", "main"), ("branch", "release/*")]
    assert prod.variables == {"ROLE": "arn:prod", "ACCOUNT": "1"}
    assert github.environments["dev"].patterns == [("branch", "main")]
    assert github.variables == {"AWS_REGION": "eu-central-1"}
    assert differences(github, WANTED) == ()


def test_an_environment_is_closed_before_it_is_opened_and_gets_its_variables_last(github):
    wanted = Wanted({}, (WantedEnvironment("prod", ("main",), {"ROLE": "arn:prod"}),))
    bring_about(github, wanted)
    assert github.writes() == [
        ("PUT", "/environments/prod", {"deployment_branch_policy": CUSTOM}),
        ("POST", "/environments/prod/deployment-branch-policies", {"name": "main", "type": "branch"}),
        ("POST", "/environments/prod/variables", {"name": "ROLE", "value": "arn:prod"}),
    ]


def test_nothing_to_do_does_not_even_connect(github):
    bring_about(github, WANTED)
    github.calls.clear()
    apply(TOKEN, REPOSITORY, (Remark("prod", "differs"),), api_url=github.url)
    assert github.calls == []


def test_the_same_differences_may_be_applied_again(github):
    found = differences(github, WANTED)
    apply(TOKEN, REPOSITORY, found, api_url=github.url)
    github.environments["prod"].reviewers = [("User", 7)]
    apply(TOKEN, REPOSITORY, found, api_url=github.url)
    assert github.environments["prod"].reviewers == [("User", 7)]
    assert github.environments["prod"].patterns == [("branch", "main"), ("branch", "release/*")]


def test_a_run_that_died_after_closing_the_environment_is_finished_by_the_next(github):
    github.next_answers["POST /deployment-branch-policies"] = [
        Answer(502, b"<html>Bad Gateway</html>") for _ in range(4)
    ]
    assert refusal(github, ONLY_PROD).status == 502
    assert github.environments["prod"].policy == CUSTOM
    (found,) = differences(github, ONLY_PROD)
    assert found == RestrictBranches("prod", ("main",), is_closed=True, protections=Protections())
    assert "now: no branch may deploy" in found.line
    bring_about(github, ONLY_PROD)
    assert github.environments["prod"].patterns == [("branch", "main")]
    assert differences(github, ONLY_PROD) == ()


def test_an_environment_without_a_rule_gets_one_and_keeps_reviewers_timer_and_bypass(github):
    prod = github.add(
        Environment(
            "prod",
            reviewers=[("User", 7), ("Team", 3)],
            wait_timer=30,
            prevent_self_review=True,
            can_admins_bypass=False,
            app_rules=["custom_gate"],
            variables={"OTHER": "x"},
        )
    )
    (found,) = differences(github, ONLY_PROD)
    assert found.line == (
        "open environment `prod` to `main` alone (now: any branch may deploy); kept: 2 reviewers, no review of one's own"
        " deployments, 30 minutes to wait, no bypass for administrators, custom_gate"
    )
    bring_about(github, ONLY_PROD)
    assert (prod.policy, prod.patterns) == (CUSTOM, [("branch", "main")])
    assert sorted(prod.reviewers) == [("Team", 3), ("User", 7)]
    assert (prod.wait_timer, prod.prevent_self_review, prod.can_admins_bypass) == (30, True, False)
    assert prod.variables == {"OTHER": "x"}
    assert differences(github, ONLY_PROD) == ()


def test_settings_that_an_environment_does_not_have_are_not_sent(github):
    """Plans and servers refuse the mere mention of those that they do not know."""
    github.add(Environment("prod"))
    bring_about(github, ONLY_PROD)
    assert github.writes()[0] == ("PUT", "/environments/prod", {"deployment_branch_policy": CUSTOM})


def test_reviewers_that_got_lost_all_the_same_are_an_error(github):
    github.add(Environment("prod", reviewers=[("User", 7)]))
    github.put_forgets_reviewers = True
    error = refusal(github, ONLY_PROD)
    assert "GitHub changed its protection: it had 1 reviewer, and has none" in error.message
    assert "restore it" in error.hint


def test_reviewers_added_between_the_look_and_the_deed_are_kept(github):
    prod = github.add(Environment("prod"))
    found = differences(github, ONLY_PROD)
    prod.reviewers = [("User", 7)]
    apply(TOKEN, REPOSITORY, found, api_url=github.url)
    assert prod.reviewers == [("User", 7)]


def test_a_rule_that_came_between_the_look_and_the_deed_is_not_replaced(github):
    prod = github.add(Environment("prod"))
    found = differences(github, ONLY_PROD)
    prod.policy = PROTECTED
    with pytest.raises(GitHubError, match="changed since it was compared"):
        apply(TOKEN, REPOSITORY, found, api_url=github.url)
    assert prod.policy == PROTECTED
    del github.environments["prod"]
    with pytest.raises(GitHubError, match="`prod` is gone"):
        apply(TOKEN, REPOSITORY, found, api_url=github.url)
    assert github.environments == {}


@pytest.mark.parametrize(
    ("policy", "patterns", "shown"),
    [
        (PROTECTED, [], "protected branches"),
        (CUSTOM, [("branch", "main"), ("branch", "dev")], "`dev`, `main`"),
        (CUSTOM, [("tag", "main")], "tag `main`"),
    ],
)
def test_a_different_rule_is_remarked_and_left_alone(github, policy, patterns, shown):
    prod = github.add(Environment("prod", policy=policy, patterns=patterns))
    (found,) = differences(github, ONLY_PROD)
    assert found.line == (
        "environment `prod`: its branch rule differs, and is left alone:"
        f" open to {shown}; orch would open it to `main`"
    )
    bring_about(github, ONLY_PROD)
    assert (prod.policy, prod.patterns) == (policy, patterns)
    assert github.writes() == []


def test_no_branches_leave_the_rule_alone(github):
    wanted = Wanted({}, (WantedEnvironment("plan", (), {"ROLE": "arn:plan"}),))
    bring_about(github, wanted)
    assert github.environments["plan"].policy is None
    github.environments["plan"].policy = PROTECTED
    assert differences(github, wanted) == ()


def test_a_variable_among_more_than_a_page_of_them_is_changed_and_no_other(github):
    github.variables = {f"OTHER_{number}": str(number) for number in range(75)} | {"ZONE": "old"}
    before = dict(github.variables)
    wanted = Wanted({"ZONE": "new", "OTHER_9": "9"}, ())
    (found,) = differences(github, wanted)
    assert found == SetVariable(None, "ZONE", "old", "new")
    assert found.line == "change variable ZONE: 'old' → 'new'"
    bring_about(github, wanted)
    assert github.variables == before | {"ZONE": "new"}
    assert github.writes() == [("PATCH", "/actions/variables/ZONE", {"name": "ZONE", "value": "new"})]


def test_environments_and_patterns_beyond_the_first_page_are_found(github):
    for number in range(101):
        github.add(Environment(f"e{number}", policy=PROTECTED))
    patterns = tuple(f"release/{number}" for number in range(101))
    github.add(Environment("prod", policy=CUSTOM, patterns=[("branch", name) for name in patterns]))
    assert differences(github, Wanted({}, (WantedEnvironment("prod", patterns, {}),))) == ()


@pytest.mark.parametrize("name", ["release/eu west", "50%", "Ünïcode", "a+b?c#d", "a;b", "%2F"])
def test_names_with_spaces_slashes_and_other_signs(github, name):
    wanted = Wanted({}, (WantedEnvironment(name, ("feature/a b",), {"ROLE": "arn:x"}),))
    bring_about(github, wanted)
    environment = github.environments[name.casefold()]
    assert environment.name == name
    assert environment.patterns == [("branch", "feature/a b")]
    assert environment.variables == {"ROLE": "arn:x"}
    assert differences(github, wanted) == ()


def test_an_environment_written_otherwise_is_the_same_one_and_remarked(github):
    prod = github.add(Environment("Prod"))
    wanted = Wanted({}, (WantedEnvironment("prod", ("main",), {"ROLE": "arn:x"}),))
    bring_about(github, wanted)
    assert list(github.environments.values()) == [prod]
    assert (prod.patterns, prod.variables) == ([("branch", "main")], {"ROLE": "arn:x"})
    (remark,) = differences(github, wanted)
    assert (
        remark.line
        == "environment `Prod`: orch.toml writes `prod`; GitHub ignores case, a role's trust does not"
    )


def test_a_github_enterprise_server_has_its_api_below_a_path():
    with GitHub(prefix="/api/v3").serving() as github:
        bring_about(github, WANTED)
        assert compare(TOKEN, REPOSITORY, WANTED, api_url=f"{github.url}/") == ()
        assert github.environments["prod"].variables["ACCOUNT"] == "1"


def test_only_what_is_wanted_is_read(github):
    github.permissions = {"metadata": "read", "actions_variables": "write"}
    bring_about(github, Wanted({"A": "1"}, ()))
    assert github.variables == {"A": "1"}
    github.permissions = {"metadata": "read", "actions": "read", "administration": "write"}
    bring_about(github, ONLY_PROD)
    assert github.environments["prod"].patterns == [("branch", "main")]


def test_what_cannot_be_read_back_is_an_error(github):
    wanted = Wanted({"A": "1"}, ())
    github.next_answers["POST /actions/variables"] = [Answer(201, {})]
    error = refusal(github, wanted)
    assert "does not show all of them" in error.message
    assert error.details == ("create variable A: '1'",)


def test_writes_whose_answer_was_lost_are_found_done_when_tried_again(github):
    github.lost_answers = 3
    wanted = Wanted({}, (WantedEnvironment("prod", ("main", "dev"), {"ROLE": "arn:x"}),))
    bring_about(github, wanted)
    assert github.lost_answers == 0
    assert github.environments["prod"].patterns == [("branch", "main"), ("branch", "dev")]
    assert differences(github, wanted) == ()


def test_a_variable_that_an_unanswered_attempt_created_is_no_obstacle(github):
    found = differences(github, Wanted({"A": "1"}, ()))
    github.variables["A"] = "0"
    apply(TOKEN, REPOSITORY, found, api_url=github.url)
    assert github.variables == {"A": "1"}


@pytest.mark.parametrize(
    ("removed", "where", "permission", "header"),
    [
        ("actions", "GET /repos/acme/shop/environments", "Actions: read", "actions=read"),
        (
            "administration",
            "PUT /repos/acme/shop/environments/dev",
            "Administration: write",
            "administration=write",
        ),
        (
            "environments",
            "POST /repos/acme/shop/environments/dev/variables",
            "Environments: write, Variables: write",
            "environments=write",
        ),
        ("actions_variables", "GET /repos/acme/shop/actions/variables", "Variables: read", "variables=read"),
    ],
)
def test_a_missing_permission_is_named(github, removed, where, permission, header):
    github.permissions = {name: access for name, access in ALL.items() if name != removed}
    error = refusal(github)
    assert error.status == 403
    assert error.endpoint == where
    assert error.message == (
        f"{where} failed for acme/shop: 403 Resource not accessible by personal access token"
    )
    assert f"the repository permission {permission} (GitHub asks for " in error.hint
    assert header in error.hint


def test_a_token_that_is_not_valid(github):
    with pytest.raises(GitHubError) as caught:
        compare("ghp_other", REPOSITORY, WANTED, api_url=github.url)
    assert caught.value.status == 401
    assert caught.value.message == "GET /repos/acme/shop failed: 401 Bad credentials"
    assert "the token is not valid" in caught.value.hint


def test_a_repository_that_is_not_there_or_not_for_this_token(github):
    with pytest.raises(GitHubError) as caught:
        compare(TOKEN, "acme/other", WANTED, api_url=github.url)
    assert caught.value.status == 404
    assert caught.value.message == "GET /repos/acme/other failed for acme/other: 404 Not Found"
    assert "when the token cannot see it" in caught.value.hint


def test_a_renamed_repository_is_told_by_its_new_name(github):
    github.next_answers["GET /repos/acme/old"] = [
        Answer(301, {"message": "Moved Permanently"}, {"Location": f"{github.url}/repos/acme/shop"})
    ]
    with pytest.raises(GitHubError) as caught:
        compare(TOKEN, "acme/old", WANTED, api_url=github.url)
    assert caught.value.message == "the repository acme/old is called acme/shop now"


def test_a_redirect_to_another_host_is_not_followed(github):
    github.next_answers["GET /repos"] = [
        Answer(301, {}, {"Location": "https://evil.example/repos/acme/shop"})
    ]
    error = refusal(github)
    assert "redirected" in error.message
    assert len(github.calls) == 1


def test_organizations_with_single_sign_on_are_explained(github):
    header = {"X-GitHub-SSO": "required; url=https://github.com/orgs/acme/sso?authorization_request=abc"}
    github.next_answers["GET /repos"] = [
        Answer(403, {"message": "Resource protected by organization SAML enforcement."}, header)
    ]
    assert "single sign-on" in refusal(github).hint


@pytest.mark.parametrize(
    ("status", "headers", "message", "until"),
    [
        (
            403,
            {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1782907445"},
            "API rate limit exceeded for user ID 1.",
            "until 2026-07-01 12:04:05 UTC",
        ),
        (
            429,
            {"X-RateLimit-Limit": "1", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9" * 18},
            "",
            "a minute",
        ),
        (403, {"Retry-After": "3600"}, "You have exceeded a secondary rate limit.", "3600 seconds"),
        (
            403,
            {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "12", "X-RateLimit-Reset": "1782907445"},
            "You have exceeded a secondary rate limit.",
            "a minute",
        ),
        (429, {"Retry-After": "soon"}, "Too many requests", "a minute"),
    ],
)
def test_a_rate_limit_is_told_at_once_with_the_time_it_ends(github, status, headers, message, until):
    github.next_answers["GET /environments"] = [Answer(status, {"message": message}, headers)]
    error = refusal(github)
    assert error.status == status
    assert error.hint.startswith(f"wait {until}, then run it again")
    assert len([call for call in github.calls if call[1] == "/environments"]) == 1


def test_a_private_repository_on_a_free_plan_is_explained_and_gets_no_variable(github):
    github.is_private, github.plan_has_environments = True, False
    error = refusal(github)
    assert error.status == 422
    assert "Fail to create protected rule" in error.message
    assert "need GitHub Pro, Team or Enterprise" in error.hint
    assert github.environments["dev"].variables == {}
    github.plan_has_environments = True
    bring_about(github, WANTED)
    assert differences(github, WANTED) == ()


def test_a_422_shows_what_github_names(github):
    body = {"message": "Validation Failed", "errors": [{"field": "name", "code": "invalid"}, "too long"]}
    github.next_answers["PUT /environments"] = [Answer(422, body)]
    error = refusal(github)
    assert error.message.endswith("422 Validation Failed")
    assert error.details == ('{"field": "name", "code": "invalid"}', "too long")
    assert "Pro" not in error.hint


def test_server_errors_are_tried_again_and_then_told(github):
    github.next_answers["GET /environments"] = [
        Answer(503, {"message": "later"}, {"Retry-After": "3600"}) for _ in range(3)
    ]
    assert len(differences(github, WANTED)) == 6
    github.next_answers["GET /environments"] = [
        Answer(502, b"<html><h1>Bad\nGateway</h1></html>", {"Content-Type": "text/html"}) for _ in range(5)
    ]
    error = refusal(github)
    assert error.status == 502
    assert error.message.endswith("502 <html><h1>Bad Gateway</h1></html>")
    assert "tried 4 times" in error.hint
    assert len(github.next_answers["GET /environments"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>Sign in to the proxy</title>",
        b'{"total_count": 1, "environments": [{"na',
        b"",
        b"[]",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"environments": null, "total_count": 0}',
        b'{"environments": [1], "total_count": 1}',
        b'{"environments": [], "total_count": "many"}',
        b'{"environments": [{"id": 1}], "total_count": 1}',
        b'{"environments": [{"name": "dev", "protection_rules": [], "deployment_branch_policy": 1}], "total_count": 1}',
        b'{"environments": [{"name": "dev", "protection_rules": [{"type": "branch_policy"}]}], "total_count": 1}',
        b'{"environments": [{"name": "dev", "protection_rules": [{"type": "wait_timer"}]}], "total_count": 1}',
        b'{"environments": [{"name": "dev", "protection_rules": [7]}], "total_count": 1}',
        b'{"environments": [{"name": "dev", "deployment_branch_policy": null}], "total_count": 1}',
        b'{"total_count": 1, "environments": [{"name": "dev", "protection_rules": [%s]}]}'
        % REVIEWER_WITHOUT_ID,
    ],
)
def test_an_answer_that_github_would_not_give_is_an_error_and_not_a_traceback(github, body):
    github.next_answers["GET /environments"] = [Answer(200, body)]
    error = refusal(github)
    assert "did not answer as GitHub does" in error.message
    assert "GITHUB_API_URL" in error.hint
    assert github.writes() == []


@pytest.mark.parametrize(
    "body", [b"<html>no</html>", b"[1]", b'"x"', b'{"message": 7, "errors": {"a": 1}}', b""]
)
@pytest.mark.parametrize("status", [302, 400, 403, 404, 418, 451])
def test_a_refusal_of_any_shape_is_an_error_and_not_a_traceback(github, status, body):
    github.next_answers["GET /environments"] = [Answer(status, body)]
    assert refusal(github).status == status


def test_rate_limit_headers_that_are_not_numbers(github):
    headers = {"X-RateLimit-Limit": "many", "X-RateLimit-Remaining": "inf"}
    github.next_answers["GET /environments"] = [Answer(200, {}, headers)]
    assert "headers are not numbers" in refusal(github).message


def test_a_connection_that_breaks_off_is_tried_again_and_then_told(github):
    whole = b'{"total_count": 0, "environments": []'
    github.next_answers["GET /environments"] = [Answer(200, whole, breaks=True) for _ in range(4)]
    error = refusal(github)
    assert error.status == 0
    assert f"got no answer from {github.url}: " in error.message
    assert "check the network" in error.hint


def test_nobody_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(GitHubError) as caught:
            compare(TOKEN, REPOSITORY, WANTED, api_url=url)
    assert caught.value.message.startswith(f"GET /repos/acme/shop got no answer from {url}: ")
    assert caught.value.message.endswith("Connection refused")
    assert "Connection(" not in caught.value.message


@contextmanager
def silent_server():
    """Takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def hold():
            try:
                while True:
                    held.append(server.accept()[0])
            except OSError:
                pass

        threading.Thread(target=hold, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


def test_a_server_that_never_answers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(api, "_TIMEOUT_S", 1)
    monkeypatch.setattr(api, "_RETRIES", 1)
    started = time.monotonic()
    with silent_server() as url, pytest.raises(GitHubError) as caught:
        compare(TOKEN, REPOSITORY, WANTED, api_url=url)
    assert "timed out" in caught.value.message
    assert time.monotonic() - started < 5


def test_the_token_is_shown_nowhere(github, caplog):
    caplog.set_level(logging.DEBUG)
    echo = f"<html>You sent: Authorization: token {TOKEN}\x1b[31m</html>".encode()
    github.next_answers["GET /environments"] = [Answer(403, echo)]
    error = refusal(github)
    assert "You sent: Authorization: token ***[31m" in error.message
    github.next_answers["GET /environments"] = [Answer(200, echo)]
    assert "token ***" in refusal(github).message
    told = []
    apply(TOKEN, REPOSITORY, differences(github, WANTED), api_url=github.url, emit=told.append)
    connection = api.connect(TOKEN, REPOSITORY, github.url)
    own = [record.getMessage() for record in caplog.records if record.name != "root"]
    assert any("/repos/acme/shop" in line for line in own)
    assert TOKEN not in f"{own}{told}{connection!r}"
    assert all(headers["authorization"] == f"token {TOKEN}" for headers in github.headers)


def test_a_netrc_file_does_not_replace_the_token(github, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    bring_about(github, WANTED)
    assert github.variables == {"AWS_REGION": "eu-central-1"}


@pytest.mark.parametrize("token", ["", "two words", "line\n", "ghp_\u00fc"])
def test_a_token_that_cannot_be_one_is_not_sent(github, token):
    with pytest.raises(GitHubError) as caught:
        compare(token, REPOSITORY, WANTED, api_url=github.url)
    assert "holds a space or another character" in caught.value.message
    assert not token or token not in caught.value.message
    assert github.calls == []


@pytest.mark.parametrize(
    "url",
    ["http://ghe.example/api/v3", "ftp://x", "api.github.com", "https://", "https://x:y/", "https://h?q=1"],
)
def test_a_url_that_cannot_be_the_apis_is_refused(url):
    with pytest.raises(SettingsError):
        compare(TOKEN, REPOSITORY, WANTED, api_url=url)


def test_credentials_in_the_url_are_refused_and_not_repeated():
    with pytest.raises(SettingsError) as caught:
        compare(TOKEN, REPOSITORY, WANTED, api_url="https://user:secret@ghe.example/api/v3")
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize("repository", ["shop", "acme/", "acme/..", "acme/shop/x", "acme/sh op", "/shop", ""])
def test_a_repository_is_owner_and_name(repository):
    with pytest.raises(SettingsError):
        compare(TOKEN, repository, WANTED, api_url="http://127.0.0.1:9")


def test_an_environment_created_by_someone_else_meanwhile_keeps_its_protection(github):
    found = differences(github, ONLY_PROD)
    assert found == (CreateEnvironment("prod", ("main",)),)
    prod = github.add(Environment("prod", reviewers=[("Team", 1)]))
    apply(TOKEN, REPOSITORY, found, api_url=github.url)
    assert (prod.reviewers, prod.patterns) == ([("Team", 1)], [("branch", "main")])


IMMUTABLE = "acme@123456/shop@456789"


@pytest.mark.parametrize(
    ("subject", "created_at", "expected"),
    [
        ({"use_default": True, "sub_claim_prefix": f"repo:{IMMUTABLE}"}, "2020", (True, IMMUTABLE, True)),
        ({"use_default": True, "sub_claim_prefix": "repo:acme/shop"}, "2026", (False, "acme/shop", True)),
        ({"use_default": True, "use_immutable_subject": True}, "2020", (True, IMMUTABLE, True)),
        ({"use_default": True, "use_immutable_subject": False}, "2020", (False, "acme/shop", True)),
        ({"use_default": True}, "2020", (False, "acme/shop", False)),
        (None, "2020", (False, "acme/shop", False)),
    ],
)
def test_the_subject_is_what_github_says(github, subject, created_at, expected):
    github.subject = subject
    github.created_at = f"{created_at}-08-01T00:00:00Z"
    found = repository_identity(TOKEN, "Acme/Shop", api_url=github.url)
    assert (found.owner_id, found.repository_id) == (123456, 456789)
    assert (found.uses_immutable_subject, found.subject_repository, found.is_confirmed) == expected
    assert found.uses_default_subject


def test_a_template_of_ones_own_is_told(github):
    github.subject = {"use_default": False, "include_claim_keys": ["repo", "context"]}
    assert not repository_identity(TOKEN, REPOSITORY, api_url=github.url).uses_default_subject


def test_without_the_permission_to_ask_the_subject_is_a_guess(github):
    github.permissions = {"metadata": "read"}
    found = repository_identity(TOKEN, REPOSITORY, api_url=github.url)
    assert (found.subject_repository, found.is_confirmed) == ("acme/shop", False)


def test_the_fake_notices_what_github_does_not_describe():
    def ask():
        with GitHub().serving() as github:
            connection = api.connect(TOKEN, REPOSITORY, github.url)
            connection.send("PUT", "/environments/dev", {"nonsense": 1}, permission="any")

    with pytest.raises(AssertionError, match="nonsense"):
        ask()


def test_an_answer_about_the_repository_that_names_no_owner(github):
    github.next_answers["GET /repos"] = [Answer(200, {"id": 1, "full_name": REPOSITORY})]
    with pytest.raises(GitHubError, match="no id, name or owner"):
        repository_identity(TOKEN, REPOSITORY, api_url=github.url)
