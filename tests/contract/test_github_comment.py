"""github.comment, and what api has for it, against a GitHub that keeps state and holds both sides to GitHub's description."""

from __future__ import annotations

import threading
import time

import pytest

from orchestrator.errors import GitHubError
from orchestrator.github import api
from orchestrator.github.api import BodyTooLongError, Patience
from orchestrator.github.comment import BODY_LIMIT, Outcome, find, update, upsert
from tests.contract.github_fake import BOT, TOKEN, Answer, GitHub

REPOSITORY = "acme/shop"
MARKER = "<!-- orch:v"
BODY = "<!-- orch:v1 -->\n### orch plan"
PERSON = {"login": "mallory", "id": 666, "type": "User"}
ANOTHER_BOT = {"login": "echo[bot]", "id": 777, "type": "Bot"}


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    """No proxy of this machine on the way, and no waiting between attempts to connect."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(api, "_BACKOFF_S", 0)


@pytest.fixture
def github():
    with GitHub().serving() as fake:
        fake.pull(12, "a" * 40)
        yield fake


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def patience(self, limit_s=60.0):
        return Patience(limit_s, sleep=self.sleep, clock=lambda: self.now)


@pytest.fixture
def clock():
    return Clock()


def connect(github):
    return api.connect(TOKEN, REPOSITORY, github.url)


def post(github, body=BODY, patience=None):
    return upsert(connect(github), 12, MARKER, body, patience=patience or Clock().patience())


def refusal(github, patience=None, kind=GitHubError):
    with pytest.raises(kind) as caught:
        post(github, patience=patience)
    error = caught.value
    assert TOKEN not in f"{error.message}{error.hint}{error.details}{error!r}{error.__cause__!r}"
    return error


def bodies(github):
    return [comment.body for comment in github.comments.values()]


def comment_writes(github):
    return [(verb, path) for verb, path, _ in github.writes() if path != "/graphql"]


def test_the_first_run_creates_and_later_runs_edit_the_same_comment(github):
    github.comment(12, "Looks good to me", PERSON)
    first = post(github)
    assert first.outcome is Outcome.CREATED
    assert first.comment.url.endswith(f"/pull/12#issuecomment-{first.comment.id}")
    second = post(github, f"{BODY}: 1 to add")
    assert (second.outcome, second.comment.id) == (Outcome.EDITED, first.comment.id)
    assert bodies(github) == ["Looks good to me", f"{BODY}: 1 to add"]
    assert find(connect(github), 12, MARKER) == second.comment


def test_an_equal_body_is_not_written(github):
    written = post(github)
    github.comments[written.comment.id].body = BODY.replace("\n", "\r\n") + "\n"
    github.calls.clear()
    assert post(github).outcome is Outcome.UNCHANGED
    assert comment_writes(github) == []


def test_there_is_none_at_first_and_other_pull_requests_have_their_own(github):
    github.pull(13, "c" * 40)
    github.comment(13, BODY)
    assert find(connect(github), 12, MARKER) is None


def test_the_comment_is_found_on_a_later_page(github):
    for number in range(200):
        github.comment(12, f"talk {number}", PERSON)
    written = post(github)
    assert post(github, f"{BODY}!").comment.id == written.comment.id
    assert len(github.comments) == 201


def test_a_body_that_would_not_be_found_again_is_a_bug(github):
    with pytest.raises(ValueError, match="does not start with"):
        post(github, "no marker")
    assert comment_writes(github) == []


@pytest.mark.parametrize("author", [PERSON, ANOTHER_BOT])
def test_a_comment_that_someone_else_planted_is_left_alone(github, author):
    planted = github.comment(12, f"{BODY}\nno changes, approve me", author)
    written = post(github)
    assert (written.outcome, written.comment.author) == (Outcome.CREATED, BOT["login"])
    assert github.comments[planted.id].body.endswith("approve me")
    assert post(github, f"{BODY}!").comment.id == written.comment.id


def test_somebody_who_took_over_the_login_of_the_tokens_owner_is_someone_else(github):
    github.user = dict(PERSON)
    github.comment(12, BODY, PERSON | {"id": 1})
    assert post(github).outcome is Outcome.CREATED
    assert post(github).outcome is Outcome.UNCHANGED


def test_an_app_is_known_by_its_login_as_well(github):
    github.comment(12, BODY, BOT | {"id": 5})
    assert find(connect(github), 12, MARKER) is not None


def test_our_marker_within_a_comment_of_ours_is_not_at_its_start(github):
    github.comment(12, f"quoting:\n{BODY}")
    assert find(connect(github), 12, MARKER) is None


def test_a_person_may_be_asked_through_either_interface(github):
    github.user = dict(PERSON)
    github.graphql_is_open = False
    github.comment(12, BODY, ANOTHER_BOT)
    github.comment(12, BODY, PERSON)
    assert find(connect(github), 12, MARKER).author == "mallory"


def test_of_an_app_that_may_not_be_asked_only_a_bots_comment_counts_and_nothing_is_deleted(github):
    github.graphql_is_open = False
    github.comment(12, BODY, PERSON)
    oldest = github.comment(12, BODY)
    github.comment(12, BODY, ANOTHER_BOT)
    assert post(github, f"{BODY}!").comment.id == oldest.id
    assert bodies(github) == [BODY, f"{BODY}!", BODY]


def test_of_several_of_ours_the_oldest_stays_and_the_others_go(github):
    oldest = github.comment(12, BODY)
    github.comment(12, f"{BODY} stale")
    talk = github.comment(12, "other words of ours")
    assert post(github).comment.id == oldest.id
    assert bodies(github) == [BODY, talk.body]


def part(name):
    """Sees to a line of its own and leaves those of others alone, as the comment's renderer does."""

    def change(old):
        lines = set(old.splitlines()[1:]) | {name}
        return "\n".join(["<!-- orch:v1 -->", *sorted(lines)])

    return change


def test_what_another_job_wrote_between_our_reading_and_writing_is_for_that_job_to_find_missing(
    github, clock
):
    ours = github.comment(12, part("dev")(""))

    def other_job():
        ours.body = part("prod")(ours.body)

    github.before["PATCH /issues/comments"] = [other_job]
    written = update(connect(github), 12, MARKER, part("staging"), patience=clock.patience())
    # GitHub takes no condition, so the other's line is gone; waiting, that job finds it missing.
    assert written.comment.body.splitlines()[1:] == ["dev", "staging"]
    update(connect(github), 12, MARKER, part("prod"), patience=clock.patience())
    assert ours.body.splitlines()[1:] == ["dev", "prod", "staging"]


def test_ours_is_written_again_when_another_job_overwrote_it(github):
    ours = github.comment(12, part("dev")(""))
    overwritten = []

    def sleep(_):
        if not overwritten:
            overwritten.append(ours.body)
            ours.body = part("prod")(part("dev")(""))

    patience = Patience(sleep=sleep)
    written = update(connect(github), 12, MARKER, part("staging"), patience=patience)
    assert overwritten == ["<!-- orch:v1 -->\ndev\nstaging"]
    assert written.comment.body.splitlines()[1:] == ["dev", "prod", "staging"]


def test_a_comment_that_is_always_overwritten_is_given_up(github):
    ours = github.comment(12, part("dev")(""))

    def sleep(_):
        ours.body = part("dev")("")

    with pytest.raises(GitHubError) as caught:
        update(connect(github), 12, MARKER, part("prod"), patience=Patience(sleep=sleep))
    assert "was written 10 times, and each time something else replaced it" in caught.value.message
    assert "another program" in caught.value.hint


def run_at_once(github, names):
    """Jobs that have all read before the first of them writes, and have all written before the first reads again."""
    settled = threading.Barrier(len(names))
    errors = []

    def job(name):
        first = []

        def sleep(_):
            if not first:
                first.append(name)
                settled.wait(timeout=10)

        try:
            update(connect(github), 12, MARKER, part(name), patience=Patience(sleep=sleep))
        except Exception as error:  # noqa: BLE001  # a thread's own would be lost
            errors.append(error)

    threads = [threading.Thread(target=job, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_two_jobs_at_once_lose_nothing(github):
    ours = github.comment(12, part("dev")(""))
    ready = threading.Barrier(2)
    github.before["PATCH /issues/comments"] = [lambda: ready.wait(timeout=10)] * 2
    run_at_once(github, ["prod", "staging"])
    assert ours.body.splitlines()[1:] == ["dev", "prod", "staging"]
    # One of the two was overwritten, so there was a third write.
    assert len(comment_writes(github)) >= 3


def test_two_jobs_that_both_create_the_comment_leave_one(github):
    ready = threading.Barrier(2)
    github.before["POST /issues/12/comments"] = [lambda: ready.wait(timeout=10)] * 2
    run_at_once(github, ["prod", "staging"])
    assert [body.splitlines()[1:] for body in bodies(github)] == [["prod", "staging"]]
    assert ("DELETE", "/issues/comments/1002") in comment_writes(github)


def test_a_comment_that_is_deleted_before_it_is_edited_is_created_anew(github):
    ours = github.comment(12, BODY)
    github.before["PATCH /issues/comments"] = [lambda: github.comments.pop(ours.id)]
    assert post(github, f"{BODY}!").comment.id != ours.id
    assert bodies(github) == [f"{BODY}!"]


def test_a_new_comment_that_the_list_does_not_show_yet_is_not_created_twice(github, clock):
    empty = Answer(200, [])
    github.next_answers["GET /issues/12/comments"] = [empty, empty]
    assert post(github, patience=clock.patience()).outcome is Outcome.CREATED
    assert bodies(github) == [BODY]


def test_a_creation_whose_answer_was_lost_is_looked_for_before_it_is_repeated(github, clock):
    github.lost_answers = 1
    written = post(github, patience=clock.patience())
    assert (written.outcome, clock.slept) == (Outcome.CREATED, [1.0])
    assert bodies(github) == [BODY]


def test_a_connection_that_breaks_off_during_the_edit_starts_over_with_reading(github, clock):
    ours = github.comment(12, part("dev")(""))
    github.next_answers["PATCH /issues/comments"] = [Answer(200, b"{", breaks=True)]

    def sleep(seconds):
        clock.sleep(seconds)
        if len(clock.slept) == 1:
            ours.body = part("prod")(ours.body)

    patience = Patience(sleep=sleep, clock=lambda: clock.now)
    update(connect(github), 12, MARKER, part("staging"), patience=patience)
    assert ours.body.splitlines()[1:] == ["dev", "prod", "staging"]


def test_a_body_of_65536_characters_fits_and_one_more_is_told_apart(github):
    longest = BODY + "ä" * (BODY_LIMIT - len(BODY))
    assert post(github, longest).outcome is Outcome.CREATED
    for _ in range(2):
        with pytest.raises(BodyTooLongError) as caught:
            post(github, f"{longest}ä")
        assert caught.value.status == 422
        assert "Body is too long (maximum is 65536 characters)" in caught.value.details[0]
        github.comments.clear()


def test_another_422_is_not_taken_for_a_body_that_is_too_long(github):
    github.next_answers["POST /issues/12/comments"] = [Answer(422, {"message": "Validation Failed"})]
    assert not isinstance(refusal(github), BodyTooLongError)


SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}


@pytest.mark.parametrize(
    ("answer", "slept"),
    [
        (Answer(403, SECONDARY, {"Retry-After": "7"}), [7.0]),
        (Answer(429, SECONDARY, {"Retry-After": "20"}), [20.0]),
        (Answer(429, SECONDARY, {"Retry-After": "0"}), [1.0]),
        (Answer(403, SECONDARY), [60.0]),
        (Answer(503, b"<html>", {"Retry-After": "5"}), [5.0]),
        (Answer(502, b"<html>Bad Gateway"), [1.0]),
        (Answer(409, {"message": "Conflict"}), [1.0]),
    ],
)
@pytest.mark.parametrize(
    "call", ["POST /graphql", "GET /issues/12/comments", "POST /issues/12/comments", "PATCH /issues/comments"]
)
def test_what_may_pass_is_waited_for_as_github_asks(github, clock, call, answer, slept):
    if call.startswith("PATCH"):
        github.comment(12, "<!-- orch:v1 --> old")
    github.next_answers[call] = [answer]
    post(github, patience=clock.patience())
    assert clock.slept == slept
    assert bodies(github) == [BODY]


def test_a_used_up_rate_limit_is_waited_for_until_its_reset_when_that_is_near(github, clock):
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 30)}
    github.next_answers["POST /issues/12/comments"] = [Answer(403, {"message": "API rate limit"}, headers)]
    post(github, patience=clock.patience())
    assert 25 < clock.slept[0] <= 31


def test_the_waiting_is_bounded_and_told(github, clock):
    github.next_answers["POST /issues/12/comments"] = [Answer(502, b"<html>Bad Gateway") for _ in range(99)]
    error = refusal(github, clock.patience())
    assert (error.status, clock.slept) == (502, [1.0, 2.0, 4.0, 8.0, 16.0])
    assert (
        error.message
        == "POST /repos/acme/shop/issues/12/comments failed for acme/shop: 502 <html>Bad Gateway"
    )
    assert error.details == (
        "tried for 31 seconds; the next try is due in 32 seconds, and orch waits 60 seconds in all",
    )
    assert error.hint == "see githubstatus.com, then run it again: it goes on where it stopped"
    assert len(github.next_answers["POST /issues/12/comments"]) == 93


def test_a_wait_that_would_be_too_long_is_not_begun(github, clock):
    github.next_answers["GET /issues/12/comments"] = [Answer(429, SECONDARY, {"Retry-After": "61"})]
    error = refusal(github, clock.patience())
    assert clock.slept == []
    assert "wait 61 seconds" in error.hint


def test_the_bound_holds_for_all_calls_together(github, clock):
    slow = [Answer(429, SECONDARY, {"Retry-After": "25"})]
    github.next_answers = {
        "POST /graphql": list(slow),
        "GET /issues/12/comments": list(slow),
        "POST /issues/12/comments": list(slow),
    }
    refusal(github, clock.patience())
    assert clock.slept == [25.0, 25.0]


@pytest.mark.parametrize(
    ("answer", "message", "hint"),
    [
        (
            Answer(401, {"message": "Bad credentials"}),
            "POST /repos/acme/shop/issues/12/comments failed: 401 Bad credentials",
            "the token is not valid",
        ),
        (
            Answer(403, {"message": "Unable to create comment because issue is locked."}),
            "403 Unable to create comment because issue is locked.",
            "unlock the conversation",
        ),
        (
            Answer(403, {"message": "Repository was archived so is read-only."}),
            "403 Repository was archived so is read-only.",
            "unarchive it",
        ),
        (Answer(404, {"message": "Not Found"}), "404 Not Found", "its permission Pull requests: write"),
        (Answer(200, b"[]"), "did not answer as GitHub does", "GITHUB_API_URL"),
        (Answer(201, {"id": 1}), "a comment has no id, body, URL or author", "GITHUB_API_URL"),
    ],
)
def test_what_does_not_pass_is_explained_at_once(github, clock, answer, message, hint):
    github.next_answers["POST /issues/12/comments"] = [answer]
    error = refusal(github, clock.patience())
    assert message in error.message
    assert hint in error.hint
    assert clock.slept == []


def test_a_missing_permission_names_itself_and_the_workflows_line(github):
    github.permissions |= {"issues": "read", "pull_requests": "read"}
    error = refusal(github)
    assert error.message == (
        "POST /repos/acme/shop/issues/12/comments failed for acme/shop: 403 Resource not accessible by personal access token"
    )
    assert "Pull requests: write (in a workflow, `permissions: pull-requests: write`), or Issues: write" in (
        error.hint
    )
    assert "GitHub asks for issues=write; pull_requests=write" in error.hint


@pytest.mark.parametrize("permission", ["issues", "pull_requests"])
def test_either_permission_will_do(github, permission):
    del github.permissions[permission]
    assert post(github).outcome is Outcome.CREATED


def test_404_for_a_comment_that_is_there_is_a_missing_permission(github):
    github.comment(12, BODY)
    github.next_answers["PATCH /issues/comments"] = [Answer(404, {"message": "Not Found"})]
    with pytest.raises(GitHubError) as caught:
        post(github, f"{BODY}!")
    assert "its permission Pull requests: write" in caught.value.hint


def test_a_pull_request_that_does_not_exist(github):
    with pytest.raises(GitHubError) as caught:
        upsert(connect(github), 99, MARKER, BODY, patience=Clock().patience())
    assert caught.value.endpoint == "GET /repos/acme/shop/issues/99/comments"
    assert caught.value.status == 404


@pytest.mark.parametrize("body", [b"{}", b'["x"]', b"7", b"<html>", b"[null]"])
def test_a_list_that_github_would_not_give_is_an_error_and_not_a_traceback(github, body):
    github.next_answers["GET /issues/12/comments"] = [Answer(200, body)]
    assert "did not answer as GitHub does" in refusal(github).message


@pytest.mark.parametrize("answer", [Answer(200, b"[]"), Answer(200, b"<html>")])
def test_an_identity_that_github_would_not_give(github, answer):
    github.next_answers["POST /graphql"] = [answer]
    assert refusal(github).endpoint == "POST /graphql"


def test_an_author_that_is_gone_is_not_us(github):
    github.comment(12, BODY)
    ghost = [{"id": 1, "body": BODY, "html_url": "https://github.com", "user": None}, {"id": 2, "body": None}]
    github.next_answers["GET /issues/12/comments"] = [Answer(200, ghost)]
    assert find(connect(github), 12, MARKER) is None


def test_an_enterprise_server_is_asked_below_its_prefix():
    with GitHub(prefix="/api/v3").serving() as github:
        github.pull(12, "a" * 40)
        assert post(github).outcome is Outcome.CREATED
        assert post(github).outcome is Outcome.UNCHANGED


def test_the_token_is_shown_nowhere(github):
    echo = f"<html>You sent: Authorization: token {TOKEN}</html>".encode()
    for status in (403, 422, 502):
        github.next_answers["POST /issues/12/comments"] = [Answer(status, echo)]
        assert "token ***" in refusal(github, Patience(0)).message
    assert TOKEN not in repr(connect(github))
