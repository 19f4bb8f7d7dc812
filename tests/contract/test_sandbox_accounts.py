"""Many accounts behind one port: told apart by the access key, entered by AssumeRole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.contract.sandbox_fixtures import Cloud

pytest_plugins = ("tests.contract.sandbox_fixtures",)

OTHER = "222222222222"


def test_an_account_id_as_access_key_selects_the_account(cloud: Cloud) -> None:
    for account in ("111111111111", OTHER):
        assert cloud.client("sts", key=account).get_caller_identity()["Account"] == account


def test_any_other_key_is_the_default_account(cloud: Cloud) -> None:
    assert cloud.client("sts", key="AKIAIOSFODNN7EXAMPLE").get_caller_identity()["Account"] == "123456789012"
    assert cloud.client("sts", key="sandbox").get_caller_identity()["Account"] == "123456789012"


def test_assuming_a_role_enters_its_account_even_before_the_role_exists(cloud: Cloud) -> None:
    arn = f"arn:aws:iam::{OTHER}:role/deploy"
    assumed = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="orch")
    credentials = assumed["Credentials"]
    key, token = credentials["AccessKeyId"], credentials["SessionToken"]
    identity = cloud.client("sts", key=key, token=token).get_caller_identity()
    assert identity["Account"] == OTHER
    assert identity["Arn"] == f"arn:aws:sts::{OTHER}:assumed-role/deploy/orch"
    cloud.client("ecs", key=key, token=token).create_cluster(clusterName="there")
    assert cloud.client("ecs", key=OTHER).list_clusters()["clusterArns"] == [
        f"arn:aws:ecs:eu-central-1:{OTHER}:cluster/there"
    ]
    assert cloud.ecs.list_clusters()["clusterArns"] == []


def test_equal_names_in_two_accounts_are_two_things(cloud: Cloud) -> None:
    mine = cloud.make_repository("team/app")
    theirs = cloud.make_repository("team/app", account=OTHER)
    assert mine != theirs
    cloud.ecr.put_image(
        repositoryName="team/app", imageTag="r1", imageManifest=cloud.make_manifest("team/app")
    )
    assert len(cloud.ecr.list_images(repositoryName="team/app")["imageIds"]) == 1
    assert cloud.client("ecr", key=OTHER).list_images(repositoryName="team/app")["imageIds"] == []


def test_regions_are_apart_too(cloud: Cloud) -> None:
    cloud.make_repository("app")
    with pytest.raises(ClientError, match="RepositoryNotFoundException"):
        cloud.client("ecr", region="us-east-1").list_images(repositoryName="app")


def test_aws_managed_policies_exist_in_every_account(cloud: Cloud) -> None:
    arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    assert cloud.client("iam", key=OTHER).get_policy(PolicyArn=arn)["Policy"]["Arn"] == arn


def test_the_call_log_names_operation_account_and_region(cloud: Cloud) -> None:
    cloud.client("ecs", key=OTHER, region="eu-west-1").list_clusters()
    call = cloud.calls()[-1]
    assert (call["service"], call["operation"]) == ("ecs", "ListClusters")
    assert (call["account"], call["region"], call["status"]) == (OTHER, "eu-west-1", 200)


def test_what_the_sandbox_lacks_is_said_once(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="The sandbox does not implement GetAccountSetting"):
        cloud.ecr.get_account_setting(name="BASIC_SCAN_TYPE_VERSION")
    calls = [call for call in cloud.calls() if call["operation"] == "GetAccountSetting"]
    assert [call["status"] for call in calls] == [501]


def test_reset_empties_every_account(cloud: Cloud) -> None:
    from orchestrator.sandbox import control

    cloud.ecs.create_cluster(clusterName="mine")
    cloud.client("ecs", key=OTHER).create_cluster(clusterName="theirs")
    password = cloud.password()
    control.reset(cloud.sandbox)
    assert cloud.ecs.list_clusters()["clusterArns"] == []
    assert cloud.client("ecs", key=OTHER).list_clusters()["clusterArns"] == []
    assert password != cloud.password()
