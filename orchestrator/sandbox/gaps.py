"""What Terraform's AWS provider needs and moto lacks, closed here so that no module has to work round it.

- application-autoscaling: ListTagsForResource, TagResource, UntagResource (the provider reads tags of every scalable target).
- iam: AWS's own managed policies exist in every account (MOTO_IAM_LOAD_MANAGED_POLICIES, set in __main__.py).
- s3: bucket policies are stored, not enforced, like every other policy here: moto ignores their conditions, so that
  "deny all but TLS" would deny all.
- s3: objects are written at the sandbox's time, as its answers say it (Date, see server.py), so that what S3's clock decides
  can be tried in no time.
- logs: CloudWatch Logs lives in the sandbox's time too: it throws away what is dated two hours ahead of it.
- logs: FilterLogEvents always interleaves the streams, as AWS has done since 2019, and refuses a stream that does not exist.
- ecr: GetDownloadUrlForLayer answers with a signed URL of S3, in a bucket of an account of AWS's own, for configs as for layers.
- ec2: a security group rule keeps its description also when it names a prefix list or another group.

The rest of what the provider met is closed where it belongs: availabilityZoneRebalancing, deploymentConfiguration,
propagateTags and awsvpc without security groups in ecs.py; repositoryUri in ecr.py. S3's If-None-Match, which
`use_lockfile` needs, moto answers itself (412). Not closable from outside: the provider itself waits 10 s before it first
looks at a new ECS cluster, and 30 s at a new load balancer.
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

import moto.applicationautoscaling.urls
import moto.iam.urls
import moto.logs.urls
from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.responses import ActionResult
from moto.ec2.models import security_groups
from moto.iam.access_control import PermissionResult
from moto.iam.models import IAMBackend, iam_backends
from moto.logs import models as logs_models
from moto.logs.exceptions import ResourceNotFoundException
from moto.logs.models import LogsBackend, logs_backends
from moto.s3 import models as s3_models
from moto.s3.models import s3_backends

from orchestrator.sandbox.ecr import LayersNotFoundException, SandboxEcrBackend, SandboxEcrResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.sandbox.clock import Clock


class SandboxAutoScalingResponse(ApplicationAutoScalingResponse):
    """Application Auto Scaling with tags; they live on moto's own backend and vanish with it."""

    def register_scalable_target(self) -> str:
        answer: str = super().register_scalable_target()
        given = self._get_param("Tags")
        if given:
            self._tags().setdefault(json.loads(answer)["ScalableTargetARN"], {}).update(given)
        return answer

    def list_tags_for_resource(self) -> str:
        return json.dumps({"Tags": self._tags().get(self._get_param("ResourceARN"), {})})

    def tag_resource(self) -> str:
        self._tags().setdefault(self._get_param("ResourceARN"), {}).update(self._get_param("Tags"))
        return "{}"

    def untag_resource(self) -> str:
        known = self._tags().get(self._get_param("ResourceARN"), {})
        for key in self._get_param("TagKeys"):
            known.pop(key, None)
        return "{}"

    def _tags(self) -> dict[str, dict[str, str]]:
        backend: Any = applicationautoscaling_backends[self.current_account][self.region]
        if not hasattr(backend, "sandbox_tags"):
            backend.sandbox_tags = {}
        tags: dict[str, dict[str, str]] = backend.sandbox_tags
        return tags


class SandboxIamBackend(IAMBackend):
    """IAM whose AWS managed policies are read once: moto parses all 1,500 again for every account and every reset."""

    _read: ClassVar[dict[str, list[Any]]] = {}  # by partition

    @property
    def _url_module(self) -> Any:
        return moto.iam.urls

    def _init_aws_policies(self) -> list[Any]:
        if self.region_name not in self._read:
            self._read[self.region_name] = super()._init_aws_policies()
        # Copies, because a policy counts what it is attached to.
        policies = [copy.copy(policy) for policy in self._read[self.region_name]]
        for policy in policies:
            policy.account_id = self.account_id
        return policies


class SandboxSecurityGroupRule(security_groups.SecurityGroupRule):
    """A rule whose description survives: moto reads it from CIDR ranges alone."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # CIDR range, source group, prefix list: moto passes each as a dictionary, the last two then lose this key.
        given = [part for part in arguments if isinstance(part, dict)]
        self._given = next((part["Description"] for part in given if part.get("Description")), None)

    @property
    def description(self) -> str | None:
        return self.ip_range.get("Description") or self._given


class SandboxLogsBackend(LogsBackend):
    """CloudWatch Logs as API_FilterLogEvents has it: `interleaved` is taken for true whatever is asked for."""

    @property
    def _url_module(self) -> Any:
        return moto.logs.urls

    def filter_log_events(self, log_group_name: str, log_stream_names: list[str], *more: Any) -> Any:
        group = self.groups.get(log_group_name)
        if group is not None and set(log_stream_names) - set(group.streams):
            raise ResourceNotFoundException("The specified log stream does not exist.")
        # The last one is `interleaved`.
        arguments: tuple[Any, ...] = (*more[:-1], True)
        return super().filter_log_events(log_group_name, log_stream_names, *arguments)


_LAYERS_ACCOUNT = "000000000000"


def _get_download_url_for_layer(response: SandboxEcrResponse) -> ActionResult:
    """API_GetDownloadUrlForLayer: where to fetch the bytes without credentials, for an hour. Nobody else looks at the signature."""
    name, digest = response._get_param("repositoryName"), response._get_param("layerDigest")  # noqa: SLF001 - moto's own way
    repository = response.ecr_backend._get_repository(name)  # noqa: SLF001
    if digest not in repository.layers:
        raise LayersNotFoundException(
            f"The layer with digest '{digest}' does not exist in the repository with name '{repository.name}'"
        )
    runtime = SandboxEcrBackend.runtime
    bucket, key = f"prod-{response.region}-starport-layer-bucket", digest.replace(":", "-")
    backend: Any = s3_backends[_LAYERS_ACCOUNT]["aws"]
    if bucket not in backend.buckets:
        backend.create_bucket(bucket, response.region)
    backend.put_object(bucket, key, runtime.blobs.path(digest).read_bytes())
    at = datetime.fromtimestamp(runtime.clock.now(), UTC)
    query = urlencode(
        {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{_LAYERS_ACCOUNT}/{at:%Y%m%d}/{response.region}/s3/aws4_request",
            "X-Amz-Date": f"{at:%Y%m%dT%H%M%SZ}",
            "X-Amz-Expires": "3600",
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": "0" * 64,
        }
    )
    url = f"{runtime.endpoint_url}/{bucket}/{key}?{query}"
    return ActionResult({"downloadUrl": url, "layerDigest": digest})


def _no_bucket_policy_decides(*_request: object, **_named: object) -> PermissionResult:
    return PermissionResult.NEUTRAL


def _s3_time(clock: Clock) -> Callable[[], datetime]:
    """When S3 writes something: the sandbox's time, and never the same millisecond twice, since moto orders versions by it."""
    last, resets = 0.0, clock.resets

    def now() -> datetime:
        nonlocal last, resets
        if clock.resets != resets:
            # Nothing is left that could be later.
            last, resets = 0.0, clock.resets
        last = max(clock.now(), last + 0.001)
        return datetime.fromtimestamp(last, UTC).replace(tzinfo=None)

    return now


def install(clock: Clock) -> None:
    """Puts these answers in the place of moto's; before the first request."""
    vars(s3_models)["utcnow"] = _s3_time(clock)
    s3_models.FakeBucket.get_permission = _no_bucket_policy_decides  # type: ignore[method-assign]  # no other way in
    iam_backends.backend = SandboxIamBackend
    SandboxEcrResponse.get_download_url_for_layer = _get_download_url_for_layer  # type: ignore[assignment]
    vars(logs_models)["utcnow"] = lambda: datetime.fromtimestamp(clock.now(), UTC).replace(tzinfo=None)
    logs_backends.backend = SandboxLogsBackend
    vars(security_groups)["SecurityGroupRule"] = SandboxSecurityGroupRule
    vars(moto.applicationautoscaling.urls)["url_paths"] = {"{0}/$": SandboxAutoScalingResponse.dispatch}
