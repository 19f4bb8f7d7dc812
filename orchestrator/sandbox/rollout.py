"""One ECS service over time: deployments, scheduling, circuit breaker, rollback. Pure: no moto, no clock, no I/O.

The state is a function of what was asked and of time alone: `advance(now)` walks every moment between the last call and
`now` at which something happens, so it does not matter how often anybody looks.

As the AWS documentation says (API_Deployment, API_DeploymentConfiguration, API_DeploymentCircuitBreaker, developer guide
"service-deployment", "deployment-circuit-breaker", "stop-service-deployment"): PRIMARY/ACTIVE, rolloutState, failedTasks as
*consecutive* failures, minimumHealthyPercent rounded up and maximumPercent rounded down, threshold = half the desired
count within 3..200, rollback to the most recent COMPLETED deployment, a FAILED deployment that starts nothing, the state
names of service deployments, and a start throttle for tasks that fail again and again.

Simplified: a task is healthy a quarter of a task's start time after RUNNING (AWS: 40 s, or its health checks); the rollback
deployment starts fresh tasks; an old deployment's tasks that die are not replaced; only the ROLLING strategy; no alarms.
Invented, because the documentation is silent: a superseded service deployment ends STOPPED; without a deployment to roll
back to, a wanted rollback ends ROLLBACK_FAILED; the wording of `statusReason`. Event texts are close to AWS's, not equal.
"""

from __future__ import annotations

import math
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator.sandbox.tasks import TaskLife, Timing

_EVENTS_KEPT = 100
_SERVICE_DEPLOYMENTS_KEPT = 100
_COMPLETED_KEPT = 10
_IMPAIRED_AFTER = 3
_MAX_BACK_OFF_FACTOR = 64
_BREAKER_REASON = "ECS deployment circuit breaker: tasks failed to start."


@dataclass(frozen=True)
class Configuration:
    """`deploymentConfiguration`, as far as it steers the scheduler."""

    minimum_healthy_percent: int = 100
    maximum_percent: int = 200
    breaker_enabled: bool = False
    breaker_rolls_back: bool = False
    breaker_resets: bool = True
    threshold_type: str = "BOUNDED_PERCENT"
    threshold_value: int = 50

    @staticmethod
    def parse(raw: Mapping[str, Any]) -> Configuration:
        """From the API's shape; what is absent has ECS's default."""
        breaker = raw.get("deploymentCircuitBreaker") or {}
        threshold = breaker.get("thresholdConfiguration") or {}
        return Configuration(
            minimum_healthy_percent=raw.get("minimumHealthyPercent", 100),
            maximum_percent=raw.get("maximumPercent", 200),
            breaker_enabled=bool(breaker.get("enable")),
            breaker_rolls_back=bool(breaker.get("rollback")),
            breaker_resets=breaker.get("resetOnHealthyTask") is not False,
            threshold_type=threshold.get("type", "BOUNDED_PERCENT"),
            threshold_value=threshold.get("value", 50),
        )

    def threshold(self, desired_count: int) -> int:
        """How many consecutive failures open the circuit breaker."""
        if self.threshold_type == "COUNT":
            return max(1, self.threshold_value)
        share = math.ceil(desired_count * self.threshold_value / 100)
        return max(1, share) if self.threshold_type == "UNBOUNDED_PERCENT" else min(max(share, 3), 200)

    def least_healthy(self, desired_count: int) -> int:
        return math.ceil(desired_count * self.minimum_healthy_percent / 100)

    def most_tasks(self, desired_count: int) -> int:
        return math.floor(desired_count * self.maximum_percent / 100)


@dataclass(frozen=True)
class Revision:
    """A service revision: what a deployment deploys. `settings` are the service's own fields at that time."""

    arn: str
    task_definition: str
    created_at: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[Mapping[str, str], ...] = ()


@dataclass
class Deployment:
    """An entry of `deployments[]`."""

    number: int
    revision: Revision
    created_at: float
    updated_at: float
    reason: str
    status: str = "PRIMARY"
    rollout_state: str = "IN_PROGRESS"
    failed_tasks: int = 0
    tasks: list[TaskLife] = field(default_factory=list)  # those not yet seen STOPPED
    healthy: set[str] = field(default_factory=set)
    explained: set[str] = field(default_factory=set)
    failures_in_a_row: int = 0
    next_launch_at: float = 0.0
    replaced_at: float | None = None

    @property
    def deployment_id(self) -> str:
        return f"ecs-svc/{self.number}"

    def active(self, now: float) -> list[TaskLife]:
        return [task for task in self.tasks if task.is_active(now)]

    def running_count(self, now: float) -> int:
        return sum(task.is_running(now) for task in self.tasks)

    def pending_count(self, now: float) -> int:
        return sum(task.is_active(now) and not task.is_running(now) for task in self.tasks)

    def healthy_count(self, now: float) -> int:
        return sum(task.is_healthy(now) for task in self.tasks)


@dataclass
class ServiceDeployment:
    """What ListServiceDeployments and DescribeServiceDeployments show."""

    arn: str
    created_at: float
    updated_at: float
    target: Revision
    sources: tuple[Revision, ...]
    configuration: Configuration
    raw_configuration: Mapping[str, Any]
    status: str = "PENDING"
    reason: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    stopped_at: float | None = None
    failure_count: int = 0
    triggered: bool = False
    rollback_requested_at: float | None = None
    rollback_reason: str = ""
    rollback_started_at: float | None = None
    rollback_revision_arn: str = ""

    @property
    def is_over(self) -> bool:
        return self.finished_at is not None

    def move(self, status: str, at: float, reason: str = "") -> None:
        self.status, self.updated_at = status, at
        self.reason = reason or self.reason

    def finish(self, status: str, at: float, reason: str) -> None:
        self.move(status, at, reason)
        self.finished_at = at
        if status == "STOPPED":
            self.stopped_at = at


@dataclass(frozen=True)
class Event:
    event_id: str
    created_at: float
    message: str


class ServiceRollouts:
    """One service's deployments. `launch(deployment, at)` starts one task of a deployment and gives its life back."""

    def __init__(
        self,
        name: str,
        *,
        desired_count: int,
        timing: Timing,
        launch: Callable[[Deployment, float], TaskLife],
        new_arn: Callable[[], str],
    ) -> None:
        self.name = name
        self.desired_count = desired_count
        self.deployments: list[Deployment] = []  # newest first: [0] is PRIMARY
        self.service_deployments: deque[ServiceDeployment] = deque(maxlen=_SERVICE_DEPLOYMENTS_KEPT)
        self.events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self.draining = False
        self._timing = timing
        self._launch = launch
        self._new_arn = new_arn
        self._completed: deque[Deployment] = deque(maxlen=_COMPLETED_KEPT)
        self._time = 0.0

    @property
    def primary(self) -> Deployment:
        return self.deployments[0]

    @property
    def current(self) -> ServiceDeployment:
        """The newest service deployment."""
        return self.service_deployments[0]

    @property
    def known_revisions(self) -> Iterator[Revision]:
        for service_deployment in self.service_deployments:
            yield service_deployment.target
            yield from service_deployment.sources

    def is_drained(self) -> bool:
        return self.draining and not any(deployment.tasks for deployment in self.deployments)

    def deploy(
        self, revision: Revision, *, now: float, configuration: Configuration, raw: Mapping[str, Any]
    ) -> None:
        """Starts a new service deployment of `revision`; one that is still going on is superseded."""
        sources = {d.revision.arn: d.revision for d in self.deployments if d.tasks or d.status == "PRIMARY"}
        if self.service_deployments and not self.current.is_over:
            self.current.finish(
                "STOPPED", now, "Service deployment stopped: a newer service deployment replaced it."
            )
        self.service_deployments.appendleft(
            ServiceDeployment(
                arn=self._new_arn(),
                created_at=now,
                updated_at=now,
                target=revision,
                sources=tuple(sources.values()),
                configuration=configuration,
                raw_configuration=raw,
            )
        )
        self._make_primary(revision, now, "ECS deployment {id} in progress.")
        self._time = now
        self._schedule(now)

    def set_desired_count(self, desired_count: int, *, now: float) -> None:
        self.desired_count = desired_count
        self._schedule(now)

    def request_rollback(self, service_deployment: ServiceDeployment, *, now: float) -> None:
        """StopServiceDeployment(ROLLBACK) of the current service deployment in PENDING or IN_PROGRESS."""
        service_deployment.rollback_requested_at = now
        service_deployment.rollback_reason = (
            "Service deployment rollback was requested by StopServiceDeployment."
        )
        service_deployment.move("ROLLBACK_REQUESTED", now, service_deployment.rollback_reason)

    def drain(self, *, now: float) -> None:
        """DeleteService: stops every task and starts none."""
        self.draining = True
        self.desired_count = 0
        if not self.current.is_over:
            self.current.finish("STOPPED", now, "The service was deleted.")
        for deployment in self.deployments:
            self._stop_tasks(deployment, deployment.active(now), now)

    def advance(self, now: float) -> None:
        """Brings the service to `now`, through every moment in between at which something happens."""
        while True:
            moment = min(self._moments_after(self._time), default=math.inf)
            if moment > now:
                break
            self._time = moment
            self._observe(moment)
            if not self.draining:
                self._schedule(moment)
        self._time = max(self._time, now)

    def _moments_after(self, after: float) -> Iterator[float]:
        for candidate in self._moments():
            if candidate is not None and candidate > after:
                yield candidate

    def _moments(self) -> Iterator[float | None]:
        for deployment in self.deployments:
            yield deployment.next_launch_at
            yield deployment.created_at + self._timing.settle_s
            if deployment.replaced_at is not None:
                yield deployment.replaced_at + self._timing.stop_s
            for task in deployment.tasks:
                yield task.healthy_at
                yield task.stopping_at
                yield task.stopped_at
        if self.service_deployments:
            yield self.current.created_at + self._timing.pending_s
            if self.current.rollback_requested_at is not None:
                yield self.current.rollback_requested_at + self._timing.pending_s

    def _observe(self, at: float) -> None:
        for deployment in list(self.deployments):
            for task in list(deployment.tasks):
                if task.stopped_at is not None and task.stopped_at <= at:
                    deployment.tasks.remove(task)
                    if task.ended_by_itself:
                        self._note_failure(deployment, task, at)
                elif task.ended_by_itself and not task.is_active(at):
                    self._say_why(deployment, task, at)  # its target drains before it stops
                elif task.is_healthy(at) and task.task_id not in deployment.healthy:
                    deployment.healthy.add(task.task_id)
                    self._note_healthy(deployment)

    def _say_why(self, deployment: Deployment, task: TaskLife, at: float) -> None:
        if task.ending is not None and task.ending.event and task.task_id not in deployment.explained:
            deployment.explained.add(task.task_id)
            self._say(at, task.ending.event.replace("{task}", task.task_id))

    def _note_healthy(self, deployment: Deployment) -> None:
        deployment.failures_in_a_row = 0
        if deployment is self.primary and self.current.configuration.breaker_resets:
            deployment.failed_tasks = 0
            self.current.failure_count = 0

    def _note_failure(self, deployment: Deployment, task: TaskLife, at: float) -> None:
        self._say_why(deployment, task, at)
        if deployment is not self.primary or self.draining:
            return
        deployment.failures_in_a_row += 1
        self._back_off(deployment, at)
        if deployment.rollout_state != "IN_PROGRESS":
            return
        deployment.failed_tasks += 1
        deployment.updated_at = at
        self.current.failure_count = deployment.failed_tasks
        self.current.updated_at = at
        if self.current.configuration.breaker_enabled:
            if deployment.failed_tasks >= self.current.configuration.threshold(self.desired_count):
                self._break_circuit(deployment, at)

    def _back_off(self, deployment: Deployment, at: float) -> None:
        beyond = deployment.failures_in_a_row - _IMPAIRED_AFTER
        if beyond == 0:
            self._say(
                at,
                "is unable to consistently start tasks successfully. For more information, see the Troubleshooting"
                " section of the Amazon ECS Developer Guide.",
            )
        if beyond > 0:
            factor = min(2 ** min(beyond, 10), _MAX_BACK_OFF_FACTOR)
            deployment.next_launch_at = at + self._timing.task_seconds * factor

    def _break_circuit(self, deployment: Deployment, at: float) -> None:
        deployment.rollout_state, deployment.reason = "FAILED", _BREAKER_REASON
        deployment.updated_at = at
        self._say(at, f"(deployment {deployment.deployment_id}) deployment failed: tasks failed to start.")
        current = self.current
        if current.rollback_started_at is not None:
            current.finish(
                "ROLLBACK_FAILED", at, "Service deployment rollback failed: tasks failed to start."
            )
            return
        current.triggered = True
        reason = "Service deployment failed because the circuit breaker threshold was exceeded."
        if not current.configuration.breaker_rolls_back:
            current.finish("STOPPED", at, reason)
            return
        current.rollback_reason = reason
        self._roll_back(at)

    def _roll_back(self, at: float) -> None:
        failed, current = self.primary, self.current
        good = next((d for d in reversed(self._completed) if d is not failed), None)
        if good is None:
            failed.rollout_state = "FAILED"
            failed.updated_at = at
            if failed.reason != _BREAKER_REASON:
                failed.reason = "ECS deployment stopped."
            current.finish("ROLLBACK_FAILED", at, "No rollback candidate was found to run the rollback.")
            return
        if failed.rollout_state != "FAILED":
            failed.rollout_state, failed.reason = "FAILED", "ECS deployment stopped by StopServiceDeployment."
        self._say(at, f"rolling back to deployment {good.deployment_id}.")
        cause = "circuit breaker" if current.triggered else "stopped"
        self._make_primary(
            good.revision, at, f"ECS deployment {cause}: rolling back to deploymentId {good.deployment_id}."
        )
        current.rollback_started_at = at
        current.rollback_revision_arn = good.revision.arn
        current.move("ROLLBACK_IN_PROGRESS", at, current.rollback_reason)

    def _make_primary(self, revision: Revision, at: float, reason: str) -> None:
        for deployment in self.deployments:
            if deployment.status == "PRIMARY":
                deployment.status, deployment.updated_at = "ACTIVE", at
                deployment.replaced_at = at
        number = secrets.randbelow(9 * 10**18) + 10**18
        self.deployments.insert(
            0, Deployment(number, revision, at, at, reason.format(id=f"ecs-svc/{number}"))
        )

    def _schedule(self, at: float) -> None:
        self._take_up_requests(at)
        self._scale_in(at)
        self._stop_replaced(at)
        self._start_missing(at)
        self._complete(at)
        self._drop_replaced(at)

    def _take_up_requests(self, at: float) -> None:
        current = self.current
        if current.status == "PENDING" and at >= current.created_at + self._timing.pending_s:
            current.started_at = at
            current.move("IN_PROGRESS", at)
        requested = current.rollback_requested_at
        if current.status == "ROLLBACK_REQUESTED" and requested is not None:
            if at >= requested + self._timing.pending_s:
                self._roll_back(at)

    def _may_launch(self, at: float) -> bool:
        waiting = self.current.status in ("PENDING", "ROLLBACK_REQUESTED")
        return self.primary.rollout_state != "FAILED" and not waiting and at >= self.primary.next_launch_at

    def _start_missing(self, at: float) -> None:
        if not self._may_launch(at):
            return
        room = self.current.configuration.most_tasks(self.desired_count)
        room -= sum(len(deployment.active(at)) for deployment in self.deployments)
        missing = self.desired_count - len(self.primary.active(at))
        if min(room, missing) <= 0:
            return
        started = [self._launch(self.primary, at) for _ in range(min(room, missing))]
        self.primary.tasks.extend(started)
        self.primary.updated_at = at
        if placed := [task for task in started if not task.fate.is_unplaced]:
            self._say(at, f"has started {len(placed)} tasks: {_listed(placed)}.")

    def _scale_in(self, at: float) -> None:
        active = self.primary.active(at)
        surplus = len(active) - self.desired_count
        if surplus > 0:
            waiting_first = sorted(active, key=lambda task: task.is_healthy(at))
            self._stop_tasks(self.primary, waiting_first[:surplus], at)

    def _stop_replaced(self, at: float) -> None:
        """Stops old tasks that new healthy ones replace, or that stand in their way, as the percentages allow."""
        if self.primary.rollout_state == "FAILED" or self.current.status in ("PENDING", "ROLLBACK_REQUESTED"):
            return
        configuration = self.current.configuration
        old = [(d, task) for d in self.deployments[1:] for task in d.active(at)]
        for deployment, task in old:
            if deployment.rollout_state != "COMPLETED" and not task.is_healthy(at):
                self._stop_tasks(deployment, [task], at)
        old = [(d, task) for d, task in old if task.is_active(at)]
        healthy = sum(d.healthy_count(at) for d in self.deployments)
        may_stop = max(0, healthy - configuration.least_healthy(self.desired_count))
        still_wanted = max(0, self.desired_count - self.primary.healthy_count(at))
        replaced = max(0, len(old) - still_wanted)
        missing = self.desired_count - len(self.primary.active(at))
        room = configuration.most_tasks(self.desired_count) - len(self.primary.active(at)) - len(old)
        in_the_way = max(0, missing - max(0, room))
        for deployment, task in old[: min(may_stop, max(replaced, in_the_way))]:
            self._stop_tasks(deployment, [task], at)

    def _stop_tasks(self, deployment: Deployment, tasks: list[TaskLife], at: float) -> None:
        for task in tasks:
            reason = f"Scaling activity initiated by (deployment {self.primary.deployment_id})"
            task.stop(at, stop_code="ServiceSchedulerInitiated", reason=reason)
        if tasks:
            deployment.updated_at = at
            self._say(at, f"has stopped {len(tasks)} running tasks: {_listed(tasks)}.")

    def _complete(self, at: float) -> None:
        primary = self.primary
        if primary.rollout_state != "IN_PROGRESS" or self.current.status in ("PENDING", "ROLLBACK_REQUESTED"):
            return
        settled = at >= primary.created_at + self._timing.settle_s
        full = len(primary.active(at)) == primary.healthy_count(at) == self.desired_count
        if not settled or not full or any(deployment.tasks for deployment in self.deployments[1:]):
            return
        primary.rollout_state, primary.updated_at = "COMPLETED", at
        primary.reason = f"ECS deployment {primary.deployment_id} completed."
        self._completed.append(primary)
        self._say(at, f"(deployment {primary.deployment_id}) deployment completed.")
        self._say(at, "has reached a steady state.")
        if self.current.rollback_started_at is None:
            self.current.finish("SUCCESSFUL", at, "")
        else:
            self.current.finish("ROLLBACK_SUCCESSFUL", at, "")

    def _drop_replaced(self, at: float) -> None:
        """A replaced deployment leaves the list when its last task is gone, but not in the moment it is replaced."""
        self.deployments = [
            d
            for d in self.deployments
            if d.replaced_at is None or d.tasks or at < d.replaced_at + self._timing.stop_s
        ]

    def _say(self, at: float, text: str) -> None:
        message = f"(service {self.name}) {text}"
        if not (self.events and self.events[0].message == message):
            self.events.appendleft(Event(secrets.token_hex(16), at, message))


def _listed(tasks: list[TaskLife]) -> str:
    return " ".join(f"(task {task.task_id})" for task in tasks)
