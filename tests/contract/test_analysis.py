"""Analyses on the sandbox: metrics are put and read in its time, and a staged rollout stands or falls with them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import settings, store
from orchestrator.aws import Aws
from orchestrator.ecs import metrics, revisions, rollout, services
from orchestrator.ecs.analysis import Question
from orchestrator.errors import PreconditionError
from orchestrator.events import Measured, PauseContinued, Steps, Warned
from orchestrator.model import BlueGreen, Contract, Image, ServiceContract, Verdict
from orchestrator.operations import release, rollouts
from orchestrator.sandbox import control
from orchestrator.settings_analysis import AnalysisSettings

pytest_plugins = ("tests.contract.sandbox_fixtures",)
ACCOUNT, REGION = "111111111111", "eu-central-1"
NAMESPACE = "AWS/ApplicationELB"


def session(cloud, folder) -> Aws:
    environ = control.aws_environment(cloud.sandbox, account_id=ACCOUNT, region=REGION)
    return Aws(REGION, {"HOME": str(folder), **environ})


def rate(**changes) -> AnalysisSettings:
    dimensions = {"TargetGroup": "$TARGET_GROUP", "LoadBalancer": "$LOAD_BALANCER"}
    query = {"namespace": NAMESPACE, "statistic": "Sum", "dimensions": dimensions}
    return AnalysisSettings.model_validate(
        {
            "name": "errors",
            "expression": "100 * FILL(errors, 0) / requests",
            "success": "value < 1",
            "queries": {
                "errors": {**query, "metric": "HTTPCode_Target_5XX_Count"},
                "requests": {**query, "metric": "RequestCount"},
            },
            **changes,
        }
    )


def minute_of(texts: dict[str, str], at: float, *, requests: float, errors: float = 0.0) -> list[dict]:
    """What an Application Load Balancer publishes of one minute of a target group: no error count without errors."""
    dimensions = [
        {"Name": "TargetGroup", "Value": texts["TARGET_GROUP"]},
        {"Name": "LoadBalancer", "Value": texts["LOAD_BALANCER"]},
    ]
    said = {"RequestCount": requests} | ({"HTTPCode_Target_5XX_Count": errors} if errors else {})
    moment = datetime.fromtimestamp(at, UTC)
    return [
        {"MetricName": name, "Value": value, "Dimensions": dimensions, "Timestamp": moment}
        for name, value in said.items()
    ]


def put(cloud, *minutes: list[dict]) -> None:
    data = [datum for minute in minutes for datum in minute]
    cloud.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=data)


GREEN = {"TARGET_GROUP": "targetgroup/green/2", "LOAD_BALANCER": "app/shop/3"}
BLUE = {**GREEN, "TARGET_GROUP": "targetgroup/blue/1"}


def test_time_is_awss_by_its_last_answer(cloud, tmp_path):
    aws = session(cloud, tmp_path)
    assert abs(aws.now() - time.time()) < 1
    cloud.advance(timedelta(days=3).total_seconds())
    aws.ecs.list_clusters()
    assert aws.now() == pytest.approx(control.control(cloud.sandbox, "POST", "clock", {})["now"], abs=2)


def test_several_questions_are_one_call_and_each_gets_its_own_minute_and_target_group(cloud, tmp_path):
    aws = session(cloud, tmp_path)
    cloud.advance(3600)
    aws.ecs.list_clusters()
    minute = int(aws.now() // 60) * 60
    for number, errors in enumerate((0, 5, 10)):
        at = minute + 60 * number
        put(
            cloud,
            minute_of(GREEN, at, requests=100, errors=errors),
            minute_of(BLUE, at, requests=200, errors=errors),
        )
    cloud.advance(180)
    ends = [minute + 60, minute + 120, minute + 180, minute + 240]
    questions = [Question(rate(), end, GREEN) for end in ends] + [Question(rate(), ends[1], BLUE)]
    before = len(cloud.calls())
    assert metrics.read(aws.cloudwatch_once, questions) == [(0.0,), (5.0,), (10.0,), (), (2.5,)]
    assert [call["operation"] for call in cloud.calls()[before:]] == ["GetMetricData"]


def test_a_question_that_is_refused_leaves_the_others_their_answers(cloud, tmp_path):
    aws = session(cloud, tmp_path)
    cloud.advance(3600)
    aws.ecs.list_clusters()
    minute = int(aws.now() // 60) * 60
    put(cloud, minute_of(GREEN, minute, requests=100, errors=3))
    cloud.advance(60)
    bad = rate(name="bad", expression="errors +* requests")
    (good, refused) = metrics.read(
        aws.cloudwatch_once, [Question(rate(), minute + 60, GREEN), Question(bad, minute + 60, GREEN)]
    )
    assert good == (3.0,)
    assert isinstance(refused, str)
    assert "cloudwatch:GetMetricData failed: ValidationError" in refused


# --- rollouts that are held to their metrics

ELB = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}"
TRAFFIC = BlueGreen(
    alternate_target_group_arn=f"{ELB}:targetgroup/b/2",
    production_listener_rule_arn=f"{ELB}:listener-rule/app/shop/3/4/5",
    test_listener_rule_arn=None,
    infrastructure_role_arn=f"arn:aws:iam::{ACCOUNT}:role/orch/demo-dev/demo-dev-web-infrastructure",
)
B = {"TARGET_GROUP": "targetgroup/b/2", "LOAD_BALANCER": "app/shop/3"}
A = {**B, "TARGET_GROUP": "targetgroup/a/1"}
IMAGE = Image("registry.example/app", "sha256:" + "1" * 64)
TOML = """
project = "demo"
region = "eu-central-1"
environments.dev.account_id = "111111111111"

[services.web.strategy]
type = "canary"
canary_percent = 10
canary_bake_time_minutes = 10
bake_time_minutes = 5
PAUSES

[[services.web.analysis]]
name = "errors"
expression = "100 * FILL(errors, 0) / requests"
success = "value < 1"
KEYS

[services.web.analysis.queries.errors]
namespace = "AWS/ApplicationELB"
metric = "HTTPCode_Target_5XX_Count"
statistic = "Sum"
dimensions = { TargetGroup = "$TARGET_GROUP", LoadBalancer = "$LOAD_BALANCER" }

[services.web.analysis.queries.requests]
namespace = "AWS/ApplicationELB"
metric = "RequestCount"
statistic = "Sum"
dimensions = { TargetGroup = "$TARGET_GROUP", LoadBalancer = "$LOAD_BALANCER" }
"""


class Story:
    """A service behind two target groups, traffic on both while it is released, and a hand on the clock."""

    def __init__(self, cloud, folder, *, keys="", pauses=""):
        (folder / "orch.toml").write_text(TOML.replace("KEYS", keys).replace("PAUSES", pauses))
        self.settings = settings.load(folder / "orch.toml")
        self.environment = self.settings.environment("dev")
        self.cloud, self.session, self.now_s, self.events = cloud, session(cloud, folder), 0.0, []
        store.create_bucket(self.session.s3, self.environment.state_bucket, region=REGION, account_id=ACCOUNT)
        balancer = {"targetGroupArn": f"{ELB}:targetgroup/a/1", "containerName": "app", "containerPort": 80}
        cloud.create_service(self.register(), loadBalancers=[balancer])
        cloud.advance(60)

    def register(self) -> str:
        port = {"portMappings": [{"containerPort": 80}]}
        return self.cloud.register(image=str(IMAGE), container=port)

    def publish(self, minutes: int, errors, *, green=B, blue=A) -> None:
        """Traffic of so many minutes from now on: 100 requests a minute on both, and on green so many errors in minute n."""
        self.session.ecs.list_clusters()
        minute = int(self.session.now() // 60) * 60
        times = [minute + 60 * number for number in range(minutes)]
        put(
            self.cloud,
            *(minute_of(green, at, requests=100, errors=errors(number)) for number, at in enumerate(times)),
            *(minute_of(blue, at, requests=900, errors=90) for at in times),
        )

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s
        self.cloud.advance(duration_s)

    def release(self, *, traffic=TRAFFIC):
        contract = ServiceContract("web", "", "main", "web", "app", "", "app", "", "", "", 2, traffic)
        sources = release.Sources(self.settings, {}, {})
        steps = Steps(self.events.append)
        agreed = Contract(ACCOUNT, REGION, (contract,))
        target = release.Target(contract, agreed, self.environment, sources, self.session, steps)
        state = services.describe(self.session.ecs, "main", "web")
        current = revisions.describe(self.session.ecs, state.task_definition)
        wanted = revisions.describe(self.session.ecs, self.register())
        candidate = release.Candidate(
            target=target,
            image=IMAGE,
            commit="c0ffee",
            move=release.Move.UPDATE,
            wanted=wanted.definition,
            revision=wanted,
            current=current,
            state=state,
            desired_count=None,
            has_fallback=True,
            release_id=release.new_release_id(datetime.now(UTC)),
            started_at=datetime.now(UTC),
        )
        # Looks far apart are fewer calls, and change nothing of what is measured.
        clock = rollout.Clock(now=lambda: self.now_s, sleep=self.sleep, jitter=lambda: 6.0)
        (done,) = rollouts.roll_out_all([candidate], may_start=lambda: None, clock=clock)
        return done, current.arn

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def test_a_canary_whose_errors_rise_while_it_bakes_is_rolled_back(cloud, tmp_path):
    story = Story(cloud, tmp_path, keys="failure_limit = 1")
    story.publish(30, lambda minute: 0 if minute < 5 else 4)
    done, before = story.release()
    assert (done.verdict, done.verdict.exit_code) == (Verdict.ROLLED_BACK, 10)
    assert done.reason == (
        "analysis errors: 100 * FILL(errors, 0) / requests was 4, 4 and must be `value < 1`;"
        " 2 measurements failed, and 1 may"
    )
    assert cloud.primary()["taskDefinition"] == before
    measured = story.told(Measured)
    assert {event.stage for event in measured} == {"PRODUCTION_TRAFFIC_SHIFT"}
    values = [event.values for event in measured]
    assert values == [(0.0,)] * (len(values) - 2) + [(4.0,)] * 2
    assert len(values) > 4
    assert measured[-1].state == "failed"
    assert len({event.ended_at for event in measured}) == len(measured)


def test_one_that_is_fine_succeeds_and_the_next_is_measured_in_the_other_target_group(cloud, tmp_path):
    story = Story(cloud, tmp_path, keys="count = 3")
    story.publish(25, lambda _minute: 0)
    done, _ = story.release()
    assert done.verdict is Verdict.SUCCEEDED
    assert [event.values for event in story.told(Measured)] == [(0.0,)] * 3
    assert story.told(Warned) == []
    story.events.clear()
    cloud.advance(1800)
    story.publish(25, lambda _minute: 50, green=A, blue=B)
    done, _ = story.release()
    assert done.verdict is Verdict.ROLLED_BACK
    assert [event.values for event in story.told(Measured)] == [(50.0,)]


@pytest.mark.parametrize(
    ("keys", "verdict", "state"),
    [
        ("count = 1", Verdict.ROLLED_BACK, "inconclusive"),
        ('count = 1\non_inconclusive = "continue"', Verdict.SUCCEEDED, "inconclusive"),
    ],
)
def test_no_data_does_what_the_settings_say(cloud, tmp_path, keys, verdict, state):
    story = Story(cloud, tmp_path, keys=keys)
    done, _ = story.release()
    assert done.verdict is verdict
    (measured,) = story.told(Measured)
    assert (measured.values, measured.state) == ((), state)


def test_a_pause_before_each_shift_is_ended_by_what_was_measured_alone(cloud, tmp_path):
    pauses = 'pause_at = ["PRE_PRODUCTION_TRAFFIC_SHIFT"]'
    story = Story(cloud, tmp_path, keys="count = 12\ncontinue_when_passed = true", pauses=pauses)
    story.publish(60, lambda _minute: 0)
    done, _ = story.release()
    assert done.verdict is Verdict.SUCCEEDED
    first, second = story.told(PauseContinued)
    assert (first.stage, first.reason) == (
        "PRE_PRODUCTION_TRAFFIC_SHIFT",
        "no production traffic yet, and nothing to measure",
    )
    # The canary's own 10 minutes are too short for 12 measurements: the pause before all traffic waits for them.
    assert second.reason == "analysis errors: 12 measurements succeeded"
    calls = [call for call in cloud.calls() if call.get("operation") == "ContinueServiceDeployment"]
    assert len(calls) == 2


def test_what_cannot_be_measured_is_refused_before_anything_changes(cloud, tmp_path):
    story = Story(cloud, tmp_path)
    with pytest.raises(PreconditionError, match="`errors` of web names .TARGET_GROUP"):
        story.release(traffic=None)
    assert [call for call in cloud.calls() if call.get("operation") == "UpdateService"] == []


class Moody:
    """CloudWatch that throttles the first so many calls."""

    def __init__(self, real, throttled: int):
        self.real, self.left = real, throttled

    def get_metric_data(self, **request):
        from botocore.exceptions import ClientError

        if self.left:
            self.left -= 1
            raise ClientError({"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}, "GetMetricData")
        return self.real.get_metric_data(**request)


@pytest.mark.parametrize(("throttled", "verdict"), [(2, Verdict.SUCCEEDED), (3, Verdict.ROLLED_BACK)])
def test_a_throttled_cloudwatch_is_borne_up_to_the_limit(cloud, tmp_path, throttled, verdict):
    story = Story(cloud, tmp_path, keys="count = 2\nerror_limit = 2")
    story.publish(30, lambda _minute: 0)
    story.session._shared.clients["cloudwatch", "", 0] = Moody(story.session.cloudwatch_once, throttled)
    done, _ = story.release()
    assert done.verdict is verdict
    outcomes = [event.outcome for event in story.told(Measured)]
    assert outcomes[:throttled] == ["error"] * throttled
    if verdict is Verdict.ROLLED_BACK:
        assert done.reason == (
            "analysis errors: 3 errors on end, the last: cloudwatch:GetMetricData failed: Throttling: Rate exceeded"
        )
