"""Why tasks stop, in the words of AWS: the texts of stoppedReason, of service events and of target health. Pure.

Taken from the developer guide's pages below "Amazon ECS stopped tasks error messages", from "Amazon ECS service event messages"
and from API_TargetHealth; where a page only gives the beginning, the rest is as the ECS agent writes it
(github.com/aws/amazon-ecs-agent, ecs-agent/asm and ecs-agent/ssm). Request ids are invented.
"""

from __future__ import annotations

from dataclasses import dataclass

_SECRETS = (
    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed:"
    " unable to retrieve secret from asm: service call has been retried 1 time(s):"
)
_REQUEST_ID = "2bf6cb29-04f9-43d0-b8a4-f1247cbe8c0b"


@dataclass(frozen=True)
class Names:
    """What a task definition and its service call the things that go wrong."""

    image: str = "registry.example/app:1"
    execution_role_arn: str = "arn:aws:iam::111111111111:role/execution"
    secret_arn: str = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:app-AbCdEf"  # noqa: S105 - a name
    log_group: str = "/ecs/app"
    platform: str = "linux/amd64"
    subnet: str = "subnet-0123456789abcdef0"
    target_group_arn: str = (
        "arn:aws:elasticloadbalancing:eu-central-1:111111111111:targetgroup/app/0123456789abcdef"
    )
    port: int = 8080


def cannot_pull(image: str) -> str:
    """The registry does not have the image."""
    return (
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
        f"failed to resolve ref {image}: {image}: not found"
    )


def no_route(names: Names) -> str:
    return (
        f"CannotPullContainerError: The task cannot pull {names.image} from the registry {names.image}. There is a"
        " connection issue between the task and the registry. Check your task network configuration. : failed to copy:"
        f' httpReadSeeker: failed open: failed to do request: Get "https://{names.image.partition("/")[0]}/v2/":'
        " dial tcp 52.217.233.242:443: i/o timeout"
    )


def wrong_architecture(names: Names) -> str:
    return (
        "CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does not contain"
        f" descriptor matching platform '{names.platform}'"
    )


def secret_denied(names: Names) -> str:
    role = names.execution_role_arn.rsplit("/", 1)[-1]
    account = names.execution_role_arn.split(":")[4] if names.execution_role_arn.count(":") > 4 else ""
    return (
        f"{_SECRETS} failed to fetch secret {names.secret_arn} from secrets manager: operation error Secrets Manager:"
        f" GetSecretValue, https response error StatusCode: 400, RequestID: {_REQUEST_ID}, api error"
        f" AccessDeniedException: User: arn:aws:sts::{account}:assumed-role/{role}/a20b735e9bbc41598825b6f0269f6fef is not"
        f" authorized to perform: secretsmanager:GetSecretValue on resource: {names.secret_arn} because no identity-based"
        " policy allows the secretsmanager:GetSecretValue action"
    )


def secret_missing(names: Names) -> str:
    return (
        f"{_SECRETS} failed to fetch secret {names.secret_arn} from secrets manager: ResourceNotFoundException: The task"
        f" can't retrieve the secret with ARN '{names.secret_arn}' from AWS Secrets Manager. Check whether the secret exists"
        " in the specified Region: ResourceNotFoundException: Secrets Manager can't find the specified secret."
    )


def log_group_missing(names: Names) -> str:
    return (
        "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times:"
        " failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not"
        f" exist: {names.log_group} : exit status 1"
    )


def no_addresses(names: Names) -> str:
    return (
        "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment enabled in subnet"
        f" '{names.subnet}': InsufficientFreeAddressesInSubnet"
    )


def no_capacity(_: Names) -> str:
    return "Capacity is unavailable at this time. Please try again later or in a different availability zone."


def quota(_: Names) -> str:
    return "You\N{RIGHT SINGLE QUOTATION MARK}ve reached the limit on the number of vCPUs you can run concurrently"


@dataclass(frozen=True)
class TargetHealth:
    """`TargetHealth` of a target, as DescribeTargetHealth gives it."""

    state: str
    reason: str = ""
    description: str = ""


def unhealthy(kind: str) -> TargetHealth:
    """By what the load balancer met: a status code, `timeout`, or nothing that listens."""
    if kind.isdigit():
        description = f"Health checks failed with these codes: [{kind}]"
        return TargetHealth("unhealthy", "Target.ResponseCodeMismatch", description)
    if kind == "timeout":
        return TargetHealth("unhealthy", "Target.Timeout", "Request timed out")
    return TargetHealth("unhealthy", "Target.FailedHealthChecks", "Health checks failed")
