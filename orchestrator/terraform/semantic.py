"""What a change means to a person: containers by name, policies by statement, and anything else by attribute. Pure.

Comes in: a resource's values before and after, with Masked.UNKNOWN in them, and Hidden around what a mask covers. Goes out:
differences that still have to go through the nets, and sentences on rights that grow. An environment variable's value never
goes out, not even to the nets. How ECS writes a container:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.model import Masked
from orchestrator.terraform import policy
from orchestrator.terraform.masking import Hidden, embedded, mapping, sequence
from orchestrator.terraform.policy import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Path = tuple[object, ...]

# Longer lists are told by what is added and removed.
_SHORT_LIST = 6
# Lists with more pairs to compare than this are compared place by place.
_MOST_PAIRS = 10_000
_PLAIN_KEY = re.compile(r"[\w-]+")
_ADMINISTRATOR = re.compile(r"AdministratorAccess(?:-.*)?|PowerUserAccess|IAMFullAccess")


@dataclass(frozen=True)
class Difference:
    """One thing that differs; `path` leads to it in the resource, `label` says it in words where the path does not."""

    path: Path
    before: Any
    after: Any
    label: str = ""


@dataclass(frozen=True)
class Surroundings:
    """Names of what the same plan creates and deletes: a policy of a new role takes part in no widening of an old one."""

    created: frozenset[str] = field(default_factory=frozenset)
    deleted: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class _Policy:
    attribute: str
    kind: Kind
    # The attribute that names what the policy hangs on; empty where that is the resource itself.
    host: str = ""


_POLICIES: dict[str, _Policy] = {
    "aws_iam_policy": _Policy("policy", Kind.IDENTITY),
    "aws_iam_role_policy": _Policy("policy", Kind.IDENTITY, "role"),
    "aws_iam_user_policy": _Policy("policy", Kind.IDENTITY, "user"),
    "aws_iam_group_policy": _Policy("policy", Kind.IDENTITY, "group"),
    "aws_iam_role": _Policy("assume_role_policy", Kind.TRUST),
    "aws_ecr_repository_policy": _Policy("policy", Kind.RESOURCE, "repository"),
    "aws_s3_bucket_policy": _Policy("policy", Kind.RESOURCE, "bucket"),
    "aws_secretsmanager_secret_policy": _Policy("policy", Kind.RESOURCE, "secret_arn"),
    "aws_kms_key": _Policy("policy", Kind.RESOURCE),
    "aws_kms_key_policy": _Policy("policy", Kind.RESOURCE, "key_id"),
}
_ATTACHMENTS = {
    "aws_iam_role_policy_attachment": "role",
    "aws_iam_user_policy_attachment": "user",
    "aws_iam_group_policy_attachment": "group",
}
_WORDS = {
    ("aws_ecr_repository", "image_tag_mutability"): "tag mutability",
    ("aws_ecr_repository", "image_scanning_configuration[0].scan_on_push"): "scan on push",
    ("aws_iam_openid_connect_provider", "client_id_list"): "audiences",
    ("aws_iam_openid_connect_provider", "thumbprint_list"): "thumbprints",
}
_OPEN = ("0.0.0.0/0", "::/0")


def differences(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """Everything that differs between two values of a resource of this type, attribute by attribute."""
    for attribute in sorted(before.keys() | after.keys()):
        old, new = before.get(attribute), after.get(attribute)
        if _same(old, new):
            continue
        if attribute == "tags_all" and _is_said_by(before.get("tags"), after.get("tags"), old, new):
            continue
        special = _special(kind, attribute)
        told = special(old, new) if special is not None else None
        yield from attribute_differences((attribute,), old, new, kind) if told is None else told


def attribute_differences(path: Path, before: Any, after: Any, kind: str = "") -> Iterator[Difference]:
    """What differs below a path. Null, an empty text and an empty list are all nothing, and JSON in a text is looked into."""
    if _same(before, after) or (_is_nothing(before) and _is_nothing(after)):
        return
    old, new = _opened(before), _opened(after)
    if _is_kind(dict, old, new):
        for key in sorted({*mapping(old), *mapping(new)}, key=str):
            yield from attribute_differences((*path, key), mapping(old).get(key), mapping(new).get(key), kind)
    elif _is_kind(list, old, new):
        yield from _list_differences(path, sequence(old), sequence(new), kind)
    else:
        label = _WORDS.get((kind, label_of(path)), "")
        yield Difference(path, _side(before), _side(after), label)


def label_of(path: Path) -> str:
    """`tags.Team`, `ingress[0].from_port`, `tags["a.b"]`."""
    label = ""
    for key in path:
        if isinstance(key, int):
            label += f"[{key}]"
        elif _PLAIN_KEY.fullmatch(str(key)):
            label += f".{key}" if label else str(key)
        else:
            label += f'["{key}"]'
    return label


def widenings(
    kind: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, around: Surroundings
) -> Iterator[str]:
    """Sentences on the rights that grow by a change; `before` is None for what is created, `after` for what is deleted."""
    if kind in _POLICIES:
        yield from _policy_widenings(_POLICIES[kind], before, after, around)
    if after is None:
        return
    if kind == "aws_iam_role":
        yield from _role_widenings(before, after)
    elif kind in _ATTACHMENTS:
        yield from _attachment_widenings(_ATTACHMENTS[kind], mapping(before), after, around)
    elif kind == "aws_iam_openid_connect_provider" and before is not None:
        for audience in sequence(after.get("client_id_list")):
            if audience not in sequence(before.get("client_id_list")):
                yield f"tokens for the audience {audience} are accepted as well"
    for door in _doors(kind, after):
        if not any(_is_wider(was, door) for was in _doors(kind, before or {})):
            yield f"opened to {door[0]} on {_ports(*door[1:])}"


def _special(kind: str, attribute: str) -> Callable[[Any, Any], Iterator[Difference] | None] | None:
    if (kind, attribute) == ("aws_ecs_task_definition", "container_definitions"):
        return _container_differences
    if (kind, attribute) == ("aws_ecr_lifecycle_policy", "policy"):
        return _lifecycle_differences
    if kind in _POLICIES and _POLICIES[kind].attribute == attribute:
        prefix = "trust" if _POLICIES[kind].kind is Kind.TRUST else "statement"
        return lambda old, new: _policy_differences(attribute, prefix, old, new)
    return None


def _policy_differences(attribute: str, prefix: str, old: Any, new: Any) -> Iterator[Difference] | None:
    was = policy.parse(old)
    if new is Masked.UNKNOWN and was is not None:
        before = f"{len(was)} statement{'s' if len(was) != 1 else ''}" if was else Masked.ABSENT
        return iter([Difference((attribute,), before, Masked.UNKNOWN)])
    now = policy.parse(new)
    if was is None or now is None:
        return None
    return (
        Difference((attribute,), before, after, label)
        for label, before, after in policy.differences(was, now, prefix)
    )


def _lifecycle_differences(old: Any, new: Any) -> Iterator[Difference] | None:
    sides = []
    for value in (old, new):
        rules = sequence(mapping(embedded(value) if isinstance(value, str) else {}).get("rules"))
        if (not rules and not _is_nothing(value)) or not all(isinstance(rule, dict) for rule in rules):
            return None
        sides.append({str(rule.get("rulePriority", "")): rule for rule in rules})
    was, now = sides
    return (
        Difference(difference.path, difference.before, difference.after, f"rule {priority}: {tail}")
        for priority in dict.fromkeys([*was, *now])
        for difference in attribute_differences(("policy", 0), was.get(priority), now.get(priority))
        if (tail := label_of(difference.path[2:])) != "rulePriority"
    )


def _container_differences(old: Any, new: Any) -> Iterator[Difference] | None:
    was = _containers(old)
    if new is Masked.UNKNOWN and was is not None:
        return iter([Difference(("container_definitions",), [*was] or Masked.ABSENT, Masked.UNKNOWN)])
    now = _containers(new)
    if was is None or now is None:
        return None
    return (
        difference
        for name in dict.fromkeys([*now, *was])
        for difference in _container(name, was.get(name), now.get(name))
    )


def _containers(value: Any) -> dict[str, Mapping[str, Any]] | None:
    if _is_nothing(value):
        return {}
    listed = embedded(value) if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(item, dict) and "name" in item for item in listed):
        return None
    by_name = {str(item["name"]): item for item in listed}
    return by_name if len(by_name) == len(listed) else None


def _container(
    name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> Iterator[Difference]:
    path: Path = ("container_definitions", 0)
    prefix = f"container {name}"
    if new is None:
        yield Difference(path, mapping(old).get("image", ""), Masked.ABSENT, prefix)
        return
    was, now = mapping(old), mapping(new)
    for attribute in ("image", "cpu", "memory", "memoryReservation"):
        if _meant(attribute, was.get(attribute)) != _meant(attribute, now.get(attribute)):
            yield Difference(
                (*path, attribute),
                _side(was.get(attribute)),
                _side(now.get(attribute)),
                f"{prefix}: {attribute}",
            )
    ports = [[_port(port) for port in sequence(side.get("portMappings"))] for side in (was, now)]
    if sorted(ports[0]) != sorted(ports[1]):
        yield Difference(path, ports[0] or Masked.ABSENT, ports[1] or Masked.ABSENT, f"{prefix}: ports")
    yield from _variable_differences(path, prefix, was, now)
    for attribute in sorted((was.keys() | now.keys()) - _TOLD):
        sides = (_meant(attribute, was.get(attribute)), _meant(attribute, now.get(attribute)))
        for difference in attribute_differences((*path, attribute), *sides):
            tail = label_of(difference.path[2:])
            yield Difference(difference.path, difference.before, difference.after, f"{prefix}: {tail}")


def _variable_differences(
    path: Path, prefix: str, was: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[Difference]:
    for attribute, word, key in (("environment", "environment", "value"), ("secrets", "secret", "valueFrom")):
        if was.get(attribute) == now.get(attribute):
            continue
        before, after = _named(was.get(attribute), key), _named(now.get(attribute), key)
        for variable in dict.fromkeys([*after, *before]):
            sides = (before.get(variable, Masked.ABSENT), after.get(variable, Masked.ABSENT))
            if _same(*sides):
                continue
            if key == "value":
                # A secret is shown by the place that it is read from; the value of a variable never is.
                sides = (_covered(sides[0]), _covered(sides[1]))
            yield Difference(path, *sides, label=f"{prefix}: {word} {variable}")


_TOLD = frozenset(
    {"name", "image", "cpu", "memory", "memoryReservation", "portMappings", "environment", "secrets"}
)


def _meant(attribute: str, value: Any) -> Any:
    """A container's attribute without what ECS fills in when it is left out."""
    if (attribute, value) in (("essential", True), ("cpu", 0)):
        return None
    return None if _is_nothing(value) else value


def _port(port: Any) -> str:
    """`8080/tcp`, `80→8080/tcp` where the host's differs, and the name that Service Connect uses."""
    values = mapping(port)
    inside, outside = values.get("containerPort", "?"), values.get("hostPort")
    shown = f"{outside}→{inside}" if outside not in (None, 0, inside) else f"{inside}"
    name = f" {values['name']}" if values.get("name") else ""
    return f"{shown}/{values.get('protocol') or 'tcp'}{name}"


def _named(pairs: Any, key: str) -> dict[str, Any]:
    return {
        str(pair["name"]): pair.get(key)
        for pair in sequence(pairs)
        if isinstance(pair, dict) and "name" in pair
    }


def _policy_widenings(
    about: _Policy, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, around: Surroundings
) -> Iterator[str]:
    old, new = mapping(before).get(about.attribute), mapping(after).get(about.attribute)
    host = (after if after is not None else mapping(before)).get(about.host) if about.host else None
    if _same(old, new):
        return
    if after is None and (not about.host or _names(host) & around.deleted):
        # What goes with its host denies nothing that is left.
        return
    is_new = before is None and (not about.host or _is_new(host, around))
    if new is Masked.UNKNOWN:
        if not is_new:
            yield f"{about.attribute} not known until apply"
        return
    is_hidden = isinstance(old, Hidden) or isinstance(new, Hidden)
    was, now = (policy.parse(side.opened if isinstance(side, Hidden) else side) for side in (old, new))
    if was is None or now is None:
        yield f"{about.attribute} cannot be read as a policy"
        return
    found = policy.wide_from_the_start(now, about.kind) if is_new else policy.widenings(was, now, about.kind)
    if is_hidden:
        if any(True for _ in found):
            yield f"{about.attribute} is sensitive, and allows more than before"
        return
    yield from found


def _role_widenings(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Iterator[str]:
    for arn in sequence(after.get("managed_policy_arns")):
        if arn not in sequence(mapping(before).get("managed_policy_arns")):
            yield from _attached(arn, after.get("name"), is_new=before is None)
    boundaries = (mapping(before).get("permissions_boundary"), after.get("permissions_boundary"))
    if not _is_nothing(boundaries[0]) and _is_nothing(boundaries[1]):
        yield "lost its permissions boundary"
    old, new = (
        {
            str(mapping(item).get("name")): mapping(item).get("policy")
            for item in sequence(side.get("inline_policy"))
        }
        for side in (mapping(before), after)
    )
    for name, text in new.items():
        was, now = policy.parse(old.get(name)), policy.parse(text)
        if now and before is None:
            yield from policy.wide_from_the_start(now, Kind.IDENTITY)
        elif now and was is not None:
            yield from policy.widenings(was, now, Kind.IDENTITY)


def _attachment_widenings(
    host_name: str, before: Mapping[str, Any], after: Mapping[str, Any], around: Surroundings
) -> Iterator[str]:
    host = after.get(host_name)
    if not _same(before.get(host_name), host) or not _same(before.get("policy_arn"), after.get("policy_arn")):
        yield from _attached(after.get("policy_arn"), host, is_new=_is_new(host, around))


def _attached(arn: Any, host: Any, *, is_new: bool) -> Iterator[str]:
    where = f" to {host}" if isinstance(host, str) else ""
    if not isinstance(arn, str):
        if not is_new and arn is not None:
            yield f"a policy not known until apply is attached{where}"
        return
    name = arn.rpartition("/")[2]
    if _ADMINISTRATOR.fullmatch(name):
        yield f"ADMINISTRATOR: {name} is attached{where}"
    elif not is_new or name.endswith("FullAccess"):
        yield f"policy {name} is attached{where}"


def _is_new(host: Any, around: Surroundings) -> bool:
    """Whether the same plan creates what a policy hangs on; a name that is not known yet is that of something to come."""
    return host is Masked.UNKNOWN or bool(_names(host) & around.created)


def _names(host: Any) -> set[str]:
    return {host} if isinstance(host, str) else set()


_Door = tuple[str, str, Any, Any]


def _doors(kind: str, values: Mapping[str, Any]) -> list[_Door]:
    """What is open to the whole internet: (CIDR, protocol, first port, last port)."""
    if kind == "aws_vpc_security_group_ingress_rule":
        cidrs = [values.get("cidr_ipv4"), values.get("cidr_ipv6")]
        return [
            (cidr, str(values.get("ip_protocol")), values.get("from_port"), values.get("to_port"))
            for cidr in cidrs
            if isinstance(cidr, str) and cidr in _OPEN
        ]
    if kind == "aws_security_group_rule" and values.get("type") == "ingress":
        return _block_doors(values)
    if kind == "aws_security_group":
        return [door for block in sequence(values.get("ingress")) for door in _block_doors(mapping(block))]
    return []


def _block_doors(block: Mapping[str, Any]) -> list[_Door]:
    cidrs = [*sequence(block.get("cidr_blocks")), *sequence(block.get("ipv6_cidr_blocks"))]
    return [
        (cidr, str(block.get("protocol")), block.get("from_port"), block.get("to_port"))
        for cidr in cidrs
        if isinstance(cidr, str) and cidr in _OPEN
    ]


def _is_wider(door: _Door, than: _Door) -> bool:
    if door[0] != than[0] or door[1] not in ("-1", than[1]):
        return False
    if door[1] == "-1" or door[2:] == than[2:]:
        return True
    ports = (*door[2:], *than[2:])
    return all(isinstance(port, int) for port in ports) and ports[0] <= ports[2] and ports[3] <= ports[1]


def _ports(protocol: str, first: Any, last: Any) -> str:
    if protocol == "-1":
        return "every port"
    return f"{protocol} {first}" if first == last else f"{protocol} {first}-{last}"


def _list_differences(path: Path, old: Sequence[Any], new: Sequence[Any], kind: str) -> Iterator[Difference]:
    is_plain = not any(isinstance(member, (dict, list)) for member in (*old, *new))
    if is_plain and max(len(old), len(new)) <= _SHORT_LIST:
        label = _WORDS.get((kind, label_of(path)), "")
        yield Difference(path, list(old) or Masked.ABSENT, list(new) or Masked.ABSENT, label)
        return
    left: list[tuple[int | None, int | None]]
    if len(old) * len(new) > _MOST_PAIRS:
        left = [(at, at) for at in range(max(len(old), len(new)))]
    else:
        left = _unmatched(old, new)
        if not left:
            yield Difference(path, list(old), list(new))
            return
    for was, now in left:
        before = old[was] if was is not None and was < len(old) else None
        after = new[now] if now is not None and now < len(new) else None
        yield from attribute_differences((*path, now if now is not None else was), before, after, kind)


def _unmatched(old: Sequence[Any], new: Sequence[Any]) -> list[tuple[int | None, int | None]]:
    """The places of members that are not on the other side, whatever their order: Terraform sorts sets, so that one member
    more moves all that follow. As many gone as come are taken as changed.
    """
    gone, come = list(range(len(old))), []
    for now, member in enumerate(new):
        was = next((at for at in gone if _same(old[at], member)), None)
        if was is None:
            come.append(now)
        else:
            gone.remove(was)
    if len(gone) == len(come):
        return list(zip(gone, come, strict=True))
    return [(was, None) for was in gone] + [(None, now) for now in come]


def _covered(value: Any) -> Any:
    return value if value is Masked.ABSENT else Hidden(value)


def _is_said_by(old_tags: Any, new_tags: Any, old: Any, new: Any) -> bool:
    """Whether `tags` say already what changes in `tags_all`, which are the same with the provider's default tags."""
    return all(
        _same(mapping(old).get(key), mapping(new).get(key))
        or (
            _same(mapping(old_tags).get(key), mapping(old).get(key))
            and _same(mapping(new_tags).get(key), mapping(new).get(key))
        )
        for key in {*mapping(old), *mapping(new)}
    )


def _opened(value: Any) -> Any:
    parsed = embedded(value) if isinstance(value, str) else None
    return value if parsed is None else parsed


def _is_kind(kind: type, old: Any, new: Any) -> bool:
    """Whether both are of the kind, or one is and the other is nothing."""
    return (isinstance(old, kind) and (isinstance(new, kind) or _is_nothing(new))) or (
        isinstance(new, kind) and _is_nothing(old)
    )


def _is_nothing(value: Any) -> bool:
    return value is None or value is Masked.ABSENT or (isinstance(value, (str, list, dict)) and not value)


def _side(value: Any) -> Any:
    return Masked.ABSENT if value is None else value


def _same(old: Any, new: Any) -> bool:
    # True and 1 are equal to Python, and not to Terraform.
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)
