"""The truth table of staged rollouts (blue/green, linear, canary): what happened, and what the watch has to say of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.ecs import launch
from orchestrator.ecs.followed import Stage
from orchestrator.ecs.strategy import Strategy
from orchestrator.errors import AwsError
from orchestrator.events import RolloutPaused, RolloutProgress, StageEntered, Warned
from orchestrator.model import BlueGreen, Verdict
from tests.unit.histories import (
    ALARM,
    ALARM_TRIPPED,
    ASKED,
    CANCEL,
    HOOK_FAILED,
    READS,
    WEB,
    Ecs,
    Fault,
    History,
    World,
    also,
    begin,
    breaks,
    busiest_minute,
    drains,
    enters,
    failure,
    is_stopped,
    lags,
    pause_ends,
    pauses,
    replay,
    rollback_fails,
    rolled_back,
    rolls_back,
    runs,
    somebody_deploys,
    somebody_stops,
    succeeds,
)

SUCCEEDED, ROLLED_BACK, FAILED = Verdict.SUCCEEDED, Verdict.ROLLED_BACK, Verdict.FAILED
SUPERSEDED, TIMED_OUT, CANCELLED = Verdict.SUPERSEDED, Verdict.TIMED_OUT, Verdict.CANCELLED
SERVICES, _LIST, DEPLOYMENTS, _REVISIONS = READS
STAGES = (
    "PRE_SCALE_UP",
    "SCALE_UP",
    "POST_SCALE_UP",
    "TEST_TRAFFIC_SHIFT",
    "POST_TEST_TRAFFIC_SHIFT",
    "PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
    "BAKE_TIME",
    "CLEAN_UP",
)
BLUE_GREEN = Strategy("BLUE_GREEN", 2)
CANARY = Strategy("CANARY", 2, 10.0, 1)
LINEAR = Strategy("LINEAR", 1, 25.0, 1)
PAUSED = Strategy("CANARY", 2, 10.0, 1, ("POST_TEST_TRAFFIC_SHIFT",), 60)
BAD_IMAGE = failure(1, cause="image", permanent=True)
CRASHES = (failure(1, reason="exit 1"), failure(2, reason="exit 1"))

SCALED_UP = (
    (1, enters("PRE_SCALE_UP")),
    (2, also(enters("SCALE_UP"), runs(0, 2))),
    (10, runs(2)),
    (12, enters("POST_SCALE_UP")),
    (14, enters("TEST_TRAFFIC_SHIFT")),
    (16, enters("POST_TEST_TRAFFIC_SHIFT")),
)


def shifted(at_s: float) -> tuple:
    """From the last shift on: a bake of two minutes, and the end."""
    return (
        (at_s, enters("PRODUCTION_TRAFFIC_SHIFT", 100.0)),
        (at_s + 2, enters("POST_PRODUCTION_TRAFFIC_SHIFT", 100.0)),
        (at_s + 4, enters("BAKE_TIME", 100.0)),
        (at_s + 124, enters("CLEAN_UP", 100.0)),
        (at_s + 130, succeeds()),
    )


CANARY_STEP = (18, enters("PRODUCTION_TRAFFIC_SHIFT", 10.0))
CANARIED = (*SCALED_UP, CANARY_STEP, *shifted(78))
AT_PAUSE = (*SCALED_UP, (16.1, pauses()))
BACK = ((21, rolled_back()),)


def stage_of(world: World) -> None:
    """The old deployment is PRIMARY until all traffic has shifted: nobody says that it is not."""
    ours, before = world.deployment(), world.deployment(world.before)
    ours["status"], before["status"] = "ACTIVE", "PRIMARY"


def stage_is_over(world: World) -> None:
    ours, before = world.deployment(), world.deployment(world.before)
    ours["status"], before["status"] = "PRIMARY", "ACTIVE"


GOOD = [
    History("canary", SUCCEEDED, "", CANARIED, strategy=CANARY, timeout_s=60, told_by=211),
    History(
        "blue/green",
        SUCCEEDED,
        "",
        (*SCALED_UP, *shifted(18)),
        strategy=BLUE_GREEN,
        timeout_s=60,
        told_by=151,
    ),
    History(
        "linear",
        SUCCEEDED,
        "",
        (
            *SCALED_UP,
            (18, enters("PRODUCTION_TRAFFIC_SHIFT", 25.0)),
            (78, enters("PRODUCTION_TRAFFIC_SHIFT", 50.0)),
            (138, enters("PRODUCTION_TRAFFIC_SHIFT", 75.0)),
            *shifted(198)[:3],
            (262, succeeds()),
        ),
        strategy=LINEAR,
        timeout_s=60,
        told_by=265,
    ),
    History(
        "blue/green without a load balancer",
        SUCCEEDED,
        "",
        ((1, enters("SCALE_UP", None)), (2, runs(2)), (12, enters("BAKE_TIME", None)), (132, succeeds())),
        strategy=BLUE_GREEN,
        timeout_s=60,
        told_by=135,
    ),
    History(
        "a canary that somebody else watches",
        SUCCEEDED,
        "",
        CANARIED,
        strategy=CANARY,
        attaches=True,
        timeout_s=60,
        told_by=211,
    ),
    History(
        "a pause is continued, long after the timeout",
        SUCCEEDED,
        "",
        (*AT_PAUSE, (1816, pause_ends()), (1818, enters("PRODUCTION_TRAFFIC_SHIFT", 10.0)), *shifted(1878)),
        strategy=PAUSED,
        timeout_s=60,
        told_by=2012,
    ),
    History(
        "a pause is continued, and ECS lists its hook no more",
        SUCCEEDED,
        "",
        (*AT_PAUSE, (316, pause_ends(is_kept=False)), *shifted(378)),
        strategy=PAUSED,
        timeout_s=60,
        told_by=512,
    ),
    History(
        "nobody answers a pause, and ECS goes on",
        SUCCEEDED,
        "",
        (*SCALED_UP, (16.1, pauses(1, "CONTINUE")), (76, pause_ends("TIMED_OUT")), *shifted(80)),
        strategy=PAUSED,
        timeout_s=60,
        told_by=213,
    ),
    History(
        "a pause before each step",
        SUCCEEDED,
        "",
        (
            *SCALED_UP,
            (18, also(enters("PRE_PRODUCTION_TRAFFIC_SHIFT"), pauses())),
            (118, also(pause_ends(), enters("PRODUCTION_TRAFFIC_SHIFT", 50.0))),
            (178, also(enters("PRE_PRODUCTION_TRAFFIC_SHIFT", 50.0), pauses())),
            (378, pause_ends()),
            *shifted(380),
        ),
        strategy=Strategy("LINEAR", 2, 50.0, 1, ("PRE_PRODUCTION_TRAFFIC_SHIFT",)),
        timeout_s=60,
        told_by=513,
    ),
    History(
        "stages out of order",
        SUCCEEDED,
        "",
        (
            *SCALED_UP,
            (17, enters("SCALE_UP")),
            (18, enters("POST_TEST_TRAFFIC_SHIFT")),
            (20, enters("PRODUCTION_TRAFFIC_SHIFT", 10.0)),
            (22, enters("POST_SCALE_UP", 0.0)),
            (24, enters("PRODUCTION_TRAFFIC_SHIFT", 10.0)),
            *shifted(80),
        ),
        strategy=CANARY,
    ),
    History(
        "DescribeServiceDeployments lags 15 s",
        SUCCEEDED,
        "",
        ((0, lags(15, DEPLOYMENTS)), *CANARIED),
        strategy=CANARY,
        timeout_s=60,
        told_by=226,
    ),
    History(
        "DescribeServices lags 15 s", SUCCEEDED, "", ((0, lags(15, SERVICES)), *CANARIED), strategy=CANARY
    ),
    History(
        "the old deployment is PRIMARY until the traffic has shifted",
        SUCCEEDED,
        "",
        (*SCALED_UP, (17, stage_of), CANARY_STEP, (77, stage_is_over), *shifted(78)),
        strategy=CANARY,
    ),
    History(
        "half of the calls are throttled",
        SUCCEEDED,
        "",
        ((0.1, Fault("ThrottlingException", picks=lambda number: number % 2 == 0)), *CANARIED),
        strategy=CANARY,
    ),
    History(
        "a task fails once during the bake, and another takes its place",
        SUCCEEDED,
        "",
        (*SCALED_UP, *shifted(18), (60, runs(1)), (80, runs(2))),
        strategy=BLUE_GREEN,
        diagnoses=((60, CRASHES[0]),),
    ),
]
BY_HAND = [
    History(
        f"a person stops a canary at {stage}",
        ROLLED_BACK,
        "StopServiceDeployment",
        (
            *((number * 4 + 1, enters(one)) for number, one in enumerate(STAGES[: index + 1])),
            (index * 4 + 3, somebody_stops()),
        ),
        strategy=CANARY,
        told_by=index * 4 + 3 + 14,
    )
    for index, stage in enumerate(STAGES)
]
BAD = [
    History(
        "an alarm during the bake",
        ROLLED_BACK,
        "alarm",
        (*CANARIED[:-2], (100, breaks(ALARM)), (101, rolls_back(ALARM_TRIPPED)), (110, rolled_back())),
        strategy=CANARY,
        told_by=113,
    ),
    History(
        "a Lambda hook says no",
        ROLLED_BACK,
        "lifecycle hook",
        (*SCALED_UP, (20, rolls_back(HOOK_FAILED)), (30, rolled_back())),
        strategy=CANARY,
        told_by=33,
    ),
    History(
        "a pause is answered by a rollback",
        ROLLED_BACK,
        "lifecycle hook",
        (*AT_PAUSE, (916, also(pause_ends("FAILED"), rolls_back(HOOK_FAILED))), (930, rolled_back())),
        strategy=PAUSED,
        timeout_s=60,
        told_by=936,
    ),
    History(
        "nobody answers a pause",
        ROLLED_BACK,
        "nobody answered the pause at POST_TEST_TRAFFIC_SHIFT in time",
        (*AT_PAUSE, (3616, also(pause_ends("TIMED_OUT"), rolls_back(HOOK_FAILED))), (3630, rolled_back())),
        strategy=PAUSED,
        timeout_s=60,
        told_by=3636,
    ),
    History(
        "superseded during the bake",
        SUPERSEDED,
        "took its place",
        (*CANARIED[:-2], (100, somebody_deploys(3))),
        strategy=CANARY,
        told_by=103,
    ),
    History(
        "stopped during the bake, and nothing took its place",
        CANCELLED,
        "by an operator",
        (*CANARIED[:-2], (100, is_stopped("by an operator"))),
        strategy=CANARY,
    ),
    History(
        "the service is deleted during the bake",
        FAILED,
        "was deleted",
        (*CANARIED[:-2], (100, drains())),
        strategy=CANARY,
    ),
    History(
        "the rollback fails",
        FAILED,
        "rollback failed",
        (*SCALED_UP, (20, rolls_back(ASKED)), (30, rollback_fails())),
        strategy=CANARY,
    ),
    History(
        "cancelled during the bake",
        CANCELLED,
        "cancelled; rolled back",
        (*CANARIED[:-2], (100, CANCEL)),
        strategy=CANARY,
        told_by=116,
    ),
    History(
        "cancelled at a pause",
        CANCELLED,
        "cancelled; rolled back",
        (*AT_PAUSE, (900, CANCEL)),
        strategy=PAUSED,
        timeout_s=60,
        told_by=920,
    ),
    History(
        "a cause that cannot pass, while the new tasks start",
        ROLLED_BACK,
        "image is wrong",
        ((1, enters("SCALE_UP")), (2, runs(0, 2))),
        strategy=BLUE_GREEN,
        diagnoses=((6, BAD_IMAGE),),
        told_by=32,
    ),
    History(
        "the same failure twice, during the bake",
        ROLLED_BACK,
        "exit 1, twice in the same way",
        (*CANARIED[:-2], (90, runs(1)), (100, runs(1, 1))),
        strategy=CANARY,
        diagnoses=((90, CRASHES[0]), (100, CRASHES[1])),
        told_by=130,
    ),
    History(
        "tasks never start, and nothing else would end it",
        TIMED_OUT,
        "not finished after 60 s and 120 s of bake time; rolled back",
        ((1, enters("SCALE_UP")), (2, runs(0, 2))),
        strategy=BLUE_GREEN,
        fail_fast=False,
        diagnoses=((6, BAD_IMAGE),),
        timeout_s=60,
        told_by=200,
    ),
    History(
        "too slow, and it succeeds after all while it is asked to roll back",
        SUCCEEDED,
        "",
        (*SCALED_UP, (180.5, succeeds())),
        strategy=BLUE_GREEN,
        world={"stop_answer": "ConflictException"},
        timeout_s=61,
        told_by=183,
    ),
    History(
        "too slow, and the way back hangs",
        TIMED_OUT,
        "ECS was asked to roll it back, and has not yet done so",
        ((1, enters("SCALE_UP")), (2, runs(0, 2))),
        strategy=BLUE_GREEN,
        world={"rolls_back_in_s": 5000.0},
        timeout_s=60,
        told_by=781,
    ),
    History(
        "too slow, and ECS refuses to roll back",
        TIMED_OUT,
        "could not be rolled back",
        ((1, enters("SCALE_UP")), (2, runs(0, 2))),
        strategy=BLUE_GREEN,
        world={"stop_answer": "ClientException"},
        timeout_s=60,
        told_by=181,
    ),
    History(
        "too slow for somebody who only watches",
        TIMED_OUT,
        "goes on in ECS",
        ((1, enters("SCALE_UP")), (2, runs(0, 2))),
        strategy=BLUE_GREEN,
        attaches=True,
        timeout_s=60,
        told_by=181,
    ),
    History(
        "the judge finds the canary bad",
        ROLLED_BACK,
        "errors at 10%",
        CANARIED,
        strategy=CANARY,
        judge=lambda stages: {
            service: f"errors at {stage.production_percent:g}%"
            for service, stage in stages.items()
            if stage.production_percent
        },
        told_by=35,
    ),
]
HISTORIES = [*GOOD, *BY_HAND, *BAD]


@pytest.mark.parametrize("jitter", [1.0, 1.05])
@pytest.mark.parametrize("history", HISTORIES, ids=lambda one: one.name)
def test_the_verdict_on_each_history(history, jitter):
    seen = replay(history, jitter=jitter)
    assert (seen.ended.verdict, seen.ended.reason) == (history.verdict, seen.ended.reason)
    assert history.reason in seen.ended.reason
    assert seen.now_s <= (history.told_by or history.timeout_s + 0.2)
    assert seen.ended.strategy.startswith(history.strategy.type)
    if not any(isinstance(action, Fault) for _at, action in history.timeline):
        assert busiest_minute(seen.watched) <= 30


def told(name: str, kind: type) -> list:
    (history,) = [one for one in HISTORIES if one.name == name]
    return [event for event in replay(history).events if isinstance(event, kind)]


def test_stages_are_told_with_their_traffic_and_when_a_bake_ends():
    found = told("canary", StageEntered)
    assert [(one.stage, one.production_percent) for one in found[-5:]] == [
        ("PRODUCTION_TRAFFIC_SHIFT", 10.0),
        ("PRODUCTION_TRAFFIC_SHIFT", 100.0),
        ("POST_PRODUCTION_TRAFFIC_SHIFT", 100.0),
        ("BAKE_TIME", 100.0),
        ("CLEAN_UP", 100.0),
    ]
    by_stage = {(one.stage, one.production_percent): one for one in found}
    step, bake = by_stage["PRODUCTION_TRAFFIC_SHIFT", 10.0], by_stage["BAKE_TIME", 100.0]
    assert (step.since, step.bakes_until) == ("2026-01-01T00:00:18+00:00", "2026-01-01T00:01:18+00:00")
    assert (bake.since, bake.bakes_until) == ("2026-01-01T00:01:22+00:00", "2026-01-01T00:03:22+00:00")
    assert by_stage["CLEAN_UP", 100.0].bakes_until == ""
    assert {one.strategy for one in found} == {"CANARY"}


def test_a_stage_that_is_shown_again_is_not_told_again():
    found = [(one.stage, one.production_percent) for one in told("stages out of order", StageEntered)]
    assert len(found) == len(set(found))


def test_a_pause_is_told_once_with_what_to_do_about_it():
    (paused,) = told("a pause is continued, long after the timeout", RolloutPaused)
    assert paused == RolloutPaused(
        WEB,
        paused.deployment_id,
        "POST_TEST_TRAFFIC_SHIFT",
        "ecs-pause-1",
        "2026-01-01T01:00:16+00:00",
        "ROLLBACK",
        "orch continue",
    )
    assert [one.hook_id for one in told("a pause before each step", RolloutPaused)] == [
        "ecs-pause-1",
        "ecs-pause-2",
    ]


def test_a_rolling_rollout_has_no_stages():
    seen = replay(History("", SUCCEEDED, "", ((1, also(enters("SCALE_UP"), runs(2))), (9, succeeds()))))
    assert not [event for event in seen.events if isinstance(event, StageEntered)]
    assert seen.ended.strategy == ""


def test_failed_tasks_are_counted_where_no_breaker_does():
    timeline = (*SCALED_UP[:2], (6, lambda world: world.fail_tasks(2)), (60, runs(2)), (70, succeeds()))
    seen = replay(History("", SUCCEEDED, "", timeline, strategy=BLUE_GREEN))
    progress = [event for event in seen.events if isinstance(event, RolloutProgress)]
    assert max(one.failed for one in progress) == 2
    assert progress[-1].failure_threshold == 0


def test_what_orch_does_about_a_rollout_that_takes_too_long_is_told():
    (warned,) = told("tasks never start, and nothing else would end it", Warned)
    assert "not finished after 60 s and 120 s of bake time; orch asked ECS to roll back now" in warned.message
    assert "nothing else may end a BLUE_GREEN rollout" in warned.hint


def test_the_judge_hears_the_stage_of_each_and_nothing_after_its_word():
    heard: list[Stage] = []

    def judge(stages):
        heard.extend(stages.values())
        return {WEB: "too many errors"} if stages[WEB].production_percent else {}

    seen = replay(History("", ROLLED_BACK, "", CANARIED, strategy=CANARY, judge=judge))
    assert (seen.ended.verdict, seen.ended.reason) == (ROLLED_BACK, "too many errors")
    last = heard[-1]
    assert (last.strategy, last.stage, last.production_percent) == (CANARY, "PRODUCTION_TRAFFIC_SHIFT", 10.0)
    assert {one.production_percent for one in heard[:-1]} <= {None, 0.0}
    assert [name for _at, name in seen.ecs.calls].count("StopServiceDeployment") == 1


def test_a_judge_that_cannot_be_asked_stops_nothing():
    def judge(_stages):
        raise AwsError("cloudwatch:GetMetricData failed", code="AccessDeniedException")

    seen = replay(History("", SUCCEEDED, "", CANARIED, strategy=CANARY, judge=judge))
    assert seen.ended.verdict is SUCCEEDED


# --- the start


class Asked(Ecs):
    """Keeps what UpdateService was sent."""

    def update_service(self, **request):
        self.sent = request
        return super().update_service(**request)


def sent(world: World, **options) -> dict:
    ecs = Asked(world)
    begin(ecs, WEB, 2, **options)
    return ecs.sent


def test_a_staged_rollout_sends_its_strategy_and_keeps_the_rest():
    request = sent(World(alarms_roll_back=True), wanted=PAUSED)
    assert request["deploymentConfiguration"] == {
        "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        "maximumPercent": 200,
        "minimumHealthyPercent": 100,
        "alarms": {"alarmNames": ["errors"], "enable": True, "rollback": True},
        "strategy": "CANARY",
        "bakeTimeInMinutes": 2,
        "canaryConfiguration": {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 1},
        "lifecycleHooks": [
            {
                "targetType": "PAUSE",
                "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"],
                "timeoutConfiguration": {"timeoutInMinutes": 60, "action": "ROLLBACK"},
            }
        ],
    }
    assert "loadBalancers" not in request


def test_a_rolling_rollout_of_a_rolling_service_sends_none():
    request = sent(World())
    assert {"deploymentConfiguration", "loadBalancers"}.isdisjoint(request)


def test_back_to_rolling_says_so():
    world = World()
    world.shown["configuration"] |= {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 2}
    world.keep()
    request = sent(world)
    assert request["deploymentConfiguration"]["strategy"] == "ROLLING"
    assert request["deploymentConfiguration"]["lifecycleHooks"] == []
    assert "bakeTimeInMinutes" not in request["deploymentConfiguration"]


def test_the_load_balancer_is_told_what_it_shifts_traffic_with():
    world = World()
    balancer = {"targetGroupArn": "arn:tg/a", "containerName": "web", "containerPort": 80}
    world.load_balancers = [balancer]
    traffic = BlueGreen("arn:tg/b", "arn:rule/1", "arn:rule/2", "arn:role")
    request = sent(world, wanted=CANARY, traffic=traffic)
    assert request["loadBalancers"] == [
        {
            **balancer,
            "advancedConfiguration": {
                "alternateTargetGroupArn": "arn:tg/b",
                "productionListenerRule": "arn:rule/1",
                "testListenerRule": "arn:rule/2",
                "roleArn": "arn:role",
            },
        }
    ]


# --- whatever happens


ACTIONS = {
    "stage": [enters(stage, percent) for stage in STAGES for percent in (None, 0.0, 10.0, 100.0)],
    "pause": [pauses(), pauses(1, "CONTINUE"), pause_ends("FAILED"), pause_ends("TIMED_OUT")],
    "end": [
        succeeds(),
        somebody_stops(),
        somebody_deploys(3),
        is_stopped("by an operator"),
        drains(),
        also(rolls_back(HOOK_FAILED), rolled_back()),
        also(breaks(ALARM), rolls_back(ALARM_TRIPPED), rolled_back()),
    ],
    "read": [lags(15, DEPLOYMENTS), lags(20, SERVICES), Fault("ThrottlingException"), Fault("")],
}


def _has_hooks(action):
    """A pause ends only where there was one."""

    def only_then(world: World) -> None:
        if world.service_deployment()["hooks"]:
            action(world)

    return only_then


@given(
    stages=st.lists(st.tuples(st.floats(1, 400), st.sampled_from(ACTIONS["stage"])), max_size=8),
    hooks=st.lists(st.tuples(st.floats(1, 400), st.sampled_from(ACTIONS["pause"])), max_size=3),
    reads=st.lists(st.tuples(st.floats(0.1, 300), st.sampled_from(ACTIONS["read"])), max_size=2),
    end=st.tuples(st.floats(5, 500), st.sampled_from(ACTIONS["end"])) | st.none(),
    one=st.sampled_from([BLUE_GREEN, CANARY, LINEAR, PAUSED]),
    attaches=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_success_is_never_told_unless_ecs_said_so(stages, hooks, reads, end, one, attaches):
    timeline = [(0.5, runs(0, 2)), *stages, *((at, _has_hooks(action)) for at, action in hooks), *reads]
    ends = []
    if end is not None:
        at, action = end
        # After its end nothing happens to a deployment any more.
        timeline = [(when, what) for when, what in timeline if when < at or isinstance(what, Fault)]
        ends = [(at, action)]
    seen = replay(
        History("", SUCCEEDED, "", (*timeline, *ends), strategy=one, attaches=attaches, timeout_s=120)
    )
    (world,) = seen.ecs.worlds.values()
    terminal = world.service_deployment()["status"]
    assert (seen.ended.verdict is SUCCEEDED) <= (terminal == "SUCCESSFUL")
    assert (seen.ended.verdict is ROLLED_BACK) <= (terminal == "ROLLBACK_SUCCESSFUL")
    assert (seen.ended.verdict is CANCELLED) <= (terminal in {"STOPPED", "ROLLBACK_SUCCESSFUL"})
    assert isinstance(seen.started, launch.Started)
