"""`orch board --serve` on a real socket: who gets the page and who does not, how often it is made, and how it ends."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from orchestrator.errors import PreconditionError
from orchestrator.operations import board_serve
from orchestrator.operations.board_serve import Pages

PROGRAM = """
from orchestrator.errors import AwsError
from orchestrator.operations import board_serve

made = []
def make():
    made.append(1)
    if len(made) == 2:
        raise AwsError("S3 is away: password=hunter2-and-more", hint="ask again")
    if len(made) == 3:
        raise ZeroDivisionError("a bug")
    return f"<p>page {len(made)} ✓</p>"
board_serve.serve(
    board_serve.Pages(make, max_age_s=MAX_AGE),
    port=0,
    ready=lambda url: print(url, flush=True),
    failed=lambda bug: print("failed:", repr(bug), flush=True),
)
print("ended", len(made))
"""


class Served:
    """The server as a process of its own."""

    def __init__(self, max_age_s: float) -> None:
        program = PROGRAM.replace("MAX_AGE", str(max_age_s))
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.url = self.process.stdout.readline().strip()
        self.port = urlsplit(self.url).port

    def ask(self, path="/", *, method="GET", hosts=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest(method, path, skip_host=True)
        for host in [f"127.0.0.1:{self.port}"] if hosts is None else hosts:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        told = answer.status, answer.read().decode(), dict(answer.getheaders())
        connection.close()
        return told

    def end(self):
        """Ctrl-C; what it said since, and its exit code."""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=10)
        return said, self.process.returncode


@pytest.fixture
def serve():
    served = []

    def start(max_age_s):
        served.append(Served(max_age_s))
        return served[-1]

    yield start
    for one in served:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        one.process.stdout.close()


def test_only_the_page_and_only_under_its_own_address(serve):
    one = serve(60)
    # A browser opens connections that it may never use; nobody waits behind one.
    idle = socket.create_connection(("127.0.0.1", one.port))
    status, body, headers = one.ask()
    assert (status, body) == (200, "<p>page 1 ✓</p>")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Server"].strip() == "orch"
    assert one.ask(hosts=[f"localhost:{one.port}"])[0] == 200
    # What a name that was turned to 127.0.0.1 would ask with.
    for hosts in (
        [f"evil.example:{one.port}"],
        ["127.0.0.1"],
        [f"127.0.0.1:{one.port + 1}"],
        [f"127.0.0.1.evil.example:{one.port}"],
        [f"[::1]:{one.port}"],
        [""],
        [],
        [f"127.0.0.1:{one.port}", "evil.example"],
    ):
        status, body, _headers = one.ask(hosts=hosts)
        assert (status, "page" in body) == (421, False), hosts
    for path in (
        "/favicon.ico",
        "/?",
        "/orch.toml",
        "/../orch.toml",
        "*",
        f"http://127.0.0.1:{one.port}/",
    ):
        assert one.ask(path)[0] == 404, path
    for method in ("POST", "PUT", "OPTIONS", "TRACE"):
        assert one.ask(method=method)[0] == 501, method
    status, body, headers = one.ask(method="HEAD")
    assert (status, body, headers["Content-Length"]) == (200, "", str(len("<p>page 1 ✓</p>".encode())))
    assert one.end() == ("ended 1\n", 0)
    idle.close()


def test_a_page_that_cannot_be_made_is_an_answer_and_no_end(serve):
    one = serve(0)
    assert one.ask()[:2] == (200, "<p>page 1 ✓</p>")
    assert one.ask()[:2] == (503, "error: S3 is away: password=(sensitive)\n  → ask again\n")
    assert one.ask()[0] == 500
    assert one.ask()[:2] == (200, "<p>page 4 ✓</p>")
    assert one.end() == ("failed: ZeroDivisionError('a bug')\nended 4\n", 0)


def test_a_port_that_is_taken_is_said_to_be():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            PreconditionError, match=f"cannot listen on 127.0.0.1:{port}: Address already"
        ) as raised:
            board_serve.serve(Pages(str, max_age_s=1), port=port, ready=print, failed=print)
    assert "--port 0" in raised.value.hint


def test_a_page_is_made_anew_once_it_is_old():
    now, made = [100.0], []

    def make() -> str:
        made.append(now[0])
        return f"page of {now[0]:g}"

    pages = Pages(make, max_age_s=30, clock=lambda: now[0])
    for at, page in ((100, 100), (129, 100), (130, 130), (140, 130), (500, 500)):
        now[0] = at
        assert pages.page() == f"page of {page}"
    assert made == [100, 130, 500]
