"""Tasks meet the truth: images, log groups and roles that are there or not, and what the tasks leave in the logs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.contract.sandbox_fixtures import Cloud

pytest_plugins = ("tests.contract.sandbox_fixtures",)

LONG = 120.0
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ecs-tasks.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)
LOGS = {
    "logConfiguration": {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": "/ecs/app",
            "awslogs-region": "eu-central-1",
            "awslogs-stream-prefix": "web",
        },
    }
}


def first_stopped(cloud: Cloud) -> dict[str, Any]:
    cloud.advance(LONG)
    return cloud.tasks("STOPPED")[-1]


def test_an_image_in_the_registry_runs_and_its_digest_is_known(cloud: Cloud) -> None:
    uri = cloud.make_repository("app")
    image = cloud.ecr.put_image(repositoryName="app", imageTag="r1", imageManifest=cloud.make_manifest("app"))
    digest = image["image"]["imageId"]["imageDigest"]
    cloud.create_service(cloud.register(image=f"{uri}:r1"), desired=1)
    cloud.advance(LONG)
    task = cloud.tasks()[0]
    assert task["containers"][0]["imageDigest"] == digest
    arn = cloud.service()["currentServiceRevisions"][0]["arn"]
    revision = cloud.ecs.describe_service_revisions(serviceRevisionArns=[arn])["serviceRevisions"][0]
    assert revision["containerImages"] == [
        {"containerName": "app", "image": f"{uri}:r1", "imageDigest": digest}
    ]


@pytest.mark.parametrize("suffix", [":nope", "@sha256:" + "0" * 64, ""])
def test_an_image_that_is_not_in_the_registry_cannot_be_pulled(cloud: Cloud, suffix: str) -> None:
    uri = cloud.make_repository("app")
    cloud.create_service(cloud.register(image=uri + suffix), desired=1)
    task = first_stopped(cloud)
    assert (task["stopCode"], task["lastStatus"]) == ("TaskFailedToStart", "STOPPED")
    assert task["stoppedReason"].startswith("CannotPullContainerError:")
    assert f"{uri}{suffix}: not found" in task["stoppedReason"]
    assert "exitCode" not in task["containers"][0]
    assert "startedAt" not in task


def test_a_log_group_must_exist(cloud: Cloud) -> None:
    cloud.create_service(cloud.register(container=LOGS), desired=1)
    task = first_stopped(cloud)
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("ResourceInitializationError:")
    assert "log group does not exist: /ecs/app" in task["stoppedReason"]


def test_an_execution_role_must_exist(cloud: Cloud) -> None:
    role = "arn:aws:iam::111111111111:role/orch/execution"
    definition = cloud.register(executionRoleArn=role)
    cloud.create_service(definition, desired=1)
    task = first_stopped(cloud)
    assert task["stoppedReason"].startswith("ResourceInitializationError:")
    assert f"unable to assume the role '{role}'" in task["stoppedReason"]
    cloud.client("iam").create_role(RoleName="execution", Path="/orch/", AssumeRolePolicyDocument=TRUST)
    cloud.update_service(forceNewDeployment=True)
    cloud.advance(LONG)
    assert cloud.primary()["rolloutState"] == "COMPLETED"


def test_tasks_write_their_own_log_stream(cloud: Cloud) -> None:
    logs = cloud.client("logs")
    logs.create_log_group(logGroupName="/ecs/app")
    cloud.create_service(cloud.register(container=LOGS, behaviour="exit:3"), desired=1)
    task = first_stopped(cloud)
    stream = f"web/app/{task['taskArn'].rsplit('/', 1)[-1]}"
    events = logs.get_log_events(logGroupName="/ecs/app", logStreamName=stream)["events"]
    assert "started registry.example/app:1" in events[0]["message"]
    assert "exiting with code 3" in events[1]["message"]
    assert events[0]["timestamp"] <= events[1]["timestamp"]


def test_what_the_program_writes_is_scripted(cloud: Cloud) -> None:
    logs = cloud.client("logs")
    logs.create_log_group(logGroupName="/ecs/app")
    variables = {"ORCH_SANDBOX_BEHAVIOUR": "crash", "ORCH_SANDBOX_LOGS": "one\ntwo"}
    environment = [{"name": name, "value": value} for name, value in variables.items()]
    cloud.create_service(cloud.register(container={**LOGS, "environment": environment}), desired=1)
    task = first_stopped(cloud)
    stream = f"web/app/{task['taskArn'].rsplit('/', 1)[-1]}"
    events = logs.get_log_events(logGroupName="/ecs/app", logStreamName=stream)["events"]
    said = [event["message"] for event in events]
    assert said[1:4] == ["one", "two", "Traceback (most recent call last):"]
    assert said[-2] == "KeyError: 'DATABASE_URL'"


def test_a_task_that_cannot_be_placed_is_no_task(cloud: Cloud) -> None:
    cloud.create_service(cloud.register(behaviour="quota"), desired=1)
    cloud.advance(LONG)
    assert cloud.tasks("STOPPED") == cloud.tasks() == []
    assert cloud.primary()["failedTasks"] == 3
    messages = cloud.messages()
    assert any("unable to place a task. Reason: You\u2019ve reached the limit" in one for one in messages)
    assert not any("has started" in one for one in messages)


def test_the_containers_beside_the_one_that_failed_are_told_to_stop(cloud: Cloud) -> None:
    base = {"image": "registry.example/app:1", "memory": 128}
    variables = [{"name": "ORCH_SANDBOX_BEHAVIOUR", "value": "exit:3"}]
    made = cloud.ecs.register_task_definition(
        family="two",
        containerDefinitions=[{**base, "name": "app", "environment": variables}, {**base, "name": "side"}],
    )
    cloud.create_service(made["taskDefinition"]["taskDefinitionArn"], desired=1)
    containers = first_stopped(cloud)["containers"]
    assert [(one["name"], one["exitCode"]) for one in containers] == [("app", 3), ("side", 143)]


def test_tasks_are_targets_while_they_run(cloud: Cloud) -> None:
    ec2, elbv2 = cloud.client("ec2"), cloud.client("elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    made = elbv2.create_target_group(Name="web", Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")
    group = made["TargetGroups"][0]["TargetGroupArn"]

    def targets() -> list[tuple[int, str, str | None]]:
        answer = elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return [
            (one["Target"]["Port"], one["TargetHealth"]["State"], one["TargetHealth"].get("Reason"))
            for one in answer
        ]

    cloud.create_service(
        cloud.register(networkMode="awsvpc", container={"portMappings": [{"containerPort": 8080}]}),
        desired=1,
        networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet]}},
        loadBalancers=[{"targetGroupArn": group, "containerName": "app", "containerPort": 8080}],
    )
    cloud.advance(0.2)
    assert targets() == []
    cloud.advance(2)
    assert targets() == [(8080, "initial", "Elb.InitialHealthChecking")]
    cloud.advance(1)
    assert targets() == [(8080, "healthy", None)]
    cloud.update_service(desiredCount=0)
    cloud.advance(0.1)
    assert targets() == [(8080, "draining", "Target.DeregistrationInProgress")]
    cloud.advance(2)
    assert targets() == []


@pytest.mark.parametrize(
    ("behaviour", "stop_code", "exit_code", "reason"),
    [
        ("crash", "EssentialContainerExited", 1, None),
        ("oom", "EssentialContainerExited", 137, "OutOfMemoryError: Container killed due to memory usage"),
        ("unhealthy", "ServiceSchedulerInitiated", 143, None),
    ],
)
def test_scripted_failures_look_as_documented(
    cloud: Cloud, behaviour: str, stop_code: str, exit_code: int, reason: str | None
) -> None:
    cloud.create_service(cloud.register(behaviour=behaviour), desired=1)
    task = first_stopped(cloud)
    container = task["containers"][0]
    assert (task["stopCode"], container["exitCode"], container.get("reason")) == (
        stop_code,
        exit_code,
        reason,
    )
    assert task["startedAt"] < task["stoppedAt"]
    assert cloud.service_deployments()[0]["deploymentCircuitBreaker"]["failureCount"] == 3


def test_replaced_tasks_say_that_scaling_stopped_them(cloud: Cloud) -> None:
    cloud.create_steady_service()
    new = cloud.update_service(taskDefinition=cloud.register())["deployments"][0]["id"]
    cloud.advance(LONG)
    reasons = {(task["stopCode"], task["stoppedReason"]) for task in cloud.tasks("STOPPED")}
    assert reasons == {("ServiceSchedulerInitiated", f"Scaling activity initiated by (deployment {new})")}


def test_a_task_stopped_by_hand_is_replaced(cloud: Cloud) -> None:
    cloud.create_steady_service(desired=1)
    arn = cloud.tasks()[0]["taskArn"]
    stopped = cloud.ecs.stop_task(cluster="main", task=arn, reason="try it")["task"]
    assert (stopped["desiredStatus"], stopped["lastStatus"]) == ("STOPPED", "DEACTIVATING")
    cloud.advance(LONG)
    assert [task["stopCode"] for task in cloud.tasks("STOPPED")] == ["UserInitiated"]
    assert cloud.service()["runningCount"] == 1
    assert cloud.primary()["failedTasks"] == 0


def test_run_task_passes_through_the_whole_life(cloud: Cloud) -> None:
    cloud.ecs.create_cluster(clusterName="main")
    task = cloud.ecs.run_task(cluster="main", taskDefinition=cloud.register(), startedBy="orch")["tasks"][0]
    assert (task["lastStatus"], task["group"], task["startedBy"]) == ("PROVISIONING", "family:app", "orch")

    def status() -> str:
        described = cloud.ecs.describe_tasks(cluster="main", tasks=[task["taskArn"]])["tasks"][0]
        last: str = described["lastStatus"]
        return last

    cloud.advance(1)
    assert status() == "PENDING"
    cloud.advance(1)
    assert status() == "RUNNING"
    cloud.advance(2)
    done = cloud.ecs.describe_tasks(cluster="main", tasks=[task["taskArn"]])["tasks"][0]
    assert (done["lastStatus"], done["containers"][0]["exitCode"]) == ("STOPPED", 0)
    assert done["stopCode"] == "EssentialContainerExited"
    running = cloud.ecs.list_tasks(cluster="main", startedBy="orch")["taskArns"]
    assert running == []


def test_run_task_is_scripted_by_an_override(cloud: Cloud) -> None:
    cloud.ecs.create_cluster(clusterName="main")
    overrides = {
        "containerOverrides": [
            {"name": "app", "environment": [{"name": "ORCH_SANDBOX_BEHAVIOUR", "value": "exit:9"}]}
        ]
    }
    definition = cloud.register()
    task = cloud.ecs.run_task(cluster="main", taskDefinition=definition, overrides=overrides)["tasks"][0]
    cloud.advance(LONG)
    done = cloud.ecs.describe_tasks(cluster="main", tasks=[task["taskArn"]])["tasks"][0]
    assert done["containers"][0]["exitCode"] == 9


def test_listing_filters_as_documented(cloud: Cloud) -> None:
    cloud.create_steady_service()
    started_by = cloud.primary()["id"]
    assert len(cloud.ecs.list_tasks(cluster="main", startedBy=started_by)["taskArns"]) == 2
    with pytest.raises(ClientError, match="only filter"):
        cloud.ecs.list_tasks(cluster="main", startedBy=started_by, serviceName="web")
    page = cloud.ecs.list_tasks(cluster="main", serviceName="web", maxResults=1)
    assert len(page["taskArns"]) == 1
    rest = cloud.ecs.list_tasks(cluster="main", serviceName="web", nextToken=page["nextToken"])
    assert len(rest["taskArns"]) == 1


def test_stopped_tasks_are_forgotten_after_an_hour(cloud: Cloud) -> None:
    cloud.create_service(cloud.register(behaviour="crash"), desired=1)
    cloud.advance(LONG)
    assert len(cloud.tasks("STOPPED")) == 3
    cloud.advance(3600)
    assert cloud.tasks("STOPPED") == []
