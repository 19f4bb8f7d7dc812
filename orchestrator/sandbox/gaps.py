"""What Terraform's AWS provider needs and moto lacks, closed here so that no module has to work round it.

- application-autoscaling: ListTagsForResource, TagResource, UntagResource (the provider reads tags of every scalable target).
- iam: AWS's own managed policies exist in every account (MOTO_IAM_LOAD_MANAGED_POLICIES, set in __main__.py).
- s3: bucket policies are stored, not enforced, like every other policy here: moto ignores their conditions, so that
  "deny all but TLS" would deny all.
- ec2: a security group rule keeps its description also when it names a prefix list or another group.

The rest of what the provider met is closed where it belongs: availabilityZoneRebalancing, deploymentConfiguration,
propagateTags and awsvpc without security groups in ecs.py; repositoryUri in ecr.py. S3's If-None-Match, which
`use_lockfile` needs, moto answers itself (412). Not closable from outside: the provider itself waits 10 s before it first
looks at a new ECS cluster, and 30 s at a new load balancer.
"""

from __future__ import annotations

import copy
import json
from typing import Any, ClassVar

import moto.applicationautoscaling.urls
import moto.iam.urls
from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.ec2.models import security_groups
from moto.iam.access_control import PermissionResult
from moto.iam.models import IAMBackend, iam_backends
from moto.s3 import models as s3_models


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


def _no_bucket_policy_decides(*_request: object, **_named: object) -> PermissionResult:
    return PermissionResult.NEUTRAL


def install() -> None:
    """Puts these answers in the place of moto's; before the first request."""
    s3_models.FakeBucket.get_permission = _no_bucket_policy_decides  # type: ignore[method-assign]  # no other way in
    iam_backends.backend = SandboxIamBackend
    vars(security_groups)["SecurityGroupRule"] = SandboxSecurityGroupRule
    vars(moto.applicationautoscaling.urls)["url_paths"] = {"{0}/$": SandboxAutoScalingResponse.dispatch}
