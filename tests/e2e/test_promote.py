"""`orch promote`: one digest through three accounts and two regions, and what keeps it back."""

from __future__ import annotations

import re

import boto3
import pytest

from orchestrator.sandbox import control
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
    """The calls after that many that change something, by orch."""
    listed = control.control(project.sandbox, "GET", "calls")["calls"][since:]
    return [
        f"{call['service']}:{call['operation']}"
        for call in listed
        if not re.match(
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
