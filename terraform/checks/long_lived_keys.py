"""checkov: no IAM user, no access key, nothing else that outlives a run and can leak. CKV_ORCH_3.

GitHub Actions gets its credentials by OIDC, tasks get theirs by their role, people by IAM Identity Center; so there is
nothing for which a configuration would need one.
"""

from __future__ import annotations

from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck

# checkov puts this folder on sys.path.
from web_identity import LONG_LIVED


class LongLivedKey(BaseResourceCheck):
    def __init__(self) -> None:
        super().__init__(
            name="Ensure no IAM user or other long-lived credential is made",
            id="CKV_ORCH_3",
            categories=[CheckCategories.IAM],
            supported_resources=LONG_LIVED,
        )

    def scan_resource_conf(self, conf: dict[str, Any]) -> CheckResult:
        del conf  # That it stands there is what is wrong.
        return CheckResult.FAILED


check = LongLivedKey()
