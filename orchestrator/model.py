"""The frozen values that stages hand to each other. A leaf: imports nothing of orch, touches nothing."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Verdict(enum.StrEnum):
    """How a rollout ended; decided from the service deployment that orch started."""

    SUCCEEDED = "SUCCEEDED"
    NO_CHANGE = "NO_CHANGE"
    ROLLED_BACK = "ROLLED_BACK"
    FAILED = "FAILED"
    SUPERSEDED = "SUPERSEDED"
    TIMED_OUT = "TIMED_OUT"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"

    @property
    def exit_code(self) -> int:
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Verdict.SUCCEEDED: 0,
    Verdict.NO_CHANGE: 0,
    Verdict.ROLLED_BACK: 10,
    Verdict.FAILED: 11,
    Verdict.SUPERSEDED: 12,
    Verdict.TIMED_OUT: 13,
    Verdict.CANCELLED: 14,
    Verdict.UNKNOWN: 15,
}


class Action(enum.StrEnum):
    """What a plan does to one resource, counted as a person would: a replace is a replace."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    FORGET = "forget"
    IMPORT = "import"
    MOVE = "move"
    READ = "read"


@dataclass(frozen=True)
class Change:
    """One resource that a plan changes. No attribute values: those may hold secrets."""

    address: str
    action: Action
    type: str = ""


@dataclass(frozen=True)
class Plan:
    """What `terraform plan` found, without values.

    `is_applicable` is Terraform's own word that there is something to apply, outputs included; `contract` is the planned
    value of the output `orch` as far as it is known before apply. `undeletable` are the resources to be deleted that AWS
    will refuse to delete as they stand, each with the reason.
    """

    changes: tuple[Change, ...]
    drifted: tuple[str, ...]
    output_changes: tuple[str, ...]
    is_applicable: bool
    terraform_version: str
    contract: Mapping[str, object]
    undeletable: tuple[str, ...] = ()

    def count(self, action: Action) -> int:
        return sum(change.action is action for change in self.changes)

    @property
    def summary(self) -> str:
        """One line such as `2 to create, 1 to replace`, or `no changes`."""
        parts = [f"{self.count(action)} to {action}" for action in Action if self.count(action)]
        if self.output_changes:
            parts.append(
                f"{len(self.output_changes)} output{'s' if len(self.output_changes) > 1 else ''} to change"
            )
        return ", ".join(parts) or "no changes"


@dataclass(frozen=True)
class Image:
    """A repository and a digest: the only way a task definition names an image."""

    repository: str
    digest: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True)
class Source:
    """What an image is built from: a Git commit, and a hash of the build context when it differs from that commit."""

    commit: str
    dirty_hash: str

    @property
    def tag(self) -> str:
        """The image tag: the full commit, plus `-dirty-HASH` when the working tree differs from it."""
        return f"{self.commit}-dirty-{self.dirty_hash}" if self.dirty_hash else self.commit


@dataclass(frozen=True)
class ServiceContract:
    """What Terraform tells orch about one ECS service (the output `orch`)."""

    name: str
    repository_url: str
    cluster: str
    service: str
    container: str
    skeleton_arn: str
    task_family: str
    log_group: str
    execution_role_arn: str
    task_role_arn: str
    desired_count: int


@dataclass(frozen=True)
class Contract:
    """The output `orch` of a root module, decoded; `outputs` are all non-sensitive outputs, for overlays."""

    account_id: str
    region: str
    services: tuple[ServiceContract, ...]
    outputs: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Rollout:
    """How one service's rollout ended; `deployment_id` is empty when nothing had to be rolled out."""

    service: str
    verdict: Verdict
    reason: str
    revision_arn: str
    deployment_id: str
    running_count: int
    desired_count: int


@dataclass(frozen=True)
class Bootstrapped:
    """What an account has after `orch bootstrap`; `role_arns` by role name, empty without [github] in orch.toml. `github` is
    the repository that was set up, or `left_to_do` the commands that would do it.
    """

    account_id: str
    state_bucket: str
    is_bucket_new: bool
    role_arns: Mapping[str, str]
    github: str = ""
    left_to_do: tuple[str, ...] = ()


@dataclass(frozen=True)
class Destroyed:
    """What `orch destroy` removed: resources by Terraform, task definition revisions (their ARNs) by orch."""

    environment: str
    resources: int
    revisions: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class ServiceStatus:
    """What one service runs now, and how its last deployment stands in ECS's words."""

    environment: str
    service: str
    revision_arn: str
    image: str
    deployment_state: str
    running_count: int
    desired_count: int
    release_id: str
    commit: str
    released_at: str

    @property
    def revision(self) -> str:
        """`family:number`, as the console shows it."""
        return self.revision_arn.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Release:
    """What orch did to one service of an environment; stored append-only and printed as the result."""

    id: str
    environment: str
    service: str
    account_id: str
    region: str
    image: Image
    commit: str
    revision_arn: str
    verdict: Verdict
    reason: str
    running_count: int
    desired_count: int
    actor: str
    started_at: str
    durations_s: Mapping[str, float]

    @property
    def revision(self) -> str:
        """`family:number`, as the console shows it."""
        return self.revision_arn.rsplit("/", 1)[-1]
