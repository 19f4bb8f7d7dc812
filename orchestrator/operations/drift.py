"""`orch drift`: what somebody changed outside Terraform, told apart from what this checkout changes.

Comes in: how environments planned (plan_all). Goes out: a Drift for each that has a plan. Pure.

A plan refreshes the state first, so one plan knows both: what differs from the last apply (`resource_drift`, of which only what
this configuration depends on counts) and what an apply would do now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.model import Drift

if TYPE_CHECKING:
    from orchestrator.model import Plan


def drift_of(environment: str, plan: Plan) -> Drift:
    """Sorts a plan's changes and drift."""
    planned = {change.address for change in plan.changes}
    drifted = {change.address for change in plan.drift}
    return Drift(
        environment=environment,
        reverted=tuple(change for change in plan.drift if change.address in planned),
        kept=tuple(change for change in plan.drift if change.address not in planned),
        yours=tuple(change for change in plan.changes if change.address not in drifted),
    )
