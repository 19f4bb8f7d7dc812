"""What AWS asks of a policy when a call is made, and whether a policy grants it: for tests, since the sandbox enforces nothing.

`requests` turns a call of the sandbox's log into the actions, resources and condition keys that IAM would check, as the
Service Authorization Reference lists them (https://docs.aws.amazon.com/service-authorization/), with what a call brings along:
tags given at creation, roles handed to a service. `allows` evaluates a policy document as
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html says: an explicit deny wins, then one
statement that fits must allow. Only the operators that orch's own policies use are known; any other raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

# The permission that S3 asks for, where its name is not the operation's.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_S3_ACTIONS = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "HeadObject": "GetObject",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}
# Needs no permission: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
FREE = frozenset({"sts:GetCallerIdentity"})
# Names that requests are signed with, where IAM's prefix is another.
_PREFIXES = {"monitoring": "cloudwatch"}
_TAGGING = {
    "application-autoscaling": "TagResource",
    "ec2": "CreateTags",
    "ecr": "TagResource",
    "ecs": "TagResource",
    "elasticloadbalancing": "AddTags",
    "iam": "TagRole",
    "kms": "TagResource",
    "logs": "TagResource",
}
_EC2_KINDS = {
    "CreateVpc": "vpc",
    "CreateSubnet": "subnet",
    "CreateSecurityGroup": "security-group",
    "AuthorizeSecurityGroupEgress": "security-group-rule",
    "AuthorizeSecurityGroupIngress": "security-group-rule",
}


@dataclass(frozen=True)
class Request:
    """One permission that AWS checks. `keys` are the condition keys of the request; a key that is absent is not there."""

    action: str
    resource: str
    keys: dict[str, str | list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.action} on {self.resource} with {self.keys}"


def requests(call: dict[str, Any], *, project: str, environment: str) -> list[Request]:
    """The permissions that one recorded call needs.

    Resource tags are taken to be the environment's own: the provider's default_tags give them to all that Terraform makes.
    """
    service, operation = _PREFIXES.get(call["service"], call["service"]), call["operation"]
    action = f"{service}:{_S3_ACTIONS.get(operation, operation) if service == 's3' else operation}"
    if service == "registry":
        # https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListImageReferrers.html
        operation = "BatchGetImage" if operation == "ListImageReferrers" else operation
        service, action = "ecr", f"ecr:{operation}"
    if not operation or action in FREE:
        return []
    given = call.get("parameters", {})
    tags = _tags(given)
    keys: dict[str, Any] = {
        "aws:RequestedRegion": call["region"],
        "aws:ResourceTag/Project": project,
        "aws:ResourceTag/Environment": environment,
        **{f"aws:RequestTag/{name}": value for name, value in tags.items()},
    }
    if service == "ecs" and "cluster" in given:
        cluster = f"{_arn('ecs', call)}:cluster/{_last(given['cluster'])}"
        given = given | {"sandbox:cluster": cluster}
    keys |= _service_keys(action, given)
    found = [Request(action, resource, keys) for resource in _resources(service, operation, call, given)]
    if tags and not operation.startswith(("Tag", "CreateTags", "AddTags")):
        tagging = f"{service}:{_TAGGING[service]}"
        where = [request.resource for request in found]
        if service == "ec2":
            where = [
                f"arn:aws:ec2:{call['region']}:{call['account']}:{_EC2_KINDS.get(operation, 'other')}/new"
            ]
        if service == "ecs" and operation == "RegisterTaskDefinition":
            where = [f"{_arn('ecs', call)}:task-definition/{given['family']}:1"]
        found += [Request(tagging, resource, keys) for resource in where]
    for role in _passed_roles(given):
        passed = "ecs-tasks" if service == "ecs" else "vpc-flow-logs"
        found.append(Request("iam:PassRole", role, {"iam:PassedToService": f"{passed}.amazonaws.com"}))
    return found


def allows(policy: dict[str, Any], request: Request) -> bool:
    """Whether the policy grants the request."""
    fitting = [statement for statement in policy["Statement"] if _fits(statement, request)]
    if any(statement["Effect"] == "Deny" for statement in fitting):
        return False
    return bool(fitting)


def _fits(statement: dict[str, Any], request: Request) -> bool:
    if "NotAction" in statement:
        if any(_matches(pattern, request.action) for pattern in _listed(statement["NotAction"])):
            return False
    elif not any(_matches(pattern, request.action) for pattern in _listed(statement["Action"])):
        return False
    if not any(_matches(pattern, request.resource) for pattern in _listed(statement["Resource"])):
        return False
    conditions = statement.get("Condition", {})
    return all(
        _holds(test, key, _listed(values), request)
        for test, wanted in conditions.items()
        for key, values in wanted.items()
    )


def _holds(test: str, key: str, values: list[str], request: Request) -> bool:
    actual = request.keys.get(key)
    base = test.removesuffix("IfExists")
    if actual is None:
        return base != test
    given = str(actual).lower() if base == "Bool" else actual
    if base in {"StringEquals", "Bool"}:
        return given in values
    if base in {"ArnEquals", "ArnLike", "StringLike"}:
        return any(_matches(pattern, str(given)) for pattern in values)
    raise NotImplementedError(f"condition operator {test}")


def _matches(pattern: str, text: str) -> bool:
    # fnmatch knows [ as well, which IAM does not.
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _arn(service: str, call: dict[str, Any]) -> str:
    return f"arn:aws:{service}:{call['region']}:{call['account']}"


def _tags(given: dict[str, Any]) -> dict[str, str]:
    """The tags of a request, in whichever of AWS's shapes they come."""
    listed = given.get("tags") or given.get("Tags")
    if isinstance(listed, dict):
        return listed
    if isinstance(listed, list):
        pairs = [(tag.get("key") or tag.get("Key") or tag.get("TagKey"), tag) for tag in listed]
        return {
            str(name): tag.get("value") or tag.get("Value") or tag.get("TagValue") or ""
            for name, tag in pairs
        }
    found = {}
    for name, value in given.items():
        if re.fullmatch(r"(TagSpecification\.\d+\.)?(Tags?(\.member)?)\.\d+\.Key", name):
            found[value] = given.get(name.removesuffix("Key") + "Value", "")
    return found


def _passed_roles(given: dict[str, Any]) -> list[str]:
    names = ("taskRoleArn", "executionRoleArn", "DeliverLogsPermissionArn")
    return [given[name] for name in names if given.get(name)]


def _service_keys(action: str, given: dict[str, Any]) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    if action in {"ecs:ListTasks", "ecs:RunTask", "ecs:DescribeTasks", "ecs:StopTask"}:
        keys["ecs:cluster"] = given["sandbox:cluster"]
    if action in {"ecs:UpdateService", "ecs:CreateService"}:
        if "taskDefinition" in given:
            keys["ecs:task-definition"] = given["taskDefinition"]
        if "enableExecuteCommand" in given:
            keys["ecs:enable-execute-command"] = given["enableExecuteCommand"]
    for name, value in given.get("EncryptionContext", {}).items():
        keys[f"kms:EncryptionContext:{name}"] = value
    if action == "iam:CreateRole" and "PermissionsBoundary" in given:
        keys["iam:PermissionsBoundary"] = given["PermissionsBoundary"]
    if action in {"iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:UpdateAssumeRolePolicy"}:
        # The boundary of the role that is there; every role of the environment was made with it.
        keys["iam:PermissionsBoundary"] = given["sandbox:boundary"]
    return keys


def _resources(service: str, operation: str, call: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """The ARNs that a call is about; ["*"] where the action knows none."""
    maker = _RESOURCES.get(service)
    return maker(operation, call, given) if maker else ["*"]


def _s3(_operation: str, _call: dict[str, Any], given: dict[str, Any]) -> list[str]:
    key = given.get("Key")
    return [f"arn:aws:s3:::{given['Bucket']}" + (f"/{key}" if key else "")]


def _ecr(operation: str, call: dict[str, Any], given: dict[str, Any]) -> list[str]:
    if operation == "GetAuthorizationToken":
        return ["*"]
    if "resourceArn" in given:
        return [given["resourceArn"]]
    names = given.get("repositoryNames") or [given["repositoryName"]]
    # The sandbox's names hold their place: https://… see orchestrator/sandbox/ecr.py.
    return [
        f"{_arn('ecr', call)}:repository/{re.sub(r'^[0-9]{12}[.][a-z0-9-]+/', '', name)}" for name in names
    ]


def _ecs(operation: str, call: dict[str, Any], given: dict[str, Any]) -> list[str]:
    arn = _arn("ecs", call)
    if operation in {
        "RegisterTaskDefinition",
        "DeregisterTaskDefinition",
        "DescribeTaskDefinition",
        "ListTaskDefinitions",
    }:
        return ["*"]
    if "resourceArn" in given:
        return [given["resourceArn"]]
    if operation in {"ContinueServiceDeployment", "StopServiceDeployment"}:
        return [given["serviceDeploymentArn"]]
    if operation == "ListTasks":
        return ["*"]
    if operation == "RunTask":
        return [given["taskDefinition"]]
    if operation in {"DescribeTasks", "StopTask", "ExecuteCommand"}:
        cluster = _last(given["cluster"])
        names = given.get("tasks") or [given["task"]]
        return [f"{arn}:task/{cluster}/{_last(name)}" for name in names]
    if operation in {"CreateCluster", "DescribeClusters", "DeleteCluster"}:
        names = given.get("clusters") or [given.get("clusterName") or given.get("cluster")]
        return [f"{arn}:cluster/{_last(name)}" for name in names]
    for key in ("serviceDeploymentArns", "serviceRevisionArns"):
        if key in given:
            return list(given[key])
    names = given.get("services") or [given.get("serviceName") or given.get("service")]
    return [f"{arn}:service/{_last(given['cluster'])}/{_last(name)}" for name in names]


def _iam(operation: str, call: dict[str, Any], given: dict[str, Any]) -> list[str]:
    if "PolicyArn" in given and operation.startswith(("GetPolicy", "DeletePolicy")):
        return [given["PolicyArn"]]
    path = given.get("Path") or given.get("sandbox:path") or "/"
    return [f"arn:aws:iam::{call['account']}:role{path}{given['RoleName']}"]


def _kms(operation: str, call: dict[str, Any], given: dict[str, Any]) -> list[str]:
    arn = _arn("kms", call)
    if operation in {"CreateKey", "ListAliases"}:
        return ["*"]
    found = []
    if "AliasName" in given:
        found.append(f"{arn}:{given['AliasName']}")
    key = given.get("KeyId") or given.get("TargetKeyId")
    if str(key).startswith("alias/"):
        key = "behind-the-alias"  # IAM is asked about the key, not about the alias that names it
    if key or operation == "DeleteAlias":
        found.append(key if str(key).startswith("arn:") else f"{arn}:key/{key}")
    return found


def _logs(operation: str, call: dict[str, Any], given: dict[str, Any]) -> list[str]:
    if operation == "DescribeLogGroups":
        return ["*"]
    if operation == "GetLogEvents":
        return [f"{_arn('logs', call)}:log-group:{given['logGroupName']}:log-stream:{given['logStreamName']}"]
    return [given.get("resourceArn") or f"{_arn('logs', call)}:log-group:{given['logGroupName']}"]


def _scaling(operation: str, call: dict[str, Any], given: dict[str, Any]) -> list[str]:
    if operation.startswith("Describe"):
        return ["*"]
    return [given.get("ResourceARN") or f"{_arn('application-autoscaling', call)}:scalable-target/0ec5"]


def _load_balancing(operation: str, call: dict[str, Any], given: dict[str, Any]) -> list[str]:
    arn = _arn("elasticloadbalancing", call)
    if operation.startswith("Describe"):
        return ["*"]
    if operation == "CreateLoadBalancer":
        return [f"{arn}:loadbalancer/app/{given['Name']}/new"]
    if operation == "CreateTargetGroup":
        return [f"{arn}:targetgroup/{given['Name']}/new"]
    keys = ("RuleArn", "ListenerArn", "LoadBalancerArn", "TargetGroupArn", "RulePriorities.member.1.RuleArn")
    found = [given[key] for key in keys if key in given][:1]
    return found or [value for name, value in given.items() if name.startswith("ResourceArns.member.")]


def _wafv2(operation: str, _call: dict[str, Any], given: dict[str, Any]) -> list[str]:
    if operation == "GetWebACLForResource":
        return [given["ResourceArn"]]
    return [given[key] for key in ("WebACLArn", "ResourceArn") if key in given]


def _ec2(operation: str, call: dict[str, Any], given: dict[str, Any]) -> list[str]:
    if operation in {"CreateTags", "DeleteTags"}:
        return [
            f"{_arn('ec2', call)}:other/{value}"
            for name, value in given.items()
            if name.startswith("ResourceId.")
        ]
    return ["*"]


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


_RESOURCES: dict[str, Any] = {
    "s3": _s3,
    "ecr": _ecr,
    "registry": _ecr,
    "ecs": _ecs,
    "iam": _iam,
    "kms": _kms,
    "logs": _logs,
    "application-autoscaling": _scaling,
    "elasticloadbalancing": _load_balancing,
    "wafv2": _wafv2,
    "ec2": _ec2,
}
