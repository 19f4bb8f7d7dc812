"""An environment as it looks after an apply and a release, without either: services by a few calls, and a state that tells of them.

For tests of what only looks: Terraform reads such a state as it would its own, in half a second, and no image is built.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator import store

if TYPE_CHECKING:
    from pathlib import Path

REGION = "eu-central-1"
ROOT = """
terraform {{
  backend "s3" {{
    key          = "{env}/terraform.tfstate"
    use_lockfile = true
  }}
}}
"""


@dataclass(frozen=True)
class Told:
    """One service of an environment: the image that its revision names, the tags of that, and the desired count."""

    name: str
    digest: str
    tags: dict[str, str]
    desired: int = 2
    declared: int = 2
    # Of a registry that the sandbox does not keep, so that no task asks it for the image.
    repository: str = ""


def bucket(account_id: str) -> str:
    return f"orch-state-{account_id}-{REGION}"


def make(clients: Any, project: Path, env: str, account_id: str, *services: Told) -> None:
    """`clients(service, account_id)` are boto3's; a rollout that this begins has its own time to end."""
    store.create_bucket(clients("s3", account_id), bucket(account_id), region=REGION, account_id=account_id)
    root = project / "terraform/envs" / env
    root.mkdir(parents=True, exist_ok=True)
    for file in (*root.glob("*.tf*"), root / ".terraform.lock.hcl"):
        file.unlink(missing_ok=True)
    (root / "main.tf").write_text(ROOT.format(env=env))
    ecs, cluster = clients("ecs", account_id), f"demo-{env}"
    ecs.create_cluster(clusterName=cluster)
    contracts = {one.name: _make(ecs, clients("ecr", account_id), cluster, one) for one in services}
    value = {"contract": 1, "account_id": account_id, "region": REGION, "services": contracts}
    state = {
        "version": 4,
        "terraform_version": "1.11.0",
        "serial": 1,
        "lineage": str(uuid.uuid4()),
        "outputs": {"orch": {"value": value, "type": _type(value)}},
        "resources": [],
    }
    clients("s3", account_id).put_object(
        Bucket=bucket(account_id), Key=f"{env}/terraform.tfstate", Body=json.dumps(state).encode()
    )


def _make(ecs: Any, ecr: Any, cluster: str, one: Told) -> dict[str, Any]:
    family = f"{cluster}-{one.name}"
    found = ecr.describe_repositories()["repositories"]
    uris = {made["repositoryName"]: made["repositoryUri"] for made in found}
    if (uri := uris.get(f"{cluster}/{one.name}")) is None:
        made = ecr.create_repository(repositoryName=f"{cluster}/{one.name}")
        uri = made["repository"]["repositoryUri"]
    skeleton = _register(ecs, family, one.name, f"{uri}:skeleton", {})
    revision = _register(ecs, family, one.name, f"{one.repository or uri}@{one.digest}", one.tags)
    ecs.create_service(
        cluster=cluster, serviceName=one.name, taskDefinition=revision, desiredCount=one.desired
    )
    return {
        "repository_url": uri,
        "cluster": cluster,
        "service": one.name,
        "container": one.name,
        "skeleton_arn": skeleton,
        "task_family": family,
        "log_group": f"/ecs/{cluster}/{one.name}",
        "execution_role_arn": "arn:aws:iam::111111111111:role/execution",
        "task_role_arn": "arn:aws:iam::111111111111:role/task",
        "desired_count": one.declared,
    }


def _register(ecs: Any, family: str, name: str, image: str, tags: dict[str, str]) -> str:
    made = ecs.register_task_definition(
        family=family,
        containerDefinitions=[{"name": name, "image": image, "essential": True, "memory": 128}],
        tags=[{"key": key, "value": value} for key, value in tags.items()],
    )
    arn: str = made["taskDefinition"]["taskDefinitionArn"]
    return arn


def _type(value: Any) -> Any:
    """As a state writes the type of an output."""
    if isinstance(value, dict):
        return ["object", {key: _type(one) for key, one in value.items()}]
    if isinstance(value, str):
        return "string"
    return "number"
