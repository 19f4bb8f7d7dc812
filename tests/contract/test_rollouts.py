"""operations/rollouts on the sandbox: several services of one environment, in turns, on a clock that the test moves."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from orchestrator import settings, store
from orchestrator.aws import Aws
from orchestrator.ecs import revisions, rollout, services
from orchestrator.errors import InterruptedByUserError, PreconditionError
from orchestrator.events import Released, Steps, TaskFailed, Warned
from orchestrator.model import Contract, Image, ServiceContract, Verdict
from orchestrator.operations import release, rollouts
from orchestrator.sandbox import control

pytest_plugins = ("tests.contract.sandbox_fixtures",)
ACCOUNT, REGION = "111111111111", "eu-central-1"
BREAKER = {
    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
}
IMAGE = Image("registry.example/app", "sha256:" + "1" * 64)
TOML = f"""
project = "demo"
region = "{REGION}"

[services.api]
[services.queue]
[services.web]
needs = ["api"]
[services.cron]
needs = ["web"]

[environments.dev]
account_id = "{ACCOUNT}"

[rollout]
"""


class Story:
    """Four services of one environment, and a hand on the clock. `at` maps a moment in seconds to what happens then."""

    def __init__(self, cloud, tmp_path, more=""):
        (tmp_path / "orch.toml").write_text(TOML + more)
        self.settings = settings.load(tmp_path / "orch.toml")
        self.environment = self.settings.environment("dev")
        environ = control.aws_environment(cloud.sandbox, account_id=ACCOUNT, region=REGION)
        self.session = Aws(REGION, {"HOME": str(tmp_path), **environ})
        self.cloud, self.now_s, self.events, self.at = cloud, 0.0, [], {}
        store.create_bucket(self.session.s3, self.environment.state_bucket, region=REGION, account_id=ACCOUNT)
        cloud.ecs.create_cluster(clusterName="main")

    def sleep(self, duration_s):
        self.now_s += duration_s
        self.cloud.advance(duration_s)
        for moment in [moment for moment in self.at if moment <= self.now_s]:
            self.at.pop(moment)()

    def definition(self, name, behaviour=""):
        container = {"name": "app", "image": str(IMAGE), "memory": 128, "essential": True}
        if behaviour:
            container["environment"] = [{"name": "ORCH_SANDBOX_BEHAVIOUR", "value": behaviour}]
        made = self.cloud.ecs.register_task_definition(family=name, containerDefinitions=[container])
        return made["taskDefinition"]["taskDefinitionArn"]

    def serve(self, *names, desired=1):
        for name in names:
            self.cloud.ecs.create_service(
                cluster="main",
                serviceName=name,
                taskDefinition=self.definition(name),
                desiredCount=desired,
                deploymentConfiguration=BREAKER,
            )
        self.cloud.advance(60)

    def candidate(self, name, behaviour="", *, move=release.Move.UPDATE, has_fallback=True):
        contract = ServiceContract(name, "", "main", name, "app", "", name, "", "", "", 1)
        agreed = Contract(ACCOUNT, REGION, (contract,))
        sources = release.Sources(self.settings, {}, {})
        steps = Steps(self.events.append)
        target = release.Target(contract, agreed, self.environment, sources, self.session, steps)
        state = services.describe(self.session.ecs, "main", name)
        current = revisions.describe(self.session.ecs, state.task_definition)
        wanted = current
        if move is release.Move.UPDATE:
            wanted = revisions.describe(self.session.ecs, self.definition(name, behaviour))
        return release.Candidate(
            target=target,
            image=IMAGE,
            commit="c0ffee",
            move=move,
            wanted=wanted.definition,
            revision=wanted,
            current=current,
            state=state,
            desired_count=None,
            has_fallback=has_fallback,
            release_id=release.new_release_id(datetime.now(UTC)),
            started_at=datetime.now(UTC),
        )

    def run(self, *candidates, may_start=lambda: None):
        clock = rollout.Clock(now=lambda: self.now_s, sleep=self.sleep, jitter=lambda: 1.0)
        return rollouts.roll_out_all(candidates, may_start=may_start, clock=clock)

    def updates(self):
        """The services that were updated, in that order."""
        return [
            call["parameters"]["service"]
            for call in self.cloud.calls()
            if call.get("operation") == "UpdateService"
        ]

    def running(self, name):
        return services.describe(self.session.ecs, "main", name)


@pytest.fixture
def story(cloud, tmp_path):
    return Story(cloud, tmp_path)


def verdicts(releases):
    return {done.service: done.verdict for done in releases}


def test_what_needs_another_waits_for_it_and_the_others_go_side_by_side(story):
    story.serve("api", "queue", "web", "cron")
    done = story.run(*(story.candidate(name) for name in ("cron", "web", "api", "queue")))
    assert [one.service for one in done] == ["cron", "web", "api", "queue"]
    assert set(verdicts(done).values()) == {Verdict.SUCCEEDED}
    started = [event.service for event in story.events if type(event).__name__ == "RolloutProgress"]
    order = list(dict.fromkeys(started))
    assert set(order[:2]) == {"api", "queue"}
    assert order[2:] == ["web", "cron"]
    assert [event.release.service for event in story.events if isinstance(event, Released)][2:] == [
        "web",
        "cron",
    ]


def test_one_that_fails_takes_nothing_back_but_itself_and_stops_what_needs_it(story):
    story.serve("api", "queue", "web", "cron")
    before = {name: story.running(name).task_definition for name in ("api", "web", "cron")}
    done = story.run(
        story.candidate("api", "crash"), *(story.candidate(name) for name in ("queue", "web", "cron"))
    )
    assert verdicts(done) == {
        "api": Verdict.ROLLED_BACK,
        "queue": Verdict.SUCCEEDED,
        "web": Verdict.NOT_STARTED,
        "cron": Verdict.NOT_STARTED,
    }
    assert {one.service: one.reason for one in done}["web"] == "it needs api, which ended ROLLED_BACK"
    assert {one.service: one.reason for one in done}["cron"] == "it needs web, which ended NOT_STARTED"
    assert {name: story.running(name).task_definition for name in before} == before
    assert max(one.verdict.exit_code for one in done) == 10


def test_a_cause_that_cannot_pass_is_rolled_back_before_the_breaker_would(story):
    story.serve("api")
    (done,) = story.run(story.candidate("api", "cannot-pull"))
    (failed,) = [event for event in story.events if isinstance(event, TaskFailed)]
    assert done.verdict is Verdict.ROLLED_BACK
    assert failed.failure.cause is not None
    assert done.reason == failed.failure.cause.title
    assert "StopServiceDeployment" in [call.get("operation") for call in story.cloud.calls()]
    assert any("orch asked ECS to roll back" in e.message for e in story.events if isinstance(e, Warned))


def test_a_task_that_nobody_could_place_is_explained_and_no_reason_to_give_up(story):
    story.serve("api")
    (done,) = story.run(story.candidate("api", "no-capacity"))
    told = [event.failure for event in story.events if isinstance(event, TaskFailed)]
    assert [failure.cause.id for failure in told] == ["no-capacity"]
    assert done.verdict is Verdict.ROLLED_BACK
    assert "StopServiceDeployment" not in [call.get("operation") for call in story.cloud.calls()]


def test_fail_fast_can_be_turned_off(cloud, tmp_path):
    story = Story(cloud, tmp_path, "fail_fast = false\n")
    story.serve("api")
    (done,) = story.run(story.candidate("api", "cannot-pull"))
    assert done.verdict is Verdict.ROLLED_BACK
    assert "StopServiceDeployment" not in [call.get("operation") for call in cloud.calls()]
    assert "circuit breaker" in done.reason


def test_a_first_rollout_that_fails_says_that_there_is_nothing_to_go_back_to(story):
    story.serve("api")
    (done,) = story.run(story.candidate("api", "crash", has_fallback=False))
    assert done.verdict is Verdict.FAILED
    assert "there is nothing to go back to" in done.reason
    assert story.now_s < 30


def interrupt(story, *moments):
    def raise_():
        raise KeyboardInterrupt

    for moment in moments:
        story.at[moment] = raise_


def test_a_cancel_rolls_back_and_what_had_no_turn_is_not_started(story):
    story.serve("api", "queue", "web", "cron")
    before = story.running("api").task_definition
    interrupt(story, 5.0)
    done = story.run(
        story.candidate("api", "slow:60"), story.candidate("queue", "slow:60"), story.candidate("web")
    )
    assert verdicts(done) == {
        "api": Verdict.CANCELLED,
        "queue": Verdict.CANCELLED,
        "web": Verdict.NOT_STARTED,
    }
    assert story.running("api").task_definition == before
    assert max(one.verdict.exit_code for one in done) == 14


def test_a_second_cancel_leaves_the_rollback_to_ecs(story):
    story.serve("api")
    interrupt(story, 5.0, 6.0)
    with pytest.raises(InterruptedByUserError, match="during the rollback") as caught:
        story.run(story.candidate("api", "slow:60"))
    assert "orch watch" in caught.value.hint
    assert caught.value.exit_code == 130


def test_a_cancel_may_leave_the_rollout_to_ecs(cloud, tmp_path):
    story = Story(cloud, tmp_path, 'on_cancel = "detach"\n')
    story.serve("api")
    interrupt(story, 5.0)
    candidate = story.candidate("api", "slow:20")
    with pytest.raises(InterruptedByUserError, match="deployment of api goes on in ECS"):
        story.run(candidate)
    assert "StopServiceDeployment" not in [call.get("operation") for call in cloud.calls()]
    (done,) = story.run(story.candidate("api", move=release.Move.FOLLOW))
    assert (done.verdict, done.revision_arn) == (Verdict.SUCCEEDED, candidate.revision.arn)


def test_a_service_that_cannot_start_lets_the_others_end_and_is_told_with_them(story):
    story.serve("api", "queue")

    def may_start(calls=[]):  # noqa: B006 - counts
        calls.append(1)
        if len(calls) > 1:
            raise PreconditionError("the lock is lost")

    with pytest.raises(PreconditionError, match="the lock is lost") as caught:
        story.run(story.candidate("api"), story.candidate("queue"), may_start=may_start)
    assert caught.value.details == ("api: SUCCEEDED",)
    assert story.updates() == ["api"]


def test_the_release_is_recorded_and_the_revision_marked(story):
    story.serve("api")
    (done,) = story.run(story.candidate("api"))
    revision = revisions.describe(story.session.ecs, done.revision_arn)
    assert revision.has_succeeded
    listed = story.session.s3.list_objects_v2(
        Bucket=story.environment.state_bucket, Prefix="orch/releases/dev/"
    )
    assert [done.id in item["Key"] for item in listed["Contents"]] == [True]


def test_going_back_to_what_was_released_before_is_no_second_release(story):
    story.serve("api")
    (good,) = story.run(story.candidate("api"))
    story.at[story.now_s + 1.0] = lambda: story.cloud.ecs.update_service(
        cluster="main", service="api", taskDefinition=story.definition("api", "crash:1")
    )
    story.sleep(1.0)
    for _ in range(120):
        state = story.running("api")
        if state.primary.task_definition == good.revision_arn:
            break
        story.sleep(1.0)
    assert state.primary.rollout_state == "IN_PROGRESS"
    candidate = dataclasses.replace(story.candidate("api", move=release.Move.FOLLOW), release_id=good.id)
    (done,) = story.run(candidate)
    assert (done.verdict, done.revision_arn) == (Verdict.NO_CHANGE, good.revision_arn)
    assert "is back after another release" in done.reason
    records = store.releases(
        story.session.s3, story.environment.state_bucket, environment="dev", account_id=ACCOUNT
    )
    assert [record.release.verdict for record in records] == [Verdict.SUCCEEDED]
