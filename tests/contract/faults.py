"""A reverse proxy that spoils requests and answers on their way to the sandbox, as networks and AWS do on a bad day.

Faults, each as likely as the others: a throttling error, a 500, a connection that is dropped before the request arrives, one that
is dropped after it did (it took effect, and nobody hears of it), a slow answer, an answer that breaks off. Which request meets
which fault is decided by a seed, so that a failure can be looked at again.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

FAULTS = ("throttled", "error", "lost before", "lost after", "slow", "broken off")
_SLOW_S = 0.05


class Faults:
    """What the proxy does to whom, and what it did."""

    def __init__(self, target: str, seed: int, share: float) -> None:
        self.target = urlsplit(target)
        self.share = share
        self.done: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()

    def draw(self) -> str:
        """The fault of the next request, or an empty string."""
        with self._lock:
            fault = self._chance.choice(FAULTS) if self._chance.random() < self.share else ""
            self.done[fault or "fine"] += 1
            return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self) -> None:
        faults = self.server.faults
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = faults.draw()
        if fault == "throttled":
            return self._answer(400, {"__type": "ThrottlingException", "message": "Rate exceeded"})
        if fault == "error":
            return self._answer(500, {"__type": "ServerException", "message": "Something went wrong"})
        if fault == "lost before":
            return self._drop()
        status, headers, answer = self._forward(body)
        if fault == "lost after":
            return self._drop()
        if fault == "slow":
            time.sleep(_SLOW_S)
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in {"transfer-encoding", "connection", "content-length", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command == "HEAD":
            return None
        if fault == "broken off":
            self.wfile.write(answer[: len(answer) // 2])
            return self._drop()
        self.wfile.write(answer)
        return None

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _handle  # noqa: N815 - the names http.server wants

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        target = self.server.faults.target
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, data: dict[str, str]) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drop(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults = faults

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what this is for."""


@contextmanager
def spoiled(endpoint_url: str, *, seed: int, share: float) -> Iterator[tuple[str, Faults]]:
    """The URL of a proxy before that endpoint, and what it does. `share` of all requests meet a fault."""
    faults = Faults(endpoint_url, seed, share)
    server = _Server(faults)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", faults
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
