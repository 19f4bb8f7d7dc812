"""What is left of a reviewed plan after its apply failed: terraform/compare's `remainder`, on plans of real Terraform."""

from __future__ import annotations

import pytest

from orchestrator.errors import TerraformError
from orchestrator.terraform import bundle, compare, runner
from tests.contract.test_bundle import KEY, nothing, open_root, seal, terraform

__all__ = ["open_root", "terraform"]

# The second is made once a file named `go` is there, which Terraform learns while it applies.
CONFIG = """
variable "password" {
  type      = string
  sensitive = true
}
resource "terraform_data" "first" {
  input = "v1"
}
resource "terraform_data" "second" {
  input = "v1 ${terraform_data.first.id}"
  lifecycle {
    precondition {
      condition     = terraform_data.first.id != "" && fileexists("${path.module}/go")
      error_message = "Not yet."
    }
  }
}
resource "terraform_data" "third" {
  input = [terraform_data.second.output, var.password]
}
output "orch" {
  value = { contract = 1, id = terraform_data.second.output }
}
"""
TAINTED = """
variable "password" {
  type      = string
  sensitive = true
}
resource "terraform_data" "first" {
  provisioner "local-exec" {
    command = "test -e go"
  }
}
"""
UNRELATED = 'resource "terraform_data" "unrelated" {\n  input = "x"\n}\n'


def fail_to_apply(root, blob):
    """Applies a sealed plan that cannot be applied to its end."""
    restored = runner.restore(root, bundle.open_(blob, KEY)[1])
    with pytest.raises(TerraformError):
        runner.apply(root, restored, nothing)
    restored.discard()


def remainder(root, blob):
    reviewed = runner.restore(root, bundle.open_(blob, KEY)[1])
    fresh = runner.plan(root, nothing)
    try:
        return compare.remainder(
            compare.Reading(reviewed.plan, runner.show(root, reviewed.file)),
            compare.Reading(fresh.plan, runner.show(root, fresh.file)),
        )
    finally:
        reviewed.discard()
        fresh.discard()


@pytest.fixture
def half_applied(open_root):
    """A root whose sealed plan failed after its first resource, and that can go on."""
    root = open_root(CONFIG)
    blob = seal(root)
    fail_to_apply(root, blob)
    (root.path / "go").touch()
    return root, blob


def test_what_is_done_and_what_is_left(half_applied):
    root, blob = half_applied
    told = remainder(root, blob)
    assert told.done == ("terraform_data.first: create",)
    # The second's input was unknown when it was reviewed, and is known now.
    assert told.left == ("terraform_data.second: create", "terraform_data.third: create")
    assert told.unreviewed == ()


def test_a_change_that_was_never_in_the_plan(half_applied, open_root):
    _root, blob = half_applied
    told = remainder(open_root(CONFIG + UNRELATED), blob)
    assert told.left == ("terraform_data.second: create", "terraform_data.third: create")
    assert told.unreviewed == (
        "terraform_data.unrelated: create, of which the reviewed plan knows nothing",
        "the configuration is not the same",
    )


def test_a_change_to_another_value_is_not_the_reviewed_one(half_applied, open_root):
    _root, blob = half_applied
    told = remainder(open_root(CONFIG, password="canary-of-today"), blob)
    assert told.left == ("terraform_data.second: create",)
    assert told.unreviewed == (
        "terraform_data.third: create, to other values than in the reviewed plan",
        "the values of input variables are not the same",
    )
    assert "canary" not in repr(told)


def test_what_was_made_by_half_is_to_be_destroyed_and_that_was_never_reviewed(open_root):
    root = open_root(TAINTED)
    blob = seal(root)
    fail_to_apply(root, blob)
    told = remainder(root, blob)
    assert told.left == ()
    assert told.unreviewed == (
        "terraform_data.first: delete then create, where the reviewed plan says create",
    )


def test_all_of_it_is_done(half_applied):
    root, blob = half_applied
    rest = runner.plan(root, nothing)
    runner.apply(root, rest, nothing)
    rest.discard()
    told = remainder(root, blob)
    assert len(told.done) == 3
    assert told.left == told.unreviewed == ()


def change(address, actions, *, after=None, unknown=None, deposed=None):
    item = {
        "address": address,
        "change": {"actions": list(actions), "before": None, "after": after, "after_unknown": unknown or {}},
    }
    return item | ({"deposed": deposed} if deposed else {})


def of(*changes, **more):
    return compare.Reading(plan=None, data={"resource_changes": list(changes), **more})


DELETE_FIRST, CREATE_FIRST = ("delete", "create"), ("create", "delete")


@pytest.mark.parametrize(
    ("reviewed", "fresh"),
    [
        pytest.param(
            change("a", DELETE_FIRST, after={"x": 1}), change("a", ["create"], after={"x": 1}), id="deleted"
        ),
        pytest.param(
            change("a", CREATE_FIRST, after={"x": 1}), change("a", ["delete"], deposed="8f1c"), id="created"
        ),
        pytest.param(
            change("a", ["update"], after={"x": [1, None]}, unknown={"x": [False, True]}),
            change("a", ["update"], after={"x": [1, 2]}),
            id="known now",
        ),
    ],
)
def test_the_second_half(reviewed, fresh):
    told = compare.remainder(of(reviewed), of(fresh))
    assert len(told.left) == 1
    assert told.done == told.unreviewed == ()


@pytest.mark.parametrize(
    ("reviewed", "fresh"),
    [
        pytest.param(
            change("a", DELETE_FIRST, after={"x": 1}), change("a", ["create"], after={"x": 2}), id="value"
        ),
        pytest.param(
            change("a", DELETE_FIRST, after={"x": 1}), change("a", ["delete"]), id="delete for good"
        ),
        pytest.param(
            change("a", ["create"], after={"x": 1}), change("a", ["delete"], deposed="8f1c"), id="deposed"
        ),
        pytest.param(
            change("a", ["update"], after={"x": 1}),
            change("a", ["update"], unknown={"x": True}, after={}),
            id="unknown now",
        ),
        pytest.param(
            change("a", ["update"], after={"x": [1]}),
            change("a", ["update"], after={"x": [1, 2]}),
            id="longer",
        ),
        pytest.param(
            change("a", ["update"], after={"x": 1}),
            change("a", ["update"], after={"x": 1, "y": 2}),
            id="more",
        ),
    ],
)
def test_no_part_of_the_reviewed_plan(reviewed, fresh):
    told = compare.remainder(of(reviewed), of(fresh))
    assert len(told.unreviewed) == 1
    assert told.left == ()


def test_an_output_that_was_not_to_change():
    new = {"x": {"actions": ["update"], "after": 2, "after_unknown": False}}
    told = compare.remainder(of(output_changes={}), of(output_changes=new))
    assert told.unreviewed == ("output x: not the same as in the reviewed plan",)
    assert compare.remainder(of(output_changes=new), of(output_changes=new)).unreviewed == ()
