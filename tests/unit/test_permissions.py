"""The table of permissions: what it says fits AWS's own reference, and the calls in orch's own code."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
from pathlib import Path

import pytest
from policy_sentry.querying.actions import get_action_data

from orchestrator import permissions
from orchestrator.permissions import BOUNDARY, TABLE, Place, Role, Statement
from tests import authorization
from tests.authorization import Request

PACKAGE = Path(__file__).parents[2] / "orchestrator"
PLACE = Place("aws", "eu-central-1", "111111111111", "demo", "dev", "state", ("hello", "mail-worker"))
LONGEST = Place(
    "aws-us-gov",
    "us-gov-west-1",
    "1" * 12,
    "p" * 20,
    "e" * 11,
    "b" * 63,
    tuple(f"{i:02}" + "s" * 20 for i in range(9)),
    True,
)
# Made with an administrator's credentials by `orch bootstrap`, or asked of nobody.
NOT_THE_PIPELINES = {
    # People open a shell in a task, pipelines do not.
    "ecs:ExecuteCommand",
    "iam:GetOpenIDConnectProvider",
    "iam:ListRoles",
    "s3:CreateBucket",
    # Whoever runs `orch doctor` looks at the bucket's settings.
    "s3:GetBucketPolicy",
    "s3:GetBucketVersioning",
    "s3:ListAllMyBuckets",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
    "sts:AssumeRole",
    "sts:AssumeRoleWithWebIdentity",
    "sts:GetCallerIdentity",
}
STATEMENTS = [
    pytest.param(statement, id=f"{role}-{statement.sid}") for role in Role for statement in TABLE[role]
]


# Actions that AWS has made since the reference at hand, each with one that acts on the same kind of resource:
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContinueServiceDeployment.html
NEWER = {"ecs:ContinueServiceDeployment": "ecs:StopServiceDeployment"}


def reference(action: str) -> list[dict]:
    """The rows of the Service Authorization Reference for an action: one a resource type."""
    service, _, name = action.partition(":")
    found = get_action_data(service, name)
    if not found and action in NEWER:
        return [{**row, "action": action} for row in reference(NEWER[action])]
    assert found, f"AWS knows no action {action}"
    return found[service]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_each_action_is_spelt_as_aws_does(statement: Statement):
    for action in (*statement.actions, *statement.implied_by):
        assert {row["action"] for row in reference(action)} == {action}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_each_action_takes_the_resources_of_its_statement(statement: Statement):
    """A statement whose resource an action cannot be about grants nothing, and nobody notices until a pipeline stops."""
    for action in statement.actions:
        formats = [re.sub(r"\$\{[^}]*\}", "x", row["resource_arn_format"]) for row in reference(action)]
        mine = [re.sub(r"\{[^}]*\}", "*", resource) for resource in statement.resources]
        if mine == ["*"]:
            continue
        assert any(could_be(pattern, kind) for pattern in mine for kind in formats if kind != "*"), action


@pytest.mark.parametrize("statement", STATEMENTS)
def test_an_action_that_knows_no_resource_gets_a_star(statement: Statement):
    for action in statement.actions:
        if {row["resource_arn_format"] for row in reference(action)} == {"*"}:
            assert statement.resources == ("*",), action


@pytest.mark.parametrize("statement", STATEMENTS)
def test_each_condition_key_is_known_to_each_action(statement: Statement):
    for condition in statement.conditions:
        if condition.key == "aws:RequestedRegion":
            continue  # a global key: every request has it
        generic = re.sub(r"(aws:(Request|Resource)Tag/).*", r"\1${TagKey}", condition.key)
        generic = re.sub(r"(kms:EncryptionContext:).*", r"\1${EncryptionContextKey}", generic)
        for action in statement.actions:
            known = {key for row in reference(action) for key in row["condition_keys"]}
            # The reference of task definitions, see RegisterTaskDefinition, has it as an optional resource type.
            assert generic in known, f"{action} has no condition key {condition.key}"


def could_be(pattern: str, kind: str) -> bool:
    """Whether some ARN of that resource type fits the pattern, both with their variable parts open."""
    ours, theirs = pattern.split(":", 5), kind.split(":", 5)
    if len(theirs) < 6 or ours[2] != theirs[2]:
        return False
    head = re.split(r"[/:]", theirs[5])[0]
    mine = re.split(r"[/:]", ours[5])[0]
    return fnmatch.fnmatchcase(head, mine) or head == "x"


@pytest.mark.parametrize("role", list(Role))
def test_a_write_on_everything_has_a_condition(role: Role):
    free = [
        f"{action} ({statement.sid})"
        for statement in TABLE[role]
        if statement.resources == ("*",) and statement.effect == "Allow" and not statement.conditions
        for action in statement.actions
        if reference(action)[0]["access_level"] not in {"Read", "List"}
    ]
    assert free == []


@pytest.mark.parametrize("role", list(Role))
def test_no_role_may_widen_itself(role: Role):
    """Nothing on the pipeline's own roles, on a boundary or on managed policies, and no key for a person."""
    dangerous = (
        "iam:AttachRolePolicy",
        "iam:CreatePolicy*",
        "iam:SetDefaultPolicyVersion",
        "iam:*AccessKey*",
        "iam:*User*",
        "iam:*Boundary*",
        "iam:*OpenIDConnect*",
        "iam:*LoginProfile*",
        "sts:AssumeRole*",
        "organizations:*",
    )
    granted = {
        action for statement in TABLE[role] for action in statement.actions if statement.effect == "Allow"
    }
    assert not [action for action in granted for pattern in dangerous if fnmatch.fnmatchcase(action, pattern)]
    assert not [action for action in granted if "*" in action]
    own = [f"arn:aws:iam::111111111111:role/github-actions/demo-dev-{name}" for name in Role]
    policy = permissions.policy(role, PLACE)
    bounded = {
        "iam:PermissionsBoundary": PLACE.boundary_arn,
        "iam:PassedToService": "ecs-tasks.amazonaws.com",
    }
    for arn in own:
        for action in (
            "iam:PutRolePolicy",
            "iam:DeleteRole",
            "iam:PassRole",
            "iam:CreateRole",
            "iam:UpdateAssumeRolePolicy",
        ):
            assert not authorization.allows(policy, Request(action, arn, bounded))


def test_apply_makes_no_role_without_the_boundary():
    policy = permissions.policy(Role.APPLY, PLACE)
    role = "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-hello-task"
    for action in ("iam:CreateRole", "iam:PutRolePolicy"):
        assert authorization.allows(
            policy, Request(action, role, {"iam:PermissionsBoundary": PLACE.boundary_arn})
        )
        assert not authorization.allows(policy, Request(action, role))
        other = {"iam:PermissionsBoundary": "arn:aws:iam::111111111111:policy/orch/demo-prod/boundary"}
        assert not authorization.allows(policy, Request(action, role, other))


@pytest.mark.parametrize(
    ("action", "resource", "keys"),
    [
        # another environment of the same account
        ("ecs:UpdateService", "arn:aws:ecs:eu-central-1:111111111111:service/demo-prod/hello", {}),
        # its own service on another's revision, without one, or with ECS Exec turned on
        (
            "ecs:UpdateService",
            "arn:aws:ecs:eu-central-1:111111111111:service/demo-dev/hello",
            {
                "ecs:task-definition": "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-mail-worker:3"
            },
        ),
        ("ecs:UpdateService", "arn:aws:ecs:eu-central-1:111111111111:service/demo-dev/hello", {}),
        (
            "ecs:UpdateService",
            "arn:aws:ecs:eu-central-1:111111111111:service/demo-dev/hello",
            {
                "ecs:task-definition": "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-hello:3",
                "ecs:enable-execute-command": "true",
            },
        ),
        ("ecs:RegisterTaskDefinition", "*", {"aws:RequestedRegion": "eu-central-1"}),
        (
            "iam:PassRole",
            "arn:aws:iam::111111111111:role/admin",
            {"iam:PassedToService": "ecs-tasks.amazonaws.com"},
        ),
        (
            "iam:PassRole",
            "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-hello-task",
            {"iam:PassedToService": "lambda.amazonaws.com"},
        ),
        ("s3:GetObject", "arn:aws:s3:::state/prod/terraform.tfstate", {}),
        ("s3:PutObject", "arn:aws:s3:::state/dev/terraform.tfstate", {}),
        ("s3:PutObject", "arn:aws:s3:::state/orch/releases/prod/1.json", {}),
        ("ecr:PutImage", "arn:aws:ecr:eu-central-1:111111111111:repository/demo-dev/hello", {}),
    ],
)
def test_deploy_is_refused(action, resource, keys):
    assert not authorization.allows(permissions.policy(Role.DEPLOY, PLACE), Request(action, resource, keys))


def test_deploy_may_roll_out_its_own_revision():
    keys = {"ecs:task-definition": "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-hello:3"}
    service = "arn:aws:ecs:eu-central-1:111111111111:service/demo-dev/hello"
    policy = permissions.policy(Role.DEPLOY, PLACE)
    assert authorization.allows(policy, Request("ecs:UpdateService", service, keys))
    off = keys | {"ecs:enable-execute-command": "false"}
    assert authorization.allows(policy, Request("ecs:UpdateService", service, off))


@pytest.mark.parametrize("role", [Role.APPLY, Role.DEPLOY])
def test_ecs_may_be_given_the_role_that_moves_traffic(role):
    def is_passed(name: str, service: str) -> bool:
        arn = f"arn:aws:iam::111111111111:role/orch/{name}"
        request = Request("iam:PassRole", arn, {"iam:PassedToService": service})
        return authorization.allows(permissions.policy(role, PLACE), request)

    assert is_passed("demo-dev/demo-dev-hello-traffic", "ecs.amazonaws.com")
    assert not is_passed("demo-dev/demo-dev-hello-traffic", "lambda.amazonaws.com")
    assert not is_passed("demo-prod/demo-prod-hello-traffic", "ecs.amazonaws.com")
    assert is_passed("demo-dev/demo-dev-hello-task", "ecs.amazonaws.com") is (role is Role.APPLY)


def test_the_boundary_lets_ecs_move_traffic():
    rule = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener-rule/app/demo-dev/1/2/3"
    for action in ("elasticloadbalancing:ModifyRule", "elasticloadbalancing:RegisterTargets"):
        request = Request(action, rule, {"aws:ResourceAccount": "111111111111"})
        assert authorization.allows(permissions.boundary(PLACE), request)


def test_a_protected_environment_keeps_its_data_whoever_applies():
    repository = "arn:aws:ecr:eu-central-1:111111111111:repository/demo-dev/hello"
    request = Request("ecr:DeleteRepository", repository)
    assert authorization.allows(permissions.policy(Role.APPLY, PLACE), request)
    protected = Place(
        "aws", "eu-central-1", "111111111111", "demo", "dev", "state", ("hello",), is_protected=True
    )
    assert not authorization.allows(permissions.policy(Role.APPLY, protected), request)


def test_the_boundary_stops_whatever_a_task_role_is_given():
    boundary = permissions.boundary(PLACE)
    for action, resource in (
        ("iam:CreateUser", "*"),
        ("sts:AssumeRole", "arn:aws:iam::111111111111:role/admin"),
        ("organizations:LeaveOrganization", "*"),
        ("s3:GetObject", "arn:aws:s3:::state/dev/terraform.tfstate"),
        ("kms:PutKeyPolicy", "*"),
    ):
        assert not authorization.allows(boundary, Request(action, resource))
    for action in ("s3:GetObject", "dynamodb:Query", "kms:Decrypt", "logs:PutLogEvents"):
        assert authorization.allows(boundary, Request(action, "arn:aws:s3:::uploads/x"))
    carried_off = Request("s3:PutObject", "arn:aws:s3:::elsewhere/x", {"aws:ResourceAccount": "999999999999"})
    assert not authorization.allows(boundary, carried_off)
    friendly = dataclasses.replace(PLACE, trusted_accounts=("999999999999",))
    assert authorization.allows(permissions.boundary(friendly), carried_off)
    at_home = Request("s3:PutObject", "arn:aws:s3:::uploads/x", {"aws:ResourceAccount": PLACE.account_id})
    assert authorization.allows(boundary, at_home)
    assert {statement.sid for statement in BOUNDARY} == {"AllButIdentity", "NotTheState"}


def test_every_call_of_the_code_is_in_the_table_or_bootstraps():
    written = {
        match
        for path in PACKAGE.rglob("*.py")
        if "sandbox" not in path.parts
        for match in re.findall(r'translated\("(\w+:\w+)"\)', path.read_text(encoding="utf-8"))
    }
    granted = {action for role in Role for statement in TABLE[role] for action in statement.actions}
    assert written - granted == NOT_THE_PIPELINES
    assert {"ecs:UpdateService", "ecr:DescribeImages", "s3:PutObject"} <= written


def test_names_and_sids_are_as_iam_wants_them():
    for role in Role:
        statements = permissions.policy(role, PLACE)["Statement"]
        sids = [statement["Sid"] for statement in statements]
        assert len(set(sids)) == len(sids)
        assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)
    assert "RollOutMailWorker" in json.dumps(permissions.policy(Role.DEPLOY, PLACE))


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("eu-central-1", "aws"),
        ("us-east-1", "aws"),
        ("us-gov-west-1", "aws-us-gov"),
        ("cn-north-1", "aws-cn"),
        ("eusc-de-east-1", "aws-eusc"),
    ],
)
def test_a_region_tells_its_partition(region, partition):
    assert permissions.partition_of(region) == partition


def test_the_longest_names_stay_within_iams_quotas():
    """10,240 characters for a role's inline policies, 6,144 for a managed one; white space is not counted."""

    def size(policy: dict) -> int:
        return len(json.dumps(policy, separators=(",", ":")))

    assert size(permissions.policy(Role.PLAN, LONGEST)) <= 6144
    assert size(permissions.boundary(LONGEST)) <= 6144
    assert size(permissions.policy(Role.PUSH, LONGEST)) <= 10240
    whole = permissions.policy(Role.DEPLOY, LONGEST)
    watches = [item for item in whole["Statement"] if item["Sid"] in {one.sid for one in permissions.WATCHES}]
    rest = [item for item in whole["Statement"] if item not in watches]
    assert size({"Version": "2012-10-17", "Statement": watches}) <= 6144
    assert size({"Version": "2012-10-17", "Statement": rest}) <= 10240
    whole, reads = permissions.policy(Role.APPLY, LONGEST), permissions.policy(Role.PLAN, LONGEST)
    writes = [statement for statement in whole["Statement"] if statement not in reads["Statement"]]
    assert size({"Version": "2012-10-17", "Statement": writes}) <= 10240
