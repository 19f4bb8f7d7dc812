from __future__ import annotations

import pytest

from orchestrator.errors import RefusedError
from orchestrator.model import Action, Change, Plan
from orchestrator.terraform import gates


def plan(*changes: Change) -> Plan:
    return Plan(changes, (), (), is_applicable=True, terraform_version="1.11.4", contract={})


def test_a_protected_environment_refuses_to_lose_what_holds_data():
    lost = plan(
        Change("module.e.aws_ecr_repository.this", Action.DELETE, "aws_ecr_repository"),
        Change("module.e.aws_ecs_service.this", Action.REPLACE, "aws_ecs_service"),
        Change("module.e.aws_ecs_task_definition.skeleton", Action.REPLACE, "aws_ecs_task_definition"),
        Change("module.e.aws_ecs_cluster.this", Action.UPDATE, "aws_ecs_cluster"),
    )
    with pytest.raises(RefusedError, match="environment `prod` is protected") as refused:
        gates.require_allowed(lost, "prod", is_protected=True)
    assert refused.value.exit_code == 20
    assert refused.value.details == (
        "module.e.aws_ecr_repository.this (delete)",
        "module.e.aws_ecs_service.this (replace)",
    )


def test_others_and_harmless_plans_pass():
    lost = plan(Change("aws_ecr_repository.this", Action.DELETE, "aws_ecr_repository"))
    gates.require_allowed(lost, "dev", is_protected=False)
    made = plan(Change("aws_ecr_repository.this", Action.CREATE, "aws_ecr_repository"))
    gates.require_allowed(made, "prod", is_protected=True)
