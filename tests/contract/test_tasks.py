"""ecs/tasks, one-off tasks, the pre-deploy task, scaling and ECS Exec against the sandbox, on a clock that the test moves."""

from __future__ import annotations

import dataclasses
import json
import os
import sys

import pytest
from botocore.exceptions import ClientError

from orchestrator import settings as settings_module
from orchestrator.aws import Aws
from orchestrator.ecs import revisions, scaling, services, tasks
from orchestrator.ecs.rollout import Clock
from orchestrator.errors import (
    AwsError,
    InterruptedByUserError,
    PreconditionError,
    PreDeployError,
    RefusedError,
    ToolMissingError,
)
from orchestrator.events import (
    LogLine,
    ScaleProgress,
    ServiceEvent,
    StepFinished,
    Steps,
    TaskProgress,
    Warned,
)
from orchestrator.model import Contract, ServiceContract, Verdict
from orchestrator.operations import execute, one_off, pre_deploy, release, scale
from orchestrator.operations import tasks as listing

pytest_plugins = ("tests.contract.sandbox_fixtures",)

ACCOUNT, REGION = "111111111111", "eu-central-1"
LONG = 120.0
GROUP = "/ecs/app"
LOGS = {
    "logConfiguration": {
        "logDriver": "awslogs",
        "options": {"awslogs-group": GROUP, "awslogs-region": REGION, "awslogs-stream-prefix": "web"},
    }
}
SERVICE = ServiceContract("web", "repository", "main", "web", "app", "skeleton", "app", GROUP, "", "", 1)
TOML = f"""
project = "demo"
region = "{REGION}"

[services.web]
context = "app"
{{more}}

[environments.dev]
account_id = "{ACCOUNT}"
"""


class Story:
    """A steady service, and hands on time; `at` maps a moment (seconds) to something that happens then."""

    def __init__(self, cloud, tmp_path) -> None:
        self.cloud, self.tmp_path = cloud, tmp_path
        self.now_s, self.at, self.events = 0.0, {}, []
        environ = {"AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "any"}
        environ["AWS_ENDPOINT_URL"] = cloud.sandbox.endpoint_url
        self.environ = environ
        self.session = Aws(REGION, environ)
        cloud.client("logs").create_log_group(logGroupName=GROUP)
        self.good = cloud.register(container=LOGS)
        cloud.create_service(self.good, desired=1)
        cloud.advance(20)

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s
        self.cloud.advance(duration_s)
        for moment in [moment for moment in self.at if moment <= self.now_s]:
            self.at.pop(moment)()

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.now_s, sleep=self.sleep, jitter=lambda: 1.0)

    def settings(self, more: str = ""):
        file = self.tmp_path / "orch.toml"
        file.write_text(TOML.format(more=more))
        return settings_module.load(file)

    def job(self, *command: str, revision: str = "", **more) -> one_off.Job:
        described = revisions.describe(self.session.ecs, revision or self.good)
        more = {"container": "app", "purpose": "run", **more}
        return one_off.Job(SERVICE, described, command=command, **more)

    def start(self, job: one_off.Job) -> tasks.Task:
        place = tasks.placement(self.session.ecs, "main", "web")
        loaded = self.settings()
        return one_off.start(job, place, self.session, loaded, loaded.environment("dev"))

    def run(self, *command: str, timeout_s: float | None = None, **more) -> one_off.Ended:
        job = self.job(*command, **more)
        return self.follow(job, self.start(job), timeout_s=timeout_s)

    def follow(self, job, task, *, timeout_s: float | None = None, session=None) -> one_off.Ended:
        session = session or self.session
        return one_off.follow(job, task, session, self.events.append, timeout_s=timeout_s, clock=self.clock)

    @property
    def lines(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, LogLine)]

    @property
    def statuses(self) -> list[str]:
        return [event.status for event in self.events if isinstance(event, TaskProgress)]

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]

    def described(self, task: tasks.Task) -> dict:
        answer = self.cloud.ecs.describe_tasks(cluster="main", tasks=[task.arn], include=["TAGS"])
        return answer["tasks"][0]


@pytest.fixture
def story(cloud, tmp_path):
    return Story(cloud, tmp_path)


def interrupt() -> None:
    raise KeyboardInterrupt


# --- listed and described


def test_more_tasks_than_one_call_takes_are_all_described(cloud, story):
    cloud.update_service(desiredCount=130)
    cloud.advance(LONG)
    arns = tasks.list_arns(story.session.ecs, "main", service="web")
    found = tasks.describe(story.session.ecs, "main", arns)
    assert len({task.id for task in found}) == 130
    assert {task.status for task in found} == {"RUNNING"}
    assert list(found) == sorted(found, key=lambda task: (task.created_at, task.arn))


def test_a_task_tells_what_the_table_shows(cloud, story):
    (task,) = listing.of_service(story.session.ecs, SERVICE, with_stopped=False)
    assert task.revision_arn == story.good
    assert task.revision == story.good.rsplit("/", 1)[-1]
    assert (task.status, task.desired_status) == ("RUNNING", "RUNNING")
    assert task.started_by == cloud.primary()["id"]
    assert task.availability_zone == f"{REGION}a"
    assert task.started_at >= task.created_at.isoformat(timespec="seconds")
    assert (task.stopped_at, task.stop_code, task.stopped_reason) == ("", "", "")


def test_one_off_tasks_are_among_those_of_the_service_and_stopped_ones_come_last_on_request(cloud, story):
    started = story.start(story.job("sleep", "5"))
    ecs = story.session.ecs
    found = listing.of_service(ecs, SERVICE, with_stopped=False)
    assert [task.started_by for task in found] == [cloud.primary()["id"], "orch/run/web"]
    cloud.advance(LONG)
    assert len(listing.of_service(ecs, SERVICE, with_stopped=False)) == 1
    both = listing.of_service(ecs, SERVICE, with_stopped=True)
    assert [task.status for task in both] == ["RUNNING", "STOPPED"]
    assert both[1].id == started.id
    assert (both[1].stop_code, both[1].container("app").exit_code) == ("EssentialContainerExited", 0)


def test_a_task_is_chosen_by_the_beginning_of_its_id(cloud, story):
    cloud.update_service(desiredCount=3)
    cloud.advance(LONG)
    ecs = story.session.ecs
    found = listing.of_service(ecs, SERVICE, with_stopped=False)
    assert listing.choose(ecs, SERVICE, found[0].id[:12]) == found[0]
    assert listing.choose(ecs, SERVICE, "") == found[-1]
    with pytest.raises(PreconditionError, match="no task zzz of web runs") as caught:
        listing.choose(ecs, SERVICE, "zzz")
    assert found[0].id in caught.value.hint
    cloud.update_service(desiredCount=0)
    cloud.advance(LONG)
    with pytest.raises(PreconditionError, match="no task of web runs"):
        listing.choose(ecs, SERVICE, "")


# --- run once


def test_a_command_runs_on_the_services_revision_where_its_tasks_run_and_says_whose_it_is(cloud, story):
    ended = story.run("sh", "-c", "echo one; echo two")
    assert (ended.exit_code, ended.is_timed_out, ended.cause) == (0, False, None)
    assert story.lines == ["one", "two"]
    assert story.statuses[-1] == "STOPPED"
    told = story.described(ended.task)
    assert told["taskDefinitionArn"] == story.good
    assert told["launchType"] == cloud.service()["launchType"]
    assert told["overrides"]["containerOverrides"][0]["command"] == ["sh", "-c", "echo one; echo two"]
    assert told["startedBy"] == "orch/run/web"
    tags = {tag["key"]: tag["value"] for tag in told["tags"]}
    assert (tags["orch:project"], tags["orch:environment"]) == ("demo", "dev")
    assert tags["orch:by"].startswith("arn:aws:")


def test_cpu_and_memory_can_be_others(story):
    job = story.job("true", cpu="1024", memory="2048")
    told = story.described(story.start(job))
    assert (told["cpu"], told["memory"]) == ("1024", "2048")


def test_the_exit_code_is_the_commands(story):
    ended = story.run("sh", "-c", "echo no good && exit 7")
    assert ended.exit_code == 7
    assert "app: exit code 7" in ended.details
    assert ended.cause is not None


def test_lines_are_shown_while_the_task_runs_and_those_that_come_last_too(story):
    story.at[20.0] = lambda: seen.extend(story.lines)
    seen: list[str] = []
    story.run("sh", "-c", "echo first; sleep 60; echo last")
    assert seen == ["first"]
    assert story.lines == ["first", "last"]


@pytest.mark.parametrize("hours_ahead", [0, 3])
def test_a_line_that_shows_up_after_the_end_is_still_shown(cloud, story, hours_ahead):
    # CloudWatch throws away what is dated two hours ahead of its own clock, which must be the sandbox's.
    cloud.advance(hours_ahead * 3600)
    job = story.job("true")
    task = story.start(job)

    def write_late() -> None:
        moment = int(task.created_at.timestamp() * 1000) + 5_000
        stream = f"web/app/{task.id}"
        cloud.client("logs").create_log_stream(logGroupName=GROUP, logStreamName=stream)
        event = {"timestamp": moment, "message": "a late one"}
        cloud.client("logs").put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=[event])

    story.at[4.0] = write_late
    assert story.follow(job, task).exit_code == 0
    assert story.lines == ["a late one"]


def test_a_task_that_cannot_start_says_why_and_what_to_do(cloud, story):
    cloud.client("logs").delete_log_group(logGroupName=GROUP)
    ended = story.run("true")
    assert ended.exit_code is None
    assert ended.details[0].startswith("TaskFailedToStart: ResourceInitializationError:")
    assert "app: did not start" in ended.details
    assert ended.cause is not None
    assert GROUP in ended.cause.advice


def test_a_command_that_takes_too_long_is_stopped_and_seen_to_its_end(story):
    ended = story.run("sleep", "900", timeout_s=30)
    assert ended.is_timed_out
    assert ended.task.is_stopped
    assert ended.task.stop_code == "UserInitiated"
    assert "not finished after 30 s" in ended.task.stopped_reason
    # What orch stopped has no other cause.
    assert (ended.exit_code, ended.cause) == (143, None)
    assert 30 <= story.now_s < 45


def test_ctrl_c_stops_the_task_and_waits_for_its_end(story):
    job = story.job("sh", "-c", "echo up; sleep 900")
    task = story.start(job)
    story.at[10.0] = interrupt
    with pytest.raises(InterruptedByUserError) as caught:
        story.follow(job, task)
    assert caught.value.message == f"interrupted; the task {task.id} has stopped"
    told = story.described(task)
    assert (told["lastStatus"], told["stopCode"]) == ("STOPPED", "UserInitiated")
    assert story.lines == ["up"]


def test_a_second_ctrl_c_does_not_wait(story):
    job = story.job("sleep", "900")
    task = story.start(job)
    story.at |= {10.0: interrupt, 10.1: interrupt}
    with pytest.raises(InterruptedByUserError, match="was asked to stop"):
        story.follow(job, task)
    assert story.described(task)["desiredStatus"] == "STOPPED"
    assert story.now_s < 15


def test_a_log_that_cannot_be_read_stops_nothing(cloud, story):
    job = story.job("sh", "-c", "echo unseen; exit 3")
    task = story.start(job)
    cloud.advance(1)
    session = Session(story.session, logs=Refusing())
    assert story.follow(job, task, session=session).exit_code == 3
    assert len(story.warnings) == 1
    assert story.warnings[0].startswith("the task goes on without its log: logs:FilterLogEvents failed")


def test_a_container_without_a_log_in_cloudwatch_is_told(cloud, story):
    ended = story.run("true", revision=cloud.register())
    assert ended.exit_code == 0
    assert story.warnings == ["the container app does not log to CloudWatch: its output is not shown"]


def test_an_unknown_container_is_refused_before_anything_starts(cloud, story):
    calls = len(cloud.calls())
    with pytest.raises(PreconditionError, match="has no container `side`") as caught:
        story.start(story.job("true", container="side"))
    assert caught.value.hint == "choose one of: app"
    assert "RunTask" not in [call.get("operation") for call in cloud.calls()[calls:]]


def test_a_request_that_is_repeated_starts_one_task(cloud, story):
    place = tasks.placement(story.session.ecs, "main", "web")
    wanted = tasks.OneOff(story.good, "app", ("sleep", "9"), "orch/run/web", {}, client_token="t-1")
    first, second = (tasks.run(story.session.ecs, place, wanted) for _ in range(2))
    assert first.arn == second.arn
    assert len(tasks.list_started_by(story.session.ecs, "main", "orch/run/web")) == 1
    other = dataclasses.replace(wanted, command=("true",))
    with pytest.raises(AwsError) as caught:
        tasks.run(story.session.ecs, place, other)
    assert caught.value.code == "ConflictException"


def test_no_task_without_a_reason():
    class Full:
        def run_task(self, **_request):
            return {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY", "detail": "no host"}]}

    place = tasks.Placement("main", "web", "app:1", has_exec=False, request={})
    with pytest.raises(AwsError, match="started no task: RESOURCE:MEMORY no host"):
        tasks.run(Full(), place, tasks.OneOff("app:1", "app", ("true",), "orch/run/web", {}, "t"))


def test_a_service_with_capacity_providers_names_no_launch_type():
    class Spot:
        def describe_services(self, **_request):
            strategy = [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}]
            service = {
                "taskDefinition": "app:1",
                "launchType": "FARGATE",
                "capacityProviderStrategy": strategy,
            }
            return {"services": [service]}

    request = tasks.placement(Spot(), "main", "web").request
    assert "launchType" not in request
    assert request["capacityProviderStrategy"][0]["capacityProvider"] == "FARGATE_SPOT"


class Session:
    """A session of which single clients are others."""

    def __init__(self, session: Aws, **clients) -> None:
        self.region = session.region
        self.ecs, self.logs = session.ecs, session.logs
        vars(self).update(clients)


class Refusing:
    def filter_log_events(self, **_request):
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "FilterLogEvents")


class SlowToShow:
    """ECS that does not know a new task for some looks, and is busy at another."""

    def __init__(self, ecs) -> None:
        self._ecs, self._looks = ecs, 0

    def __getattr__(self, name):
        return getattr(self._ecs, name)

    def describe_tasks(self, **request):
        self._looks += 1
        if self._looks == 2:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "no"}}, "DescribeTasks")
        if self._looks <= 4:
            return {"tasks": [], "failures": [{"reason": "MISSING"}]}
        return self._ecs.describe_tasks(**request)


def test_a_new_task_may_not_be_visible_at_once_and_ecs_may_be_busy(story):
    job = story.job("exit", "4")
    task = story.start(job)
    session = Session(story.session, ecs=SlowToShow(story.session.ecs))
    assert story.follow(job, task, session=session).exit_code == 4


def test_a_task_that_ecs_does_not_know_is_not_waited_for_for_ever(story):
    job = story.job("true")
    lost = dataclasses.replace(story.start(job), arn=f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/main/{'0' * 32}")
    with pytest.raises(AwsError, match="does not know the task"):
        story.follow(job, lost, timeout_s=300)
    assert 60 < story.now_s < 70


class Alongside:
    """A task whose command runs in a container that is not essential: the task goes on when it has ended."""

    def __init__(self, task: tasks.Task) -> None:
        self.task, self.stopped = task, []

    def describe_tasks(self, **_request):
        containers = [
            {"name": "app", "lastStatus": "RUNNING"},
            {"name": "job", "lastStatus": "STOPPED", "exitCode": 5},
        ]
        return {
            "tasks": [
                {
                    "taskArn": self.task.arn,
                    "taskDefinitionArn": self.task.revision_arn,
                    "lastStatus": "RUNNING",
                    "desiredStatus": "RUNNING",
                    "createdAt": self.task.created_at,
                    "containers": containers,
                }
            ]
        }

    def stop_task(self, **request):
        self.stopped.append(request["reason"])


def test_a_command_beside_the_service_ends_the_task_with_it(cloud, story):
    side = {"name": "job", "image": "registry.example/job:1", "memory": 64, "essential": False, **LOGS}
    app = {"name": "app", "image": "registry.example/app:1", "memory": 128, "essential": True, **LOGS}
    made = cloud.ecs.register_task_definition(family="app", containerDefinitions=[app, side])
    revision = made["taskDefinition"]["taskDefinitionArn"]
    job = story.job("work", revision=revision, container="job")
    task = story.start(job)
    ecs = Alongside(task)
    ended = story.follow(job, task, session=Session(story.session, ecs=ecs))
    assert ended.exit_code == 5
    assert ecs.stopped == ["orch: its command ended"]
    assert "app: still running" in ended.details


# --- before a rollout


def target(story, more: str) -> release.Target:
    loaded = story.settings(more)
    steps = Steps(story.events.append)
    agreed = Contract(ACCOUNT, REGION, (SERVICE,))
    sources = release.Sources(loaded, story.environ, {})
    return release.Target(SERVICE, agreed, loaded.environment("dev"), sources, story.session, steps)


def migrate(story, wanted: release.Target, revision: revisions.Revision) -> None:
    pre_deploy.run_pre_deploy(wanted, revision, clock=story.clock)


def revision_of(story, **more):
    return revisions.describe(story.session.ecs, story.cloud.register(container=LOGS, **more))


def pre_deploy_tasks(story) -> list[dict]:
    family = story.cloud.ecs.list_tasks(cluster="main", family="app", desiredStatus="STOPPED")["taskArns"]
    family += story.cloud.ecs.list_tasks(cluster="main", family="app")["taskArns"]
    found = story.cloud.ecs.describe_tasks(cluster="main", tasks=family)["tasks"]
    return [task for task in found if task.get("startedBy") == "orch/pre-deploy/web"]


def test_the_pre_deploy_task_runs_on_the_new_revision(story):
    revision = revision_of(story)
    migrate(story, target(story, 'pre_deploy = { command = ["echo", "migrated"] }'), revision)
    (task,) = pre_deploy_tasks(story)
    assert task["taskDefinitionArn"] == revision.arn != story.good
    assert story.lines == ["migrated"]
    (finished,) = [event for event in story.events if isinstance(event, StepFinished)]
    assert (finished.name, finished.outcome) == ("pre_deploy", "done")
    assert "ended with exit code 0" in finished.detail


def test_without_one_nothing_is_asked_of_aws(story, cloud):
    calls = len(cloud.calls())
    migrate(story, target(story, ""), revisions.Revision("arn", None, {}))
    assert cloud.calls()[calls:] == []
    assert story.events == []


def test_a_pre_deploy_task_that_fails_lets_nothing_be_rolled_out(story):
    wanted = target(story, 'pre_deploy = { command = ["sh", "-c", "echo no; exit 9"] }')
    with pytest.raises(PreDeployError) as caught:
        migrate(story, wanted, revision_of(story))
    message = "the pre-deploy task of web ended with exit code 9; nothing was rolled out"
    assert (caught.value.message, caught.value.exit_code) == (message, 1)
    assert "app: exit code 9" in caught.value.details
    assert story.lines == ["no"]
    assert [event.outcome for event in story.events if isinstance(event, StepFinished)] == ["failed"]


def test_a_pre_deploy_task_that_takes_too_long_is_stopped(story):
    wanted = target(story, 'pre_deploy = { command = ["sleep", "100000"], timeout_s = 1 }')
    with pytest.raises(PreDeployError, match="was not finished after 1 s and was stopped") as caught:
        migrate(story, wanted, revision_of(story))
    assert "services.web.pre_deploy.timeout_s" in caught.value.hint
    (task,) = pre_deploy_tasks(story)
    assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "UserInitiated")


def test_ctrl_c_during_a_pre_deploy_task_stops_it_and_reaches_the_rollouts_beside_it(story):
    story.at[10.0] = interrupt
    with pytest.raises(KeyboardInterrupt):
        migrate(story, target(story, 'pre_deploy = { command = ["sleep", "900"] }'), revision_of(story))
    (task,) = pre_deploy_tasks(story)
    assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "UserInitiated")
    assert story.warnings == [f"interrupted; the task {task['taskArn'].rsplit('/', 1)[-1]} has stopped"]


def test_a_task_that_an_earlier_run_left_behind_is_followed_instead_of_starting_a_second(story):
    revision = revision_of(story)
    left = story.start(
        story.job("sh", "-c", "sleep 60; echo done", revision=revision.arn, purpose="pre-deploy")
    )
    migrate(story, target(story, 'pre_deploy = { command = ["false"] }'), revision)
    assert [task["taskArn"] for task in pre_deploy_tasks(story)] == [left.arn]
    assert story.lines == ["done"]


def test_two_revisions_are_never_migrated_at_once(story):
    job = story.job("sleep", "900", purpose="pre-deploy")
    left = story.start(job)
    with pytest.raises(PreDeployError, match=f"still runs, on {left.revision}: {left.id}"):
        migrate(story, target(story, 'pre_deploy = { command = ["true"] }'), revision_of(story))
    assert len(pre_deploy_tasks(story)) == 1


# --- scaled


def scaled(story, count: int, **options):
    before = options.pop("before", None) or services.describe(story.session.ecs, "main", "web")
    options = {"timeout_s": 600.0, **options}
    return scale.follow(
        story.session.ecs, SERVICE, before, story.events.append, count=count, clock=story.clock, **options
    )


def test_scaling_up_and_down_is_waited_for_and_starts_no_deployment(story, cloud):
    deployment = cloud.primary()["id"]
    for count in (4, 1, 0):
        before = services.describe(story.session.ecs, "main", "web")
        scaling.set_desired_count(story.session.ecs, "main", "web", count)
        verdict, reason, state = scaled(story, count, before=before)
        assert (verdict, reason, state.running) == (Verdict.SUCCEEDED, f"{count} tasks run", count)
    assert cloud.primary()["id"] == deployment
    assert len(cloud.service_deployments()) == 1
    progress = [event for event in story.events if isinstance(event, ScaleProgress)]
    assert (progress[0].running, progress[0].desired) == (1, 4)
    assert any(
        "has started 3 tasks" in event.message for event in story.events if isinstance(event, ServiceEvent)
    )


def test_another_count_meanwhile_is_no_success(story, cloud):
    before = services.describe(story.session.ecs, "main", "web")
    scaling.set_desired_count(story.session.ecs, "main", "web", 3)
    story.at[1.0] = lambda: cloud.update_service(desiredCount=2)
    verdict, reason, _ = scaled(story, 3, before=before)
    assert (verdict, reason) == (Verdict.SUPERSEDED, "somebody set the desired count to 2 meanwhile")


def test_a_count_that_ecs_shows_late_is_not_somebody_elses(story):
    before = services.describe(story.session.ecs, "main", "web")
    story.at[3.0] = lambda: scaling.set_desired_count(story.session.ecs, "main", "web", 2)
    assert scaled(story, 2, before=before)[0] is Verdict.SUCCEEDED


def test_a_count_that_never_comes_is_told(story):
    assert scaled(story, 2)[0] is Verdict.SUPERSEDED
    assert 20 <= story.now_s < 30


def test_tasks_that_do_not_start_end_in_a_timeout_with_the_last_word_of_ecs(story, cloud):
    cloud.update_service(taskDefinition=cloud.register(behaviour="slow:300"))
    cloud.advance(LONG)
    before = services.describe(story.session.ecs, "main", "web")
    scaling.set_desired_count(story.session.ecs, "main", "web", 3)
    verdict, reason, state = scaled(story, 3, before=before, timeout_s=60)
    assert verdict is Verdict.TIMED_OUT
    assert reason.startswith("not so after 60 s; ")
    assert "has started" in reason
    assert state.running < 3


def test_ctrl_c_while_scaling_says_that_ecs_goes_on(story):
    scaling.set_desired_count(story.session.ecs, "main", "web", 5)
    story.at[0.5] = interrupt
    with pytest.raises(InterruptedByUserError, match="its desired count is 5, and ECS goes on"):
        scaled(story, 5)


def register_target(cloud, *, is_suspended: bool = False) -> None:
    cloud.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId="service/main/web",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=2,
        MaxCapacity=6,
        SuspendedState={
            f"{kind}Suspended": is_suspended
            for kind in ("DynamicScalingIn", "DynamicScalingOut", "ScheduledScaling")
        },
    )


@pytest.mark.parametrize(("count", "outside"), [(4, ""), (9, "; 9 is outside")])
def test_a_count_that_autoscaling_keeps_is_refused(story, cloud, count, outside):
    register_target(cloud)
    with pytest.raises(RefusedError) as caught:
        scale.require_unowned(SERVICE, story.session, count)
    assert f"keeps the desired count of web between 2 and 6{outside}: it would" in caught.value.message
    assert "--force" in caught.value.hint


@pytest.mark.parametrize("is_suspended", [True, None])
def test_what_nothing_scales_may_be_scaled(story, cloud, is_suspended):
    if is_suspended:
        register_target(cloud, is_suspended=True)
    scale.require_unowned(SERVICE, story.session, 9)


# --- entered


def plugin(folder, *, version: str = "1.2.707.0") -> None:
    """A stand-in for the Session Manager plugin: it tells its version, else writes down how it was called and ends with 3."""
    program = folder / execute.PLUGIN
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        f"if sys.argv[1:] == ['--version']: print({version!r}); sys.exit()\n"
        f"file = open({str(folder / 'called.json')!r}, 'w')\n"
        "json.dump({'argv': sys.argv[1:], 'environ': dict(os.environ), 'stdin': sys.stdin.read()}, file)\n"
        "sys.exit(3)\n"
    )
    program.chmod(0o755)


def require(folder) -> None:
    execute.require_plugin({"PATH": str(folder)})


def test_without_the_plugin_it_says_where_to_get_it(tmp_path):
    with pytest.raises(ToolMissingError, match="`session-manager-plugin` is not on PATH") as caught:
        require(tmp_path)
    assert "session-manager-working-with-install-plugin" in caught.value.hint


def test_a_plugin_that_would_show_the_token_to_everybody_is_refused(tmp_path):
    plugin(tmp_path, version="1.2.497.0")
    with pytest.raises(
        ToolMissingError, match=r"1\.2\.497\.0 is too old: it takes the session's token as an argument"
    ):
        require(tmp_path)
    plugin(tmp_path, version="1.2.553.0")
    require(tmp_path)
    plugin(tmp_path, version="what?")
    with pytest.raises(ToolMissingError, match="says 'what\\?', which is no version"):
        require(tmp_path)


def choose(story, **wish) -> execute.Entry:
    environment = story.settings().environment("dev")
    return execute.choose(SERVICE, execute.Wish(**wish), story.session, environment)


def test_where_exec_is_off_it_says_what_turns_it_on(story):
    with pytest.raises(PreconditionError, match="ECS Exec is off for web") as caught:
        choose(story)
    assert "enable_execute_command = true and readonly_root_filesystem = false" in caught.value.hint
    assert "terraform/envs/dev" in caught.value.hint


def test_a_task_from_before_exec_was_turned_on_cannot_be_entered(story, cloud):
    cloud.update_service(enableExecuteCommand=True)
    with pytest.raises(PreconditionError, match="was started before ECS Exec was turned on") as caught:
        choose(story)
    assert "--force-new-deployment" in caught.value.hint
    cloud.update_service(forceNewDeployment=True)
    cloud.advance(LONG)
    entry = choose(story)
    assert entry.target == f"ecs:main_{entry.task.id}_{entry.task.container('app').runtime_id}"
    with pytest.raises(PreconditionError, match="has no container `side`"):
        choose(story, container="side")


def test_an_agent_that_does_not_run_is_told():
    container = tasks.Container("app", "RUNNING", None, "", "id-1", "STOPPED", "it crashed")
    with pytest.raises(PreconditionError, match="is STOPPED: it crashed"):
        execute.target_of("task-1", "main", container)


def test_the_plugin_gets_the_session_by_its_environment_and_the_terminal(story, cloud, tmp_path):
    plugin(tmp_path)
    cloud.update_service(enableExecuteCommand=True, forceNewDeployment=True)
    cloud.advance(LONG)
    entry = choose(story)
    # What is typed reaches the plugin, as it does on a terminal.
    typed = tmp_path / "typed"
    typed.write_text("ls -l\n")
    saved = os.dup(0)
    opened = os.open(typed, os.O_RDONLY)
    try:
        os.dup2(opened, 0)
        environ = story.environ | {"PATH": str(tmp_path)}
        code = execute.enter(entry, ("psql", "-c", "select 1"), story.session, environ)
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(opened)
    called = json.loads((tmp_path / "called.json").read_text())
    assert code == 3
    assert called["stdin"] == "ls -l\n"
    variable, region, operation, profile, parameters, endpoint = called["argv"]
    assert (region, operation, profile) == (REGION, "StartSession", "")
    assert json.loads(parameters) == {"Target": entry.target}
    assert endpoint == cloud.sandbox.endpoint_url
    session = json.loads(called["environ"][variable])
    assert session["SessionId"].startswith("ecs-execute-command-")
    assert session["StreamUrl"].startswith("wss://")
    assert session["TokenValue"] not in " ".join(called["argv"])
    (asked,) = [call["parameters"] for call in cloud.calls() if call.get("operation") == "ExecuteCommand"]
    assert (asked["command"], asked["container"], asked["interactive"]) == (
        "psql -c 'select 1'",
        "app",
        True,
    )
