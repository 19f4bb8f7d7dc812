"""Scenarios in a running sandbox: set through the control API, or by the command, and lived by ECS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from orchestrator.errors import SandboxError
from orchestrator.sandbox import control

if TYPE_CHECKING:
    from tests.contract.sandbox_fixtures import Cloud

pytest_plugins = ("tests.contract.sandbox_fixtures",)


def set_it(cloud: Cloud, behaviour: str, **more: Any) -> Any:
    return control.set_scenario(cloud.sandbox, "web", behaviour, **more)


def run(cloud: Cloud, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(Path(sys.executable).with_name("orch")), "sandbox", *words]
    environ = os.environ | {"ORCH_SANDBOX_DIR": str(cloud.sandbox.log_path.parent)}
    return subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=30)


def test_the_next_deployment_crashes_and_its_rollback_does_not(cloud: Cloud) -> None:
    good = cloud.create_steady_service()
    done = set_it(cloud, "crash")
    assert (done.service, done.cluster, done.applies_to) == (
        "web",
        "main",
        "every task of the next deployment",
    )
    cloud.update_service(taskDefinition=cloud.register())
    cloud.advance(300)
    (newest, *_) = cloud.service_deployments()
    assert newest["status"] == "ROLLBACK_SUCCESSFUL"
    assert cloud.primary()["taskDefinition"] == good
    assert {
        task["containers"][0]["exitCode"]
        for task in cloud.tasks("STOPPED")
        if task["stopCode"] == "EssentialContainerExited"
    } == {1}
    assert control.clear_scenarios(cloud.sandbox) == 1
    assert control.scenarios(cloud.sandbox) == ()


def test_so_many_starts_fail_and_the_rollout_succeeds(cloud: Cloud) -> None:
    cloud.create_steady_service()
    set_it(cloud, "cannot-pull", times=2)
    cloud.update_service(forceNewDeployment=True)
    cloud.advance(120)
    assert cloud.service_deployments()[0]["status"] == "SUCCESSFUL"
    failed = [t for t in cloud.tasks("STOPPED") if t["stopCode"] == "TaskFailedToStart"]
    assert len(failed) == 2


def test_what_happens_to_a_service_at_once(cloud: Cloud) -> None:
    cloud.create_steady_service()
    first = cloud.primary()["id"]
    set_it(cloud, "task-dies")
    cloud.advance(0.1)
    assert cloud.service()["runningCount"] == 1
    cloud.advance(10)
    assert (cloud.service()["runningCount"], cloud.primary()["id"]) == (2, first)
    set_it(cloud, "scale:3")
    set_it(cloud, "superseded")
    assert (cloud.service()["desiredCount"], cloud.primary()["id"] != first) == (3, True)
    with pytest.raises(SandboxError, match="names no deployment alarms"):
        set_it(cloud, "alarm")
    set_it(cloud, "deleted")
    cloud.advance(10)
    assert cloud.service()["status"] == "INACTIVE"
    with pytest.raises(SandboxError, match="no ECS service web"):
        set_it(cloud, "crash")


def test_an_alarm_is_set_off_and_cleared_again(cloud: Cloud) -> None:
    cloud.create_steady_service()
    cloudwatch = cloud.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="errors",
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold",
        Namespace="Shop",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        Threshold=1,
    )
    alarms = {"alarmNames": ["errors"], "enable": True, "rollback": True}
    cloud.update_service(forceNewDeployment=True, deploymentConfiguration={"alarms": alarms})
    cloud.advance(5)
    assert set_it(cloud, "alarm").applies_to == "alarms in ALARM: errors"
    assert cloud.service_deployments()[0]["status"] == "ROLLBACK_IN_PROGRESS"
    assert control.clear_scenarios(cloud.sandbox, "web") == 1
    assert cloudwatch.describe_alarms(AlarmNames=["errors"])["MetricAlarms"][0]["StateValue"] == "OK"


def test_disturbances_spoil_calls_until_they_are_cleared(cloud: Cloud) -> None:
    cloud.create_steady_service()
    set_it(cloud, "api-missing")
    with pytest.raises(ClientError, match="UnknownOperationException"):
        cloud.ecs.list_service_deployments(cluster="main", service="web")
    assert cloud.service()["status"] == "ACTIVE"
    set_it(cloud, "throttle:100%")
    with pytest.raises(ClientError, match="ThrottlingException"):
        cloud.service()
    assert control.clear_scenarios(cloud.sandbox, "main/web") == 2
    assert cloud.service_deployments()


def test_a_canary_of_twenty_minutes_is_told_in_a_moment(cloud: Cloud) -> None:
    cloud.create_steady_service()
    canary = {"canaryPercent": 5.0, "canaryBakeTimeInMinutes": 10}
    configuration = {"strategy": "CANARY", "canaryConfiguration": canary, "bakeTimeInMinutes": 10}
    cloud.update_service(forceNewDeployment=True, deploymentConfiguration=configuration)
    began = time.monotonic()
    cloud.advance(20.5 * 60)
    assert cloud.service_deployments()[0]["status"] == "SUCCESSFUL"
    assert time.monotonic() - began < 2


def test_the_command_finds_a_service_by_its_environment_and_puts_metrics(
    cloud: Cloud, tmp_path: Path
) -> None:
    cloud.create_steady_service()
    text = 'project = "demo"\nregion = "eu-central-1"\n\n[services.web]\n'
    text += (
        '[environments.dev]\naccount_id = "111111111111"\n[environments.prod]\naccount_id = "222222222222"\n'
    )
    (tmp_path / "orch.toml").write_text(text)
    there = run(cloud, "scenario", "set", "web", "oom", "--env", "dev", "--project", str(tmp_path))
    assert there.stdout.startswith("main/web (111111111111 eu-central-1): oom")
    elsewhere = run(cloud, "scenario", "set", "web", "oom", "--env", "prod", "--project", str(tmp_path))
    assert elsewhere.returncode == 1
    assert "the sandbox has no ECS service web in 222222222222 eu-central-1" in elsewhere.stderr
    words = [
        "Shop",
        "Errors",
        "1",
        "-2.5",
        "--dimension",
        "Service=web",
        "--every",
        "5m",
        "--project",
        str(tmp_path),
    ]
    done = run(cloud, "scenario", "metric", *words, "--env", "dev")
    assert done.stdout.startswith("2 values of Shop Errors, until "), done.stderr
    cloud.advance(301)
    now = datetime.fromtimestamp(control.control(cloud.sandbox, "GET", "clock")["now"], UTC)
    metric = {
        "Namespace": "Shop",
        "MetricName": "Errors",
        "Dimensions": [{"Name": "Service", "Value": "web"}],
    }
    answer = cloud.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "e", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
    )
    assert answer["MetricDataResults"][0]["Values"] == [-2.5, 1]


def test_the_command_sets_shows_and_explains(cloud: Cloud) -> None:
    cloud.create_steady_service()
    done = run(cloud, "scenario", "set", "main/web", "exit", "3", "--times", "2", "--output", "json")
    assert json.loads(done.stdout) == {
        "type": "scenario_set",
        "service": "web",
        "cluster": "main",
        "account_id": "111111111111",
        "region": "eu-central-1",
        "behaviour": "exit:3",
        "applies_to": "the next 2 task starts",
    }
    shown = run(cloud, "scenario", "show")
    assert shown.stdout == "main/web (111111111111 eu-central-1): exit:3, the next 2 task starts\n"
    wrong = run(cloud, "scenario", "set", "wev", "crash")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "no ECS service wev" in wrong.stderr
    assert "did you mean web?" in wrong.stderr
    moved = run(cloud, "clock", "advance", "20m", "-o", "json")
    assert json.loads(moved.stdout)["is_frozen"] is True
