"""Terraform's AWS provider against the sandbox: what it applies, it finds again unchanged."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from orchestrator.sandbox import control
from orchestrator.terraform import mirror
from tests.conftest import require_tool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.sandbox_fixtures import Cloud

pytest_plugins = ("tests.contract.sandbox_fixtures",)

CONFIGURATION = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
  backend "s3" {
    bucket       = "state"
    key          = "one.tfstate"
    region       = "eu-central-1"
    use_lockfile = true
  }
}
provider "aws" {
  default_tags { tags = { Environment = "test" } }
}
data "aws_vpc" "default" { default = true }
data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}
data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}
resource "aws_ecr_repository" "app" {
  name                 = "team/app"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true
}
resource "aws_cloudwatch_log_group" "app" {
  name              = "/ecs/app"
  retention_in_days = 30
}
resource "aws_iam_role" "execution" {
  name               = "execution"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}
resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}
resource "aws_security_group" "app" {
  name_prefix = "app-"
  vpc_id      = data.aws_vpc.default.id
}
resource "aws_vpc_security_group_egress_rule" "self" {
  security_group_id            = aws_security_group.app.id
  description                  = "To each other"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.app.id
}
resource "aws_ecs_cluster" "main" {
  name = "main"
  setting {
    name  = "containerInsights"
    value = "enhanced"
  }
}
resource "aws_ecs_task_definition" "skeleton" {
  family                   = "app"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution.arn
  track_latest             = false
  skip_destroy             = true
  container_definitions = jsonencode([{
    name           = "app", image = "${aws_ecr_repository.app.repository_url}:skeleton", essential = true, cpu = 0
    environment    = [], mountPoints = [], volumesFrom = [], systemControls = []
    portMappings   = [{ containerPort = 8080, hostPort = 8080, protocol = "tcp" }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group" = aws_cloudwatch_log_group.app.name, "awslogs-region" = "eu-central-1"
        "awslogs-stream-prefix" = "app"
      }
    }
  }])
}
resource "aws_ecs_service" "full" {
  name                          = "web"
  cluster                       = aws_ecs_cluster.main.arn
  task_definition               = aws_ecs_task_definition.skeleton.arn
  desired_count                 = 0
  launch_type                   = "FARGATE"
  platform_version              = "LATEST"
  propagate_tags                = "SERVICE"
  enable_ecs_managed_tags       = true
  availability_zone_rebalancing = "ENABLED"
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets         = data.aws_subnets.default.ids
    security_groups = [aws_security_group.app.id]
  }
  lifecycle { ignore_changes = [task_definition, desired_count] }
}
resource "aws_ecs_service" "bare" {
  name            = "bare"
  cluster         = aws_ecs_cluster.main.arn
  task_definition = aws_ecs_task_definition.skeleton.arn
  desired_count   = 0
  launch_type     = "FARGATE"
  network_configuration { subnets = data.aws_subnets.default.ids }
}
resource "aws_appautoscaling_target" "web" {
  min_capacity       = 0
  max_capacity       = 4
  resource_id        = "service/${aws_ecs_cluster.main.name}/${aws_ecs_service.full.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  service_namespace  = "ecs"
}
"""


class Terraform:
    def __init__(self, program: str, folder: Path, environment: dict[str, str]) -> None:
        self._program, self._folder, self._environment = program, folder, environment

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, *arguments, "-no-color"],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def terraform(cloud: Cloud, tmp_path: Path) -> Terraform:
    program = require_tool("terraform")
    control.control(cloud.sandbox, "POST", "clock", {"freeze": False})
    found = mirror.cli_config("", os.environ, folder=tmp_path)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))},
        **control.aws_environment(cloud.sandbox, account_id="111111111111", region="eu-central-1"),
        **({"TF_CLI_CONFIG_FILE": found.path} if found.path else {}),
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
    }
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "main.tf").write_text(CONFIGURATION)
    cloud.client("s3").create_bucket(
        Bucket="state", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    return Terraform(program, folder, environment)


def test_a_second_plan_is_empty_also_after_a_rollout(terraform: Terraform, cloud: Cloud) -> None:
    started = terraform.run("init")
    if "Failed to query available provider packages" in started.stderr and not os.environ.get(
        "ORCH_REQUIRE_TOOLS"
    ):
        pytest.skip("neither a provider mirror nor the registry can be reached")
    assert started.returncode == 0, started.stderr
    applied = terraform.run("apply", "-auto-approve")
    assert applied.returncode == 0, applied.stderr

    cloud.ecs.update_service(
        cluster="main", service="web", taskDefinition=cloud_revision(cloud), desiredCount=2
    )
    cloud.advance(60)
    assert cloud.primary()["rolloutState"] == "COMPLETED"
    assert cloud.service()["runningCount"] == 2
    # What is not found again as it was made, a rollout does not mend: this plan asks for both.
    after = terraform.run("plan", "-detailed-exitcode")
    assert after.returncode == 0, after.stdout

    # use_lockfile: while somebody holds the lock, S3 refuses the second holder.
    cloud.client("s3").put_object(Bucket="state", Key="one.tfstate.tflock", Body=b'{"ID":"somebody"}')
    locked = terraform.run("plan", "-lock-timeout=0s")
    assert locked.returncode == 1
    assert "Error acquiring the state lock" in locked.stderr
    cloud.client("s3").delete_object(Bucket="state", Key="one.tfstate.tflock")

    destroyed = terraform.run("destroy", "-auto-approve")
    assert destroyed.returncode == 0, destroyed.stderr
    assert cloud.ecr.describe_repositories()["repositories"] == []


def cloud_revision(cloud: Cloud) -> str:
    """Registers the skeleton again with an image that can be pulled."""
    skeleton = cloud.ecs.describe_task_definition(taskDefinition="app")["taskDefinition"]
    copied = ("family", "networkMode", "requiresCompatibilities", "cpu", "memory", "executionRoleArn")
    container = {**skeleton["containerDefinitions"][0], "image": "registry.example/app:1"}
    made = cloud.ecs.register_task_definition(
        **{name: skeleton[name] for name in copied}, containerDefinitions=[container]
    )
    arn: str = made["taskDefinition"]["taskDefinitionArn"]
    return arn
