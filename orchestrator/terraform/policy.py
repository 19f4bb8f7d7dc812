"""What a change of an IAM policy means: statements by Sid, and the rights that grow. Pure.

A right is an action on a resource for a principal. It has grown when a statement allows what no single statement allowed
before under conditions as loose, or when a denial is gone. So statements may be renamed, split by resource or put in another
order without a word, and nothing that only narrows is told; where two old statements together allowed what one new one does,
it is told all the same. Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import enum
import itertools
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.model import Masked
from orchestrator.terraform.masking import embedded, mapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# A statement with more rights than this is not multiplied out.
_MOST_RIGHTS = 200_000
_SHOWN = 3
# Everything but these: a NotAction, NotResource or NotPrincipal.
_Cell = str | frozenset[str]
_READS = (
    "get",
    "list",
    "describe",
    "batchget",
    "batchcheck",
    "head",
    "lookup",
    "search",
    "query",
    "scan",
    "view",
    "read",
    "check",
    "simulate",
    "test",
    "validate",
    "select",
    "download",
)
# A condition that is met by any caller narrows nothing: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
_MET_BY_ALL = frozenset({"aws:securetransport", "s3:x-amz-server-side-encryption", "s3:tlsversion"})


class Kind(enum.Enum):
    """What a policy hangs on, and so what its words are."""

    IDENTITY = "statement"
    RESOURCE = "statement of a resource"
    TRUST = "trust"


@dataclass(frozen=True)
class Statement:
    """One statement. `name` is its Sid, or its number where it has none; conditions are (operator, key) → values."""

    name: str
    effect: str
    lists: Mapping[str, tuple[str, ...]]
    conditions: Mapping[tuple[str, str], tuple[str, ...]]

    @property
    def content(self) -> tuple[object, ...]:
        return (
            self.effect,
            {key: frozenset(values) for key, values in self.lists.items()},
            {key: frozenset(values) for key, values in self.conditions.items()},
        )

    @property
    def size(self) -> int:
        return math.prod(len(self.cells(kind)) for kind in _DIMENSIONS)

    def cells(self, kind: str) -> list[_Cell]:
        """The actions, resources or principals that it is about."""
        excluded = self.lists.get(f"all {kind} but", ())
        return [*self.lists.get(kind, ()), *([frozenset(excluded)] if excluded else [])] or [""]


_LISTS = {
    "actions": "Action",
    "all actions but": "NotAction",
    "resources": "Resource",
    "all resources but": "NotResource",
    "principals": "Principal",
    "all principals but": "NotPrincipal",
}
_DIMENSIONS = ("actions", "resources", "principals")


def parse(value: Any) -> tuple[Statement, ...] | None:
    """The statements of a policy, as an object or as JSON text; None for what is no policy. Empty text is a policy of none."""
    if value is None or value == "":
        return ()
    document = embedded(value) if isinstance(value, str) else value
    if not isinstance(document, dict) or "Statement" not in document:
        return None
    listed = document["Statement"]
    statements = listed if isinstance(listed, list) else [listed]
    if not all(isinstance(statement, dict) for statement in statements):
        return None
    return tuple(_statement(statement, number) for number, statement in enumerate(statements, start=1))


def differences(
    before: Sequence[Statement], after: Sequence[Statement], prefix: str
) -> Iterator[tuple[str, Any, Any]]:
    """What changes, as (label, before, after): what is added has Masked.ABSENT before it, what is removed after it."""
    for old, new in _pairs(before, after):
        named = new or old
        is_one_of_many = max(len(before), len(after)) > 1 or prefix != Kind.TRUST.value
        label = f"{prefix} {named.name}" if named is not None and is_one_of_many else prefix
        old_effect, new_effect = (side.effect if side else Masked.ABSENT for side in (old, new))
        if old_effect != new_effect and "Deny" in (old_effect, new_effect):
            yield f"{label}: effect", old_effect, new_effect
        for key in _LISTS:
            was, now = (side.lists.get(key, ()) if side else () for side in (old, new))
            if added := [value for value in now if value not in was]:
                yield f"{label}: {key}", Masked.ABSENT, added
            if removed := [value for value in was if value not in now]:
                yield f"{label}: {key}", removed, Masked.ABSENT
        old_conditions, new_conditions = (side.conditions if side else {} for side in (old, new))
        for condition in dict.fromkeys([*old_conditions, *new_conditions]):
            sides = (old_conditions.get(condition), new_conditions.get(condition))
            if set(sides[0] or ()) != set(sides[1] or ()) or None in sides:
                shown = (Masked.ABSENT if side is None else list(side) for side in sides)
                yield (f"{label}: condition {' '.join(condition)}", *shown)  # type: ignore[misc]


def widenings(before: Sequence[Statement], after: Sequence[Statement], kind: Kind) -> Iterator[str]:
    """Sentences on the rights that grow."""
    allowed = [statement for statement in before if statement.effect == "Allow"]
    denied = [statement for statement in after if statement.effect == "Deny"]
    for old, new in _pairs(before, after):
        if any(one is not None and one.size > _MOST_RIGHTS for one in (old, new)):
            side = new if new is not None else old
            is_told = side is not None and (new is not None or side.effect == "Deny")
            if side is not None and is_told and (old is None or new is None or old.content != new.content):
                yield f"{_named(side, kind)} is too large to be compared"
            continue
        if new is not None and new.effect == "Allow" and (cells := _uncovered(new, allowed)):
            yield from _grown(old if old and old.effect == "Allow" else None, new, cells, kind)
        if old is not None and old.effect == "Deny" and (cells := _uncovered(old, denied)):
            named = _named(old, kind)
            if new is not None and new.effect == "Deny" and not _split(cells, new)[1]:
                yield f"{named} denies only under a condition now: {_joined(_keys(new))}"
            else:
                yield f"{named} no longer denies {_phrase(cells)}"


def wide_from_the_start(statements: Sequence[Statement], kind: Kind) -> Iterator[str]:
    """Sentences on what is wide in a policy of a role or resource that is itself new: it takes nothing away from what was, so
    only wildcards on writes, and doors open to anybody, are worth a word.
    """
    for statement in statements:
        if statement.effect != "Allow":
            continue
        if kind is Kind.IDENTITY:
            cells = [
                right for right in itertools.islice(_product(statement), _MOST_RIGHTS) if _is_wide(right)
            ]
            if not cells and statement.size > _MOST_RIGHTS:
                yield f"{_named(statement, kind)} is too large to be judged"
            if cells:
                yield f"{_named(statement, kind)} may {_phrase(cells)}"
        elif _is_open_to_all(statement):
            yield f"{_named(statement, kind)} lets in everybody"
        elif kind is Kind.TRUST and (subjects := _open_subjects(statement)):
            yield f"{_named(statement, kind)} lets in {_joined(subjects)}"


def _statement(data: Mapping[str, Any], number: int) -> Statement:
    lists = {}
    for name, key in _LISTS.items():
        values = _principals(data.get(key)) if "rincipal" in key else _texts(data.get(key))
        if values:
            lists[name] = tuple(dict.fromkeys(values))
    conditions = {
        (str(operator), str(key)): tuple(dict.fromkeys(_texts(values)))
        for operator, tests in mapping(data.get("Condition")).items()
        for key, values in mapping(tests).items()
    }
    return Statement(
        str(data.get("Sid") or f"#{number}"), str(data.get("Effect", "Allow")), lists, conditions
    )


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    members = value if isinstance(value, list) else [value]
    return [
        member
        if isinstance(member, str)
        else str(member).lower()
        if isinstance(member, bool)
        else str(member)
        for member in members
    ]


def _principals(value: Any) -> list[str]:
    """`AWS` principals as they are, others with their kind, e.g. `Service ecs-tasks.amazonaws.com`; `{"AWS": "*"}` is `*`."""
    if not isinstance(value, dict):
        return _texts(value)
    found = []
    for kind, members in value.items():
        for member in _texts(members):
            if kind != "AWS":
                found.append(f"{kind} {member}")
            else:
                is_account = len(member) == 12 and member.isdecimal()
                found.append(f"arn:aws:iam::{member}:root" if is_account else member)
    return found


def _pairs(
    before: Sequence[Statement], after: Sequence[Statement]
) -> list[tuple[Statement | None, Statement | None]]:
    """Statements that are the same one before and after: by Sid, else by content, else by what they share most."""
    old_left, new_left = list(before), list(after)
    pairs: list[tuple[Statement | None, Statement | None]] = []
    times = [Counter(statement.name for statement in side) for side in (before, after)]
    by_sid = {old.name: old for old in before if times[0][old.name] == 1 and not old.name.startswith("#")}
    for new in after:
        old = by_sid.get(new.name) if times[1][new.name] == 1 else None
        if old is not None:
            pairs.append((old, new))
            old_left.remove(old)
            new_left.remove(new)
    for is_alike in (lambda a, b: a.content == b.content, _shares):
        for new in tuple(new_left):
            best = max(old_left, key=lambda old: int(is_alike(old, new)), default=None)
            if best is not None and is_alike(best, new):
                pairs.append((best, new))
                old_left.remove(best)
                new_left.remove(new)
    order = {id(statement): at for at, statement in enumerate([*after, *before])}
    pairs += [(None, new) for new in new_left] + [(old, None) for old in old_left]
    return sorted(pairs, key=lambda pair: order[id(pair[1] if pair[1] is not None else pair[0])])


def _shares(old: Statement, new: Statement) -> int:
    if old.effect != new.effect:
        return 0
    return sum(len({*old.lists.get(key, ())} & {*new.lists.get(key, ())}) for key in _LISTS)


_Right = tuple[_Cell, _Cell, _Cell]


def _product(statement: Statement) -> Iterator[_Right]:
    actions, resources, principals = (statement.cells(kind) for kind in _DIMENSIONS)
    return itertools.product((action for action in actions if action), resources, principals)


def _uncovered(statement: Statement, by: Sequence[Statement]) -> list[_Right]:
    """What a statement says that none of the others says under conditions as loose."""
    rights = list(_product(statement))
    for other in by:
        if rights and _implies(statement.conditions, other.conditions):
            rights = _split(rights, other)[1]
    return rights


def _split(rights: list[_Right], other: Statement) -> tuple[list[_Right], list[_Right]]:
    """The rights that another statement holds, whatever its conditions, and those that it does not."""
    held = [
        {cell for cell in {right[at] for right in rights} if _within(cell, other, kind)}
        for at, kind in enumerate(_DIMENSIONS)
    ]
    if not all(held):
        return [], rights
    actions, resources, principals = held
    inside: list[_Right] = []
    outside: list[_Right] = []
    for right in rights:
        is_held = right[0] in actions and right[1] in resources and right[2] in principals
        (inside if is_held else outside).append(right)
    return inside, outside


def _within(cell: _Cell, other: Statement, kind: str) -> bool:
    included = other.lists.get(kind, ())
    excluded = other.lists.get(f"all {kind} but", ())
    if not included and not excluded:
        return cell == ""
    if isinstance(cell, frozenset):
        if "*" in included:
            return True
        return bool(excluded) and all(any(_matches(kind, own, theirs) for own in cell) for theirs in excluded)
    if any(_matches(kind, pattern, cell) for pattern in included):
        return True
    # Whether two patterns overlap is not worth finding out: a wildcard beside an exclusion counts as new.
    return (
        bool(excluded)
        and "*" not in cell
        and "?" not in cell
        and not any(_matches(kind, pattern, cell) for pattern in excluded)
    )


def _matches(kind: str, pattern: str, text: str) -> bool:
    if kind == "principals":
        # A principal is `*` or one; patterns are not allowed in it.
        return pattern in ("*", text)
    return matches(pattern.lower(), text.lower()) if kind == "actions" else matches(pattern, text)


def matches(pattern: str, text: str) -> bool:
    """Whether IAM's pattern covers the text, which may be a pattern too. Linear memory, and no backtracking to blow up."""
    if pattern in ("*", text):
        return True
    start, star, end = pattern.partition("*")
    if "?" not in pattern and "*" not in end:
        # Nearly every pattern has one wildcard, at its end, or none.
        return (
            bool(star)
            and len(text) >= len(start) + len(end)
            and text.startswith(start)
            and text.endswith(end)
        )
    return _matches_slowly(pattern, text)


def _matches_slowly(pattern: str, text: str) -> bool:
    at = in_text = 0
    star, resume = -1, 0
    while in_text < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, in_text
            at += 1
        elif at < len(pattern) and (
            pattern[at] == text[in_text] or (pattern[at] == "?" and text[in_text] != "*")
        ):
            at += 1
            in_text += 1
        elif star >= 0:
            resume += 1
            at, in_text = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")


def _implies(
    strict: Mapping[tuple[str, str], tuple[str, ...]], loose: Mapping[tuple[str, str], tuple[str, ...]]
) -> bool:
    """Whether whatever meets the strict conditions meets the loose ones too."""
    return all(
        any(_is_stricter(own, strict[own], condition, values) for own in strict)
        for condition, values in loose.items()
    )


def _is_stricter(
    own: tuple[str, str], own_values: Sequence[str], other: tuple[str, str], values: Sequence[str]
) -> bool:
    operator, wanted = own[0].lower(), other[0].lower()
    if own[1].lower() != other[1].lower():
        return False
    if wanted.endswith("ifexists") and not operator.endswith("ifexists"):
        wanted = wanted.removesuffix("ifexists")
    is_pattern = wanted.removesuffix("ifexists").endswith(("like", "arnequals"))
    if operator != wanted and operator != wanted.replace("stringlike", "stringequals"):
        return False
    if "not" in wanted:
        return {*values} <= {*own_values}
    if wanted.startswith(("numeric", "date", "null")) or "ipaddress" in wanted:
        return {*own_values} <= {*values}
    return all(
        any(matches(value, text) if is_pattern else value == text for value in values) for text in own_values
    )


def _grown(old: Statement | None, new: Statement, cells: list[_Right], kind: Kind) -> Iterator[str]:
    named = _named(new, kind)
    if old is not None:
        held, cells = _split(cells, old)
        if held:
            yield from _loosened(old, new, named, kind)
        strangers = [
            cell
            for cell in dict.fromkeys(right[2] for right in cells)
            if not _within(cell, old, "principals")
        ]
        if strangers:
            yield f"{named} lets in {_joined(map(_word, strangers))} as well"
            cells = [right for right in cells if right[2] not in strangers]
        if cells:
            yield f"{named} may now {_phrase(cells)}"
        return
    if kind is Kind.IDENTITY:
        yield f"new {named} may {_phrase(cells)}"
        return
    subjects = [
        value
        for (_, key), values in new.conditions.items()
        if key.lower().endswith(":sub")
        for value in values
    ]
    strangers = list(dict.fromkeys(right[2] for right in cells))
    who = _joined(subjects or map(_word, strangers))
    yield (
        f"{named} lets in {who} as well"
        if kind is Kind.TRUST
        else f"new {named} lets in {who}: {_phrase(cells)}"
    )


def _loosened(old: Statement, new: Statement, named: str, kind: Kind) -> Iterator[str]:
    """The same rights, under fewer or looser conditions."""
    for condition, values in old.conditions.items():
        if _implies(new.conditions, {condition: values}):
            continue
        same = [key for key in new.conditions if key[1].lower() == condition[1].lower()]
        if not same:
            yield f"{named} lost its condition {condition[1]}"
            continue
        more = [value for key in same for value in new.conditions[key] if value not in values]
        if more and kind is Kind.TRUST:
            yield f"{named} lets in {_joined(more)} as well"
        elif more:
            yield f"{named} has a wider condition {condition[1]}: {_joined(more)}"
        else:
            yield f"{named} has a wider condition {condition[1]}: {same[0][0]}"


def _named(statement: Statement, kind: Kind) -> str:
    return "trust" if kind is Kind.TRUST else f"statement {statement.name}"


def _keys(statement: Statement) -> list[str]:
    return list(dict.fromkeys(key for _, key in statement.conditions))


def _phrase(rights: Iterable[_Right]) -> str:
    """`ecs:UpdateService, ecs:RunTask on *`."""
    by_resource: dict[tuple[_Cell, ...], list[_Cell]] = {}
    resources: dict[_Cell, dict[_Cell, None]] = {}
    for action, resource, _ in rights:
        resources.setdefault(action, {})[resource] = None
    for action, where in resources.items():
        by_resource.setdefault(tuple(where), []).append(action)
    return "; ".join(
        _joined(map(_word, actions)) + (f" on {_joined(map(_word, where))}" if where != ("",) else "")
        for where, actions in by_resource.items()
    )


def _word(cell: _Cell) -> str:
    if isinstance(cell, frozenset):
        return f"everything but {_joined(sorted(cell))}"
    return cell or "anybody"


def _joined(texts: Iterable[str]) -> str:
    listed = list(texts)
    shown = ", ".join(listed[:_SHOWN])
    return f"{shown} and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else shown


def _is_wide(right: _Right) -> bool:
    action, resource, _ = right
    if isinstance(action, frozenset) or isinstance(resource, frozenset):
        return isinstance(action, frozenset) or is_write(action)
    return is_write(action) and ("*" in action or resource == "*")


def is_write(action: str) -> bool:
    """Whether an action may change something, going by its verb."""
    return not action.rpartition(":")[2].lower().startswith(_READS)


def _is_open_to_all(statement: Statement) -> bool:
    is_anybody = "*" in statement.lists.get("principals", ()) or "all principals but" in statement.lists
    return is_anybody and not any(key.lower() not in _MET_BY_ALL for _, key in statement.conditions)


def _open_subjects(statement: Statement) -> list[str]:
    """Of a trust in GitHub's identity provider: subjects that any repository has, or what is missing without a condition on
    them (https://docs.github.com/en/actions/concepts/security/openid-connect).
    """
    if not any("token.actions.githubusercontent.com" in who for who in statement.lists.get("principals", ())):
        return []
    subjects = [
        value
        for (_, key), values in statement.conditions.items()
        if key.lower().endswith(":sub")
        for value in values
    ]
    if not subjects:
        return ["every repository on GitHub"]
    return [subject for subject in subjects if subject.startswith(("*", "repo:*"))]
