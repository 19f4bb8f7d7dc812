"""What AWS says of all that a rollout needs: small readers, a call or few each, and what they give.

    asked      a reader            → its value, or Unread with the reason where the role may not ask
    read_…     a client, names     → values; None for what is not there

Secrets and parameters are described, never read: no call here gives a value.
Touches: ecs:DescribeServices, iam:GetRole, secretsmanager:DescribeSecret, ssm:DescribeParameters, logs:DescribeLogGroups,
cloudwatch:DescribeAlarms, elasticloadbalancing:DescribeRules, DescribeListeners and DescribeTargetGroups, ecr:BatchGetImage, ecr:GetDownloadUrlForLayer and the URL that it gives (the few hundred bytes that name an
image's platform), ecr:DescribeImages where the former is refused.
"""

from __future__ import annotations

import hashlib
import json
import urllib.request
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.aws import translated
from orchestrator.ecs import services as ecs_services
from orchestrator.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_iam import IAMClient

    from orchestrator.ecs.scaling import ScalableTarget
    from orchestrator.ecs.services import ServiceState

T = TypeVar("T")

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
_SERVICES_PER_CALL = 10
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
_ALARMS_PER_CALL = 100
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ParameterStringFilter.html
_PARAMETERS_PER_CALL = 50
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
# AWS's own resolver for containerd asks ECR for these: https://github.com/awslabs/amazon-ecr-containerd-resolver
_MANIFESTS = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
]
_CONFIG_TIMEOUT_S = 10
_MOST_CONFIG_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Unread:
    """A fact that could not be asked, and why in words."""

    reason: str


@dataclass(frozen=True)
class Service:
    """What DescribeServices tells of a service beside its state; `alarms` are those that may fail a rollout. `has_mesh` says whether
    Service Connect or VPC Lattice brings it traffic.
    """

    state: ServiceState
    controller: str
    scheduling: str
    has_breaker: bool
    minimum_percent: int
    maximum_percent: int
    alarms: tuple[str, ...]
    has_mesh: bool = False


@dataclass(frozen=True)
class Rule:
    """Where a listener's rule, or a listener by default, sends requests: to these target groups. `others` are its actions that forward
    none, such as `redirect`.
    """

    groups: tuple[str, ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class SecretVersions:
    """A secret without its values: the stages of each version by its id, and since when it is to be deleted, else empty."""

    stages: Mapping[str, tuple[str, ...]]
    deleted_at: str = ""


@dataclass(frozen=True)
class Platforms:
    """The platforms, such as `linux/amd64`, of an image that is there."""

    names: tuple[str, ...] | Unread


@dataclass(frozen=True)
class Facts:
    """Everything that was read, by name or ARN; None is what is not there."""

    services: Mapping[str, Service]
    roles: Mapping[str, Mapping[str, Any] | Unread | None] = field(default_factory=dict)
    secrets: Mapping[str, SecretVersions | Unread | None] = field(default_factory=dict)
    parameters: Mapping[str, bool | Unread] = field(default_factory=dict)
    log_groups: Mapping[str, bool | Unread] = field(default_factory=dict)
    alarms: Mapping[str, str | Unread | None] = field(default_factory=dict)
    images: Mapping[str, Platforms | Unread | None] = field(default_factory=dict)
    scaling: Mapping[str, ScalableTarget | Unread | None] = field(default_factory=dict)
    rules: Mapping[str, Rule | Unread | None] = field(default_factory=dict)
    groups: Mapping[str, bool | Unread] = field(default_factory=dict)


def asked(read: Callable[[], T]) -> T | Unread:
    """What a reader gives, or why it could not: a refused right fails no rollout that would work."""
    try:
        return read()
    except AwsError as error:
        return _unread(error)


def _unread(error: AwsError) -> Unread:
    action = error.message.partition(" failed")[0]
    return Unread(f"the role may not call {action}" if error.code in _DENIED else error.message)


def read_services(ecs: ECSClient, cluster: str, names: Sequence[str]) -> dict[str, Service]:
    """The services of a cluster by name, also those that are INACTIVE; none when there is no cluster. Raises AwsError."""
    found: dict[str, Service] = {}
    for start in range(0, len(names), _SERVICES_PER_CALL):
        some = list(names[start : start + _SERVICES_PER_CALL])
        try:
            with translated("ecs:DescribeServices"):
                answer = ecs.describe_services(cluster=cluster, services=some)
        except AwsError as error:
            if error.code == "ClusterNotFoundException":
                return {}
            raise
        found |= {data["serviceName"]: service_of(data) for data in answer["services"]}
    return found


def service_of(data: Mapping[str, Any]) -> Service:
    """One service of an answer of DescribeServices; what is left out has ECS's defaults (API_DeploymentConfiguration)."""
    configuration = data.get("deploymentConfiguration", {})
    alarms = configuration.get("alarms", {})
    return Service(
        state=ecs_services.state_of(data),
        controller=data.get("deploymentController", {}).get("type", "ECS"),
        scheduling=data.get("schedulingStrategy", "REPLICA"),
        has_breaker=bool(configuration.get("deploymentCircuitBreaker", {}).get("enable")),
        minimum_percent=configuration.get("minimumHealthyPercent", 100),
        maximum_percent=configuration.get("maximumPercent", 200),
        alarms=tuple(alarms.get("alarmNames", ())) if alarms.get("enable") else (),
        has_mesh=any(_has_mesh(item) for item in data.get("deployments", ()) if item["status"] == "PRIMARY"),
    )


def _has_mesh(deployment: Mapping[str, Any]) -> bool:
    connect = deployment.get("serviceConnectConfiguration", {})
    return bool(connect.get("enabled") or deployment.get("vpcLatticeConfigurations"))


def read_rule(elbv2: Any, arn: str) -> Rule | None:
    """The rule of an Application Load Balancer, or the listener of a Network Load Balancer, of that ARN; None when there is none.

    Raises AwsError.
    """
    try:
        if ":listener-rule/" in arn:
            with translated("elasticloadbalancing:DescribeRules"):
                found = elbv2.describe_rules(RuleArns=[arn])["Rules"]
            actions = [action for rule in found for action in rule.get("Actions", ())]
        else:
            with translated("elasticloadbalancing:DescribeListeners"):
                found = elbv2.describe_listeners(ListenerArns=[arn])["Listeners"]
            actions = [action for listener in found for action in listener.get("DefaultActions", ())]
    except AwsError as error:
        if error.code in {
            "RuleNotFound",
            "ListenerNotFound",
            "RuleNotFoundException",
            "ListenerNotFoundException",
        }:
            return None
        raise
    groups = [group for action in actions if action["Type"] == "forward" for group in _groups_of(action)]
    others = [action["Type"] for action in actions if action["Type"] != "forward"]
    return Rule(tuple(dict.fromkeys(groups)), tuple(dict.fromkeys(others))) if found else None


def _groups_of(action: Mapping[str, Any]) -> list[str]:
    several = [item["TargetGroupArn"] for item in action.get("ForwardConfig", {}).get("TargetGroups", ())]
    return several or [action["TargetGroupArn"]]


def has_target_group(elbv2: Any, arn: str) -> bool:
    """Whether there is a target group of that ARN. Raises AwsError."""
    try:
        with translated("elasticloadbalancing:DescribeTargetGroups"):
            return bool(elbv2.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"])
    except AwsError as error:
        if error.code in {"TargetGroupNotFound", "TargetGroupNotFoundException"}:
            return False
        raise


def read_role(iam: IAMClient, arn: str) -> Mapping[str, Any] | None:
    """The trust policy of a role, None when there is no such role. Raises AwsError."""
    try:
        with translated("iam:GetRole"):
            answer: Mapping[str, Any] = iam.get_role(RoleName=arn.rsplit("/", 1)[-1])
    except AwsError as error:
        if error.code == "NoSuchEntity":
            return None
        raise
    role = answer["Role"]
    # Names are unique in an account, paths aside; another path is another ARN, which ECS would not find.
    trust: Mapping[str, Any] = role["AssumeRolePolicyDocument"]
    return trust if arn in {role["Arn"], role["RoleName"]} else None


def read_secret(secretsmanager: Any, arn: str) -> SecretVersions | None:
    """A secret's versions, None when there is no such secret. Raises AwsError."""
    try:
        with translated("secretsmanager:DescribeSecret"):
            answer = secretsmanager.describe_secret(SecretId=arn)
    except AwsError as error:
        if error.code == "ResourceNotFoundException":
            return None
        raise
    deleted = answer.get("DeletedDate")
    stages = {version: tuple(names) for version, names in (answer.get("VersionIdsToStages") or {}).items()}
    return SecretVersions(stages, deleted.isoformat(timespec="seconds") if deleted else "")


def read_parameters(ssm: Any, keys: Sequence[str]) -> dict[str, bool]:
    """Whether there is a parameter of each name, or of each `/NAME` cut from an ARN, where one without a slash is the same.

    By their descriptions: ssm:GetParameters would give the values. Raises AwsError.
    """
    names = {key: {key, key.removeprefix("/")} if key.count("/") == 1 else {key} for key in keys}
    wanted = sorted(set().union(*names.values()))
    found: set[str] = set()
    for start in range(0, len(wanted), _PARAMETERS_PER_CALL):
        some = wanted[start : start + _PARAMETERS_PER_CALL]
        request: dict[str, Any] = {
            "ParameterFilters": [{"Key": "Name", "Option": "Equals", "Values": some}],
            "MaxResults": _PARAMETERS_PER_CALL,
        }
        token: str | None = ""
        while token is not None:
            with translated("ssm:DescribeParameters"):
                answer = ssm.describe_parameters(**request, **({"NextToken": token} if token else {}))
            found |= {item["Name"] for item in answer["Parameters"]}
            token = answer.get("NextToken") or None
    return {key: bool(names[key] & found) for key in keys}


def has_log_group(logs: Any, name: str) -> bool:
    """Whether there is a log group of that very name; the answer is sorted, so that it would come first. Raises AwsError."""
    with translated("logs:DescribeLogGroups"):
        answer = logs.describe_log_groups(logGroupNamePrefix=name, limit=1)
    return any(group["logGroupName"] == name for group in answer["logGroups"])


def read_alarms(cloudwatch: Any, names: Sequence[str]) -> dict[str, str | None]:
    """The state of each alarm, None where there is none of that name. Raises AwsError."""
    states: dict[str, str | None] = dict.fromkeys(names)
    for start in range(0, len(names), _ALARMS_PER_CALL):
        with translated("cloudwatch:DescribeAlarms"):
            answer = cloudwatch.describe_alarms(
                AlarmNames=list(names[start : start + _ALARMS_PER_CALL]),
                # Left out, it means metric alarms alone.
                AlarmTypes=["MetricAlarm", "CompositeAlarm"],
                MaxRecords=_ALARMS_PER_CALL,
            )
        for alarm in (*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ())):
            states[alarm["AlarmName"]] = alarm["StateValue"]
    return states


def read_image(ecr: ECRClient, image: str) -> Platforms | None:
    """The platforms of an image in ECR, `REPOSITORY@DIGEST` or `REPOSITORY:TAG`; None when it is not there. Raises AwsError.

    An index names them itself; for any other image they stand in its config, which ECR gives as it gives a layer.
    """
    repository, image_id = _split(image)
    try:
        with translated("ecr:BatchGetImage"):
            answer = ecr.batch_get_image(
                repositoryName=repository, imageIds=[image_id], acceptedMediaTypes=_MANIFESTS
            )
    except AwsError as error:
        if error.code in _DENIED:
            return Platforms(_unread(error)) if _is_described(ecr, repository, image_id) else None
        if error.code == "RepositoryNotFoundException":
            return None
        raise
    if not answer["images"]:
        return None
    return Platforms(
        asked(lambda: _platforms(ecr, repository, _json(answer["images"][0]["imageManifest"].encode())))
    )


def _is_described(ecr: ECRClient, repository: str, image_id: Any) -> bool:
    try:
        with translated("ecr:DescribeImages"):
            ecr.describe_images(repositoryName=repository, imageIds=[image_id])
    except AwsError as error:
        if error.code in {"ImageNotFoundException", "RepositoryNotFoundException"}:
            return False
        raise
    return True


def _platforms(ecr: ECRClient, repository: str, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    if "manifests" in manifest:
        listed = [item.get("platform", {}) for item in manifest["manifests"]]
    else:
        digest = manifest.get("config", {}).get("digest", "")
        with translated("ecr:GetDownloadUrlForLayer"):
            answer = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=digest)
        listed = [_json(_download(answer["downloadUrl"], digest))]
    if not all(item.get("os") and item.get("architecture") for item in listed):
        raise AwsError("the image does not name its platform", code="NoPlatform")
    names = dict.fromkeys(f"{item['os']}/{item['architecture']}" for item in listed)
    # A build's attestations stand in its index: https://docs.docker.com/build/metadata/attestations/attestation-storage/
    return tuple(name for name in names if name != "unknown/unknown")


def _json(text: bytes) -> Mapping[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _download(url: str, digest: str) -> bytes:
    """Raises AwsError, also for other bytes than asked for."""
    if not url.startswith(("https://", "http://")):
        raise AwsError("ecr:GetDownloadUrlForLayer gave no URL of HTTP", code="NoUrl")
    try:
        with urllib.request.urlopen(url, timeout=_CONFIG_TIMEOUT_S) as answer:  # noqa: S310 - looked at above
            body: bytes = answer.read(_MOST_CONFIG_BYTES)
    except (OSError, HTTPException) as error:
        # The URL itself is a credential for as long as it lives.
        raise AwsError(
            f"the image's config could not be read: {type(error).__name__}", code="NoConfig"
        ) from None
    if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
        raise AwsError("the image's config is not what its digest says", code="NoConfig")
    return body


def _split(image: str) -> tuple[str, Any]:
    """`HOST/NAME@DIGEST` → NAME, and how ECR is asked for it."""
    name = image.split("/", 1)[1]
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository.partition(":")[0], {"imageDigest": digest}
    repository, _, tag = name.partition(":")
    return repository, {"imageTag": tag or "latest"}
