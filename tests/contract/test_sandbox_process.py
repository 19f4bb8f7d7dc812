"""The sandbox's process: one a state folder, on the loopback interface alone, and nothing left when it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import SandboxError
from orchestrator.sandbox import control

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    control.stop(tmp_path / "state")


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def left_over(state_dir: Path) -> list[str]:
    return sorted(path.name for path in state_dir.iterdir())


def test_start_find_and_stop(state_dir: Path) -> None:
    assert control.find(state_dir) is None
    started = control.start(state_dir, port=0, task_seconds=0.25)
    assert control.find(state_dir) == started
    assert started.endpoint_url == f"http://127.0.0.1:{started.port}"
    assert started.task_seconds == 0.25
    assert "listening on" in started.log_path.read_text()
    assert control.stop(state_dir) == started
    assert is_gone(started.pid)
    assert control.find(state_dir) is None
    assert left_over(state_dir) == ["sandbox.log"]
    assert "Traceback" not in started.log_path.read_text()
    assert control.stop(state_dir) is None


def test_interrupting_it_is_as_clean(state_dir: Path) -> None:
    started = control.start(state_dir, port=0)
    os.kill(started.pid, signal.SIGINT)
    _, status = os.waitpid(started.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert left_over(state_dir) == ["sandbox.log"]
    assert "Traceback" not in started.log_path.read_text()


def test_a_second_start_is_refused_and_says_where_the_first_runs(state_dir: Path) -> None:
    first = control.start(state_dir, port=0)
    with pytest.raises(SandboxError) as refused:
        control.start(state_dir, port=0)
    said = " ".join((refused.value.message, refused.value.hint, *refused.value.details))
    assert first.endpoint_url in said
    assert str(first.pid) in said
    assert str(first.log_path) in said
    assert "orch sandbox down" in said
    assert control.find(state_dir) == first


def test_starts_at_the_same_time_end_in_one_process(state_dir: Path) -> None:
    def attempt(_: int) -> control.Sandbox | SandboxError:
        try:
            return control.start(state_dir, port=0)
        except SandboxError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, range(4)))
    running = [outcome for outcome in outcomes if isinstance(outcome, control.Sandbox)]
    assert len(running) == 1
    assert control.find(state_dir) == running[0]
    assert left_over(state_dir) == ["sandbox.json", "sandbox.lock", "sandbox.log"]


def test_a_taken_port_is_named_with_the_way_out(state_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SandboxError) as refused:
            control.start(state_dir, port=port)
    assert str(port) in refused.value.message
    assert "--port" in refused.value.hint
    assert control.find(state_dir) is None


def test_a_killed_sandbox_does_not_stand_in_the_way(state_dir: Path) -> None:
    first = control.start(state_dir, port=0)
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    assert control.find(state_dir) is None
    second = control.start(state_dir, port=0)
    assert second.pid != first.pid


def test_a_state_file_of_somebody_elses_process_is_not_believed(state_dir: Path) -> None:
    state_dir.mkdir()
    control.write_state(state_dir, control.State(os.getpid(), 1, "2026-01-01T00:00:00+00:00", 2.0, "log"))
    assert control.find(state_dir) is None
    (state_dir / "sandbox.json").write_text("{not json")
    assert control.find(state_dir) is None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[control.Sandbox]:
    """Started by a user whose own AWS settings would break it, were they handed on."""
    state_dir = tmp_path_factory.mktemp("running")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_PROFILE", "there-is-no-such-profile")
        started = control.start(state_dir, port=0, task_seconds=0.05)
    yield started
    control.stop(state_dir)


def test_it_listens_on_the_loopback_interface_only(running: control.Sandbox) -> None:
    table = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    listening = [line.split()[1] for line in table.splitlines() if line.split()[3] == "0A"]
    port = f"{running.port:04X}"
    assert [address for address in listening if address.endswith(f":{port}")] == [f"0100007F:{port}"]


def test_where_it_keeps_its_state() -> None:
    assert control.default_state_dir({"ORCH_SANDBOX_DIR": "/here"}) == Path("/here")
    assert control.default_state_dir({"XDG_STATE_HOME": "/state"}) == Path("/state/orch/sandbox")
    assert control.default_state_dir({}) == Path.home() / ".local" / "state" / "orch" / "sandbox"


def test_importing_the_control_module_is_cheap() -> None:
    code = (
        "import sys; from orchestrator.sandbox import control;"
        "print([m for m in ('moto', 'boto3', 'botocore', 'werkzeug', 'flask') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_real_clock_runs_a_service(running: control.Sandbox) -> None:
    environment = control.aws_environment(running, account_id="222222222222", region="eu-west-1")
    code = """
import boto3
ecs = boto3.client("ecs")
ecs.create_cluster(clusterName="c")
ecs.register_task_definition(family="f", containerDefinitions=[{"name": "a", "image": "x/y:1", "memory": 64}])
ecs.create_service(cluster="c", serviceName="s", taskDefinition="f", desiredCount=2)
waiter = ecs.get_waiter("services_stable")
waiter.wait(cluster="c", services=["s"], WaiterConfig={"Delay": 1, "MaxAttempts": 10})
service = ecs.describe_services(cluster="c", services=["s"])["services"][0]
print(service["serviceArn"], service["runningCount"], service["deployments"][0]["rolloutState"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["arn:aws:ecs:eu-west-1:222222222222:service/c/s", "2", "COMPLETED"]
