"""Decodes the output `orch` of a root module, the contract between Terraform and orch. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.errors import ContractError
from orchestrator.model import BlueGreen, Contract, ServiceContract

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
_SERVICE_TEXTS = (
    "repository_url",
    "cluster",
    "service",
    "container",
    "skeleton_arn",
    "task_family",
    "log_group",
    "execution_role_arn",
    "task_role_arn",
)
_BLUE_GREEN_TEXTS = ("alternate_target_group_arn", "production_listener_rule_arn", "infrastructure_role_arn")


def decode(outputs: Mapping[str, object], *, root_module: str) -> Contract:
    """The contract in a root module's outputs (name → value). Raises ContractError that names each field that is missing
    or of the wrong type, and the module to mend.
    """
    problems: list[str] = []
    value = outputs.get("orch")
    if not isinstance(value, dict):
        raise ContractError(
            f"the root module {root_module} has no output object named `orch`",
            hint='add `output "orch" { value = module.environment.orch }` to its outputs.tf',
        )
    version = value.get("contract")
    if version != VERSION:
        raise ContractError(
            f"the output `orch` of {root_module} has contract = {version!r}; this orch reads {VERSION}",
            hint="upgrade orch or the Terraform modules, so that both speak the same contract",
        )
    account_id = _text(value, "account_id", "", problems)
    region = _text(value, "region", "", problems)
    services = value.get("services")
    decoded: list[ServiceContract] = []
    if not isinstance(services, dict) or not services:
        problems.append("services: must be an object with at least one service")
    else:
        decoded = [_service(name, service, problems) for name, service in sorted(services.items())]
    if problems:
        raise ContractError(
            f"the output `orch` of {root_module} is not complete",
            details=tuple(problems),
            hint="mend outputs.tf of that root module, or of the module whose output it hands on (terraform/modules/environment)",
        )
    return Contract(account_id, region, tuple(decoded), dict(outputs))


def _service(name: str, value: Any, problems: list[str]) -> ServiceContract:
    prefix = f"services.{name}"
    fields: Mapping[str, Any] = value if isinstance(value, dict) else {}
    texts = {key: _text(fields, key, f"{prefix}.", problems) for key in _SERVICE_TEXTS}
    desired_count = fields.get("desired_count")
    if isinstance(desired_count, bool) or not isinstance(desired_count, int | float) or desired_count < 0:
        problems.append(f"{prefix}.desired_count: {_fault(desired_count, 'a whole number')}")
        desired_count = 0
    return ServiceContract(
        name=name,
        desired_count=int(desired_count),
        blue_green=_blue_green(fields.get("blue_green"), f"{prefix}.blue_green", problems),
        **texts,
    )


def _blue_green(value: Any, prefix: str, problems: list[str]) -> BlueGreen | None:
    """Only services whose traffic ECS may shift have one."""
    if value is None:
        return None
    if not isinstance(value, dict):
        problems.append(f"{prefix}: {_fault(value, 'an object or null')}")
        return None
    texts = {key: _text(value, key, f"{prefix}.", problems) for key in _BLUE_GREEN_TEXTS}
    test_rule = None
    if value.get("test_listener_rule_arn") is not None:
        test_rule = _text(value, "test_listener_rule_arn", f"{prefix}.", problems)
    return BlueGreen(test_listener_rule_arn=test_rule, **texts)


def _text(fields: Mapping[str, Any], key: str, prefix: str, problems: list[str]) -> str:
    value = fields.get(key)
    if isinstance(value, str) and value:
        return value
    problems.append(f"{prefix}{key}: {_fault(value, 'a string')}")
    return ""


def _fault(value: object, expected: str) -> str:
    return "is missing" if value is None else f"must be {expected}, not {value!r}"
