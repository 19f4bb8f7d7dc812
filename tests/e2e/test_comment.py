"""`orch plan --all --comment` against a GitHub that answers as the real one does, and fails as it does: the first run creates the
one comment, later runs edit it in place, and whatever GitHub answers, the plan ends as it would without it.

The root modules are made for this test; Terraform, its S3 backend and the process are real. Each run has a GitHub of its own,
which at its end has found every request as GitHub's OpenAPI description wants it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import subprocess
import time

import pytest

from tests.contract.github_fake import TOKEN, Answer, GitHub
from tests.e2e.conftest import Project

ENVIRONMENTS = ("dev", "staging")
PROD = '\n[environments.prod]\naccount_id = "333333333333"\nprotected = true\n'
ROOT = """
terraform {
  backend "s3" {
    key          = "terraform.tfstate"
    use_lockfile = true
  }
}
variable "phase" {
  type    = string
  default = "first"
}
variable "more" {
  type    = number
  default = 0
}
resource "terraform_data" "one" {
  input = var.phase
}
resource "terraform_data" "many" {
  count = var.more
  input = { for number in range(6) : "attribute_${number}" => "${var.phase}-${count.index}-${number}" }
}
"""
PLAN = ("plan", "--all", "--sandbox", "--detailed-exitcode")
SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}
PRIMARY = {"message": "API rate limit exceeded for installation ID 1."}
TOO_LONG = {
    "message": "Validation Failed",
    "errors": [
        {
            "resource": "IssueComment",
            "code": "unprocessable",
            "field": "data",
            "message": "Body is too long (maximum is 65536 characters)",
        }
    ],
}
# A proxy's answer, which sends back what it was asked.
BAD_GATEWAY = f"<html><h1>502 Bad Gateway</h1>authorization: token {TOKEN}</html>".encode()
LIST, CREATE, EDIT = "GET /issues/7/comments", "POST /issues/7/comments", "PATCH /issues/comments"


def actions(github: GitHub, folder) -> dict[str, str]:
    """The variables that a workflow run on pull request 7 has."""
    event = {
        "pull_request": {
            "number": 7,
            "head": {"sha": "c" * 40, "repo": {"full_name": "acme/shop"}},
            "base": {"sha": "b" * 40, "repo": {"full_name": "acme/shop"}},
        }
    }
    (folder / "event.json").write_text(json.dumps(event))
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_REPOSITORY": "acme/shop",
        "GITHUB_API_URL": github.url,
        "GITHUB_RUN_ID": "99",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_TOKEN": TOKEN,
    }


@dataclasses.dataclass
class Run:
    """One run of `orch plan --all --comment`: how it ended, and the step summary it wrote."""

    done: subprocess.CompletedProcess[str]
    summary: str

    @property
    def warnings(self) -> list[tuple[str, str]]:
        """What was not told to GitHub, each with what to do about it."""
        return re.findall(r"^! GitHub was not told: (.+)\n  → (.+)$", self.done.stderr, re.MULTILINE)


@dataclasses.dataclass
class Applied:
    """The project, whose first phase is applied in each environment, and what a plan of the second says without a comment."""

    project: Project
    plan: str

    def start(self, github: GitHub, folder) -> subprocess.Popen[str]:
        environ = self.project.environ | {"TF_VAR_phase": "second"} | actions(github, folder)
        return dataclasses.replace(self.project, environ=environ).start(*PLAN, "--comment")

    def comment(self, github: GitHub, folder, *, code: int = 2, **environ: str) -> Run:
        given = {"TF_VAR_phase": "second"} | actions(github, folder) | environ
        return self.checked(self.project.orch(*PLAN, "--comment", code=code, **given), folder)

    def checked(self, done: subprocess.CompletedProcess[str], folder) -> Run:
        run = Run(done, (folder / "summary.md").read_text())
        assert TOKEN not in done.stdout + done.stderr + run.summary
        assert "Traceback" not in done.stdout + done.stderr
        return run


@pytest.fixture(scope="module")
def applied(project: Project) -> Applied:
    project.build_everywhere()
    project.edit("orch.toml", PROD, "")
    for env in ENVIRONMENTS:
        root = project.path / "terraform" / "envs" / env
        for file in root.iterdir():
            file.unlink()
        (root / "main.tf").write_text(ROOT)
    project.commit("Two small environments")
    for env in ENVIRONMENTS:
        # They have no service to roll out: the apply ends after Terraform, with an error about that.
        said = project.orch("apply", "--env", env, "--sandbox", "--yes", code=1).stderr
        assert "has no output object named `orch`" in said
    return Applied(project, project.orch(*PLAN, code=2, TF_VAR_phase="second").stdout)


@pytest.fixture(scope="module", autouse=True)
def patient(applied, tmp_path_factory):
    """A run that GitHub answers with 502 whenever it asks for the comments: a process, its GitHub and its folder. It begins
    before the other tests, and gives up while they run.
    """
    folder = tmp_path_factory.mktemp("patient")
    with GitHub(next_answers={LIST: [Answer(502, BAD_GATEWAY)] * 99}).serving() as fake:
        fake.pull(7, "c" * 40)
        process = applied.start(fake, folder)
        try:
            while not fake.calls and process.poll() is None:
                time.sleep(0.05)
            yield process, fake, folder
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
def github():
    """An empty repository with pull request 7. At its end no request may have violated the description."""
    with GitHub().serving() as fake:
        fake.pull(7, "c" * 40)
        yield fake


def writes(github: GitHub) -> list[tuple[str, str]]:
    """The calls that write comments, in their order."""
    return [(verb, path) for verb, path, _ in github.writes() if path != "/graphql"]


def test_the_first_run_creates_the_comment_and_the_next_edits_it_in_place(applied, github, tmp_path):
    first = applied.comment(github, tmp_path)
    (comment,) = github.comments.values()
    number, body = comment.id, comment.body
    assert body.startswith("<!-- orch:v1 ")
    assert re.findall(r"\*\*(\w+)\*\* \|", body) == [*ENVIRONMENTS]
    assert body.count('-     input: "first"\n+     input: "second"') == 2
    applied.comment(github, tmp_path, TF_VAR_phase="third")
    (again,) = github.comments.values()
    assert again.id == number
    assert again.body.count('-     input: "first"\n+     input: "third"') == 2
    assert "second" not in again.body
    assert writes(github) == [("POST", "/issues/7/comments"), ("PATCH", f"/issues/comments/{number}")]
    assert first.warnings == []
    assert first.done.stdout == applied.plan
    assert "**dev**" in first.summary
    assert TOKEN not in body + again.body


PASSING = {
    "403 of a secondary rate limit": (LIST, Answer(403, SECONDARY, {"Retry-After": "2"})),
    "403 of the rate limit, near its reset": (LIST, PRIMARY),
    "429": (EDIT, Answer(429, SECONDARY, {"Retry-After": "2"})),
    "502 for the edit": (EDIT, Answer(502, BAD_GATEWAY, {"Content-Type": "text/html"})),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_passes_is_waited_for_as_github_asks(applied, github, tmp_path, case):
    call, answer = PASSING[case]
    reset_at = int(time.time()) + 2
    if answer is PRIMARY:
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset_at)}
        answer = Answer(403, PRIMARY, headers)
    number = github.comment(7, "<!-- orch:v1 {} -->").id
    github.next_answers[call] = [answer]
    run = applied.comment(github, tmp_path)
    failed = next(index for index, (verb, path, _) in enumerate(github.calls) if matches(call, verb, path))
    refused_s, next_s = github.times_s[failed : failed + 2]
    # Without a header that says more, the first wait is of one second.
    asked_s = float(answer.headers.get("Retry-After", 1))
    assert asked_s <= next_s - refused_s < asked_s + 4
    if "X-RateLimit-Reset" in answer.headers:
        assert time.time() - (time.monotonic() - next_s) >= reset_at
    assert run.warnings == []
    assert run.done.stdout == applied.plan
    assert [*github.comments] == [number]
    assert github.comments[number].body.count('+     input: "second"') == 2
    assert ("POST", "/issues/7/comments") not in writes(github)


def matches(call: str, verb: str, path: str) -> bool:
    wanted, _, beginning = call.partition(" ")
    return verb == wanted and path.startswith(beginning)


def test_a_comment_whose_creation_was_answered_with_502_is_not_created_twice(applied, github, tmp_path):
    github.lost_answers = 1
    run = applied.comment(github, tmp_path)
    assert run.warnings == []
    (comment,) = github.comments.values()
    assert comment.body.count('+     input: "second"') == 2
    assert writes(github) == [("POST", "/issues/7/comments")]


HOUR = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "4102444800"}
LASTING = {
    "401": (
        LIST,
        [Answer(401, {"message": "Bad credentials"})],
        "GET /repos/acme/shop/issues/7/comments failed: 401 Bad credentials",
        "the token is not valid: it is mistyped, expired or revoked; make a new one and set GITHUB_TOKEN",
    ),
    "403 of a rate limit that lasts": (
        LIST,
        [Answer(403, PRIMARY, HOUR)],
        "GET /repos/acme/shop/issues/7/comments failed for acme/shop: 403 API rate limit exceeded for installation ID 1.",
        "wait until 2100-01-01 00:00:00 UTC, then run it again: it goes on where it stopped",
    ),
    "404 for the edit of a comment that is there": (
        EDIT,
        [Answer(404, {"message": "Not Found"})],
        "PATCH /repos/acme/shop/issues/comments/1001 failed for acme/shop: 404 Not Found",
        (
            "GitHub says so too when the token cannot see it: check the name, that the token has access to the repository, and its"
            " permission Pull requests: write (in a workflow, `permissions: pull-requests: write`), or Issues: write"
        ),
    ),
    "422": (
        EDIT,
        [Answer(422, {"message": "Validation Failed", "errors": ["Body cannot be blank"]})],
        "PATCH /repos/acme/shop/issues/comments/1001 failed for acme/shop: 422 Validation Failed",
        "mend what GitHub names, then run it again: it goes on where it stopped",
    ),
    "422 for a body that is too long, also when it is shorter": (
        EDIT,
        [Answer(422, TOO_LONG), Answer(422, TOO_LONG)],
        "PATCH /repos/acme/shop/issues/comments/1001 failed for acme/shop: 422 Validation Failed",
        "mend what GitHub names, then run it again: it goes on where it stopped",
    ),
    "429 for an hour": (
        EDIT,
        [Answer(429, SECONDARY, {"Retry-After": "3600"})],
        (
            "PATCH /repos/acme/shop/issues/comments/1001 failed for acme/shop: 429 You have exceeded a secondary rate limit."
            " Please wait a few minutes."
        ),
        "wait 3600 seconds, then run it again: it goes on where it stopped",
    ),
}


@pytest.mark.parametrize("case", LASTING)
def test_what_lasts_is_told_with_what_to_do_and_fails_no_plan(applied, github, tmp_path, case):
    call, answers, message, hint = LASTING[case]
    number = github.comment(7, "<!-- orch:v1 {} -->").id
    github.next_answers[call] = list(answers)
    began_s = time.monotonic()
    run = applied.comment(github, tmp_path)
    assert run.warnings == [(message, hint)]
    assert run.done.stdout == applied.plan
    # Each answer was asked for once, and nothing was waited for.
    assert github.next_answers[call] == []
    assert sum(matches(call, verb, path) for verb, path, _ in github.calls) == len(answers)
    assert github.times_s[-1] - github.times_s[0] < 1
    assert time.monotonic() - began_s < 20
    assert github.comments[number].body == "<!-- orch:v1 {} -->"
    # Whoever looks at the run finds the plan all the same.
    assert run.summary.count('+     input: "second"') == 2


def test_a_token_without_the_permission_is_told_which_it_lacks(applied, github, tmp_path):
    github.permissions |= {"issues": "read", "pull_requests": "read"}
    run = applied.comment(github, tmp_path)
    ((message, hint),) = run.warnings
    assert message == (
        "POST /repos/acme/shop/issues/7/comments failed for acme/shop: 403 Resource not accessible by personal access token"
    )
    assert "Pull requests: write (in a workflow, `permissions: pull-requests: write`)" in hint
    assert "(GitHub asks for issues=write; pull_requests=write)" in hint
    assert run.done.stdout == applied.plan


def test_a_pull_request_that_is_not_there(applied, github, tmp_path):
    del github.issues[7]
    run = applied.comment(github, tmp_path)
    ((message, hint),) = run.warnings
    assert message == "GET /repos/acme/shop/issues/7/comments failed for acme/shop: 404 Not Found"
    assert "check the name, that the token has access to the repository" in hint
    assert run.done.stdout == applied.plan


@pytest.mark.parametrize("is_late", [False, True], ids=["between two runs", "just before it is edited"])
def test_a_comment_that_somebody_deleted_is_created_anew(applied, github, tmp_path, is_late):
    number = github.comment(7, "<!-- orch:v1 {} -->").id
    if is_late:
        github.before[EDIT] = [lambda: github.comments.pop(number)]
    else:
        del github.comments[number]
    run = applied.comment(github, tmp_path)
    assert run.warnings == []
    (comment,) = github.comments.values()
    assert comment.id != number
    assert comment.body.count('+     input: "second"') == 2
    edits = [("PATCH", f"/issues/comments/{number}")] if is_late else []
    assert writes(github) == [*edits, ("POST", "/issues/7/comments")]


def test_fourteen_hundred_changes_fit_and_where_github_takes_less_they_are_said_shorter(
    applied, github, tmp_path
):
    github.next_answers[CREATE] = [Answer(422, TOO_LONG)]
    run = applied.comment(github, tmp_path, TF_VAR_more="700")
    assert run.warnings == []
    refused, *taken = [body["body"] for _, path, body in github.writes() if path != "/graphql"]
    assert len(refused.encode()) <= 60_000
    assert max(len(body.encode()) for body in taken) <= 40_000
    # Whoever merges and looks again comes to rest.
    assert len(taken) <= 3
    (comment,) = github.comments.values()
    assert comment.body == taken[-1]
    # Each of the two environments shows its part, and where the rest is.
    shown = [body.count("+ terraform_data.many[") for body in comment.body.split("<details>")[1:]]
    assert len(shown) == 2
    assert min(shown) > 300
    assert len(re.findall(r"\*\*\d+ more\*\* in \[the step summary\]", comment.body)) == 2
    assert run.summary.count("+ terraform_data.many[") == 1_400
    assert run.done.stdout.count("700 to create, 1 to update") == 2


def test_a_plan_that_fails_is_told_and_ends_as_it_would_also_when_github_fails(applied, github, tmp_path):
    broken = applied.project.path / "terraform" / "envs" / "staging" / "broken.tf"
    broken.write_text('resource "terraform_data" "broken" {\n  input = var.nowhere\n}\n')
    try:
        run = applied.comment(github, tmp_path, code=1)
        github.permissions |= {"issues": "read", "pull_requests": "read"}
        untold = applied.comment(github, tmp_path, code=1)
    finally:
        broken.unlink()
    assert run.warnings == []
    assert len(untold.warnings) == 1
    assert untold.done.stdout == run.done.stdout
    (comment,) = github.comments.values()
    assert "Reference to undeclared input variable" in comment.body
    assert comment.body.count('+     input: "second"') == 1


def test_a_github_that_is_down_is_given_up_after_half_a_minute(applied, patient):
    process, github, folder = patient
    out, err = process.communicate(timeout=90)
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    run = applied.checked(done, folder)
    assert done.returncode == 2
    assert done.stdout == applied.plan
    ((message, hint),) = run.warnings
    assert message == (
        "GET /repos/acme/shop/issues/7/comments failed for acme/shop: 502 <html><h1>502 Bad Gateway</h1>authorization: token"
        " ***</html>"
    )
    assert hint == "see githubstatus.com, then run it again: it goes on where it stopped"
    asked_s = [
        at
        for at, (verb, path, _) in zip(github.times_s, github.calls, strict=True)
        if matches(LIST, verb, path)
    ]
    waits_s = [round(later - earlier) for earlier, later in itertools.pairwise(asked_s)]
    assert waits_s == [1, 2, 4, 8, 16]
    assert github.violations == []
