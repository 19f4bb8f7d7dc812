"""`terraform show -json` → Plan. Pure.

The JSON holds secrets in clear (Terraform never redacts it), so nothing but addresses, actions and the output `orch` leaves
this module. Format: https://developer.hashicorp.com/terraform/internals/json-format
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from orchestrator.model import Action, Change, OutputChange, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

_ACTIONS = {
    ("create",): Action.CREATE,
    ("update",): Action.UPDATE,
    ("delete",): Action.DELETE,
    ("forget",): Action.FORGET,
    ("read",): Action.READ,
    ("delete", "create"): Action.REPLACE,
    ("create", "delete"): Action.REPLACE,
    ("create", "forget"): Action.REPLACE,
}
_INDEX = re.compile(r"\[[^\]]*\]")
# Attributes that the module hands to orch (`ignore_changes`): their changes are releases, not drift.
_OWNED_BY_ORCH = {"aws_ecs_service": frozenset({"task_definition", "desired_count"})}


def decode(data: Mapping[str, Any]) -> Plan:
    """The plan in the JSON of `terraform show -json PLANFILE`."""
    return Plan(
        changes=tuple(change for item in data.get("resource_changes", ()) if (change := _change(item))),
        drift=_drift(data),
        output_changes=tuple(
            OutputChange(name, _ACTIONS[tuple(change["actions"])])
            for name, change in data.get("output_changes", {}).items()
            if change.get("actions") != ["no-op"]
        ),
        is_applicable=bool(data.get("applyable", False)),
        terraform_version=str(data.get("terraform_version", "")),
        contract=_planned_contract(data),
        undeletable=_undeletable(data),
    )


def outputs(data: Mapping[str, Any]) -> dict[str, object]:
    """The non-sensitive outputs as they will be after apply, as far as the plan knows them; name → value."""
    return open_values(data.get("planned_values", {}).get("outputs", {}))


def prior_outputs(data: Mapping[str, Any]) -> dict[str, object]:
    """The non-sensitive outputs as they are before apply: what a plan to destroy is about; name → value."""
    return open_values(data.get("prior_state", {}).get("values", {}).get("outputs", {}))


def open_values(described: Mapping[str, Any]) -> dict[str, object]:
    """Outputs as Terraform's JSON describes them → name → value, without the sensitive ones."""
    return {
        name: output["value"]
        for name, output in described.items()
        if not output.get("sensitive") and "value" in output
    }


def _change(item: Mapping[str, Any]) -> Change | None:
    change, kind = item["change"], str(item.get("type", ""))
    actions = tuple(change["actions"])
    if item.get("mode") == "data":
        # Reading a data source changes nothing; a plan of reads alone is "no changes" to a person.
        return None
    if change.get("importing") is not None:
        return Change(item["address"], Action.IMPORT, kind)
    if actions == ("no-op",):
        return Change(item["address"], Action.MOVE, kind) if item.get("previous_address") else None
    return Change(item["address"], _ACTIONS[actions], kind)


def _undeletable(data: Mapping[str, Any]) -> tuple[str, ...]:
    """What AWS will refuse to delete, so that a person hears it before the first deletion and not after the twentieth."""
    found = []
    for item in data.get("resource_changes", ()):
        before = item["change"].get("before") or {}
        if "delete" not in item["change"]["actions"]:
            continue
        if item.get("type") == "aws_lb" and before.get("enable_deletion_protection"):
            found.append(f"{item['address']}: deletion_protection is on")
        if item.get("type") == "aws_ecr_repository" and before.get("force_delete") is False:
            found.append(f"{item['address']}: it keeps its images (force_delete is off)")
    return tuple(found)


def _drift(data: Mapping[str, Any]) -> tuple[Change, ...]:
    """Resources that somebody else changed in a way that this configuration depends on, as Terraform itself selects them.

    A refresh alone turns null into {}, or fills in what other resources added: neither is drift.
    """
    relevant: dict[str, set[object]] = {}
    for item in data.get("relevant_attributes", ()):
        relevant.setdefault(item["resource"], set()).add((item.get("attribute") or [None])[0])
    found = []
    for item in data.get("resource_drift", ()):
        change = item["change"]
        if item.get("mode") == "data" or change["actions"] == ["no-op"]:
            continue
        attributes = relevant.get(_INDEX.sub("", item["address"]), set()) | relevant.get(
            item["address"], set()
        )
        owned = _OWNED_BY_ORCH.get(item.get("type", ""), frozenset())
        if change.get("after") is None or _changed(change) & attributes - owned:
            action = Action.DELETE if change.get("after") is None else Action.UPDATE
            found.append(Change(item["address"], action, str(item.get("type", ""))))
    return tuple(found)


def _changed(change: Mapping[str, Any]) -> set[object]:
    before, after = change.get("before") or {}, change.get("after") or {}
    return {
        key
        for key in before.keys() | after.keys()
        if _significant(before.get(key)) != _significant(after.get(key))
    }


def _significant(value: Any) -> Any:
    if isinstance(value, dict):
        members = {key: _significant(member) for key, member in value.items()}
        return {key: member for key, member in members.items() if member is not None} or None
    if isinstance(value, list):
        return [_significant(member) for member in value] or None
    return value if value != "" else None


def _planned_contract(data: Mapping[str, Any]) -> dict[str, object]:
    after = data.get("output_changes", {}).get("orch", {}).get("after")
    return dict(after) if isinstance(after, dict) else {}
