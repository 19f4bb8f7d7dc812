"""What happens during a run, as values. Use cases emit events and print nothing; report/ renders them.

A leaf. `steps` guarantees that each step that starts also ends, on failure too, and keeps how long each took.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.model import Plan, Release, TaskFailure
    from orchestrator.promotion import Gate


@dataclass(frozen=True)
class StepStarted:
    """A stage of a use case begins; `name` is stable, `title` is for people."""

    name: str
    title: str


@dataclass(frozen=True)
class StepFinished:
    """A stage ended; `detail` says in a few words what came out."""

    name: str
    title: str
    outcome: Literal["done", "skipped", "failed"]
    detail: str
    duration_s: float


@dataclass(frozen=True)
class ResourceProgress:
    """Terraform works on one resource; never holds attribute values."""

    address: str
    action: str
    state: Literal["started", "running", "done", "failed"]
    elapsed_s: float


@dataclass(frozen=True)
class OutputLine:
    """One line that a program printed, e.g. of an image build."""

    source: str
    text: str


@dataclass(frozen=True)
class PlanReady:
    """The plan to be approved."""

    environment: str
    plan: Plan


@dataclass(frozen=True)
class PlanResumed:
    """A new plan after a failed apply, held against the reviewed one: what is done, what is left, what was never reviewed."""

    environment: str
    done: tuple[str, ...]
    left: tuple[str, ...]
    unreviewed: tuple[str, ...]


@dataclass(frozen=True)
class GateShut:
    """A gate that refuses the plan: its rule, why, and the addresses it is about."""

    environment: str
    rule: str
    sentence: str
    about: tuple[str, ...]


@dataclass(frozen=True)
class RolloutProgress:
    """Counts of our deployment, whenever they changed."""

    service: str
    deployment_id: str
    state: str
    running: int
    pending: int
    desired: int
    failed: int
    failure_threshold: int


@dataclass(frozen=True)
class StageEntered:
    """A staged rollout came to another stage, or shifted more traffic. `strategy` and `stage` are ECS's words; `production_percent` is
    the part of the traffic that goes to the new tasks, None where ECS shifts none. `since` is ECS's time (ISO 8601), and `bakes_until`
    when ECS goes on by itself; both are empty where nothing says.
    """

    service: str
    deployment_id: str
    strategy: str
    stage: str
    production_percent: float | None
    since: str
    bakes_until: str


@dataclass(frozen=True)
class RolloutPaused:
    """A rollout waits at a stage for somebody, until `expires_at` (ISO 8601); then ECS takes `timeout_action`. `command` ends it."""

    service: str
    deployment_id: str
    stage: str
    hook_id: str
    expires_at: str
    timeout_action: str
    command: str


@dataclass(frozen=True)
class PauseContinued:
    """orch itself ended the pause of a rollout at a stage, because of its analyses; `reason` says what they came to."""

    service: str
    stage: str
    reason: str


@dataclass(frozen=True)
class ServiceEvent:
    """A new event of the ECS service, in ECS's words."""

    service: str
    at: str
    message: str


@dataclass(frozen=True)
class TaskFailed:
    """A task of our deployment failed."""

    failure: TaskFailure


@dataclass(frozen=True)
class Measured:
    """One measurement of an analysis: the values of the period until `ended_at` (ISO 8601), none without data, and what they are held
    to. `outcome` is success, failure, inconclusive, or error, of which `detail` tells; then the totals so far, and in `state` what
    they come to: running, passed, failed or inconclusive.
    """

    service: str
    analysis: str
    stage: str
    ended_at: str
    values: tuple[float, ...]
    outcome: str
    success: str
    failure: str
    successes: int
    count: int
    failures: int
    failure_limit: int
    state: str
    detail: str = ""


@dataclass(frozen=True)
class LogLine:
    """One line that a container wrote to its log in CloudWatch, without what looks like a credential; `at` is ISO 8601 in UTC."""

    service: str
    task_id: str
    container: str
    at: str
    text: str


@dataclass(frozen=True)
class TaskProgress:
    """A one-off task moved on; `status` is ECS's, such as PENDING or RUNNING."""

    service: str
    task_id: str
    status: str


@dataclass(frozen=True)
class ScaleProgress:
    """Counts of a service whose desired count was set, whenever they changed."""

    service: str
    running: int
    pending: int
    desired: int


@dataclass(frozen=True)
class CopyProgress:
    """An image is on its way to another registry, told a few times a second at the most; `image` is the one at the target."""

    image: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class GateJudged:
    """How the gate of a promotion stands for one service; told again when that has changed."""

    gate: Gate


@dataclass(frozen=True)
class Warned:
    """Something the user should know, though the run goes on."""

    message: str
    hint: str = ""


@dataclass(frozen=True)
class Released:
    """The verdict on one service."""

    release: Release


Event = (
    StepStarted
    | StepFinished
    | ResourceProgress
    | OutputLine
    | PlanReady
    | PlanResumed
    | GateShut
    | RolloutProgress
    | StageEntered
    | RolloutPaused
    | PauseContinued
    | ServiceEvent
    | TaskFailed
    | Measured
    | LogLine
    | TaskProgress
    | ScaleProgress
    | CopyProgress
    | GateJudged
    | Warned
    | Released
)
Emit = Callable[[Event], None]


@dataclass
class Step:
    """The running step: set `detail`, `skipped` when there was nothing to do, and `failed` when it ended badly without an exception."""

    detail: str = ""
    skipped: bool = False
    failed: bool = False


@dataclass
class Steps:
    """Starts and ends steps, and holds the durations of those that ended, in seconds, by name.

    `scope` names what they belong to where several run side by side: `dev/plan`, "dev: terraform plan".
    """

    emit: Emit
    durations_s: dict[str, float] = field(default_factory=dict)
    scope: str = ""

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[Step]:
        """Emits StepStarted now and StepFinished at the end, with the outcome."""
        if self.scope:
            name, title = f"{self.scope}/{name}", f"{self.scope}: {title}"
        started = time.monotonic()
        step = Step()
        outcome: Literal["done", "skipped", "failed"] = "failed"
        self.emit(StepStarted(name, title))
        try:
            yield step
            outcome = "failed" if step.failed else "skipped" if step.skipped else "done"
        finally:
            duration_s = time.monotonic() - started
            self.durations_s[name] = self.durations_s.get(name, 0.0) + duration_s
            self.emit(StepFinished(name, title, outcome, step.detail, duration_s))
