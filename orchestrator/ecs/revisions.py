"""Revisions of a task definition family in ECS: read, list, register, mark as released, deregister.

Touches: ecs:DescribeTaskDefinition, ecs:ListTaskDefinitions, ecs:RegisterTaskDefinition, ecs:TagResource,
ecs:DeregisterTaskDefinition.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.aws import translated
from orchestrator.ecs import task_definition
from orchestrator.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_ecs import ECSClient

    from orchestrator.ecs.task_definition import TaskDefinition

RELEASE_TAG = "orch:release"
RELEASED_AT_TAG = "orch:released-at"
COMMIT_TAG = "orch:git-sha"
PROMOTED_FROM_TAG = "orch:promoted-from"
_ATTEMPTS = 10
_LONGEST_PAUSE_S = 20.0


class Session(Protocol):
    """Two clients of one account: one that tries again by itself, and one that never does."""

    @property
    def ecs(self) -> ECSClient: ...

    @property
    def ecs_once(self) -> ECSClient: ...


@dataclass(frozen=True)
class Revision:
    """A registered task definition and its tags."""

    arn: str
    definition: TaskDefinition
    tags: Mapping[str, str]

    @property
    def is_registered_by_orch(self) -> bool:
        """Whether orch registered it; false for Terraform's skeleton."""
        return RELEASE_TAG in self.tags

    @property
    def has_succeeded(self) -> bool:
        """Whether a rollout of it ended with success, and that was recorded."""
        return RELEASED_AT_TAG in self.tags


def describe(ecs: ECSClient, arn_or_family: str) -> Revision:
    """One revision; a family alone means its newest ACTIVE one. Raises AwsError."""
    with translated("ecs:DescribeTaskDefinition"):
        answer = ecs.describe_task_definition(taskDefinition=arn_or_family, include=["TAGS"])
    description: Mapping[str, Any] = answer["taskDefinition"]
    tags = {tag["key"]: tag["value"] for tag in answer.get("tags", [])}
    return Revision(description["taskDefinitionArn"], task_definition.from_description(description), tags)


def register(
    session: Session,
    definition: TaskDefinition,
    tags: Mapping[str, str],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Revision:
    """Registers a new revision, once: ECS has no token that would make a second request harmless, so when an answer is lost, the
    family's newest revision tells by its release whether the first one arrived. Waits and tries again when another
    registration of the family is under way, which ECS answers with a ClientException. Raises AwsError.
    """
    request: dict[str, Any] = dict(definition.request)
    request["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with translated("ecs:RegisterTaskDefinition"):
                answer = session.ecs_once.register_task_definition(**request)
        except AwsError as error:
            is_busy = "Too many concurrent attempts" in error.message
            if attempt == _ATTEMPTS or not (is_busy or error.is_transient):
                raise
            sleep(min(2.0**attempt, _LONGEST_PAUSE_S) * random.uniform(0.25, 0.75))  # noqa: S311 - jitter, not a secret
            if not is_busy and (arrived := _arrived(session.ecs, definition, tags)):
                return arrived
        else:
            arn = answer["taskDefinition"]["taskDefinitionArn"]
            return Revision(arn, definition, tags)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _arrived(ecs: ECSClient, definition: TaskDefinition, tags: Mapping[str, str]) -> Revision | None:
    """The newest revision of the family, if it is that of this very release."""
    newest = describe(ecs, definition.family)
    is_ours = RELEASE_TAG in tags and newest.tags.get(RELEASE_TAG) == tags[RELEASE_TAG]
    return newest if is_ours else None


def name_release(ecs: ECSClient, arn: str, release_id: str) -> None:
    """Tags a revision with the release that is about to roll it out again. Raises AwsError."""
    with translated("ecs:TagResource"):
        ecs.tag_resource(resourceArn=arn, tags=[{"key": RELEASE_TAG, "value": release_id}])


def mark_released(ecs: ECSClient, arn: str, at: str) -> None:
    """Tags a revision as having been rolled out with success: what a rollback looks for. Raises AwsError."""
    with translated("ecs:TagResource"):
        ecs.tag_resource(resourceArn=arn, tags=[{"key": RELEASED_AT_TAG, "value": at}])


def newest_first(ecs: ECSClient, family: str) -> Iterator[str]:
    """The ARNs of the family's ACTIVE revisions, the newest first, page by page as they are asked for. Raises AwsError."""
    token = ""
    while True:
        request: dict[str, Any] = {"familyPrefix": family, "status": "ACTIVE", "sort": "DESC"}
        if token:
            request["nextToken"] = token
        with translated("ecs:ListTaskDefinitions"):
            page = ecs.list_task_definitions(**request)
        # The API calls it a prefix and takes a full family name; another family never belongs here.
        # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTaskDefinitions.html
        yield from (
            arn for arn in page["taskDefinitionArns"] if arn.rsplit("/", 1)[-1].split(":")[0] == family
        )
        token = page.get("nextToken", "")
        if not token:
            return


def deregister_all(ecs: ECSClient, families: tuple[str, ...]) -> tuple[str, ...]:
    """Deregisters every ACTIVE revision of these families and returns their ARNs. May be repeated. Raises AwsError."""
    gone = []
    for family in families:
        for arn in list(newest_first(ecs, family)):
            with translated("ecs:DeregisterTaskDefinition"):
                ecs.deregister_task_definition(taskDefinition=arn)
            gone.append(arn)
    return tuple(gone)
