"""The frozen values that stages hand to each other. A leaf: imports nothing of orch, touches nothing."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


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
    NOT_STARTED = "NOT_STARTED"

    @property
    def exit_code(self) -> int:
        return _EXIT_CODES[self]

    @property
    def is_final(self) -> bool:
        """Whether nothing more becomes of the rollout. After the others it went on, and somebody may still see its end."""
        return self not in {Verdict.TIMED_OUT, Verdict.UNKNOWN}


_EXIT_CODES = {
    Verdict.SUCCEEDED: 0,
    Verdict.NO_CHANGE: 0,
    Verdict.ROLLED_BACK: 10,
    Verdict.FAILED: 11,
    Verdict.SUPERSEDED: 12,
    Verdict.TIMED_OUT: 13,
    Verdict.CANCELLED: 14,
    Verdict.UNKNOWN: 15,
    # Another service's verdict is the reason, and has the exit code that tells.
    Verdict.NOT_STARTED: 1,
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


class LockKind(enum.StrEnum):
    """Who holds a lock: a run for as long as it goes on, a person until they take it away, Terraform (of its state), or nobody
    who can be told.
    """

    RUN = "run"
    MANUAL = "manual"
    TERRAFORM = "terraform"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Lock:
    """What keeps others from changing an environment.

    `owner` is the ARN of an identity; `person` a user and host, or who started the workflow. Times are in UTC, as
    `2026-07-01 10:22:05 UTC`: `acquired_at` by the holder's clock, `heartbeat_at` (when it was last renewed) and `expires_at` by
    S3's. Without a lifetime it never ends by itself, and `expires_at` is empty.
    """

    environment: str
    kind: LockKind
    id: str
    lifetime_s: float | None
    owner: str = ""
    person: str = ""
    command: str = ""
    run_url: str = ""
    commit: str = ""
    host: str = ""
    pid: int = 0
    reason: str = ""
    acquired_at: str = ""
    heartbeat_at: str = ""
    expires_at: str = ""
    is_expired: bool = False

    @property
    def holder(self) -> str:
        """In a few words: `alice@laptop`, or the end of an ARN."""
        return self.person or self.owner.partition("/")[2] or self.owner or "somebody"

    @property
    def line(self) -> str:
        """`orch apply of alice@laptop, since 2026-07-01 10:22:05 UTC`."""
        if self.kind is LockKind.UNKNOWN:
            return "its lock is not one that this version of orch can read"
        program = "terraform" if self.kind is LockKind.TERRAFORM else "orch"
        since = f", since {self.acquired_at}" if self.acquired_at else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"{program} {self.command} of {self.holder}{since}{reason}"


@dataclass(frozen=True)
class Unlocked:
    """An environment whose lock was removed; `was` is None when it had none."""

    environment: str
    was: Lock | None


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
class BlueGreen:
    """What ECS needs in order to shift a service's traffic from one set of tasks to another; there may be no listener for tests."""

    alternate_target_group_arn: str
    production_listener_rule_arn: str
    test_listener_rule_arn: str | None
    infrastructure_role_arn: str


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
    blue_green: BlueGreen | None = None


@dataclass(frozen=True)
class Contract:
    """The output `orch` of a root module, decoded; `outputs` are all non-sensitive outputs, for overlays."""

    account_id: str
    region: str
    services: tuple[ServiceContract, ...]
    outputs: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Rollout:
    """How one service's rollout ended; `deployment_id` is empty when nothing had to be rolled out. `began_at` is when ECS made
    the deployment (ISO 8601), empty where it does not say. `strategy` is in words, and empty for a rolling one.
    """

    service: str
    verdict: Verdict
    reason: str
    revision_arn: str
    deployment_id: str
    running_count: int
    desired_count: int
    failures: tuple[TaskFailure, ...] = ()
    began_at: str = ""
    strategy: str = ""


@dataclass(frozen=True)
class Pause:
    """A rollout that waits at a stage for somebody, until `expires_at`; then ECS takes `timeout_action`. Times are ECS's (ISO 8601),
    and empty where it does not say.
    """

    environment: str
    service: str
    stage: str
    since: str
    expires_at: str
    timeout_action: str
    deployment_arn: str
    hook_id: str


@dataclass(frozen=True)
class ContainerExit:
    """How one container of a stopped task ended. `exit_code` is None when it never started, or has not ended yet; `reason` is
    ECS's.
    """

    name: str
    exit_code: int | None
    reason: str


@dataclass(frozen=True)
class Cause:
    """Why a task failed, as far as it is known (ecs/causes.py). `advice` is a full sentence with the names filled in; a permanent
    cause meets every later task of the same deployment too.
    """

    id: str
    title: str
    advice: str
    is_permanent: bool


@dataclass(frozen=True)
class TaskFailure:
    """A task of our deployment that failed, with what there is to understand it. `task_id` is empty when ECS could not even place
    one. `log_place` says where `log_lines` come from, and in words why there are none; `target_health` likewise.
    """

    service: str
    task_id: str
    deployment_id: str
    stop_code: str
    stopped_reason: str
    stopped_at: str
    containers: tuple[ContainerExit, ...] = ()
    target_health: tuple[str, ...] = ()
    log_place: str = ""
    log_lines: tuple[str, ...] = ()
    cause: Cause | None = None
    created_at: str = ""

    @property
    def culprit(self) -> ContainerExit | None:
        """The container that made the task end, None when ECS or somebody stopped it. ECS does not say which it was: the one with
        a reason, else one that failed by itself, for the others were told to stop (143) or killed (137) because of it.
        """
        if self.stop_code not in {"EssentialContainerExited", "TaskFailedToStart"}:
            return None
        likely = {137: 2, 0: 3, 143: 4, None: 5}
        ranked = sorted(self.containers, key=lambda one: 0 if one.reason else likely.get(one.exit_code, 1))
        return next(iter(ranked), None)

    @property
    def signature(self) -> str:
        """Equal for two failures of the same kind: the container, its exit code and the cause; without a known cause the stop code
        and its reason, in which ids, numbers and times do not count.
        """
        culprit = self.culprit
        where = f"{culprit.name} {culprit.exit_code}" if culprit else ""
        if self.cause is not None:
            return f"{where} {self.cause.id}".strip()
        reason = " ".join(dict.fromkeys([self.stopped_reason, culprit.reason if culprit else ""])).strip()
        return f"{where} {self.stop_code} {_WORD.sub(_varying, reason.lower())}".strip()


_WORD = re.compile(r"[\w.:/@-]+")


def _varying(word: re.Match[str]) -> str:
    """Task and request ids, digests, addresses, times and counts all have a digit in them."""
    return "*" if any(character.isdigit() for character in word[0]) else word[0]


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


class Standing(enum.StrEnum):
    """How a service stands, as ECS and the tags of its revision tell."""

    RELEASED = "released"
    ROLLING_OUT = "rolling out"
    ROLLING_BACK = "rolling back"
    FAILED = "failed"
    UNRECORDED = "not recorded"
    NEW = "never released"
    GONE = "no such service"


@dataclass(frozen=True)
class ServiceStatus:
    """What one service runs now, and how its last deployment stands in ECS's words (`deployment_state`) and ours (`standing`).

    `declared_count` is Terraform's desired count, which only the first release sets. `last_verdict` is that of the newest release
    on record, None where there is none; `last_at` when it was recorded. Times are ISO 8601.
    """

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
    standing: Standing
    declared_count: int
    last_verdict: Verdict | None = None
    last_reason: str = ""
    last_at: str = ""

    @property
    def is_healthy(self) -> bool:
        """Whether everything that should run does; a rollout under way, or one that was rolled back, is no illness."""
        is_well = self.standing not in {Standing.FAILED, Standing.GONE}
        return is_well and self.running_count >= self.desired_count

    @property
    def revision(self) -> str:
        """`family:number`, as the console shows it."""
        return self.revision_arn.rsplit("/", 1)[-1]


class Outcome(enum.StrEnum):
    """What a check of a preflight came to; a FAIL alone keeps a rollout from starting, a SKIP could not be asked."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclass(frozen=True)
class Finding:
    """One check of a preflight: `id` is stable, `title` for people, `subject` the ARN or name that was looked at."""

    id: str
    title: str
    subject: str
    outcome: Outcome
    detail: str
    hint: str = ""


@dataclass(frozen=True)
class Preflight:
    """What was found out about one service before its rollout, or about the environment itself, where `service` is empty."""

    environment: str
    service: str
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.outcome is Outcome.FAIL)


@dataclass(frozen=True)
class Checkup:
    """What `orch doctor` found out about one thing: `scope` is `machine`, `github` or `environment`, `name` what people call it.

    The account is the one that orch.toml expects, `caller` the ARN of the credentials; all three are an environment's alone.
    """

    scope: str
    name: str
    findings: tuple[Finding, ...]
    account_id: str = ""
    region: str = ""
    caller: str = ""

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.outcome is Outcome.FAIL)


@dataclass(frozen=True)
class ContainerStatus:
    """One container of a task; `exit_code` is None while it runs, and when it never started."""

    name: str
    status: str
    exit_code: int | None
    reason: str


@dataclass(frozen=True)
class TaskStatus:
    """One task of a service, or a one-off task of its family, in ECS's words. Times are ISO 8601, and empty until they come.

    `started_by` is the deployment that started it (`ecs-svc/…`), or orch (`orch/run/…`, `orch/pre-deploy/…`).
    """

    environment: str
    service: str
    task_id: str
    revision: str
    status: str
    health: str
    created_at: str
    started_at: str
    stopped_at: str
    availability_zone: str
    private_ip: str
    started_by: str
    stop_code: str
    stopped_reason: str
    containers: tuple[ContainerStatus, ...]


@dataclass(frozen=True)
class TaskRun:
    """A one-off task that `orch run` started; `exit_code` is that of its container, None when it was not awaited. `advice` is a
    sentence on why it failed, if that is known.
    """

    environment: str
    service: str
    task_id: str
    revision: str
    container: str
    exit_code: int | None
    stop_code: str
    stopped_reason: str
    duration_s: float
    advice: str = ""


@dataclass(frozen=True)
class Scaled:
    """A service whose desired count was set; `verdict` is None when nobody waited for the tasks."""

    environment: str
    service: str
    desired_before: int
    desired_count: int
    running_count: int
    verdict: Verdict | None
    reason: str


@dataclass(frozen=True)
class Replaced:
    """What a service ran before a release: its revision, and the image's digest and the commit where they are known."""

    revision_arn: str
    digest: str = ""
    commit: str = ""


@dataclass(frozen=True)
class PathCommit:
    """A commit that a promotion brings."""

    sha: str
    title: str


@dataclass(frozen=True)
class PathService:
    """What a promotion would change for one service. `changes` are those of the target's definition; `differs` is how what the
    target would then run differs from what the source runs. Digests and commits are empty where there are none.
    """

    service: str
    before: str
    after: str
    before_commit: str = ""
    after_commit: str = ""
    commits: tuple[PathCommit, ...] = ()
    commits_note: str = ""
    changes: tuple[Detail, ...] = ()
    differs: tuple[Detail, ...] = ()


@dataclass(frozen=True)
class PendingChanges:
    """What Terraform would change in an environment: a summary and the addresses; `error` says why that is not known."""

    summary: str
    addresses: tuple[str, ...]
    error: str = ""


@dataclass(frozen=True)
class PathView:
    """Everything that a promotion would change."""

    source: str
    target: str
    services: tuple[PathService, ...]
    source_pending: PendingChanges
    target_pending: PendingChanges

    @property
    def behind(self) -> tuple[str, ...]:
        """What the source has had of this checkout's infrastructure, and the target has not."""
        both = set(self.source_pending.addresses)
        return tuple(address for address in self.target_pending.addresses if address not in both)


@dataclass(frozen=True)
class PromotedFrom:
    """Where a release was carried from: the environment, and the release there."""

    environment: str
    release_id: str


@dataclass(frozen=True)
class Release:
    """What orch did to one service of an environment; stored append-only and printed as the result.

    `replaced` is None for a service's first release, and where nobody could tell. `plan` counts the plan's changes by action, and
    is None where no plan took part; `gates` are the rules that were asked, each of which was open or is among `overrides`.
    `committed_at` is when the commit was made (ISO 8601), empty where no checkout has it. `strategy` is in words, and empty for a
    rolling rollout.
    """

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
    replaced: Replaced | None = None
    plan: Mapping[str, int] | None = None
    gates: tuple[str, ...] = ()
    run_url: str = ""
    committed_at: str = ""
    promoted_from: PromotedFrom | None = None
    strategy: str = ""

    @property
    def revision(self) -> str:
        """`family:number`, as the console shows it."""
        return self.revision_arn.rsplit("/", 1)[-1]

    @property
    def is_rollback(self) -> bool:
        """Whether it went back: to an older revision than the one it replaced."""
        if self.replaced is None:
            return False
        (family, number), (before, number_before) = map(
            _split, (self.revision_arn, self.replaced.revision_arn)
        )
        return family == before and number < number_before


def _split(revision_arn: str) -> tuple[str, int]:
    """The family and the number of a revision."""
    family, _, number = revision_arn.rpartition(":")
    return family, int(number) if number.isdecimal() else 0


@dataclass(frozen=True)
class ReleaseRecord:
    """A release as the store has it: when its rollout began, and when it was recorded, at its end; ISO 8601, by AWS's clocks."""

    began_at: str
    recorded_at: str
    release: Release


@dataclass(frozen=True)
class ReleaseBrief:
    """A release as a listing of the store tells it, without its record being read: what dora.py measures by.

    Times as of a ReleaseRecord, to compare; `commit` is short, and empty where none is known, as is `committed_at` (None).
    """

    environment: str
    service: str
    id: str
    began_at: datetime
    recorded_at: datetime
    verdict: Verdict
    is_rollback: bool
    commit: str
    committed_at: datetime | None


@dataclass(frozen=True)
class Watched:
    """What `orch watch` saw of one service: how the rollout ended that was under way, or None when there was none.

    `release` is None for a rollout that orch did not start, of which nothing is recorded. `last` is the newest record of a service
    without a rollout.
    """

    environment: str
    service: str
    rollout: Rollout | None
    release: Release | None = None
    last: ReleaseRecord | None = None


@dataclass(frozen=True)
class ServiceDifference:
    """What differs for one service between two sides: what runs and what a deploy would run, or two environments.

    `before` and `after` name the sides, `demo-dev-hello:7` for what runs. `outcome` says in words what follows from it, and
    `is_change` whether anything does.
    """

    service: str
    before: str
    after: str
    outcome: str
    is_change: bool
    details: tuple[Detail, ...] = ()
