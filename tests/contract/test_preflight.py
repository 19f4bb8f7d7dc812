"""ecs/facts and operations/verify against the sandbox: what is read of AWS, and what stops, delays or passes a rollout."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager

import pytest
from botocore.awsrequest import AWSResponse

from orchestrator import settings
from orchestrator.aws import Aws
from orchestrator.ecs import facts, revisions, rollout
from orchestrator.ecs.facts import Platforms, Unread
from orchestrator.errors import AwsError, PreconditionError
from orchestrator.events import StepFinished, Steps, Warned
from orchestrator.model import Contract, Image, ServiceContract
from orchestrator.operations import release, verify
from orchestrator.sandbox import control

pytest_plugins = ("tests.contract.sandbox_fixtures",)
ACCOUNT, REGION = "111111111111", "eu-central-1"
OCI = "application/vnd.oci.image"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


@contextmanager
def refusing(client, operation: str, code: str = "AccessDeniedException"):
    """Answers one operation as AWS does when a policy does not allow it, in the service's own wire format."""
    body = json.dumps({"__type": code, "message": "User is not authorized to perform this"})
    if client.meta.service_model.protocol == "query":
        body = f"<ErrorResponse><Error><Code>{code}</Code><Message>not authorized</Message></Error></ErrorResponse>"

    def answer(request, **_more):
        return AWSResponse(
            request.url, 400, {"Content-Type": "application/x-amz-json-1.1"}, Raw(body.encode())
        )

    name = f"before-send.{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register(name, answer)
    try:
        yield
    finally:
        client.meta.events.unregister(name, answer)


class Raw:
    """The body of an answer, as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_arguments, **_named):
        yield self._body


def operations(cloud, before: int) -> list[str]:
    return [call["operation"] for call in cloud.calls()[before:] if call.get("operation")]


# --- images


def put(cloud, repository: str, manifest: dict | str, tag: str = "") -> str:
    """Stores a manifest; returns its digest."""
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    tags = {"imageTag": tag} if tag else {}
    cloud.ecr.put_image(repositoryName=repository, imageManifest=text, **tags)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def single(cloud, repository: str, config: bytes, kind: str = OCI) -> dict:
    """A manifest of one image with that config."""
    described = {**cloud.upload_layer(repository, config), "mediaType": f"{kind}.config.v1+json"}
    layer = cloud.upload_layer(repository, b"layer")
    return {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": described,
        "layers": [layer],
    }


def index(*images: tuple[str, dict | None]) -> dict:
    listed = [
        {"mediaType": f"{OCI}.manifest.v1+json", "digest": digest, "size": 1}
        | ({"platform": platform} if platform else {})
        for digest, platform in images
    ]
    return {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": listed}


CONFIG = b'{"os": "linux", "architecture": "arm64", "variant": "v8"}'


def test_a_single_images_platform_stands_in_its_config(cloud):
    uri = cloud.make_repository("web")
    digest = put(cloud, "web", single(cloud, "web", CONFIG), tag="one")
    before = len(cloud.calls())
    assert facts.read_image(cloud.ecr, f"{uri}@{digest}") == Platforms(("linux/arm64",))
    assert operations(cloud, before) == ["BatchGetImage", "GetDownloadUrlForLayer", "GetObject"]
    assert facts.read_image(cloud.ecr, f"{uri}:one") == Platforms(("linux/arm64",))


def test_an_index_names_its_platforms_itself(cloud):
    uri = cloud.make_repository("web")
    images = [put(cloud, "web", single(cloud, "web", bytes([number]))) for number in range(3)]
    amd, arm, attestation = images
    listed = index(
        (amd, {"os": "linux", "architecture": "amd64"}),
        (arm, {"os": "linux", "architecture": "arm64", "variant": "v8"}),
        (attestation, {"os": "unknown", "architecture": "unknown"}),
    )
    digest = put(cloud, "web", listed)
    before = len(cloud.calls())
    assert facts.read_image(cloud.ecr, f"{uri}@{digest}") == Platforms(("linux/amd64", "linux/arm64"))
    assert operations(cloud, before) == ["BatchGetImage"]


def test_an_image_that_names_no_platform_is_there_all_the_same(cloud):
    uri = cloud.make_repository("web")
    bare = put(cloud, "web", single(cloud, "web", b"{}"))
    nonsense = put(cloud, "web", single(cloud, "web", b"no JSON"))
    silent = put(cloud, "web", index((bare, None)))
    for digest in (bare, nonsense, silent):
        found = facts.read_image(cloud.ecr, f"{uri}@{digest}")
        assert found == Platforms(Unread("the image does not name its platform"))


def test_an_image_that_is_not_there(cloud):
    uri = cloud.make_repository("web")
    assert facts.read_image(cloud.ecr, f"{uri}@sha256:{'0' * 64}") is None
    assert facts.read_image(cloud.ecr, f"{uri}:absent") is None
    assert facts.read_image(cloud.ecr, f"{uri.replace('web', 'other')}:one") is None


def test_without_the_right_to_read_manifests_it_is_known_whether_the_image_is_there(cloud):
    uri = cloud.make_repository("web")
    digest = put(cloud, "web", single(cloud, "web", CONFIG))
    with refusing(cloud.ecr, "BatchGetImage"):
        found = facts.read_image(cloud.ecr, f"{uri}@{digest}")
        assert found == Platforms(Unread("the role may not call ecr:BatchGetImage"))
        assert facts.read_image(cloud.ecr, f"{uri}@sha256:{'0' * 64}") is None
    with refusing(cloud.ecr, "GetDownloadUrlForLayer"):
        found = facts.read_image(cloud.ecr, f"{uri}@{digest}")
        assert found == Platforms(Unread("the role may not call ecr:GetDownloadUrlForLayer"))


def test_a_config_that_is_not_what_its_digest_says_is_not_believed(cloud):
    uri = cloud.make_repository("web")
    digest = put(cloud, "web", single(cloud, "web", CONFIG))

    def spoil(parsed, **_more):
        bucket, key = parsed["downloadUrl"].split("?")[0].split("/")[-2:]
        owner = cloud.client("s3", key="000000000000")
        owner.put_object(Bucket=bucket, Key=key, Body=CONFIG.replace(b"arm64", b"amd64"))

    cloud.ecr.meta.events.register("after-call.ecr.GetDownloadUrlForLayer", spoil)
    try:
        found = facts.read_image(cloud.ecr, f"{uri}@{digest}")
    finally:
        cloud.ecr.meta.events.unregister("after-call.ecr.GetDownloadUrlForLayer", spoil)
    assert found == Platforms(Unread("the image's config is not what its digest says"))


def test_the_sandbox_gives_no_url_for_a_layer_of_another_repository(cloud):
    cloud.make_repository("web")
    cloud.make_repository("other")
    digest = cloud.upload_layer("web", b"layer")["digest"]
    with pytest.raises(cloud.ecr.exceptions.LayersNotFoundException):
        cloud.ecr.get_download_url_for_layer(repositoryName="other", layerDigest=digest)


# --- roles, secrets, parameters, log groups, alarms


def test_a_role_is_known_by_its_whole_arn(cloud):
    iam = cloud.client("iam")
    made = iam.create_role(RoleName="web-task", Path="/orch/dev/", AssumeRolePolicyDocument=json.dumps(TRUST))
    arn = made["Role"]["Arn"]
    assert facts.read_role(iam, arn) == TRUST
    assert facts.read_role(iam, "web-task") == TRUST
    assert facts.read_role(iam, f"arn:aws:iam::{ACCOUNT}:role/web-task") is None
    assert facts.read_role(iam, f"arn:aws:iam::{ACCOUNT}:role/absent") is None


def test_secrets_are_described_by_their_versions(cloud):
    manager = cloud.client("secretsmanager")
    arn = manager.create_secret(Name="db", SecretString="one")["ARN"]
    assert list(facts.read_secret(manager, arn).stages.values()) == [("AWSCURRENT",)]
    manager.put_secret_value(SecretId=arn, SecretString="two")
    assert sorted(facts.read_secret(manager, arn).stages.values()) == [("AWSCURRENT",), ("AWSPREVIOUS",)]
    manager.delete_secret(SecretId=arn)
    assert facts.read_secret(manager, arn).deleted_at.startswith("20")
    empty = manager.create_secret(Name="empty")["ARN"]
    assert facts.read_secret(manager, empty) == facts.SecretVersions({})
    assert facts.read_secret(manager, arn.replace(":db-", ":no-")) is None
    assert "GetSecretValue" not in operations(cloud, 0)


def test_many_parameters_are_found_by_their_descriptions(cloud):
    ssm = cloud.client("ssm")
    names = [f"/demo/{number}" for number in range(70)]
    for name in ("plain", *names):
        ssm.put_parameter(Name=name, Value="secret", Type="SecureString")
    before = len(cloud.calls())
    found = facts.read_parameters(ssm, [*names, "plain", "/plain", "absent", "/demo", "/demo/7/more"])
    assert {name for name, is_there in found.items() if not is_there} == {"absent", "/demo", "/demo/7/more"}
    assert set(operations(cloud, before)) == {"DescribeParameters"}


def test_a_log_group_is_not_one_whose_name_begins_so(cloud):
    logs = cloud.client("logs")
    logs.create_log_group(logGroupName="/ecs/web-2")
    assert not facts.has_log_group(logs, "/ecs/web")
    logs.create_log_group(logGroupName="/ecs/web")
    logs.create_log_group(logGroupName="/ecs/web-1")
    assert facts.has_log_group(logs, "/ecs/web")


def test_alarms_have_their_states_and_composite_ones_are_asked_for_too(cloud):
    watch = cloud.client("cloudwatch")
    for name in ("slow", "errors"):
        watch.put_metric_alarm(
            AlarmName=name,
            MetricName="m",
            Namespace="n",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            Statistic="Sum",
            ComparisonOperator="GreaterThanThreshold",
        )
    watch.set_alarm_state(AlarmName="slow", StateValue="ALARM", StateReason="test")
    watch.set_alarm_state(AlarmName="errors", StateValue="OK", StateReason="test")
    before = len(cloud.calls())
    found = facts.read_alarms(watch, ["slow", "errors", "absent"])
    assert found == {"slow": "ALARM", "errors": "OK", "absent": None}
    (call,) = [call for call in cloud.calls()[before:] if call.get("operation") == "DescribeAlarms"]
    assert "CompositeAlarm" in str(call["parameters"])


@pytest.mark.parametrize(
    ("service", "operation", "action", "read"),
    [
        ("iam", "GetRole", "iam:GetRole", lambda client: facts.read_role(client, "arn:aws:iam::1:role/r")),
        (
            "secretsmanager",
            "DescribeSecret",
            "secretsmanager:DescribeSecret",
            lambda client: facts.read_secret(client, "arn"),
        ),
        ("ssm", "DescribeParameters", "ssm:DescribeParameters", lambda c: facts.read_parameters(c, ["p"])),
        ("logs", "DescribeLogGroups", "logs:DescribeLogGroups", lambda c: facts.has_log_group(c, "g")),
    ],
)
def test_a_refused_right_is_told_by_its_action(cloud, service, operation, action, read):
    client = cloud.client(service)
    code = "AccessDenied" if service == "iam" else "AccessDeniedException"
    with refusing(client, operation, code):
        assert facts.asked(lambda: read(client)) == Unread(f"the role may not call {action}")
    with refusing(client, operation, "Unheard"):
        found = facts.asked(lambda: read(client))
    assert isinstance(found, Unread)
    assert found.reason.startswith(f"{action} failed: Unheard")


def test_services_are_read_with_what_a_rollout_depends_on(cloud):
    cloud.create_service(
        cloud.register(),
        deploymentConfiguration={
            "minimumHealthyPercent": 50,
            "maximumPercent": 150,
            "deploymentCircuitBreaker": {"enable": True, "rollback": False},
            "alarms": {"alarmNames": ["slow"], "enable": True, "rollback": True},
        },
    )
    (found,) = facts.read_services(cloud.ecs, "main", ["web", "absent"]).values()
    assert (found.minimum_percent, found.maximum_percent, found.alarms) == (50, 150, ("slow",))
    assert (found.has_breaker, found.state.rolls_back, found.controller) == (True, False, "ECS")
    assert facts.read_services(cloud.ecs, "absent", ["web"]) == {}
    with refusing(cloud.ecs, "DescribeServices"), pytest.raises(AwsError):
        facts.read_services(cloud.ecs, "main", ["web"])


# --- before a rollout

TOML = f"""
project = "demo"
region = "{REGION}"

[services.web]
[services.api]

[environments.dev]
account_id = "{ACCOUNT}"

[rollout]
timeout_s = 300
"""


class Story:
    """Services of one environment with roles, log group and image, and a hand on the clock."""

    def __init__(self, cloud, tmp_path, more=""):
        (tmp_path / "orch.toml").write_text(TOML + more)
        self.settings = settings.load(tmp_path / "orch.toml")
        environ = control.aws_environment(cloud.sandbox, account_id=ACCOUNT, region=REGION)
        self.session = Aws(REGION, {"HOME": str(tmp_path), **environ})
        self.cloud, self.now_s, self.events = cloud, 0.0, []
        uri = cloud.make_repository("web")
        config = b'{"os": "linux", "architecture": "amd64"}'
        self.image = Image(uri, put(cloud, "web", single(cloud, "web", config)))
        made = cloud.client("iam").create_role(
            RoleName="execution", AssumeRolePolicyDocument=json.dumps(TRUST)
        )
        self.role = made["Role"]["Arn"]
        cloud.client("logs").create_log_group(logGroupName="/ecs/web")
        cloud.ecs.create_cluster(clusterName="main")

    def register(self, name, behaviour="", *, tags=(), **more):
        environment = [{"name": "ORCH_SANDBOX_BEHAVIOUR", "value": behaviour}] if behaviour else []
        container = {"name": "app", "image": str(self.image), "memory": 128, "environment": environment}
        container["logConfiguration"] = {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/web"}}
        made = self.cloud.ecs.register_task_definition(
            family=name,
            executionRoleArn=self.role,
            containerDefinitions=[container | more],
            tags=[{"key": key, "value": "any"} for key in tags],
        )
        return made["taskDefinition"]["taskDefinitionArn"]

    def serve(self, name, **more):
        """A service whose first revision was released with success, and the skeleton that a release starts from."""
        released = (revisions.RELEASE_TAG, revisions.RELEASED_AT_TAG)
        configuration = {
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            "maximumPercent": 200,
            "minimumHealthyPercent": 100,
        }
        self.cloud.ecs.create_service(
            cluster="main",
            serviceName=name,
            taskDefinition=self.register(name, tags=released),
            desiredCount=1,
            deploymentConfiguration=configuration | more,
        )
        self.cloud.advance(60)

    def candidate(self, name, **container):
        """What a release would roll out, had Terraform changed the skeleton like this."""
        container = container or {"memory": 256}
        contract = ServiceContract(
            name,
            self.image.repository,
            "main",
            name,
            "app",
            self.register(name, **container),
            name,
            "",
            "",
            "",
            1,
        )
        agreed = Contract(ACCOUNT, REGION, (contract,))
        sources = release.Sources(self.settings, {}, {name: self.image})
        environment = self.settings.environment("dev")
        steps = Steps(self.events.append)
        return release.prepare(release.Target(contract, agreed, environment, sources, self.session, steps))

    def require_ready(self, *candidates):
        clock = rollout.Clock(now=lambda: self.now_s, sleep=self.sleep, jitter=lambda: 1.0)
        return verify.require_ready(candidates, clock=clock)

    def sleep(self, duration_s):
        self.now_s += duration_s
        self.cloud.advance(duration_s)

    def start_another(self, name, behaviour):
        """A rollout that another run has begun."""
        definition = self.register(name, behaviour, tags=(revisions.RELEASE_TAG,))
        self.cloud.ecs.update_service(cluster="main", service=name, taskDefinition=definition)
        self.cloud.advance(1)
        return definition

    def steps(self):
        return [event.name for event in self.events if isinstance(event, StepFinished)]


@pytest.fixture
def story(cloud, tmp_path):
    return Story(cloud, tmp_path)


def test_a_service_with_all_it_needs_is_ready_and_nothing_is_asked_twice(story):
    story.serve("web")
    story.serve("api")
    candidates = [story.candidate("web"), story.candidate("api")]
    assert {one.move for one in candidates} == {release.Move.UPDATE}
    before = len(story.cloud.calls())
    assert story.require_ready(*candidates) == tuple(candidates)
    # They have image, role and log group in common.
    assert sorted(operations(story.cloud, before)) == [
        "BatchGetImage",
        "DescribeLogGroups",
        "DescribeServices",
        "GetDownloadUrlForLayer",
        "GetObject",
        "GetRole",
    ]
    assert not [event for event in story.events if isinstance(event, Warned)]


def test_what_has_nothing_to_roll_out_is_not_asked_about(story):
    story.serve("web")
    unchanged = story.candidate("web", memory=128)
    assert unchanged.move is release.Move.NOTHING
    before = len(story.cloud.calls())
    assert story.require_ready(unchanged) == (unchanged,)
    assert story.require_ready() == ()
    assert operations(story.cloud, before) == []


def test_all_that_fails_is_told_at_once_and_no_service_is_touched(story):
    story.serve("web", maximumPercent=100)
    story.cloud.client("logs").delete_log_group(logGroupName="/ecs/web")
    missing = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:db-AbCdEf"
    candidate = story.candidate("web", secrets=[{"name": "DB", "valueFrom": missing}])
    with pytest.raises(PreconditionError) as caught:
        story.require_ready(candidate)
    assert caught.value.message == "nothing was rolled out: 3 checks failed"
    assert caught.value.exit_code == 1
    assert "`orch verify --env dev`" in caught.value.hint
    told = "\n".join(caught.value.details)
    assert "web: room to roll: desired 1: at least 1 (100%), at most 1 (100%)" in told
    assert "web: secret DB: Secrets Manager has no db-AbCdEf\n  → make it" in told
    assert "web: log group: CloudWatch Logs has no /ecs/web" in told
    assert "UpdateService" not in operations(story.cloud, 0)


def test_rights_that_are_refused_stop_nothing(story):
    story.serve("web")
    candidate = story.candidate("web")
    session = story.session
    with (
        refusing(session.iam, "GetRole", "AccessDenied"),
        refusing(session.logs, "DescribeLogGroups"),
        refusing(session.ecr, "BatchGetImage"),
    ):
        assert story.require_ready(candidate) == (candidate,)
    (done,) = [event for event in story.events if isinstance(event, StepFinished) and event.name == "verify"]
    assert done.detail == "7 OK, 3 SKIP"


def test_a_warning_is_told_and_stops_nothing(story):
    story.serve("web", deploymentCircuitBreaker={"enable": True, "rollback": False})
    story.require_ready(story.candidate("web"))
    (warned,) = [event for event in story.events if isinstance(event, Warned)]
    assert warned.message.startswith("web: circuit breaker: it is on, but does not roll back")
    assert "rollback = true" in warned.hint


def test_another_rollout_is_waited_for_and_the_service_looked_at_anew(story):
    story.serve("web")
    other = story.start_another("web", "slow:40")
    candidate = story.candidate("web")
    assert candidate.state.primary.task_definition == other
    (ready,) = story.require_ready(candidate)
    assert 30 < story.now_s < 60
    assert ready.state.primary.task_definition == other
    assert ready.state.primary.rollout_state == "COMPLETED"
    assert ready.move is release.Move.UPDATE
    waited = [event for event in story.events if isinstance(event, StepFinished) and event.name == "wait"]
    assert [event.detail for event in waited] == ["web SUCCEEDED"]
    updates = [
        name for name in operations(story.cloud, 0) if name in {"UpdateService", "StopServiceDeployment"}
    ]
    assert updates == ["UpdateService"]  # the other run's own


def test_another_rollout_that_fails_is_left_to_ecs_and_then_it_is_our_turn(story):
    story.serve("web")
    story.start_another("web", "cannot-pull")
    (ready,) = story.require_ready(story.candidate("web"))
    assert "StopServiceDeployment" not in operations(story.cloud, 0)
    assert ready.current.has_succeeded  # ECS rolled back to what was released
    assert ready.state.primary.rollout_state == "COMPLETED"
    assert story.steps().count("wait") == 1


def test_another_rollout_that_does_not_end_in_time_stops_ours(story):
    story.serve("web")
    story.start_another("web", "slow:1000")
    with pytest.raises(PreconditionError, match="another rollout of web is still under way") as caught:
        story.require_ready(story.candidate("web"))
    assert 300 <= story.now_s < 310
    assert "in_flight" in caught.value.hint


def test_another_rollout_may_be_replaced_at_once(cloud, tmp_path):
    story = Story(cloud, tmp_path, 'in_flight = "supersede"')
    story.serve("web")
    story.start_another("web", "slow:40")
    candidate = story.candidate("web")
    assert story.require_ready(candidate) == (candidate,)
    assert story.now_s == 0
    (warned,) = [event for event in story.events if isinstance(event, Warned)]
    assert "it is replaced" in warned.message


def test_another_rollout_may_be_a_reason_to_refuse(cloud, tmp_path):
    story = Story(cloud, tmp_path, 'in_flight = "refuse"')
    story.serve("web")
    story.start_another("web", "slow:40")
    with pytest.raises(PreconditionError) as caught:
        story.require_ready(story.candidate("web"))
    assert "web: other rollout: web:2 is being rolled out" in "\n".join(caught.value.details)
    assert story.now_s == 0


def test_tasks_that_ecs_replaces_after_a_change_of_the_service_are_not_waited_for(story):
    """As after Terraform has changed the network of the service: the same revision is deployed again."""
    story.serve("web")
    story.cloud.ecs.update_service(cluster="main", service="web", forceNewDeployment=True)
    candidate = story.candidate("web")
    assert candidate.state.primary.rollout_state == "IN_PROGRESS"
    assert story.require_ready(candidate) == (candidate,)
    assert story.now_s == 0


# --- what traffic is shifted with


def test_rules_and_target_groups_are_read_and_missed(cloud):
    elbv2 = cloud.client("elbv2")
    subnets = cloud.client("ec2").describe_subnets()["Subnets"][:2]
    (balancer,) = elbv2.create_load_balancer(Name="demo", Subnets=[one["SubnetId"] for one in subnets])[
        "LoadBalancers"
    ]
    own, other = (
        elbv2.create_target_group(
            Name=name, Protocol="HTTP", Port=80, VpcId=subnets[0]["VpcId"], TargetType="ip"
        )["TargetGroups"][0]["TargetGroupArn"]
        for name in ("web-a", "web-b")
    )
    (listener,) = elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": own}],
    )["Listeners"]
    weights = [{"TargetGroupArn": own, "Weight": 100}, {"TargetGroupArn": other, "Weight": 0}]
    (rule,) = elbv2.create_rule(
        ListenerArn=listener["ListenerArn"],
        Priority=1,
        Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
        Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}],
    )["Rules"]
    assert facts.read_rule(elbv2, rule["RuleArn"]) == facts.Rule((own, other))
    assert facts.read_rule(elbv2, listener["ListenerArn"]) == facts.Rule((own,))
    assert facts.has_target_group(elbv2, other)
    elbv2.delete_rule(RuleArn=rule["RuleArn"])
    assert facts.read_rule(elbv2, rule["RuleArn"]) is None
    elbv2.delete_target_group(TargetGroupArn=other)
    assert not facts.has_target_group(elbv2, other)
    elbv2.delete_listener(ListenerArn=listener["ListenerArn"])
    assert facts.read_rule(elbv2, listener["ListenerArn"]) is None
