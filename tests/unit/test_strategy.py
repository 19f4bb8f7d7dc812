"""Strategies: what UpdateService is sent, held to botocore's model, and how ECS's answers are read."""

from __future__ import annotations

import pytest

from orchestrator.ecs import strategy
from orchestrator.ecs.strategy import ROLLING, Strategy
from orchestrator.model import BlueGreen
from orchestrator.strategies import StrategySettings
from tests.unit.histories import MODEL, check_shape

CANARY = Strategy("CANARY", 20, 12.5, 5, ("POST_TEST_TRAFFIC_SHIFT",), 60, "CONTINUE")
LINEAR = Strategy("LINEAR", 1, 25.0, 6)
BLUE_GREEN = Strategy("BLUE_GREEN", 30)
LAMBDA = {
    "targetType": "AWS_LAMBDA",
    "hookTargetArn": "arn:aws:lambda:eu-central-1:111111111111:function:smoke",
    "roleArn": "arn:aws:iam::111111111111:role/smoke",
    "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"],
}
SERVICE = {
    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
    "alarms": {"alarmNames": ["errors"], "enable": True, "rollback": True},
    "maximumPercent": 150,
    "minimumHealthyPercent": 50,
    "strategy": "ROLLING",
}
TRAFFIC = BlueGreen("arn:tg/b", "arn:rule/1", None, "arn:role")
BALANCER = {"targetGroupArn": "arn:tg/a", "containerName": "web", "containerPort": 80}


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ({"type": "rolling"}, ROLLING),
        ({"type": "blue_green", "bake_time_minutes": 30}, BLUE_GREEN),
        (
            {"type": "linear", "step_percent": 25, "bake_time_minutes": 1},
            LINEAR,
        ),
        (
            {
                "type": "canary",
                "canary_percent": 12.5,
                "canary_bake_time_minutes": 5,
                "bake_time_minutes": 20,
                "pause_at": ["POST_TEST_TRAFFIC_SHIFT"],
                "pause_timeout_minutes": 60,
                "pause_timeout_action": "continue",
            },
            CANARY,
        ),
    ],
)
def test_a_table_of_orch_toml_becomes_a_strategy(table, found):
    assert strategy.wanted(StrategySettings(**table)) == found


@pytest.mark.parametrize(
    "one", [BLUE_GREEN, LINEAR, CANARY, Strategy("CANARY"), Strategy("LINEAR", None, 3.0, 0)]
)
def test_what_is_sent_is_what_ecs_then_has_and_keeps_the_rest(one):
    sent = strategy.configuration(one, {**SERVICE, "lifecycleHooks": [LAMBDA]})
    assert sent is not None
    check_shape(
        {"service": "web", "deploymentConfiguration": sent},
        MODEL.operation_model("UpdateService").input_shape,
    )
    assert strategy.of(sent) == one
    assert {key: sent[key] for key in SERVICE if key != "strategy"} == {
        key: value for key, value in SERVICE.items() if key != "strategy"
    }
    assert sent["lifecycleHooks"][0] == LAMBDA
    again = strategy.configuration(one, sent)
    assert again == sent


def test_the_parts_of_another_strategy_are_not_sent():
    sent = strategy.configuration(BLUE_GREEN, strategy.configuration(CANARY, SERVICE) or {})
    assert sent == {
        **SERVICE,
        "strategy": "BLUE_GREEN",
        "bakeTimeInMinutes": 30,
        "lifecycleHooks": [],
    }
    early = {**SERVICE, "earlySuccessCriteria": {"enable": True, "healthyPercent": 50}}
    assert "earlySuccessCriteria" not in (strategy.configuration(BLUE_GREEN, early) or {})


def test_a_rolling_service_that_shall_roll_is_left_alone():
    assert strategy.configuration(ROLLING, SERVICE) is None
    assert strategy.configuration(ROLLING, {}) is None


def test_back_to_rolling_takes_the_hooks_away():
    staged = strategy.configuration(CANARY, {**SERVICE, "lifecycleHooks": [LAMBDA]}) or {}
    assert strategy.configuration(ROLLING, staged) == {**SERVICE, "lifecycleHooks": []}


def test_a_way_back_waits_for_nothing():
    assert strategy.way_back(CANARY) == Strategy("BLUE_GREEN", 0)
    assert strategy.way_back(CANARY).bakes_s == 0
    assert strategy.way_back(ROLLING) == ROLLING


@pytest.mark.parametrize(
    ("one", "bakes_min"),
    [
        (ROLLING, 0),
        (BLUE_GREEN, 30),
        (CANARY, 25),
        (LINEAR, 1 + 3 * 6),
        (Strategy("LINEAR", 0, 30.0, 10), 30),
        (Strategy("LINEAR", 0, 0.1 + 3.2, 1), 30),
        (Strategy("CANARY", None, 100.0, 10), 0),
    ],
)
def test_no_step_bakes_once_all_traffic_has_shifted(one, bakes_min):
    assert one.bakes_s == bakes_min * 60


def test_load_balancers_are_sent_when_they_cannot_shift_traffic_yet():
    sent = strategy.load_balancers(CANARY, TRAFFIC, [BALANCER])
    assert sent == [
        {
            **BALANCER,
            "advancedConfiguration": {
                "alternateTargetGroupArn": "arn:tg/b",
                "productionListenerRule": "arn:rule/1",
                "roleArn": "arn:role",
            },
        }
    ]
    check_shape({"service": "web", "loadBalancers": sent}, MODEL.operation_model("UpdateService").input_shape)
    assert strategy.load_balancers(CANARY, TRAFFIC, sent) is None
    assert strategy.load_balancers(ROLLING, TRAFFIC, [BALANCER]) is None
    assert strategy.load_balancers(BLUE_GREEN, None, []) is None
    with_test = BlueGreen("arn:tg/b", "arn:rule/1", "arn:rule/2", "arn:role")
    (balancer,) = strategy.load_balancers(CANARY, with_test, sent) or []
    assert balancer["advancedConfiguration"]["testListenerRule"] == "arn:rule/2"


def test_a_strategy_in_words():
    assert str(CANARY) == "CANARY, 12.5% for 5 min, then a bake of 20 min, pauses at POST_TEST_TRAFFIC_SHIFT"
    assert str(LINEAR) == "LINEAR, 25% each 6 min, then a bake of 1 min"
    assert (str(BLUE_GREEN), str(ROLLING)) == ("BLUE_GREEN, then a bake of 30 min", "ROLLING")
