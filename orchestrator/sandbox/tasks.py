"""One ECS task's life as a pure function of time: when it runs, when and why it stops.

A task's *fate* is decided when it is started (see launch.py); the scheduler or a user can cut the life short by asking it
to stop. Stop codes and reasons are those of the ECS documentation ("Stopped tasks error messages", API_Task stopCode).

Scripted by the container environment variable ORCH_SANDBOX_BEHAVIOUR:
    crash            exits with code 1 soon after RUNNING, before it counts as healthy
    exit:N           the same with code N
    oom              killed by the kernel, code 137, `OutOfMemoryError` as the container's reason
    unhealthy        RUNNING, but its container health check fails and the scheduler stops it
    cannot-pull      never starts: CannotPullContainerError
    slow:SECONDS     takes that long to reach RUNNING
    flapping         becomes healthy, exits with code 1 after a while, again and again

Simplified: images need no time of their own to pull; ENI and agent states pass within the first half of the start.
"""

from __future__ import annotations

from dataclasses import dataclass

BEHAVIOUR_VARIABLE = "ORCH_SANDBOX_BEHAVIOUR"
_ESSENTIAL = "Essential container in task exited"
_SIGTERM_EXIT_CODE = 143
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
    """How a task stops. `exit_code` is None when the container never started."""

    stop_code: str
    stopped_reason: str
    exit_code: int | None
    container_reason: str = ""
    unhealthy: bool = False


@dataclass(frozen=True)
class Fate:
    """What becomes of a task that nobody stops: it fails to start, runs `run_s` and ends, or runs for ever."""

    start_s: float
    start_failure: Ending | None = None
    run_s: float | None = None
    ending: Ending | None = None


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
            ending = Ending(stop_code, reason, _SIGTERM_EXIT_CODE if started else None)
            self._stop = _Stop(at, ending)

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
        return self._own_end_at if self._stop is None else self._stop.at + self._timing.stop_s

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
    """A task that never reached RUNNING."""
    return Ending("TaskFailedToStart", reason, None, container_reason=reason)


def cannot_pull(image: str) -> str:
    """The stoppedReason that ECS gives when the registry does not have the image."""
    return (
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
        f"failed to resolve ref {image}: {image}: not found"
    )


def service_fate(behaviour: str, image: str, timing: Timing) -> Fate:
    """The fate of a service's task under a scripted behaviour; an empty one runs for ever."""
    kind, _, argument = behaviour.partition(":")
    fates = {
        "": Fate(timing.task_seconds),
        "crash": _exits(1, timing),
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
                _SIGTERM_EXIT_CODE,
                unhealthy=True,
            ),
        ),
        "cannot-pull": Fate(timing.task_seconds, start_failure=start_failure(cannot_pull(image))),
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
    known = "crash, exit:N, oom, unhealthy, cannot-pull, slow:SECONDS, flapping"
    reason = f"{BEHAVIOUR_VARIABLE}={behaviour!r} is not known to the sandbox; known are {known}"
    return Fate(timing.task_seconds, start_failure=start_failure(f"ResourceInitializationError: {reason}"))


def one_off_fate(behaviour: str, image: str, timing: Timing) -> Fate:
    """The fate of a task started by RunTask: it exits with code 0 after a while unless scripted otherwise."""
    fate = service_fate(behaviour, image, timing)
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
