"""A failed task as text: on a plain log, on terminals of two widths, and as JSON."""

from __future__ import annotations

import io
import json

import pytest

from orchestrator.events import TaskFailed
from orchestrator.model import Cause, ContainerExit, TaskFailure
from orchestrator.report import json_lines, terminal, text

TASK = "0123456789abcdef0123456789abcdef"
IMAGE = "111111111111.dkr.ecr.eu-central-1.amazonaws.com/demo-dev/web"
ROLE = "arn:aws:iam::111111111111:role/demo/demo-dev-web-execution-of-a-rather-long-name"
CAUSE = Cause(
    "image-denied",
    "The registry refuses the pull",
    f"Allow ecr:BatchGetImage on the repository of {IMAGE}@sha256:{'ab12' * 16} to {ROLE}.",
    is_permanent=True,
)


def failure(**more) -> TaskFailure:
    given = {
        "service": "web",
        "task_id": TASK,
        "deployment_id": "ecs-svc/1",
        "stop_code": "EssentialContainerExited",
        "stopped_reason": "Essential container in task exited",
        "stopped_at": "2026-01-01T00:00:00+00:00",
        "containers": (
            ContainerExit("web", 137, "OutOfMemoryError: killed"),
            ContainerExit("router", 143, ""),
        ),
        "target_health": ("target group web, 10.0.1.7:8080: unhealthy, Target.Timeout, Request timed out",),
        "log_place": f"/ecs/demo-dev/web web/web/{TASK}",
        "log_lines": ("one", "  two"),
        "cause": Cause("out-of-memory", "The container ran out of memory", "Raise `memory`.", False),
    }
    return TaskFailure(**(given | more))


def test_everything_that_is_known_of_a_failure():
    assert text.event_lines(TaskFailed(failure())) == [
        f"✗ web: The container ran out of memory (task {TASK})",
        "  → Raise `memory`.",
        "  stopped   EssentialContainerExited: Essential container in task exited",
        "  web       exit code 137: OutOfMemoryError: killed",
        "  router    exit code 143",
        "  health    target group web, 10.0.1.7:8080: unhealthy, Target.Timeout, Request timed out",
        f"  log       /ecs/demo-dev/web web/web/{TASK}",
        "  │ one",
        "  │   two",
    ]


def test_a_task_that_did_not_start_says_its_reason_once():
    reason = "CannotPullContainerError: no"
    shown = text.failure_lines(
        failure(
            stop_code="TaskFailedToStart",
            stopped_reason=reason,
            containers=(ContainerExit("web", None, reason), ContainerExit("router", None, "still stopping")),
        )
    )
    assert sum(reason in line for line in shown) == 1
    assert "  web       never started" in shown
    assert "  router    still stopping" in shown


def test_without_a_known_cause_and_without_a_task():
    shown = text.failure_lines(
        failure(task_id="", cause=None, containers=(), target_health=(), log_place="", log_lines=())
    )
    assert shown == [
        "✗ web: A task failed, and orch does not know this cause (no task could be placed)",
        "  stopped   EssentialContainerExited: Essential container in task exited",
    ]


@pytest.mark.parametrize("width", [80, 140])
def test_it_fits_the_width_but_for_names_that_are_longer(width):
    shown = text.failure_lines(
        failure(cause=CAUSE, log_lines=("x" * 500,), stopped_reason="word " * 60), width=width
    )
    for line in shown:
        assert len(line) <= width or ROLE in line or IMAGE in line
    assert any(line.endswith("x…") and len(line) == width for line in shown)
    # Whole, to be copied; a digest says as much in twelve digits.
    assert any(ROLE in line for line in shown)
    assert any(f"{IMAGE}@sha256:ab12ab12ab12…" in line for line in shown)


def test_no_more_than_fifty_lines_of_a_log():
    shown = text.failure_lines(failure(log_lines=tuple(str(number) for number in range(70))))
    assert [line for line in shown if line.startswith("  │")][::49] == ["  │ 20", "  │ 69"]


def test_nothing_in_it_is_a_command_to_a_runner_or_a_terminal():
    hostile = failure(
        stopped_reason="::error::a\n::warning::b\x1b[2J",
        log_lines=("::stop-commands::x", "##[add-mask]y", "\x1b[31mred", "token=Zx9Qw8Er7Ty6"),
    )
    shown = text.failure_lines(hostile)
    for line in shown:
        assert not line.lstrip().startswith("::")
        assert "##[" not in line
        assert line.isprintable()
    assert "Zx9Qw8Er7Ty6" not in "\n".join(shown)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_fails_again_in_the_same_way_is_told_in_a_line():
    stream = io.StringIO()
    view = terminal.open_view(stream, is_verbose=False)
    view.take(TaskFailed(failure()))
    first = stream.getvalue()
    view.take(TaskFailed(failure(task_id="b" * 32)))
    assert (
        stream.getvalue()[len(first) :]
        == f"✗ web: The container ran out of memory, again (task {'b' * 32})\n"
    )
    view.take(TaskFailed(failure(service="api")))
    assert "✗ api: The container ran out of memory (task" in stream.getvalue()


def test_a_terminal_shows_it_in_full(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    view = terminal.open_view(stream, is_verbose=False)
    view.take(TaskFailed(failure(log_lines=("y" * 300,))))
    view.pause()
    shown = stream.getvalue().splitlines()
    assert any(TASK in line for line in shown)
    assert any(line.startswith("  │ yyy") and line.endswith("…") and len(line) == 80 for line in shown)


def test_a_program_gets_every_field():
    event = json.loads(json_lines.line(TaskFailed(failure())))
    assert event["type"] == "task_failed"
    told = event["failure"]
    assert (told["task_id"], told["stop_code"]) == (TASK, "EssentialContainerExited")
    assert told["containers"][0] == {"name": "web", "exit_code": 137, "reason": "OutOfMemoryError: killed"}
    assert told["cause"]["id"] == "out-of-memory"
    assert told["log_lines"] == ["one", "  two"]
