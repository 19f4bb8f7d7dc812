"""`orch board --serve`: the page on this machine's own address, for a browser beside it.

Comes in: what makes the page. Goes out: nothing; it serves until it is interrupted. May touch: a socket of 127.0.0.1.

Only `/` is there, only to be read, and only under the address itself: a page of another site whose name was turned to 127.0.0.1 (DNS
rebinding) asks with that name as Host, and is refused. A page is made when somebody asks and the last one is older than
`max_age_s`; those who ask meanwhile get the one that is being made.
"""

from __future__ import annotations

import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.errors import OrchError, PreconditionError
from orchestrator.masks import scrub

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS = "127.0.0.1"
# A browser opens connections ahead of need, and may never use them.
_IDLE_S = 10.0
_HEADERS = {
    # The page's own policy, in its <meta>, cannot forbid frames: https://www.w3.org/TR/CSP3/#meta-element
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Pages:
    """Makes the page anew at most every `max_age_s` seconds; holds the last one, and the lock of those who wait for it."""

    def __init__(
        self, make: Callable[[], str], *, max_age_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._make, self._max_age_s, self._clock = make, max_age_s, clock
        self._lock = threading.Lock()
        self._page: str | None = None
        self._made_at = 0.0

    def page(self) -> str:
        """The page, no older than that. Raises what making it raises."""
        with self._lock:
            if self._page is None or self._clock() - self._made_at >= self._max_age_s:
                self._page = self._make()
                self._made_at = self._clock()
            return self._page


def serve(
    pages: Pages,
    *,
    port: int,
    ready: Callable[[str], object],
    failed: Callable[[BaseException], object],
) -> None:
    """Serves until KeyboardInterrupt, then returns; `ready` gets the URL, `failed` what no answer could be made of. Port 0 is any.
    Raises PreconditionError for a port that is taken.
    """
    try:
        server = _Server((ADDRESS, port), _Handler)
    except (OSError, OverflowError) as error:
        raise PreconditionError(
            f"cannot listen on {ADDRESS}:{port}: {getattr(error, 'strerror', None) or error}",
            hint="choose another port: --port NUMBER, or --port 0 for any that is free",
        ) from error
    server.pages, server.failed = pages, failed
    with server:
        try:
            ready(f"http://{ADDRESS}:{server.server_port}/")
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            # A page may be in the making, in a thread that the signal does not reach.
            process.interrupt_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    pages: Pages
    failed: Callable[[BaseException], object]

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for the name of the address.
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = ADDRESS, self.socket.getsockname()[1]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as socketserver calls it
        error = sys.exception() if sys.version_info >= (3, 12) else sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.failed(error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "orch", ""
    timeout = _IDLE_S

    def do_GET(self) -> None:
        port = "" if self.server.server_port == 80 else f":{self.server.server_port}"
        if self.headers.get_all("Host") not in ([f"{ADDRESS}{port}"], [f"localhost{port}"]):
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, "this is not the address that orch serves\n")
        elif self.path != "/":
            self._answer(HTTPStatus.NOT_FOUND, "there is only /\n")
        else:
            self._page()

    do_HEAD = do_GET  # noqa: N815 - as http.server calls it

    def _page(self) -> None:
        try:
            page = self.server.pages.page()
        except OrchError as error:
            told = "\n  → ".join(filter(None, (error.message, error.hint)))
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"error: {scrub(told)}\n")
        except Exception as bug:  # noqa: BLE001 - one page less is no end of the server
            self.server.failed(bug)
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of orch; the terminal tells more\n")
        else:
            self._answer(HTTPStatus.OK, page, "text/html; charset=utf-8")

    def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_told: object) -> None:
        """Says nothing: what is asked for is no news."""
