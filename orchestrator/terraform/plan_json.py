"""`terraform show -json` → Plan. Pure.

The JSON holds secrets in clear (Terraform never redacts it). All that leaves this module has gone through the nets of
masking.py, the functions `outputs`, `prior_outputs` and `open_values` aside: they hand on what is declared open, for orch's own
use. Actions are counted from the changes themselves, for Terraform's summary counts a replace twice and a forget not at all.
Format: https://developer.hashicorp.com/terraform/internals/json-format
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from orchestrator.model import Action, Change, CheckResult, Detail, Masked, OutputChange, Plan
from orchestrator.terraform import masking, semantic
from orchestrator.terraform.masking import mapping, sequence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

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
# A key of for_each is quoted, and may hold brackets itself.
_INDEX = re.compile(r'\[(?:[0-9]+|"(?:[^"\\]|\\.)*")\]')
# Attributes that the module hands to orch (`ignore_changes`): their changes are releases, not drift.
_OWNED_BY_ORCH = {"aws_ecs_service": frozenset({"task_definition", "desired_count"})}
# What one resource may say; a policy of a hundred statements is read elsewhere.
MOST_DETAILS = 40
# A failed check does not stop an apply, and one that is not known yet has not failed.
_FAILED = frozenset({"fail", "error"})


def decode(data: Mapping[str, Any], *, secrets: Collection[str] = ()) -> Plan:
    """The plan in the JSON of `terraform show -json PLANFILE`. `secrets` are values that the plan does not declare, and that
    must not be in what comes out either: credentials, and TF_VAR_* of ephemeral variables.
    """
    nets = masking.Nets([*masking.secrets_of(data), *secrets])
    items = [item for item in map(mapping, sequence(data.get("resource_changes"))) if item]
    around = _surroundings(items)
    configured = _configured(mapping(mapping(data.get("configuration")).get("root_module")))
    return Plan(
        changes=tuple(change for item in items if (change := _change(item, nets, around, configured))),
        drift=_drift(data, nets),
        output_changes=tuple(
            output
            for name, described in mapping(data.get("output_changes")).items()
            if (output := _output_change(name, mapping(described), nets))
        ),
        is_applicable=bool(data.get("applyable", False)),
        terraform_version=nets.text(str(data.get("terraform_version", ""))),
        contract=_planned_contract(data, nets),
        undeletable=tuple(map(nets.address, _undeletable(items))),
        checks=tuple(_checks(data, nets)),
        is_errored=bool(data.get("errored", False)),
    )


def outputs(data: Mapping[str, Any]) -> dict[str, object]:
    """The non-sensitive outputs as they will be after apply, as far as the plan knows them; name → value."""
    return open_values(mapping(mapping(data.get("planned_values")).get("outputs")))


def prior_outputs(data: Mapping[str, Any]) -> dict[str, object]:
    """The non-sensitive outputs as they are before apply: what a plan to destroy is about; name → value."""
    return open_values(mapping(mapping(mapping(data.get("prior_state")).get("values")).get("outputs")))


def open_values(described: Mapping[str, Any]) -> dict[str, object]:
    """Outputs as Terraform's JSON describes them → name → value, without the sensitive ones."""
    return {
        name: output["value"]
        for name, output in described.items()
        if isinstance(output, dict) and not output.get("sensitive") and "value" in output
    }


def _change(
    item: Mapping[str, Any],
    nets: masking.Nets,
    around: semantic.Surroundings,
    configured: Mapping[str, frozenset[str]],
) -> Change | None:
    if item.get("mode") == "data":
        # Reading a data source changes nothing; a plan of reads alone is "no changes" to a person.
        return None
    change = mapping(item.get("change"))
    actions, importing = _actions(change), change.get("importing")
    action = _action(actions)
    if importing is not None and action not in _ENDS:
        # An import that also updates is told as an import, with its details; one that destroys is told as that.
        action = Action.IMPORT
    if action is None:
        if not item.get("previous_address"):
            return None
        action = Action.MOVE
    return Change(
        _address(item, nets),
        action,
        nets.text(str(item.get("type", ""))),
        reason=nets.text(str(item.get("action_reason") or "")),
        previous_address=nets.address(str(item.get("previous_address") or "")),
        import_id=nets.text(str(mapping(importing).get("id") or "")),
        **_inside(item, action, nets, around, configured),
    )


_ENDS = frozenset({Action.REPLACE, Action.DELETE, Action.FORGET})


def _actions(change: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(map(str, sequence(change.get("actions"))))


def _action(actions: tuple[str, ...]) -> Action | None:
    """None for no-op. A combination that a later Terraform brings is told by the worst that is in it."""
    if actions in _ACTIONS:
        return _ACTIONS[actions]
    if actions in ((), ("no-op",)):
        return None
    ends = {"delete", "forget"} & {*actions}
    if ends and "create" in actions:
        return Action.REPLACE
    return Action.DELETE if "delete" in ends else Action.FORGET if ends else Action.UPDATE


def _address(item: Mapping[str, Any], nets: masking.Nets) -> str:
    address = nets.address(str(item.get("address", "")))
    # What a failed replace left behind is deleted later, beside the resource that has its address now.
    return f"{address} (deposed {nets.text(str(item['deposed']))})" if item.get("deposed") else address


def _inside(
    item: Mapping[str, Any],
    action: Action,
    nets: masking.Nets,
    around: semantic.Surroundings,
    configured: Mapping[str, frozenset[str]],
) -> dict[str, tuple[Any, ...]]:
    """The details of a change, and the rights that grow by it. JSON in JSON, a thousand levels deep, is nothing that a person
    would read, and nothing to fail for; but nobody shall hide a right under it.
    """
    change, kind = mapping(item.get("change")), str(item.get("type", ""))
    grown: tuple[str, ...] = (_TOO_DEEP,)
    try:
        before, after = _sides(change)
        nets = nets.beside(masking.covered(change))
        # What Terraform forgets stays as it is in AWS, and what was deposed has been replaced already.
        is_widening = action is not Action.FORGET and not item.get("deposed")
        sentences = semantic.widenings(kind, before, after, around) if is_widening else ()
        grown = tuple(map(nets.text, sentences))
        if action in (Action.DELETE, Action.FORGET, Action.MOVE):
            return {"widenings": grown}
        known = configured.get(_INDEX.sub("", str(item.get("address", ""))))
        paths = [tuple(path) for path in sequence(change.get("replace_paths")) if isinstance(path, list)]
        found = [
            difference
            for difference in semantic.differences(kind, before or {}, after or {})
            if not _is_noise(difference, action, known, paths)
        ]
        return {"details": _details(found, paths, nets), "widenings": grown}
    except RecursionError:
        return {"details": (Detail(_TOO_DEEP, Masked.SENSITIVE, Masked.SENSITIVE),), "widenings": grown}


_TOO_DEEP = "nested too deeply to be shown"


def _sides(change: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The values before and after; None where the resource is not there. A value that either side's mask covers is hidden in
    both: when somebody takes a mask away, the old value is still the secret.
    """
    sides: list[dict[str, Any] | None] = []
    for value in (
        change.get("before"),
        masking.with_unknown(change.get("after"), change.get("after_unknown")),
    ):
        for mask in (change.get("before_sensitive"), change.get("after_sensitive")):
            value = masking.hide(value, mask)  # noqa: PLW2901  # one veil over the other
        if isinstance(value, masking.Hidden):
            # The whole resource is under a mask: its attributes' names are not.
            opened = mapping(value.opened)
            value = {key: masking.hide(member, mask=True) for key, member in opened.items()}  # noqa: PLW2901
        sides.append(value if isinstance(value, dict) else None)
    return sides[0], sides[1]


def _is_noise(
    difference: semantic.Difference,
    action: Action,
    configured: frozenset[str] | None,
    replace_paths: list[tuple[Any, ...]],
) -> bool:
    """What the provider fills in, as far as one can tell: nobody wrote it, so nobody wants to read it."""
    is_written = configured is None or difference.path[0] in configured
    if action is Action.CREATE:
        return not is_written or (difference.after is Masked.UNKNOWN and not difference.label)
    if difference.after is not Masked.UNKNOWN or _forces(difference, replace_paths):
        return False
    return not is_written or (configured is None and action is Action.REPLACE)


def _forces(difference: semantic.Difference, replace_paths: list[tuple[Any, ...]]) -> bool:
    return any(path[: len(difference.path)] == difference.path[: len(path)] for path in replace_paths if path)


def _details(
    found: list[semantic.Difference], replace_paths: list[tuple[Any, ...]], nets: masking.Nets
) -> tuple[Detail, ...]:
    """The most important details; how many are left out stands in the last one's label."""
    ordered = sorted(found, key=lambda difference: not _forces(difference, replace_paths))
    details = [
        Detail(
            _label(difference, nets),
            nets.mask(difference.before, difference.path),
            nets.mask(difference.after, difference.path),
            forces_replacement=_forces(difference, replace_paths),
        )
        for difference in ordered[:MOST_DETAILS]
    ]
    if len(ordered) > MOST_DETAILS:
        details.append(Detail(f"… {len(ordered) - MOST_DETAILS} more", Masked.ABSENT, Masked.ABSENT))
    return tuple(details)


def _label(difference: semantic.Difference, nets: masking.Nets) -> str:
    if difference.label:
        return nets.text(difference.label)
    path = tuple(key if isinstance(key, int) else nets.text(str(key)) for key in difference.path)
    return nets.text(semantic.label_of(path))


def _surroundings(items: Iterable[Mapping[str, Any]]) -> semantic.Surroundings:
    """The names of what this plan creates and deletes, for whatever hangs on it."""
    names: dict[bool, set[str]] = {True: set(), False: set()}
    for item in items:
        change = mapping(item.get("change"))
        actions = _actions(change)
        if str(item.get("type")) in _HOSTS and actions in (("create",), ("delete",)):
            is_new = actions == ("create",)
            values = mapping(change.get("after" if is_new else "before"))
            names[is_new] |= {
                values[key] for key in ("name", "bucket", "id", "arn") if isinstance(values.get(key), str)
            }
    return semantic.Surroundings(frozenset(names[True]), frozenset(names[False]))


_HOSTS = frozenset(
    {"aws_iam_role", "aws_iam_user", "aws_iam_group", "aws_ecr_repository", "aws_s3_bucket", "aws_kms_key"}
    | {"aws_secretsmanager_secret"}
)


def _configured(module: Mapping[str, Any], prefix: str = "") -> dict[str, frozenset[str]]:
    """The attributes that the configuration sets, by resource (its address without indexes): what a person wrote, and not what
    the provider fills in.
    """
    found = {
        prefix + str(resource.get("address", "")): frozenset(mapping(resource.get("expressions")))
        for resource in map(mapping, sequence(module.get("resources")))
    }
    for name, call in mapping(module.get("module_calls")).items():
        found |= _configured(mapping(mapping(call).get("module")), f"{prefix}module.{name}.")
    return found


def _output_change(name: str, described: Mapping[str, Any], nets: masking.Nets) -> OutputChange | None:
    action = _action(_actions(described))
    if action is None:
        return None
    shown = []
    unknown = described.get("after_unknown")
    for value in (described.get("before"), masking.with_unknown(described.get("after"), unknown)):
        for mask in (described.get("before_sensitive"), described.get("after_sensitive")):
            value = masking.hide(value, mask)  # noqa: PLW2901  # one veil over the other
        shown.append(Masked.ABSENT if value is None else _masked(nets, value, name))
    return OutputChange(nets.text(name), action, before=shown[0], after=shown[1])


def _masked(nets: masking.Nets, value: Any, name: str) -> Any:
    try:
        return nets.mask(value, (name,))
    except RecursionError:
        return Masked.SENSITIVE


def _checks(data: Mapping[str, Any], nets: masking.Nets) -> Iterator[CheckResult]:
    for check in map(mapping, sequence(data.get("checks"))):
        if str(check.get("status")) not in _FAILED:
            continue
        messages = [
            nets.text(str(mapping(problem).get("message", "")))
            for instance in map(mapping, sequence(check.get("instances")))
            for problem in sequence(instance.get("problems"))
        ]
        address = mapping(check.get("address")).get("to_display", "")
        yield CheckResult(nets.address(str(address)), str(check["status"]), tuple(messages))


def _undeletable(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What AWS will refuse to delete, so that a person hears it before the first deletion and not after the twentieth."""
    for item in items:
        change = mapping(item.get("change"))
        before = mapping(change.get("before"))
        if "delete" not in _actions(change):
            continue
        if item.get("type") == "aws_lb" and before.get("enable_deletion_protection"):
            yield f"{item.get('address')}: deletion_protection is on"
        if item.get("type") == "aws_ecr_repository" and before.get("force_delete") is False:
            yield f"{item.get('address')}: it keeps its images (force_delete is off)"


def _drift(data: Mapping[str, Any], nets: masking.Nets) -> tuple[Change, ...]:
    """Resources that somebody else changed in a way that this configuration depends on, as Terraform itself selects them, or in a
    way that this plan undoes.

    A refresh alone turns null into {}, or fills in what other resources added: neither is drift.
    """
    relevant: dict[str, set[object]] = {}
    addresses = {str(item.get("address", "")) for item in map(mapping, sequence(data.get("resource_drift")))}
    undone = {
        address: _changed(change) - mapping(change.get("after_unknown")).keys()
        for item in map(mapping, sequence(data.get("resource_changes")))
        if (address := str(item.get("address", ""))) in addresses
        and _actions(change := mapping(item.get("change"))) != ("no-op",)
    }
    for item in map(mapping, sequence(data.get("relevant_attributes"))):
        attribute = next(iter(sequence(item.get("attribute"))), None)
        if attribute is None or isinstance(attribute, (str, int)):
            relevant.setdefault(str(item.get("resource")), set()).add(attribute)
    found = []
    for item in map(mapping, sequence(data.get("resource_drift"))):
        change, address = mapping(item.get("change")), str(item.get("address", ""))
        if item.get("mode") == "data" or _actions(change) == ("no-op",):
            continue
        attributes = relevant.get(_INDEX.sub("", address), set()) | relevant.get(address, set())
        attributes |= undone.get(address, set())
        kind = str(item.get("type", ""))
        if change.get("after") is None:
            found.append(Change(_address(item, nets), Action.DELETE, nets.text(kind)))
        elif drifted := _changed(change) & attributes - _OWNED_BY_ORCH.get(kind, frozenset()):
            details = _drift_details(change, kind, drifted, nets)
            found.append(Change(_address(item, nets), Action.UPDATE, nets.text(kind), details=details))
    return tuple(found)


def _drift_details(
    change: Mapping[str, Any], kind: str, drifted: set[object], nets: masking.Nets
) -> tuple[Detail, ...]:
    try:
        before, after = _sides(change)
        nets = nets.beside(masking.covered(change))
        differences = semantic.differences(kind, before or {}, after or {})
        return _details([found for found in differences if found.path[0] in drifted], [], nets)
    except RecursionError:
        return ()


def _changed(change: Mapping[str, Any]) -> set[object]:
    before, after = mapping(change.get("before")), mapping(change.get("after"))
    try:
        return {
            key
            for key in before.keys() | after.keys()
            if _significant(before.get(key)) != _significant(after.get(key))
        }
    except RecursionError:  # nested beyond all reason: all of it may have changed
        return set(before.keys() | after.keys())


def _significant(value: Any) -> Any:
    if isinstance(value, dict):
        members = {key: _significant(member) for key, member in value.items()}
        return {key: member for key, member in members.items() if member is not None} or None
    if isinstance(value, list):
        return [_significant(member) for member in value] or None
    return value if value != "" else None


def _planned_contract(data: Mapping[str, Any], nets: masking.Nets) -> dict[str, object]:
    """The output `orch` as far as it is known and open. What a net has touched is left out whole: half an account id would be
    taken for another account.
    """
    change = mapping(mapping(data.get("output_changes")).get("orch"))
    after = masking.hide(change.get("after"), change.get("after_sensitive"))
    found: dict[str, object] = {}
    for key, member in mapping(after).items():
        masked = _masked(nets, member, key)
        if masked == member and nets.text(key) == key:
            found[key] = member
    return found
