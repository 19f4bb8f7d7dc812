"""One ECS service over time: deployments, scheduling, circuit breaker, alarms, rollback. Pure: no moto, no clock, no I/O.

The state is a function of what was asked and of time alone: `advance(now)` walks every moment between the last call and
`now` at which something happens, so it does not matter how often anybody looks. Alarms are asked for since when they fire.

As the AWS documentation says (API_Deployment, API_DeploymentConfiguration, API_DeploymentCircuitBreaker, developer guide
"service-deployment", "deployment-circuit-breaker", "deployment-alarm-failure", "stop-service-deployment"): PRIMARY/ACTIVE,
rolloutState, failedTasks as *consecutive* failures, minimumHealthyPercent rounded up and maximumPercent rounded down,
threshold = half the desired count within 3..200, rollback to the most recent COMPLETED deployment, a FAILED deployment that
starts nothing, the state names of service deployments, and a start throttle for tasks that fail again and again. A deployment
alarm that fires fails the deployment, until it is complete; one that fired before the deployment began is ignored.

The stages of BLUE_GREEN, LINEAR and CANARY are strategies.py's. There too the breaker and the alarms decide, as
"deployment-failure-detection" says and as the acceptance tests of Terraform's provider
(TestAccECSService_BlueGreenDeployment_circuitBreakerRollback, internal/service/ecs/service_test.go) see it on AWS, against a note
in API_DeploymentCircuitBreaker. Without them green tasks that fail are started again until the stage's limit of 24 hours. Back
means that the blue deployment, whose tasks still run, is PRIMARY again. A new deployment supersedes one that is going on, and
begins with RECONCILE_SERVICE: the last completed revision gets all traffic back, and what was half rolled out goes.

Simplified: a task is healthy a quarter of a task's start time after RUNNING (AWS: 40 s, or its health checks); the rollback
deployment of a ROLLING one starts fresh tasks; an old deployment's tasks that die are not replaced, but blue's are; alarms are
watched for five task starts after a ROLLING deployment is healthy (AWS: a time computed from the alarms).
Invented, because the documentation is silent: a superseded service deployment ends STOPPED; without a deployment to roll
back to, a wanted rollback ends ROLLBACK_FAILED; the wording of `statusReason` but for the breaker's; what RECONCILE_SERVICE does
with the traffic; the stages shown while going back. Event texts are close to AWS's, not equal.
"""

from __future__ import annotations

import math
import secrets
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.sandbox import staged, strategies
from orchestrator.sandbox.deployments import Deployment, Event, ServiceDeployment, new_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orchestrator.sandbox.deployments import Configuration, Revision
    from orchestrator.sandbox.strategies import Hook
    from orchestrator.sandbox.tasks import TaskLife, Timing

_EVENTS_KEPT = 100
_SERVICE_DEPLOYMENTS_KEPT = 100
_COMPLETED_KEPT = 10
_IMPAIRED_AFTER = 3
_MAX_BACK_OFF_FACTOR = 64
_BREAKER_REASON = "ECS deployment circuit breaker: tasks failed to start."
_ALARM_REASON = "ECS deployment failed: alarm detected."


def _no_alarm(_names: Sequence[str]) -> dict[str, float]:
    return {}


class ServiceRollouts:
    """One service's deployments. `launch(deployment, at)` starts one task of a deployment and gives its life back;
    `firing(names)` says which of these alarms are in ALARM, and since when.
    """

    def __init__(
        self,
        name: str,
        *,
        desired_count: int,
        timing: Timing,
        launch: Callable[[Deployment, float], TaskLife],
        new_arn: Callable[[], str],
        firing: Callable[[Sequence[str]], Mapping[str, float]] = _no_alarm,
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
        self._firing = firing
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
        is_staged = configuration.strategy in strategies.STAGED
        before = next((d.revision for d in self.deployments if d.rollout_state == "COMPLETED"), None)
        if before is not None:
            # With each staged deployment the target groups change places.
            revision = replace(revision, is_swapped=before.is_swapped is not is_staged)
        serving = sum(bool(d.tasks) or d.status == "PRIMARY" for d in self.deployments)
        plan = (
            strategies.steps(raw, brief_s=self._timing.pending_s, reconciles=serving > 1) if is_staged else ()
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
                ignored_alarms=frozenset(self._firing(configuration.alarm_names)),
                stages=strategies.Stages(plan, raw.get("lifecycleHooks") or ()) if is_staged else None,
            )
        )
        self._make_primary(revision, now, "ECS deployment {id} in progress.", revision.number)
        if self.blue is not None:
            self.current.blue_arn = self.blue.revision.arn
        self._time = now
        self._schedule(now)

    def set_desired_count(self, desired_count: int, *, now: float) -> None:
        self.desired_count = desired_count
        self._schedule(now)

    def request_rollback(
        self, service_deployment: ServiceDeployment, *, now: float, by: str = "StopServiceDeployment"
    ) -> None:
        """StopServiceDeployment(ROLLBACK) of the current service deployment in PENDING or IN_PROGRESS."""
        service_deployment.rollback_requested_at = now
        service_deployment.rollback_reason = f"Service deployment rollback was requested by {by}."
        service_deployment.move("ROLLBACK_REQUESTED", now, service_deployment.rollback_reason)

    def answer_hook(
        self, service_deployment: ServiceDeployment, hook: Hook, action: str, *, now: float
    ) -> None:
        """ContinueServiceDeployment of a hook that waits in the current service deployment, IN_PROGRESS."""
        if service_deployment.stages is not None:
            service_deployment.stages.answer(hook, action, now)
        service_deployment.updated_at = now
        if action == "ROLLBACK":
            self.request_rollback(service_deployment, now=now, by="ContinueServiceDeployment")
        self._schedule(now)

    def drain(self, *, now: float) -> None:
        """DeleteService: stops every task and starts none."""
        self.draining = True
        self.desired_count = 0
        if not self.current.is_over:
            self.current.finish("STOPPED", now, "The service was deleted.")
        for deployment in self.deployments:
            self.stop_tasks(deployment, deployment.active(now), now)

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
        if self.service_deployments and not self.draining and self._tripped(now):
            # It went off in this very moment, which has been walked through already.
            self._schedule(now)

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
            if self.current.baking_since is not None:
                yield self.current.baking_since + self._alarm_bake_s
            if self.current.stages is not None and not self.current.is_over:
                yield from self.current.stages.moments()
            if not self.current.is_over:
                yield from self._firing(self.current.configuration.alarm_names).values()

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
            self.say(at, task.ending.event.replace("{task}", task.task_id))

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
            self.say(
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
        self.say(at, f"(deployment {deployment.deployment_id}) deployment failed: tasks failed to start.")
        current = self.current
        current.triggered = current.triggered or current.rollback_started_at is None
        if current.rollback_started_at is not None:
            current.finish(
                "ROLLBACK_FAILED", at, "Service deployment rollback failed: tasks failed to start."
            )
            return
        what = "the circuit breaker threshold was exceeded"
        self.fail(at, what, rolls_back=current.configuration.breaker_rolls_back)

    def fail(self, at: float, what: str, *, rolls_back: bool) -> None:
        """https://github.com/hashicorp/terraform-provider-aws, service_test.go, has the words for the breaker with rollback."""
        if not rolls_back:
            self.current.finish("STOPPED", at, f"Service deployment failed because {what}.")
            return
        self.current.rollback_reason = f"Service deployment rolled back because {what}."
        self._roll_back(at)

    @property
    def _alarm_bake_s(self) -> float:
        return 5 * self._timing.task_seconds

    def _tripped(self, at: float) -> tuple[str, ...]:
        """The alarms that went off and fail the deployment now."""
        current = self.current
        stages = current.stages
        watching = current.status == "IN_PROGRESS" and not (stages and stages.stage == "CLEAN_UP")
        if not watching or not current.configuration.alarm_names:
            return ()
        firing = self._firing(current.configuration.alarm_names)
        return tuple(
            name
            for name, since in sorted(firing.items())
            if since <= at and name not in current.ignored_alarms
        )

    def _heed_alarms(self, at: float) -> None:
        tripped = self._tripped(at)
        if not tripped:
            return
        primary, current = self.primary, self.current
        current.triggered_alarms = tripped
        primary.rollout_state, primary.reason, primary.updated_at = "FAILED", _ALARM_REASON, at
        self.say(at, f"(deployment {primary.deployment_id}) deployment failed: alarm detected.")
        what = f"of CloudWatch alarms in ALARM: {', '.join(tripped)}"
        self.fail(at, what, rolls_back=current.configuration.alarms_roll_back)

    def _roll_back(self, at: float) -> None:
        failed, current = self.primary, self.current
        blue = self.blue if current.stages is not None else None
        good = blue or next((d for d in reversed(self._completed) if d is not failed), None)
        if good is None:
            failed.rollout_state = "FAILED"
            failed.updated_at = at
            if failed.reason not in (_BREAKER_REASON, _ALARM_REASON):
                failed.reason = "ECS deployment stopped."
            current.finish("ROLLBACK_FAILED", at, "No rollback candidate was found to run the rollback.")
            return
        if failed.rollout_state != "FAILED":
            failed.rollout_state, failed.reason = "FAILED", "ECS deployment stopped by StopServiceDeployment."
        self.say(at, f"rolling back to deployment {good.deployment_id}.")
        if current.stages is not None and blue is not None:
            self._put_first(blue, at)
            is_whole = len(blue.active(at)) >= self.desired_count
            current.stages.turn_back(at, self._timing.pending_s, is_blue_whole=is_whole)
        else:
            current.stages = None  # nothing to shift the traffic back to: fresh tasks, as for ROLLING
            self._make_primary(good.revision, at, self._why_back(good), new_number())
        current.rollback_started_at = at
        current.rollback_revision_arn = good.revision.arn
        current.move("ROLLBACK_IN_PROGRESS", at, current.rollback_reason)

    def _why_back(self, good: Deployment) -> str:
        current = self.current
        cause = "circuit breaker" if current.triggered else "alarm" if current.triggered_alarms else "stopped"
        return f"ECS deployment {cause}: rolling back to deploymentId {good.deployment_id}."

    def _make_primary(self, revision: Revision, at: float, reason: str, number: int) -> None:
        made = Deployment(number, revision, at, at, reason.format(id=f"ecs-svc/{number}"))
        self._put_first(made, at)

    def _put_first(self, deployment: Deployment, at: float) -> None:
        for other in self.deployments:
            if other.status == "PRIMARY":
                other.status, other.updated_at = "ACTIVE", at
                other.replaced_at = at
        deployment.status, deployment.replaced_at, deployment.updated_at = "PRIMARY", None, at
        self.deployments = [deployment, *(other for other in self.deployments if other is not deployment)]

    def _schedule(self, at: float) -> None:
        self._take_up_requests(at)
        self._heed_alarms(at)
        stages = self.current.stages
        if stages is not None and self.current.status in (
            "IN_PROGRESS",
            "ROLLBACK_REQUESTED",
            "ROLLBACK_IN_PROGRESS",
        ):
            staged.pass_stages(self, stages, at)
        else:
            self.scale_in(self.primary, at)
            self._stop_replaced(at)
            self._start_missing(at)
            self._complete(at)
        self._drop_replaced(at)

    @property
    def blue(self) -> Deployment | None:
        """Behind PRIMARY, what was completed last and still runs."""
        return next((d for d in self.deployments[1:] if d.rollout_state == "COMPLETED"), None)

    def complete(self, at: float) -> None:
        """PRIMARY is what was wanted."""
        primary = self.primary
        primary.rollout_state, primary.updated_at = "COMPLETED", at
        primary.reason = f"ECS deployment {primary.deployment_id} completed."
        self._completed.append(primary)
        self.say(at, f"(deployment {primary.deployment_id}) deployment completed.")

    # --- scheduling

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
        self.start(self.primary, min(room, missing), at)

    def start(self, deployment: Deployment, count: int, at: float) -> None:
        started = [self._launch(deployment, at) for _ in range(count)]
        deployment.tasks.extend(started)
        deployment.updated_at = at
        if placed := [task for task in started if not task.fate.is_unplaced]:
            self.say(at, f"has started {len(placed)} tasks: {_listed(placed)}.")

    def scale_in(self, deployment: Deployment, at: float) -> None:
        active = deployment.active(at)
        surplus = len(active) - self.desired_count
        if surplus > 0:
            waiting_first = sorted(active, key=lambda task: task.is_healthy(at))
            self.stop_tasks(deployment, waiting_first[:surplus], at)

    def _stop_replaced(self, at: float) -> None:
        """Stops old tasks that new healthy ones replace, or that stand in their way, as the percentages allow."""
        if self.primary.rollout_state == "FAILED" or self.current.status in ("PENDING", "ROLLBACK_REQUESTED"):
            return
        configuration = self.current.configuration
        old = [(d, task) for d in self.deployments[1:] for task in d.active(at)]
        for deployment, task in old:
            if deployment.rollout_state != "COMPLETED" and not task.is_healthy(at):
                self.stop_tasks(deployment, [task], at)
        old = [(d, task) for d, task in old if task.is_active(at)]
        healthy = sum(d.healthy_count(at) for d in self.deployments)
        may_stop = max(0, healthy - configuration.least_healthy(self.desired_count))
        still_wanted = max(0, self.desired_count - self.primary.healthy_count(at))
        replaced = max(0, len(old) - still_wanted)
        missing = self.desired_count - len(self.primary.active(at))
        room = configuration.most_tasks(self.desired_count) - len(self.primary.active(at)) - len(old)
        in_the_way = max(0, missing - max(0, room))
        for deployment, task in old[: min(may_stop, max(replaced, in_the_way))]:
            self.stop_tasks(deployment, [task], at)

    def stop_tasks(self, deployment: Deployment, tasks: list[TaskLife], at: float) -> None:
        for task in tasks:
            reason = f"Scaling activity initiated by (deployment {self.primary.deployment_id})"
            task.stop(at, stop_code="ServiceSchedulerInitiated", reason=reason)
        if tasks:
            deployment.updated_at = at
            self.say(at, f"has stopped {len(tasks)} running tasks: {_listed(tasks)}.")

    def _complete(self, at: float) -> None:
        primary = self.primary
        if primary.rollout_state != "IN_PROGRESS" or self.current.status in ("PENDING", "ROLLBACK_REQUESTED"):
            return
        settled = at >= primary.created_at + self._timing.settle_s
        full = len(primary.active(at)) == primary.healthy_count(at) == self.desired_count
        if not settled or not full or any(deployment.tasks for deployment in self.deployments[1:]):
            self.current.baking_since = None
            return
        if self.current.configuration.alarm_names and self.current.rollback_started_at is None:
            self.current.baking_since = self.current.baking_since or at
            if at < self.current.baking_since + self._alarm_bake_s:
                return
        self.complete(at)
        self.say(at, "has reached a steady state.")
        if self.current.rollback_started_at is None:
            self.current.finish("SUCCESSFUL", at, "")
        else:
            self.current.finish("ROLLBACK_SUCCESSFUL", at, "")

    def _drop_replaced(self, at: float) -> None:
        """A replaced deployment leaves the list when its last task is gone, but not in the moment it is replaced, nor while the
        traffic may be shifted back to it.
        """
        blue = self.blue if self.current.stages is not None and not self.current.is_over else None
        self.deployments = [
            d
            for d in self.deployments
            if d is blue or d.replaced_at is None or d.tasks or at < d.replaced_at + self._timing.stop_s
        ]

    def say(self, at: float, text: str) -> None:
        message = f"(service {self.name}) {text}"
        if not (self.events and self.events[0].message == message):
            self.events.appendleft(Event(secrets.token_hex(16), at, message))


def _listed(tasks: list[TaskLife]) -> str:
    return " ".join(f"(task {task.task_id})" for task in tasks)
