"""A headless Chromium for tests and pictures, spoken to over a pipe (--remote-debugging-pipe: JSON, NUL after each message), so that
no driver, no port and no WebSocket is needed. The protocol: https://chromedevtools.github.io/devtools-protocol/

What it opens must be a page of ours: as root, which containers are, Chromium starts only without its own sandbox.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S = 60.0
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --hide-scrollbars"
    " --disable-background-networking --disable-component-update --disable-sync --remote-debugging-pipe"
)


def find() -> str | None:
    """The path of a Chromium, if there is one."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Page:
    """One tab. `said` are the messages of its console and log, such as what a Content-Security-Policy forbade."""

    def __init__(self, browser: _Pipe, session: str) -> None:
        self._browser, self._session = browser, session
        self.said: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, parameters, self._session, self)

    def show(self, url: str, *, width: int, is_dark: bool = False) -> None:
        """Opens a page in that many CSS pixels, and waits until it has loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        ends = time.monotonic() + _TIMEOUT_S
        while self.value("document.readyState + location.href") != f"complete{url}":
            assert time.monotonic() < ends, f"{url} did not load"
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """What JavaScript makes of an expression; the tools' own, which no policy of the page forbids."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self) -> bytes:
        """The whole page as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def printed(self) -> bytes:
        """The page as it prints, as a PDF; the paper is the page's own choice."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])


class _Pipe:
    """The messages to and from the browser."""

    def __init__(self, write_fd: int, read_fd: int) -> None:
        self._write_fd, self._read_fd = write_fd, read_fd
        self._buffer = bytearray()
        self._last_id = 0

    def call(
        self, method: str, parameters: dict[str, Any], session: str = "", page: Page | None = None
    ) -> dict[str, Any]:
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write_fd, data) :]
        ends = time.monotonic() + _TIMEOUT_S
        while True:
            answer = self._next(ends, method)
            if answer.get("id") == self._last_id:
                assert "error" not in answer, f"{method}: {answer.get('error')}"
                return answer["result"]
            if page is not None:
                _listen(page, answer)

    def _next(self, ends: float, method: str) -> dict[str, Any]:
        while (end := self._buffer.find(b"\0")) < 0:
            readable, _, _ = select.select([self._read_fd], [], [], max(0.0, ends - time.monotonic()))
            assert readable, f"Chromium does not answer {method}"
            received = os.read(self._read_fd, 1 << 20)
            assert received, f"Chromium ended at {method}"
            self._buffer += received
        message: dict[str, Any] = json.loads(bytes(self._buffer[:end]))
        del self._buffer[: end + 1]
        return message


def _listen(page: Page, event: dict[str, Any]) -> None:
    told = event.get("params", {})
    match event.get("method"):
        case "Log.entryAdded":
            page.said.append(told["entry"]["text"])
        case "Runtime.consoleAPICalled":
            page.said.append(" ".join(str(one.get("value")) for one in told["args"]))
        case "Network.requestWillBeSent":
            page.said.append(f"request: {told['request']['url']}")
        case "Network.loadingFailed":
            page.said.append(f"blocked: {told.get('blockedReason')}")


@contextmanager
def open_page() -> Iterator[Page]:
    """A tab of a browser of its own, which ends with the block."""
    program = find()
    assert program is not None, "no Chromium on PATH"
    to_browser, from_us = os.pipe()
    from_browser, to_us = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:

        def place() -> None:
            # Chromium reads from 3 and writes to 4.
            kept = os.dup(to_us)
            os.dup2(os.dup(to_browser), 3)
            os.dup2(kept, 4)

        process = subprocess.Popen(
            [program, *_FLAGS.split(), f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=place,  # noqa: PLW1509 - no thread of the tests holds a lock that it needs
        )
        os.close(to_browser)
        os.close(to_us)
        pipe = _Pipe(from_us, from_browser)
        try:
            target = pipe.call("Target.createTarget", {"url": "about:blank"})["targetId"]
            session = pipe.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
            yield Page(pipe, session)
        finally:
            with suppress(AssertionError, OSError):
                pipe.call("Browser.close", {})
            os.close(from_us)
            os.close(from_browser)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def save(data: bytes, file: Path) -> None:
    file.write_bytes(data)
    print(file)
