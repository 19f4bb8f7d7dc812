"""BLUE_GREEN and CANARY through boto3, on a clock that the test moves: what the ECS API shows of them, stage by stage."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.contract.sandbox_fixtures import Cloud

pytest_plugins = ("tests.contract.sandbox_fixtures",)

PAUSED = {"targetType": "PAUSE", "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"]}
BLUE_GREEN: dict[str, Any] = {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 5}
CANARY: dict[str, Any] = {
    "strategy": "CANARY",
    "canaryConfiguration": {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 10},
    "bakeTimeInMinutes": 5,
}


def current(cloud: Cloud) -> dict[str, Any]:
    return cloud.service_deployments()[0]


def until(cloud: Cloud, stage: str) -> dict[str, Any]:
    for _ in range(10):
        found = current(cloud)
        if found.get("lifecycleStage") == stage:
            return found
        cloud.advance(1)
    raise AssertionError(f"never reached {stage}")


def weights(revision: dict[str, Any]) -> tuple[float, float]:
    return revision["requestedTestTrafficWeight"], revision["requestedProductionTrafficWeight"]


def test_a_paused_blue_green_deployment_is_continued_and_succeeds(cloud: Cloud) -> None:
    blue = cloud.create_steady_service()
    service = cloud.update_service(
        taskDefinition=cloud.register(), deploymentConfiguration=BLUE_GREEN | {"lifecycleHooks": [PAUSED]}
    )
    green_id = service["deployments"][0]["id"]
    found = until(cloud, "POST_TEST_TRAFFIC_SHIFT")
    assert found["targetServiceRevision"]["arn"].rsplit("/", 1)[-1] == green_id.removeprefix("ecs-svc/")
    (source,) = found["sourceServiceRevisions"]
    assert (weights(found["targetServiceRevision"]), weights(source)) == ((100, 0), (0, 100))
    assert (found["targetServiceRevision"]["runningTaskCount"], source["runningTaskCount"]) == (2, 2)
    (hook,) = found["lifecycleHookDetails"]
    assert (hook["targetType"], hook["status"], hook["timeoutAction"]) == (
        "PAUSE",
        "AWAITING_ACTION",
        "ROLLBACK",
    )
    assert hook["expiresAt"] - found["updatedAt"] == timedelta(days=1)
    listed = [(d["status"], d["rolloutState"], d["desiredCount"]) for d in cloud.service()["deployments"]]
    assert listed == [("PRIMARY", "IN_PROGRESS", 2), ("ACTIVE", "COMPLETED", 2)]

    cloud.ecs.continue_service_deployment(
        serviceDeploymentArn=found["serviceDeploymentArn"], hookId=hook["hookId"], action="CONTINUE"
    )
    baking = until(cloud, "BAKE_TIME")
    assert weights(baking["targetServiceRevision"]) == (100, 100)
    assert baking["lifecycleHookDetails"][0]["status"] == "SUCCEEDED"
    cloud.advance(310)
    assert (current(cloud)["status"], current(cloud)["lifecycleStage"]) == ("SUCCESSFUL", "CLEAN_UP")
    (left,) = cloud.service()["deployments"]
    assert (left["id"], left["rolloutState"], left["taskDefinition"]) == (
        green_id,
        "COMPLETED",
        service["taskDefinition"],
    )
    assert service["taskDefinition"] != blue


def test_a_canary_stopped_while_it_bakes_gives_all_traffic_back(cloud: Cloud) -> None:
    blue = cloud.create_steady_service()
    blue_id = cloud.primary()["id"]
    cloud.update_service(taskDefinition=cloud.register(), deploymentConfiguration=CANARY)
    until(cloud, "PRODUCTION_TRAFFIC_SHIFT")
    cloud.advance(300)
    found = current(cloud)
    assert (weights(found["targetServiceRevision"]), weights(found["sourceServiceRevisions"][0])) == (
        (100, 10),
        (0, 90),
    )
    cloud.ecs.stop_service_deployment(serviceDeploymentArn=found["serviceDeploymentArn"], stopType="ROLLBACK")
    cloud.advance(10)
    ended = current(cloud)
    assert (ended["status"], ended["rollback"]["serviceRevisionArn"]) == (
        "ROLLBACK_SUCCESSFUL",
        found["sourceServiceRevisions"][0]["arn"],
    )
    assert weights(ended["sourceServiceRevisions"][0]) == (100, 100)
    assert (cloud.primary()["id"], cloud.primary()["taskDefinition"]) == (blue_id, blue)


def test_an_alarm_rolls_a_canary_back_and_says_which(cloud: Cloud) -> None:
    cloud.create_steady_service()
    cloudwatch = cloud.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="errors",
        Namespace="Shop",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    alarms = {"alarmNames": ["errors"], "enable": True, "rollback": True}
    cloud.update_service(taskDefinition=cloud.register(), deploymentConfiguration=CANARY | {"alarms": alarms})
    assert until(cloud, "PRODUCTION_TRAFFIC_SHIFT")["alarms"]["status"] == "MONITORING"
    cloudwatch.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="too many")
    found = current(cloud)
    assert (found["status"], found["alarms"]) == (
        "ROLLBACK_IN_PROGRESS",
        {"status": "TRIGGERED", "alarmNames": ["errors"], "triggeredAlarmNames": ["errors"]},
    )
    cloud.advance(10)
    assert current(cloud)["status"] == "ROLLBACK_SUCCESSFUL"
    assert any("deployment failed: alarm detected." in message for message in cloud.messages())


def test_what_continue_service_deployment_refuses(cloud: Cloud) -> None:
    cloud.create_steady_service()
    cloud.update_service(
        forceNewDeployment=True, deploymentConfiguration=BLUE_GREEN | {"lifecycleHooks": [PAUSED]}
    )
    found = until(cloud, "POST_TEST_TRAFFIC_SHIFT")
    arn, hook_id = found["serviceDeploymentArn"], found["lifecycleHookDetails"][0]["hookId"]

    def code(**parameters: Any) -> str:
        with pytest.raises(ClientError) as refused:
            cloud.ecs.continue_service_deployment(**parameters)
        return str(refused.value.response["Error"]["Code"])

    assert code(serviceDeploymentArn=arn + "x", hookId=hook_id) == "ServiceDeploymentNotFoundException"
    assert code(serviceDeploymentArn=arn, hookId="ecs-pause-x") == "InvalidParameterException"
    cloud.ecs.continue_service_deployment(serviceDeploymentArn=arn, hookId=hook_id, action="ROLLBACK")
    assert code(serviceDeploymentArn=arn, hookId=hook_id) == "InvalidParameterException"
    cloud.advance(10)
    assert current(cloud)["status"] == "ROLLBACK_SUCCESSFUL"


def test_an_invalid_strategy_changes_nothing(cloud: Cloud) -> None:
    cloud.create_steady_service()
    with pytest.raises(ClientError, match="bakeTimeInMinutes is required") as refused:
        cloud.update_service(forceNewDeployment=True, deploymentConfiguration={"strategy": "BLUE_GREEN"})
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    assert cloud.service()["deploymentConfiguration"]["strategy"] == "ROLLING"
    assert len(cloud.service_deployments()) == 1


def test_the_listener_rules_and_target_groups_follow_the_stages(cloud: Cloud) -> None:
    ec2, elbv2 = cloud.client("ec2"), cloud.client("elbv2")
    subnets = ec2.describe_subnets()["Subnets"][:2]
    names = [subnet["SubnetId"] for subnet in subnets]
    balancer = elbv2.create_load_balancer(Name="web", Subnets=names)["LoadBalancers"][0]["LoadBalancerArn"]
    blue, green = (
        elbv2.create_target_group(
            Name=name, Protocol="HTTP", Port=80, VpcId=subnets[0]["VpcId"], TargetType="ip"
        )["TargetGroups"][0]["TargetGroupArn"]
        for name in ("blue", "green")
    )
    listener = elbv2.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": blue}],
    )["Listeners"][0]["ListenerArn"]
    forward = [{"TargetGroupArn": blue, "Weight": 100}, {"TargetGroupArn": green, "Weight": 0}]
    production, test = (
        elbv2.create_rule(
            ListenerArn=listener,
            Priority=priority,
            Conditions=[{"Field": "path-pattern", "Values": [path]}],
            Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": forward}}],
        )["Rules"][0]["RuleArn"]
        for priority, path in ((1, "/*"), (2, "/test/*"))
    )

    def rule_weights(arn: str) -> dict[str, int]:
        (action,) = elbv2.describe_rules(RuleArns=[arn])["Rules"][0]["Actions"]
        groups = action["ForwardConfig"]["TargetGroups"]
        return {{blue: "blue", green: "green"}[one["TargetGroupArn"]]: one["Weight"] for one in groups}

    def healthy(group: str) -> int:
        described = elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return [one["TargetHealth"]["State"] for one in described].count("healthy")

    advanced = {
        "alternateTargetGroupArn": green,
        "productionListenerRule": production,
        "testListenerRule": test,
        "roleArn": "arn:aws:iam::111111111111:role/ecs",
    }
    one = {
        "targetGroupArn": blue,
        "containerName": "app",
        "containerPort": 80,
        "advancedConfiguration": advanced,
    }
    awsvpc = {"container": {"portMappings": [{"containerPort": 80}]}, "networkMode": "awsvpc"}
    cloud.create_service(
        cloud.register(**awsvpc),
        loadBalancers=[one],
        networkConfiguration={"awsvpcConfiguration": {"subnets": names}},
    )
    cloud.advance(30)
    assert (healthy(blue), healthy(green)) == (2, 0)
    cloud.update_service(taskDefinition=cloud.register(**awsvpc), deploymentConfiguration=CANARY)
    until(cloud, "PRODUCTION_TRAFFIC_SHIFT")
    assert (rule_weights(production), rule_weights(test)) == (
        {"green": 10, "blue": 90},
        {"green": 100, "blue": 0},
    )
    assert (healthy(blue), healthy(green)) == (2, 2)
    cloud.advance(20 * 60)
    assert (current(cloud)["status"], rule_weights(production)) == ("SUCCESSFUL", {"green": 100, "blue": 0})
    assert (healthy(blue), healthy(green)) == (0, 2)

    cloud.update_service(taskDefinition=cloud.register(**awsvpc))
    until(cloud, "PRODUCTION_TRAFFIC_SHIFT")
    assert rule_weights(production) == {"green": 90, "blue": 10}
    cloud.ecs.stop_service_deployment(serviceDeploymentArn=current(cloud)["serviceDeploymentArn"])
    cloud.advance(10)
    assert (current(cloud)["status"], rule_weights(production)) == (
        "ROLLBACK_SUCCESSFUL",
        {"green": 100, "blue": 0},
    )
    assert (healthy(blue), healthy(green)) == (0, 2)
