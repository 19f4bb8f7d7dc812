"""The rules of tflint (its terraform plugin, preset "all") that matter here, and a few of our own, over the parsed HCL.

tflint is no package of PyPI, npm or Debian. Nothing here runs Terraform.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import hcl2
import pytest

from tests.contract.test_terraform_modules import FOLDERS, MODULES, REFUSED_TEST, REPOSITORY, ROOTS

STANDARD = {"main.tf", "variables.tf", "outputs.tf", "versions.tf"}
NAMED = ("variable", "output", "module", "resource", "data")
# What would make a credential, or hold a secret's value, in Terraform.
FORBIDDEN = {
    "aws_iam_access_key",
    "aws_iam_user",
    "aws_iam_user_login_profile",
    "aws_iam_user_policy",
    "aws_iam_user_policy_attachment",
    "aws_secretsmanager_secret_version",
    "aws_ssm_parameter",
}
# `any` where another module holds the type, and the root checks the names of its attributes.
UNTYPED = {"services"}
# "There are as many as the condition says: one or none."
ONE_OR_NONE = re.compile(r"\? \(?(0 : 1|1 : 0)\)?}?$")


@dataclass(frozen=True)
class Block:
    """One block: of a resource `address` is TYPE.NAME, of a block without labels empty."""

    file: str
    kind: str
    address: str
    body: dict[str, Any]

    @property
    def name(self) -> str:
        return self.address.rsplit(".", 1)[-1]

    @property
    def text(self) -> str:
        return json.dumps(self.body)


@cache
def blocks(folder: str) -> tuple[Block, ...]:
    """The blocks of a folder, without their comments."""
    found = []
    for path in sorted((REPOSITORY / folder).glob("*.tf")):
        with path.open(encoding="utf-8") as stream:
            parsed = _without_comments(hcl2.load(stream))
        for kind, items in parsed.items():
            for item in items:
                found += [Block(path.name, kind, address, body) for address, body in _labelled(kind, item)]
    return tuple(found)


def _labelled(kind: str, item: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    labels = {"resource": 2, "data": 2, "variable": 1, "output": 1, "module": 1, "provider": 1}.get(kind, 0)
    found = [("", item)]
    for _ in range(labels):
        found = [
            ((address + "." + label.strip('"')).lstrip("."), body)
            for address, inner in found
            for label, body in inner.items()
        ]
    return found


def _without_comments(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_comments(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_comments(item) for key, item in value.items() if not _is_note(key)}
    return value


def _is_note(key: str) -> bool:
    return key.startswith("__") and key.endswith("__")


def of_kind(folder: str, *kinds: str) -> list[Block]:
    return [block for block in blocks(folder) if block.kind in kinds]


def text_of(value: str) -> str:
    """A quoted HCL string or heredoc as one line."""
    text = re.sub(
        r"^<<-?(\w+)\n(.*)\n\s*\1\s*$", r"\2", value.strip('"').replace("\\n", "\n"), flags=re.DOTALL
    )
    return " ".join(text.split())


def is_sentence(text: str) -> bool:
    """Starts with a capital, a digit or a value, and ends as a sentence does."""
    return bool(re.match(r"[A-Z0-9`\"$\\]", text)) and text.endswith((".", ")"))


def local_names(folder: str) -> set[str]:
    return {name for block in of_kind(folder, "locals") for name in block.body}


#### The parser itself: a rule over nothing would hold.


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_block_of_the_text_is_seen(folder):
    written = Counter(
        match
        for path in (REPOSITORY / folder).glob("*.tf")
        for match in re.findall(r"^(\w+)(?: \"[^\n]*\")? {", path.read_text(), flags=re.MULTILINE)
    )
    assert Counter(block.kind for block in blocks(folder)) == written
    assert written["variable"]
    assert written["output"]


#### Standard structure


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_hold_what_their_names_say(folder):
    files = {path.name for path in (REPOSITORY / folder).glob("*.tf")}
    assert files >= STANDARD
    assert (REPOSITORY / folder / "README.md").is_file() or folder.startswith("terraform/envs/")
    homes = {"variable": "variables.tf", "output": "outputs.tf", "provider": "providers.tf"}
    misplaced = [
        f"{block.file}: {block.kind} {block.address}"
        for block in blocks(folder)
        if (block.kind in homes and block.file != homes[block.kind])
        or (block.kind == "terraform" and block.file not in {"versions.tf", "backend.tf"})
    ]
    assert misplaced == []


@pytest.mark.parametrize("folder", MODULES)
def test_modules_configure_no_provider_and_no_backend(folder):
    assert of_kind(folder, "provider") == []
    assert [block.body for block in of_kind(folder, "terraform") if "backend" in block.body] == []
    assert not (REPOSITORY / folder / ".terraform.lock.hcl").exists()


@pytest.mark.parametrize("folder", FOLDERS)
def test_terraform_and_every_provider_have_a_version(folder):
    settings = [block.body for block in of_kind(folder, "terraform") if block.file == "versions.tf"]
    assert [body["required_version"] for body in settings] == ['">= 1.11"']
    required = {
        name: value
        for entry in settings[0]["required_providers"]
        for name, value in entry.items()
        if not _is_note(name)
    }
    used = {block.address.split("_", 1)[0] for block in of_kind(folder, "resource", "data")}
    assert used - {"terraform"} <= set(required)
    for name, value in required.items():
        assert value["source"].strip('"').count("/") == 1, name
        version = value["version"].strip('"')
        # A module says what it needs at least; its root module also where it stops.
        assert version.startswith(">= ")
        assert (", < " in version) == (folder in ROOTS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_sources_of_modules_are_folders_of_this_repository(folder):
    for block in of_kind(folder, "module"):
        source = block.body["source"].strip('"')
        assert source.startswith(("./", "../")), block.address
        assert (REPOSITORY / folder / source / "main.tf").is_file(), block.address


#### Names and words


@pytest.mark.parametrize("folder", FOLDERS)
def test_names_are_snake_case(folder):
    names = {f"{block.kind} {block.address}": block.name for block in of_kind(folder, *NAMED)}
    names |= {f"local {name}": name for name in local_names(folder)}
    assert [
        title for title, name in names.items() if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
    ] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_variables_are_described_and_typed_and_outputs_described(folder):
    for block in of_kind(folder, "variable", "output"):
        title = f"{block.kind} {block.name}"
        assert is_sentence(text_of(block.body["description"])), title
        if block.kind == "variable":
            assert "type" in block.body, title
            assert block.body["type"] != "any" or block.name in UNTYPED, title
            # Null is either the default, and so means something, or it is refused.
            assert (block.body.get("default", "") is None or block.body.get("default") == "null") != (
                block.body.get("nullable") is False
            ), title


@pytest.mark.parametrize("folder", FOLDERS)
def test_validations_answer_in_full_sentences(folder):
    for block in of_kind(folder, "variable"):
        for validation in block.body.get("validation", []):
            message = text_of(validation["error_message"])
            assert is_sentence(message), (block.name, message)
            assert len(message.split()) >= 5, (block.name, message)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_statement_of_a_policy_has_a_sid(folder):
    for block in of_kind(folder, "data"):
        if block.address.startswith("aws_iam_policy_document."):
            statements = block.body.get("statement", [])
            dynamic = [entry for item in block.body.get("dynamic", []) for entry in item.values()]
            contents = [content for entry in dynamic for content in entry.get("content", [])]
            assert statements or contents, block.address
            assert all("sid" in statement for statement in [*statements, *contents]), block.address


#### Nothing unused, nothing that shifts


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_declared_and_unused(folder):
    declared = [
        *((f"var.{block.name}", block) for block in of_kind(folder, "variable")),
        *((f"data.{block.address}", block) for block in of_kind(folder, "data")),
    ]
    unused = []
    for reference, own in declared:
        others = "\n".join(block.text for block in blocks(folder) if block is not own)
        if not re.search(rf"\b{re.escape(reference)}\b", others):
            unused.append(reference)
    everything = "\n".join(block.text for block in blocks(folder))
    unused += [
        f"local.{name}" for name in local_names(folder) if not re.search(rf"\blocal\.{name}\b", everything)
    ]
    assert unused == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_count_only_turns_things_on_and_off(folder):
    # Counted over a list, the address of each element hangs on its place: take one out, and the next are replaced.
    counted = {
        f"{block.kind} {block.address}": block.body["count"]
        for block in blocks(folder)
        if "count" in block.body
    }
    assert [title for title, count in counted.items() if not ONE_OR_NONE.search(str(count))] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_lifecycle_ignores_only_what_orch_and_ecs_own(folder):
    ignored = {
        block.address: sorted(str(name).strip("${}") for name in entry["ignore_changes"])
        for block in of_kind(folder, "resource")
        for entry in block.body.get("lifecycle", [])
        if "ignore_changes" in entry
    }
    expected = {
        "terraform/modules/ecs": {
            "aws_ecs_service.this": ["desired_count", "task_definition"],
            # ECS shifts the weights in a blue/green rollout.
            "aws_lb_listener_rule.this": ["action"],
            "aws_lb_listener_rule.test": ["action"],
        }
    }
    assert ignored == expected.get(folder, {})


#### Security


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_long_lived_key_and_no_secret_value(folder):
    kinds = {block.address.split(".", 1)[0] for block in of_kind(folder, "resource", "data")}
    assert kinds & FORBIDDEN == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_rules_inside_security_groups_and_none_for_every_port(folder):
    for block in of_kind(folder, "resource"):
        kind = block.address.split(".", 1)[0]
        assert kind != "aws_security_group_rule", block.address
        if kind == "aws_security_group":
            assert not {"ingress", "egress"} & set(block.body), block.address
        if kind.startswith("aws_vpc_security_group_"):
            assert {"from_port", "to_port", "description"} <= set(block.body), block.address
            assert block.body["ip_protocol"].strip('"') != "-1", block.address


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_role_can_be_bounded(folder):
    roles = [block for block in of_kind(folder, "resource") if block.address.startswith("aws_iam_role.")]
    assert [block.address for block in roles if "permissions_boundary" not in block.body] == []


#### Tests


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_validation_is_triggered_by_a_test(folder):
    """At least one run for each, as far as text can tell: that a run triggers the one it means is its own business."""
    if folder.startswith("terraform/envs/"):
        tests = REFUSED_TEST
    else:
        tests = "\n".join(
            path.read_text() for path in sorted((REPOSITORY / folder / "tests").glob("*.tftest.hcl"))
        )
    expected = Counter(
        name
        for listed in re.findall(r"expect_failures = \[(.*?)\]", tests, flags=re.DOTALL)
        for name in re.findall(r"var\.(\w+)", listed)
    )
    validations = {
        block.name: len(block.body["validation"])
        for block in of_kind(folder, "variable")
        if "validation" in block.body
    }
    lacking = {name: (count, expected[name]) for name, count in validations.items() if expected[name] < count}
    assert lacking == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_run_asserts_something(folder):
    for path in sorted((REPOSITORY / folder / "tests").glob("*.tftest.hcl")):
        for name, body in re.findall(
            r'^run "(\w+)" {\n(.*?)^}', path.read_text(), flags=re.MULTILINE | re.DOTALL
        ):
            assert re.search(r"^  (assert {|expect_failures = )", body, flags=re.MULTILINE), (
                f"{path.name}: {name}"
            )
