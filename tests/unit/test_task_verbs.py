"""The pure parts of the verbs on tasks: arguments, exit codes, and what is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import settings
from orchestrator.cli import tasks as cli
from orchestrator.errors import PreconditionError, SettingsError
from orchestrator.events import LogLine, ScaleProgress, TaskProgress
from orchestrator.model import (
    ContainerStatus,
    Contract,
    Scaled,
    ServiceContract,
    TaskRun,
    TaskStatus,
    Verdict,
)
from orchestrator.operations import contract
from orchestrator.report import json_lines, text

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
LINE = LogLine("web", "0123456789abcdef0123456789abcdef", "app", "2026-01-02T11:59:58.123Z", "hello")


def task(**more) -> TaskStatus:
    values = {
        "environment": "dev",
        "service": "web",
        "task_id": "0123456789abcdef0123456789abcdef",
        "revision": "demo-dev-web:7",
        "status": "RUNNING",
        "health": "HEALTHY",
        "created_at": (NOW - timedelta(minutes=65)).isoformat(),
        "started_at": "2026-01-02T10:56:00+00:00",
        "stopped_at": "",
        "availability_zone": "eu-central-1a",
        "private_ip": "10.0.0.12",
        "started_by": "ecs-svc/123",
        "stop_code": "",
        "stopped_reason": "",
        "containers": (ContainerStatus("app", "RUNNING", None, ""),),
    }
    return TaskStatus(**(values | more))


@pytest.mark.parametrize(("duration", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604_800)])
def test_a_duration(duration, seconds):
    assert cli.seconds(duration) == seconds


@pytest.mark.parametrize("duration", ["", "10", "m", "1.5h", "-1m", "10 m", "1w"])
def test_what_is_no_duration_is_refused(duration):
    with pytest.raises(SettingsError, match="not a duration"):
        cli.seconds(duration)


@pytest.mark.parametrize(
    ("code", "ours"), [(0, 0), (1, 1), (3, 3), (125, 125), (126, 1), (137, 1), (255, 1), (-15, 1)]
)
def test_a_programs_exit_code_is_orchs_up_to_125(code, ours):
    assert cli.exit_code(code) == ours


def test_tasks_stand_in_a_table_and_say_why_they_stopped():
    stopped = task(
        task_id="fedcba98765432100123456789abcdef",
        status="STOPPED",
        health="UNKNOWN",
        started_at="",
        private_ip="",
        started_by="orch/run/web",
        stop_code="EssentialContainerExited",
        stopped_reason="Essential container in task exited",
        containers=(ContainerStatus("app", "STOPPED", 137, "OutOfMemoryError: killed"),),
    )
    jobs = task(service="jobs", revision="demo-dev-jobs:2")
    assert text.tasks_lines([task(), stopped, jobs], now=NOW) == [
        "dev · web",
        "  task          revision         status   health   started               age         zone           address    started by",
        "  0123456789ab  demo-dev-web:7   RUNNING  HEALTHY  2026-01-02T10:56:00Z  1 h 05 min  eu-central-1a  10.0.0.12  ecs-svc/123",
        "  fedcba987654  demo-dev-web:7   STOPPED  -        -                     1 h 05 min  eu-central-1a  -          orch/run/web",
        "      EssentialContainerExited: Essential container in task exited",
        "      app: exit code 137, OutOfMemoryError: killed",
        "dev · jobs",
        "  task          revision         status   health   started               age         zone           address    started by",
        "  0123456789ab  demo-dev-jobs:2  RUNNING  HEALTHY  2026-01-02T10:56:00Z  1 h 05 min  eu-central-1a  10.0.0.12  ecs-svc/123",
    ]
    assert text.tasks_lines([], now=NOW) == ["No task runs."]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(5, "5 s"), (61, "1 min"), (3599, "59 min"), (3660, "1 h 01 min"), (172_800, "2 d"), (999_999, "11 d")],
)
def test_an_age_is_as_rough_as_one_asks_for(seconds, shown):
    assert text.age(seconds) == shown


def test_a_log_line_says_whose_it_is():
    assert text.log_line(LINE, with_time=False) == "0123456789ab/app  hello"
    assert text.log_line(LINE, with_time=True) == "2026-01-02T11:59:58.123Z 0123456789ab/app  hello"
    assert text.event_lines(LINE) == ["    app: hello"]
    assert '"type": "log_line"' in json_lines.line(LINE)


@pytest.mark.parametrize(
    ("logged", "shown"),
    [
        ("plain ünïcode 🎉\ttab", "plain ünïcode 🎉\ttab"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("over\rwritten", "over·written"),
        ("\x07bell \x9b2J", "·bell "),
        ("turned \u202eround", "turned ·round"),
    ],
)
def test_a_log_line_cannot_steer_the_terminal(logged, shown):
    assert text.log_text(logged) == shown


def test_progress_in_words():
    assert text.event_lines(TaskProgress("web", "0123456789abcdef", "PENDING")) == [
        "    task 0123456789ab of web: PENDING"
    ]
    assert text.event_lines(ScaleProgress("web", 1, 2, 3)) == ["    web: 1 of 3 running, 2 pending"]


def test_how_a_task_ended_and_what_to_do():
    run = TaskRun("dev", "web", "t1", "web:7", "app", 0, "", "", 61.0)
    assert text.task_run_lines(run) == ["✓ dev · web: exit code 0  1 min 01 s — task t1, web:7"]
    killed = TaskRun("dev", "web", "t1", "web:7", "app", 137, "", "", 1.0, "Raise `memory`.")
    assert text.task_run_lines(killed) == [
        "✗ dev · web: exit code 137  1.0 s — task t1, web:7",
        "  → Raise `memory`.",
    ]


def test_a_scaled_service_in_words():
    done = Scaled("dev", "web", 1, 3, 3, Verdict.SUCCEEDED, "3 tasks run")
    assert text.scaled_lines(done) == [
        "dev · web: SUCCEEDED",
        "  desired   1 → 3",
        "  tasks     3 of 3 running",
        "  why       3 tasks run",
    ]
    assert text.scaled_lines(Scaled("dev", "web", 1, 3, 1, None, "not waited"))[0] == "dev · web: asked for"


def service(name: str) -> ServiceContract:
    return ServiceContract(name, "", "main", name, "app", "", "", "", "", "", 1)


def test_the_only_service_need_not_be_named():
    one = Contract("1", "r", (service("web"),))
    assert contract.choose_one(one, "").name == "web"
    two = Contract("1", "r", (service("jobs"), service("web")))
    assert contract.choose_one(two, "web").name == "web"
    with pytest.raises(PreconditionError, match="several services") as caught:
        contract.choose_one(two, "")
    assert caught.value.hint == "name one: --service, one of: jobs, web"
    with pytest.raises(PreconditionError, match="there is no service `x`"):
        contract.choose_one(two, "x")


TOML = """
project = "demo"
region = "eu-central-1"
[services.web]
pre_deploy = {pre_deploy}
[environments.dev]
account_id = "111111111111"
"""


def loaded(folder, pre_deploy: str):
    (folder / "orch.toml").write_text(TOML.format(pre_deploy=pre_deploy))
    return settings.load(folder / "orch.toml").services["web"].pre_deploy


def test_the_pre_deploy_task_in_the_settings(tmp_path):
    found = loaded(tmp_path, '{ command = ["manage", "migrate"] }')
    assert (found.command, found.container, found.timeout_s) == (["manage", "migrate"], "", 900)


@pytest.mark.parametrize(
    ("pre_deploy", "problem"),
    [
        ("{ command = [] }", "command: list should have at least 1 item"),
        ('{ command = "manage migrate" }', "command: input should be a valid list"),
        ('{ command = ["a"], timeout_s = 0 }', "timeout_s: input should be greater than 0"),
        ('{ command = ["a"], retries = 3 }', "retries: unknown key"),
        ("{}", "command: is required"),
    ],
)
def test_a_wrong_pre_deploy_task_is_refused_by_its_key(tmp_path, pre_deploy, problem):
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, pre_deploy)
    assert len(caught.value.details) == 1
    assert f"services.web.pre_deploy.{problem}" in caught.value.details[0]
