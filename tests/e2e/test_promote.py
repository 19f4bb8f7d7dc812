"""`orch promote`: one digest through three accounts and two regions, and what keeps it back."""

from __future__ import annotations

import base64
import json
import re
import subprocess

import boto3
import pytest

from orchestrator import permissions, settings
from orchestrator.permissions import Role
from orchestrator.sandbox import control
from tests import authorization
from tests.conftest import require_tool
from tests.e2e import hand_made
from tests.e2e.conftest import Project, events, git

PLACES = {
    "dev": ("111111111111", "eu-central-1"),
    "staging": ("222222222222", "eu-central-1"),
    "prod": ("333333333333", "eu-west-1"),
}
TOML = """
project = "demo"
region = "eu-central-1"

[services.hello]
context = "examples/hello"

[environments.dev]
account_id = "111111111111"

[environments.staging]
account_id = "222222222222"
promotes_from = "dev"

[environments.prod]
account_id = "333333333333"
region = "eu-west-1"
promotes_from = "staging"

[environments.prod.promotion]
soak_minutes = 30
branches = ["main"]
"""


class Place:
    """One environment's clients."""

    def __init__(self, project: Project, env: str) -> None:
        self._project, (self.account_id, self.region) = project, PLACES[env]

    def client(self, service: str):
        return boto3.client(
            service,
            region_name=self.region,
            endpoint_url=self._project.sandbox.endpoint_url,
            aws_access_key_id=self.account_id,
            aws_secret_access_key="any",
        )


def make(project: Project, env: str) -> None:
    place, cluster = Place(project, env), f"demo-{env}"
    with pytest.MonkeyPatch.context() as there:
        there.setattr(hand_made, "CLUSTER", cluster)
        there.setattr(hand_made, "REGION", place.region)
        place.client("ecs").create_cluster(clusterName=cluster)
        told = hand_made._make(place, "hello")
        text = hand_made.ROOT.format(account=place.account_id, region=place.region, services=told)
    root = project.path / "terraform/envs" / env
    for file in (*root.glob("*.tf*"), root / ".terraform.lock.hcl"):
        file.unlink(missing_ok=True)
    text = text.replace("dev/terraform.tfstate", f"{env}/terraform.tfstate").replace("sleep 1", "true")
    (root / "main.tf").write_text(text)


@pytest.fixture(scope="module")
def path(project: Project) -> Project:
    """dev, staging and prod; the latter two applied, and waiting for their first release."""
    (project.path / "orch.toml").write_text(TOML)
    for env in PLACES:
        make(project, env)
    project.commit("Three environments")
    for env in ("staging", "prod"):
        done = project.orch("apply", "--env", env, "--sandbox", "--yes")
        assert f"{env} has no release of hello yet, and gets its images by promotion" in done.stderr
    return project


def advance(project: Project, duration_s: float) -> None:
    control.control(project.sandbox, "POST", "clock", {"advance": duration_s})


def writes(project: Project, since: int) -> list[str]:
    """The calls after that many that change something; Terraform's own lock of a state, while it plans, does not."""
    listed = control.control(project.sandbox, "GET", "calls")["calls"][since:]
    return [
        f"{call['service']}:{call['operation']}"
        for call in listed
        if "HashiCorp" not in call["user_agent"]
        and not re.match(
            r"(Describe|Get|List|Head|BatchGet|BatchCheck|AssumeRole)", call.get("operation") or "Get"
        )
    ]


def count(project: Project) -> int:
    return len(control.control(project.sandbox, "GET", "calls")["calls"])


def promote(project: Project, source: str, target: str, *more: str, code: int = 0):
    return project.orch("promote", "--from", source, "--to", target, "--sandbox", *more, code=code)


def digest(project: Project, env: str) -> str:
    """What the service of the environment runs, as ECS resolved it."""
    ecs = Place(project, env).client("ecs")
    listed = ecs.list_service_deployments(cluster=f"demo-{env}", service="hello", status=["SUCCESSFUL"])
    arn = listed["serviceDeployments"][0]["targetServiceRevisionArn"]
    (image,) = ecs.describe_service_revisions(serviceRevisionArns=[arn])["serviceRevisions"][0][
        "containerImages"
    ]
    return image["imageDigest"]


def verdicts(done) -> list[tuple[str, str]]:
    """The releases that were printed: environment and verdict."""
    return re.findall(r"(?m)^(\w+)\b.*\b(SUCCEEDED|NO_CHANGE|[A-Z]+_[A-Z]+)\b", done.stdout)


def test_one_digest_goes_through_every_environment(path: Project) -> None:
    path.orch("apply", "--env", "dev", "--sandbox", "--yes")
    first = digest(path, "dev")
    commit = git(path.path, "rev-parse", "HEAD")

    done = promote(path, "dev", "staging", "--yes")
    assert "hello: dev → staging" in done.stderr
    assert "SUCCEEDED" in done.stdout
    assert digest(path, "staging") == first

    since = count(path)
    refused = promote(path, "staging", "prod", "--yes", code=20)
    assert "the promotion of hello to `prod` is refused" in refused.stderr
    assert re.search(r"hello: soaked: \d+ min of 30 min in staging: opens in \d+ min, at ", refused.stderr)
    assert writes(path, since) == []

    advance(path, 1800)
    done = promote(path, "staging", "prod", "--yes", "--output", "json")
    (release,) = [event for event in events(done) if event["type"] == "released"]
    assert (release["verdict"], release["commit"]) == ("SUCCEEDED", commit)
    assert release["promoted_from"]["environment"] == "staging"
    assert digest(path, "prod") == first

    # Every environment's own skeleton, with the provenance on the revision.
    ecs = Place(path, "prod").client("ecs")
    described = ecs.describe_task_definition(taskDefinition="demo-prod-hello", include=["TAGS"])
    tags = {tag["key"]: tag["value"] for tag in described["tags"]}
    assert tags["orch:promoted-from"] == f"staging/{release['promoted_from']['release_id']}"
    assert tags["orch:git-sha"] == commit
    (container,) = described["taskDefinition"]["containerDefinitions"]
    assert container["logConfiguration"]["options"]["awslogs-region"] == "eu-west-1"
    assert container["image"].endswith(f"@{first}")

    again = promote(path, "staging", "prod", "--yes")
    assert "NO_CHANGE" in again.stdout


def test_skopeo_inspects_the_same_digest_in_every_registry(path: Project) -> None:
    skopeo, commit = require_tool("skopeo"), git(path.path, "rev-parse", "HEAD")
    found = set()
    for env in PLACES:
        ecr = Place(path, env).client("ecr")
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        url = ecr.describe_repositories()["repositories"][0]["repositoryUri"]
        credentials = base64.b64decode(token).decode()
        argv = [skopeo, "inspect", "--tls-verify=false", "--creds", credentials, f"docker://{url}:{commit}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        found.add(json.loads(done.stdout)["Digest"])
    assert found == {digest(path, "dev")}


def test_a_promotion_again_after_a_rollback(path: Project) -> None:
    first = digest(path, "prod")
    (path.path / "examples/hello/page.txt").write_text("second\n")
    path.commit("Say it ::error:: <b>louder</b>")
    path.orch("apply", "--env", "dev", "--sandbox", "--yes")
    second = digest(path, "dev")
    promote(path, "dev", "staging", "--yes")
    assert first != second == digest(path, "staging")

    since = count(path)
    shown = promote(path, "staging", "prod", "--plan").stdout
    assert f"  image    {first[:19]} → {second[:19]}\n" in shown
    assert re.search(r"    [0-9a-f]{8} Say it ::error:: <b>louder</b>\n", shown)
    assert "infrastructure  staging: no changes\n                prod: no changes" in shown
    assert writes(path, since) == []

    advance(path, 1800)
    promote(path, "staging", "prod", "--yes")
    assert digest(path, "prod") == second
    path.orch("rollback", "--env", "prod", "--sandbox")
    assert digest(path, "prod") == first
    done = promote(path, "staging", "prod", "--yes", "--output", "json")
    assert digest(path, "prod") == second
    steps = [event["name"] for event in events(done) if event["type"] == "step_finished"]
    assert "copy" in steps
    assert not {"build", "push"} & set(steps)

    listed = path.orch("history", "--env", "prod", "--sandbox", "--output", "json").stdout.splitlines()
    records = [json.loads(line)["release"] for line in listed]
    assert [record["image"]["digest"] for record in records] == [second, first, second, first]
    assert [(record["promoted_from"] or {}).get("environment") for record in records] == [
        *("staging", None, "staging", "staging"),
    ]


def test_one_release_by_its_id(path: Project) -> None:
    listed = path.orch("history", "--env", "staging", "--sandbox", "--output", "json").stdout.splitlines()
    newest, oldest = (json.loads(line)["release"] for line in (listed[0], listed[-1]))
    assert newest["image"]["digest"] != oldest["image"]["digest"]
    promote(path, "staging", "prod", "--release", oldest["id"], "--yes")
    assert digest(path, "prod") == oldest["image"]["digest"]
    unknown = promote(path, "staging", "prod", "--release", "20200101T000000Z-abcdef", "--yes", code=1)
    assert "staging has no release 20200101T000000Z-abcdef of hello" in unknown.stderr


def test_apply_in_an_environment_of_the_path_keeps_what_runs(path: Project) -> None:
    before = digest(path, "prod")
    path.commit_nothing("Nothing that was promoted")
    done = path.orch("apply", "--env", "prod", "--sandbox", "--yes")
    assert "NO_CHANGE" in done.stdout
    assert digest(path, "prod") == before


def test_what_keeps_it_back(path: Project) -> None:
    since = count(path)
    for arguments, code, sentence in (
        (("dev", "prod"), 20, "hello: path: prod promotes from staging, not from dev"),
        (("prod", "prod"), 1, "--from and --to both name `prod`"),
        (("staging", "nowhere"), 2, "there is no environment `nowhere`"),
        (("staging", "prod", "--service", "other"), 2, "--service: there is no service `other`"),
        (
            ("staging", "prod", "--override", "lock", "--reason", "x"),
            2,
            "--override lock: a promotion has no such gate",
        ),
        (("dev", "prod", "--skip-path"), 2, "--skip-path needs a reason"),
    ):
        refused = promote(path, *arguments, "--yes", code=code)
        assert sentence in refused.stderr
    advance(path, 1800)
    path.orch("lock", "--env", "prod", "--sandbox", "--reason", "the database moves")
    since = count(path)
    locked = promote(path, "staging", "prod", "--check", code=22)
    assert "prod is locked by orch lock of" in locked.stdout
    assert "the database moves" in locked.stdout
    assert "environment `prod` is locked" in promote(path, "staging", "prod", "--yes", code=22).stderr
    assert writes(path, since) == []
    path.orch("unlock", "--env", "prod", "--sandbox", "--yes")
    assert "OPEN" in promote(path, "staging", "prod", "--check").stdout


def test_one_command_through_the_whole_path(path: Project) -> None:
    (path.path / "examples/hello/page.txt").write_text("third\n")
    path.commit("Third")
    through = ("release", "--through", "prod", "--sandbox", "--yes")
    stopped = path.orch(*through, code=20)
    assert "error: the release is in staging, and not yet in prod: the promotion of hello" in stopped.stderr
    assert "`orch release --through prod` again goes on from there" in stopped.stderr
    assert verdicts(stopped) == [("dev", "SUCCEEDED"), ("staging", "SUCCEEDED")]
    third = digest(path, "dev")
    assert digest(path, "staging") == third != digest(path, "prod")
    advance(path, 1800)
    done = path.orch(*through)
    assert verdicts(done) == [("dev", "NO_CHANGE"), ("staging", "NO_CHANGE"), ("prod", "SUCCEEDED")]
    assert digest(path, "prod") == third
    alone = path.orch("release", "--through", "dev", "--sandbox", "--yes", code=1)
    assert "no path leads to `dev`" in alone.stderr


def test_every_call_is_granted_to_the_role_that_makes_it(path: Project) -> None:
    """What test_permissions.py holds of one environment, here of what a promotion asks of both ends."""
    loaded = settings.load(path.path / "orch.toml")
    places = {
        loaded.environment(env).account_id: loaded.place(loaded.environment(env))
        for env in ("staging", "prod")
    }
    denied, asked = set(), set()
    for call in control.control(path.sandbox, "GET", "calls")["calls"]:
        named = re.search(r"md/role#(\w+)", call.get("user_agent", ""))
        place = places.get(call.get("account", ""))
        if named is None or place is None or not call.get("operation"):
            continue
        role = Role(named[1])
        for request in authorization.requests(call, project="demo", environment=place.environment):
            asked.add((role, request.action))
            # The roles of the tasks were made by hand, and have other names than those of the modules.
            if not request.action.startswith("iam:") and not authorization.allows(
                permissions.policy(role, place), request
            ):
                denied.add(f"{place.environment} {role}: {request}")
    assert not denied, "\n".join(sorted(denied))
    assert {(Role.DEPLOY, "ecr:GetAuthorizationToken"), (Role.PUSH, "ecr:PutImage")} <= asked
