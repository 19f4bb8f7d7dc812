"""`orch board` as a command: the file, stdout, the server, and what it says of environments that it cannot read."""

from __future__ import annotations

import http.client
import re
import signal
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from tests.contract import told
from tests.contract.told import Told
from tests.e2e.conftest import Project, git

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture(scope="module")
def story(project: Project) -> Project:
    """dev and staging, each with one service; prod was never applied, and has no state bucket yet."""
    tags = {
        "orch:release": "20260701T070000Z-00000f",
        "orch:git-sha": git(project.path, "rev-parse", "HEAD"),
        "orch:released-at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    for env, account_id in (("dev", "111111111111"), ("staging", "222222222222")):
        one = Told("hello", DIGEST, tags, repository="registry.example/hello")
        told.make(project.client, project.path, env, account_id, one)
    for file in (project.path / "terraform/envs/prod").glob("*"):
        if file.is_file():
            file.unlink()
    (project.path / "terraform/envs/prod/main.tf").write_text(told.ROOT.format(env="prod"))
    wait_for_the_rollouts(project)
    return project


def wait_for_the_rollouts(project: Project) -> None:
    for env, account_id in (("dev", "111111111111"), ("staging", "222222222222")):
        ecs = project.client("ecs", account_id)
        for _ in range(100):
            found = ecs.describe_services(cluster=f"demo-{env}", services=["hello"])["services"][0]
            if found["deployments"][0]["rolloutState"] == "COMPLETED":
                break
            time.sleep(0.1)


def test_the_page_is_a_file_that_is_replaced_whole(story: Project) -> None:
    done = story.orch("board", "--sandbox")
    assert re.fullmatch(r"orch-board\.html: 3 environments, \d+ kB\n", done.stdout)
    page = (story.path / "orch-board.html").read_text()
    assert page.rstrip().endswith("</html>")
    for said in ("demo-dev-hello:2", "demo-staging-hello:2", "not applied", "dev → staging", "A service"):
        assert said in page
    assert "there already" in page
    assert "orch-board.html" in {file.name for file in story.path.iterdir()}
    assert not list(story.path.glob(".orch-board*"))


def test_the_page_on_stdout_is_all_that_is_there_and_says_what_could_not_be_read(story: Project) -> None:
    (story.path / "terraform/envs/staging/main.tf").write_text("nonsense {")
    try:
        done = story.orch("board", "--sandbox", "--file", "-", code=1)
    finally:
        (story.path / "terraform/envs/staging/main.tf").write_text(told.ROOT.format(env="staging"))
    assert done.stdout.lstrip().startswith("<!doctype html>")
    assert "error: staging: " in done.stderr
    assert "demo-dev-hello:2" in done.stdout
    assert "demo-staging-hello:2" not in done.stdout
    assert "staging: it cannot be read" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--file", "nowhere/board.html"), 1, "--file nowhere/board.html: there is no such folder"),
        (("--file", "terraform"), 1, "--file terraform: that is a folder"),
        (("--file", "x.html", "--serve"), 2, "--serve and --file exclude each other"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_asked(story: Project, arguments, code, said) -> None:
    before = len(story.calls())
    assert said in story.orch("board", "--sandbox", *arguments, code=code).stderr
    assert len(story.calls()) == before


def test_the_server_reads_when_asked_and_ends_cleanly(story: Project) -> None:
    served = story.start("board", "--sandbox", "--serve", "--port", "0")
    url = served.stdout.readline().split()[0]
    before = len(story.calls())

    def ask(host: str = "") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=60)
        connection.request("GET", "/", headers={"Host": host} if host else {})
        answer = connection.getresponse()
        found = answer.status, answer.read().decode()
        connection.close()
        return found

    assert ask(f"evil.example:{urlsplit(url).port}")[0] == 421
    assert len(story.calls()) == before
    status, page = ask()
    assert (status, "demo-dev-hello:2" in page) == (200, True)
    asked = len(story.calls())
    assert asked > before
    # Within --max-age nothing is asked again.
    assert ask() == (200, page)
    assert len(story.calls()) == asked
    served.send_signal(signal.SIGINT)
    said, told_on_stderr = served.communicate(timeout=20)
    assert (served.returncode, said) == (0, "")
    assert "error" not in told_on_stderr
