"""What a service runs, by the digests that ECS resolved its images to, and how the newest rollout ended.

The source of truth for a promotion: a task definition says what should run, a service revision what does.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceRevision.html
Touches: ecs:ListServiceDeployments, ecs:DescribeServiceRevisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated
from orchestrator.ecs.services import means_no_api
from orchestrator.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mypy_boto3_ecs import ECSClient

SUCCESSFUL = "SUCCESSFUL"
_ROLLED_BACK = frozenset({"ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"})
_MOST = 20


@dataclass(frozen=True)
class Running:
    """The newest service deployment that succeeded: its task definition, its images by container, and when it ended.
    `rolled_back` is the task definition of the newest one of all when ECS went back from it; empty otherwise. `answered_at` is the
    time by AWS's own clock.
    """

    task_definition: str
    digests: Mapping[str, str]
    finished_at: datetime | None
    rolled_back: str = ""
    answered_at: datetime | None = None


def describe(ecs: ECSClient, cluster: str, service: str) -> Running | None:
    """What the service runs; None where ECS does not tell: no deployment has succeeded in the 90 days that it remembers, or the
    account has no service deployments API. Raises AwsError.
    """
    try:
        with translated("ecs:ListServiceDeployments"):
            listed = ecs.list_service_deployments(cluster=cluster, service=service, maxResults=_MOST)
        briefs: list[Mapping[str, Any]] = [dict(item) for item in listed.get("serviceDeployments", [])]
        good = next((brief for brief in briefs if brief.get("status") == SUCCESSFUL), None)
        if good is None:
            return None
        newest = briefs[0]
        wanted = [str(good["targetServiceRevisionArn"])]
        if newest.get("status") in _ROLLED_BACK:
            wanted.append(str(newest["targetServiceRevisionArn"]))
        with translated("ecs:DescribeServiceRevisions"):
            answer = ecs.describe_service_revisions(serviceRevisionArns=wanted)
    except AwsError as error:
        if means_no_api(error) or error.code == "ServiceNotFoundException":
            return None
        raise
    found = {item.get("serviceRevisionArn", ""): item for item in answer.get("serviceRevisions", [])}
    ours = found.get(wanted[0])
    if ours is None:
        return None
    left: Mapping[str, Any] = dict(found.get(wanted[1], {})) if len(wanted) > 1 else {}
    return Running(
        task_definition=ours.get("taskDefinition", ""),
        digests={
            str(image.get("containerName")): str(image.get("imageDigest", ""))
            for image in ours.get("containerImages", [])
        },
        finished_at=good.get("finishedAt"),
        rolled_back=str(left.get("taskDefinition", "")),
        answered_at=_date(answer["ResponseMetadata"]["HTTPHeaders"]),
    )


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None
