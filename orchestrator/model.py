"""The frozen values that stages hand to each other. A leaf: imports nothing of orch, touches nothing."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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


class Masked(enum.Enum):
    """What stands in place of a value in a plan; nothing leads from it back to the value."""

    SENSITIVE = "(sensitive)"
    UNKNOWN = "(known after apply)"
    ABSENT = "(absent)"

    def __str__(self) -> str:
        return self.value


# A value of a plan in which every secret is replaced already: JSON, with Masked anywhere inside.
Value: TypeAlias = "bool | int | float | str | Sequence[Value] | Mapping[str, Value] | Masked | None"


@dataclass(frozen=True)
class Detail:
    """One thing that changes in a resource: an attribute by its path (`memory`, `tags.Team`), or what it means (`container web:
    image`, `statement Pull: actions`). A side that was not there is Masked.ABSENT; two sensitive sides may differ all the same.
    """

    label: str
    before: Value
    after: Value
    forces_replacement: bool = False


@dataclass(frozen=True)
class Change:
    """One resource that a plan changes, with nothing in it that is secret.

    `reason` is Terraform's (`replace_because_cannot_update`), `previous_address` that of a move, `import_id` that of an import.
    `widenings` are sentences on rights that grow: an action or resource more, a wildcard, a trust that lets more in.
    """

    address: str
    action: Action
    type: str = ""
    reason: str = ""
    previous_address: str = ""
    import_id: str = ""
    details: tuple[Detail, ...] = ()
    widenings: tuple[str, ...] = ()


@dataclass(frozen=True)
class OutputChange:
    """One output of the root module that changes."""

    name: str
    action: Action
    before: Value = Masked.ABSENT
    after: Value = Masked.ABSENT


@dataclass(frozen=True)
class CheckResult:
    """A check block, precondition or postcondition that did not pass. A failed check does not stop an apply."""

    address: str
    status: str
    messages: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What `terraform plan` found, with every secret replaced.

    `drift` is what somebody else changed and this configuration depends on. `is_applicable` is Terraform's own word that there
    is something to apply, outputs included; a plan that is errored can be shown but not applied. `contract` is the planned
    value of the output `orch` as far as it is known before apply. `undeletable` are the resources to be deleted that AWS will
    refuse to delete as they stand, each with the reason.
    """

    changes: tuple[Change, ...]
    drift: tuple[Change, ...]
    output_changes: tuple[OutputChange, ...]
    is_applicable: bool
    terraform_version: str
    contract: Mapping[str, object]
    undeletable: tuple[str, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    is_errored: bool = False

    @property
    def widenings(self) -> tuple[tuple[str, str], ...]:
        """Every right that grows, as (address, sentence)."""
        return tuple((change.address, text) for change in self.changes for text in change.widenings)

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
class Sealed:
    """A plan that was sealed: where its bundle lies, and until when it may be applied (ISO 8601, UTC)."""

    environment: str
    commit: str
    place: str
    expires_at: str


@dataclass(frozen=True)
class Drift:
    """What somebody changed outside Terraform in one environment: `reverted` by the next apply, or `kept` by it. `yours` is
    what this checkout changes.
    """

    environment: str
    reverted: tuple[Change, ...]
    kept: tuple[Change, ...]
    yours: tuple[Change, ...]

    @property
    def is_there(self) -> bool:
        return bool(self.reverted or self.kept)


@dataclass(frozen=True)
class Override:
    """A gate that somebody opened knowingly, and why."""

    rule: str
    reason: str


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
    overrides: tuple[Override, ...] = ()

    @property
    def revision(self) -> str:
        """`family:number`, as the console shows it."""
        return self.revision_arn.rsplit("/", 1)[-1]
