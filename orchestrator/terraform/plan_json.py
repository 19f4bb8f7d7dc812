"""`terraform show -json` → Plan. Pure.

The JSON holds secrets in clear (Terraform never redacts it), so nothing but addresses, actions and the output `orch` leaves
this module. Format: https://developer.hashicorp.com/terraform/internals/json-format
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.model import Action, Change, Plan

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


def decode(data: Mapping[str, Any]) -> Plan:
    """The plan in the JSON of `terraform show -json PLANFILE`."""
    return Plan(
        changes=tuple(change for item in data.get("resource_changes", ()) if (change := _change(item))),
        drifted=tuple(item["address"] for item in data.get("resource_drift", ()) if _is_real_drift(item)),
        output_changes=tuple(
            name
            for name, change in data.get("output_changes", {}).items()
            if change.get("actions") != ["no-op"]
        ),
        is_applicable=bool(data.get("applyable", False)),
        terraform_version=str(data.get("terraform_version", "")),
        contract=_planned_contract(data),
    )


def outputs(data: Mapping[str, Any]) -> dict[str, object]:
    """The non-sensitive outputs as they will be after apply, as far as the plan knows them; name → value."""
    planned = data.get("planned_values", {}).get("outputs", {})
    return {
        name: output["value"]
        for name, output in planned.items()
        if not output.get("sensitive") and "value" in output
    }


def _change(item: Mapping[str, Any]) -> Change | None:
    change = item["change"]
    actions = tuple(change["actions"])
    if item.get("mode") == "data":
        # Reading a data source changes nothing; a plan of reads alone is "no changes" to a person.
        return None
    if change.get("importing") is not None:
        return Change(item["address"], Action.IMPORT)
    if actions == ("no-op",):
        return Change(item["address"], Action.MOVE) if item.get("previous_address") else None
    return Change(item["address"], _ACTIONS[actions])


def _is_real_drift(item: Mapping[str, Any]) -> bool:
    return tuple(item["change"]["actions"]) != ("no-op",) and item.get("mode") != "data"


def _planned_contract(data: Mapping[str, Any]) -> dict[str, object]:
    after = data.get("output_changes", {}).get("orch", {}).get("after")
    return dict(after) if isinstance(after, dict) else {}
