"""One ECS task's life as a pure function of time: when it runs, when and why it stops.

A task's *fate* is decided when it is started (see launch.py); the scheduler or a user can cut the life short by asking it
to stop. Stop codes and reasons are those of the ECS documentation ("Stopped tasks error messages", API_Task stopCode).

Scripted by the container environment variable ORCH_SANDBOX_BEHAVIOUR:
    crash            exits with code 1 soon after RUNNING, before it counts as healthy
    exit:N           the same with code N
    oom              killed by the kernel, code 137, `OutOfMemoryError` as the container's reason
    exec-format      exits with code 1, and `exec format error` in its log
    unhealthy        RUNNING, but its container health check fails and the scheduler stops it
    elb-unhealthy    the same by its load balancer's health check; `:CODE` answers with that code, `:timeout` not in time
    slow:SECONDS     takes that long to reach RUNNING
    flapping         becomes healthy, exits with code 1 after a while, again and again
    cannot-pull      never starts: the registry does not have the image; and so do for their own reasons:
    no-route, wrong-arch, secret-denied, secret-missing, log-group-missing, no-addresses
    no-capacity      is not even placed, so that no task is listed: only an event of the service tells; and likewise:
    quota

Simplified: images need no time of their own to pull; ENI and agent states pass within the first half of the start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.sandbox import reasons
from orchestrator.sandbox.reasons import Names, TargetHealth

BEHAVIOUR_VARIABLE = "ORCH_SANDBOX_BEHAVIOUR"
_ESSENTIAL = "Essential container in task exited"
SIGTERM_EXIT_CODE = 143
_OOM_EXIT_CODE = 137


@dataclass(frozen=True)
class Timing:
    """How long things take, all derived from one figure: seconds from a task's creation to RUNNING."""

    task_seconds: float

    @property
    def settle_s(self) -> float:
        """RUNNING to healthy. AWS waits 40 s when neither a health check nor a load balancer says it sooner."""
        return self.task_seconds / 4

    @property
    def stop_s(self) -> float:
        """From being told to stop to STOPPED."""
        return self.task_seconds / 4

    @property
    def crash_s(self) -> float:
        """How long a crashing container runs: shorter than `settle_s`, so that it never counts as healthy."""
        return self.task_seconds / 10

    @property
    def pending_s(self) -> float:
        """How long a service deployment or a requested rollback waits before the scheduler takes it up."""
        return self.task_seconds / 20


@dataclass(frozen=True)
class Ending:
    """How a task stops. `exit_code` is None when the container never started; `event` is what its service says of it, with
    {task} for its id; `target_health` what its target group said before.
    """

    stop_code: str
    stopped_reason: str
    exit_code: int | None
    container_reason: str = ""
    unhealthy: bool = False
    event: str = ""
    target_health: TargetHealth | None = None


@dataclass(frozen=True)
class Fate:
    """What becomes of a task that nobody stops: it fails to start, runs `run_s` and ends, or runs for ever. One that is unplaced
    fails before there is a task.
    """

    start_s: float
    start_failure: Ending | None = None
    run_s: float | None = None
    ending: Ending | None = None
    is_unplaced: bool = False


@dataclass(frozen=True)
class _Stop:
    at: float
    ending: Ending


class TaskLife:
    """One task from creation to STOPPED; every question takes or returns seconds since the epoch."""

    def __init__(self, task_id: str, created_at: float, fate: Fate, timing: Timing) -> None:
        self.task_id = task_id
        self.created_at = created_at
        self.fate = fate
        self._timing = timing
        self._stop: _Stop | None = None

    def stop(self, at: float, *, stop_code: str, reason: str) -> None:
        """Asks the task to stop; does nothing when it already ended or was asked before."""
        own_end = self._own_end_at
        if self._stop is None and (own_end is None or own_end > at):
            started = self.running_at is not None and self.running_at <= at
            ending = Ending(stop_code, reason, SIGTERM_EXIT_CODE if started else None)
            self._stop = _Stop(at, ending)

    def die(self, at: float) -> bool:
        """Lets its program end with code 1 at that moment; False for a task that does not run then."""
        if not self.is_running(at) or not self.is_active(at):
            return False
        ending = Ending("EssentialContainerExited", _ESSENTIAL, 1)
        self.fate = replace(self.fate, run_s=at - self.created_at - self.fate.start_s, ending=ending)
        return True

    @property
    def running_at(self) -> float | None:
        """When it reaches RUNNING; None when it never does."""
        at = self.created_at + self.fate.start_s
        never = self.fate.start_failure is not None or (self._stop is not None and self._stop.at <= at)
        return None if never else at

    @property
    def healthy_at(self) -> float | None:
        """When it starts to count as healthy; None when it never does."""
        if self.running_at is None:
            return None
        at = self.running_at + self._timing.settle_s
        ends = self.stopping_at
        return at if ends is None or at < ends else None

    @property
    def stopping_at(self) -> float | None:
        """When its desired status turns STOPPED: it was asked to stop, or ended by itself."""
        return self._own_end_at if self._stop is None else self._stop.at

    @property
    def stopped_at(self) -> float | None:
        if self._stop is not None:
            return self._stop.at + self._timing.stop_s
        # Before it stops, its target drains: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
        drains = self.fate.ending is not None and self.fate.ending.target_health is not None
        end = self._own_end_at
        return end + self._timing.stop_s if end is not None and drains else end

    @property
    def ended_by_itself(self) -> bool:
        """Whether nobody asked it to stop: for a service's task, a failure."""
        return self._stop is None and self._own_end_at is not None

    @property
    def ending(self) -> Ending | None:
        """How it stops, when it is known that it will."""
        return self._stop.ending if self._stop else (self.fate.start_failure or self.fate.ending)

    def desired_status(self, now: float) -> str:
        return "STOPPED" if self.stopping_at is not None and self.stopping_at <= now else "RUNNING"

    def is_active(self, now: float) -> bool:
        """Neither stopped nor on its way there."""
        return self.desired_status(now) == "RUNNING"

    def is_running(self, now: float) -> bool:
        return self.status(now) == "RUNNING"

    def is_healthy(self, now: float) -> bool:
        return self.is_active(now) and self.healthy_at is not None and self.healthy_at <= now

    def status(self, now: float) -> str:
        """`lastStatus`: PROVISIONING, PENDING, RUNNING, DEACTIVATING, STOPPED."""
        if self.stopped_at is not None and self.stopped_at <= now:
            return "STOPPED"
        if self.desired_status(now) == "STOPPED":
            return "DEACTIVATING"
        if self.running_at is not None and self.running_at <= now:
            return "RUNNING"
        return "PROVISIONING" if now < self.created_at + self.fate.start_s / 4 else "PENDING"

    @property
    def _own_end_at(self) -> float | None:
        start = self.created_at + self.fate.start_s
        if self.fate.start_failure is not None:
            return start
        return None if self.fate.run_s is None else start + self.fate.run_s


def start_failure(reason: str) -> Ending:
    """A task that never reached RUNNING. Of what fails at the container, the container has the reason too."""
    container_reason = reason if reason.startswith("Cannot") else ""
    event = f"was unable to place a task. Reason: {reason}"
    return Ending("TaskFailedToStart", reason, None, container_reason, event=event)


_START_FAILURES = {
    "cannot-pull": lambda names: reasons.cannot_pull(names.image),
    "no-route": reasons.no_route,
    "wrong-arch": reasons.wrong_architecture,
    "secret-denied": reasons.secret_denied,
    "secret-missing": reasons.secret_missing,
    "log-group-missing": reasons.log_group_missing,
    "no-addresses": reasons.no_addresses,
}
_UNPLACED = {"no-capacity": reasons.no_capacity, "quota": reasons.quota}


def service_fate(behaviour: str, image: str, timing: Timing, names: Names | None = None) -> Fate:
    """The fate of a service's task under a scripted behaviour; an empty one runs for ever."""
    names = names or Names(image=image)
    kind, _, argument = behaviour.partition(":")
    if kind in _START_FAILURES and not argument:
        return Fate(timing.task_seconds, start_failure=start_failure(_START_FAILURES[kind](names)))
    if kind in _UNPLACED and not argument:
        return Fate(timing.pending_s, start_failure=start_failure(_UNPLACED[kind](names)), is_unplaced=True)
    if kind == "elb-unhealthy":
        return _elb_unhealthy(argument, names, timing)
    fates = {
        "": Fate(timing.task_seconds),
        "crash": _exits(1, timing),
        "exec-format": _exits(1, timing),
        "oom": Fate(
            timing.task_seconds,
            run_s=timing.crash_s,
            ending=Ending(
                "EssentialContainerExited",
                _ESSENTIAL,
                _OOM_EXIT_CODE,
                "OutOfMemoryError: Container killed due to memory usage",
            ),
        ),
        "unhealthy": Fate(
            timing.task_seconds,
            run_s=timing.crash_s,
            ending=Ending(
                "ServiceSchedulerInitiated",
                "Task failed container health checks",
                SIGTERM_EXIT_CODE,
                unhealthy=True,
                event="(task {task}) failed container health checks.",
            ),
        ),
        "flapping": Fate(
            timing.task_seconds,
            run_s=timing.settle_s + timing.task_seconds,
            ending=Ending("EssentialContainerExited", _ESSENTIAL, 1),
        ),
    }
    if kind in fates and not argument:
        return fates[kind]
    if kind == "exit" and argument.isdigit():
        return _exits(int(argument), timing)
    if kind == "slow" and _is_positive(argument):
        return Fate(float(argument))
    known = [*filter(None, fates), "exit:N", "slow:SECONDS", "elb-unhealthy[:CODE|:timeout]"]
    known += [*_START_FAILURES, *_UNPLACED]
    reason = f"{BEHAVIOUR_VARIABLE}={behaviour!r} is not known to the sandbox; known are {', '.join(known)}"
    return Fate(timing.task_seconds, start_failure=start_failure(f"ResourceInitializationError: {reason}"))


def _elb_unhealthy(kind: str, names: Names, timing: Timing) -> Fate:
    health = reasons.unhealthy(kind)
    group = f"(target-group {names.target_group_arn})"
    ending = Ending(
        "ServiceSchedulerInitiated",
        f"Task failed ELB health checks in {group}",
        SIGTERM_EXIT_CODE,
        event=f"(task {{task}}) (port {names.port}) is unhealthy in {group} due to (reason {health.description}).",
        target_health=health,
    )
    return Fate(timing.task_seconds, run_s=timing.crash_s, ending=ending)


def one_off_fate(behaviour: str, image: str, timing: Timing, names: Names | None = None) -> Fate:
    """The fate of a task started by RunTask: it exits with code 0 after a while unless scripted otherwise."""
    fate = service_fate(behaviour, image, timing, names)
    if fate.start_failure is None and fate.ending is None:
        done = Ending("EssentialContainerExited", _ESSENTIAL, 0)
        return Fate(fate.start_s, run_s=timing.task_seconds, ending=done)
    return fate


def _exits(code: int, timing: Timing) -> Fate:
    ending = Ending("EssentialContainerExited", _ESSENTIAL, code)
    return Fate(timing.task_seconds, run_s=timing.crash_s, ending=ending)


def _is_positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False
