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
    assert [(output.name, output.action) for output in plan.output_changes] == [("x", Action.UPDATE)]
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


@pytest.mark.parametrize(
    ("kind", "before", "after", "is_drift"),
    [
        ("aws_x", {"tags": {"a": "1"}}, {"tags": {"a": "2"}}, True),
        ("aws_x", {"name": "a"}, None, True),
        ("aws_x", {"tags": None, "rules": []}, {"tags": {}, "rules": None}, False),
        # Nothing in the configuration depends on it.
        ("aws_x", {"computed": "a"}, {"computed": "b"}, False),
        # orch's own releases, handed to it by ignore_changes.
        ("aws_ecs_service", {"task_definition": "a:1"}, {"task_definition": "a:2"}, False),
        ("aws_ecs_service", {"desired_count": 0, "name": "a"}, {"desired_count": 1, "name": "b"}, True),
    ],
)
def test_drift_is_what_somebody_else_changed(kind, before, after, is_drift):
    change = {"before": before, "after": after}
    relevant = [
        {"resource": f"module.m.{kind}.a", "attribute": [name]}
        for name in ("tags", "rules", "name", "task_definition", "desired_count")
    ]
    address = f'module.m["k"].{kind}.a'
    data = {
        "resource_drift": [resource(address, "update", type=kind, change=change)],
        "relevant_attributes": relevant,
        "applyable": False,
    }
    assert [change.address for change in plan_json.decode(data).drift] == ([address] if is_drift else [])


def test_the_contract_is_known_as_far_as_the_plan_knows_it():
    data = {"output_changes": {"orch": {"actions": ["create"], "after": {"account_id": "1"}}}}
    assert plan_json.decode(data).contract == {"account_id": "1"}


def test_what_aws_would_refuse_to_delete_is_named():
    def deleted(address: str, kind: str, **before) -> dict:
        return resource(address, "delete", type=kind, change={"before": before})

    plan = plan_json.decode(
        {
            "resource_changes": [
                deleted("lb.a", "aws_lb", enable_deletion_protection=True),
                deleted("lb.b", "aws_lb", enable_deletion_protection=False),
                deleted("ecr.a", "aws_ecr_repository", force_delete=False),
                deleted("ecr.b", "aws_ecr_repository", force_delete=True),
                resource(
                    "ecr.c", "update", type="aws_ecr_repository", change={"before": {"force_delete": False}}
                ),
            ],
            "applyable": True,
        }
    )
    assert plan.undeletable == (
        "lb.a: deletion_protection is on",
        "ecr.a: it keeps its images (force_delete is off)",
    )
    assert [change.type for change in plan.changes][:3] == ["aws_lb", "aws_lb", "aws_ecr_repository"]


def test_a_plan_to_destroy_is_about_the_outputs_of_the_state():
    before = {"o": {"value": 1}, "s": {"value": "hunter2", "sensitive": True}}
    data = {"planned_values": {}, "prior_state": {"values": {"outputs": before}}}
    assert plan_json.prior_outputs(data) == {"o": 1}
    assert plan_json.prior_outputs({}) == {}
