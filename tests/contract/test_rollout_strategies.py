"""Staged rollouts on the sandbox: from orch.toml through UpdateService to the verdict, on a clock that the test moves."""

from __future__ import annotations

import dataclasses

import pytest

from orchestrator.ecs import rollout, services
from orchestrator.ecs.strategy import Strategy
from orchestrator.events import RolloutPaused, StageEntered, TaskFailed, Warned
from orchestrator.model import Verdict
from orchestrator.operations import continue_rollout, release, watch
from tests.contract.test_rollouts import Story

pytest_plugins = ("tests.contract.sandbox_fixtures",)
# The load balancer of a sandbox service needs none to shift traffic: ECS's weights are those of the service deployment.
CANARY = """
[environments.dev.strategy.api]
type = "canary"
canary_percent = 20
canary_bake_time_minutes = 2
bake_time_minutes = 3
"""
PAUSED = CANARY + 'pause_at = ["POST_TEST_TRAFFIC_SHIFT"]\npause_timeout_minutes = 10\n'
MINUTE_S = 60.0


@pytest.fixture
def begin(cloud, tmp_path):
    """A story with this strategy for the service `api`, which runs."""

    def begin(strategy: str, more: str = "") -> Story:
        # A timeout far below the bake times: they do not count.
        story = Story(cloud, tmp_path, f"timeout_s = 60\n{more}\n{strategy}")
        story.serve("api")
        return story

    return begin


def updates(story) -> list[dict]:
    calls = [call for call in story.cloud.calls() if call.get("operation") == "UpdateService"]
    return [call["parameters"] for call in calls]


def told(story, kind) -> list:
    return [event for event in story.events if isinstance(event, kind)]


def target(story):
    return story.candidate("api").target


def answer(story, action: str) -> None:
    """What `orch continue` does, from elsewhere; the clock is not moved meanwhile."""
    clock = rollout.Clock(now=lambda: story.now_s, sleep=lambda _s: story.cloud.advance(0.5))
    for pause in continue_rollout.find(target(story)):
        continue_rollout.answer(story.session, pause, action, target(story).steps, clock)


def test_a_canary_is_followed_through_its_stages_and_its_bake_times_do_not_count(begin):
    story = begin(CANARY)
    (done,) = story.run(story.candidate("api"))
    assert (done.verdict, done.reason) == (Verdict.SUCCEEDED, done.reason)
    assert done.strategy == "CANARY, 20% for 2 min, then a bake of 3 min"
    assert story.now_s > 5 * MINUTE_S
    (sent,) = updates(story)
    configuration = sent["deploymentConfiguration"]
    assert configuration["canaryConfiguration"] == {"canaryPercent": 20.0, "canaryBakeTimeInMinutes": 2}
    assert (configuration["maximumPercent"], configuration["deploymentCircuitBreaker"]) == (
        200,
        {"enable": True, "rollback": True},
    )
    stages = [(one.stage, one.production_percent) for one in told(story, StageEntered)]
    order = [
        ("PRODUCTION_TRAFFIC_SHIFT", 20.0),
        ("BAKE_TIME", 100.0),
    ]
    assert [one for one in stages if one in order] == order


def test_rolling_again_takes_the_strategy_away(begin):
    story = begin("")
    story.cloud.ecs.update_service(
        cluster="main",
        service="api",
        deploymentConfiguration={"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 5},
    )
    (done,) = story.run(story.candidate("api"))
    assert (done.verdict, done.strategy) == (Verdict.SUCCEEDED, "")
    assert updates(story)[-1]["deploymentConfiguration"]["strategy"] == "ROLLING"
    assert story.running("api").strategy == Strategy()


@pytest.mark.parametrize(
    ("action", "verdict"), [("CONTINUE", Verdict.SUCCEEDED), ("ROLLBACK", Verdict.ROLLED_BACK)]
)
def test_a_pause_waits_for_somebody_elses_word(begin, action, verdict):
    story = begin(PAUSED)
    story.at[6 * MINUTE_S] = lambda: answer(story, action)
    before = story.running("api").task_definition
    (done,) = story.run(story.candidate("api"))
    assert (done.verdict, done.reason) == (verdict, done.reason)
    (paused,) = told(story, RolloutPaused)
    assert (paused.stage, paused.timeout_action) == ("POST_TEST_TRAFFIC_SHIFT", "ROLLBACK")
    assert paused.command == "orch continue --env dev --service api"
    assert (story.running("api").task_definition == before) == (verdict is Verdict.ROLLED_BACK)


def test_a_pause_that_nobody_answers_ends_by_itself(begin):
    story = begin(PAUSED)
    (done,) = story.run(story.candidate("api"))
    assert done.verdict is Verdict.ROLLED_BACK
    assert "nobody answered the pause at POST_TEST_TRAFFIC_SHIFT in time" in done.reason
    assert story.now_s < 11 * MINUTE_S


def test_a_pause_that_was_answered_meanwhile_is_told_and_left(begin):
    story = begin(PAUSED)
    seen = []

    def twice() -> None:
        seen.extend(continue_rollout.find(target(story)))
        answer(story, "CONTINUE")
        clock = rollout.Clock(now=lambda: story.now_s, sleep=story.sleep)
        continue_rollout.answer(story.session, seen[0], "ROLLBACK", target(story).steps, clock)

    story.at[2 * MINUTE_S] = twice
    (done,) = story.run(story.candidate("api"))
    assert done.verdict is Verdict.SUCCEEDED
    assert "has ended already" in " ".join(one.message for one in told(story, Warned))
    assert (seen[0].service, seen[0].stage) == ("api", "POST_TEST_TRAFFIC_SHIFT")


def test_nothing_is_paused_where_nothing_is_under_way(begin):
    story = begin(PAUSED)
    assert continue_rollout.find(target(story)) == ()


def test_tasks_that_crash_end_a_canary_long_before_anything_else_would(begin):
    story = begin(CANARY)
    (done,) = story.run(story.candidate("api", "crash:1"))
    assert done.verdict is Verdict.ROLLED_BACK
    assert told(story, TaskFailed)
    assert story.now_s < 2 * MINUTE_S
    assert {one.production_percent for one in told(story, StageEntered)} == {0.0}


def test_without_fail_fast_the_timeout_rolls_a_canary_back(begin):
    story = begin(CANARY, "fail_fast = false")
    off = {"deploymentCircuitBreaker": {"enable": False, "rollback": False}}
    story.cloud.ecs.update_service(cluster="main", service="api", deploymentConfiguration=off)
    before = story.running("api").task_definition
    (done,) = story.run(story.candidate("api", "crash:1"))
    assert (done.verdict, done.reason) == (Verdict.TIMED_OUT, done.reason)
    assert done.reason == "not finished after 60 s and 300 s of bake time; rolled back"
    assert story.running("api").task_definition == before


def test_a_way_back_shifts_everything_at_once(begin):
    story = begin(PAUSED)
    candidate = dataclasses.replace(story.candidate("api"), is_way_back=True)
    (done,) = story.run(candidate)
    assert (done.verdict, done.strategy) == (Verdict.SUCCEEDED, "BLUE_GREEN")
    assert story.now_s < 2 * MINUTE_S
    assert not told(story, RolloutPaused)


def test_a_first_rollout_rolls(begin):
    story = begin(PAUSED)
    candidate = dataclasses.replace(story.candidate("api"), has_fallback=False)
    (done,) = story.run(candidate)
    assert (done.verdict, done.strategy) == (Verdict.SUCCEEDED, "")
    assert "deploymentConfiguration" not in updates(story)[-1]


def test_the_same_definition_is_no_release_whatever_the_strategy(begin):
    story = begin(CANARY)
    candidate = story.candidate("api", move=release.Move.NOTHING)
    (done,) = story.run(candidate)
    assert done.verdict is Verdict.NO_CHANGE
    assert updates(story) == []


def test_a_canary_is_watched_from_elsewhere_and_nothing_is_stopped(begin):
    story = begin(CANARY)
    story.cloud.ecs.update_service(
        cluster="main",
        service="api",
        taskDefinition=story.definition("api"),
        deploymentConfiguration={
            "strategy": "CANARY",
            "canaryConfiguration": {"canaryPercent": 20.0, "canaryBakeTimeInMinutes": 2},
            "bakeTimeInMinutes": 3,
        },
    )
    story.cloud.advance(5.0)
    clock = rollout.Clock(now=lambda: story.now_s, sleep=story.sleep, jitter=lambda: 1.0)
    (found,) = watch.follow([target(story)], clock=clock)
    assert found.rollout is not None
    assert (found.rollout.verdict, found.rollout.strategy[:6]) == (Verdict.SUCCEEDED, "CANARY")
    assert "StopServiceDeployment" not in {call.get("operation") for call in story.cloud.calls()}


def test_what_describes_a_deployment_is_read_as_it_is(begin):
    story = begin(PAUSED)
    seen = []

    def look() -> None:
        (brief, *_rest) = services.list_deployments(story.session.ecs, "main", "api") or []
        seen.append(services.describe_deployments(story.session.ecs, [brief.arn])[brief.arn])
        answer(story, "ROLLBACK")

    story.at[MINUTE_S] = look
    story.run(story.candidate("api"))
    (found,) = seen
    assert found.strategy == Strategy("CANARY", 3, 20.0, 2, ("POST_TEST_TRAFFIC_SHIFT",), 10, "ROLLBACK")
    assert (found.lifecycle_stage, found.production_percent) == ("POST_TEST_TRAFFIC_SHIFT", 0.0)
    (hook,) = found.paused
    assert (hook.status, hook.timeout_action) == ("AWAITING_ACTION", "ROLLBACK")
    assert hook.expires_at is not None
