"""A service that this file makes by hand, with a root module that only tells of it: what Terraform does then takes a second.

For tests of what comes after Terraform; that Terraform's modules make such a service is held by test_apply.py and others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        execution_role_arn = "{role}"
        task_role_arn      = "{role}"
        desired_count      = 1
      }}
"""


def make(project: Project, *names: str) -> None:
    """Services of `dev` with these names, on their skeletons and without a task, and a root module that tells of them."""
    project.client("ecs").create_cluster(clusterName=CLUSTER)
    told = "".join(_make(project, name) for name in names)
    root = project.path / "terraform/envs/dev"
    for file in (*root.glob("*.tf*"), root / ".terraform.lock.hcl"):
        file.unlink(missing_ok=True)
    (root / "main.tf").write_text(ROOT.format(account=ACCOUNT, region=REGION, services=told))
    orch_toml = (project.path / "orch.toml").read_text()
    for name in names:
        if f"[services.{name}]" not in orch_toml:
            orch_toml += f'\n[services.{name}]\ncontext = "examples/hello"\n'
    (project.path / "orch.toml").write_text(orch_toml)
    project.commit("Services made by hand")
    # Makes the state bucket.
    project.orch("plan", "--env", "dev", "--sandbox")


def _make(project: Project, name: str) -> str:
    ecs, family = project.client("ecs"), f"{CLUSTER}-{name}"
    repository = project.client("ecr").create_repository(
        repositoryName=f"{CLUSTER}/{name}", imageTagMutability="IMMUTABLE"
    )["repository"]["repositoryUri"]
    project.client("logs").create_log_group(logGroupName=f"/ecs/{CLUSTER}/{name}")
    role = _role(project, name)
    skeleton = ecs.register_task_definition(
        family=family,
        executionRoleArn=role,
        taskRoleArn=role,
        containerDefinitions=[
            {
                "name": name,
                "image": f"{repository}:skeleton",
                "memory": 128,
                "essential": True,
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
    )
    return SERVICE.format(
        name=name,
        repository_url=repository,
        cluster=CLUSTER,
        skeleton_arn=skeleton,
        family=family,
        role=role,
    )


def _role(project: Project, name: str) -> str:
    trust = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",'
        ' "Principal": {"Service": "ecs-tasks.amazonaws.com"}}]}'
    )
    made = project.client("iam").create_role(RoleName=f"{CLUSTER}-{name}", AssumeRolePolicyDocument=trust)
    arn: str = made["Role"]["Arn"]
    return arn
