"""Judges the trust policies in a plan, where every value is known, by the rules of `web_identity`.

    terraform plan -out=PLAN && terraform show -json PLAN > PLAN.json
    python plan_trusts.py PLAN.json

Exit code 0: nothing loose. 1: a role lets a workflow in by a loose policy, or by one not known until apply; or the plan
makes an IAM user or another long-lived credential. 2: the file is no whole plan. Reads that file only, and prints addresses
and subjects, never another value of the plan. Needs Python's standard library alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from web_identity import LONG_LIVED, problems

if TYPE_CHECKING:
    from collections.abc import Iterator


class NoPlanError(Exception):
    """The document is not the JSON of a whole plan; judging it would pass over roles."""


def findings(plan: Any) -> list[str]:
    """One line for each thing that is wrong in `terraform show -json PLAN`. An empty list is a good plan."""
    found = []
    for resource in planned_resources(plan):
        address, kind = resource["address"], resource["type"]
        if kind in LONG_LIVED:
            found.append(f"{address}: is a long-lived credential, or serves one")
        if kind == "aws_iam_role":
            found += [f"{address}: {problem}" for problem in _trust_problems(resource["values"])]
    return found


def planned_resources(plan: Any) -> list[dict[str, Any]]:
    """The managed resources of every module, as they will be after the plan is applied."""
    planned = plan.get("planned_values") if isinstance(plan, dict) else None
    if not isinstance(planned, dict) or not isinstance(plan.get("format_version"), str):
        raise NoPlanError("holds no planned_values: make it with `terraform show -json PLAN`")
    if plan.get("errored"):
        raise NoPlanError("is a plan that ended in an error, and lacks what came after it")
    # Terraform leaves the root module out when a plan ends with nothing.
    return [
        resource for resource in _resources(planned.get("root_module", {})) if resource["mode"] == "managed"
    ]


def _trust_problems(values: dict[str, Any]) -> list[str]:
    policy = values.get("assume_role_policy")
    # What is not known yet has no key in planned_values.
    if not isinstance(policy, str):
        return ["trust policy is not known until apply: pass the provider's ARN as a variable"]
    try:
        return problems(json.loads(policy))
    except ValueError:
        return ["trust policy is no JSON"]


def _resources(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _resources(child)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: plan_trusts.py PLAN.json", file=sys.stderr)
        return 2
    try:
        plan = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        found = findings(plan)
        roles = sum(resource["type"] == "aws_iam_role" for resource in planned_resources(plan))
    except (OSError, ValueError, NoPlanError) as error:
        print(f"plan_trusts: {arguments[0]}: {error}", file=sys.stderr)
        return 2
    print(*found, f"{roles} roles judged, {len(found)} findings", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
