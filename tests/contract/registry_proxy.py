"""A proxy before a registry that cuts uploads and downloads at a byte, or answers in the registry's place; and counts what passes.

Bodies pass in pieces, so that it can stand before images of any size. The Host of the client is kept: what the registry names in
Location comes by the proxy too.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Fault:
    """What happens to one request: an answer in the registry's place, or the connection ends after so many bytes of a body."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_up: int | None = None
    cut_down: int | None = None
    without: tuple[str, ...] = ()

    @classmethod
    def refusal(cls, status: int, code: str, message: str = "", **headers: str) -> Fault:
        return cls(status, headers, json.dumps({"errors": [{"code": code, "message": message}]}).encode())


@dataclass
class Passed:
    """One request that came by: the bytes of its bodies, and the answer's status (0: cut off before it)."""

    method: str
    path: str
    headers: dict[str, str]
    status: int = 0
    up: int = 0
    down: int = 0


@dataclass
class Registry:
    """The proxy: `decide` says what happens to a request."""

    host: str
    target: tuple[str, int]
    decide: Callable[[Passed], Fault | None] = lambda _one: None
    passed: list[Passed] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self, method: str, part: str) -> list[Passed]:
        return [one for one in self.passed if one.method == method and part in one.path]

    def url(self, repository_url: str) -> str:
        return f"{self.host}/{repository_url.partition('/')[2]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self) -> None:
        registry = self.server.registry
        one = Passed(self.command, self.path, dict(self.headers.items()))
        with registry.lock:
            registry.passed.append(one)
            fault = registry.decide(one) or Fault()
        if fault.status:
            self._answer_instead(fault, one)
            return
        connection = http.client.HTTPConnection(*registry.target, timeout=30)
        try:
            self._pass_on(connection, fault, one)
        except OSError:
            self._drop()
        finally:
            connection.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _handle  # noqa: N815 - the names http.server wants

    def _answer_instead(self, fault: Fault, one: Passed) -> None:
        for piece in self._body(None):
            one.up += len(piece)
        one.status = fault.status
        self.send_response(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(fault.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(fault.body)

    def _pass_on(self, connection: http.client.HTTPConnection, fault: Fault, one: Passed) -> None:
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in {"connection", *fault.without}:
                connection.putheader(name, value)
        connection.endheaders()
        for piece in self._body(fault.cut_up):
            connection.send(piece)
            one.up += len(piece)
        if fault.cut_up is not None:
            connection.close()
            self._drop()
            return
        answer = connection.getresponse()
        one.status = answer.status
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "date", "server"}:
                self.send_header(name, value)
        self.end_headers()
        while piece := answer.read(_PIECE_BYTES if fault.cut_down is None else fault.cut_down - one.down):
            self.wfile.write(piece)
            one.down += len(piece)
        if fault.cut_down is not None:
            self._drop()

    def _body(self, limit: int | None) -> Iterator[bytes]:
        left = int(self.headers.get("Content-Length") or 0)
        left = left if limit is None else min(left, limit)
        while left > 0 and (piece := self.rfile.read(min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece

    def _drop(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, registry: Registry) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.registry = registry
        registry.host = f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what this is for."""


@contextmanager
def between(port: int, tls: ssl.SSLContext | None = None) -> Iterator[Registry]:
    """A proxy before the registry at that port of this machine."""
    registry = Registry("", ("127.0.0.1", port))
    server = _Server(registry)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
