"""operations/watch on the sandbox: rollouts whose run is gone, or is somebody else's, on a clock that the test moves."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from orchestrator import settings, store
from orchestrator.aws import Aws
from orchestrator.ecs import revisions, rollout, services
from orchestrator.errors import InterruptedByUserError
from orchestrator.events import Released, Steps, TaskFailed
from orchestrator.model import Contract, Image, Release, ServiceContract, Verdict
from orchestrator.operations import release, watch
from orchestrator.operations.under_way import find
from orchestrator.sandbox import control

pytest_plugins = ("tests.contract.sandbox_fixtures",)
ACCOUNT, REGION = "111111111111", "eu-central-1"
IMAGE = Image("registry.example/app", "sha256:" + "1" * 64)
ALICE = "arn:aws:sts::111111111111:assumed-role/deploy/alice"
TOML = f"""
project = "demo"
region = "{REGION}"

[services.web]
[environments.dev]
account_id = "{ACCOUNT}"

[rollout]
timeout_s = 900
"""


class Story:
    """One service of one environment, and a hand on the clock. `at` maps a moment in seconds to what happens then."""

    def __init__(self, cloud, tmp_path):
        (tmp_path / "orch.toml").write_text(TOML)
        self.settings = settings.load(tmp_path / "orch.toml")
        self.environment = self.settings.environment("dev")
        environ = control.aws_environment(cloud.sandbox, account_id=ACCOUNT, region=REGION)
        self.session = Aws(REGION, {"HOME": str(tmp_path), **environ})
        self.cloud, self.now_s, self.events, self.at, self.numbers = cloud, 0.0, [], {}, 0
        store.create_bucket(self.session.s3, self.environment.state_bucket, region=REGION, account_id=ACCOUNT)
        # Slow, so that a rollback to it can be seen while it goes on, as on AWS.
        self.skeleton = cloud.register(behaviour="slow:20", image="registry.example/app:skeleton")
        cloud.create_service(self.skeleton, desired=0)
        cloud.advance(30)

    def sleep(self, duration_s):
        self.now_s += duration_s
        self.cloud.advance(duration_s)
        for moment in [moment for moment in self.at if moment <= self.now_s]:
            self.at.pop(moment)()

    def register(self, behaviour="", **tags):
        """A revision as a run of alice registers it; returns its ARN and the id of its release."""
        self.numbers += 1
        release_id = f"20260701T0{self.numbers}0000Z-aaaaaa"
        named = {
            revisions.RELEASE_TAG: release_id,
            "orch:git-sha": "c0ffee-dirty-1",
            "orch:by": ALICE,
            **tags,
        }
        arn = self.cloud.register(
            behaviour=behaviour,
            image=str(IMAGE),
            tags=[{"key": key, "value": value} for key, value in named.items()],
        )
        return arn, release_id

    def release_well(self):
        """A release that ran, was recorded and is done."""
        arn, release_id = self.register()
        self.cloud.update_service(taskDefinition=arn, desiredCount=2)
        (done,) = self.watch()
        assert (done.release.verdict, done.release.id) == (Verdict.SUCCEEDED, release_id)
        self.events.clear()
        return arn

    def target(self):
        contract = ServiceContract("web", "", "main", "web", "app", self.skeleton, "app", "", "", "", 2)
        agreed = Contract(ACCOUNT, REGION, (contract,))
        sources = release.Sources(self.settings, {}, {})
        return release.Target(
            contract, agreed, self.environment, sources, self.session, Steps(self.events.append)
        )

    def watch(self):
        clock = rollout.Clock(now=lambda: self.now_s, sleep=self.sleep, jitter=lambda: 1.0)
        return watch.follow([self.target()], clock=clock)

    def record(self, arn, release_id, verdict, *, actor=ALICE, at=None):
        """The record that the run of a release writes."""
        done = Release(
            id=release_id,
            environment="dev",
            service="web",
            account_id=ACCOUNT,
            region=REGION,
            image=IMAGE,
            commit="c0ffee",
            revision_arn=arn,
            verdict=verdict,
            reason="",
            running_count=2,
            desired_count=2,
            actor=actor,
            started_at="2026-07-01T01:00:00+00:00",
            durations_s={},
        )
        bucket = self.environment.state_bucket
        store.put_release(self.session.s3, bucket, done, at=at or datetime.now(UTC))

    def records(self):
        found = store.releases(
            self.session.s3, self.environment.state_bucket, environment="dev", account_id=ACCOUNT
        )
        return [(record.release.id, record.release.verdict) for record in found]

    def tags(self, arn):
        return revisions.describe(self.session.ecs, arn).tags

    def writes(self, since):
        return {
            call["operation"]
            for call in self.cloud.calls()[since:]
            if not str(call.get("operation")).startswith(("Describe", "List", "Get", "Head"))
        }


@pytest.fixture
def story(cloud, tmp_path):
    return Story(cloud, tmp_path)


def test_a_rollout_under_way_is_followed_marked_and_recorded_as_its_run_would_have(story, cloud):
    arn, release_id = story.register("slow:20")
    cloud.update_service(taskDefinition=arn, desiredCount=2)
    cloud.advance(5)
    before = len(cloud.calls())
    (done,) = story.watch()
    assert done.release.verdict is Verdict.SUCCEEDED
    assert (done.release.id, done.release.revision_arn, done.release.image) == (release_id, arn, IMAGE)
    assert (done.release.actor, done.release.commit) == (ALICE, "c0ffee")
    assert done.release.started_at == "2026-07-01T01:00:00+00:00"
    assert story.records() == [(release_id, Verdict.SUCCEEDED)]
    assert revisions.RELEASED_AT_TAG in story.tags(arn)
    assert [event.release for event in story.events if isinstance(event, Released)] == [done.release]
    assert story.writes(before) - {"GetCallerIdentity"} == {"TagResource", "PutObject"}


def test_a_second_watch_finds_nothing_under_way_and_tells_the_last_verdict(story):
    story.release_well()
    before = story.records()
    (done,) = story.watch()
    assert (done.rollout, done.release) == (None, None)
    assert done.last.release.verdict is Verdict.SUCCEEDED
    assert story.records() == before
    assert not [event for event in story.events if isinstance(event, Released)]


def test_the_first_service_of_all_has_nothing_to_tell(story):
    (done,) = story.watch()
    assert (done.rollout, done.release, done.last) == (None, None, None)


@pytest.mark.parametrize("behaviour", ["crash", "cannot-pull"])
def test_a_rollback_under_way_is_told_as_that_of_the_release_that_failed(story, cloud, behaviour):
    good = story.release_well()
    bad, release_id = story.register(behaviour)
    cloud.update_service(taskDefinition=bad)
    for _second in range(200):
        cloud.advance(0.5)
        if cloud.primary()["taskDefinition"] == good:
            break
    assert cloud.primary()["rolloutState"] == "IN_PROGRESS", "the rollback must be under way"
    (done,) = story.watch()
    assert (done.release.verdict, done.release.revision_arn) == (Verdict.ROLLED_BACK, bad)
    assert story.records()[0] == (release_id, Verdict.ROLLED_BACK)
    assert revisions.RELEASED_AT_TAG not in story.tags(bad)
    assert [event.failure.deployment_id for event in story.events if isinstance(event, TaskFailed)]


def test_a_rollout_that_ended_unseen_is_concluded_once(story, cloud):
    story.release_well()
    arn, release_id = story.register()
    cloud.update_service(taskDefinition=arn)
    cloud.advance(120)
    (done,) = story.watch()
    assert (done.release.id, done.release.verdict) == (release_id, Verdict.SUCCEEDED)
    assert revisions.RELEASED_AT_TAG in story.tags(arn)
    count = len(story.records())
    assert story.watch()[0].release is None
    assert len(story.records()) == count


def test_a_rollback_that_ended_unseen_is_concluded_once_with_its_cause(story, cloud):
    story.release_well()
    bad, release_id = story.register("crash")
    cloud.update_service(taskDefinition=bad)
    cloud.advance(300)
    (done,) = story.watch()
    assert (done.release.id, done.release.verdict) == (release_id, Verdict.ROLLED_BACK)
    assert [event for event in story.events if isinstance(event, TaskFailed)]
    assert story.watch()[0].release is None


def test_what_its_own_run_has_recorded_is_not_recorded_again(story, cloud):
    arn, release_id = story.register("slow:20")
    cloud.update_service(taskDefinition=arn, desiredCount=2)
    story.at[10.0] = lambda: story.record(arn, release_id, Verdict.SUCCEEDED, actor="its own run")
    (done,) = story.watch()
    assert done.release.verdict is Verdict.SUCCEEDED
    found = store.releases(
        story.session.s3, story.environment.state_bucket, environment="dev", account_id=ACCOUNT
    )
    assert [record.release.actor for record in found] == ["its own run"]


def test_a_release_that_timed_out_gets_its_verdict_in_the_end(story, cloud):
    arn, release_id = story.register("slow:20")
    cloud.update_service(taskDefinition=arn, desiredCount=2)
    began_at = datetime.fromtimestamp(cloud.primary()["createdAt"].timestamp(), UTC)
    story.record(arn, release_id, Verdict.TIMED_OUT, at=began_at)
    (done,) = story.watch()
    assert done.release.verdict is Verdict.SUCCEEDED
    # In the place of the other: it is the same release.
    assert story.records() == [(release_id, Verdict.SUCCEEDED)]


def test_somebody_elses_revision_is_followed_and_not_recorded(story, cloud):
    story.release_well()
    before = story.records()
    other = cloud.register(image="registry.example/app:latest", behaviour="slow:10")
    cloud.update_service(taskDefinition=other)
    (done,) = story.watch()
    assert (done.rollout.verdict, done.rollout.revision_arn) == (Verdict.SUCCEEDED, other)
    assert done.release is None
    assert story.records() == before


def test_a_deployment_that_orch_did_not_start_of_a_released_revision_is_no_new_release(story, cloud):
    story.release_well()
    before = story.records()
    cloud.update_service(forceNewDeployment=True)
    (done,) = story.watch()
    assert done.rollout.verdict is Verdict.SUCCEEDED
    assert story.records() == before


def test_the_way_back_to_the_same_definition_is_not_taken_for_the_release(story, cloud):
    arn, _ = story.register("slow:20")
    cloud.update_service(taskDefinition=arn, desiredCount=2)
    story.watch()
    revisions.name_release(story.session.ecs, arn, "20260701T090000Z-bbbbbb")
    ours = cloud.update_service(forceNewDeployment=True)["deployments"][0]["id"]
    cloud.advance(5)
    deployment = cloud.service_deployments()[0]["serviceDeploymentArn"]
    cloud.ecs.stop_service_deployment(serviceDeploymentArn=deployment, stopType="ROLLBACK")
    cloud.advance(5)
    assert (cloud.primary()["id"] == ours, cloud.primary()["taskDefinition"]) == (False, arn)
    (done,) = story.watch()
    assert (done.rollout.verdict, done.rollout.deployment_id) == (Verdict.ROLLED_BACK, ours)
    assert story.records()[0] == ("20260701T090000Z-bbbbbb", Verdict.ROLLED_BACK)


def test_a_rollback_whose_run_was_killed_is_a_release_of_its_own(story, cloud):
    old = story.release_well()
    story.release_well()
    revisions.name_release(story.session.ecs, old, "20260701T090000Z-bbbbbb")
    cloud.update_service(taskDefinition=old)
    cloud.advance(120)
    (done,) = story.watch()
    assert (done.release.id, done.release.verdict) == ("20260701T090000Z-bbbbbb", Verdict.SUCCEEDED)
    assert done.release.revision_arn == old
    # Who registered it is not who went back to it.
    assert done.release.actor != ALICE
    assert story.watch()[0].release is None


def test_a_first_rollout_that_fails_has_nothing_to_go_back_to(story, cloud):
    arn, _ = story.register("crash")
    cloud.update_service(taskDefinition=arn, desiredCount=1)
    cloud.advance(1)
    (done,) = story.watch()
    assert done.release.verdict is Verdict.FAILED
    assert "nothing to go back to" in done.release.reason


def test_a_watch_that_is_interrupted_stops_nothing(story, cloud):
    arn, _ = story.register("slow:60")
    cloud.update_service(taskDefinition=arn, desiredCount=2)
    before = len(cloud.calls())

    def interrupt():
        raise KeyboardInterrupt

    story.at[5.0] = interrupt
    with pytest.raises(InterruptedByUserError, match="the deployment of web goes on in ECS"):
        story.watch()
    assert story.writes(before) <= {"GetCallerIdentity"}
    assert cloud.primary()["rolloutState"] == "IN_PROGRESS"


def test_a_watch_never_stops_a_deployment_however_hopeless(story, cloud):
    story.release_well()
    arn, _ = story.register("crash")
    cloud.update_service(taskDefinition=arn)
    before = len(cloud.calls())
    (done,) = story.watch()
    assert done.release.verdict is Verdict.ROLLED_BACK
    assert "StopServiceDeployment" not in story.writes(before)


@pytest.fixture
def without_api(story):
    """An account in which nobody has the API of service deployments."""
    error = {"Error": {"Code": "UnknownOperationException", "Message": ""}}

    def refuse(**_request):
        raise ClientError(error, "ListServiceDeployments")

    story.session.ecs.list_service_deployments = refuse
    yield story
    del story.session.ecs.list_service_deployments


def test_without_the_api_of_service_deployments_the_primary_one_is_followed(without_api, cloud):
    story = without_api
    arn, release_id = story.register("slow:20")
    cloud.update_service(taskDefinition=arn, desiredCount=2)
    cloud.advance(5)
    (done,) = story.watch()
    assert (done.release.verdict, done.release.id) == (Verdict.SUCCEEDED, release_id)
    assert story.watch()[0].release is None


def test_without_it_a_way_back_is_not_taken_for_the_release(without_api, cloud):
    story = without_api
    good, (bad, _) = story.release_well(), story.register()
    before = services.describe(story.session.ecs, "main", "web")
    reason = "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1."
    back = services.Deployment("ecs-svc/3", "PRIMARY", "IN_PROGRESS", reason, good, 2, 1, 1, 0)
    failed = services.Deployment("ecs-svc/2", "ACTIVE", "FAILED", "", bad, 0, 0, 0, 3)
    found = find(story.target(), dataclasses.replace(before, deployments=(back, failed)))
    assert (found.revision.arn, found.started.deployment_id, found.is_over) == (bad, "ecs-svc/2", False)
    # And once it has left the list, nothing says what it was.
    assert find(story.target(), dataclasses.replace(before, deployments=(back,))) is None
