"""One environment's whole life with everything that the modules offer, and every AWS call in it held to the policies.

    bootstrap → apply → plan → a second service, changes of every kind → promote → rollback → destroy

The sandbox records each call with the role whose work it is (orch and Terraform say so in their user agents). The last tests
hold this record against the table in orchestrator/permissions.py: each call must be granted by the policy of its role, down to
resource and condition, and each action that a policy grants must have been used.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import signal
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator import permissions
from orchestrator.permissions import Place, Role, Statement
from orchestrator.sandbox import control
from tests import authorization
from tests.e2e.conftest import Project, events

ACCOUNT = "111111111111"
BUCKET = f"orch-state-{ACCOUNT}-eu-central-1"
SANDBOX = ("--env", "dev", "--sandbox")
APPLY = ("apply", *SANDBOX, "--yes")
PLACE = Place("aws", "eu-central-1", ACCOUNT, "demo", "dev", BUCKET, ("hello", "worker"))

TFVARS = """
project     = "demo"
environment = "dev"
account_id  = "111111111111"
region      = "eu-central-1"

permissions_boundary_arn      = "arn:aws:iam::111111111111:policy/orch/demo-dev/boundary"
force_delete_repositories     = {force_delete}
restrict_execution_role_trust = {restrict_trust}

network = {{
  cidr_block           = "10.10.0.0/16"
  egress               = "{egress}"
  egress_in_every_zone = {every_zone}
}}

load_balancer = {{
  certificate_arn     = "{certificate_arn}"
  ingress_cidr_blocks = ["{clients}"]
  internal            = false
  deletion_protection = false
  ssl_policy          = "{ssl_policy}"
  web_acl_arn         = {web_acl_arn}
}}

services = {{
  hello = {{
    container_port          = 8080
    cpu                     = {cpu}
    memory                  = 1024
    minimum_healthy_percent = {minimum}
    log_retention_days      = {retention}
    keep_images             = {keep}
    secrets                 = {{ API = "{secret_arn}", OTHER = "{parameter_arn}" }}
    task_role_statements    = {{ Read = {{ actions = ["s3:GetObject"], resources = ["arn:aws:s3:::{bucket}/*"] }} }}
    autoscaling             = {{ min_tasks = 1, max_tasks = {max_tasks} }}
    load_balancer = {{
      priority                     = {priority}
      path_patterns                = ["{path}"]
      health_check_path            = "{health}"
      deregistration_delay_seconds = {delay}
      blue_green                   = {{}}
    }}
  }}
  {more}
}}
"""
FIRST: dict[str, Any] = {
    "force_delete": "false",
    "restrict_trust": "true",
    "egress": "nat_gateway",
    "every_zone": "false",
    "clients": "198.51.100.0/24",
    "ssl_policy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
    "cpu": 256,
    "minimum": 100,
    "retention": 365,
    "keep": 100,
    "bucket": "demo-one",
    "max_tasks": 2,
    "priority": 10,
    "path": "/one/*",
    "health": "/",
    "delay": 30,
    "more": "",
}
CHANGED = {
    "force_delete": "true",
    "restrict_trust": "false",
    "egress": "endpoints",
    "clients": "203.0.113.0/24",
    "ssl_policy": "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
    "web_acl_arn": "null",
    "cpu": 512,
    "minimum": 50,
    "retention": 30,
    "keep": 20,
    "bucket": "demo-two",
    "max_tasks": 3,
    "priority": 20,
    "path": "/two/*",
    "health": "/health",
    "delay": 60,
}
# Everything is measured within seconds: a bad value would come sooner, and no value is as good as a good one.
STAGED = """[services.hello]
strategy = { type = "canary", canary_bake_time_minutes = 0, pause_at = ["POST_PRODUCTION_TRAFFIC_SHIFT"] }
analysis = [{ name = "errors", namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", dimensions = { TargetGroup = "$TARGET_GROUP", LoadBalancer = "$LOAD_BALANCER" }, success = "value < 1", on_no_data = "success", count = 1, continue_when_passed = true, period_s = 1, interval_s = 1, delay_s = 0 }]
"""
NOT_HERE = {
    # Asked of the listener of a Network Load Balancer alone; the modules make none.
    "deploy: elasticloadbalancing:DescribeListeners (ReadHealth)",
    # To pull what is promoted to another environment: test_promote.py.
    "deploy: ecr:GetAuthorizationToken (LogInToPull)",
}
WORKER = "worker = { desired_count = 1 }"


class Story:
    """The environment as it was last written, and what orch printed on the way."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.values: dict[str, Any] = {}

    def write(self, **changes: Any) -> None:
        self.values |= changes
        file = self.project.path / "terraform/envs/dev/terraform.tfvars"
        file.write_text(TFVARS.format(**self.values))

    def tag_everything(self, old: str, new: str) -> None:
        self.project.edit("terraform/envs/dev/providers.tf", old, new)


@pytest.fixture(scope="module")
def story(project: Project) -> Story:
    """Bootstrapped and applied once."""
    project.edit(
        "orch.toml", "[services.hello]", '[github]\nrepository = "acme@12/demo@34"\n\n[services.hello]'
    )
    project.edit(
        "orch.toml", "[services.hello]", '[services.worker]\ncontext = "examples/hello"\n\n[services.hello]'
    )
    told = Story(project)
    told.values = FIRST | make_certificate_and_web_acl(project) | make_secrets(project)
    told.write()
    told.tag_everything('ManagedBy   = "terraform"', 'ManagedBy   = "terraform"\n      Team        = "one"')
    project.commit("Everything that the modules offer")
    refused = project.orch("bootstrap", *SANDBOX, code=1)
    assert f"Create the state bucket {BUCKET}" in refused.stderr
    assert project.client("s3").list_buckets()["Buckets"] == []
    project.bootstrap = project.orch("bootstrap", *SANDBOX, "--yes").stdout
    project.orch(*APPLY)
    return told


def make_secrets(project: Project) -> dict[str, str]:
    """What the service's secrets name; nobody reads what is in them."""
    made = project.client("secretsmanager").create_secret(Name="api", SecretString="canary")
    project.client("ssm").put_parameter(Name="/demo/api", Value="canary", Type="SecureString")
    parameter = f"arn:aws:ssm:eu-central-1:{ACCOUNT}:parameter/demo/api"
    return {"secret_arn": made["ARN"], "parameter_arn": parameter}


def make_certificate_and_web_acl(project: Project) -> dict[str, str]:
    """What a load balancer needs and no module makes."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "demo.example")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + dt.timedelta(days=3650))
    certificate = builder.sign(key, hashes.SHA256())
    imported = project.client("acm").import_certificate(
        Certificate=certificate.public_bytes(serialization.Encoding.PEM),
        PrivateKey=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    metrics = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "demo"}
    made = project.client("wafv2").create_web_acl(
        Name="demo", Scope="REGIONAL", DefaultAction={"Allow": {}}, VisibilityConfig=metrics
    )
    return {
        "certificate_arn": imported["CertificateArn"],
        "web_acl_arn": json.dumps(made["Summary"]["ARN"]),
    }


def planned(project: Project, *options: str) -> list[tuple[str, str]]:
    done = project.orch("plan", *SANDBOX, "--output", "json", *options)
    ready = next(event for event in events(done) if event["type"] == "plan_ready")
    return [(change["action"], change["address"]) for change in ready["changes"]]


def test_bootstrap_names_the_roles_and_what_is_left_on_github(story):
    said = story.project.bootstrap
    for role in Role:
        assert f"role {PLACE.role_arn(role)}" in said
    assert "gh variable set ORCH_DEV_PLAN_ROLE --repo acme/demo --body" in said
    assert "gh variable set ORCH_DEPLOY_ROLE --repo acme/demo --env dev" in said


def test_the_roles_in_the_account_carry_the_very_policies_that_orch_prints(story):
    iam = story.project.client("iam")
    for role in Role:
        name = f"demo-dev-{role}"
        documents = [
            iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        ]
        for attached in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
            version = iam.get_policy_version(PolicyArn=attached["PolicyArn"], VersionId="v1")
            documents.append(version["PolicyVersion"]["Document"])
        statements = [statement for document in documents for statement in document["Statement"]]
        printed = json.loads(story.project.orch("policy", "--env", "dev", "--role", role).stdout)
        assert canonical(statements) == canonical(printed["Statement"])


def test_each_role_trusts_its_own_kinds_of_workflow_run(story):
    iam = story.project.client("iam")
    subjects = {
        "plan": {"environment:dev", "ref:refs/heads/main", "pull_request"},
        "push": {"environment:dev", "ref:refs/heads/main"},
        "apply": {"environment:dev"},
        # staging gets its releases from dev.
        "deploy": {"environment:dev", "environment:staging"},
    }
    for role, wanted in subjects.items():
        trust = iam.get_role(RoleName=f"demo-dev-{role}")["Role"]["AssumeRolePolicyDocument"]
        condition = trust["Statement"][0]["Condition"]
        assert set(condition) == {"StringEquals"}
        tested = condition["StringEquals"]
        found = tested.pop("token.actions.githubusercontent.com:sub")
        assert tested == {"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}
        named = [found] if isinstance(found, str) else found
        assert sorted(named) == sorted(f"repo:acme@12/demo@34:{subject}" for subject in wanted)


def test_every_role_of_the_environment_is_bounded(story):
    iam = story.project.client("iam")
    roles = iam.list_roles(PathPrefix="/orch/demo-dev/")["Roles"]
    assert len(roles) == 4
    for role in roles:
        found = iam.get_role(RoleName=role["RoleName"])["Role"]
        assert found["PermissionsBoundary"]["PermissionsBoundaryArn"] == PLACE.boundary_arn


def test_what_aws_would_refuse_to_delete_stops_a_destroy_before_it_starts(story):
    done = story.project.orch("destroy", *SANDBOX, "--confirm", "dev", code=20)
    assert "aws_ecr_repository.this: it keeps its images (force_delete is off)" in done.stderr
    assert "force_delete_repositories = true" in done.stderr


def test_right_after_a_second_service_is_all_that_a_plan_adds(story):
    story.write(more=WORKER)
    changes = planned(story.project)
    assert {action for action, _ in changes} == {"create"}
    assert {re.search(r'\["(\w+)"\]', address)[1] for _, address in changes} == {"worker"}


def test_changes_of_every_kind_are_sealed_and_applied_as_they_were_reviewed(story):
    project = story.project
    project.edit(
        "orch.toml", "[environments.dev]", '[environments.dev]\nseal = { kms_key = "alias/demo-dev" }'
    )
    story.write(**CHANGED)
    story.tag_everything('Team        = "one"', 'Owner       = "two"')
    dirty = project.orch("plan", *SANDBOX, "--seal", code=1)
    assert "the working tree differs from its commit" in dirty.stderr
    commit = project.commit("Changes of every kind")
    # --comment makes the plan role look for the images; there is no pull request to tell.
    sealed = project.orch("plan", *SANDBOX, "--seal", "--comment")
    assert "no pull request is known" in sealed.stderr
    assert "the images of dev are not known" not in sealed.stderr
    assert f"sealed {commit[:12]} for dev, to be applied until" in sealed.stdout
    blob = (
        project.client("s3").get_object(Bucket=BUCKET, Key=f"orch/plans/dev/{commit}.bundle")["Body"].read()
    )
    assert b"aws_iam_role" not in blob
    done = project.orch(*APPLY, "--sealed", commit[:12])
    assert "▸ terraform plan" not in done.stderr
    assert "dev · worker: SUCCEEDED" in done.stdout
    assert planned(project) == []


def test_a_sealed_plan_is_refused_for_every_reason_at_once(story):
    project = story.project
    commit = project.commit_nothing("Another commit")
    gone = project.orch(*APPLY, "--sealed", "HEAD", code=21)
    assert f"there is no sealed plan of commit {commit[:12]}" in gone.stderr
    # The state moved on with the apply, and nothing else did: the tree is the same.
    stale = project.orch(*APPLY, "--sealed", project.parent(commit), code=21)
    assert "serial: " in stale.stderr
    assert "head commit: " not in stale.stderr
    (project.path / "README.md").write_text("another tree")
    other = project.commit("Another tree")
    assert project.parent(other) == commit
    both = project.orch(*APPLY, "--sealed", project.parent(commit), code=21)
    assert "serial: " in both.stderr
    assert "head commit: " in both.stderr


def test_without_a_key_nothing_is_sealed(story):
    project = story.project
    project.edit("orch.toml", '\nseal = { kms_key = "alias/demo-dev" }', "")
    project.commit("No key")
    done = project.orch("plan", *SANDBOX, "--seal", code=2, ORCH_SEAL_KEY="")
    assert "there is no key to seal plans with" in done.stderr
    assert "openssl rand -base64 32" in done.stderr


def test_status_shows_what_runs(story):
    said = story.project.orch("status", *SANDBOX).stdout
    assert re.search(r"(?m)^.*hello .*COMPLETED|RUNNING|SUCCEEDED", said)
    shown = [
        json.loads(line) for line in story.project.orch("status", *SANDBOX, "-o", "json").stdout.splitlines()
    ]
    assert [found["service"] for found in shown if found["type"] == "service_status"] == ["hello", "worker"]


def test_a_promote_like_release_and_the_way_back(story):
    project = story.project
    before = running(project, "worker")
    project.edit("examples/hello/Dockerfile", "USER 10001:10001", 'LABEL test="1"\nUSER 10001:10001')
    project.commit("Another image")
    story.write(every_zone="true")
    project.orch(*APPLY)
    newer = running(project, "worker")
    assert newer["image"] != before["image"]
    given = ("--image", f"worker={before['image']}", "--image", f"hello={running(project, 'hello')['image']}")
    done = project.orch(*APPLY, *given)
    assert "dev · worker: SUCCEEDED" in done.stdout
    assert running(project, "worker")["image"] == before["image"]
    rolled = project.orch("rollback", *SANDBOX, "--service", "worker")
    assert "dev · worker: SUCCEEDED" in rolled.stdout
    assert running(project, "worker")["taskDefinition"] == newer["taskDefinition"]


def test_a_rollback_repeated_goes_further_back_until_there_is_nothing(story):
    project = story.project
    assert running(project, "worker")["taskDefinition"].endswith("demo-dev-worker:3")
    project.orch("rollback", *SANDBOX, "--service", "worker")
    assert running(project, "worker")["taskDefinition"].endswith("demo-dev-worker:2")
    done = project.orch("rollback", *SANDBOX, "--service", "worker", code=1)
    assert "has no revision before demo-dev-worker:2" in done.stderr


def test_rollback_to_a_revision_that_was_never_released_is_refused(story):
    for to, said in (("1", "was never released with success"), ("other:2", "has the task definition family")):
        done = story.project.orch("rollback", *SANDBOX, "--service", "worker", "--to", to, code=1)
        assert said in done.stderr
    assert (
        "there is no service `absent`"
        in story.project.orch("rollback", *SANDBOX, "--service", "absent", code=1).stderr
    )


def test_a_release_in_stages_waits_for_what_is_measured(story):
    project = story.project
    text = (project.path / "orch.toml").read_text()
    overlay = project.path / "staged.json.j2"
    named = [{"name": "hello", "environment": [{"name": "STAGED", "value": "1"}]}]
    overlay.write_text(json.dumps({"containerDefinitions": named}))
    project.edit(
        "orch.toml", "[services.hello]\n", STAGED.rstrip("\n") + f'\ntask_definition = "{overlay.name}"\n'
    )
    told = events(project.orch("deploy", *SANDBOX, "--service", "hello", "-o", "json"))
    (measured,) = [event for event in told if event["type"] == "measured"]
    assert (measured["stage"], measured["outcome"], measured["state"]) == (
        "POST_PRODUCTION_TRAFFIC_SHIFT",
        "success",
        "passed",
    )
    kinds = [event["type"] for event in told]
    assert kinds.index("rollout_paused") < kinds.index("measured") < kinds.index("pause_continued")
    (released,) = [event for event in told if event["type"] == "released"]
    assert released["verdict"] == "SUCCEEDED"
    (project.path / "orch.toml").write_text(text)
    overlay.unlink()


def test_what_a_rollout_needs_and_why_it_fails_is_read_with_the_rights_of_the_role(story):
    project = story.project
    # The modules set no deployment alarms yet; somebody may all the same.
    project.client("cloudwatch").put_metric_alarm(
        AlarmName="demo-errors",
        MetricName="errors",
        Namespace="demo",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        Statistic="Sum",
    )
    ecs = project.client("ecs")
    kept = ecs.describe_services(cluster="demo-dev", services=["worker"])["services"][0]
    alarms = {"alarmNames": ["demo-errors"], "enable": True, "rollback": True}
    configuration = kept["deploymentConfiguration"] | {"alarms": alarms}
    ecs.update_service(cluster="demo-dev", service="worker", deploymentConfiguration=configuration)
    verified = project.orch("verify", *SANDBOX, code=None)
    assert verified.returncode in {0, 1}
    assert "demo-errors" in verified.stdout
    assert "may not call" not in verified.stdout
    text = (project.path / "orch.toml").read_text()
    project.edit("orch.toml", "[services.hello]", '[services.hello]\ntask_definition = "overlay.json.j2"')
    overlay = project.path / "overlay.json.j2"

    def behave(behaviour: str) -> None:
        variables = {"ORCH_SANDBOX_BEHAVIOUR": behaviour, "ORCH_SANDBOX_LOGS": "no database"}
        listed = [{"name": name, "value": value} for name, value in variables.items()]
        overlay.write_text(json.dumps({"containerDefinitions": [{"name": "hello", "environment": listed}]}))

    behave("crash")
    failed = project.orch("deploy", *SANDBOX, "--service", "hello", code=10)
    assert "hello: The program failed" in failed.stderr
    assert "no database" in failed.stderr
    behave("slow:60")
    cancelled = project.start("deploy", *SANDBOX, "--service", "hello")
    for line in cancelled.stderr:
        if "IN_PROGRESS" in line:
            break
    cancelled.send_signal(signal.SIGINT)
    assert "dev · hello: CANCELLED" in cancelled.communicate(timeout=120)[0]
    assert cancelled.returncode == 14
    (project.path / "orch.toml").write_text(text)
    overlay.unlink()
    ran = project.orch("run", *SANDBOX, "--service", "worker", "--", "echo", "hello there")
    assert "hello there" in ran.stdout
    running = project.start("run", *SANDBOX, "--service", "worker", "--", "sh", "-c", "echo up; sleep 100")
    assert running.stdout.readline() == "up\n"
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert "ROLLED_BACK" in project.orch("history", *SANDBOX).stdout
    project.orch("lock", *SANDBOX, "--reason", "a look at it")
    assert "a look at it" in project.orch("locks", *SANDBOX).stdout
    project.orch("unlock", *SANDBOX)


def test_a_protected_environment_is_not_destroyed_and_keeps_its_data(story):
    project = story.project
    text = (project.path / "orch.toml").read_text()
    project.edit("orch.toml", "[environments.dev]", "[environments.dev]\nprotected = true")
    done = project.orch("destroy", *SANDBOX, "--confirm", "dev", code=20)
    assert "environment `dev` is protected" in done.stderr
    story.write(more="")
    done = project.orch(*APPLY, code=20)
    assert 'module.environment.module.ecr["worker"].aws_ecr_repository.this (delete)' in done.stderr
    story.write(more=WORKER)
    printed = json.loads(project.orch("policy", "--env", "dev", "--role", "apply").stdout)
    denied = [statement for statement in printed["Statement"] if statement["Effect"] == "Deny"]
    assert "ecr:DeleteRepository" in denied[0]["Action"]
    (project.path / "orch.toml").write_text(text)


def test_destroy_leaves_the_state_bucket_and_what_bootstrap_made(story):
    project = story.project
    done = project.orch("destroy", *SANDBOX, "--confirm", "dev")
    assert re.search(
        r"dev: destroyed \d+ resources, deregistered \d+ task definition revisions\n", done.stdout
    )
    assert left(project) == {
        "buckets": [BUCKET],
        "roles": [f"demo-dev-{role}" for role in sorted(Role)],
        "policies": ["boundary", "read", "watch"],
    }
    again = project.orch("destroy", *SANDBOX, "--confirm", "dev")
    assert "destroyed 0 resources, deregistered 0 task definition revisions" in again.stdout


def test_bootstrap_can_be_taken_back(story):
    project = story.project
    done = project.orch("bootstrap", *SANDBOX, "--destroy", "--confirm", ACCOUNT)
    assert "kept      s3://" in done.stdout
    assert left(project) == {"buckets": [BUCKET]}


def test_every_call_is_granted_to_the_role_that_makes_it(story):
    denied = sorted(
        {
            f"{role}: {request}"
            for role, request in made_requests(story.project)
            if not authorization.allows(permissions.policy(role, PLACE), request)
        }
    )
    assert not denied, "\n".join(denied)


def test_every_granted_action_is_used(story):
    used: dict[Role, set[str]] = {role: set() for role in Role}
    for role, request in made_requests(story.project):
        used[role].add(request.action)
    unused = [
        f"{role}: {action} ({statement.sid})"
        for role in Role
        for statement in permissions.TABLE[role]
        for action in statement.actions
        if statement.effect == "Allow" and not is_used(statement, action, used[role])
    ]
    assert set(unused) == NOT_HERE


def is_used(statement: Statement, action: str, used: set[str]) -> bool:
    return bool({action, *statement.implied_by} & used)


def made_requests(project: Project) -> list[tuple[Role, authorization.Request]]:
    """The permissions that each recorded call of a pipeline role needed."""
    calls = control.control(project.sandbox, "GET", "calls")["calls"]
    assert len(calls) < 20_000, "the sandbox forgot the first calls"
    made = [call for call in calls if call.get("operation") == "CreateRole"]
    roles = {call["parameters"]["RoleName"]: call["parameters"] for call in made}
    found = []
    for call in calls:
        role = role_of(call)
        if role is None:
            continue
        given = dict(call.get("parameters", {}))
        if call["service"] == "iam" and given.get("RoleName") in roles:
            known = roles[given["RoleName"]]
            given |= {"sandbox:path": known["Path"], "sandbox:boundary": known["PermissionsBoundary"]}
        asked = authorization.requests(call | {"parameters": given}, project="demo", environment="dev")
        found += [(role, request) for request in asked]
    assert len(found) > 1000
    return found


def role_of(call: dict[str, Any]) -> Role | None:
    """The pipeline role whose work a call is; None for bootstrap's, and for those of this test."""
    if call.get("service") == "registry":
        return Role.PUSH
    named = re.search(r"md/role#(\w+)", call.get("user_agent", ""))
    return Role(named[1]) if named and named[1] in set(Role) else None


def running(project: Project, service: str) -> dict[str, str]:
    ecs = project.client("ecs")
    found = ecs.describe_services(cluster="demo-dev", services=[service])["services"][0]["taskDefinition"]
    definition = ecs.describe_task_definition(taskDefinition=found)["taskDefinition"]
    return {"taskDefinition": found, "image": definition["containerDefinitions"][0]["image"]}


def left(project: Project) -> dict[str, list[str]]:
    """The names of what is left in the account, by kind; a kind with nothing left is not there."""
    ec2, iam, kms = project.client("ec2"), project.client("iam"), project.client("kms")
    ecs = project.client("ecs")
    clusters = ecs.describe_clusters(clusters=ecs.list_clusters()["clusterArns"])["clusters"]
    keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
    found = {
        "buckets": [bucket["Name"] for bucket in project.client("s3").list_buckets()["Buckets"]],
        # A deleted cluster may stay discoverable as INACTIVE for a while:
        # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteCluster.html
        "clusters": [found["clusterArn"] for found in clusters if found["status"] != "INACTIVE"],
        "revisions": ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"],
        "repositories": [
            item["repositoryName"] for item in project.client("ecr").describe_repositories()["repositories"]
        ],
        "log groups": [
            item["logGroupName"] for item in project.client("logs").describe_log_groups()["logGroups"]
        ],
        "load balancers": project.client("elbv2").describe_load_balancers()["LoadBalancers"],
        "target groups": project.client("elbv2").describe_target_groups()["TargetGroups"],
        "vpcs": [vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]],
        "addresses": ec2.describe_addresses()["Addresses"],
        "keys": [
            key["KeyId"]
            for key in keys
            if key["KeyManager"] == "CUSTOMER" and key["KeyState"] != "PendingDeletion"
        ],
        "aliases": [
            item["AliasName"] for item in kms.list_aliases()["Aliases"] if "demo" in item["AliasName"]
        ],
        "roles": sorted(role["RoleName"] for role in iam.list_roles()["Roles"]),
        "policies": sorted(item["PolicyName"] for item in iam.list_policies(Scope="Local")["Policies"]),
    }
    return {kind: names for kind, names in found.items() if names}


def canonical(statements: list[dict[str, Any]]) -> list[Any]:
    """Statements without the difference between one value and a list of one, and without order."""

    def spread(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spread(member) for key, member in value.items()}
        return sorted(value) if isinstance(value, list) else [value]

    return sorted((spread(statement) for statement in statements), key=lambda found: found["Sid"])
