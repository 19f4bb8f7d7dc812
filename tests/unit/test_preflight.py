from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ecs import preflight
from orchestrator.ecs.check import trust_problem
from orchestrator.ecs.facts import Facts, Platforms, SecretVersions, Service, Unread, service_of
from orchestrator.ecs.preflight import Place, Wish
from orchestrator.ecs.scaling import ScalableTarget
from orchestrator.ecs.services import Deployment, ServiceState
from orchestrator.ecs.strategy import Strategy
from orchestrator.ecs.task_definition import TaskDefinition
from orchestrator.model import Finding, Outcome, Preflight, ServiceContract
from orchestrator.report import json_lines, text

ACCOUNT, REGION = "111111111111", "eu-central-1"
TASKS = "ecs-tasks.amazonaws.com"
PLACE = Place(ACCOUNT, REGION)
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
REPOSITORY = f"{HOST}/demo-dev/web"
IMAGE = f"{REPOSITORY}@sha256:{'a' * 64}"
ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/demo-dev-web"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/orch/demo-dev/demo-dev-web"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:db-AbCdEf"
PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter"
CONTRACT = ServiceContract(
    name="web",
    repository_url=REPOSITORY,
    cluster="demo-dev",
    service="web",
    container="web",
    skeleton_arn=f"{ARN}:1",
    task_family="demo-dev-web",
    log_group="/ecs/demo-dev/web",
    execution_role_arn=f"{ROLE}-execution",
    task_role_arn=f"{ROLE}-task",
    desired_count=2,
)
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        }
    ],
}
DENIED = Unread("the role may not call it")


def deployment(status: str = "PRIMARY", state: str = "COMPLETED", number: int = 7, **counts) -> Deployment:
    counts = {"desired": 2, "pending": 0, "running": 2, "failed": 0, **counts}
    return Deployment(f"ecs-svc/{number}", status, state, "", f"{ARN}:{number}", **counts)


def service(*deployments: Deployment, **changes) -> Service:
    fields = {
        "state": state(*(deployments or (deployment(),))),
        "controller": "ECS",
        "scheduling": "REPLICA",
        "has_breaker": True,
        "minimum_percent": 100,
        "maximum_percent": 200,
        "alarms": (),
    }
    return Service(**{**fields, **changes})


def state(*deployments: Deployment, **changes) -> ServiceState:
    fields = {
        "status": "ACTIVE",
        "task_definition": f"{ARN}:7",
        "desired": 2,
        "running": 2,
        "rolls_back": True,
        "deployments": deployments,
        "events": (),
    }
    return ServiceState(**{**fields, **changes})


def definition(*more: dict, image: str = IMAGE, **changes) -> TaskDefinition:
    """A task definition as the modules make it; `changes` are members of it, `more` are further containers."""
    web = {
        "name": "web",
        "image": image,
        "secrets": changes.pop("secrets", []),
        "logConfiguration": changes.pop(
            "logs", {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/demo-dev/web"}}
        ),
    }
    request = {
        "family": "demo-dev-web",
        "requiresCompatibilities": ["FARGATE"],
        "executionRoleArn": CONTRACT.execution_role_arn,
        "taskRoleArn": CONTRACT.task_role_arn,
        "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        "containerDefinitions": [web, *more],
        **changes,
    }
    return TaskDefinition({key: value for key, value in request.items() if value is not None})


GOOD = Facts(
    services={"web": service()},
    roles={CONTRACT.execution_role_arn: TRUST, CONTRACT.task_role_arn: TRUST},
    log_groups={"/ecs/demo-dev/web": True},
    images={IMAGE: Platforms(("linux/amd64",))},
)
WISH = Wish(CONTRACT, definition())


def judge(
    wish: Wish = WISH, facts: Facts = GOOD, *, in_flight: str = "wait", **changes
) -> dict[str, Finding]:
    """The findings by id; `changes` are facts."""
    found = preflight.judge(wish, replace(facts, **changes), PLACE, in_flight=in_flight)
    assert len({(one.id, one.title, one.subject) for one in found}) == len(found)
    return {one.id: one for one in found}


def judge_service(one: Service, wish: Wish = WISH, **options) -> dict[str, Finding]:
    return judge(wish, services={"web": one}, **options)


def outcomes(found: dict[str, Finding], *ids: str) -> list[str]:
    return [found[name].outcome for name in ids]


def test_a_service_as_the_modules_make_it_passes_every_check():
    found = judge()
    assert list(found) == [
        "service",
        "controller",
        "strategy",
        "in-flight",
        "circuit-breaker",
        "capacity",
        "image",
        "architecture",
        "execution-role",
        "task-role",
        "log-group",
    ]
    assert {one.outcome for one in found.values()} == {Outcome.OK}
    assert not any(one.hint for one in found.values())


# --- the service


def test_a_service_that_is_gone_fails_and_its_definition_is_checked_all_the_same():
    found = judge(services={})
    assert found["service"].outcome is Outcome.FAIL
    assert found["service"].detail == "cluster demo-dev has no service web"
    assert "in-flight" not in found
    assert found["image"].outcome is Outcome.OK


@pytest.mark.parametrize("status", ["DRAINING", "INACTIVE"])
def test_a_service_on_its_way_out_fails(status):
    found = judge_service(service(state=state(deployment(), status=status)))
    assert (found["service"].outcome, found["service"].detail) == (Outcome.FAIL, f"it is {status}")


@pytest.mark.parametrize("controller", ["CODE_DEPLOY", "EXTERNAL"])
def test_another_deployment_controller_fails(controller):
    found = judge_service(service(controller=controller))["controller"]
    assert found.outcome is Outcome.FAIL
    assert controller in found.detail
    assert 'type = "ECS"' in found.hint


@pytest.mark.parametrize(
    ("breaker", "rolls_back", "outcome"),
    [(True, True, "OK"), (True, False, "WARN"), (False, False, "FAIL"), (False, True, "FAIL")],
)
def test_the_circuit_breaker_must_be_on_and_should_roll_back(breaker, rolls_back, outcome):
    one = service(state=state(deployment(), rolls_back=rolls_back), has_breaker=breaker)
    assert judge_service(one)["circuit-breaker"].outcome == outcome


def test_what_only_rules_a_rolling_update_is_skipped_elsewhere():
    canary = replace(WISH, strategy=Strategy("CANARY", 5))
    found = judge_service(service(has_breaker=False, maximum_percent=100), canary)
    assert outcomes(found, "circuit-breaker", "capacity") == ["SKIP", "SKIP"]
    assert "CANARY" in found["circuit-breaker"].detail
    assert judge_service(service(scheduling="DAEMON", maximum_percent=100))["capacity"].outcome == "SKIP"


# Minimum and maximum percent, desired count, and whether ECS can roll: facts of the AWS documentation, see judge_capacity.
@pytest.mark.parametrize(
    ("minimum", "maximum", "desired", "can_roll"),
    [
        (100, 100, 1, False),
        (100, 200, 1, True),
        (0, 100, 1, True),
        (50, 100, 1, False),  # half a task rounds up to one
        (100, 199, 1, False),  # 1.99 rounds down to one
        (100, 133, 3, False),  # 3.99 rounds down to three
        (100, 134, 3, True),
        (66, 100, 3, True),
        (67, 100, 3, False),  # 2.01 rounds up to three
        (100, 109, 11, False),
        (100, 110, 10, True),
        (90, 100, 10, True),
        (91, 100, 10, False),
        (0, 50, 4, False),  # never more than two
        (100, 100, 0, True),
    ],
)
def test_there_must_be_room_to_start_a_task_or_to_stop_one(minimum, maximum, desired, can_roll):
    found = capacity(minimum, maximum, desired)
    assert (found.outcome is Outcome.OK) == can_roll, found
    assert found.outcome in {Outcome.OK, Outcome.FAIL}


def capacity(minimum: int, maximum: int, desired: int) -> Finding:
    now = state(deployment(), desired=desired, running=desired)
    one = service(state=now, minimum_percent=minimum, maximum_percent=maximum)
    return preflight.judge_capacity(one, WISH)


def test_the_room_is_told_with_its_numbers_and_with_what_to_set():
    found = capacity(100, 133, 3)
    assert found.detail.startswith("desired 3: at least 3 (100%), at most 3 (133%)")
    assert found.hint == (
        "set the service's maximum_percent to 134 or more, or minimum_healthy_percent to 66 or less"
    )
    assert capacity(100, 100, 1).hint.endswith(
        "maximum_percent to 200 or more, or minimum_healthy_percent to 0"
    )
    assert "minimum_healthy_percent" not in capacity(0, 50, 4).hint


@given(st.integers(0, 100), st.integers(1, 400), st.integers(1, 60))
def test_ecs_moves_exactly_when_the_check_says_so_and_what_it_advises_works(minimum, maximum, desired):
    found = capacity(minimum, maximum, desired)
    assert (found.outcome is Outcome.OK) == simulate(minimum, maximum, desired), found
    if found.outcome is Outcome.FAIL:
        numbers = [int(word) for word in found.hint.replace(",", "").split() if word.isdigit()]
        assert simulate(minimum, numbers[0], desired)
        assert not simulate(100, numbers[0] - 1, desired)
        if len(numbers) == 2:
            assert simulate(numbers[1], maximum, desired)
            assert not simulate(numbers[1] + 1, 100, desired)


def simulate(minimum: int, maximum: int, desired: int) -> bool:
    """Whether all tasks are replaced in the end: starts a new one while fewer than the maximum run, stops an old one while more
    than the minimum do.
    """
    old, new = desired, 0
    while new < desired or old:
        total = old + new
        if new < desired and (total + 1) * 100 <= desired * maximum:
            new += 1
        elif old and (total - 1) * 100 >= desired * minimum:
            old -= 1
        else:
            return False
    return True


def test_a_first_rollout_has_nothing_to_replace():
    new = service(
        state=state(deployment(desired=0, running=0), desired=0, running=0),
        minimum_percent=100,
        maximum_percent=100,
    )
    first = replace(WISH, desired_count=3)
    assert judge_service(new, first)["capacity"].outcome is Outcome.OK
    # The count that the first rollout sets is the one that counts.
    assert judge_service(replace(new, maximum_percent=60), first)["capacity"].outcome is Outcome.FAIL
    # Somebody's own tasks run there.
    busy = replace(new, state=state(deployment(), running=3))
    assert judge_service(busy, first)["capacity"].outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("known", "outcome", "says"),
    [
        ("OK", "OK", "OK"),
        ("INSUFFICIENT_DATA", "OK", "INSUFFICIENT_DATA"),
        ("ALARM", "FAIL", "in ALARM already"),
        (None, "FAIL", "no such alarm"),
        (DENIED, "SKIP", DENIED.reason),
    ],
)
def test_an_alarm_must_be_there_and_quiet(known, outcome, says):
    found = judge_service(service(alarms=("slow",)), alarms={"slow": known})["alarm"]
    assert (found.outcome, found.title, found.subject) == (outcome, "alarm slow", "slow")
    assert says in found.detail


def test_autoscaling_that_would_replace_the_first_count_is_told():
    first = replace(WISH, desired_count=2)
    bounds = {"web": ScalableTarget(3, 9, is_suspended=False)}
    assert judge(first, scaling=bounds)["autoscaling"].outcome is Outcome.WARN
    assert judge(first, scaling={"web": replace(bounds["web"], min_count=2)})["autoscaling"].outcome == "OK"
    suspended = {"web": replace(bounds["web"], is_suspended=True)}
    assert judge(first, scaling=suspended)["autoscaling"].outcome == "OK"
    assert judge(first, scaling={"web": DENIED})["autoscaling"].outcome == "SKIP"
    assert "autoscaling" not in judge(first, scaling={"web": None})
    assert "autoscaling" not in judge(WISH, scaling=bounds)


# --- a rollout of another run

ROLLING = (
    deployment(state="IN_PROGRESS", number=8, running=1),
    deployment("ACTIVE", number=7),
)


@pytest.mark.parametrize(
    ("setting", "outcome", "says"),
    [("wait", "WARN", "waited for"), ("supersede", "WARN", "replaced"), ("refuse", "FAIL", "web:8 is being")],
)
def test_another_rollout_is_what_the_setting_makes_of_it(setting, outcome, says):
    found = judge_service(service(*ROLLING), in_flight=setting)["in-flight"]
    assert found.outcome == outcome
    assert says in found.detail
    assert "demo-dev-web:8 is being rolled out, 1 of 2 tasks running" in found.detail


@pytest.mark.parametrize(
    ("deployments", "is_settled", "expected"),
    [
        ((deployment(),), True, False),
        ((deployment(),), False, False),  # COMPLETED, though nobody recorded it
        (ROLLING, True, True),
        (ROLLING, False, True),
        # The first rollout of a run that died: nothing stands beside it.
        ((deployment(state="IN_PROGRESS"),), False, True),
        # Terraform changed the service: ECS replaces tasks by the same.
        ((deployment(state="IN_PROGRESS"), deployment("ACTIVE")), True, False),
        # ECS rolls back to what was released; the failed tasks are on their way out.
        ((deployment(state="IN_PROGRESS"), deployment("ACTIVE", number=8)), True, True),
        ((deployment(state="FAILED", number=8), deployment("ACTIVE")), False, False),
        ((), True, False),
    ],
)
def test_what_counts_as_a_rollout_under_way(deployments, is_settled, expected):
    assert preflight.is_in_flight(state(*deployments), is_settled=is_settled) is expected


def test_a_service_without_tasks_has_no_rollout_under_way():
    """Terraform makes it with a desired count of 0, and its first deployment may not be COMPLETED yet."""
    fresh = state(deployment(state="IN_PROGRESS", desired=0, running=0), desired=0, running=0)
    assert not preflight.is_in_flight(fresh, is_settled=False)
    assert judge_service(service(state=fresh), in_flight="refuse")["in-flight"].detail == "none under way"


def test_the_own_rollout_and_a_mere_replacement_are_no_reason_to_wait():
    own = judge_service(service(*ROLLING), replace(WISH, is_followed=True), in_flight="refuse")["in-flight"]
    assert (own.outcome, "it is followed" in own.detail) == (Outcome.OK, True)
    same = service(deployment(state="IN_PROGRESS"), deployment("ACTIVE"))
    found = judge_service(same, in_flight="refuse")["in-flight"]
    assert (found.outcome, "by the same" in found.detail) == (Outcome.OK, True)


# --- images


@pytest.mark.parametrize(
    ("known", "image", "architecture"),
    [
        (Platforms(("linux/amd64",)), "OK", "OK"),
        (Platforms(("linux/arm64", "linux/amd64")), "OK", "OK"),
        (Platforms(("linux/arm64",)), "OK", "FAIL"),
        (Platforms(()), "OK", "FAIL"),
        (Platforms(DENIED), "OK", "SKIP"),
        (None, "FAIL", None),
        (DENIED, "SKIP", None),
    ],
)
def test_the_image_must_be_there_and_for_the_tasks_platform(known, image, architecture):
    found = judge(images={IMAGE: known})
    assert found["image"].outcome == image
    assert (found["architecture"].outcome if architecture else None) == architecture
    assert ("architecture" in found) == (architecture is not None)


def test_a_wrong_platform_is_told_with_both_and_with_what_to_change():
    arm = definition(runtimePlatform={"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"})
    found = judge(replace(WISH, definition=arm))["architecture"]
    assert found.detail == "the image is for linux/amd64, the task definition for linux/arm64"
    assert 'platform = "linux/arm64" in [services.web]' in found.hint


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ({}, "linux/amd64"),
        ({"cpuArchitecture": "ARM64"}, "linux/arm64"),
        ({"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}, "windows/amd64"),
    ],
)
def test_the_platform_is_the_task_definitions_own(platform, expected):
    assert preflight.needs_of(definition(runtimePlatform=platform)).platform == expected


def test_images_of_other_registries_are_not_asked_for():
    sidecar = {"name": "proxy", "image": "public.ecr.aws/nginx/nginx:1"}
    ours = {"name": "agent", "image": f"{HOST}/agent:1"}
    wish = replace(WISH, definition=definition(sidecar, ours))
    assert preflight.asked_images(wish, preflight.needs_of(wish.definition)) == (IMAGE, f"{HOST}/agent:1")
    found = preflight.judge(wish, GOOD, PLACE, in_flight="wait")
    by_title = {one.title: one for one in found}
    assert by_title["image of proxy"].outcome is Outcome.SKIP
    assert "architecture of proxy" not in by_title
    assert by_title["image of agent"].outcome is Outcome.FAIL  # it was asked for, and is not there
    assert by_title["image"].outcome is Outcome.OK


def test_without_any_image_yet_only_that_is_skipped():
    wish = replace(WISH, definition=definition(image=f"{REPOSITORY}:skeleton"), has_image=False)
    found = judge(wish, images={})
    assert (found["image"].outcome, "`orch apply` builds it" in found["image"].detail) == (Outcome.SKIP, True)
    assert [one.id for one in found.values() if one.outcome is not Outcome.OK] == ["image"]


# --- roles


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, ""),
        ({"Action": ["sts:TagSession", "sts:AssumeRole"]}, ""),
        ({"Action": "sts:*"}, ""),
        ({"Principal": {"Service": ["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"]}}, ""),
        ({"Condition": {}}, ""),
        ({"Condition": {"StringEquals": {"AWS:SourceAccount": [ACCOUNT, "222222222222"]}}}, ""),
        ({"Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:*"}}}, ""),
        ({"Effect": "Deny"}, "does not let"),
        ({"Action": "sts:TagSession"}, "does not let"),
        ({"Principal": {"Service": "ecs.amazonaws.com"}}, "does not let"),
        ({"Principal": {"AWS": "arn:aws:iam::111111111111:root"}}, "does not let"),
        ({"Principal": "*"}, "does not let"),
        (
            {"Condition": {"StringEquals": {"aws:SourceAccount": "222222222222"}}},
            "SourceAccount 222222222222",
        ),
        (
            {"Condition": {"StringEquals": {"AWS:SourceAccount": "222222222222"}}},
            "SourceAccount 222222222222",
        ),
    ],
)
def test_a_role_must_let_ecs_tasks_in(change, problem):
    policy = {"Statement": [{**TRUST["Statement"][0], **change}]}
    found = trust_problem(policy, ACCOUNT, TASKS)
    assert problem in found
    assert bool(found) == bool(problem)


def test_one_fitting_statement_of_several_is_enough():
    wrong = {**TRUST["Statement"][0], "Condition": {"StringEquals": {"aws:SourceAccount": "222222222222"}}}
    assert trust_problem({"Statement": [wrong, *TRUST["Statement"]]}, ACCOUNT, TASKS) == ""
    assert trust_problem({"Statement": TRUST["Statement"][0]}, ACCOUNT, TASKS) == ""


def test_roles_that_are_missing_untrusting_or_unreadable():
    found = judge(roles={CONTRACT.execution_role_arn: None, CONTRACT.task_role_arn: {"Statement": []}})
    assert outcomes(found, "execution-role", "task-role") == ["FAIL", "FAIL"]
    assert found["execution-role"].subject == CONTRACT.execution_role_arn
    found = judge(roles={CONTRACT.execution_role_arn: DENIED, CONTRACT.task_role_arn: TRUST})
    assert outcomes(found, "execution-role", "task-role") == ["SKIP", "OK"]


def test_fargate_needs_an_execution_role_and_no_task_role():
    bare = definition(executionRoleArn=None, taskRoleArn=None)
    found = judge(replace(WISH, definition=bare))
    assert found["execution-role"].outcome is Outcome.FAIL
    assert "task-role" not in found
    on_ec2 = definition(executionRoleArn=None, requiresCompatibilities=["EC2"])
    assert "execution-role" not in judge(replace(WISH, definition=on_ec2))


# --- secrets


@pytest.mark.parametrize(
    ("value_from", "expected"),
    [
        (SECRET, ("secretsmanager", SECRET, "", "", "")),
        (f"{SECRET}:password::", ("secretsmanager", SECRET, "password", "", "")),
        (f"{SECRET}::AWSPREVIOUS:", ("secretsmanager", SECRET, "", "AWSPREVIOUS", "")),
        (f"{SECRET}:::9d4cb84b", ("secretsmanager", SECRET, "", "", "9d4cb84b")),
        (f"{SECRET}:user:AWSPENDING:9d4c", ("secretsmanager", SECRET, "user", "AWSPENDING", "9d4c")),
        (f"{PARAMETER}/demo/db", ("ssm", "/demo/db", "", "", "")),
        (f"{PARAMETER}/db", ("ssm", "/db", "", "", "")),
        (f"{PARAMETER}/demo/db:3", ("ssm", "/demo/db", "", "", "")),
        ("/demo/db", ("ssm", "/demo/db", "", "", "")),
        ("db", ("ssm", "db", "", "", "")),
        ("db:3", ("ssm", "db", "", "", "")),
        (f"arn:aws:s3:{REGION}:{ACCOUNT}:bucket", ("s3", "bucket", "", "", "")),
    ],
)
def test_where_a_secret_comes_from(value_from, expected):
    one = preflight.reference("DB", value_from)
    assert (one.store, one.key, one.json_key, one.stage, one.version) == expected
    assert one.value_from == value_from
    assert one.is_in(PLACE)


def test_secrets_stand_in_several_places_of_a_definition():
    logs = {
        "logDriver": "splunk",
        "secretOptions": [{"name": "splunk-token", "valueFrom": f"{PARAMETER}/splunk"}],
    }
    private = {"credentialsParameter": SECRET}
    again = [{"name": "DB", "valueFrom": SECRET}]
    found = preflight.needs_of(
        definition(
            {"name": "a", "image": "x/y", "repositoryCredentials": private, "secrets": again},
            secrets=again,
            logs=logs,
        )
    )
    assert [(one.name, one.key) for one in found.references] == [
        ("DB", SECRET),
        ("splunk-token", "/splunk"),
        ("the registry's login", SECRET),
    ]
    assert found.log_groups == ()


def with_secret(value_from: str) -> Wish:
    return replace(WISH, definition=definition(secrets=[{"name": "DB", "valueFrom": value_from}]))


NOW = SecretVersions({"v1": ("AWSPREVIOUS",), "v2": ("AWSCURRENT", "blue")})


@pytest.mark.parametrize(
    ("suffix", "known", "outcome", "says"),
    [
        ("", NOW, "OK", "db-AbCdEf"),
        (":password::", NOW, "OK", "its key password not looked at"),
        ("::blue:", NOW, "OK", ""),
        (":::v1", NOW, "OK", ""),
        ("::AWSPREVIOUS:v1", NOW, "OK", ""),
        ("::AWSCURRENT:v1", NOW, "FAIL", "no version v1 AWSCURRENT"),
        ("::green:", NOW, "FAIL", "no version green"),
        (":::v3", NOW, "FAIL", "no version v3"),
        ("", SecretVersions({}), "FAIL", "no version AWSCURRENT"),  # made, and no value put yet
        ("", SecretVersions({"v1": ("AWSPENDING",)}), "FAIL", "no version AWSCURRENT"),
        ("", replace(NOW, deleted_at="2026-07-01T00:00:00+00:00"), "FAIL", "is to be deleted"),
        ("", None, "FAIL", "has no db-AbCdEf"),
        ("", DENIED, "SKIP", DENIED.reason),
    ],
)
def test_a_secret_must_have_the_version_that_a_task_asks_for(suffix, known, outcome, says):
    found = judge(with_secret(SECRET + suffix), secrets={SECRET: known})["secret"]
    assert (found.outcome, found.title, found.subject) == (outcome, "secret DB", SECRET + suffix)
    assert says in found.detail
    assert bool(found.hint) == (outcome == "FAIL")


@pytest.mark.parametrize(("known", "outcome"), [(True, "OK"), (False, "FAIL"), (DENIED, "SKIP")])
def test_a_parameter_must_be_there(known, outcome):
    found = judge(with_secret(f"{PARAMETER}/demo/db"), parameters={"/demo/db": known})["parameter"]
    assert found.outcome == outcome
    assert "/demo/db" in found.detail or known is DENIED


@pytest.mark.parametrize(
    ("value_from", "kind"),
    [
        (SECRET.replace(REGION, "us-east-1"), "secret"),
        (f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/db", "parameter"),
        (SECRET.replace(ACCOUNT, "222222222222"), "secret"),
        (f"arn:aws:ssm:{REGION}:222222222222:parameter/db", "parameter"),
    ],
)
def test_what_lies_elsewhere_is_skipped(value_from, kind):
    """ECS reads parameters of other regions by their full ARN: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Secret.html"""
    assert judge(with_secret(value_from))[kind].outcome is Outcome.SKIP


def test_a_store_that_ecs_does_not_read_fails():
    assert judge(with_secret(f"arn:aws:s3:{REGION}:{ACCOUNT}:x"))["secret"].outcome is Outcome.FAIL


# --- logs


@pytest.mark.parametrize(
    ("options", "known", "outcome"),
    [
        ({}, True, "OK"),
        ({}, False, "FAIL"),
        ({}, DENIED, "SKIP"),
        ({"awslogs-create-group": "true"}, None, "OK"),
        ({"awslogs-create-group": "false"}, False, "FAIL"),
        ({"awslogs-region": REGION}, False, "FAIL"),
        ({"awslogs-region": "us-east-1"}, None, "SKIP"),
    ],
)
def test_a_log_group_must_be_there_unless_ecs_makes_it(options, known, outcome):
    logs = {"logDriver": "awslogs", "options": {"awslogs-group": "/logs", **options}}
    facts = {} if known is None else {"/logs": known}
    found = judge(replace(WISH, definition=definition(logs=logs)), log_groups=facts)["log-group"]
    assert (found.outcome, found.subject) == (outcome, "/logs")


def test_other_log_drivers_have_no_log_group():
    found = judge(replace(WISH, definition=definition(logs={"logDriver": "awsfirelens"})))
    assert "log-group" not in found


# --- what DescribeServices says


def test_what_an_answer_leaves_out_has_ecss_defaults():
    data = {"taskDefinition": f"{ARN}:7", "desiredCount": 2, "runningCount": 2, "status": "ACTIVE"}
    found = service_of(data)
    assert (found.controller, found.state.strategy, found.scheduling) == ("ECS", Strategy(), "REPLICA")
    assert (found.has_breaker, found.minimum_percent, found.maximum_percent, found.alarms) == (
        False,
        100,
        200,
        (),
    )
    alarms = {"alarmNames": ["slow"], "enable": False, "rollback": True}
    assert service_of(data | {"deploymentConfiguration": {"alarms": alarms}}).alarms == ()
    alarms["enable"] = True
    assert service_of(data | {"deploymentConfiguration": {"alarms": alarms}}).alarms == ("slow",)


# --- as people and programs see it

SHOWN = (
    Preflight("dev", "", (Finding("account", "account", "arn", Outcome.OK, "111111111111, eu-central-1"),)),
    Preflight(
        "dev",
        "web",
        (
            Finding("service", "service", "demo-dev/web", Outcome.OK, "ACTIVE"),
            Finding(
                "capacity",
                "room to roll",
                "web",
                Outcome.FAIL,
                "desired 3: at least 3 (100%), at most 3 (133%): ECS could neither start a new task nor stop an old one",
                "set the service's maximum_percent to 134 or more, or minimum_healthy_percent to 66 or less",
            ),
            Finding(
                "secret", "secret A_RATHER_LONG_NAME_FOR_A_PASSWORD", SECRET, Outcome.SKIP, DENIED.reason
            ),
        ),
    ),
)


def test_findings_are_a_tree_with_a_line_each():
    assert text.preflight_lines(SHOWN) == [
        "dev: 1 OK",
        "  ✓ OK    account                     111111111111, eu-central-1",
        "dev · web: 1 FAIL, 1 OK, 1 SKIP",
        "  ✓ OK    service                     ACTIVE",
        "  ✗ FAIL  room to roll                desired 3: at least 3 (100%), at most 3 (133%): ECS could neither start a new task nor stop an old one",
        "                                      → set the service's maximum_percent to 134 or more, or minimum_healthy_percent to 66 or less",
        "  • SKIP  secret A_RATHER_LONG_NAME_FOR_A_PASSWORD  the role may not call it",
        "✗ 1 in the way of a rollout; 1 could not be checked",
    ]


@pytest.mark.parametrize("width", [60, 80, 140])
def test_findings_fit_the_terminal_and_lose_no_word(width):
    lines = text.preflight_lines(SHOWN, width=width)
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(text.preflight_lines(SHOWN)).split())
    # What goes on below stands under its beginning.
    indent = lines[1].index("111111111111")
    assert all(line.startswith(" " * indent) for line in lines if line.startswith("   "))


def test_when_nothing_failed_that_is_said():
    assert text.preflight_lines(SHOWN[:1])[-1] == "✓ Nothing stands in the way of a rollout"


def test_what_aws_says_cannot_steer_the_terminal():
    evil = Finding("alarm", "alarm a\x1b[2J", "a", Outcome.FAIL, "b\nc\x1b]0;x\x07", "d\r##[error]e")
    shown = "\n".join(text.preflight_lines((Preflight("dev", "web", (evil,)),)))
    assert not set(shown) & {"\x1b", "\x07", "\r"}
    assert "##[error]" not in shown


def test_findings_are_one_json_object_a_service():
    (_, line) = [json.loads(json_lines.value_line(one)) for one in SHOWN]
    assert (line["type"], line["environment"], line["service"]) == ("preflight", "dev", "web")
    assert [one["outcome"] for one in line["findings"]] == ["OK", "FAIL", "SKIP"]
    assert set(line["findings"][1]) == {"id", "title", "subject", "outcome", "detail", "hint"}
