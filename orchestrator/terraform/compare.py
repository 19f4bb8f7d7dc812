"""Whether a sealed plan is what is to be applied: `check`, field by field, and, when only the state is newer than the plan,
whether a plan made afresh would do the same: `differences`; or, after a failed apply, what of it is left: `remainder`. Pure.

The latter is decided on `terraform show -json` in clear, held in memory alone: two masked values are equal though the secrets
behind them are not, and a fingerprint made when sealing would be one more thing to protect, while the reviewed plan can always
be shown again from the plan file in its bundle. What is said about a difference comes from the masked plans.

Equal must be: what happens to each resource and output, with every value, known or not; the configuration and its variables;
what data sources read. Resources that neither plan touches may differ: that is how the state got newer. What could depend on
those without a trace in a plan makes two plans different: provisioners, and providers configured from other resources.
Format: https://developer.hashicorp.com/terraform/internals/json-format
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestrator.errors import BundleError
from orchestrator.model import Masked
from orchestrator.terraform.bundle import AGAIN, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.model import Change, Detail, Plan
    from orchestrator.terraform.bundle import Manifest, Setup, Subject

_CLOCK_SKEW = timedelta(minutes=5)
# What is equal as a whole or not at all, and in which words it differs.
_WHOLE = {
    "configuration": "the configuration is not the same",
    "variables": "the values of input variables are not the same",
    "deferred_changes": "what is put off to a later plan is not the same",
    "action_invocations": "the actions that are invoked are not the same",
}
# Beginnings of references in a root module that lead to nothing but the configuration, its variables and what was read.
_STATIC = ("var.", "data.", "each.", "count.", "path.", "terraform.")


@dataclass(frozen=True)
class Refusal:
    """One field that does not fit: what the sealed plan says, what was expected, and what to do about it."""

    field: str
    said: str
    expected: str
    hint: str

    def __str__(self) -> str:
        return f"{self.field}: the sealed plan says {self.said}, but it is {self.expected}; {self.hint}"


# --- the manifest


def check(
    manifest: Manifest, actual: Subject, *, now: datetime, state_changed_at: datetime | None = None
) -> tuple[Refusal, ...]:
    """Every reason why a plan that was sealed for one thing may not be applied to another; none when it may.

    `actual.lineage` and `serial` are those of `runner.state_identity`, so nothing of this starts a Terraform plan.
    """
    return (
        *_different(manifest.subject, actual),
        *_state(manifest.subject, actual, state_changed_at),
        *_times(manifest, now),
    )


def is_stale_only(refusals: tuple[Refusal, ...]) -> bool:
    """Whether nothing but the state's serial stands in the way: then a new plan may turn out to be the same."""
    return bool(refusals) and all(refusal.field == "serial" for refusal in refusals)


def refused(manifest: Manifest, refusals: tuple[Refusal, ...]) -> BundleError:
    """The error to raise for these refusals, with a line for each."""
    subject = manifest.subject
    reasons = "1 reason" if len(refusals) == 1 else f"{len(refusals)} reasons"
    hint = f"plan it again: `orch plan --env {subject.environment} --seal`, and have that one reviewed"
    if is_stale_only(refusals):
        hint += (
            "; if it was its own apply that failed half way, go on with --resume; to let a new plan take its place when it comes to"
            f' the same changes, set equivalent = "allow" in [environments.{subject.environment}.seal]'
        )
    return BundleError(
        f"the sealed plan of commit {subject.head_commit[:12]} for environment `{subject.environment}` is refused for {reasons};"
        " nothing was changed",
        hint=hint,
        details=tuple(map(str, refusals)),
    )


def _different(said: Subject, actual: Subject) -> Iterator[Refusal]:
    lock = _lock_words(said.setup, actual.setup)
    rows = (
        ("environment", said.environment, actual.environment, "apply it to the environment it was made for"),
        ("repository", said.repository, actual.repository, "apply it from the repository it was made in"),
        ("head commit", said.head_commit, actual.head_commit, "check out that commit, or plan this one"),
        ("base commit", said.base_commit, actual.base_commit, f"the base moved since: {AGAIN}"),
        ("pull request", said.pull_request, actual.pull_request, "apply the plan of this pull request"),
        ("account", said.account_id, actual.account_id, f"if the move is meant, {AGAIN}"),
        ("region", said.region, actual.region, f"if the move is meant, {AGAIN}"),
        (
            "state bucket",
            said.setup.state_bucket,
            actual.setup.state_bucket,
            f"if the move is meant, {AGAIN}",
        ),
        ("state key", said.setup.state_key, actual.setup.state_key, f"if the move is meant, {AGAIN}"),
        ("version", _tool(said.setup), _tool(actual.setup), "use one version for plan and apply"),
        ("providers", *lock, f"check out the lock file of that commit, or {AGAIN}"),
        (
            "plan file",
            said.plan_sha256,
            actual.plan_sha256,
            f"it is not the plan that was described: {AGAIN}",
        ),
    )
    for name, sealed, expected, hint in rows:
        # Who applies after a merge cannot know these two for sure.
        is_unknown = name in {"base commit", "pull request"} and not expected
        if sealed != expected and not is_unknown:
            yield Refusal(name, sealed or "none", expected or "none", hint)


def _tool(setup: Setup) -> str:
    return f"{setup.product} {setup.version}"


def _lock_words(said: Setup, actual: Setup) -> tuple[str, str]:
    """Both lock files in words that differ when the files do: the versions that are not the same, else their hashes."""
    if said.lock_sha256 == actual.lock_sha256:
        return "", ""
    words = []
    for mine, other in ((said, actual), (actual, said)):
        changed = [
            f"{name} {version}" for name, version in mine.providers if (name, version) not in other.providers
        ]
        words.append(", ".join(changed) or f"a lock file of sha256 {mine.lock_sha256[:16] or 'none'}")
    return words[0], words[1]


def _state(said: Subject, actual: Subject, changed_at: datetime | None) -> Iterator[Refusal]:
    # A plan for a state that was not there yet knows no lineage: once there is one, that plan is stale, not another state's.
    if said.lineage != actual.lineage and (said.lineage or said.serial == actual.serial):
        yield Refusal(
            "lineage",
            said.lineage or "none",
            actual.lineage or "none (the state is gone)",
            f"it is another state than the plan's, not a later one: {AGAIN}",
        )
    elif said.serial != actual.serial:
        when = f", last changed at {written(changed_at)}" if changed_at else ""
        yield Refusal(
            "serial",
            str(said.serial),
            f"{actual.serial}{when}",
            f"the state was changed after the plan, which is stale: {AGAIN}",
        )


def _times(manifest: Manifest, now: datetime) -> Iterator[Refusal]:
    today = f"{written(now)} now"
    for name, text in (("created", manifest.created_at), ("expires", manifest.expires_at)):
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            yield Refusal(name, text or "nothing", "no time with its zone", AGAIN)
        elif name == "created" and at > now + _CLOCK_SKEW:
            yield Refusal(name, text, today, "one of the clocks is wrong")
        elif name == "expires" and at <= now:
            yield Refusal(name, text, today, f"it has expired: {AGAIN}")


# --- the plans


@dataclass(frozen=True)
class Reading:
    """A plan twice: masked, to speak of it, and as `terraform show -json` gives it, to decide. The latter is never shown."""

    plan: Plan
    data: Mapping[str, Any] = field(repr=False)


def differences(reviewed: Reading, fresh: Reading) -> tuple[str, ...]:
    """What the fresh plan would do otherwise than the reviewed one, one line each and nothing secret in it; none when both
    would do the same.
    """
    return (
        *_resources(reviewed, fresh),
        *_outputs(reviewed.data, fresh.data),
        *(text for name, text in _WHOLE.items() if reviewed.data.get(name) != fresh.data.get(name)),
        *_readings(reviewed.data, fresh.data),
        *_untraceable(fresh.data),
    )


@dataclass(frozen=True)
class Remainder:
    """A plan made afresh after the reviewed one was applied in part, one line a change: `done` is in the reviewed plan alone,
    `left` in both, and `unreviewed` is what the new plan would do beyond it.
    """

    done: tuple[str, ...]
    left: tuple[str, ...]
    unreviewed: tuple[str, ...]


def remainder(reviewed: Reading, fresh: Reading) -> Remainder:
    """What is left of the reviewed plan, and what was never reviewed. Nothing secret is in it.

    A change is left when the reviewed plan makes it with every value that was known then; what became known since, because
    other parts were applied, is its consequence. A replacement may have come half the way.
    """
    before, after = _touched(reviewed.data), _touched(fresh.data)
    left, unreviewed = [], []
    for key, item in sorted(after.items()):
        if item["change"]["actions"] == ["read"]:
            continue
        known = before.get(key) or before.get((key[0], "")) or {}
        said = f"{_name(key)}: {_action(item)}"
        if known and _continues(known, item):
            left.append(said)
        else:
            reason = (
                f", where the reviewed plan says {_action(known)}"
                if known
                else ", of which the reviewed plan knows nothing"
            )
            if known and _action(known) == _action(item):
                reason = ", to other values than in the reviewed plan"
            unreviewed.append(said + reason)
    done = [
        f"{_name(key)}: {_action(item)}"
        for key, item in sorted(before.items())
        if item["change"]["actions"] != ["read"] and all(key[0] != other[0] for other in after)
    ]
    unreviewed += _new_outputs(reviewed.data, fresh.data)
    unreviewed += [
        text
        for name, text in _WHOLE.items()
        if fresh.data.get(name) and fresh.data[name] != reviewed.data.get(name)
    ]
    unreviewed += _readings(reviewed.data, fresh.data, are_later=True)
    return Remainder(tuple(done), tuple(left), tuple(unreviewed))


def _continues(reviewed: Mapping[str, Any], fresh: Mapping[str, Any]) -> bool:
    """Whether a change of the new plan is one of the reviewed plan, or its second half."""
    planned, now = reviewed["change"], fresh["change"]
    if set(planned["actions"]) == {"create", "delete"}:
        # Terraform deletes and then creates, or the other way round, and then the old object is a deposed one.
        if now["actions"] == ["delete"]:
            return bool(fresh.get("deposed"))
        is_expected = now["actions"] in (["create"], planned["actions"])
    else:
        is_expected = _action(reviewed) == _action(fresh) and reviewed.get("deposed") == fresh.get("deposed")
    return is_expected and _agrees(
        planned.get("after"), planned.get("after_unknown"), now.get("after"), now.get("after_unknown")
    )


def _agrees(planned: Any, unknown: Any, now: Any, still_unknown: Any) -> bool:
    """Whether each value that the reviewed plan knew is the same now."""
    if unknown is True:
        return True
    if still_unknown is True:
        return False
    if isinstance(planned, dict) and isinstance(now, dict):
        unknown, still_unknown = unknown or {}, still_unknown or {}
        return all(
            _agrees(planned.get(name), unknown.get(name), now.get(name), still_unknown.get(name))
            for name in planned.keys() | now.keys() | unknown.keys()
        )
    if isinstance(planned, list) and isinstance(now, list) and len(planned) == len(now):
        return all(
            _agrees(one, _at(unknown, index), other, _at(still_unknown, index))
            for index, (one, other) in enumerate(zip(planned, now, strict=True))
        )
    return bool(planned == now)


def _at(unknown: Any, index: int) -> Any:
    return unknown[index] if isinstance(unknown, list) and index < len(unknown) else unknown is True


def _new_outputs(reviewed: Mapping[str, Any], fresh: Mapping[str, Any]) -> Iterator[str]:
    before = reviewed.get("output_changes", {})
    for name, change in sorted(fresh.get("output_changes", {}).items()):
        planned = before.get(name, {"actions": ["no-op"]})
        if change["actions"] == ["no-op"]:
            continue
        if planned["actions"] == ["no-op"] or not _agrees(
            planned.get("after"),
            planned.get("after_unknown"),
            change.get("after"),
            change.get("after_unknown"),
        ):
            yield f"output {name}: not the same as in the reviewed plan"


def _name(key: tuple[str, str]) -> str:
    return key[0] + (f" (deposed {key[1]})" if key[1] else "")


def _resources(reviewed: Reading, fresh: Reading) -> Iterator[str]:
    before, after = _touched(reviewed.data), _touched(fresh.data)
    for key in sorted(before.keys() | after.keys()):
        name = _name(key)
        if key not in after:
            yield f"{name}: {_action(before[key])} in the reviewed plan alone"
        elif key not in before:
            yield f"{name}: {_action(after[key])} in the new plan alone"
        elif _action(before[key]) != _action(after[key]):
            yield f"{name}: {_action(before[key])} in the reviewed plan, {_action(after[key])} in the new one"
        elif before[key] != after[key]:
            yield from _values(key[0], reviewed.plan, fresh.plan)


def _touched(data: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Every resource that something happens to, reads of data sources included, in whatever order Terraform lists them."""
    return {
        (item["address"], item.get("deposed") or ""): item
        for item in data.get("resource_changes", ())
        if item["change"]["actions"] != ["no-op"]
        or item.get("previous_address")
        or item["change"].get("importing") is not None
    }


def _action(item: Mapping[str, Any]) -> str:
    change = item["change"]
    said = " then ".join(change["actions"])
    if change.get("importing") is not None:
        return f"import and {said}"
    return f"move and {said}" if item.get("previous_address") else said


def _values(address: str, reviewed: Plan, fresh: Plan) -> Iterator[str]:
    before, after = _details(reviewed.changes, address), _details(fresh.changes, address)
    shown = False
    for label in [*before, *(label for label in after if label not in before)]:
        if before.get(label) != after.get(label):
            shown = True
            yield f"{address}: {label}: {_side(before.get(label))} in the reviewed plan, {_side(after.get(label))} in the new one"
    if not shown:
        yield f"{address}: the same attributes change, to or from other values, which are sensitive or not shown"


def _details(changes: Iterable[Change], address: str) -> dict[str, Detail]:
    return {
        detail.label: detail for change in changes if change.address == address for detail in change.details
    }


def _side(detail: Detail | None) -> str:
    if detail is None:
        return "unchanged"
    return f"{_word(detail.before)} → {_word(detail.after)}"


def _word(value: object) -> str:
    return str(value) if isinstance(value, Masked) else repr(value)


def _outputs(reviewed: Mapping[str, Any], fresh: Mapping[str, Any]) -> Iterator[str]:
    before, after = (
        {
            name: change
            for name, change in data.get("output_changes", {}).items()
            if change["actions"] != ["no-op"]
        }
        for data in (reviewed, fresh)
    )
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"output {name}: not the same in both plans"


def _readings(
    reviewed: Mapping[str, Any], fresh: Mapping[str, Any], *, are_later: bool = False
) -> Iterator[str]:
    """Data sources that were read while planning: provisioners and providers may use what they say. Those that only one plan
    read count too, unless the new plan was made later, when more can be read.
    """
    before, after = (
        {item["address"]: item.get("values") for item in _prior(data) if item.get("mode") == "data"}
        for data in (reviewed, fresh)
    )
    for address in sorted(before.keys() | after.keys()):
        is_in_both = address in before and address in after
        if (is_in_both and before[address] != after[address]) or not (is_in_both or are_later):
            yield f"{address}: does not read the same"


def _prior(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    modules = [data.get("prior_state", {}).get("values", {}).get("root_module", {})]
    while modules:
        module = modules.pop()
        modules.extend(module.get("child_modules", ()))
        yield from module.get("resources", ())


def _untraceable(data: Mapping[str, Any]) -> Iterator[str]:
    """What would do other things than before though all changes are equal. The configuration is the same in both plans."""
    configuration = data.get("configuration", {})
    modules = [("", configuration.get("root_module", {}))]
    while modules:
        prefix, module = modules.pop()
        for name, call in sorted(module.get("module_calls", {}).items()):
            modules.append((f"{prefix}module.{name}.", call.get("module", {})))
        for resource in module.get("resources", ()):
            if resource.get("provisioners"):
                yield f"{prefix}{resource['address']}: it has provisioners, and what they would do stands in no plan"
    for key, provider in sorted(configuration.get("provider_config", {}).items()):
        # A module's variables may come from anywhere.
        static = () if provider.get("module_address") else _STATIC
        if any(
            not reference.startswith(static) for reference in _references(provider.get("expressions", {}))
        ):
            yield f"provider {key}: it is configured from resources or locals, whose values stand in no plan"


def _references(expressions: Any) -> Iterator[str]:
    if isinstance(expressions, dict):
        yield from expressions.get("references", ())
        for name, inner in expressions.items():
            if name != "references":
                yield from _references(inner)
    elif isinstance(expressions, list):
        for inner in expressions:
            yield from _references(inner)
