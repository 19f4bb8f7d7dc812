"""What a staged strategy needs, judged from facts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.ecs import facts as reading
from orchestrator.ecs.facts import Rule, Unread, service_of
from orchestrator.ecs.strategy import Strategy
from orchestrator.model import BlueGreen, Finding
from tests.unit.test_preflight import (
    ACCOUNT,
    ARN,
    CONTRACT,
    GOOD,
    TRUST,
    WISH,
    deployment,
    judge,
    service,
    state,
)

OWN, OTHER = (
    "arn:aws:elasticloadbalancing:r:1:targetgroup/web-a/1",
    "arn:aws:elasticloadbalancing:r:1:targetgroup/web-b/2",
)
RULE, TEST_RULE = ("arn:aws:elasticloadbalancing:r:1:listener-rule/app/demo/l/" + name for name in ("p", "t"))
ROLE = f"arn:aws:iam::{ACCOUNT}:role/orch/demo-dev/demo-dev-web-traffic"
BLUE_GREEN = BlueGreen(OTHER, RULE, TEST_RULE, ROLE)
BALANCER = {
    "targetGroupArn": OWN,
    "containerName": "web",
    "containerPort": 80,
    "advancedConfiguration": {"alternateTargetGroupArn": OTHER},
}
CANARY = Strategy("CANARY", 5, 10.0, 5)
ECS_TRUST = {
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ecs.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]
}
ALL = {
    "groups": {OTHER: True},
    "rules": {RULE: Rule((OWN, OTHER)), TEST_RULE: Rule((OWN, OTHER))},
    "roles": {**GOOD.roles, ROLE: ECS_TRUST},
}
CHECKS = ("strategy", "alternate-target-group", "production-rule", "test-rule", "infrastructure-role")


def checked(
    strategy: Strategy = CANARY,
    *,
    balancers: tuple = (BALANCER,),
    blue_green: BlueGreen | None = BLUE_GREEN,
    has_mesh: bool = False,
    first: bool = False,
    configuration: dict | None = None,
    **facts,
) -> dict[str, Finding]:
    wish = replace(
        WISH,
        contract=replace(CONTRACT, blue_green=blue_green),
        strategy=strategy,
        desired_count=2 if first else None,
    )
    now = state(deployment(), load_balancers=balancers, configuration=configuration or {"strategy": "CANARY"})
    one = service(state=now, has_mesh=has_mesh)
    found = judge(wish, services={"web": one}, **{**ALL, **facts})
    return {key: value for key, value in found.items() if key in CHECKS}


def test_everything_that_a_canary_needs():
    found = checked()
    assert {key: str(one.outcome) for key, one in found.items()} == dict.fromkeys(CHECKS, "OK")
    assert found["strategy"].detail == "CANARY, 10% for 5 min, then a bake of 5 min"
    assert found["production-rule"].detail == "forwards to web-a/1 and web-b/2"
    assert found["infrastructure-role"].detail == "demo-dev-web-traffic, lets ECS in"


def test_a_rolling_strategy_needs_nothing_and_a_change_is_named():
    found = checked(Strategy())
    assert {key: (str(one.outcome), one.detail) for key, one in found.items()} == {
        "strategy": ("OK", "ROLLING; so far CANARY")
    }
    assert checked(configuration={"strategy": "LINEAR"})["strategy"].detail.endswith("; so far LINEAR")
    assert checked(first=True)["strategy"].detail.endswith("; the first rollout of all rolls")


@pytest.mark.parametrize(
    ("options", "outcome", "detail", "hint"),
    [
        ({"balancers": (), "blue_green": None}, "FAIL", "no traffic to shift", "load_balancer in Terraform"),
        ({"balancers": (), "blue_green": None, "has_mesh": True}, "OK", "CANARY", ""),
        (
            {"balancers": (), "blue_green": None, "strategy": Strategy("BLUE_GREEN", 5)},
            "OK",
            "no traffic is shifted",
            "",
        ),
        ({"blue_green": None}, "FAIL", "names nothing", "blue_green in the service's load_balancer"),
        ({"balancers": (BALANCER, BALANCER)}, "FAIL", "2 target groups", "one load balancer"),
        ({"strategy": replace(CANARY, bake_minutes=0)}, "WARN", "no bake time", "bake_time_minutes"),
        ({"strategy": replace(CANARY, bake_minutes=None)}, "WARN", "no bake time", "bake_time_minutes"),
        (
            {"balancers": ({key: BALANCER[key] for key in ("targetGroupArn", "containerName")},)},
            "WARN",
            "does not know yet",
            "this rollout tells it",
        ),
    ],
)
def test_what_the_strategy_itself_needs(options, outcome, detail, hint):
    found = checked(**options)["strategy"]
    assert found.outcome == outcome
    assert detail in found.detail
    assert hint in found.hint
    assert bool(found.hint) == (outcome in {"FAIL", "WARN"})


@pytest.mark.parametrize(
    ("check", "facts", "outcome", "said"),
    [
        ("alternate-target-group", {"groups": {OTHER: False}}, "FAIL", "there is no web-b/2"),
        ("alternate-target-group", {"groups": {OTHER: Unread("denied")}}, "SKIP", "denied"),
        (
            "alternate-target-group",
            {"balancers": ({**BALANCER, "targetGroupArn": OTHER},)},
            "FAIL",
            "has already",
        ),
        (
            "production-rule",
            {"rules": {RULE: None, TEST_RULE: Rule((OWN, OTHER))}},
            "FAIL",
            "there is no app/demo/l/p",
        ),
        ("production-rule", {"rules": {RULE: Unread("denied"), TEST_RULE: Rule((OWN,))}}, "SKIP", "denied"),
        (
            "production-rule",
            {"rules": {RULE: Rule((OWN,)), TEST_RULE: Rule((OWN,))}},
            "FAIL",
            "does not forward to web-b/2",
        ),
        (
            "production-rule",
            {"rules": {RULE: Rule((OWN,)), TEST_RULE: Rule((OTHER,))}},
            "OK",
            "forwards to web-a/1",
        ),
        (
            "production-rule",
            {"rules": {RULE: Rule((OWN, OTHER), ("redirect",)), TEST_RULE: Rule((OWN, OTHER))}},
            "FAIL",
            "other actions than forward: redirect",
        ),
        ("test-rule", {"rules": {RULE: Rule((OWN, OTHER)), TEST_RULE: None}}, "FAIL", "there is no"),
        (
            "test-rule",
            {"blue_green": replace(BLUE_GREEN, test_listener_rule_arn=RULE)},
            "FAIL",
            "production rule",
        ),
        ("infrastructure-role", {"roles": {**GOOD.roles, ROLE: None}}, "FAIL", "IAM has no"),
        (
            "infrastructure-role",
            {"roles": {**GOOD.roles, ROLE: TRUST}},
            "FAIL",
            "does not let ecs.amazonaws.com in",
        ),
        ("infrastructure-role", {"roles": {**GOOD.roles, ROLE: Unread("denied")}}, "SKIP", "denied"),
    ],
)
def test_each_thing_that_traffic_is_shifted_with(check, facts, outcome, said):
    found = checked(**facts)[check]
    assert found.outcome == outcome
    assert said in found.detail
    assert bool(found.hint) == (outcome == "FAIL")


def test_without_a_listener_for_tests_nothing_is_asked_of_one():
    assert "test-rule" not in checked(blue_green=replace(BLUE_GREEN, test_listener_rule_arn=None))


def test_another_controller_is_told_of_and_nothing_of_strategies():
    found = judge(replace(WISH, strategy=CANARY), services={"web": service(controller="CODE_DEPLOY")})
    assert found["controller"].outcome == "FAIL"
    assert "strategy" not in found


def test_service_connect_is_read_from_the_primary_deployment():
    data = {"taskDefinition": f"{ARN}:7", "desiredCount": 2, "runningCount": 2, "status": "ACTIVE"}
    primary = {"id": "ecs-svc/1", "status": "PRIMARY", "taskDefinition": f"{ARN}:7"}
    assert not service_of(data | {"deployments": [primary]}).has_mesh
    connected = primary | {"serviceConnectConfiguration": {"enabled": True}}
    assert service_of(data | {"deployments": [connected]}).has_mesh
    assert not service_of(data | {"deployments": [primary, {**connected, "status": "ACTIVE"}]}).has_mesh


class Elbv2:
    """Answers of Elastic Load Balancing as they are in its documentation."""

    def describe_rules(self, RuleArns):  # noqa: N803 - boto3's name
        forward = {
            "TargetGroups": [{"TargetGroupArn": OWN, "Weight": 100}, {"TargetGroupArn": OTHER, "Weight": 0}]
        }
        return {
            "Rules": [{"RuleArn": RuleArns[0], "Actions": [{"Type": "forward", "ForwardConfig": forward}]}]
        }

    def describe_listeners(self, ListenerArns):  # noqa: N803 - boto3's name
        actions = [{"Type": "forward", "TargetGroupArn": OWN}, {"Type": "redirect"}]
        return {"Listeners": [{"ListenerArn": ListenerArns[0], "DefaultActions": actions}]}


def test_a_rule_of_either_kind_of_load_balancer_is_read():
    assert reading.read_rule(Elbv2(), RULE) == Rule((OWN, OTHER))
    listener = "arn:aws:elasticloadbalancing:r:1:listener/net/demo/l"
    assert reading.read_rule(Elbv2(), listener) == Rule((OWN,), ("redirect",))
