"""The sandbox's one WSGI application, and the process around it.

Routes by path: `/v2/` to the OCI registry, `/orch-sandbox/` to the control API, everything else to moto, whose backends
for ECS, ECR and Application Auto Scaling are replaced first. moto is not safe to use from several threads, so AWS calls are
answered one at a time; layers are pushed and pulled beside them.

The control API (plain JSON, not AWS's): GET health; POST reset; GET calls (what was asked since the last reset, oldest
first; see calls.py); POST clock with {"freeze": true}, {"advance": SECONDS} or {"freeze": false}; GET clock; GET
scenarios, POST scenarios, scenarios/clear and scenarios/metric (see happenings.py); GET buckets/NAME; POST
buckets/NAME with [{"key": …, "body": …, "at": ISO 8601}, …], which puts many objects at once, each as if written at its time.
Touches: its state folder (state file, blobs), and one port on 127.0.0.1.
"""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import get_input_stream

from orchestrator.sandbox import accounts, calls, ecr, ecs, ecs_api, gaps, happenings, metrics
from orchestrator.sandbox.blobs import BlobStore
from orchestrator.sandbox.clock import Clock
from orchestrator.sandbox.control import State, write_state
from orchestrator.sandbox.registry import Registry
from orchestrator.sandbox.runtime import Runtime
from orchestrator.sandbox.tasks import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_CALLS_KEPT = 20_000
_SHUTDOWN_POLL_S = 0.05
_HOST = "127.0.0.1"
log = logging.getLogger("orch.sandbox")


class Application:
    """The WSGI application. `started_at` is what `health` says."""

    def __init__(self, runtime: Runtime, *, started_at: str) -> None:
        self._runtime = runtime
        self._started_at = started_at
        self._calls: deque[dict[str, Any]] = deque(maxlen=_CALLS_KEPT)
        self._registry = Registry(runtime, before_change=ecs.tick_all)
        self._moto = DomainDispatcherApplication(create_backend_app)

    def now(self) -> float:
        """The sandbox's time, in seconds since the epoch."""
        return self._runtime.clock.now()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith("/orch-sandbox/"):
            return self._control(Request(environ))(environ, start_response)
        started = time.monotonic()
        call: dict[str, Any] = {"at": self.now(), "method": environ["REQUEST_METHOD"], "path": path}

        def start(status: str, headers: Any, *rest: Any) -> Any:
            call["status"] = int(status.split(maxsplit=1)[0])
            return start_response(status, headers, *rest)

        call["user_agent"] = environ.get("HTTP_USER_AGENT", "")
        try:
            if path == "/v2" or path.startswith("/v2/"):
                asked = calls.read_registry(environ["REQUEST_METHOD"], path)
                call |= {
                    "service": "registry",
                    "operation": asked.operation,
                    "parameters": asked.parameters,
                    "account": asked.parameters.get("registryId", ""),
                    "region": asked.parameters.get("region", ""),
                }
                return self._registry.handle(Request(environ))(environ, start)
            return self._aws(environ, start, call)
        finally:
            call["duration_ms"] = round((time.monotonic() - started) * 1000, 1)
            self._calls.append(call)
            what = f"{call.get('service')}:{call['operation']}" if call.get("operation") else call["path"]
            whose = f"{call.get('account', '')} {call.get('region', '')}".strip()
            log.info(
                "%s %s %s %s %s ms", call["method"], what, whose, call.get("status"), call["duration_ms"]
            )

    def _aws(
        self, environ: dict[str, Any], start_response: Callable[..., Any], call: dict[str, Any]
    ) -> Iterable[bytes]:
        body = get_input_stream(environ).read()
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        presigned = parse_qs(environ.get("QUERY_STRING", "")).get("X-Amz-Credential")
        if presigned:
            authorization = f"Credential={presigned[0]}"
        call["service"], call["region"] = accounts.scope_of(authorization)
        asked = calls.read(call["service"], environ, body)
        call["operation"], call["parameters"] = asked.operation, asked.parameters
        with self._runtime.lock:
            call["account"] = accounts.account_of(authorization)
            environ["HTTP_X_MOTO_ACCOUNT_ID"] = call["account"]
            ecs.tick_all()
            if call["service"] == "ecs":
                fault = self._runtime.scenarios.fault(call["account"], call["region"], call["operation"])
                if fault is not None:
                    said = {"__type": fault[0], "message": fault[1]}
                    return _json(said, HTTPStatus.BAD_REQUEST)(environ, start_response)
            try:
                return _read_whole(self._moto(environ, start_response))
            except NotImplementedError as error:
                log.warning("not implemented: %s", error)
                return _not_implemented(environ, call["operation"])(environ, start_response)

    def _control(self, request: Request) -> Response:
        route = (request.method, request.path.removeprefix("/orch-sandbox/"))
        if route == ("GET", "health"):
            return _json(
                {
                    "pid": os.getpid(),
                    "port": self._runtime.port,
                    "started_at": self._started_at,
                    "task_seconds": self._runtime.timing.task_seconds,
                }
            )
        if request.method == "GET" and route[1].startswith("buckets/"):
            return _json({"exists": _has_bucket(route[1].removeprefix("buckets/"))})
        if request.method == "POST" and route[1].startswith("buckets/"):
            with self._runtime.lock:
                return _json({"count": _fill(route[1].removeprefix("buckets/"), request.get_json())})
        if route == ("POST", "reset"):
            self._reset()
            return _json({})
        if route == ("GET", "calls"):
            return _json({"calls": list(self._calls)})
        if route[1].startswith("scenarios"):
            with self._runtime.lock:
                return self._scenarios(route, request)
        if route == ("GET", "clock"):
            return self._set_clock({})
        if route == ("POST", "clock"):
            return self._set_clock(request.get_json())
        return _json({"error": f"there is no {request.method} {request.path}"}, HTTPStatus.NOT_FOUND)

    def _set_clock(self, wish: dict[str, Any]) -> Response:
        clock = self._runtime.clock
        if "freeze" in wish:
            (clock.freeze if wish["freeze"] else clock.resume)()
        if "advance" in wish:
            clock.advance(float(wish["advance"]))
        return _json({"now": clock.now(), "is_frozen": clock.is_frozen})

    def _scenarios(self, route: tuple[str, str], request: Request) -> Response:
        ecs.tick_all()
        if route == ("GET", "scenarios"):
            return _json(happenings.show(self._runtime))
        act = {
            "scenarios": happenings.put,
            "scenarios/clear": happenings.clear,
            "scenarios/metric": happenings.put_metric,
        }.get(route[1] if route[0] == "POST" else "")
        if act is None:
            return _json({"error": f"there is no {request.method} {request.path}"}, HTTPStatus.NOT_FOUND)
        return _json(act(self._runtime, request.get_json()))

    def _reset(self) -> None:
        with self._runtime.lock:
            BackendDict.reset()
            reset_model_data()
            self._runtime.clock.reset()
            self._runtime.passwords.clear()
            self._runtime.scenarios.clear(None)
            self._runtime.blobs.clear()
            self._calls.clear()


def _has_bucket(name: str) -> bool:
    return any(name in backend.buckets for account in s3_backends.values() for backend in account.values())


def _fill(name: str, objects: list[dict[str, str]]) -> int:
    """Puts objects into a bucket as if each had been written when it says."""
    every = (backend for account in s3_backends.values() for backend in account.values())
    backend = next(backend for backend in every if name in backend.buckets)
    for item in objects:
        key = backend.put_object(name, item["key"], item["body"].encode(), disable_notification=True)
        # moto keeps UTC without saying so.
        key.last_modified = datetime.fromisoformat(item["at"]).astimezone(UTC).replace(tzinfo=None)
    return len(objects)


def serve(*, port: int, state_dir: Path, task_seconds: float, log_path: Path) -> None:
    """Serves until SIGTERM or SIGINT, then removes what it kept on disk. Raises OSError when the port is taken."""
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    runtime = Runtime(state_dir, Clock(), Timing(task_seconds), BlobStore(state_dir / "blobs"))
    install(runtime)
    runtime.blobs.clear()
    application = Application(runtime, started_at=started_at)
    # Bound here: werkzeug ends the whole process when the port is taken.
    with socket.create_server((_HOST, port)) as listener:
        runtime.port = listener.getsockname()[1]
        server = make_server(
            _HOST,
            runtime.port,
            application,
            threaded=True,
            request_handler=_RequestHandler,
            fd=listener.fileno(),
        )

    def stop(number: int, _frame: object) -> None:
        log.info("signal %d: stopping", number)
        # shutdown() waits for the loop that this very thread runs.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    state = State(os.getpid(), runtime.port, started_at, task_seconds, str(log_path))
    write_state(state_dir, state)
    log.info("listening on %s, a task takes %g s", runtime.endpoint_url, task_seconds)
    try:
        server.serve_forever(poll_interval=_SHUTDOWN_POLL_S)
    finally:
        server.server_close()
        runtime.blobs.clear()


def install(runtime: Runtime) -> None:
    """Replaces moto's backends by the sandbox's."""
    ecr.install(runtime)
    ecs.install(runtime)
    ecs_api.install()
    gaps.install(runtime.clock)
    metrics.install(runtime.clock)


class _RequestHandler(MotoRequestHandler):
    def date_time_string(self, timestamp: float | None = None) -> str:
        """What the header Date says: the sandbox's time."""
        application: Any = self.server.app
        said: str = super().date_time_string(application.now() if timestamp is None else timestamp)
        return said

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Says nothing: the application logs each request with its operation and account."""


def _read_whole(answer: Any) -> list[bytes]:
    """All of an answer, while the lock is held: it may still be reading moto's state."""
    try:
        return list(answer)
    finally:
        if hasattr(answer, "close"):
            answer.close()


def _not_implemented(environ: dict[str, Any], operation: str) -> Response:
    """501 is the one server error that no SDK tries again."""
    said = f"The sandbox does not implement {operation or environ.get('PATH_INFO', '')}."
    if environ.get("HTTP_X_AMZ_TARGET"):
        return _json({"__type": "NotImplementedException", "message": said}, HTTPStatus.NOT_IMPLEMENTED)
    body = (
        "<ErrorResponse><Error><Type>Receiver</Type><Code>NotImplemented</Code>"
        f"<Message>{escape(said)}</Message></Error></ErrorResponse>"
    )
    return Response(body, status=HTTPStatus.NOT_IMPLEMENTED, content_type="text/xml")


def _json(body: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(json.dumps(body), status=status, content_type="application/json")
