"""Starts, finds, resets and stops the sandbox's process; the only part of the sandbox that the product imports.

Imports nothing heavy: `orch --help` must not pay for moto. The running process holds a lock on a file in its state folder
for as long as it lives (the kernel lets go when it dies), so two starts at once cannot end in two processes, and nothing
stale can stand in a start's way.
Touches: the state folder (`sandbox.json`, `sandbox.lock`, `sandbox.log`, `blobs/`), one detached process.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import shutil
import signal
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import SandboxError
from orchestrator.sandbox.scenario import ScenarioSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DEFAULT_PORT = 4577
DEFAULT_TASK_SECONDS = 2.0
EXIT_RUNS_ALREADY = 75
EXIT_PORT_TAKEN = 76
_POLL_S = 0.02
_HEALTH_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 10.0
_LOG_TAIL_LINES = 15


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox. `started_at` is ISO 8601 in UTC; `task_seconds` how long a task takes to reach RUNNING."""

    pid: int
    port: int
    endpoint_url: str
    log_path: Path
    started_at: str
    task_seconds: float


@dataclass(frozen=True)
class State:
    """What the state file holds; written by the process itself once it listens."""

    pid: int
    port: int
    started_at: str
    task_seconds: float
    log_path: str


@dataclass(frozen=True)
class ClockTime:
    """The sandbox's time, ISO 8601 in UTC, and whether it stands still."""

    now: str
    is_frozen: bool


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """$ORCH_SANDBOX_DIR, else `orch/sandbox` below $XDG_STATE_HOME, else below ~/.local/state."""
    if environ.get("ORCH_SANDBOX_DIR"):
        return Path(environ["ORCH_SANDBOX_DIR"])
    state_home = environ.get("XDG_STATE_HOME")
    return (Path(state_home) if state_home else Path.home() / ".local" / "state") / "orch" / "sandbox"


def find(state_dir: Path) -> Sandbox | None:
    """The sandbox that runs on this state folder and answers; None when none does, whatever files are left."""
    state = _read_state(state_dir)
    if state is None or not _is_alive(state.pid):
        return None
    try:
        health = _ask(state.port, "GET", "/orch-sandbox/health")
    except (OSError, http.client.HTTPException, ValueError):
        return None
    if health.get("pid") != state.pid:
        return None
    return Sandbox(
        pid=state.pid,
        port=state.port,
        endpoint_url=f"http://127.0.0.1:{state.port}",
        log_path=Path(state.log_path),
        started_at=state.started_at,
        task_seconds=state.task_seconds,
    )


def start(
    state_dir: Path,
    *,
    port: int = DEFAULT_PORT,
    task_seconds: float = DEFAULT_TASK_SECONDS,
    timeout_s: float = 20.0,
) -> Sandbox:
    """Starts the process detached from this one and waits until it answers. Port 0 takes any free one.

    Raises SandboxError when one runs already (saying where), when the port is taken, when the extra `sandbox` is not
    installed, or when it does not answer in time (with its last log lines).
    """
    running = find(state_dir)
    if running is not None:
        raise _runs_already(running)
    state_dir = state_dir.resolve()
    state_dir.mkdir(parents=True, exist_ok=True)
    attempt_log = state_dir / f"sandbox-{os.getpid()}-{time.monotonic_ns()}.log"
    pid = _spawn(state_dir, port, task_seconds, attempt_log)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = find(state_dir)
        if found is not None and found.pid == pid:
            return found
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            raise _start_failure(state_dir, port, os.waitstatus_to_exitcode(status), attempt_log)
        time.sleep(_POLL_S)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise SandboxError(
        f"the sandbox did not answer within {timeout_s:g} s",
        hint="start it again; if that fails too, read the log lines",
        details=_take_tail(attempt_log),
    )


def stop(state_dir: Path) -> Sandbox | None:
    """Asks the sandbox to stop and waits until it has; returns what was stopped, None when none ran."""
    running = find(state_dir)
    if running is None:
        return None
    _signal(running.pid, signal.SIGTERM)
    if not _wait_for_release(state_dir):
        _signal(running.pid, signal.SIGKILL)
        _wait_for_release(state_dir)
        remove_state(state_dir)
        shutil.rmtree(state_dir / "blobs", ignore_errors=True)
    _reap(running.pid)
    return running


def reset(sandbox: Sandbox) -> None:
    """Empties all state: every account, every image. Raises SandboxError when it does not answer."""
    control(sandbox, "POST", "reset")


def has_bucket(sandbox: Sandbox, name: str) -> bool:
    """Whether any account has an S3 bucket of that name, asked without loading an AWS client."""
    return bool(control(sandbox, "GET", f"buckets/{name}")["exists"])


def control(sandbox: Sandbox, method: str, route: str, body: object = None) -> dict[str, Any]:
    """One call of the control API that server.py describes. Raises SandboxError when it does not answer."""
    try:
        return _ask(sandbox.port, method, f"/orch-sandbox/{route}", body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SandboxError(
            f"the sandbox at {sandbox.endpoint_url} (process {sandbox.pid}) does not answer: {error}",
            hint=f"read {sandbox.log_path}, then `orch sandbox down` and `orch sandbox up`",
        ) from error


def set_scenario(
    sandbox: Sandbox,
    service: str,
    behaviour: str,
    *,
    account_id: str | None = None,
    region: str | None = None,
    times: int | None = None,
) -> ScenarioSet:
    """Makes one behaviour of scenario.py happen to one ECS service. Raises SandboxError, which says what there is instead."""
    wish = {
        "service": service,
        "behaviour": behaviour,
        "account_id": account_id,
        "region": region,
        "times": times,
    }
    return ScenarioSet(**_granted(control(sandbox, "POST", "scenarios", wish))["set"])


def clear_scenarios(
    sandbox: Sandbox, service: str | None = None, *, account_id: str | None = None, region: str | None = None
) -> int:
    """Takes back what is set, of one service or of all; returns how many scenarios that were. Raises SandboxError."""
    wish = {"service": service, "account_id": account_id, "region": region}
    return int(_granted(control(sandbox, "POST", "scenarios/clear", wish))["cleared"])


def put_metric(
    sandbox: Sandbox,
    namespace: str,
    name: str,
    values: Sequence[float],
    *,
    dimensions: Mapping[str, str],
    every_s: float,
    account_id: str,
    region: str,
) -> str:
    """Lets CloudWatch have these values, one every `every_s` from now on; returns until when they reach, ISO 8601 in UTC."""
    wish = {
        "namespace": namespace,
        "name": name,
        "values": list(values),
        "dimensions": dict(dimensions),
        "every_s": every_s,
        "account_id": account_id,
        "region": region,
    }
    return _iso(control(sandbox, "POST", "scenarios/metric", wish)["until"])


def scenarios(sandbox: Sandbox) -> tuple[ScenarioSet, ...]:
    """What is set now."""
    return tuple(ScenarioSet(**one) for one in control(sandbox, "GET", "scenarios")["set"])


def move_clock(sandbox: Sandbox, *, freeze: bool | None = None, advance_s: float = 0.0) -> ClockTime:
    """Holds the sandbox's clock or lets it run on, and pushes it; with neither it only tells. Raises SandboxError."""
    wish: dict[str, object] = {} if freeze is None else {"freeze": freeze}
    if advance_s:
        wish["advance"] = advance_s
    answer = control(sandbox, "POST", "clock", wish)
    return ClockTime(_iso(answer["now"]), answer["is_frozen"])


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _granted(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise SandboxError(answer["error"]["message"], hint=answer["error"]["hint"])
    return answer


def aws_environment(sandbox: Sandbox, *, account_id: str | None, region: str) -> dict[str, str]:
    """Variables that point boto3, the AWS CLI, Terraform's AWS provider and its S3 backend at the sandbox.

    The sandbox reads the account from the access key (see accounts.py). Empty configuration files keep a user's own
    settings out. AWS_ENDPOINT_URL_S3 must not be set: with it Terraform's S3 backend puts the bucket's name before the
    IP address; with AWS_ENDPOINT_URL alone it asks by path, as every SDK does for an IP address.
    """
    return {
        "AWS_ENDPOINT_URL": sandbox.endpoint_url,
        "AWS_ACCESS_KEY_ID": account_id or "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


# --- shared with the process itself


def log_path(state_dir: Path) -> Path:
    return state_dir / "sandbox.log"


@contextmanager
def held_lock(state_dir: Path, *, create: bool = True) -> Iterator[bool]:
    """Holds the state folder's lock for the life of the block; gives False when another process holds it.

    With `create=False` a lock file that is not there raises FileNotFoundError.
    """
    path = state_dir / "sandbox.lock"
    while True:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            yield False
            return
        # The holder removes the file when it ends: a lock on a removed file guards nothing.
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            break
        os.close(descriptor)
    try:
        yield True
    finally:
        os.close(descriptor)


def write_state(state_dir: Path, state: State) -> None:
    fresh = state_dir / "sandbox.json.new"
    fresh.write_text(json.dumps(asdict(state)))
    fresh.replace(state_dir / "sandbox.json")


def remove_state(state_dir: Path) -> None:
    """Removes what only a running sandbox needs; the log stays."""
    (state_dir / "sandbox.json").unlink(missing_ok=True)
    (state_dir / "sandbox.lock").unlink(missing_ok=True)


# --- private


def _spawn(state_dir: Path, port: int, task_seconds: float, attempt_log: Path) -> int:
    argv = [sys.executable, "-P", "-m", "orchestrator.sandbox", "--port", str(port)]
    argv += ["--state-dir", str(state_dir), "--task-seconds", str(task_seconds), "--log", str(attempt_log)]
    # What moto and boto3 would read from a user's own AWS settings must not reach the sandbox.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))
    }
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(  # detached for good: process.py is for children that are awaited
        sys.executable,
        argv,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(attempt_log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _start_failure(state_dir: Path, port: int, code: int, attempt_log: Path) -> SandboxError:
    tail = _take_tail(attempt_log)
    running = find(state_dir)
    if running is not None:
        return _runs_already(running)
    if code == EXIT_RUNS_ALREADY:
        return SandboxError(
            f"another sandbox is starting or stopping on {state_dir}",
            hint="`orch sandbox status` says when it is up",
        )
    if code == EXIT_PORT_TAKEN:
        return SandboxError(
            f"port {port} on 127.0.0.1 is taken by another program",
            hint="choose another with --port, or --port 0 for any free one",
            details=tail,
        )
    if any("ModuleNotFoundError" in line for line in tail):
        return SandboxError(
            "the sandbox's own packages are not installed", hint="pip install 'orch[sandbox]'", details=tail
        )
    return SandboxError(
        f"the sandbox ended at once with code {code}", hint="the log lines say why", details=tail
    )


def _runs_already(running: Sandbox) -> SandboxError:
    return SandboxError(
        f"a sandbox runs already at {running.endpoint_url} (process {running.pid}, since {running.started_at})",
        hint="use it as it is, or stop it with `orch sandbox down`",
        details=(f"log: {running.log_path}",),
    )


def _take_tail(log: Path) -> tuple[str, ...]:
    """The last lines of a failed start's log, which is removed: nobody will look for it."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    log.unlink(missing_ok=True)
    return tuple(lines[-_LOG_TAIL_LINES:])


def _read_state(state_dir: Path) -> State | None:
    try:
        return State(**json.loads((state_dir / "sandbox.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait_for_release(state_dir: Path) -> bool:
    """Waits until the process has let go of its lock, which it does last."""
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            with held_lock(state_dir, create=False) as free:
                if free:
                    return True
        except FileNotFoundError:
            return True
        time.sleep(_POLL_S)
    return False


def _reap(pid: int) -> None:
    """Takes the exit code when the process is this one's child, so that no zombie is left."""
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _ask(port: int, method: str, path: str, body: object = None) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_HEALTH_TIMEOUT_S)
    try:
        content = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status} {text[:200]!r}")
        parsed: dict[str, Any] = json.loads(text)
        return parsed
    finally:
        connection.close()
