"""The judge of recorded calls, judged: it must see what a call is about, and must be able to say no."""

from __future__ import annotations

import pytest

from tests.authorization import Request, allows, requests


def call(of: str, operation: str, /, **parameters) -> dict:
    return {
        "service": of,
        "operation": operation,
        "region": "eu-central-1",
        "account": "111111111111",
        "parameters": parameters,
    }


def asked(recorded: dict) -> list[tuple[str, str]]:
    found = requests(recorded, project="demo", environment="dev")
    return [(request.action, request.resource) for request in found]


def test_a_call_is_about_the_resource_it_names():
    assert asked(call("ecs", "UpdateService", cluster="demo-dev", service="web")) == [
        ("ecs:UpdateService", "arn:aws:ecs:eu-central-1:111111111111:service/demo-dev/web")
    ]
    assert asked(call("s3", "HeadObject", Bucket="b", Key="dev/terraform.tfstate")) == [
        ("s3:GetObject", "arn:aws:s3:::b/dev/terraform.tfstate")
    ]
    assert asked(call("registry", "PutImage", repositoryName="demo-dev/web")) == [
        ("ecr:PutImage", "arn:aws:ecr:eu-central-1:111111111111:repository/demo-dev/web")
    ]
    assert asked(call("kms", "CreateAlias", AliasName="alias/demo-dev", TargetKeyId="k1")) == [
        ("kms:CreateAlias", "arn:aws:kms:eu-central-1:111111111111:alias/demo-dev"),
        ("kms:CreateAlias", "arn:aws:kms:eu-central-1:111111111111:key/k1"),
    ]


def test_a_call_brings_along_tagging_and_the_roles_it_hands_on():
    recorded = call(
        "ecs",
        "RegisterTaskDefinition",
        family="demo-dev-web",
        taskRoleArn="arn:aws:iam::111111111111:role/t",
        tags=[{"key": "orch:project", "value": "demo"}],
    )
    found = requests(recorded, project="demo", environment="dev")
    assert [(request.action, request.resource) for request in found] == [
        ("ecs:RegisterTaskDefinition", "*"),
        ("ecs:TagResource", "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-web:1"),
        ("iam:PassRole", "arn:aws:iam::111111111111:role/t"),
    ]
    assert found[0].keys["aws:RequestTag/orch:project"] == "demo"
    assert found[2].keys == {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    vpc = call(
        "ec2",
        "CreateVpc",
        **{"TagSpecification.1.Tag.1.Key": "Project", "TagSpecification.1.Tag.1.Value": "demo"},
    )
    assert asked(vpc)[1] == ("ec2:CreateTags", "arn:aws:ec2:eu-central-1:111111111111:vpc/new")


def test_who_one_is_needs_no_permission():
    assert asked(call("sts", "GetCallerIdentity")) == []


def policy(**statement) -> dict:
    return {
        "Statement": [
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", **statement}
        ]
    }


@pytest.mark.parametrize(
    ("statement", "request_", "is_allowed"),
    [
        ({}, Request("s3:GetObject", "arn:aws:s3:::b/k"), True),
        ({}, Request("s3:PutObject", "arn:aws:s3:::b/k"), False),
        ({}, Request("s3:GetObject", "arn:aws:s3:::c/k"), False),
        ({"Action": ["s3:Get*"]}, Request("s3:GetObject", "arn:aws:s3:::b/k"), True),
        (
            {"Condition": {"StringEquals": {"k": ["v"]}}},
            Request("s3:GetObject", "arn:aws:s3:::b/k", {"k": "v"}),
            True,
        ),
        (
            {"Condition": {"StringEquals": {"k": ["v"]}}},
            Request("s3:GetObject", "arn:aws:s3:::b/k", {"k": "w"}),
            False,
        ),
        ({"Condition": {"StringEquals": {"k": ["v"]}}}, Request("s3:GetObject", "arn:aws:s3:::b/k"), False),
        (
            {"Condition": {"StringEqualsIfExists": {"k": ["v"]}}},
            Request("s3:GetObject", "arn:aws:s3:::b/k"),
            True,
        ),
        (
            {"Condition": {"BoolIfExists": {"k": ["false"]}}},
            Request("s3:GetObject", "arn:aws:s3:::b/k", {"k": True}),
            False,
        ),
        ({"Effect": "Deny"}, Request("s3:GetObject", "arn:aws:s3:::b/k"), False),
    ],
)
def test_a_policy_grants_what_it_says_and_no_more(statement, request_, is_allowed):
    assert allows(policy(**statement), request_) is is_allowed


def test_a_deny_wins_over_an_allow():
    both = {"Statement": [*policy()["Statement"], *policy(Effect="Deny", Resource="*")["Statement"]]}
    assert not allows(both, Request("s3:GetObject", "arn:aws:s3:::b/k"))


def test_an_operator_that_it_does_not_know_is_no_silent_yes():
    odd = policy(Condition={"NumericLessThan": {"k": ["1"]}})
    with pytest.raises(NotImplementedError):
        allows(odd, Request("s3:GetObject", "arn:aws:s3:::b/k", {"k": "0"}))
