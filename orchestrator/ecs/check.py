"""A check and its outcomes, and what a role's trust policy lets in. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.model import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Check:
    """A check that is about to be judged."""

    id: str
    title: str
    subject: str

    def ok(self, detail: str) -> Finding:
        return Finding(self.id, self.title, self.subject, Outcome.OK, detail)

    def warn(self, detail: str, hint: str) -> Finding:
        return Finding(self.id, self.title, self.subject, Outcome.WARN, detail, hint)

    def fail(self, detail: str, hint: str) -> Finding:
        return Finding(self.id, self.title, self.subject, Outcome.FAIL, detail, hint)

    def skip(self, reason: str) -> Finding:
        return Finding(self.id, self.title, self.subject, Outcome.SKIP, reason)


def trust_problem(policy: Mapping[str, Any], account_id: str, principal: str) -> str:
    """Why a service of AWS, such as ecs-tasks.amazonaws.com, could not take the role on for this account; empty when it can.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
    """
    problem = f"its trust does not let {principal} in"
    for statement in _listed(policy.get("Statement")):
        named = statement.get("Principal", {})
        trusted = _listed(named.get("Service")) if isinstance(named, dict) else []
        actions = {str(action).lower() for action in _listed(statement.get("Action"))}
        is_fitting = principal in trusted and actions & {"sts:assumerole", "sts:*", "*"}
        if statement.get("Effect") != "Allow" or not is_fitting:
            continue
        accounts = _source_accounts(statement.get("Condition", {}))
        if not accounts or account_id in accounts:
            return ""
        problem = f"its trust asks for aws:SourceAccount {', '.join(accounts)}, and the service runs in {account_id}"
    return problem


def _source_accounts(conditions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        str(value)
        for test, wanted in conditions.items()
        if test in {"StringEquals", "StringEqualsIfExists"}
        for key, values in wanted.items()
        if key.lower() == "aws:sourceaccount"
        for value in _listed(values)
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
