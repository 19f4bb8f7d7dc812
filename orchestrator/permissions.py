"""What each pipeline role of an environment may do in AWS: the one table behind `orch policy`, the Terraform module
`permissions` (its policies.tf is written from here, see scripts/policies.py), and the tests that hold every AWS call of orch
and Terraform to it. A leaf: pure.

    plan     reads: `terraform plan`, and the state with its lock; for pull requests
    push     one repository a service: layers and manifests in, and what is there
    apply    everything in the environment's root module, and nothing outside of it; implies what plan may
    deploy   revisions and rollouts of the services, and the release records

Names come from the project's naming: PROJECT-ENVIRONMENT prefixes everything, and roles lie under /orch/PROJECT-ENVIRONMENT/.
Resources are as narrow as the Service Authorization Reference allows (https://docs.aws.amazon.com/service-authorization/);
a test checks that each action knows the resource types and condition keys used with it.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Any

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
INLINE_QUOTA = 10_240


class Role(enum.StrEnum):
    """The four roles of an environment's pipeline."""

    PLAN = "plan"
    PUSH = "push"
    APPLY = "apply"
    DEPLOY = "deploy"


@dataclass(frozen=True)
class Place:
    """Where a policy holds: the values of the placeholders in the table."""

    partition: str
    region: str
    account_id: str
    project: str
    environment: str
    state_bucket: str
    services: tuple[str, ...]
    is_protected: bool = False
    trusted_accounts: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        return f"{self.project}-{self.environment}"

    def role_arn(self, role: Role) -> str:
        """The ARN of the role that GitHub's workflows assume."""
        return f"arn:{self.partition}:iam::{self.account_id}:role/github-actions/{self.prefix}-{role}"

    @property
    def boundary_arn(self) -> str:
        """The ARN of the permissions boundary of every role that Terraform makes in the environment."""
        return f"arn:{self.partition}:iam::{self.account_id}:policy/orch/{self.prefix}/boundary"


@dataclass(frozen=True)
class Condition:
    """One condition of a statement; values may hold placeholders."""

    test: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """A statement of a policy. Texts with {service} or {trusted_account} stand for one text each; with `each_service` the
    whole statement is repeated for each service. `only_protected` leaves it out elsewhere. `implied_by` names the calls for which AWS
    itself asks for these actions, so that no log of calls shows them. `all_but` makes the actions those that are left out.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    conditions: tuple[Condition, ...] = ()
    effect: str = "Allow"
    each_service: bool = False
    only_protected: bool = False
    implied_by: tuple[str, ...] = ()
    all_but: bool = False


def partition_of(region: str) -> str:
    """The AWS partition that a region lies in."""
    named = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc"}
    return next((partition for start, partition in named.items() if region.startswith(start)), "aws")


def policy(role: Role, place: Place) -> dict[str, Any]:
    """The policy document of a role, as IAM takes it."""
    return _document(TABLE[role], place)


def boundary(place: Place) -> dict[str, Any]:
    """The policy document of the permissions boundary of every role that Terraform makes in the environment."""
    return _document(BOUNDARY, place)


def _document(statements: tuple[Statement, ...], place: Place) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            _statement(statement, place, service)
            for statement in statements
            if place.is_protected or not statement.only_protected
            for service in (place.services if statement.each_service else ("",))
        ],
    }


def service_sid(sid: str, service: str) -> str:
    """The sid of a repeated statement: letters and digits alone are allowed in one."""
    return sid + "".join(part.capitalize() for part in service.split("-"))


def _statement(statement: Statement, place: Place, service: str) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "Sid": service_sid(statement.sid, service),
        "Effect": statement.effect,
        "NotAction" if statement.all_but else "Action": list(statement.actions),
        "Resource": _spread(statement.resources, place, service),
    }
    if statement.conditions:
        tests: dict[str, dict[str, list[str]]] = {}
        for condition in statement.conditions:
            values = _spread(condition.values, place, service)
            tests.setdefault(condition.test, {})[_filled(condition.key, place, service)] = values
        rendered["Condition"] = tests
    return rendered


def _spread(templates: tuple[str, ...], place: Place, service: str) -> list[str]:
    found = []
    for template in templates:
        if "{trusted_account}" in template:
            found += [template.replace("{trusted_account}", account) for account in place.trusted_accounts]
        elif "{service}" in template and not service:
            found += [_filled(template, place, name) for name in place.services]
        else:
            found.append(_filled(template, place, service))
    return found


def _filled(template: str, place: Place, service: str) -> str:
    values = {
        "partition": place.partition,
        "region": place.region,
        "account": place.account_id,
        "project": place.project,
        "environment": place.environment,
        "prefix": place.prefix,
        "bucket": place.state_bucket,
        "service": service,
    }
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], template)


# --- where

_EC2 = "arn:{partition}:ec2:{region}:{account}"
_ECS = "arn:{partition}:ecs:{region}:{account}"
_ELB = "arn:{partition}:elasticloadbalancing:{region}:{account}"
_IAM = "arn:{partition}:iam::{account}"
_CLUSTER = _ECS + ":cluster/{prefix}"
_SERVICE = _ECS + ":service/{prefix}/{service}"
_FAMILY = _ECS + ":task-definition/{prefix}-{service}:*"
_REPOSITORY = "arn:{partition}:ecr:{region}:{account}:repository/{prefix}/{service}"
_BUCKET = "arn:{partition}:s3:::{bucket}"
_STATE = _BUCKET + "/{environment}/terraform.tfstate"
# Terraform makes new services without anybody changing these policies, so its own roles go by the environment's prefix.
_EVERY_SERVICE = _ECS + ":service/{prefix}/*"
_EVERY_FAMILY = _ECS + ":task-definition/{prefix}-*:*"
_EVERY_REPOSITORY = "arn:{partition}:ecr:{region}:{account}:repository/{prefix}/*"
_EVERY_ROLE = _IAM + ":role/orch/{prefix}/*"
_EVERY_LOG_GROUP = tuple(
    "arn:{partition}:logs:{region}:{account}:log-group:/" + kind + "/{prefix}/*" for kind in ("ecs", "vpc")
)
_EVERY_KEY = "arn:{partition}:kms:{region}:{account}:key/*"
_LOAD_BALANCER = (
    _ELB + ":loadbalancer/app/{prefix}/*",
    _ELB + ":listener/app/{prefix}/*",
    _ELB + ":listener-rule/app/{prefix}/*",
)
# Their names are five letters of the service and a number.
_EVERY_TARGET_GROUP = _ELB + ":targetgroup/*/*"
_EVERY_SCALABLE_TARGET = "arn:{partition}:application-autoscaling:{region}:{account}:scalable-target/*"
_EVERY_WEB_ACL = "arn:{partition}:wafv2:{region}:{account}:regional/webacl/*/*"

# --- on what condition

_EVERY_DEPLOYMENT = _ECS + ":service-deployment/{prefix}/*"
_RELEASES = _BUCKET + "/orch/releases/{environment}/*"
_EVERY_TASK = _ECS + ":task/{prefix}/*"
_SERVICE_LOGS = "arn:{partition}:logs:{region}:{account}:log-group:/ecs/{prefix}/*"
_IN_CLUSTER = Condition("ArnEquals", "ecs:cluster", (_CLUSTER,))
_HERE = Condition("StringEquals", "aws:RequestedRegion", ("{region}",))
# The tags that each root module's provider block gives to everything it makes.
_OURS = (
    Condition("StringEquals", "aws:ResourceTag/Project", ("{project}",)),
    Condition("StringEquals", "aws:ResourceTag/Environment", ("{environment}",)),
)
_MADE_OURS = (
    Condition("StringEquals", "aws:RequestTag/Project", ("{project}",)),
    Condition("StringEquals", "aws:RequestTag/Environment", ("{environment}",)),
)
_BOUNDED = (Condition("StringEquals", "iam:PermissionsBoundary", (_IAM + ":policy/orch/{prefix}/boundary",)),)

# --- what several roles share

_READ_STATE = (
    Statement("FindState", ("s3:ListBucket",), (_BUCKET,)),
    # No secret's value stands in it (modules ecs and iam take ARNs alone), but whatever else does can be read by this.
    Statement("ReadState", ("s3:GetObject",), (_STATE,)),
)
_PLANS = _BUCKET + "/orch/plans/{environment}/*"
# A data key is bound to the bundle it seals (terraform/bundle.py); these roles may ask for those of this environment alone.
_OUR_PLANS = Condition("StringEquals", "kms:EncryptionContext:orch:environment", ("{environment}",))
_LOCK = _BUCKET + "/orch/locks/{environment}.json"
_HOLD_LOCK = Statement("HoldLock", ("s3:DeleteObject", "s3:GetObject", "s3:PutObject"), (_LOCK,))
_LOCK_STATE = Statement(
    "LockState", ("s3:DeleteObject", "s3:GetObject", "s3:PutObject"), (_STATE + ".tflock",)
)

# What `terraform plan` reads of the resources in its state. Where the action knows no resource, * is all there is.
_READ_RESOURCES = (
    Statement(
        "ReadNetwork",
        (
            "ec2:DescribeAddresses",
            "ec2:DescribeAddressesAttribute",
            "ec2:DescribeFlowLogs",
            "ec2:DescribeInternetGateways",
            "ec2:DescribeNatGateways",
            "ec2:DescribeNetworkAcls",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribePrefixLists",
            "ec2:DescribeRouteTables",
            "ec2:DescribeSecurityGroupRules",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcAttribute",
            "ec2:DescribeVpcEndpoints",
            "ec2:DescribeVpcs",
            "elasticloadbalancing:DescribeCapacityReservation",
            "elasticloadbalancing:DescribeListenerAttributes",
            "elasticloadbalancing:DescribeListeners",
            "elasticloadbalancing:DescribeLoadBalancerAttributes",
            "elasticloadbalancing:DescribeLoadBalancers",
            "elasticloadbalancing:DescribeRules",
            "elasticloadbalancing:DescribeTags",
            "elasticloadbalancing:DescribeTargetGroupAttributes",
            "elasticloadbalancing:DescribeTargetGroups",
        ),
        conditions=(_HERE,),
    ),
    Statement(
        "ReadLists",
        (
            "application-autoscaling:DescribeScalableTargets",
            "application-autoscaling:DescribeScalingPolicies",
            "ecs:DescribeTaskDefinition",
            "kms:ListAliases",
            "logs:DescribeLogGroups",
        ),
        conditions=(_HERE,),
    ),
    Statement("ReadCluster", ("ecs:DescribeClusters",), (_CLUSTER,)),
    Statement("ReadServices", ("ecs:DescribeServices",), (_EVERY_SERVICE,)),
    Statement(
        "ReadRepositories",
        ("ecr:DescribeRepositories", "ecr:GetLifecyclePolicy", "ecr:ListTagsForResource"),
        (_EVERY_REPOSITORY,),
    ),
    Statement(
        "ReadRoles",
        ("iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"),
        (_EVERY_ROLE,),
    ),
    Statement(
        "ReadKeys",
        ("kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags"),
        (_EVERY_KEY,),
    ),
    Statement("ReadLogGroups", ("logs:ListTagsForResource",), _EVERY_LOG_GROUP),
    Statement("ReadScaling", ("application-autoscaling:ListTagsForResource",), (_EVERY_SCALABLE_TARGET,)),
    Statement(
        "ReadWebAcl",
        ("wafv2:GetWebACLForResource",),
        (_EVERY_WEB_ACL, _LOAD_BALANCER[0]),
    ),
    Statement(
        "ReadWebAclImplied",
        ("elasticloadbalancing:GetLoadBalancerWebACL", "wafv2:GetWebACL"),
        (_EVERY_WEB_ACL, _LOAD_BALANCER[0]),
        implied_by=("wafv2:GetWebACLForResource",),
    ),
)

_WRITE_NETWORK = (
    Statement(
        "MakeNetwork",
        (
            "ec2:AllocateAddress",
            "ec2:AssociateRouteTable",
            "ec2:AttachInternetGateway",
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:CreateFlowLogs",
            "ec2:CreateInternetGateway",
            "ec2:CreateNatGateway",
            "ec2:CreateRoute",
            "ec2:CreateRouteTable",
            "ec2:CreateSecurityGroup",
            "ec2:CreateSubnet",
            "ec2:CreateVpc",
            "ec2:CreateVpcEndpoint",
            # The default security group has none before its rules are revoked.
            "ec2:RevokeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
        ),
        conditions=(_HERE,),
    ),
    Statement(
        "ChangeOwnNetwork",
        (
            "ec2:DeleteFlowLogs",
            "ec2:DeleteInternetGateway",
            "ec2:DeleteNatGateway",
            "ec2:DeleteRoute",
            "ec2:DeleteRouteTable",
            "ec2:DeleteSecurityGroup",
            "ec2:DeleteSubnet",
            "ec2:DeleteVpc",
            "ec2:DeleteVpcEndpoints",
            "ec2:DetachInternetGateway",
            "ec2:DisassociateRouteTable",
            "ec2:ModifyVpcAttribute",
            "ec2:ModifyVpcEndpoint",
            "ec2:ReleaseAddress",
        ),
        conditions=(_HERE, *_OURS),
    ),
    # Terraform does this first where an address is still in use. The network interface of a NAT gateway has no tags of ours.
    Statement(
        "FreeAddresses",
        ("ec2:DisassociateAddress",),
        conditions=(_HERE,),
        implied_by=("ec2:ReleaseAddress",),
    ),
    Statement("TagNewNetwork", ("ec2:CreateTags",), (_EC2 + ":*/*",), conditions=_MADE_OURS),
    Statement("TagOwnNetwork", ("ec2:CreateTags", "ec2:DeleteTags"), (_EC2 + ":*/*",), conditions=_OURS),
)

_WRITE_SERVICES = (
    Statement(
        "MakeTaskDefinitions",
        ("ecs:RegisterTaskDefinition",),
        conditions=(_HERE, *_MADE_OURS),
    ),
    Statement(
        "RemoveTaskDefinitions",
        ("ecs:DeregisterTaskDefinition", "ecs:ListTaskDefinitions"),
        conditions=(_HERE,),
    ),
    Statement(
        "ChangeServices",
        (
            "ecs:CreateCluster",
            "ecs:CreateService",
            "ecs:DeleteCluster",
            "ecs:DeleteService",
            "ecs:ListTagsForResource",
            "ecs:TagResource",
            "ecs:UntagResource",
            "ecs:UpdateService",
        ),
        (_CLUSTER, _EVERY_SERVICE, _EVERY_FAMILY),
    ),
    Statement(
        "ChangeRepositories",
        (
            "ecr:CreateRepository",
            "ecr:DeleteLifecyclePolicy",
            "ecr:DeleteRepository",
            "ecr:PutLifecyclePolicy",
            "ecr:TagResource",
            "ecr:UntagResource",
        ),
        (_EVERY_REPOSITORY,),
    ),
    Statement(
        "ChangeLogGroups",
        (
            "logs:CreateLogGroup",
            "logs:DeleteLogGroup",
            "logs:PutRetentionPolicy",
            "logs:TagResource",
            "logs:UntagResource",
        ),
        _EVERY_LOG_GROUP,
    ),
    Statement(
        "ChangeScaling",
        (
            "application-autoscaling:DeleteScalingPolicy",
            "application-autoscaling:DeregisterScalableTarget",
            "application-autoscaling:PutScalingPolicy",
            "application-autoscaling:RegisterScalableTarget",
            "application-autoscaling:TagResource",
            "application-autoscaling:UntagResource",
        ),
        (_EVERY_SCALABLE_TARGET,),
    ),
)

_WRITE_LOAD_BALANCER = (
    Statement(
        "ChangeLoadBalancer",
        (
            "elasticloadbalancing:AddTags",
            "elasticloadbalancing:CreateListener",
            "elasticloadbalancing:CreateLoadBalancer",
            "elasticloadbalancing:CreateRule",
            "elasticloadbalancing:DeleteListener",
            "elasticloadbalancing:DeleteLoadBalancer",
            "elasticloadbalancing:DeleteRule",
            "elasticloadbalancing:ModifyListener",
            "elasticloadbalancing:ModifyLoadBalancerAttributes",
            "elasticloadbalancing:ModifyRule",
            "elasticloadbalancing:RemoveTags",
            "elasticloadbalancing:SetRulePriorities",
        ),
        _LOAD_BALANCER,
    ),
    Statement(
        "MakeTargetGroups",
        ("elasticloadbalancing:AddTags", "elasticloadbalancing:CreateTargetGroup"),
        (_EVERY_TARGET_GROUP,),
        _MADE_OURS,
    ),
    Statement(
        "ChangeTargetGroups",
        (
            "elasticloadbalancing:AddTags",
            "elasticloadbalancing:DeleteTargetGroup",
            "elasticloadbalancing:ModifyTargetGroup",
            "elasticloadbalancing:ModifyTargetGroupAttributes",
            "elasticloadbalancing:RemoveTags",
        ),
        (_EVERY_TARGET_GROUP,),
        _OURS,
    ),
    Statement(
        "UseWebAcl",
        ("wafv2:AssociateWebACL", "wafv2:DisassociateWebACL"),
        (_EVERY_WEB_ACL, _LOAD_BALANCER[0]),
    ),
    Statement(
        "UseWebAclImplied",
        ("elasticloadbalancing:SetWebAcl",),
        implied_by=("wafv2:AssociateWebACL", "wafv2:DisassociateWebACL"),
        conditions=(_HERE,),
    ),
)

_WRITE_IDENTITY = (
    # Only under the environment's own path, and only within its boundary: nothing made here can do more than that allows.
    Statement(
        "MakeRoles",
        ("iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePolicy"),
        (_EVERY_ROLE,),
        _BOUNDED,
    ),
    Statement(
        "ChangeRoles",
        (
            "iam:DeleteRole",
            "iam:ListInstanceProfilesForRole",
            "iam:TagRole",
            "iam:UntagRole",
            # Whoever a role lets in has no more than the boundary.
            "iam:UpdateAssumeRolePolicy",
        ),
        (_EVERY_ROLE,),
    ),
    Statement(
        "PassRoles",
        ("iam:PassRole",),
        (_EVERY_ROLE,),
        (
            Condition(
                "StringEquals",
                "iam:PassedToService",
                # ECS itself gets the role that moves the traffic of a service with blue_green.
                ("ecs.amazonaws.com", "ecs-tasks.amazonaws.com", "vpc-flow-logs.amazonaws.com"),
            ),
        ),
    ),
    # An account's first cluster, load balancer or scalable target needs the service's own role.
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using-service-linked-roles.html
    Statement(
        "MakeServiceLinkedRoles",
        ("iam:CreateServiceLinkedRole",),
        (_IAM + ":role/aws-service-role/*",),
        (
            Condition(
                "StringEquals",
                "iam:AWSServiceName",
                (
                    "ecs.amazonaws.com",
                    "ecs.application-autoscaling.amazonaws.com",
                    "elasticloadbalancing.amazonaws.com",
                ),
            ),
        ),
        implied_by=(
            "application-autoscaling:RegisterScalableTarget",
            "ecs:CreateCluster",
            "elasticloadbalancing:CreateLoadBalancer",
        ),
    ),
)

_WRITE_KEYS = (
    Statement("MakeKeys", ("kms:CreateKey", "kms:TagResource"), conditions=(_HERE, *_MADE_OURS)),
    Statement(
        "NameKeys",
        ("kms:CreateAlias", "kms:DeleteAlias"),
        ("arn:{partition}:kms:{region}:{account}:alias/{prefix}",),
    ),
    # KMS may take minutes to see new tags, so what a new key needs at once asks for none.
    # https://docs.aws.amazon.com/kms/latest/developerguide/abac.html
    Statement("SetUpKeys", ("kms:CreateAlias", "kms:DeleteAlias", "kms:EnableKeyRotation"), (_EVERY_KEY,)),
    Statement(
        "ChangeOwnKeys",
        ("kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource"),
        (_EVERY_KEY,),
        _OURS,
    ),
    Statement("SetKeyPolicies", ("kms:PutKeyPolicy",), (_EVERY_KEY,), _OURS, implied_by=("kms:CreateKey",)),
    # https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html
    Statement(
        "LetEcrUseKeys",
        ("kms:CreateGrant",),
        (_EVERY_KEY,),
        (Condition("Bool", "kms:GrantIsForAWSResource", ("true",)),),
        implied_by=("ecr:CreateRepository",),
    ),
    Statement("LetEcrLeaveKeys", ("kms:RetireGrant",), (_EVERY_KEY,), implied_by=("ecr:DeleteRepository",)),
)

_KEEP_DATA = Statement(
    "KeepWhatHoldsData",
    (
        "ec2:DeleteVpc",
        "ecr:DeleteRepository",
        "ecs:DeleteCluster",
        "ecs:DeleteService",
        "elasticloadbalancing:DeleteLoadBalancer",
        "kms:ScheduleKeyDeletion",
        "logs:DeleteLogGroup",
    ),
    effect="Deny",
    only_protected=True,
)

# What plan and apply read alike.
READS = (*_READ_STATE, _LOCK_STATE, *_READ_RESOURCES)
# Reads go by the environment, writes by the service.
_FIND_IMAGES = Statement("FindImages", ("ecr:DescribeImages",), (_EVERY_REPOSITORY,))
# What planning needs beside what applying needs as well.
PLANS = (
    Statement("SeeLock", ("s3:GetObject",), (_LOCK,)),
    Statement("StorePlans", ("s3:PutObject",), (_PLANS,)),
    Statement("SealPlans", ("kms:GenerateDataKey",), (_EVERY_KEY,), (*_OURS, _OUR_PLANS)),
    _FIND_IMAGES,
)
# Apart from the reads, because both together exceed what IAM allows in a role's inline policies.
WRITES = (
    Statement("WriteState", ("s3:PutObject",), (_STATE,)),
    _HOLD_LOCK,
    Statement("ReadPlans", ("s3:GetObject",), (_PLANS,)),
    Statement("OpenPlans", ("kms:Decrypt",), (_EVERY_KEY,), (*_OURS, _OUR_PLANS)),
    *_WRITE_NETWORK,
    *_WRITE_SERVICES,
    *_WRITE_LOAD_BALANCER,
    *_WRITE_IDENTITY,
    *_WRITE_KEYS,
    _KEEP_DATA,
)

# What the role deploy reads; apart from what it writes, because both exceed what IAM allows in a role's inline policies.
WATCHES = (
    *_READ_STATE,
    _FIND_IMAGES,
    Statement("ReadReleases", ("s3:GetObject",), (_RELEASES,)),
    # These know no resource; revisions hold no secret, only the ARNs of some.
    Statement(
        "ReadRevisions", ("ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions"), conditions=(_HERE,)
    ),
    Statement(
        "FollowRollouts",
        (
            "ecs:DescribeServiceDeployments",
            "ecs:DescribeServiceRevisions",
            "ecs:DescribeServices",
            "ecs:ListServiceDeployments",
        ),
        (_EVERY_SERVICE, _EVERY_DEPLOYMENT, _ECS + ":service-revision/{prefix}/*"),
    ),
    Statement("FindTasks", ("ecs:ListTasks",), conditions=(_IN_CLUSTER,)),
    Statement("ReadTasks", ("ecs:DescribeTasks",), (_EVERY_TASK,)),
    Statement(
        "ReadLogs", ("logs:FilterLogEvents", "logs:GetLogEvents"), (_SERVICE_LOGS, _SERVICE_LOGS + ":*")
    ),
    # To pull what another environment promotes from here; the action knows no resource.
    Statement("LogInToPull", ("ecr:GetAuthorizationToken",)),
    Statement("ReadImages", ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"), (_EVERY_REPOSITORY,)),
    Statement("ReadTaskRoles", ("iam:GetRole",), (_EVERY_ROLE,)),
    # Most know no resource; which secrets a service has is known to it alone. They are described, and never read.
    Statement(
        "ReadHealth",
        (
            "application-autoscaling:DescribeScalableTargets",
            "cloudwatch:DescribeAlarms",
            "cloudwatch:GetMetricData",
            "elasticloadbalancing:DescribeListeners",
            "elasticloadbalancing:DescribeRules",
            "elasticloadbalancing:DescribeTargetGroups",
            "elasticloadbalancing:DescribeTargetHealth",
            "logs:DescribeLogGroups",
            "secretsmanager:DescribeSecret",
            "ssm:DescribeParameters",
        ),
        conditions=(_HERE,),
    ),
)
DEPLOYS = (
    _HOLD_LOCK,
    Statement("RecordReleases", ("s3:PutObject",), (_RELEASES,)),
    # Registering knows no resource either, so it is the tags that tell whose revision it is.
    Statement(
        "RegisterRevisions",
        ("ecs:RegisterTaskDefinition",),
        conditions=(
            _HERE,
            Condition("StringEquals", "aws:RequestTag/orch:project", ("{project}",)),
            Condition("StringEquals", "aws:RequestTag/orch:environment", ("{environment}",)),
        ),
    ),
    Statement("TagRevisions", ("ecs:TagResource",), (_FAMILY, _EVERY_TASK)),
    Statement(
        "PassRoles",
        ("iam:PassRole",),
        (
            _IAM + ":role/orch/{prefix}/{prefix}-{service}-task",
            _IAM + ":role/orch/{prefix}/{prefix}-{service}-execution",
        ),
        (Condition("StringEquals", "iam:PassedToService", ("ecs-tasks.amazonaws.com",)),),
    ),
    # With these ECS moves the traffic of a blue/green, linear or canary rollout (module ecs names them).
    Statement(
        "PassTrafficRoles",
        ("iam:PassRole",),
        (_IAM + ":role/orch/{prefix}/{prefix}-*-traffic",),
        (Condition("StringEquals", "iam:PassedToService", ("ecs.amazonaws.com",)),),
    ),
    Statement(
        "RollOut",
        ("ecs:UpdateService",),
        (_SERVICE,),
        (
            # Of a request that names none, as one that scales, AWS takes the one the service is on (API_UpdateService).
            Condition("ArnLike", "ecs:task-definition", (_FAMILY,)),
            # A request that does not mention ECS Exec changes nothing about it.
            Condition("BoolIfExists", "ecs:enable-execute-command", ("false",)),
        ),
        each_service=True,
    ),
    Statement(
        "EndRollouts",
        ("ecs:ContinueServiceDeployment", "ecs:StopServiceDeployment"),
        (_EVERY_DEPLOYMENT,),
    ),
    Statement("RunTasks", ("ecs:RunTask",), (_EVERY_FAMILY,), (_IN_CLUSTER,)),
    Statement("StopTasks", ("ecs:StopTask",), (_EVERY_TASK,)),
)

TABLE: dict[Role, tuple[Statement, ...]] = {
    Role.PLAN: (
        *READS,
        *PLANS,
    ),
    Role.PUSH: (
        # The action knows no resource.
        Statement("LogInToRegistry", ("ecr:GetAuthorizationToken",)),
        # https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
        Statement(
            "PushImages",
            (
                "ecr:BatchCheckLayerAvailability",
                "ecr:CompleteLayerUpload",
                "ecr:DescribeImages",
                "ecr:InitiateLayerUpload",
                "ecr:PutImage",
                "ecr:UploadLayerPart",
            ),
            (_REPOSITORY,),
        ),
        # AWS's list has it: docker with the containerd image store looks first whether the manifest is there.
        Statement("PushImagesImplied", ("ecr:BatchGetImage",), (_REPOSITORY,), implied_by=("ecr:PutImage",)),
    ),
    Role.APPLY: (*READS, *WRITES),
    Role.DEPLOY: (*WATCHES, *DEPLOYS),
}

# What the roles of an environment's tasks may at most do, whatever policies they get: nothing about identities, accounts or the
# policy of a key, nothing with Terraform's state, and nothing with what belongs to an account that nobody named, so that data
# cannot be carried off to one. https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_data-perimeters.html
BOUNDARY: tuple[Statement, ...] = (
    Statement(
        "AllButIdentity",
        (
            "account:*",
            "iam:*",
            "kms:PutKeyPolicy",
            "kms:ScheduleKeyDeletion",
            "organizations:*",
            "sso:*",
            "sts:AssumeRole",
        ),
        conditions=(
            Condition("StringEqualsIfExists", "aws:ResourceAccount", ("{account}", "{trusted_account}")),
        ),
        all_but=True,
    ),
    Statement("NotTheState", ("s3:*",), (_BUCKET, _BUCKET + "/*"), effect="Deny"),
)
