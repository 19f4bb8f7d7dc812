"""`orch apply --env dev`, from an empty account to releases, failures and back: one story, told in order."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.e2e import hand_made
from tests.e2e.conftest import Project, events

APPLY = ("apply", "--env", "dev", "--yes", "--sandbox")
WRITES = re.compile(
    r"^(ecs:(Register|Update|Create|Delete|Tag)|ecr:(Put|Create|Delete|Initiate|Upload|Complete)|iam:(Put|Create))"
)
CLUSTER, SERVICE, FAMILY = "demo-dev", "hello", "demo-dev-hello"


@pytest.fixture(scope="module")
def first(project: Project) -> str:
    """What the first apply printed on stdout; before it, one that nobody could approve changed nothing."""
    refused = project.orch("apply", "--env", "dev", "--sandbox", code=1)
    assert "no terminal to ask for approval" in refused.stderr
    assert "--yes" in refused.stderr
    assert project.client("ecs").list_clusters()["clusterArns"] == []
    return project.orch(*APPLY).stdout


def describe(project: Project) -> dict:
    return project.client("ecs").describe_services(cluster=CLUSTER, services=[SERVICE])["services"][0]


def running_image(project: Project) -> str:
    definition = project.client("ecs").describe_task_definition(
        taskDefinition=describe(project)["taskDefinition"]
    )
    return definition["taskDefinition"]["containerDefinitions"][0]["image"]


def revisions(project: Project) -> list[str]:
    listed = project.client("ecs").list_task_definitions(familyPrefix=FAMILY, status="ACTIVE")
    return listed["taskDefinitionArns"]


def overlay(project: Project, **environment: str) -> None:
    """Gives the container environment variables through the service's task definition overlay."""
    listed = [{"name": name, "value": value} for name, value in environment.items()]
    text = json.dumps({"containerDefinitions": [{"name": "hello", "environment": listed}]})
    (project.path / "overlay.json.j2").write_text(text)


def test_the_first_apply_ends_with_verdict_digest_revision_and_durations(project, first):
    assert "dev · hello: SUCCEEDED" in first
    assert re.search(r"image     \S+@sha256:[0-9a-f]{64}\n", first)
    assert f"revision  {FAMILY}:2\n" in first
    assert "tasks     1 of 1 running" in first
    assert re.search(r"took .*plan [\d.]+ s.*apply [\d.]+ s.*build .*push .*rollout ", first)


def test_boto3_sees_the_service_on_the_new_revision_by_digest(project, first):
    service = describe(project)
    image = re.search(r"image     (\S+)", first)[1]
    assert service["taskDefinition"].endswith(f"{FAMILY}:2")
    assert running_image(project) == image
    assert (service["runningCount"], service["desiredCount"], service["pendingCount"]) == (1, 1, 0)
    ecs = project.client("ecs")
    tasks = ecs.list_tasks(cluster=CLUSTER, serviceName=SERVICE)["taskArns"]
    described = ecs.describe_tasks(cluster=CLUSTER, tasks=tasks)["tasks"]
    assert [task["lastStatus"] for task in described] == ["RUNNING"]
    assert described[0]["containers"][0]["imageDigest"] == image.rsplit("@", 1)[1]


def test_the_revision_says_who_released_what(project, first):
    arn = describe(project)["taskDefinition"]
    answer = project.client("ecs").describe_task_definition(taskDefinition=arn, include=["TAGS"])
    tags = {tag["key"]: tag["value"] for tag in answer["tags"]}
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project.path, capture_output=True, text=True, check=True
    )
    assert tags["orch:git-sha"] == head.stdout.strip()
    assert tags["orch:digest"] == running_image(project).rsplit("@", 1)[1]
    assert tags["orch:by"].startswith("arn:aws:")
    assert {"orch:release", "orch:released-at"} <= set(tags)


def test_the_release_is_on_record(project, first):
    s3 = project.client("s3")
    bucket = "orch-state-111111111111-eu-central-1"
    keys = [
        item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix="orch/releases/dev/")["Contents"]
    ]
    record = json.loads(s3.get_object(Bucket=bucket, Key=keys[0])["Body"].read())
    assert (record["verdict"], record["service"], record["image"]["digest"]) == (
        "SUCCEEDED",
        "hello",
        running_image(project).rsplit("@", 1)[1],
    )


def test_skopeo_inspects_the_digest(project, first):
    skopeo = require_tool("skopeo")
    token = project.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    credentials = base64.b64decode(token).decode()
    image = running_image(project)
    argv = [skopeo, "inspect", "--tls-verify=false", "--creds", credentials, f"docker://{image}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["Digest"] == image.rsplit("@", 1)[1]


def test_terraform_by_hand_finds_nothing_to_do(project, first):
    terraform = require_tool("terraform")
    environ = project.aws_environ("dev")
    mirror = project.path / "terraform/envs/dev/.terraform/orch/mirror.tfrc"
    if mirror.is_file():
        environ["TF_CLI_CONFIG_FILE"] = str(mirror)
    done = subprocess.run(
        [terraform, "plan", "-detailed-exitcode", "-input=false", "-no-color"],
        cwd=project.path / "terraform/envs/dev",
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_state_bucket_is_versioned_encrypted_private_and_tls_only(project, first):
    s3, bucket = project.client("s3"), "orch-state-111111111111-eu-central-1"
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == [
        "DenyInsecureTransport",
        "DenyOldTls",
        "DenyDeletion",
    ]
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rules[0]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 90}


def test_bootstrap_may_be_repeated(project, first):
    done = project.orch("bootstrap", "--env", "dev", "--sandbox")
    assert "was there; settings confirmed" in done.stdout


def test_the_second_apply_changes_nothing(project, first):
    before, known = len(project.calls()), revisions(project)
    done = project.orch(*APPLY, "--output", "json")
    happened = events(done)
    steps = {event["name"]: event["outcome"] for event in happened if event["type"] == "step_finished"}
    assert steps["init"] == "skipped"
    assert steps["image"] == "skipped"
    assert not {"apply", "build", "push", "register", "rollout"} & set(steps)
    assert happened[-1]["type"] == "released"
    assert (happened[-1]["verdict"], happened[-1]["exit_code"]) == ("NO_CHANGE", 0)
    # The sandbox keeps a limited log: compare what is new, not positions, when it wrapped.
    new = project.calls()[before:] or project.calls()[-40:]
    assert not [call for call in new if WRITES.match(call) and "TagResource" not in call]
    assert revisions(project) == known


def test_nothing_stands_in_the_way_of_the_next_rollout(project, first):
    done = project.orch("verify", "--env", "dev", "--sandbox")
    assert done.stdout.splitlines()[0] == "dev: 1 OK"
    assert done.stdout.splitlines()[-1] == "✓ Nothing stands in the way of a rollout"


# --- what comes after Terraform, for which the root module need only tell of what it made


@pytest.fixture(scope="module")
def told(project: Project, first: str) -> str:
    """What the first apply printed."""
    hand_made.tell(project, "dev")
    return first


FREEZE = """
[[environments.dev.gates.freeze]]
name = "stocktaking"
start = 2020-01-01
end = 2999-12-31
time_zone = "Europe/Berlin"
"""


def test_a_freeze_stops_an_apply_until_somebody_opens_it_knowingly(project, told):
    text = (project.path / "orch.toml").read_text()
    (project.path / "orch.toml").write_text(text + FREEZE)
    planned = project.orch("plan", "--env", "dev", "--sandbox")
    assert "! gate freeze is shut: stocktaking until 3000-01-01 00:00 Europe/Berlin" in planned.stderr
    refused = project.orch(*APPLY, code=20)
    assert "a release to `dev` is refused by freeze" in refused.stderr
    assert "--override freeze --reason TEXT" in refused.stderr
    image = re.search(r"image     (\S+)", told)[1]
    again = project.orch(
        *APPLY, "--image", image, "--override", "freeze", "--reason", "the fix", "-o", "json"
    )
    assert events(again)[-1]["verdict"] == "NO_CHANGE"
    assert events(again)[-1]["overrides"] == [{"rule": "freeze", "reason": "the fix"}]
    (project.path / "orch.toml").write_text(text)
    assert "there is no such rule" in project.orch(*APPLY, "--override", "frost", code=2).stderr
    assert "needs a reason" in project.orch(*APPLY, "--override", "freeze", code=2).stderr


def test_the_plan_verb_agrees(project, told):
    done = project.orch("plan", "--env", "dev", "--sandbox", "--detailed-exitcode")
    assert done.stdout == "Plan for dev: no changes\n"


def test_a_new_commit_is_built_and_rolled_out(project, told):
    before = running_image(project)
    project.edit("examples/hello/Dockerfile", "USER 10001:10001", 'LABEL test="1"\nUSER 10001:10001')
    commit = project.commit("Change the image")
    done = project.orch(*APPLY)
    assert "SUCCEEDED" in done.stdout
    assert f"commit    {commit}" in done.stdout
    assert running_image(project) != before
    assert describe(project)["taskDefinition"].endswith(f"{FAMILY}:3")


def test_a_build_that_fails_shows_the_engines_last_lines(project, told):
    before = describe(project)["taskDefinition"]
    project.edit("examples/hello/Dockerfile", "USER 10001", "COPY no-such-file /\nUSER 10001")
    done = project.orch(*APPLY, code=1)
    assert "build of" in done.stderr
    assert "no-such-file" in done.stderr.split("error:", 1)[1]
    assert describe(project)["taskDefinition"] == before
    project.edit("examples/hello/Dockerfile", "COPY no-such-file /\n", "")


def wrapper(folder: Path, name: str, text: str) -> dict[str, str]:
    """A PATH whose first folder has that program."""
    folder.mkdir()
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_a_registry_that_refuses_the_push_is_quoted(project, told, tmp_path):
    buildah = require_tool("buildah")
    project.edit("examples/hello/Dockerfile", 'test="1"', 'test="2"')
    project.edit("orch.toml", "[services.hello]", '[image]\nengine = "buildah"\n\n[services.hello]')
    # The real registry's real refusal: the push goes out without the credentials of the login before it.
    text = f'case "$1" in push) eval "last=\\${{$#}}"; exec {buildah} push --tls-verify=false "${{last#docker://}}" "$last";; esac\nexec {buildah} "$@"'
    done = project.orch(*APPLY, code=1, **wrapper(tmp_path / "bin", "buildah", text))
    said = done.stderr.split("error:", 1)[1]
    assert "buildah push of 127.0.0.1:" in said
    assert re.search(r"unauthorized|authentication required|401", said, re.IGNORECASE)
    project.edit("examples/hello/Dockerfile", 'test="2"', 'test="1"')
    project.edit("orch.toml", '[image]\nengine = "buildah"\n\n', "")


def test_without_an_image_engine_nothing_is_changed(project, told, tmp_path):
    project.edit("examples/hello/Dockerfile", 'test="1"', 'test="3"')
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("git", "terraform"):
        (tools / name).symlink_to(shutil.which(name))
    done = project.orch(*APPLY, code=1, PATH=str(tools))
    said = done.stderr.split("error:", 1)[1]
    assert "no image engine works here" in said
    assert "buildah: not on PATH" in said
    project.edit("examples/hello/Dockerfile", 'test="3"', 'test="1"')


def test_an_image_given_by_digest_skips_the_build(project, told):
    image = re.search(r"image     (\S+)", told)[1]
    done = project.orch(*APPLY, "--image", image, "--output", "json")
    happened = events(done)
    assert (happened[-1]["verdict"], happened[-1]["image"]) == ("SUCCEEDED", image)
    assert "build" not in {event["name"] for event in happened if event["type"] == "step_started"}
    assert running_image(project) == image


def test_a_digest_that_ecr_lacks_is_refused(project, told):
    repository = re.search(r"image     (\S+)@", told)[1]
    before = describe(project)["taskDefinition"]
    done = project.orch(*APPLY, "--image", f"{repository}@sha256:{'0' * 64}", code=1)
    assert "ECR has no" in done.stderr
    assert describe(project)["taskDefinition"] == before


def test_a_service_that_crashes_is_rolled_back_and_told_so(project, told):
    project.edit("orch.toml", "[services.hello]", '[services.hello]\ntask_definition = "overlay.json.j2"')
    overlay(project, ORCH_SANDBOX_BEHAVIOUR="crash")
    good = describe(project)["taskDefinition"]
    done = project.orch(*APPLY, code=10)
    assert "dev · hello: ROLLED_BACK" in done.stdout
    assert describe(project)["taskDefinition"] == good


def test_the_same_failing_definition_is_not_registered_again(project, told):
    known = revisions(project)
    project.orch(*APPLY, code=10)
    assert revisions(project) == known


def test_a_rollout_that_takes_too_long_times_out_and_is_followed_by_the_next_run(project, told):
    overlay(project, ORCH_SANDBOX_BEHAVIOUR="slow:12")
    project.edit("orch.toml", "[services.hello]", "[rollout]\ntimeout_s = 2\n\n[services.hello]")
    done = project.orch(*APPLY, code=13)
    assert "dev · hello: TIMED_OUT" in done.stdout
    assert "goes on in ECS" in done.stdout
    project.edit("orch.toml", "timeout_s = 2", "timeout_s = 60")
    known = revisions(project)
    done = project.orch(*APPLY)
    assert "dev · hello: SUCCEEDED" in done.stdout
    assert revisions(project) == known
    assert "dev · hello: NO_CHANGE" in project.orch(*APPLY).stdout


def test_an_overlay_with_an_undefined_name_is_refused(project, told):
    (project.path / "overlay.json.j2").write_text('{"cpu": {{ outputs.no_such | tojson }}}')
    done = project.orch(*APPLY, code=2)
    assert "overlay.json.j2" in done.stderr
    assert "no_such" in done.stderr
    overlay(project, ORCH_SANDBOX_BEHAVIOUR="")


def test_credentials_of_another_account_are_refused(project, told):
    environ = project.aws_environ("staging")
    done = project.orch("apply", "--env", "dev", "--yes", code=1, **environ)
    assert "belong to account 222222222222" in done.stderr
    assert "lives in account 111111111111" in done.stderr


def test_without_a_state_bucket_bootstrap_is_named(project, told):
    done = project.orch("plan", "--env", "staging", code=1, **project.aws_environ("staging"))
    assert "terraform init failed" in done.stderr
    assert "orch bootstrap --env" in done.stderr


def test_an_output_that_lacks_a_field_names_it(project, told):
    main = "terraform/envs/dev/main.tf"
    project.edit(main, '\\"container\\":', '\\"contained\\":')
    done = project.orch(*APPLY, code=1)
    assert "services.hello.container: is missing" in done.stderr
    assert "terraform/envs/dev" in done.stderr
    project.edit(main, '\\"contained\\":', '\\"container\\":')
