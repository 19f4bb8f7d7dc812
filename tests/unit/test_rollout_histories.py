"""The truth table of rollouts: what happened, and what the watch has to say of it (see histories.py)."""

from __future__ import annotations

import inspect
import time
from dataclasses import replace
from random import Random

import pytest

from orchestrator.ecs import identify, pace, rollout, services, verdict
from orchestrator.ecs.followed import Terms, decisive
from orchestrator.errors import AwsError
from orchestrator.events import RolloutProgress, ServiceEvent, TaskFailed, Warned
from orchestrator.model import Verdict
from tests.unit.histories import (
    ALARM,
    ALARM_TRIPPED,
    ASKED,
    CANCEL,
    MODEL,
    READS,
    WEB,
    Clockwork,
    Ecs,
    Fault,
    History,
    World,
    also,
    begin,
    break_api,
    breaks,
    busiest_minute,
    check_shape,
    drains,
    events_are_shuffled,
    events_come_twice,
    failure,
    is_gone,
    is_requested_to_roll_back,
    is_requested_to_stop,
    is_stopped,
    lags,
    leaves_the_list,
    old_leaves_the_list,
    old_runs,
    replay,
    rollback_fails,
    rolled_back,
    rolls_back,
    runs,
    says,
    service_deployment_is_forgotten,
    somebody_deploys,
    somebody_stops,
    stops_failed,
    succeeds,
    tasks_fail,
    theirs_fails_and_rolls_back,
    theirs_succeeds,
    wants,
)

SUCCEEDED, ROLLED_BACK, FAILED = Verdict.SUCCEEDED, Verdict.ROLLED_BACK, Verdict.FAILED
SUPERSEDED, TIMED_OUT = Verdict.SUPERSEDED, Verdict.TIMED_OUT
CANCELLED, UNKNOWN = Verdict.CANCELLED, Verdict.UNKNOWN
NO_API = Fault("UnsupportedFeatureException", READS[1:])
WORKS = Fault("")
HALF = Fault("ThrottlingException", picks=lambda number: number % 2 == 0)
BY_CHANCE = Fault("ThrottlingException", picks=lambda number: Random(number).random() < 0.5)
SERVICES, LIST, DEPLOYMENTS, REVISIONS = READS
FIRST: dict[str, object] = {}
LONE = {"is_first": True}
BAD_IMAGE = failure(1, cause="image", permanent=True)
CRASHES = (failure(1, reason="exit 1"), failure(2, reason="exit 1"), failure(3, reason="exit 1"))

GOOD = [
    History(
        "a rollout succeeds",
        SUCCEEDED,
        "",
        ((1, runs(0, 2)), (9, runs(1, 1)), (11, runs(2)), (15, old_runs(0)), (20, succeeds())),
        told_by=22,
    ),
    History("a rollout succeeds in 3 s", SUCCEEDED, "", ((1, runs(1, 1)), (3, succeeds())), told_by=5),
    History(
        "a slow rollout succeeds",
        SUCCEEDED,
        "",
        ((1, runs(0, 2)), (240, runs(1, 1)), (480, runs(2)), (560, succeeds())),
        told_by=566,
    ),
    History(
        "the first rollout of a service succeeds",
        SUCCEEDED,
        "",
        ((1, runs(0, 1)), (12, runs(1)), (15, succeeds())),
        world=FIRST,
        has_fallback=False,
    ),
    History(
        "ECS says so early, and cleans up later (DEFERRED)",
        SUCCEEDED,
        "",
        ((1, runs(0, 2)), (9, runs(2)), (12, succeeds(old_tasks_stay=True))),
        world={"has_early_success": True},
        told_by=14,
    ),
    History(
        "somebody deploys right after ours succeeded",
        SUCCEEDED,
        "",
        ((1, runs(2)), (12.0, succeeds()), (12.1, somebody_deploys(3)), (12.2, leaves_the_list())),
    ),
    History(
        "somebody deploys right after ours succeeded, no API",
        SUCCEEDED,
        "",
        (
            (0, NO_API),
            (1, runs(2)),
            (12.0, succeeds()),
            (12.1, somebody_deploys(3)),
            (12.2, leaves_the_list()),
        ),
    ),
    History(
        "a flapping task, and then it holds",
        SUCCEEDED,
        "",
        (
            (1, runs(0, 2)),
            (8, tasks_fail(1)),
            (14, tasks_fail(2)),
            (20, also(tasks_fail(0), runs(1, 1))),
            (26, tasks_fail(1)),
            (40, also(tasks_fail(0), runs(2))),
            (55, succeeds()),
        ),
    ),
    History(
        "autoscaling and AZ rebalancing move the counts",
        SUCCEEDED,
        "",
        (
            (1, runs(0, 2)),
            (8, wants(5)),
            (10, runs(2, 3)),
            (12, says("has started 1 tasks: (task a) to balance Availability Zones.")),
            (14, runs(6)),
            (16, also(wants(3), runs(5))),
            (18, runs(3)),
            (19, old_runs(3)),
            (30, old_runs(0)),
            (35, succeeds()),
        ),
    ),
    History(
        "the service looks stable long before ECS is done",
        SUCCEEDED,
        "",
        ((1, runs(2)), (2, old_leaves_the_list()), (50, succeeds())),
    ),
    History(
        "the same definition, forced",
        SUCCEEDED,
        "",
        ((1, runs(0, 2)), (11, runs(2)), (20, succeeds())),
        definition=1,
        force=True,
    ),
    History("no API", SUCCEEDED, "", ((0, NO_API), (1, runs(0, 2)), (11, runs(2)), (20, succeeds()))),
    History(
        "no right to list",
        SUCCEEDED,
        "",
        ((0, Fault("AccessDeniedException", (LIST,))), (1, runs(2)), (20, succeeds())),
    ),
    History(
        "the right to describe is lost half way",
        SUCCEEDED,
        "",
        ((1, runs(2)), (5, Fault("AccessDeniedException", (DEPLOYMENTS,))), (20, succeeds())),
    ),
    History(
        "no right to revisions, whose numbers are not the deployments'",
        SUCCEEDED,
        "",
        ((0, Fault("AccessDeniedException", (REVISIONS,))), (1, runs(2)), (20, succeeds())),
        world={"numbers_match": False},
    ),
    History(
        "numbers that do not match",
        SUCCEEDED,
        "",
        ((1, runs(2)), (20, succeeds())),
        world={"numbers_match": False},
        told_by=22,
    ),
    History(
        "ours is listed late",
        SUCCEEDED,
        "",
        ((1, runs(2)), (40, succeeds())),
        world={"lag_of_ours_s": 20.0},
    ),
    History(
        "the list holds only other people's",
        SUCCEEDED,
        "",
        ((1, runs(2)), (40, succeeds())),
        world={"lag_of_ours_s": 1e9},
    ),
    History(
        "DescribeServices lags 15 s",
        SUCCEEDED,
        "",
        ((0, lags(15, SERVICES)), (1, runs(2)), (40, succeeds())),
        told_by=43,
    ),
    History(
        "DescribeServices lags 15 s, no API",
        SUCCEEDED,
        "",
        ((0, NO_API), (0, lags(15, SERVICES)), (1, runs(2)), (40, succeeds())),
    ),
    History(
        "the list lags 10 s, and the deployments 5 s",
        SUCCEEDED,
        "",
        ((0, lags(10, LIST)), (0, lags(5, DEPLOYMENTS)), (1, runs(2)), (40, succeeds())),
    ),
    History("every second call is throttled", SUCCEEDED, "", ((0.1, HALF), (1, runs(2)), (40, succeeds()))),
    History(
        "half of the calls are throttled",
        SUCCEEDED,
        "",
        ((0.1, BY_CHANCE), (1, runs(2)), (40, succeeds())),
    ),
    History(
        "every second call is throttled, numbers that do not match",
        SUCCEEDED,
        "",
        ((0.1, HALF), (1, runs(2)), (40, succeeds())),
        world={"numbers_match": False},
    ),
    History(
        "three of four calls fail for a while",
        SUCCEEDED,
        "",
        (
            (0.1, Fault("ServerException", picks=lambda number: number % 4 > 0)),
            (1, runs(2)),
            (90, WORKS),
            (120, succeeds()),
        ),
    ),
    History(
        "ECS is out for four minutes",
        SUCCEEDED,
        "",
        ((1, runs(2)), (10, Fault("ServerException")), (200, succeeds()), (250, WORKS)),
    ),
    History(
        "the network is out for two minutes",
        SUCCEEDED,
        "",
        ((1, runs(2)), (10, Fault("EndpointConnectionError")), (60, succeeds()), (130, WORKS)),
        told_by=140,
    ),
    History(
        "only DescribeServices is out",
        SUCCEEDED,
        "",
        ((1, runs(2)), (10, Fault("ServerException", (SERVICES,))), (40, succeeds())),
        told_by=43,
    ),
    History(
        "events out of order",
        SUCCEEDED,
        "",
        ((1, says("a.")), (2, says("b.")), (3, says("c.")), (4, events_are_shuffled()), (20, succeeds())),
    ),
    History(
        "events twice",
        SUCCEEDED,
        "",
        ((1, says("a.")), (2, says("b.")), (4, events_come_twice()), (20, succeeds())),
    ),
    History(
        "this clock is 10 min fast", SUCCEEDED, "", ((1, runs(2)), (20, succeeds())), world={"skew_s": -600}
    ),
    History(
        "this clock is 10 min slow", SUCCEEDED, "", ((1, runs(2)), (20, succeeds())), world={"skew_s": 600}
    ),
    History(
        "this clock is 10 min fast, numbers that do not match",
        SUCCEEDED,
        "",
        ((1, runs(2)), (20, succeeds())),
        world={"skew_s": -600, "numbers_match": False},
    ),
    History(
        "this clock is 10 min slow, numbers that do not match",
        SUCCEEDED,
        "",
        ((1, runs(2)), (20, succeeds())),
        world={"skew_s": 600, "numbers_match": False},
    ),
    History(
        "another run attaches",
        SUCCEEDED,
        "",
        ((1, runs(2)), (20, succeeds())),
        attaches=True,
        told_by=22,
    ),
    History(
        "ECS forgets our service deployment",
        SUCCEEDED,
        "",
        ((1, runs(2)), (8, service_deployment_is_forgotten()), (20, succeeds())),
    ),
]

BAD = [
    History(
        "the circuit breaker rolls back",
        ROLLED_BACK,
        "circuit breaker",
        (
            (1, runs(0, 2)),
            (8, tasks_fail(1)),
            (14, tasks_fail(2)),
            (20, breaks()),
            (21, rolls_back()),
            (40, rolled_back()),
        ),
        told_by=43,
    ),
    History(
        "the circuit breaker rolls back, no API",
        ROLLED_BACK,
        "circuit breaker",
        (
            (0, NO_API),
            (1, runs(0, 2)),
            (8, tasks_fail(2)),
            (20, breaks()),
            (21, rolls_back()),
            (40, rolled_back()),
        ),
    ),
    History(
        "the circuit breaker opens, rollback is off",
        FAILED,
        "circuit breaker",
        ((1, runs(0, 2)), (14, tasks_fail(2)), (20, also(breaks(), stops_failed()))),
        world={"breaker_rolls_back": False},
        told_by=22,
    ),
    History(
        "the circuit breaker opens, rollback is off, no API",
        FAILED,
        "circuit breaker",
        ((0, NO_API), (1, runs(0, 2)), (14, tasks_fail(2)), (20, breaks())),
        world={"breaker_rolls_back": False},
        told_by=23,
    ),
    History(
        "the circuit breaker opens, rollback is off, and somebody deploys at once",
        FAILED,
        "circuit breaker",
        ((1, runs(0, 2)), (20, also(breaks(), stops_failed(), somebody_deploys(3)))),
        world={"breaker_rolls_back": False},
    ),
    History(
        "an alarm rolls back, though the breaker would not",
        ROLLED_BACK,
        "alarm",
        ((1, runs(2)), (20, breaks(ALARM)), (25, rolls_back(ALARM_TRIPPED)), (40, rolled_back())),
        world={"breaker_rolls_back": False, "alarms_roll_back": True},
    ),
    History(
        "an alarm rolls back, though the breaker would not, no API",
        ROLLED_BACK,
        "alarm",
        (
            (0, NO_API),
            (1, runs(2)),
            (20, breaks(ALARM)),
            (25, rolls_back(ALARM_TRIPPED)),
            (40, rolled_back()),
        ),
        world={"breaker_rolls_back": False, "alarms_roll_back": True},
    ),
    History(
        "an alarm goes off, its rollback is off, though the breaker's is on",
        FAILED,
        "alarm",
        ((0, NO_API), (1, runs(2)), (20, breaks(ALARM))),
        world={"alarms_roll_back": False},
        told_by=34,
    ),
    History(
        "an alarm goes off, rollback is off",
        FAILED,
        "alarm",
        ((1, runs(2)), (20, also(breaks(ALARM), stops_failed(ALARM_TRIPPED)))),
        world={"breaker_rolls_back": False, "alarms_roll_back": False},
    ),
    History(
        "the same definition, forced, is rolled back to itself",
        ROLLED_BACK,
        "circuit breaker",
        ((1, runs(0, 2)), (20, breaks()), (21, rolls_back()), (40, rolled_back())),
        definition=1,
        force=True,
    ),
    History(
        "the same definition, forced, is rolled back to itself, no API",
        ROLLED_BACK,
        "circuit breaker",
        ((0, NO_API), (1, runs(0, 2)), (20, breaks()), (21, rolls_back()), (40, rolled_back())),
        definition=1,
        force=True,
    ),
    History(
        "the rollback fails",
        FAILED,
        "rollback failed",
        ((1, runs(0, 2)), (20, breaks()), (21, rolls_back()), (40, rollback_fails())),
    ),
    History(
        "the rollback fails, no API",
        FAILED,
        "rollback failed",
        ((0, NO_API), (1, runs(0, 2)), (20, breaks()), (21, rolls_back()), (40, rollback_fails())),
    ),
    History(
        "FAILED and alone in the list for some seconds, then rolled back",
        ROLLED_BACK,
        "circuit breaker",
        (
            (1, runs(0, 2)),
            (5, old_leaves_the_list()),
            (20, breaks()),
            (25, rolls_back()),
            (40, rolled_back()),
        ),
    ),
    History(
        "FAILED and alone in the list for some seconds, then rolled back, no API",
        ROLLED_BACK,
        "circuit breaker",
        (
            (0, NO_API),
            (1, runs(0, 2)),
            (5, old_leaves_the_list()),
            (20, breaks()),
            (25, rolls_back()),
            (40, rolled_back()),
        ),
    ),
    History(
        "ours leaves the list while ECS rolls back, no API",
        ROLLED_BACK,
        "circuit breaker",
        (
            (0, NO_API),
            (1, runs(0, 2)),
            (20, breaks()),
            (24, also(rolls_back(), leaves_the_list())),
            (40, rolled_back()),
        ),
    ),
    History(
        "failed, rolled back and forgotten between two looks, no API",
        ROLLED_BACK,
        "tasks failed to start",
        ((0, NO_API), (1, runs(0, 2)), (20, also(breaks(), rolls_back(), rolled_back()))),
    ),
    History(
        "failed and rolled back while ECS was out",
        ROLLED_BACK,
        "circuit breaker",
        (
            (1, runs(0, 2)),
            (5, Fault("ServerException")),
            (20, breaks()),
            (21, rolls_back()),
            (60, rolled_back()),
            (90, WORKS),
        ),
    ),
    History(
        "failed and rolled back while ECS was out, no API",
        ROLLED_BACK,
        "tasks failed to start",
        (
            (0, NO_API),
            (1, runs(0, 2)),
            (5, Fault("ServerException", (SERVICES,))),
            (20, breaks()),
            (21, rolls_back()),
            (60, rolled_back()),
            (90, WORKS),
        ),
    ),
    History(
        "half of the calls are throttled, and it is rolled back",
        ROLLED_BACK,
        "circuit breaker",
        ((0.1, BY_CHANCE), (1, runs(0, 2)), (20, breaks()), (21, rolls_back()), (60, rolled_back())),
    ),
    History(
        "half of the calls are throttled, and it is rolled back, no API",
        ROLLED_BACK,
        "tasks failed to start",
        (
            (0, NO_API),
            (0.1, Fault("ThrottlingException", (SERVICES,), BY_CHANCE.picks)),
            (1, runs(0, 2)),
            (20, breaks()),
            (21, rolls_back()),
            (60, rolled_back()),
        ),
    ),
    History(
        "every second call is throttled, and it is rolled back",
        ROLLED_BACK,
        "circuit breaker",
        ((0.1, HALF), (1, runs(0, 2)), (20, breaks()), (21, rolls_back()), (60, rolled_back())),
    ),
    History(
        "only another's rollout of the same definition is listed, and it succeeded; ours is rolled back",
        ROLLED_BACK,
        "circuit breaker",
        ((1, runs(0, 2)), (20, breaks()), (21, rolls_back()), (60, rolled_back())),
        world={"lag_of_ours_s": 1e9},
        attaches=True,
        definition=1,
        force=True,
    ),
    History(
        "the same, with numbers that do not match",
        ROLLED_BACK,
        "circuit breaker",
        ((1, runs(0, 2)), (20, breaks()), (21, rolls_back()), (60, rolled_back())),
        world={"lag_of_ours_s": 1e9, "numbers_match": False},
        attaches=True,
        definition=1,
        force=True,
    ),
    History(
        "a person stops it",
        ROLLED_BACK,
        "StopServiceDeployment",
        ((1, runs(0, 2)), (10, somebody_stops())),
    ),
    History(
        "a person stops it, rollback is off",
        ROLLED_BACK,
        "StopServiceDeployment",
        ((1, runs(0, 2)), (10, somebody_stops())),
        world={"breaker_rolls_back": False},
    ),
    History(
        "a person stops it, rollback is off, and the way back takes its time",
        ROLLED_BACK,
        "StopServiceDeployment",
        (
            (1, runs(0, 2)),
            (20, also(breaks(), is_requested_to_roll_back())),
            (45, rolls_back(ASKED)),
            (60, rolled_back()),
        ),
        world={"breaker_rolls_back": False},
    ),
    History(
        "it is STOPPED, and nothing took its place",
        CANCELLED,
        "by an operator",
        ((1, runs(0, 2)), (10, is_stopped("by an operator"))),
    ),
    History(
        "the service is deleted",
        FAILED,
        "was deleted",
        ((1, runs(0, 2)), (10, drains()), (40, is_gone())),
        told_by=13,
    ),
    History("the service is gone at once", FAILED, "was deleted", ((1, runs(0, 2)), (10, is_gone()))),
    History(
        "the service is deleted before ours is listed",
        FAILED,
        "was deleted",
        ((1, runs(0, 2)), (10, also(drains(), is_gone()))),
        world={"lag_of_ours_s": 60.0},
    ),
    History(
        "the service is deleted, no API",
        FAILED,
        "was deleted",
        ((0, NO_API), (1, runs(0, 2)), (10, also(drains(), is_gone()))),
    ),
]

NO_WAY_BACK = "nothing to go back to"
WITHOUT_FALLBACK = [
    History(
        "a first rollout fails, and ECS leaves it standing",
        FAILED,
        NO_WAY_BACK,
        ((1, runs(0, 2)), (20, breaks())),
        world=FIRST,
        has_fallback=False,
        told_by=26,
    ),
    History(
        "a first rollout fails, no API",
        FAILED,
        NO_WAY_BACK,
        ((0, NO_API), (1, runs(0, 2)), (20, breaks())),
        world=FIRST,
        has_fallback=False,
        told_by=23,
    ),
    History(
        "a first rollout fails, and ECS finds nothing to go back to",
        FAILED,
        NO_WAY_BACK,
        (
            (1, runs(0, 2)),
            (20, also(breaks(), rollback_fails("No rollback candidate was found to run the rollback."))),
        ),
        world=FIRST,
        has_fallback=False,
    ),
    History(
        "a first rollout fails, rollback is off",
        FAILED,
        NO_WAY_BACK,
        ((1, runs(0, 2)), (20, also(breaks(), stops_failed()))),
        world={**FIRST, "breaker_rolls_back": False},
        has_fallback=False,
    ),
    History(
        "a first rollout fails, and ECS goes back to what never ran",
        FAILED,
        NO_WAY_BACK,
        ((1, runs(0, 2)), (20, breaks()), (21, rolls_back()), (300, rolled_back())),
        world=FIRST,
        has_fallback=False,
        told_by=26,
    ),
    History(
        "a first rollout has a cause that cannot pass",
        FAILED,
        NO_WAY_BACK,
        ((1, runs(0, 2)), (8, tasks_fail(1))),
        world=FIRST,
        has_fallback=False,
        diagnoses=((9, BAD_IMAGE),),
        told_by=14,
    ),
    History(
        "a first rollout is superseded by way of STOP_REQUESTED",
        SUPERSEDED,
        "web:3",
        ((1, runs(0, 2)), (10, is_requested_to_stop()), (13, somebody_deploys(3))),
        world=FIRST,
        has_fallback=False,
    ),
    History(
        "a first rollout of which nobody said that it is the first",
        FAILED,
        "circuit breaker",
        ((1, runs(0, 2)), (20, breaks())),
        world=LONE,
        definition=1,
        attaches=True,
        told_by=35,
    ),
    History(
        "the service is deleted during its first rollout",
        FAILED,
        "was deleted",
        ((1, runs(0, 2)), (10, drains())),
        world=FIRST,
        has_fallback=False,
    ),
]

OTHERS = [
    History(
        "another run deploys",
        SUPERSEDED,
        "web:3",
        ((1, runs(0, 2)), (10, somebody_deploys(3)), (30, theirs_succeeds())),
        told_by=13,
    ),
    History(
        "a person deploys the same definition again",
        SUPERSEDED,
        "took its place",
        ((1, runs(0, 2)), (10, somebody_deploys(2)), (30, theirs_succeeds())),
    ),
    History(
        "Terraform deploys the definition that ran before",
        SUPERSEDED,
        "web:1",
        ((1, runs(0, 2)), (10, somebody_deploys(1)), (30, theirs_succeeds())),
    ),
    History(
        "a person deploys, no API",
        SUPERSEDED,
        "web:3",
        ((0, NO_API), (1, runs(0, 2)), (10, somebody_deploys(3)), (30, theirs_succeeds())),
    ),
    History(
        "a person deploys the same definition again, no API",
        SUPERSEDED,
        "took its place",
        ((0, NO_API), (1, runs(0, 2)), (10, somebody_deploys(2)), (30, theirs_succeeds())),
    ),
    History(
        "Terraform deploys, and ours leaves the list, no API",
        SUPERSEDED,
        "web:3",
        ((0, NO_API), (1, runs(0, 2)), (10, also(somebody_deploys(3), leaves_the_list()))),
    ),
    History(
        "superseded, and DescribeServices lags",
        SUPERSEDED,
        "web:3",
        ((0, lags(6, SERVICES)), (1, runs(0, 2)), (10, somebody_deploys(3))),
    ),
    History(
        "superseded, DescribeServices lags, and then is out",
        SUPERSEDED,
        "web:3",
        (
            (0, lags(8, SERVICES)),
            (1, runs(0, 2)),
            (10, somebody_deploys(3)),
            (13, Fault("ServerException", (SERVICES,))),
            (40, WORKS),
        ),
    ),
    History(
        "it fails before it is listed, and somebody deploys at once",
        FAILED,
        "circuit breaker",
        ((0.5, also(breaks(), stops_failed(), somebody_deploys(3), theirs_succeeds(old_tasks_stay=True))),),
        world={"lag_of_ours_s": 5.0},
    ),
    History(
        "superseded in the first second, and DescribeServices lags",
        SUPERSEDED,
        "web:3",
        ((0, lags(8, SERVICES)), (0.5, somebody_deploys(3))),
    ),
    History(
        "superseded, but our service deployment never ends",
        SUPERSEDED,
        "web:3",
        ((0, lags(1e9, DEPLOYMENTS)), (0, lags(1e9, LIST)), (10, somebody_deploys(3))),
    ),
    History(
        "superseded, and what took its place fails and is rolled back",
        SUPERSEDED,
        "took its place",
        (
            (1, runs(0, 2)),
            (10, also(somebody_deploys(3), theirs_fails_and_rolls_back())),
            (30, rolled_back()),
        ),
    ),
    History(
        "superseded, and what took its place fails and is rolled back, no API",
        SUPERSEDED,
        "took its place",
        (
            (0, NO_API),
            (1, runs(0, 2)),
            (10, also(somebody_deploys(3), theirs_fails_and_rolls_back())),
            (30, rolled_back()),
        ),
    ),
    History(
        "superseded before it is listed",
        SUPERSEDED,
        "web:3",
        ((1, runs(0, 2)), (10, somebody_deploys(3))),
        world={"lag_of_ours_s": 30.0},
    ),
    History(
        "it failed, and somebody deploys instead of its rollback",
        FAILED,
        "circuit breaker",
        (
            (1, runs(0, 2)),
            (20, breaks()),
            (21, rolls_back()),
            (30, somebody_deploys(3)),
            (50, theirs_succeeds()),
        ),
    ),
    History(
        "it failed, and somebody deploys instead of its rollback, no API",
        FAILED,
        "tasks failed to start",
        (
            (0, NO_API),
            (1, runs(0, 2)),
            (20, breaks()),
            (21, rolls_back()),
            (30, somebody_deploys(3)),
            (50, theirs_succeeds()),
        ),
    ),
    History(
        "the PRIMARY deployment vanishes, no API",
        UNKNOWN,
        "no PRIMARY",
        ((0, NO_API), (10, also(leaves_the_list()))),
    ),
]

OURS = [
    History(
        "a cause that cannot pass is rolled back at once",
        ROLLED_BACK,
        "the image is wrong",
        ((1, runs(0, 2)), (8, tasks_fail(1))),
        diagnoses=((9, BAD_IMAGE),),
        told_by=27,
    ),
    History(
        "the same failure twice is rolled back at once",
        ROLLED_BACK,
        "twice in the same way",
        ((1, runs(0, 2)), (8, tasks_fail(1)), (14, tasks_fail(2))),
        diagnoses=((8, CRASHES[0]), (14, CRASHES[1])),
    ),
    History(
        "two different failures are left to the circuit breaker",
        ROLLED_BACK,
        "circuit breaker threshold was exceeded",
        (
            (1, runs(0, 2)),
            (8, tasks_fail(1)),
            (14, tasks_fail(2)),
            (20, breaks()),
            (21, rolls_back()),
            (40, rolled_back()),
        ),
        diagnoses=((8, failure(1, reason="exit 1")), (14, failure(2, reason="oom killed"))),
    ),
    History(
        "fail_fast is off",
        ROLLED_BACK,
        "circuit breaker threshold was exceeded.: the image is wrong",
        ((1, runs(0, 2)), (8, tasks_fail(1)), (40, breaks()), (41, rolls_back()), (60, rolled_back())),
        diagnoses=((9, BAD_IMAGE),),
        fail_fast=False,
    ),
    History(
        "fail_fast, but no API",
        ROLLED_BACK,
        "the image is wrong",
        (
            (0, NO_API),
            (1, runs(0, 2)),
            (8, tasks_fail(1)),
            (40, breaks()),
            (41, rolls_back()),
            (60, rolled_back()),
        ),
        diagnoses=((9, BAD_IMAGE),),
    ),
    History(
        "ECS refuses to stop what has just ended",
        SUCCEEDED,
        "",
        ((1, runs(0, 2)), (8, tasks_fail(1)), (20, succeeds())),
        world={"stop_answer": "ConflictException"},
        diagnoses=((9, BAD_IMAGE),),
    ),
    History(
        "the role may not stop",
        ROLLED_BACK,
        "the image is wrong",
        ((1, runs(0, 2)), (8, tasks_fail(1)), (40, breaks()), (41, rolls_back()), (60, rolled_back())),
        world={"stop_answer": "AccessDeniedException"},
        diagnoses=((9, BAD_IMAGE),),
    ),
    History(
        "rolled back by fail_fast, and the rollback fails",
        FAILED,
        "the image is wrong",
        ((1, runs(0, 2)), (8, tasks_fail(1)), (25, rollback_fails())),
        world={"rolls_back_in_s": 1e6},
        diagnoses=((9, BAD_IMAGE),),
    ),
    History("cancelled", CANCELLED, "cancelled; rolled back", ((1, runs(0, 2)), (10, CANCEL))),
    History(
        "cancelled in the first second",
        CANCELLED,
        "cancelled; rolled back",
        ((0.5, CANCEL),),
        world={"lag_of_ours_s": 0.4},
    ),
    History(
        "cancelled, and it had just succeeded",
        SUCCEEDED,
        "",
        ((1, runs(2)), (10, succeeds()), (10, CANCEL)),
    ),
    History(
        "cancelled, but no API",
        SUCCEEDED,
        "",
        ((0, NO_API), (1, runs(2)), (10, CANCEL), (30, succeeds())),
    ),
    History(
        "cancelled during the circuit breaker's rollback",
        ROLLED_BACK,
        "circuit breaker",
        ((1, runs(0, 2)), (20, breaks()), (21, rolls_back()), (30, CANCEL), (40, rolled_back())),
    ),
    History(
        "cancelled after orch asked for the rollback of a bad release",
        ROLLED_BACK,
        "the image is wrong",
        ((1, runs(0, 2)), (8, tasks_fail(1)), (15, CANCEL)),
        diagnoses=((9, BAD_IMAGE),),
        world={"rolls_back_in_s": 30.0},
    ),
    History(
        "cancelled, and ECS refuses",
        ROLLED_BACK,
        "circuit breaker",
        ((1, runs(0, 2)), (10, CANCEL), (20, breaks()), (21, rolls_back()), (40, rolled_back())),
        world={"stop_answer": "ConflictException"},
    ),
    History(
        "too slow", TIMED_OUT, "goes on in ECS", ((1, runs(0, 2)), (90, succeeds())), timeout_s=60, told_by=61
    ),
    History(
        "too slow, no API",
        TIMED_OUT,
        "goes on in ECS",
        ((0, NO_API), (1, runs(0, 2))),
        timeout_s=60,
        told_by=61,
    ),
    History(
        "done in the last second",
        SUCCEEDED,
        "",
        ((1, runs(0, 2)), (59.9, succeeds())),
        timeout_s=60,
    ),
    History(
        "too slow, and throttled at the end",
        UNKNOWN,
        "could not be followed",
        ((1, runs(0, 2)), (40, Fault("ThrottlingException"))),
        timeout_s=60,
        told_by=61,
    ),
    History(
        "the credentials are refused half way",
        UNKNOWN,
        "could not be followed",
        ((1, runs(0, 2)), (20, Fault("AccessDeniedException"))),
        told_by=26,
    ),
    History(
        "the credentials expire half way",
        UNKNOWN,
        "ExpiredTokenException",
        ((1, runs(0, 2)), (20, Fault("ExpiredTokenException"))),
        told_by=26,
    ),
    History(
        "ECS is out for good",
        UNKNOWN,
        "could not be followed",
        ((1, runs(0, 2)), (20, Fault("ServerException"))),
        told_by=340,
    ),
]
HISTORIES = [*GOOD, *BAD, *WITHOUT_FALLBACK, *OTHERS, *OURS]


@pytest.mark.parametrize("jitter", [rollout.JITTER[0], sum(rollout.JITTER) / 2, rollout.JITTER[1]])
@pytest.mark.parametrize("history", HISTORIES, ids=lambda one: one.name)
def test_the_verdict_on_each_history(history, jitter):
    seen = replay(history, jitter=jitter)
    assert (seen.ended.verdict, seen.ended.reason) == (history.verdict, seen.ended.reason)
    assert history.reason in seen.ended.reason
    assert seen.ended.deployment_id == seen.started.deployment_id
    assert seen.now_s <= (history.told_by or history.timeout_s + 0.2)


def test_each_history_has_a_name_of_its_own():
    names = [one.name for one in HISTORIES]
    assert len(set(names)) == len(names) >= 60


def history(name: str) -> History:
    (found,) = [one for one in HISTORIES if one.name == name]
    return found


# --- how soon, and at what price


def steady(length_s: float) -> tuple:
    """As on Fargate: half of the time until all run, then they have to be found healthy, and the old ones to drain."""
    return (
        (length_s * 0.05, runs(0, 2)),
        (length_s * 0.4, runs(1, 1)),
        (length_s * 0.5, runs(2)),
        (length_s * 0.9, old_runs(0)),
        (length_s, succeeds()),
    )


def silent(length_s: float) -> tuple:
    return ((length_s * 0.05, runs(0, 2)), (length_s, succeeds()))


@pytest.mark.parametrize("timeline", [steady, silent])
@pytest.mark.parametrize("jitter", rollout.JITTER)
@pytest.mark.parametrize(("length_s", "most_s"), [(3, 2.0), (20, 2.0), (60, 2.7), (300, 7.5)])
def test_a_verdict_comes_soon_after_the_end(timeline, jitter, length_s, most_s):
    for step in range(21):
        end_s = length_s * (0.95 + step / 200)
        seen = replay(History("", SUCCEEDED, "", timeline(end_s)), jitter=jitter)
        assert seen.ended.verdict is SUCCEEDED
        assert 0 <= seen.now_s - end_s <= most_s
        assert busiest_minute(seen.watched) <= 30


@pytest.mark.parametrize("jitter", [0.85, *rollout.JITTER, 1.15])
def test_no_minute_has_more_than_thirty_calls_unless_something_errs(jitter):
    calm = [one for one in HISTORIES if not any(isinstance(action, Fault) for _at, action in one.timeline)]
    assert len(calm) > 60
    for one in calm:
        assert busiest_minute(replay(one, jitter=jitter).watched) <= 30, one.name


# --- what else the watch does


@pytest.mark.parametrize("name", ["events out of order", "events twice"])
def test_each_event_is_told_once(name):
    seen = replay(history(name))
    told = [event.message for event in seen.events if isinstance(event, ServiceEvent)]
    ours = f"(deployment {seen.started.deployment_id}) deployment completed."
    said = sorted(
        [
            *("a.", "b.", "c.")[: 3 if name == "events out of order" else 2],
            ours,
            "has reached a steady state.",
        ]
    )
    assert sorted(told) == sorted(f"(service web) {text}" for text in said)


def test_trouble_with_the_api_is_told_once_a_minute_at_most():
    seen = replay(history("ECS is out for four minutes"))
    warned = [event for event in seen.events if isinstance(event, Warned)]
    assert 1 <= len(warned) <= 5
    assert "ServerException" in warned[0].message


def test_throttled_it_asks_less():
    seen = replay(history("too slow, and throttled at the end"))
    moments = [at for at, _name in seen.ecs.calls if 42 <= at < 60]
    assert len(moments) <= 3


def test_a_look_of_which_only_the_first_call_is_answered_does_not_stand_still():
    world = World()
    world.planned += [(1, runs(2)), (62, succeeds())]
    ecs = Ecs(world)
    clockwork = Clockwork(ecs)
    started = begin(ecs, WEB, 2)

    def fault(_number):
        is_second = ecs.calls[-2][0] == ecs.now_s
        return "ThrottlingException" if 5 < ecs.now_s < 60 or (is_second and ecs.now_s > 5) else ""

    ecs.faults |= dict.fromkeys(READS, fault)
    ended = rollout.follow(ecs, started, lambda _event: None, Terms(600), clock=clockwork.clock())
    assert ended.verdict is SUCCEEDED
    assert clockwork.now_s < 100


def test_a_bad_release_is_stopped_once_and_that_is_said():
    seen = replay(history("a cause that cannot pass is rolled back at once"))
    assert [name for _at, name in seen.ecs.calls].count("StopServiceDeployment") == 1
    assert any("orch asked ECS to roll back" in one.message for one in seen.events if isinstance(one, Warned))
    assert [one.failure for one in seen.events if isinstance(one, TaskFailed)] == [BAD_IMAGE]
    assert seen.ended.failures == (BAD_IMAGE,)


def test_what_may_not_be_stopped_is_said():
    seen = replay(history("the role may not stop"))
    (warned,) = [one for one in seen.events if isinstance(one, Warned)]
    assert "could not be rolled back" in warned.message
    assert [name for _at, name in seen.ecs.calls].count("StopServiceDeployment") == 1


def test_fail_fast_off_stops_nothing():
    seen = replay(history("fail_fast is off"))
    assert "StopServiceDeployment" not in [name for _at, name in seen.ecs.calls]


def test_a_diagnosis_that_is_refused_changes_no_verdict():
    def refused():
        raise AwsError("ecs:ListTasks failed: AccessDeniedException", code="AccessDeniedException")

    world = World()
    world.planned += [(1, runs(0, 2)), (5, tasks_fail(1)), (20, succeeds())]
    ecs, events = Ecs(world), []
    clockwork = Clockwork(ecs)
    started = begin(ecs, WEB, 2)
    ended = rollout.follow(ecs, started, events.append, Terms(60, diagnose=refused), clock=clockwork.clock())
    assert ended.verdict is SUCCEEDED
    assert any("cannot be read" in one.message for one in events if isinstance(one, Warned))


def test_progress_is_told_when_it_changed():
    seen = replay(history("a rollout succeeds"))
    told = [(one.state, one.running, one.pending) for one in seen.events if isinstance(one, RolloutProgress)]
    assert told[0][0] == "PENDING"
    assert told[1:] == [
        ("IN_PROGRESS", 0, 2),
        ("IN_PROGRESS", 1, 1),
        ("IN_PROGRESS", 2, 0),
        ("SUCCESSFUL", 2, 0),
    ]


@pytest.mark.parametrize(
    ("world", "timeline", "asked"),
    [
        ({}, ((1, runs(0, 2)),), (WEB,)),
        ({}, ((0, NO_API),), ()),
        ({"stop_answer": "ConflictException"}, ((1, runs(0, 2)),), ()),
        ({"lag_of_ours_s": 1e9}, ((1, runs(0, 2)),), ()),
        ({}, ((2, breaks()), (3, rolls_back())), (WEB,)),
    ],
    ids=["under way", "no API", "refused", "not listed", "rolled back already"],
)
def test_a_cancel_says_what_could_be_asked(world, timeline, asked):
    one = World(**world)
    ecs = Ecs(one)
    clockwork = Clockwork(ecs)
    for at, action in timeline:
        if isinstance(action, Fault):
            break_api(ecs, action)
        else:
            one.planned.append((at, action))
    watch = rollout.Watch(ecs, lambda _event: None, clock=clockwork.clock())
    watch.add(begin(ecs, WEB, 2), Terms(60))
    clockwork.interrupts.append(8.0)
    with pytest.raises(KeyboardInterrupt):
        watch.wait()
    assert watch.cancel("cancelled") == asked


def test_an_answer_without_our_deployment_is_not_followed():
    """Else the deployment of before would be taken for ours, and it has completed."""
    world = World()
    ecs = Ecs(world)
    world.update = lambda *_args, **_options: None
    with pytest.raises(AwsError, match="without a PRIMARY deployment of .*web:2"):
        begin(ecs, WEB, 2)


@pytest.mark.parametrize("offset_s", [-600.0, 600.0])
def test_the_time_of_day_here_plays_no_part(monkeypatch, offset_s):
    names = (
        "a rollout succeeds",
        "the circuit breaker rolls back",
        "another run deploys",
        "numbers that do not match",
    )
    before = [(seen.ended, seen.now_s) for seen in map(replay, map(history, names))]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + offset_s)
    shifted = [replace(history(name), world={**history(name).world, "skew_s": offset_s}) for name in names]
    after = [(replace(seen.ended, began_at=""), seen.now_s) for seen in map(replay, shifted)]
    assert after == [(replace(ended, began_at=""), now_s) for ended, now_s in before]
    for module in (rollout, verdict, services, identify, pace):
        source = inspect.getsource(module)
        assert "datetime.now" not in source
        assert "time.time" not in source


# --- several at once


@pytest.mark.parametrize(("numbers_match", "later_s"), [(True, 0.0), (True, 5.0), (False, 0.0), (False, 5.0)])
def test_two_rollouts_of_one_definition_are_each_judged_on_their_own(numbers_match, later_s):
    world = World(numbers_match=numbers_match)
    ecs = Ecs(world)
    clockwork = Clockwork(ecs)
    first = begin(ecs, WEB, 1, force=True)
    ecs.advance(later_s)
    second = begin(ecs, WEB, 1, force=True)
    world.planned += [(later_s + 1, runs(2)), (later_s + 20, succeeds())]
    clockwork.now_s = later_s
    watch = rollout.Watch(ecs, lambda _event: None, clock=clockwork.clock())
    for started in (first, second):
        watch.add(started, Terms(60))
    ended = []
    while not watch.is_idle:
        ended += watch.wait()
    assert first.deployment_id != second.deployment_id
    assert {one.deployment_id: one.verdict for one in ended} == {
        first.deployment_id: SUPERSEDED,
        second.deployment_id: SUCCEEDED,
    }


def watch_together(count: int):
    """So many services that succeed one after the other, from second 20 on; the calls by name, and the ends."""
    worlds = [World(f"s{number:02}") for number in range(count)]
    ecs = Ecs(*worlds)
    clockwork = Clockwork(ecs)
    watch = rollout.Watch(ecs, lambda _event: None, clock=clockwork.clock())
    for number, world in enumerate(worlds):
        watch.add(begin(ecs, world.name, 2), Terms(600))
        world.planned += [(1, runs(2)), (20 + number * 0.1, succeeds())]
    del ecs.calls[:]
    ended, looks = [], set()
    while not watch.is_idle:
        ended += watch.wait()
    looks = {at for at, _name in ecs.calls}
    assert {one.verdict for one in ended} == {SUCCEEDED}
    assert len({one.service for one in ended}) == count
    return [name for _at, name in ecs.calls], len(looks), clockwork.now_s


def test_twelve_services_are_watched_with_one_call_a_look():
    calls, looks, now_s = watch_together(12)
    assert now_s <= 20 + 1.1 + 2.1
    assert calls.count(LIST) == 12
    assert calls.count(DEPLOYMENTS) == looks <= 14
    # When they have ended: in two batches at most while more than ten are left.
    assert calls.count(SERVICES) <= 3


def test_twenty_five_services_take_two_calls_a_look():
    calls, looks, now_s = watch_together(25)
    assert now_s <= 20 + 2.4 + 2.1
    assert looks < calls.count(DEPLOYMENTS) <= 2 * looks


def test_one_that_ends_leaves_the_others_watched():
    worlds = [World("good"), World("bad"), World("slow")]
    ecs = Ecs(*worlds)
    clockwork = Clockwork(ecs)
    watch = rollout.Watch(ecs, lambda _event: None, clock=clockwork.clock())
    for world in worlds:
        watch.add(begin(ecs, world.name, 2), Terms(50))
        world.planned.append((1, runs(0, 2)))
    worlds[0].planned.append((10, succeeds()))
    worlds[1].planned += [(15, breaks()), (16, rolls_back()), (30, rolled_back())]
    ended = {}
    while not watch.is_idle:
        ended |= {one.service: (one.verdict, clockwork.now_s) for one in watch.wait()}
    assert {name: said for name, (said, _at) in ended.items()} == {
        "good": SUCCEEDED,
        "bad": ROLLED_BACK,
        "slow": TIMED_OUT,
    }
    assert ended["good"][1] <= 12.1
    assert ended["bad"][1] <= 32.1
    assert 50 <= ended["slow"][1] <= 50.2


def test_while_ecs_is_out_each_ends_at_its_own_deadline_and_nobody_asks_more_often():
    worlds = [World("short"), World("long")]
    ecs = Ecs(*worlds)
    clockwork = Clockwork(ecs)
    watch = rollout.Watch(ecs, lambda _event: None, clock=clockwork.clock())
    watch.add(begin(ecs, "short", 2), Terms(30))
    watch.add(begin(ecs, "long", 2), Terms(120))
    break_api(ecs, Fault("ThrottlingException"))
    ended = {}
    while not watch.is_idle:
        ended |= {one.service: (one.verdict, clockwork.now_s) for one in watch.wait()}
    assert ended["short"] == (UNKNOWN, pytest.approx(30, abs=0.2))
    assert ended["long"] == (UNKNOWN, pytest.approx(120, abs=0.2))
    assert len(ecs.calls) < 20


def test_the_scripted_ecs_cannot_lie_about_shapes():
    shape = MODEL.operation_model(SERVICES).output_shape
    check_shape({"services": [World().service_json()]}, shape)
    for wrong in ({"servicez": []}, {"services": [{"status": 1}]}, {"services": [{"launchType": "MOON"}]}):
        with pytest.raises(AssertionError):
            check_shape(wrong, shape)


@pytest.mark.parametrize(
    ("created_at", "is_decisive"),
    [("2026-07-01T00:00:01+00:00", False), ("2026-07-01T00:00:10+00:00", True), ("", True)],
)
def test_two_tasks_of_one_wave_are_one_try(created_at, is_decisive):
    first = replace(
        failure(1, reason="exit 1"),
        created_at="2026-07-01T00:00:00+00:00",
        stopped_at="2026-07-01T00:00:09+00:00",
    )
    second = replace(
        failure(2, reason="exit 1"), created_at=created_at, stopped_at="2026-07-01T00:00:12+00:00"
    )
    assert (decisive([first, second]) is not None) == is_decisive
