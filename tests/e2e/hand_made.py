"""Root modules that only tell of services, which this file made by hand (`make`) or the real modules did (`tell`): what Terraform
does then takes a second, where a plan with the AWS provider takes five of CPU time.

For tests of what comes after Terraform; that Terraform's modules make such a service is held by test_apply.py and others.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.e2e.conftest import Project

ACCOUNT, REGION, CLUSTER = "111111111111", "eu-central-1", "demo-dev"
BUCKET = f"orch-state-{ACCOUNT}-{REGION}"
BREAKER = {
    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
}
ROOT = """
terraform {{
  backend "s3" {{
    key          = "dev/terraform.tfstate"
    use_lockfile = true
  }}
}}
variable "step" {{
  type    = string
  default = "first"
}}
resource "terraform_data" "step" {{
  triggers_replace = var.step
  provisioner "local-exec" {{
    command = "sleep 1"
  }}
}}
output "orch" {{
  value = {{
    contract   = 1
    account_id = "{account}"
    region     = "{region}"
    services = {{ {services} }}
  }}
}}
"""
SERVICE = """
      {name} = {{
        repository_url     = "{repository_url}"
        cluster            = "{cluster}"
        service            = "{name}"
        container          = "{name}"
        skeleton_arn       = "{skeleton_arn}"
        task_family        = "{family}"
        log_group          = "/ecs/{cluster}/{name}"
        execution_role_arn = "{execution_role}"
        task_role_arn      = "{task_role}"
        desired_count      = 1
      }}
"""


TOLD = """
terraform {{
  backend "s3" {{
    key          = "{env}/told.tfstate"
    use_lockfile = true
  }}
}}
output "orch" {{
  value = jsondecode({outputs})
}}
"""


def tell(project: Project, env: str, account_id: str = ACCOUNT) -> None:
    """Puts in place of the environment's root module, which is applied, one that only has its output, in a state of its own. What
    the real modules made goes on as it is, and a plan is empty.
    """
    s3, bucket = project.client("s3", account_id), f"orch-state-{account_id}-{REGION}"
    state = json.loads(s3.get_object(Bucket=bucket, Key=f"{env}/terraform.tfstate")["Body"].read())
    orch = state["outputs"]["orch"]["value"]
    told = state | {"resources": [], "check_results": None}
    told["outputs"] = {"orch": {"value": orch, "type": _type(orch)}}
    s3.put_object(Bucket=bucket, Key=f"{env}/told.tfstate", Body=json.dumps(told).encode())
    outputs = json.dumps(orch)
    root = _emptied(project, env)
    (root / "main.tf").write_text(TOLD.format(env=env, outputs=json.dumps(outputs)))
    project.commit(f"A root module that only tells of {env}")


def _type(value: object) -> object:
    """The type that Terraform's jsondecode gives to the value, as a state writes it."""
    match value:
        case dict():
            return ["object", {key: _type(member) for key, member in value.items()}]
        case list():
            return ["tuple", [_type(member) for member in value]]
        case None:
            return "dynamic"
    return {bool: "bool", str: "string"}.get(type(value), "number")


def _emptied(project: Project, env: str) -> Path:
    root = project.path / "terraform/envs" / env
    for file in (*root.glob("*.tf*"), root / ".terraform.lock.hcl"):
        file.unlink(missing_ok=True)
    shutil.rmtree(root / ".terraform", ignore_errors=True)
    return root


def make(project: Project, *names: str, secrets: Mapping[str, str] | None = None) -> None:
    """Services of `dev` with these names, on their skeletons and without a task, and a root module that tells of them. `secrets`
    are those of each service: name → ARN.
    """
    project.client("ecs").create_cluster(clusterName=CLUSTER)
    told = "".join(_make(project, name, secrets or {}) for name in names)
    (_emptied(project, "dev") / "main.tf").write_text(
        ROOT.format(account=ACCOUNT, region=REGION, services=told)
    )
    orch_toml = (project.path / "orch.toml").read_text()
    for name in names:
        if f"[services.{name}]" not in orch_toml:
            orch_toml += f'\n[services.{name}]\ncontext = "examples/hello"\n'
    (project.path / "orch.toml").write_text(orch_toml)
    project.commit("Services made by hand")
    # Makes the state bucket.
    project.orch("plan", "--env", "dev", "--sandbox")


def _make(project: Project, name: str, secrets: Mapping[str, str] | None = None) -> str:
    ecs, family = project.client("ecs"), f"{CLUSTER}-{name}"
    repository = project.client("ecr").create_repository(
        repositoryName=f"{CLUSTER}/{name}", imageTagMutability="IMMUTABLE"
    )["repository"]["repositoryUri"]
    project.client("logs").create_log_group(logGroupName=f"/ecs/{CLUSTER}/{name}")
    # One of the default VPC, which every account has.
    subnet = project.client("ec2").describe_subnets()["Subnets"][0]
    execution_role, task_role = _role(project, f"{name}-execution"), _role(project, f"{name}-task")
    skeleton = ecs.register_task_definition(
        family=family,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        executionRoleArn=execution_role,
        taskRoleArn=task_role,
        containerDefinitions=[
            {
                "name": name,
                "image": f"{repository}:skeleton",
                "essential": True,
                "secrets": [{"name": key, "valueFrom": arn} for key, arn in (secrets or {}).items()],
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": f"/ecs/{CLUSTER}/{name}",
                        "awslogs-region": REGION,
                        "awslogs-stream-prefix": name,
                    },
                },
            }
        ],
    )["taskDefinition"]["taskDefinitionArn"]
    ecs.create_service(
        cluster=CLUSTER,
        serviceName=name,
        taskDefinition=skeleton,
        desiredCount=0,
        deploymentConfiguration=BREAKER,
        networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet["SubnetId"]]}},
    )
    return SERVICE.format(
        name=name,
        repository_url=repository,
        cluster=CLUSTER,
        skeleton_arn=skeleton,
        family=family,
        execution_role=execution_role,
        task_role=task_role,
    )


def _role(project: Project, name: str) -> str:
    trust = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",'
        ' "Principal": {"Service": "ecs-tasks.amazonaws.com"}}]}'
    )
    made = project.client("iam").create_role(RoleName=f"{CLUSTER}-{name}", AssumeRolePolicyDocument=trust)
    arn: str = made["Role"]["Arn"]
    return arn
