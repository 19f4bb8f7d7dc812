from __future__ import annotations

import pytest

from orchestrator.model import Action
from orchestrator.terraform import plan_json


def resource(address: str, *actions: str, **extra) -> dict:
    change = {"actions": list(actions), **extra.pop("change", {})}
    return {"address": address, "mode": "managed", "change": change, **extra}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (resource("a", "create"), Action.CREATE),
        (resource("a", "update"), Action.UPDATE),
        (resource("a", "delete"), Action.DELETE),
        (resource("a", "forget"), Action.FORGET),
        (resource("a", "delete", "create"), Action.REPLACE),
        (resource("a", "create", "delete"), Action.REPLACE),
        (resource("a", "create", "forget"), Action.REPLACE),
        (resource("a", "no-op", previous_address="b"), Action.MOVE),
        (resource("a", "no-op", change={"importing": {"id": "x"}}), Action.IMPORT),
        (resource("a", "update", change={"importing": {"id": "x"}}), Action.IMPORT),
        (resource("a", "no-op"), None),
        (resource("data.a", "read", mode="data"), None),
    ],
)
def test_each_kind_of_change(item, expected):
    plan = plan_json.decode({"resource_changes": [item], "applyable": True})
    assert [change.action for change in plan.changes] == ([expected] if expected else [])


def test_a_replace_counts_once_and_forget_is_visible():
    items = [resource("a", "delete", "create"), resource("b", "forget"), resource("c", "create")]
    plan = plan_json.decode({"resource_changes": items, "applyable": True})
    assert plan.summary == "1 to create, 1 to replace, 1 to forget"


def test_outputs_alone_are_changes():
    data = {"output_changes": {"x": {"actions": ["update"]}, "y": {"actions": ["no-op"]}}, "applyable": True}
    plan = plan_json.decode(data)
    assert plan.output_changes == ("x",)
    assert plan.summary == "1 output to change"


def test_nothing_to_do():
    plan = plan_json.decode({"resource_changes": [resource("a", "no-op")], "applyable": False})
    assert (plan.summary, plan.is_applicable) == ("no changes", False)


def test_no_value_leaves_the_module():
    secret = "hunter2-canary"
    item = resource("aws_x.a", "update", change={"before": {"p": secret}, "after": {"p": secret}})
    data = {
        "resource_changes": [item],
        "variables": {"v": {"value": secret}},
        "prior_state": {"values": {"outputs": {"o": {"value": secret, "sensitive": True}}}},
        "planned_values": {"outputs": {"o": {"value": secret, "sensitive": True}, "open": {"value": 1}}},
        "applyable": True,
    }
    assert secret not in repr(plan_json.decode(data))
    assert plan_json.outputs(data) == {"open": 1}


def test_drift_is_named():
    data = {"resource_drift": [resource("aws_x.a", "update"), resource("aws_x.b", "no-op")], "applyable": True}
    assert plan_json.decode(data).drifted == ("aws_x.a",)


def test_the_contract_is_known_as_far_as_the_plan_knows_it():
    data = {"output_changes": {"orch": {"actions": ["create"], "after": {"account_id": "1"}}}}
    assert plan_json.decode(data).contract == {"account_id": "1"}
