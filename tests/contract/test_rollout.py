"""ecs/rollout and ecs/revisions against the sandbox's ECS, on a clock that the test moves instead of waiting."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from orchestrator.ecs import launch, revisions, rollout, services, task_definition
from orchestrator.ecs.followed import Terms
from orchestrator.errors import AwsError, PreconditionError
from orchestrator.events import RolloutProgress, ServiceEvent
from orchestrator.model import Verdict

pytest_plugins = ("tests.contract.sandbox_fixtures",)
PLACE = {"cluster": "main", "service": "web"}


class Story:
    """Follows a rollout; `at` maps a moment (seconds) to something that happens then."""

    def __init__(self, cloud) -> None:
        self.cloud, self.now_s, self.events = cloud, 0.0, []
        self.jitter = 1.0
        self.at = {}

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s
        self.cloud.advance(duration_s)
        for moment in [moment for moment in self.at if moment <= self.now_s]:
            self.at.pop(moment)()

    def follow(self, started, timeout_s=600.0):
        clock = rollout.Clock(now=lambda: self.now_s, sleep=self.sleep, jitter=lambda: self.jitter)
        return rollout.follow(self.cloud.ecs, started, self.events.append, Terms(timeout_s), clock=clock)

    def start(self, definition: str, **options):
        before = services.describe(self.cloud.ecs, **PLACE)
        options = {"desired_count": None, **options}
        return launch.start(self.cloud.ecs, before, **PLACE, task_definition=definition, **options)

    def progress(self) -> list[RolloutProgress]:
        return [event for event in self.events if isinstance(event, RolloutProgress)]


@pytest.fixture
def story(cloud):
    return Story(cloud)


def test_a_good_rollout_succeeds_with_its_own_deployment(story, cloud):
    cloud.create_steady_service()
    definition = cloud.register()
    started = story.start(definition)
    ended = story.follow(started)
    assert ended.verdict is Verdict.SUCCEEDED
    assert ended.deployment_id == cloud.primary()["id"]
    assert (ended.revision_arn, ended.running_count, ended.desired_count) == (definition, 2, 2)
    assert story.progress()[-1].state == "SUCCESSFUL"
    assert story.progress()[-1].running == 2
    assert any("steady state" in event.message for event in story.events if isinstance(event, ServiceEvent))


def test_the_desired_count_of_the_first_deploy_is_set_in_the_same_call(story, cloud):
    cloud.create_service(cloud.register(), desired=0)
    cloud.advance(10)
    calls = len(cloud.calls())
    ended = story.follow(story.start(cloud.register(), desired_count=3))
    assert (ended.verdict, ended.running_count) == (Verdict.SUCCEEDED, 3)
    updates = [call for call in cloud.calls()[calls:] if call.get("operation") == "UpdateService"]
    assert len(updates) == 1


def test_a_crashing_rollout_is_rolled_back_by_the_breaker_and_its_failures_were_shown(story, cloud):
    good = cloud.create_steady_service()
    ended = story.follow(story.start(cloud.register(behaviour="crash")))
    assert ended.verdict is Verdict.ROLLED_BACK
    assert "circuit breaker" in ended.reason
    assert cloud.primary()["taskDefinition"] == good
    assert max(event.failed for event in story.progress()) == 3
    assert {event.failure_threshold for event in story.progress() if event.failed} == {3}


def test_a_first_deployment_that_fails_has_nothing_to_go_back_to(story, cloud):
    cloud.create_service(cloud.register(behaviour="cannot-pull"), desired=1)
    before = services.describe(cloud.ecs, **PLACE)
    ended = story.follow(launch.attach(before, **PLACE))
    assert ended.verdict is Verdict.FAILED


def test_without_rollback_a_failed_rollout_is_failed(story, cloud):
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}, "maximumPercent": 200}
    cloud.create_service(cloud.register(), deploymentConfiguration={**breaker, "minimumHealthyPercent": 100})
    cloud.advance(20)
    ended = story.follow(story.start(cloud.register(behaviour="crash")))
    assert ended.verdict is Verdict.FAILED


def test_a_newer_deployment_supersedes_ours(story, cloud):
    cloud.create_steady_service()
    started = story.start(cloud.register(behaviour="slow:60"))
    other = cloud.register()
    story.at[5.0] = lambda: cloud.update_service(taskDefinition=other)
    ended = story.follow(started)
    assert ended.verdict is Verdict.SUPERSEDED
    assert other in ended.reason


def test_a_rollback_that_somebody_asked_for_is_told(story, cloud):
    good = cloud.create_steady_service()
    started = story.start(cloud.register(behaviour="slow:60"))

    def stop():
        arn = cloud.service_deployments()[0]["serviceDeploymentArn"]
        cloud.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")

    story.at[5.0] = stop
    ended = story.follow(started)
    assert ended.verdict is Verdict.ROLLED_BACK
    assert cloud.primary()["taskDefinition"] == good


def test_too_slow_is_timed_out_and_can_be_followed_later(story, cloud):
    cloud.create_steady_service()
    definition = cloud.register(behaviour="slow:120")
    ended = story.follow(story.start(definition), timeout_s=30)
    assert ended.verdict is Verdict.TIMED_OUT
    again = story.follow(launch.attach(services.describe(cloud.ecs, **PLACE), **PLACE))
    assert (again.verdict, again.revision_arn) == (Verdict.SUCCEEDED, definition)
    assert again.deployment_id == ended.deployment_id


def test_the_same_definition_forced_again_is_a_deployment_of_its_own(story, cloud):
    good = cloud.create_steady_service()
    before = cloud.primary()["id"]
    ended = story.follow(story.start(good, force=True))
    assert ended.verdict is Verdict.SUCCEEDED
    assert ended.deployment_id != before


@pytest.mark.parametrize("jitter", rollout.JITTER)
def test_a_rollout_costs_few_calls(story, cloud, jitter):
    """Two calls every 5 s once settled, at the jitter's two ends; twelve more to find the deployment, for the quick start and the last look."""
    story.jitter = jitter
    cloud.create_steady_service()
    definition = cloud.register(behaviour="slow:60")
    started = story.start(definition)
    calls = len(cloud.calls())
    story.follow(started)
    made = [call.get("operation") for call in cloud.calls()[calls:] if call.get("operation")]
    assert 60 <= story.now_s <= 70
    assert len(made) <= 2 * story.now_s / (5 * jitter) + 12, (story.now_s, made)


def test_no_such_service(cloud):
    cloud.ecs.create_cluster(clusterName="main")
    with pytest.raises(PreconditionError, match="no service web in cluster main"):
        services.describe(cloud.ecs, **PLACE)
    with pytest.raises(AwsError) as caught:
        services.describe(cloud.ecs, "absent", "web")
    assert caught.value.code == "ClusterNotFoundException"


def test_a_revision_registered_from_a_description_is_equal_to_it(cloud):
    first = revisions.describe(cloud.ecs, cloud.register(behaviour="crash"))
    second = revisions.register(
        Session(cloud.ecs, cloud.ecs), first.definition, {revisions.RELEASE_TAG: "r1"}
    )
    described = revisions.describe(cloud.ecs, second.arn)
    assert second.arn != first.arn
    assert described.is_registered_by_orch
    assert not first.is_registered_by_orch
    assert task_definition.is_equal(described.definition, first.definition)
    assert revisions.describe(cloud.ecs, "app").arn == second.arn


def test_a_released_revision_carries_the_time(cloud):
    arn = cloud.register()
    revisions.mark_released(cloud.ecs, arn, "2026-01-01T00:00:00+00:00")
    described = revisions.describe(cloud.ecs, arn)
    assert described.tags[revisions.RELEASED_AT_TAG] == "2026-01-01T00:00:00+00:00"
    assert described.has_succeeded


class Session(NamedTuple):
    """The two clients that `revisions.register` takes."""

    ecs: Any
    ecs_once: Any


class BusyEcs:
    """An ECS that is busy with another registration of the family, twice."""

    def __init__(self) -> None:
        self.attempts = 0

    def register_task_definition(self, **request):
        from botocore.exceptions import ClientError

        self.attempts += 1
        if self.attempts < 3:
            message = "Too many concurrent attempts to create a new revision of the specified family."
            error = {"Error": {"Code": "ClientException", "Message": message}}
            raise ClientError(error, "RegisterTaskDefinition")
        return {"taskDefinition": {"taskDefinitionArn": "arn:app:3"}}


def test_a_concurrent_registration_is_waited_for():
    ecs, slept = BusyEcs(), []
    definition = task_definition.TaskDefinition({"family": "app", "containerDefinitions": []})
    assert revisions.register(Session(ecs, ecs), definition, {}, sleep=slept.append).arn == "arn:app:3"
    assert (ecs.attempts, len(slept)) == (3, 2)
