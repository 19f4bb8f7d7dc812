"""Decides whether a plan may be applied to an environment, from its changes alone. Pure.

Terraform's own `prevent_destroy` takes no variable, so the protection that a setting turns on is held here, and once more by
the policy of the role that applies (permissions.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import RefusedError
from orchestrator.model import Action

if TYPE_CHECKING:
    from orchestrator.model import Plan

# What holds data, or what everything else hangs on: a new one in its place is empty, or has another address.
PROTECTED_TYPES = frozenset(
    {
        "aws_cloudwatch_log_group",
        "aws_ecr_repository",
        "aws_ecs_cluster",
        "aws_ecs_service",
        "aws_kms_key",
        "aws_lb",
        "aws_vpc",
    }
)


def require_allowed(plan: Plan, environment: str, *, is_protected: bool) -> None:
    """Raises RefusedError that names the rule and the addresses when the plan must not be applied."""
    if not is_protected:
        return
    lost = tuple(
        f"{change.address} ({change.action})"
        for change in plan.changes
        if change.type in PROTECTED_TYPES and change.action in {Action.DELETE, Action.REPLACE}
    )
    if lost:
        raise RefusedError(
            f"environment `{environment}` is protected, and the plan deletes or replaces what must stay",
            details=lost,
            hint=f"change the plan; if it is meant, set `protected = false` in [environments.{environment}] for it",
        )
