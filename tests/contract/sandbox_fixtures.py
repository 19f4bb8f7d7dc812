"""A live sandbox for contract tests, as a pytest plugin: `pytest_plugins = ("tests.contract.sandbox_fixtures",)`.

One process a test session, emptied before each test. Its clock stands still unless a test moves it, so a rollout of
minutes takes milliseconds and always the same course.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from orchestrator.sandbox import control

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT = "111111111111"
REGION = "eu-central-1"
TASK_SECONDS = 2.0
BREAKER = {
    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
}


@dataclass
class Cloud:
    """The sandbox as its clients see it, and a hand on its clock."""

    sandbox: control.Sandbox
    _clients: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def client(
        self, service: str, *, key: str = ACCOUNT, region: str = REGION, token: str | None = None
    ) -> Any:
        known = (service, key, region)
        if known not in self._clients:
            session = boto3.Session(
                aws_access_key_id=key,
                aws_secret_access_key="any",
                aws_session_token=token,
                region_name=region,
            )
            self._clients[known] = session.client(
                service, endpoint_url=self.sandbox.endpoint_url, config=Config(retries={"max_attempts": 1})
            )
        return self._clients[known]

    @property
    def ecs(self) -> Any:
        return self.client("ecs")

    @property
    def ecr(self) -> Any:
        return self.client("ecr")

    def advance(self, seconds: float) -> None:
        control.control(self.sandbox, "POST", "clock", {"advance": seconds})

    def calls(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = control.control(self.sandbox, "GET", "calls")["calls"]
        return listed

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    # --- images

    def make_repository(self, name: str, *, immutable: bool = True, account: str = ACCOUNT) -> str:
        made = self.client("ecr", key=account).create_repository(
            repositoryName=name, imageTagMutability="IMMUTABLE" if immutable else "MUTABLE"
        )
        uri: str = made["repository"]["repositoryUri"]
        return uri

    def password(self, *, account: str = ACCOUNT) -> str:
        data = self.client("ecr", key=account).get_authorization_token()["authorizationData"][0]
        user, password = base64.b64decode(data["authorizationToken"]).decode().split(":", 1)
        assert user == "AWS"
        return password

    def upload_layer(self, repository: str, content: bytes) -> dict[str, Any]:
        """Puts a layer through the ECR API and returns its descriptor."""
        upload_id = self.ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
        self.ecr.upload_layer_part(
            repositoryName=repository,
            uploadId=upload_id,
            partFirstByte=0,
            partLastByte=len(content) - 1,
            layerPartBlob=content,
        )
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.ecr.complete_layer_upload(repositoryName=repository, uploadId=upload_id, layerDigests=[digest])
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(content)}

    def make_manifest(self, repository: str, content: bytes = b"layer") -> str:
        """A manifest whose config and layer are in the repository; not put itself."""
        config = self.upload_layer(repository, b"{}")
        config["mediaType"] = "application/vnd.oci.image.config.v1+json"
        layer = self.upload_layer(repository, content)
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config,
                "layers": [layer],
            }
        )

    # --- services

    def register(self, *, behaviour: str = "", image: str = "registry.example/app:1", **more: Any) -> str:
        """Registers a revision of the family `app`; returns its ARN."""
        container: dict[str, Any] = {"name": "app", "image": image, "memory": 128, "essential": True}
        if behaviour:
            container["environment"] = [{"name": "ORCH_SANDBOX_BEHAVIOUR", "value": behaviour}]
        container |= more.pop("container", {})
        made = self.ecs.register_task_definition(family="app", containerDefinitions=[container], **more)
        arn: str = made["taskDefinition"]["taskDefinitionArn"]
        return arn

    def create_service(self, task_definition: str, *, desired: int = 2, **more: Any) -> dict[str, Any]:
        self.ecs.create_cluster(clusterName="main")
        more = {"deploymentConfiguration": BREAKER, **more}
        made = self.ecs.create_service(
            cluster="main", serviceName="web", taskDefinition=task_definition, desiredCount=desired, **more
        )
        service: dict[str, Any] = made["service"]
        return service

    def create_steady_service(self, *, desired: int = 2) -> str:
        """A service whose first deployment is COMPLETED; returns its task definition."""
        good = self.register()
        self.create_service(good, desired=desired)
        self.advance(10 * TASK_SECONDS)
        assert self.primary()["rolloutState"] == "COMPLETED"
        return good

    def update_service(self, **changes: Any) -> dict[str, Any]:
        service: dict[str, Any] = self.ecs.update_service(cluster="main", service="web", **changes)["service"]
        return service

    def service(self) -> dict[str, Any]:
        described: dict[str, Any] = self.ecs.describe_services(cluster="main", services=["web"])["services"][
            0
        ]
        return described

    def primary(self) -> dict[str, Any]:
        first: dict[str, Any] = self.service()["deployments"][0]
        assert first["status"] == "PRIMARY"
        return first

    def service_deployments(self) -> list[dict[str, Any]]:
        """Every service deployment in full, newest first."""
        briefs = self.ecs.list_service_deployments(cluster="main", service="web")["serviceDeployments"]
        arns = [brief["serviceDeploymentArn"] for brief in briefs]
        described = self.ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"]
        by_arn = {one["serviceDeploymentArn"]: one for one in described}
        return [by_arn[arn] for arn in arns]

    def tasks(self, status: str = "RUNNING") -> list[dict[str, Any]]:
        arns = self.ecs.list_tasks(cluster="main", serviceName="web", desiredStatus=status)["taskArns"]
        if not arns:
            return []
        described: list[dict[str, Any]] = self.ecs.describe_tasks(cluster="main", tasks=arns)["tasks"]
        return described

    def messages(self) -> list[str]:
        return [event["message"] for event in self.service()["events"]]


@pytest.fixture(scope="session")
def _cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    state_dir = tmp_path_factory.mktemp("sandbox")
    cloud = Cloud(control.start(state_dir, port=0, task_seconds=TASK_SECONDS))
    yield cloud
    cloud.close()
    control.stop(state_dir)


@pytest.fixture
def cloud(_cloud: Cloud) -> Cloud:
    """An empty sandbox whose clock stands still."""
    control.reset(_cloud.sandbox)
    control.control(_cloud.sandbox, "POST", "clock", {"freeze": True})
    return _cloud
