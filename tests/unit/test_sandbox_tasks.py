"""One task's life as a function of time."""

from __future__ import annotations

import pytest

from orchestrator.sandbox import programs
from orchestrator.sandbox.reasons import Names, TargetHealth
from orchestrator.sandbox.tasks import TaskLife, Timing, one_off_fate, service_fate

TIMING = Timing(4.0)
STARTS_AT = 100.0
RUNS_AT = 104.0


def life(behaviour: str = "") -> TaskLife:
    return TaskLife("t1", STARTS_AT, service_fate(behaviour, "example/app:1", TIMING), TIMING)


@pytest.mark.parametrize(
    ("at", "status"), [(100.0, "PROVISIONING"), (101.5, "PENDING"), (104.0, "RUNNING"), (9e9, "RUNNING")]
)
def test_a_task_reaches_running_and_stays(at: float, status: str) -> None:
    assert life().status(at) == status


def test_it_counts_as_healthy_only_after_having_run_for_a_while() -> None:
    assert not life().is_healthy(RUNS_AT)
    assert life().is_healthy(RUNS_AT + TIMING.settle_s)


@pytest.mark.parametrize(
    ("behaviour", "stop_code", "exit_code", "reason"),
    [
        ("crash", "EssentialContainerExited", 1, "Essential container in task exited"),
        ("exit:7", "EssentialContainerExited", 7, "Essential container in task exited"),
        ("oom", "EssentialContainerExited", 137, "Essential container in task exited"),
        ("unhealthy", "ServiceSchedulerInitiated", 143, "Task failed container health checks"),
    ],
)
def test_scripted_ends_come_before_the_task_is_healthy(
    behaviour: str, stop_code: str, exit_code: int, reason: str
) -> None:
    one = life(behaviour)
    assert one.is_running(RUNS_AT)
    assert one.status(RUNS_AT + TIMING.settle_s) == "STOPPED"
    assert one.healthy_at is None
    assert one.ended_by_itself
    assert one.ending is not None
    assert (one.ending.stop_code, one.ending.exit_code, one.ending.stopped_reason) == (
        stop_code,
        exit_code,
        reason,
    )


def test_out_of_memory_is_the_containers_reason() -> None:
    ending = life("oom").ending
    assert ending is not None
    assert ending.container_reason.startswith("OutOfMemoryError:")


def test_an_image_that_cannot_be_pulled_never_runs() -> None:
    one = life("cannot-pull")
    assert one.running_at is None
    assert one.status(RUNS_AT) == "STOPPED"
    assert one.ending is not None
    assert one.ending.stop_code == "TaskFailedToStart"
    assert one.ending.exit_code is None
    assert one.ending.stopped_reason.startswith("CannotPullContainerError:")
    assert "example/app:1" in one.ending.stopped_reason


def test_slow_takes_its_time() -> None:
    assert life("slow:30").running_at == STARTS_AT + 30


def test_flapping_becomes_healthy_first() -> None:
    one = life("flapping")
    assert one.healthy_at is not None
    assert one.stopped_at is not None
    assert one.healthy_at < one.stopped_at


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("no-route", "CannotPullContainerError: The task cannot pull example/app:1 from the registry"),
        ("wrong-arch", "descriptor matching platform 'linux/arm64'"),
        ("secret-denied", "not authorized to perform: secretsmanager:GetSecretValue on resource: arn:s"),
        ("secret-missing", "can't retrieve the secret with ARN 'arn:s' from AWS Secrets Manager"),
        ("log-group-missing", "The specified log group does not exist: /ecs/x"),
        ("no-addresses", "in subnet 'subnet-7'"),
        ("no-capacity", "Capacity is unavailable at this time."),
        ("quota", "reached the limit on the number of vCPUs"),
    ],
)
def test_a_start_that_fails_says_why_in_the_words_of_aws(behaviour: str, reason: str) -> None:
    names = Names("example/app:1", "arn:aws:iam::1:role/r", "arn:s", "/ecs/x", "linux/arm64", "subnet-7")
    fate = service_fate(behaviour, "example/app:1", TIMING, names)
    ending = fate.start_failure
    assert ending is not None
    assert reason in ending.stopped_reason
    assert ending.event == f"was unable to place a task. Reason: {ending.stopped_reason}"
    assert (ending.stop_code, ending.exit_code) == ("TaskFailedToStart", None)
    # Only what fails at a container is the container's reason too.
    assert bool(ending.container_reason) == (behaviour in {"no-route", "wrong-arch"})
    assert fate.is_unplaced == (behaviour in {"no-capacity", "quota"})


@pytest.mark.parametrize(
    ("behaviour", "health"),
    [
        ("elb-unhealthy", ("Target.FailedHealthChecks", "Health checks failed")),
        ("elb-unhealthy:timeout", ("Target.Timeout", "Request timed out")),
        (
            "elb-unhealthy:503",
            ("Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]"),
        ),
    ],
)
def test_a_target_that_is_unhealthy_drains_before_its_task_stops(
    behaviour: str, health: tuple[str, str]
) -> None:
    one = life(behaviour)
    assert one.ending is not None
    assert one.ending.target_health == TargetHealth("unhealthy", *health)
    assert f"due to (reason {health[1]})." in one.ending.event
    assert one.ending.stopped_reason.startswith("Task failed ELB health checks in (target-group arn:")
    ends = RUNS_AT + TIMING.crash_s
    assert one.status(ends) == "DEACTIVATING"
    assert one.status(ends + TIMING.stop_s) == "STOPPED"
    assert one.ended_by_itself
    assert one.healthy_at is None


def test_a_program_writes_what_fits_its_behaviour_or_what_it_is_told() -> None:
    assert programs.lines("crash", "stop")[-1] == "KeyError: 'DATABASE_URL'"
    assert programs.lines("exec-format", "stop") == ("exec /usr/local/bin/app: exec format error",)
    assert programs.lines("elb-unhealthy:404", "start") == ("listening on port 8080",)
    assert programs.lines("crash", "start", "one\ntwo") == ("one", "two")
    assert programs.lines("", "start") == ()
    assert programs.lines("exit:3", "stop", "one") == ()


@pytest.mark.parametrize(
    "behaviour", ["explode", "exit:", "exit:x", "slow:", "slow:-1", "crash:1", "quota:1"]
)
def test_an_unknown_script_fails_the_start_and_lists_the_known(behaviour: str) -> None:
    ending = life(behaviour).ending
    assert ending is not None
    assert ending.stop_code == "TaskFailedToStart"
    assert repr(behaviour) in ending.stopped_reason
    assert "cannot-pull" in ending.stopped_reason


def test_stopping_takes_a_moment_and_says_why() -> None:
    one = life()
    one.stop(110.0, stop_code="UserInitiated", reason="tidy")
    assert one.status(110.0) == "DEACTIVATING"
    assert one.desired_status(110.0) == "STOPPED"
    assert one.status(110.0 + TIMING.stop_s) == "STOPPED"
    assert not one.ended_by_itself
    assert one.ending is not None
    assert (one.ending.stop_code, one.ending.stopped_reason, one.ending.exit_code) == (
        "UserInitiated",
        "tidy",
        143,
    )


def test_a_task_stopped_before_it_ran_has_no_exit_code() -> None:
    one = life()
    one.stop(101.0, stop_code="UserInitiated", reason="tidy")
    assert one.running_at is None
    assert one.ending is not None
    assert one.ending.exit_code is None


def test_stopping_what_has_ended_changes_nothing() -> None:
    one = life("crash")
    one.stop(200.0, stop_code="UserInitiated", reason="late")
    assert one.ended_by_itself
    assert one.ending is not None
    assert one.ending.exit_code == 1


def test_a_one_off_ends_with_zero_unless_scripted() -> None:
    done = TaskLife("t", STARTS_AT, one_off_fate("", "i", TIMING), TIMING)
    assert done.status(STARTS_AT + 2 * TIMING.task_seconds) == "STOPPED"
    assert done.ending is not None
    assert done.ending.exit_code == 0
    failed = one_off_fate("exit:3", "i", TIMING).ending
    assert failed is not None
    assert failed.exit_code == 3
