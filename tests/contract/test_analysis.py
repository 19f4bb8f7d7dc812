"""Analyses on the sandbox: metrics are put and read in its time, and a staged rollout stands or falls with them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.aws import Aws
from orchestrator.ecs import metrics
from orchestrator.ecs.analysis import Question
from orchestrator.sandbox import control
from orchestrator.settings_analysis import AnalysisSettings

pytest_plugins = ("tests.contract.sandbox_fixtures",)
ACCOUNT, REGION = "111111111111", "eu-central-1"
NAMESPACE = "AWS/ApplicationELB"


def session(cloud, folder) -> Aws:
    environ = control.aws_environment(cloud.sandbox, account_id=ACCOUNT, region=REGION)
    return Aws(REGION, {"HOME": str(folder), **environ})


def rate(**changes) -> AnalysisSettings:
    dimensions = {"TargetGroup": "$TARGET_GROUP", "LoadBalancer": "$LOAD_BALANCER"}
    query = {"namespace": NAMESPACE, "statistic": "Sum", "dimensions": dimensions}
    return AnalysisSettings.model_validate(
        {
            "name": "errors",
            "expression": "100 * FILL(errors, 0) / requests",
            "success": "value < 1",
            "queries": {
                "errors": {**query, "metric": "HTTPCode_Target_5XX_Count"},
                "requests": {**query, "metric": "RequestCount"},
            },
            **changes,
        }
    )


def put(cloud, texts: dict[str, str], at: float, *, requests: float, errors: float = 0.0) -> None:
    """What an Application Load Balancer publishes of one minute of a target group: no error count without errors."""
    dimensions = [
        {"Name": "TargetGroup", "Value": texts["TARGET_GROUP"]},
        {"Name": "LoadBalancer", "Value": texts["LOAD_BALANCER"]},
    ]
    said = {"RequestCount": requests} | ({"HTTPCode_Target_5XX_Count": errors} if errors else {})
    cloud.client("cloudwatch").put_metric_data(
        Namespace=NAMESPACE,
        MetricData=[
            {
                "MetricName": name,
                "Value": value,
                "Dimensions": dimensions,
                "Timestamp": datetime.fromtimestamp(at, UTC),
            }
            for name, value in said.items()
        ],
    )


GREEN = {"TARGET_GROUP": "targetgroup/green/2", "LOAD_BALANCER": "app/shop/3"}
BLUE = {**GREEN, "TARGET_GROUP": "targetgroup/blue/1"}


def test_time_is_awss_by_its_last_answer(cloud, tmp_path):
    aws = session(cloud, tmp_path)
    assert abs(aws.now() - time.time()) < 1
    cloud.advance(timedelta(days=3).total_seconds())
    aws.ecs.list_clusters()
    assert aws.now() == pytest.approx(control.control(cloud.sandbox, "POST", "clock", {})["now"], abs=2)


def test_several_questions_are_one_call_and_each_gets_its_own_minute_and_target_group(cloud, tmp_path):
    aws = session(cloud, tmp_path)
    cloud.advance(3600)
    aws.ecs.list_clusters()
    minute = int(aws.now() // 60) * 60
    for number, errors in enumerate((0, 5, 10)):
        put(cloud, GREEN, minute + 60 * number, requests=100, errors=errors)
        put(cloud, BLUE, minute + 60 * number, requests=200, errors=errors)
    cloud.advance(180)
    ends = [minute + 60, minute + 120, minute + 180, minute + 240]
    questions = [Question(rate(), end, GREEN) for end in ends] + [Question(rate(), ends[1], BLUE)]
    before = len(cloud.calls())
    assert metrics.read(aws.cloudwatch_once, questions) == [(0.0,), (5.0,), (10.0,), (), (2.5,)]
    assert [call["operation"] for call in cloud.calls()[before:]] == ["GetMetricData"]


def test_a_question_that_is_refused_leaves_the_others_their_answers(cloud, tmp_path):
    aws = session(cloud, tmp_path)
    cloud.advance(3600)
    aws.ecs.list_clusters()
    minute = int(aws.now() // 60) * 60
    put(cloud, GREEN, minute, requests=100, errors=3)
    cloud.advance(60)
    bad = rate(name="bad", expression="errors +* requests")
    (good, refused) = metrics.read(
        aws.cloudwatch_once, [Question(rate(), minute + 60, GREEN), Question(bad, minute + 60, GREEN)]
    )
    assert good == (3.0,)
    assert isinstance(refused, str)
    assert "cloudwatch:GetMetricData failed: ValidationError" in refused
