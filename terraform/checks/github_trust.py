"""checkov: no role lets a GitHub Actions workflow in by a loose trust policy. CKV_ORCH_1 and CKV_ORCH_2.

CKV_ORCH_1 judges the statements of every `aws_iam_policy_document`, plain and dynamic, and JSON it takes from elsewhere;
CKV_ORCH_2 the JSON of every `aws_iam_role`, from jsonencode or as text. The rules are those of `web_identity`, whoever the
principal is: checkov's own CKV_AWS_358 and CKV_AWS_393 look only where the provider's ARN is literal, and take
`repo:acme/*` and ForAllValues: for safe.

Literals are judged here. A value that is an expression checkov cannot resolve is let through, and so is a role whose
policy is a reference: a document is judged where it stands, and the values by plan_trusts.py on the plan.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.data.base_check import BaseDataCheck
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck

# checkov puts this folder on sys.path.
from web_identity import dynamic_blocks, mentions_web_identity, problems, statement_of_block

NAME = "Ensure a trust policy for GitHub's OIDC provider asks the exact audience and subject"
_JSONENCODE = re.compile(r"(?:\$\{)?jsonencode\((.*)\)\}?", re.DOTALL)


class GitHubTrustDocument(BaseDataCheck):
    def __init__(self) -> None:
        super().__init__(
            name=NAME,
            id="CKV_ORCH_1",
            categories=[CheckCategories.IAM],
            supported_data=("aws_iam_policy_document",),
        )

    def scan_data_conf(self, conf: dict[str, Any]) -> CheckResult:
        blocks = [
            *_flat(conf.get("statement")),
            *(made for name, made in dynamic_blocks(conf) if name == "statement"),
        ]
        statements = [statement_of_block(block) if isinstance(block, dict) else block for block in blocks]
        found = problems({"Statement": statements}, expressions=True)
        for argument in ("source_policy_documents", "override_policy_documents"):
            for policy in _flat(conf.get(argument)):
                found += _problems_of_json(policy)
        return _result(self, found)


class GitHubTrustRole(BaseResourceCheck):
    def __init__(self) -> None:
        super().__init__(
            name=NAME,
            id="CKV_ORCH_2",
            categories=[CheckCategories.IAM],
            supported_resources=("aws_iam_role",),
        )

    def scan_resource_conf(self, conf: dict[str, Any]) -> CheckResult:
        found = [
            problem
            for policy in _flat(conf.get("assume_role_policy"))
            for problem in _problems_of_json(policy)
        ]
        return _result(self, found)


def _problems_of_json(policy: Any) -> list[str]:
    """Of a policy as checkov hands it on: parsed where it could, else the text of an expression."""
    parsed = _parsed(policy) if isinstance(policy, str) else policy
    if parsed is not None:
        return problems(parsed, expressions=True)
    return (
        ["cannot be read here: write it as an aws_iam_policy_document"]
        if mentions_web_identity(policy)
        else []
    )


def _parsed(text: str) -> Any:
    """JSON, or the argument of a jsonencode that checkov left alone but for writing it as Python; else None."""
    try:
        return json.loads(text)
    except ValueError:
        encoded = _JSONENCODE.fullmatch(text.strip())
    try:
        return ast.literal_eval(encoded[1]) if encoded else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _result(check: BaseDataCheck | BaseResourceCheck, found: list[str]) -> CheckResult:
    check.details += found
    return CheckResult.FAILED if found else CheckResult.PASSED


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [part for item in value for part in _flat(item)]
    return [] if value is None else [value]


document_check = GitHubTrustDocument()
role_check = GitHubTrustRole()
