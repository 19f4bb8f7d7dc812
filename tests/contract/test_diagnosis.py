"""ecs/diagnosis against the sandbox: every family of failures that it can play, as boto3 gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from orchestrator.ecs import diagnosis, revisions
from orchestrator.events import Warned
from orchestrator.report import text

if TYPE_CHECKING:
    from orchestrator.model import TaskFailure
    from tests.contract.sandbox_fixtures import Cloud

pytest_plugins = ("tests.contract.sandbox_fixtures",)

LONG = 120.0
GROUP = "/ecs/app"
SECRET = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:demo/db-AbCdEf"
LOGS = {
    "logDriver": "awslogs",
    "options": {
        "awslogs-group": GROUP,
        "awslogs-region": "eu-central-1",
        "awslogs-stream-prefix": "web",
    },
}


def variables(behaviour: str, logs: str = "") -> list[dict[str, str]]:
    given = {"ORCH_SANDBOX_BEHAVIOUR": behaviour, "ORCH_SANDBOX_LOGS": logs}
    return [{"name": name, "value": value} for name, value in given.items() if value]


class Case:
    """A steady service on which something is rolled out; `find` looks at it as the watch loop does."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.seen: set[str] = set()
        self.events: list[Any] = []
        self.readers = diagnosis.Readers(cloud.ecs, cloud.client("logs"), cloud.client("elbv2"))
        self.deployment_id = ""
        self.definition = ""
        cloud.client("logs").create_log_group(logGroupName=GROUP)

    def roll_out(self, behaviour: str, logs: str = "", *, steady: bool = True, **container: Any) -> Case:
        if steady:
            self.cloud.create_steady_service(desired=1)
        given = {"environment": variables(behaviour, logs), "logConfiguration": LOGS, **container}
        given = {name: value for name, value in given.items() if value is not None}
        self.definition = self.cloud.register(container=given)
        self.deployment_id = self.cloud.update_service(taskDefinition=self.definition)["deployments"][0]["id"]
        return self

    @property
    def place(self) -> diagnosis.Place:
        definition = revisions.describe(self.cloud.ecs, self.definition).definition
        return diagnosis.Place("main", "web", definition)

    def find(self) -> tuple[TaskFailure, ...]:
        return diagnosis.failures(self.readers, self.place, self.deployment_id, self.seen, self.events.append)

    def first(self) -> TaskFailure:
        """The first failure that there is to tell, as soon as there is one."""
        for _ in range(60):
            found = self.find()
            if found:
                return found[0]
            self.cloud.advance(0.5)
        raise AssertionError("no task failed")


@pytest.fixture
def case(cloud: Cloud) -> Case:
    return Case(cloud)


@pytest.mark.parametrize(
    ("behaviour", "cause", "stop_code", "exit_code"),
    [
        ("crash", "exit-1", "EssentialContainerExited", 1),
        ("exit:3", "exit-code", "EssentialContainerExited", 3),
        ("exit:127", "exit-127", "EssentialContainerExited", 127),
        ("oom", "out-of-memory", "EssentialContainerExited", 137),
        ("exec-format", "exec-format", "EssentialContainerExited", 1),
        ("flapping", "exit-1", "EssentialContainerExited", 1),
        ("unhealthy", "container-unhealthy", "ServiceSchedulerInitiated", 143),
        ("elb-unhealthy", "health-check-failed", "ServiceSchedulerInitiated", None),
        ("elb-unhealthy:404", "health-check-code", "ServiceSchedulerInitiated", None),
        ("elb-unhealthy:timeout", "health-check-timeout", "ServiceSchedulerInitiated", None),
        ("cannot-pull", "image-not-found", "TaskFailedToStart", None),
        ("no-route", "no-route-to-registry", "TaskFailedToStart", None),
        ("wrong-arch", "wrong-architecture", "TaskFailedToStart", None),
        ("secret-denied", "secret-denied", "TaskFailedToStart", None),
        ("secret-missing", "secret-missing", "TaskFailedToStart", None),
        ("log-group-missing", "log-group-missing", "TaskFailedToStart", None),
        ("no-addresses", "no-addresses", "TaskFailedToStart", None),
    ],
)
def test_each_scripted_failure_is_told_with_its_cause(case, behaviour, cause, stop_code, exit_code):
    failure = case.roll_out(behaviour).first()
    assert failure.cause is not None
    assert (failure.cause.id, failure.stop_code) == (cause, stop_code)
    assert [(one.name, one.exit_code) for one in failure.containers] == [("app", exit_code)]
    assert (failure.service, failure.deployment_id) == ("web", case.deployment_id)
    assert failure.stopped_at.startswith("20")
    shown = text.failure_lines(failure)
    assert shown[0].startswith(f"✗ web: {failure.cause.title}")
    assert failure.task_id in " ".join(shown)


def test_a_crash_is_told_with_its_last_lines(case):
    failure = case.roll_out("crash").first()
    assert failure.log_place == f"{GROUP} web/app/{failure.task_id}"
    assert "Traceback (most recent call last):" in failure.log_lines
    assert "KeyError: 'DATABASE_URL'" in failure.log_lines
    assert "  │ KeyError: 'DATABASE_URL'" in text.failure_lines(failure)


def test_of_a_long_log_the_last_fifty_lines_are_told(case):
    case.roll_out("crash", "\n".join(f"line {number}" for number in range(80)))
    lines = case.first().log_lines
    assert len(lines) == 50
    assert "line 79" in lines
    assert "line 3" not in lines


def test_what_a_log_shows_is_scrubbed_and_cannot_steer_a_terminal(case):
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----"
    hostile = f"\x1b[31mred\x1b[0m\n\x1b]0;title\x07here\a\nAKIA{'A' * 16}\n{key}\ntab\there\n::error::boo"
    failure = case.roll_out("crash", hostile).first()
    told = "\n".join(failure.log_lines)
    assert "red\n" in told
    assert "here·" in told
    assert "tab here" in told
    for hidden in ("\x1b", "\a", "title", "AKIA", "MIIEvQ"):
        assert hidden not in told
    # The runner takes a line for a command also behind spaces.
    assert "  │ ::error::boo" in text.failure_lines(failure)


def test_a_secret_that_is_denied_is_named_with_the_role(case):
    role = "arn:aws:iam::111111111111:role/demo/execution"
    trust = '{"Version": "2012-10-17", "Statement": []}'
    case.cloud.client("iam").create_role(RoleName="execution", Path="/demo/", AssumeRolePolicyDocument=trust)
    case.cloud.create_steady_service(desired=1)
    container = {
        "environment": variables("secret-denied"),
        "secrets": [{"name": "DB", "valueFrom": SECRET}],
    }
    case.definition = case.cloud.register(container=container, executionRoleArn=role)
    case.deployment_id = case.cloud.update_service(taskDefinition=case.definition)["deployments"][0]["id"]
    failure = case.first()
    assert failure.cause.advice == f"Allow secretsmanager:GetSecretValue on {SECRET} to {role}."
    assert not failure.cause.is_permanent
    assert failure.log_place == "(no log: no container started)"
    assert failure.log_lines == ()


def test_failures_stay_ours_after_the_rollback_began_and_others_are_not_told(case):
    case.roll_out("crash")
    case.cloud.advance(LONG)
    assert case.cloud.primary()["id"] != case.deployment_id
    found = case.find()
    assert len(found) == 3
    assert {failure.deployment_id for failure in found} == {case.deployment_id}
    assert [failure.stopped_at for failure in found] == sorted(failure.stopped_at for failure in found)
    assert len({failure.signature for failure in found}) == 1
    # The rollback replaced tasks too; they have another deployment's id, and failed nothing.
    stopped = case.cloud.tasks("STOPPED")
    assert any(task["startedBy"] != case.deployment_id for task in stopped)


def test_failures_of_an_earlier_deployment_are_not_ours(case):
    case.roll_out("crash")
    case.cloud.advance(LONG)
    earlier = case.deployment_id
    case.roll_out("exit:3", steady=False)
    case.cloud.advance(LONG)
    found = case.find()
    assert earlier in {task["startedBy"] for task in case.cloud.tasks("STOPPED")}
    assert [failure.containers[0].exit_code for failure in found] == [3, 3, 3]
    # Looked at, not ours, and not looked at again.
    assert len(case.seen) == len(case.cloud.tasks("STOPPED"))


def test_a_task_is_told_once_and_not_even_looked_at_again(case):
    case.roll_out("crash")
    case.cloud.advance(LONG)
    assert case.find()
    calls = len(case.cloud.calls())
    assert case.find() == ()
    made = [call["operation"] for call in case.cloud.calls()[calls:]]
    assert "DescribeTasks" not in made
    assert "GetLogEvents" not in made


def test_what_is_stopped_by_hand_or_replaced_is_no_failure(case):
    case.roll_out("")
    case.cloud.advance(LONG)
    task = case.cloud.tasks()[0]["taskArn"]
    case.cloud.ecs.stop_task(cluster="main", task=task, reason="by hand")
    case.cloud.update_service(taskDefinition=case.cloud.register())
    case.cloud.advance(LONG)
    assert {one["startedBy"] for one in case.cloud.tasks("STOPPED")} >= {case.deployment_id}
    assert case.find() == ()


def test_more_stopped_tasks_than_one_call_takes(case):
    case.cloud.create_steady_service(desired=1)
    case.roll_out("crash", steady=False)
    case.deployment_id = case.cloud.update_service(taskDefinition=case.definition, desiredCount=130)[
        "deployments"
    ][0]["id"]
    case.cloud.advance(3)
    calls = len(case.cloud.calls())
    found = case.find()
    assert len(found) == 130
    assert len({failure.task_id for failure in found}) == 130
    made = [call["operation"] for call in case.cloud.calls()[calls:]]
    assert [made.count(name) for name in ("ListTasks", "DescribeTasks", "GetLogEvents")] == [2, 2, 5]
    assert [bool(failure.log_lines) for failure in found[-6:]] == [False, *[True] * 5]
    assert "only the 5 newest" in found[0].log_place


class Refusing:
    """A client whose calls AWS refuses; `meta` is that of the real one."""

    def __init__(
        self, client: Any, code: str = "AccessDeniedException", message: str = "not allowed"
    ) -> None:
        self.meta = client.meta
        self._error = {"Code": code, "Message": message}

    def __getattr__(self, name: str) -> Any:
        def call(**_: Any) -> Any:
            raise ClientError({"Error": self._error}, name)

        return call


def test_a_log_that_may_not_be_read_fails_nothing(case):
    case.readers = diagnosis.Readers(case.cloud.ecs, Refusing(case.readers.logs), case.readers.elbv2)
    failure = case.roll_out("crash").first()
    assert failure.log_lines == ()
    assert failure.log_place.startswith(
        f"{GROUP} web/app/{failure.task_id} (not read: logs:GetLogEvents failed"
    )
    assert "AccessDenied" in failure.log_place
    assert failure.cause.id == "exit-1"


@pytest.mark.parametrize(
    ("container", "place"),
    [
        ({"logConfiguration": None}, "no log: it has no logConfiguration"),
        ({"logConfiguration": {"logDriver": "awsfirelens"}}, "the log driver is awsfirelens"),
        ({"logConfiguration": {**LOGS, "options": {"awslogs-group": GROUP}}}, "without awslogs-stream-prefix"),
        (
            {"logConfiguration": {**LOGS, "options": LOGS["options"] | {"awslogs-region": "eu-west-1", "awslogs-create-group": "true"}}},
            "(not read: it is in eu-west-1)",
        ),
        (
            {"logConfiguration": {**LOGS, "options": LOGS["options"] | {"awslogs-group": "/ecs/none", "awslogs-create-group": "true"}}},
            "(the log group does not exist: the container wrote nothing)",
        ),
    ],
)  # fmt: skip
def test_a_log_that_is_not_there_is_explained(case, container, place):
    failure = case.roll_out("crash", **container).first()
    assert place in failure.log_place
    assert failure.log_lines == ()


def test_a_missing_stream_is_explained(case):
    """In the words of CloudWatch Logs; the sandbox writes a stream for every container that started."""
    missing = Refusing(
        case.readers.logs, "ResourceNotFoundException", "The specified log stream does not exist."
    )
    case.readers = diagnosis.Readers(case.cloud.ecs, missing, case.readers.elbv2)
    place = case.roll_out("crash").first().log_place
    assert place.endswith("(the log stream does not exist: the container wrote nothing)")


def test_tasks_that_may_not_be_listed_are_warned_of_once(case):
    case.roll_out("crash")
    case.cloud.advance(LONG)
    readers = case.readers
    case.readers = diagnosis.Readers(Refusing(case.cloud.ecs), readers.logs, readers.elbv2)
    assert (case.find(), case.find()) == ((), ())
    assert len(case.events) == 1
    assert isinstance(case.events[0], Warned)
    assert "ecs:ListTasks" in case.events[0].message
    # Nothing is lost by it: the next look that is allowed tells them.
    case.readers = readers
    assert len(case.find()) == 3


def with_sidecar(cloud: Cloud, behaviour: str) -> str:
    base = {"memory": 128, "essential": True, "logConfiguration": LOGS}
    app = {**base, "name": "app", "image": "registry.example/app:1", "environment": variables(behaviour)}
    router = {**base, "name": "router", "image": "registry.example/router:1"}
    made = cloud.ecs.register_task_definition(family="app", containerDefinitions=[app, router])
    arn: str = made["taskDefinition"]["taskDefinitionArn"]
    return arn


def test_of_several_containers_the_culprits_log_comes_first(case):
    case.cloud.create_steady_service(desired=1)
    case.definition = with_sidecar(case.cloud, "crash")
    case.deployment_id = case.cloud.update_service(taskDefinition=case.definition)["deployments"][0]["id"]
    failure = case.first()
    assert [(one.name, one.exit_code) for one in failure.containers] == [("app", 1), ("router", 143)]
    assert failure.log_place.split("; ") == [
        f"{GROUP} web/app/{failure.task_id}",
        f"{GROUP} web/router/{failure.task_id}",
    ]
    assert failure.log_lines[0].startswith("app: ")
    assert "app: KeyError: 'DATABASE_URL'" in failure.log_lines
    assert failure.log_lines[-1].startswith("router: ")
    assert "container app" in failure.cause.advice


class Balanced(Case):
    """The same behind a target group, with tasks in a subnet."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        ec2 = cloud.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        self.subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        made = self.readers.elbv2.create_target_group(
            Name="web", Protocol="HTTP", Port=8080, VpcId=vpc, TargetType="ip"
        )
        self.target_group = made["TargetGroups"][0]["TargetGroupArn"]
        good = cloud.register(networkMode="awsvpc", container=self.container(""))
        cloud.create_service(
            good,
            desired=1,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [self.subnet]}},
            loadBalancers=[
                {"targetGroupArn": self.target_group, "containerName": "app", "containerPort": 8080}
            ],
        )
        cloud.advance(LONG)

    def container(self, behaviour: str, logs: str = "") -> dict[str, Any]:
        ports = [{"containerPort": 8080}]
        return {"environment": variables(behaviour, logs), "portMappings": ports, "logConfiguration": LOGS}

    def roll_out(self, behaviour: str, logs: str = "", **_: Any) -> Balanced:
        container = self.container(behaviour, logs)
        self.definition = self.cloud.register(networkMode="awsvpc", container=container)
        self.deployment_id = self.cloud.update_service(taskDefinition=self.definition)["deployments"][0]["id"]
        return self


def test_an_unhealthy_target_is_told_while_it_drains_and_once(cloud):
    case = Balanced(cloud).roll_out("elb-unhealthy:404")
    failure = case.first()
    # At once: nobody waits for the target to drain.
    assert [one.reason for one in failure.containers] == ["still stopping"]
    assert any("draining, Target.DeregistrationInProgress" in line for line in failure.target_health)
    case.cloud.advance(LONG)
    assert failure.task_id not in {one.task_id for one in case.find()}


def test_why_a_target_was_unhealthy_is_told_after_it_is_gone(cloud):
    case = Balanced(cloud).roll_out("elb-unhealthy:404")
    case.cloud.advance(LONG)
    failure = case.find()[0]
    assert case.target_group in failure.stopped_reason
    said = [line for line in failure.target_health if "these codes: [404]" in line]
    assert len(said) == 1
    assert failure.task_id in said[0]
    assert failure.cause.id == "health-check-code"
    assert "target group web on port 8080" in failure.cause.advice
    assert "404" in failure.cause.advice


def test_a_program_that_listens_elsewhere_is_found_by_its_log(cloud):
    case = Balanced(cloud).roll_out("elb-unhealthy", "server is listening on port 3000")
    case.cloud.advance(LONG)
    cause = case.find()[0].cause
    assert cause.id == "listens-elsewhere"
    assert "0.0.0.0:8080" in cause.advice
    assert "port 3000" in cause.advice


def test_target_health_that_may_not_be_read_fails_nothing(cloud):
    case = Balanced(cloud).roll_out("elb-unhealthy:404")
    case.readers = diagnosis.Readers(case.cloud.ecs, case.readers.logs, Refusing(case.readers.elbv2))
    case.cloud.advance(LONG)
    failure = case.find()[0]
    assert any("target group web not read" in line for line in failure.target_health)
    assert failure.cause.id == "health-check-code"


@pytest.mark.parametrize("behaviour", ["no-addresses", "no-route"])
def test_the_subnet_of_the_task_is_named(cloud, behaviour):
    case = Balanced(cloud).roll_out(behaviour)
    assert case.subnet in case.first().cause.advice


@pytest.mark.parametrize(("behaviour", "cause"), [("no-capacity", "no-capacity"), ("quota", "quota-reached")])
def test_where_no_task_could_be_placed_the_service_event_tells(case, behaviour, cause):
    case.roll_out(behaviour)
    case.cloud.advance(LONG)
    assert case.find() == ()
    assert all(task["startedBy"] != case.deployment_id for task in case.cloud.tasks("STOPPED"))
    told = [
        failure
        for message in case.cloud.messages()
        if (failure := diagnosis.unplaced(case.place, case.deployment_id, message, "2026-01-01")) is not None
    ]
    assert {failure.cause.id for failure in told} == {cause}
    assert "no task could be placed" in text.failure_lines(told[0])[0]


def test_an_event_about_a_task_that_exists_is_left_to_the_task(case):
    case.roll_out("secret-denied")
    case.cloud.advance(LONG)
    messages = case.cloud.messages()
    assert any("was unable to place a task. Reason: ResourceInitializationError" in one for one in messages)
    assert all(diagnosis.unplaced(case.place, "d", message, "") is None for message in messages)


def test_an_event_of_ecs_itself_is_read_without_its_advertisement(case):
    case.roll_out("")
    message = (
        "(service web) was unable to place a task. Reason: Capacity is unavailable at this time. Please try again later or in a"
        " different availability zone. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
    )
    failure = diagnosis.unplaced(case.place, "ecs-svc/1", message, "2026-01-01")
    assert failure.stopped_reason.endswith("different availability zone.")
