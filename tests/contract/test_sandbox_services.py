"""ECS services on the sandbox, asked by boto3: deployments, service deployments, events, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.contract.sandbox_fixtures import Cloud

pytest_plugins = ("tests.contract.sandbox_fixtures",)

LONG = 120.0
PENDING = 0.1  # of a task's two seconds
START = 2.0
SETTLE = 0.5


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    code: str = error.value.response["Error"]["Code"]
    return code


def test_a_service_reaches_its_desired_count(cloud: Cloud) -> None:
    good = cloud.register()
    made = cloud.create_service(good, desired=2)
    assert (made["status"], made["desiredCount"], made["runningCount"]) == ("ACTIVE", 2, 0)
    first = made["deployments"][0]
    assert first["id"].startswith("ecs-svc/")
    assert (first["rolloutState"], first["taskDefinition"]) == ("IN_PROGRESS", good)
    assert first["rolloutStateReason"] == f"ECS deployment {first['id']} in progress."
    assert cloud.service_deployments()[0]["status"] == "PENDING"
    cloud.advance(PENDING)
    assert cloud.service()["pendingCount"] == 2
    cloud.advance(START)
    assert (cloud.service()["runningCount"], cloud.service()["pendingCount"]) == (2, 0)
    assert cloud.primary()["rolloutState"] == "IN_PROGRESS"
    cloud.advance(SETTLE)
    done = cloud.primary()
    assert (done["id"], done["rolloutState"]) == (first["id"], "COMPLETED")
    assert done["rolloutStateReason"] == f"ECS deployment {first['id']} completed."
    assert {task["startedBy"] for task in cloud.tasks()} == {first["id"]}
    assert {task["group"] for task in cloud.tasks()} == {"service:web"}
    assert {task["lastStatus"] for task in cloud.tasks()} == {"RUNNING"}
    messages = cloud.messages()
    assert messages[0] == "(service web) has reached a steady state."
    assert messages[-1].startswith("(service web) has started 2 tasks: (task ")


def test_update_service_is_a_new_deployment_with_a_new_revision(cloud: Cloud) -> None:
    old = cloud.create_steady_service()
    before = cloud.service()
    new = cloud.register(image="registry.example/app@sha256:" + "a" * 64)
    updated = cloud.update_service(taskDefinition=new)
    assert [(d["status"], d["taskDefinition"]) for d in updated["deployments"]] == [
        ("PRIMARY", new),
        ("ACTIVE", old),
    ]
    assert updated["taskDefinition"] == new
    cloud.advance(PENDING)
    during = cloud.service()
    assert during["currentServiceDeployment"] != before["currentServiceDeployment"]
    current = cloud.service_deployments()[0]
    assert current["serviceDeploymentArn"] == during["currentServiceDeployment"]
    assert current["status"] == "IN_PROGRESS"
    assert current["targetServiceRevision"]["requestedTaskCount"] == 2
    assert current["targetServiceRevision"]["pendingTaskCount"] == 2
    assert [source["runningTaskCount"] for source in current["sourceServiceRevisions"]] == [2]
    assert current["deploymentCircuitBreaker"] == {"status": "MONITORING", "failureCount": 0, "threshold": 3}
    cloud.advance(LONG)
    after = cloud.service()
    assert [(d["status"], d["rolloutState"]) for d in after["deployments"]] == [("PRIMARY", "COMPLETED")]
    done = cloud.service_deployments()[0]
    assert done["status"] == "SUCCESSFUL"
    assert done["startedAt"] < done["finishedAt"]
    assert done["targetServiceRevision"]["runningTaskCount"] == 2
    assert done["deploymentCircuitBreaker"]["status"] == "MONITORING_COMPLETE"
    revision_arn = done["targetServiceRevision"]["arn"]
    assert after["currentServiceRevisions"] == [
        {"arn": revision_arn, "requestedTaskCount": 2, "runningTaskCount": 2, "pendingTaskCount": 0}
    ]
    revision = cloud.ecs.describe_service_revisions(serviceRevisionArns=[revision_arn])["serviceRevisions"][0]
    assert revision["taskDefinition"] == new
    assert revision["containerImages"][0]["imageDigest"] == "sha256:" + "a" * 64


def test_list_service_deployments_filters_by_status_and_time(cloud: Cloud) -> None:
    cloud.create_steady_service()
    cloud.update_service(taskDefinition=cloud.register())

    def listed(**filters: object) -> list[str]:
        answer = cloud.ecs.list_service_deployments(cluster="main", service="web", **filters)
        return [brief["status"] for brief in answer["serviceDeployments"]]

    assert listed() == ["PENDING", "SUCCESSFUL"]
    assert listed(status=["SUCCESSFUL", "STOPPED"]) == ["SUCCESSFUL"]
    newest = cloud.service_deployments()[0]["createdAt"]
    assert listed(createdAt={"after": newest}) == ["PENDING"]
    assert listed(maxResults=1) == ["PENDING"]


def test_the_breaker_rolls_back_and_the_failed_deployment_leaves_the_list(cloud: Cloud) -> None:
    good = cloud.create_steady_service()
    bad = cloud.update_service(taskDefinition=cloud.register(behaviour="crash"))["deployments"][0]["id"]
    failed_tasks = []
    while cloud.primary()["id"] == bad:
        failed_tasks.append(cloud.primary()["failedTasks"])
        cloud.advance(0.25)
    assert max(failed_tasks) == 2
    during = cloud.service()
    assert during["taskDefinition"] == good
    states = {d["id"]: (d["status"], d["rolloutState"], d["failedTasks"]) for d in during["deployments"]}
    # Two tasks start together, so the third failure comes with the fourth.
    assert states[bad][:2] == ("ACTIVE", "FAILED")
    assert during["deployments"][0]["rolloutStateReason"].startswith(
        "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/"
    )
    current = cloud.service_deployments()[0]
    assert current["status"] == "ROLLBACK_IN_PROGRESS"
    assert current["deploymentCircuitBreaker"]["status"] == "TRIGGERED"
    assert (
        current["deploymentCircuitBreaker"]["failureCount"]
        >= current["deploymentCircuitBreaker"]["threshold"]
    )
    cloud.advance(LONG)
    after = cloud.service()
    assert [(d["status"], d["taskDefinition"]) for d in after["deployments"]] == [("PRIMARY", good)]
    assert after["runningCount"] == 2
    done = cloud.service_deployments()[0]
    assert done["status"] == "ROLLBACK_SUCCESSFUL"
    assert done["rollback"]["serviceRevisionArn"] == after["currentServiceRevisions"][0]["arn"]
    assert done["targetServiceRevision"]["requestedTaskCount"] == 0
    said = "\n".join(cloud.messages())
    assert f"(deployment {bad}) deployment failed: tasks failed to start." in said
    assert "rolling back to deployment ecs-svc/" in said
    stopped = [task for task in cloud.tasks("STOPPED") if task["startedBy"] == bad]
    assert len(stopped) >= 3
    assert {task["stopCode"] for task in stopped} == {"EssentialContainerExited"}


def test_a_first_deployment_that_fails_stalls(cloud: Cloud) -> None:
    cloud.create_service(cloud.register(behaviour="cannot-pull"), desired=1)
    cloud.advance(LONG)
    only = cloud.service()["deployments"]
    assert [(d["status"], d["rolloutState"], d["failedTasks"]) for d in only] == [("PRIMARY", "FAILED", 3)]
    assert only[0]["rolloutStateReason"] == "ECS deployment circuit breaker: tasks failed to start."
    assert cloud.service_deployments()[0]["status"] == "ROLLBACK_FAILED"
    assert len(cloud.tasks("STOPPED")) == 3
    cloud.update_service(taskDefinition=cloud.register())
    cloud.advance(LONG)
    assert cloud.primary()["rolloutState"] == "COMPLETED"


def test_without_rollback_the_failed_deployment_stays_primary(cloud: Cloud) -> None:
    old = cloud.create_steady_service()
    bad = cloud.register(behaviour="oom")
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    cloud.update_service(taskDefinition=bad, deploymentConfiguration=breaker)
    cloud.advance(LONG)
    states = [(d["status"], d["rolloutState"], d["taskDefinition"]) for d in cloud.service()["deployments"]]
    assert states == [("PRIMARY", "FAILED", bad), ("ACTIVE", "COMPLETED", old)]
    ended = cloud.service_deployments()[0]
    assert ended["status"] == "STOPPED"
    assert ended["stoppedAt"] == ended["finishedAt"]


def test_a_newer_update_supersedes_a_rollout(cloud: Cloud) -> None:
    cloud.create_steady_service()
    cloud.update_service(taskDefinition=cloud.register(behaviour="slow:600"))
    cloud.advance(5)
    newest = cloud.register()
    cloud.update_service(taskDefinition=newest)
    cloud.advance(LONG)
    assert [d["status"] for d in cloud.service_deployments()] == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]
    assert [d["taskDefinition"] for d in cloud.service()["deployments"]] == [newest]


def test_stopping_a_service_deployment_rolls_back(cloud: Cloud) -> None:
    good = cloud.create_steady_service()
    cloud.update_service(taskDefinition=cloud.register(behaviour="slow:600"), deploymentConfiguration={})
    cloud.advance(1)
    arn = cloud.service_deployments()[0]["serviceDeploymentArn"]
    stopped = cloud.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
    assert stopped["serviceDeploymentArn"] == arn
    assert cloud.service_deployments()[0]["status"] == "ROLLBACK_REQUESTED"
    cloud.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
    cloud.advance(LONG)
    ended = cloud.service_deployments()[0]
    assert ended["status"] == "ROLLBACK_SUCCESSFUL"
    assert "StopServiceDeployment" in ended["rollback"]["reason"]
    assert cloud.service()["taskDefinition"] == good
    with pytest.raises(ClientError) as late:
        cloud.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
    assert code_of(late) == "ConflictException"
    with pytest.raises(ClientError) as unknown:
        cloud.ecs.stop_service_deployment(serviceDeploymentArn=arn + "x", stopType="ROLLBACK")
    assert code_of(unknown) == "ServiceDeploymentNotFoundException"


def test_only_what_needs_a_deployment_makes_one(cloud: Cloud) -> None:
    good = cloud.create_steady_service()
    before = cloud.primary()["id"]
    cloud.update_service(desiredCount=3)
    cloud.update_service(taskDefinition=good)
    cloud.update_service(
        availabilityZoneRebalancing="DISABLED", propagateTags="SERVICE", enableECSManagedTags=True
    )
    cloud.update_service(deploymentConfiguration={"maximumPercent": 150})
    cloud.advance(LONG)
    service = cloud.service()
    assert service["deployments"][0]["id"] == before
    assert (service["runningCount"], service["availabilityZoneRebalancing"]) == (3, "DISABLED")
    assert service["deploymentConfiguration"]["maximumPercent"] == 150
    assert service["deploymentConfiguration"]["deploymentCircuitBreaker"] == {
        "enable": True,
        "rollback": True,
    }
    assert cloud.update_service(forceNewDeployment=True)["deployments"][0]["id"] != before


def test_the_skeleton_at_zero_gives_way_to_the_first_revision(cloud: Cloud) -> None:
    cloud.create_service(cloud.register(image=f"127.0.0.1:{cloud.sandbox.port}/nothing:here"), desired=0)
    cloud.advance(SETTLE)
    assert cloud.primary()["rolloutState"] == "COMPLETED"
    first = cloud.register()
    cloud.update_service(taskDefinition=first, desiredCount=2)
    cloud.advance(LONG)
    assert {task["taskDefinitionArn"] for task in cloud.tasks()} == {first}
    assert cloud.tasks("STOPPED") == []
    assert cloud.primary()["rolloutState"] == "COMPLETED"


def test_boto3s_own_waiter_agrees(cloud: Cloud) -> None:
    cloud.create_steady_service()
    cloud.ecs.get_waiter("services_stable").wait(
        cluster="main", services=["web"], WaiterConfig={"Delay": 1, "MaxAttempts": 1}
    )


def test_deleting_drains_first(cloud: Cloud) -> None:
    good = cloud.create_steady_service()
    with pytest.raises(ClientError) as still_scaled:
        cloud.ecs.delete_service(cluster="main", service="web")
    assert code_of(still_scaled) == "InvalidParameterException"
    with pytest.raises(ClientError) as in_use:
        cloud.ecs.delete_cluster(cluster="main")
    assert code_of(in_use) == "ClusterContainsServicesException"
    deleted = cloud.ecs.delete_service(cluster="main", service="web", force=True)["service"]
    assert deleted["status"] == "DRAINING"
    cloud.advance(LONG)
    assert cloud.service()["status"] == "INACTIVE"
    assert cloud.ecs.list_services(cluster="main")["serviceArns"] == []
    with pytest.raises(ClientError) as inactive:
        cloud.update_service(desiredCount=1)
    assert code_of(inactive) == "ServiceNotActiveException"
    assert cloud.create_service(good)["status"] == "ACTIVE"


def test_creating_a_service_twice_is_refused(cloud: Cloud) -> None:
    good = cloud.register()
    cloud.create_service(good)
    with pytest.raises(ClientError, match="Creation of service was not idempotent"):
        cloud.create_service(good)


def test_an_inactive_revision_starts_nothing_new(cloud: Cloud) -> None:
    good = cloud.create_steady_service()
    newest = cloud.register()
    cloud.ecs.deregister_task_definition(taskDefinition=newest)
    with pytest.raises(ClientError, match="inactive"):
        cloud.update_service(taskDefinition=newest)
    family = cloud.ecs.describe_task_definition(taskDefinition="app")["taskDefinition"]
    assert family["taskDefinitionArn"] == good
    listed = cloud.ecs.list_task_definitions(familyPrefix="app", status="INACTIVE")["taskDefinitionArns"]
    assert listed == [newest]


def test_revisions_are_listed_by_number_and_not_by_spelling(cloud: Cloud) -> None:
    arns = [cloud.register() for _ in range(11)]
    assert cloud.ecs.list_task_definitions(familyPrefix="app")["taskDefinitionArns"] == arns
    newest_first = cloud.ecs.list_task_definitions(familyPrefix="app", sort="DESC", maxResults=2)
    assert newest_first["taskDefinitionArns"] == [arns[10], arns[9]]


def test_awsvpc_needs_a_network_but_no_security_group(cloud: Cloud) -> None:
    subnet = cloud.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    fargate = cloud.register(
        networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512"
    )
    with pytest.raises(ClientError, match="Network Configuration must be provided"):
        cloud.create_service(fargate, launchType="FARGATE")
    network = {"awsvpcConfiguration": {"subnets": [subnet]}}
    made = cloud.create_service(fargate, launchType="FARGATE", networkConfiguration=network)
    assert made["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": [subnet],
        "securityGroups": [],
        "assignPublicIp": "DISABLED",
    }
    cloud.advance(LONG)
    assert cloud.service()["runningCount"] == 2
    interfaces = cloud.client("ec2").describe_network_interfaces()["NetworkInterfaces"]
    assert len(interfaces) == 2
    cloud.update_service(desiredCount=0)
    cloud.advance(LONG)
    cloud.service()
    assert cloud.client("ec2").describe_network_interfaces()["NetworkInterfaces"] == []


def test_a_network_that_is_gone_fails_tasks_and_not_the_sandbox(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    network = {"awsvpcConfiguration": {"subnets": [subnet]}}
    fargate = cloud.register(
        networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512"
    )
    cloud.create_service(fargate, launchType="FARGATE", networkConfiguration=network, desired=0)
    ec2.delete_subnet(SubnetId=subnet)
    cloud.update_service(desiredCount=1, forceNewDeployment=True)
    cloud.advance(LONG)
    assert (
        "ResourceInitializationError: failed to configure the network"
        in cloud.tasks("STOPPED")[0]["stoppedReason"]
    )
    with pytest.raises(ClientError, match="subnet"):
        cloud.update_service(
            networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}
        )


def test_tags_are_given_only_when_asked_for(cloud: Cloud) -> None:
    tags = [{"key": "team", "value": "a"}]
    cloud.create_service(cloud.register(), tags=tags, propagateTags="SERVICE", enableECSManagedTags=True)
    assert "tags" not in cloud.service()
    described = cloud.ecs.describe_services(cluster="main", services=["web"], include=["TAGS"])["services"][0]
    assert described["tags"] == tags
    cloud.advance(LONG)
    arn = cloud.ecs.list_tasks(cluster="main", serviceName="web")["taskArns"][0]
    task = cloud.ecs.describe_tasks(cluster="main", tasks=[arn], include=["TAGS"])["tasks"][0]
    assert {tag["key"] for tag in task["tags"]} == {"team", "aws:ecs:clusterName", "aws:ecs:serviceName"}


def test_the_cluster_counts_what_runs_on_it(cloud: Cloud) -> None:
    cloud.create_steady_service(desired=3)
    cluster = cloud.ecs.describe_clusters(clusters=["main"])["clusters"][0]
    assert (cluster["activeServicesCount"], cluster["runningTasksCount"], cluster["pendingTasksCount"]) == (
        1,
        3,
        0,
    )


def test_what_is_not_there_is_said(cloud: Cloud) -> None:
    cloud.create_steady_service()
    answer = cloud.ecs.describe_services(cluster="main", services=["web", "nope"])
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
    for call in (
        lambda: cloud.ecs.list_service_deployments(cluster="main", service="nope"),
        lambda: cloud.ecs.update_service(cluster="main", service="nope", desiredCount=1),
    ):
        with pytest.raises(ClientError) as missing:
            call()
        assert code_of(missing) == "ServiceNotFoundException"
    with pytest.raises(ClientError) as no_cluster:
        cloud.ecs.describe_services(cluster="nope", services=["web"])
    assert code_of(no_cluster) == "ClusterNotFoundException"
    arn = cloud.service()["currentServiceDeployment"] + "x"
    answer = cloud.ecs.describe_service_deployments(serviceDeploymentArns=[arn])
    assert answer["failures"] == [{"arn": arn, "reason": "MISSING"}]
