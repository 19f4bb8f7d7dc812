"""Takes every secret out of values of a plan, and leaves a marker from which nothing leads back. Pure.

`terraform show -json` redacts nothing: the masks lie beside the values, as parallel trees in which `true` at any level covers
all below it (https://developer.hashicorp.com/terraform/internals/json-format#change-representation). They cover only what was
declared, so three more nets lie under them: the exact values of everything declared sensitive, wherever they turn up again;
names of attributes that hold secrets by rule, above all the environment of containers, which is one JSON string to Terraform;
and shapes of credentials (orchestrator.masks). Only `Nets.mask` and `Nets.text` make what may leave orchestrator.terraform.
"""

from __future__ import annotations

import base64
import copy
import functools
import itertools
import json
import re
import string
import urllib.parse
from typing import TYPE_CHECKING, Any

from orchestrator import masks
from orchestrator.model import Masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator.model import Value

# Shorter values are matched whole only: as a part of other text they would take half of it away.
_SUBSTRING_LENGTH = 6
# Values of the caller's environment are guessed to be secrets by their names, so short ones, such as `test`, are let be.
_ENVIRONMENT_LENGTH = 8
_LABEL_LENGTH = 120
_MOST_KNOWN = 20_000
_SECRET_NAME = re.compile(
    r"(?:.*_)?(?:password|passwd|pwd|passphrase|secret|secret_string|secret_binary|secret_key|access_key|private_key|private_key_pem"
    r"|preshared_key|api_key|apikey|token|credentials|connection_string|user_data|user_data_base64)(?:_wo)?"
)
_ENVIRONMENT_NAMES = frozenset(
    {"environment", "environment_variable", "environment_variables", "runtime_environment_variables"}
)
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-. ]")
_BASE64 = frozenset(string.ascii_letters + string.digits + "+/=_-")
# Go's JSON, and with it `jsonencode`, writes these so: https://pkg.go.dev/encoding/json#HTMLEscape
_GO_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
# What takes a name and a password: `curl -u`. Two numbers are those of a user and a group.
_PAIR_OPTIONS = frozenset({"-u", "--user", "--proxy-user"})
_PAIR = re.compile(r"[^\s:]*:(?!\d+\Z)\S+")
_INDEX_KEY = re.compile(r'(?<=\[")(?:[^"\\]|\\.)*(?="\])')


class Hidden:
    """A value under a mask, still comparable with another, so that a change between two secrets shows; never printable."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return bool(self._value == (other.opened if isinstance(other, Hidden) else other))

    __hash__ = None  # type: ignore[assignment]  # what is in it may be a list

    def __repr__(self) -> str:
        return masks.SENSITIVE

    @property
    def opened(self) -> Any:
        """The value, to judge by; nothing made from it may leave orchestrator.terraform."""
        return self._value


class Nets:
    """The secrets of one run, and the nets for them."""

    def __init__(
        self, secrets: Iterable[object] = (), covered: Mapping[str, Sequence[object]] | None = None
    ) -> None:
        """`covered` are values that are secret in what is said of one resource, by its address."""
        known = {text for secret in secrets for text in _secret_texts(secret)}
        self._whole = frozenset(known)
        self._beside: tuple[str, ...] = ()
        self._covered = covered or {}
        # What was read already: labels and names come again with every resource of a kind.
        self._known: dict[str, str] = {}
        long = [text for text in known if len(text) >= _SUBSTRING_LENGTH]
        self._parts = _pattern({form for text in long for form in _written_forms(text)})
        self._encoded = _pattern({form for text in long for form in _base64_forms(text)})

    def beside(self, values: Iterable[object]) -> Nets:
        """These nets, and what stands under the masks of one resource: a provider copies it into attributes that nobody marks."""
        texts = {text for value in values for text in _texts_in(value)}
        if not texts:
            return self
        more = copy.copy(self)
        more._known = {}  # noqa: SLF001
        more._whole = self._whole | texts  # noqa: SLF001  # another one of us
        more._beside = tuple(text for text in texts if len(text) >= _SUBSTRING_LENGTH)  # noqa: SLF001
        return more

    def at(self, address: str) -> Nets:
        """These nets, for what is said of the resource with this address."""
        return self.beside(self._covered.get(address, ()))

    def text(self, text: str) -> str:
        """Text for people without the secrets in it."""
        known = self._known.get(text)
        if known is None:
            known = masks.SENSITIVE if text in self._whole else masks.scrub(self._without_parts(text))
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            if len(text) <= _LABEL_LENGTH:
                self._known[text] = known
        return known

    def address(self, address: str) -> str:
        """A resource's address, whose `for_each` keys may be values that are secret elsewhere."""
        return self.text(_INDEX_KEY.sub(lambda key: self.text(key[0]), address))

    def mask(self, value: Any, path: Sequence[object] = ()) -> Value:
        """A value with every secret in it replaced; `path` are the keys that lead to it, for the rules that go by names."""
        state = ""
        for key in path:
            state = _step(state, key)
        return self._mask(value, state)

    def _mask(self, value: Any, state: str) -> Value:
        if isinstance(value, Hidden):
            return Masked.SENSITIVE
        if value is None or isinstance(value, Masked):
            return value
        if state == "hidden":
            return Masked.SENSITIVE
        if isinstance(value, bool):
            return value
        if isinstance(value, dict):
            return self._mapping(value, state)
        if isinstance(value, (list, tuple)):
            return [self._mask(member, _step(state, 0)) for member in value]
        if isinstance(value, str):
            if value in self._whole:
                return Masked.SENSITIVE
            parsed = embedded(value)
            return self.text(value) if parsed is None else self._mask(parsed, state)
        written = str(value)
        return value if self.text(written) == written else Masked.SENSITIVE

    def _mapping(self, value: dict[Any, Any], state: str) -> dict[str, Value]:
        masked: dict[str, Value] = {}
        for key, member in value.items():
            name = shown = self.text(str(key))
            number = 1
            while name in masked:
                number += 1
                name = f"{shown} {number}"
            masked[name] = self._mask(member, _step(state, key))
        return masked

    def _without_parts(self, text: str) -> str:
        """Secrets may overlap, or contain each other; everything that any of them covers goes."""
        spans = _spans(self._parts, text)
        # What stands beside a base64 form is made of the secret's first or last bits, and of what it was joined to.
        spans += [_widened(span, text) for span in _spans(self._encoded, text)]
        spans += [found for secret in self._beside if secret in text for found in _places(secret, text)]
        kept, end = [], 0
        for start, stop in sorted(spans):
            if start >= end:
                kept += [text[end:start], masks.SENSITIVE]
            end = max(end, stop)
        return "".join(kept) + text[end:] if kept else text


def nets_of(data: Mapping[str, Any], environ: Mapping[str, str]) -> Nets:
    """The nets for what commands say of a plan, from its JSON: an API's error quotes what it was sent."""
    around: dict[str, tuple[object, ...]] = {}
    for item in map(mapping, sequence(data.get("resource_changes"))):
        try:
            values = tuple(covered(mapping(item.get("change"))))
        except RecursionError:
            continue
        if values:
            address = str(item.get("address", ""))
            around[address] = around.get(address, ()) + values
    return Nets([*secrets_of(data), *secrets_in(environ, data)], around)


def secrets_of(data: Mapping[str, Any]) -> Iterator[object]:
    """The values of a plan's sensitive variables and outputs, before and after. Terraform says that a variable is sensitive
    in the configuration only; a module's variables are not in the plan by value.
    """
    values = mapping(data.get("variables"))
    for name, variable in _root_variables(data).items():
        if mapping(variable).get("sensitive"):
            yield mapping(values.get(name)).get("value")
            yield mapping(variable).get("default")
    for described in (
        mapping(data.get("planned_values")).get("outputs"),
        mapping(mapping(mapping(data.get("prior_state")).get("values")).get("outputs")),
    ):
        yield from (
            output.get("value")
            for output in mapping(described).values()
            if isinstance(output, dict) and output.get("sensitive")
        )
    for change in map(mapping, mapping(data.get("output_changes")).values()):
        yield from covered(change)


def covered(change: Mapping[str, Any]) -> Iterator[object]:
    """What the masks of a change cover, before and after, and what a list of arguments hands to an option such as `--password`."""
    for side in ("before", "after"):
        if mask := change.get(f"{side}_sensitive"):
            yield from _covered(change.get(side), mask)
        yield from _option_values(change.get(side))


def secrets_in(environ: Mapping[str, str], data: Mapping[str, Any] | None = None) -> frozenset[str]:
    """What the environment of Terraform holds that is secret: by the names of its variables (`TF_VAR_db_password`,
    `AWS_SECRET_ACCESS_KEY`, `GITHUB_TOKEN`), and, once there is a plan, every TF_VAR_* whose variable is declared sensitive or
    ephemeral; an ephemeral one is in no plan.
    """
    declared = {
        f"TF_VAR_{name}"
        for name, variable in _root_variables(data or {}).items()
        if mapping(variable).get("sensitive") or _is_ephemeral(name, data or {})
    }
    return frozenset(
        value
        for name, value in environ.items()
        if value and (name in declared or (len(value) >= _ENVIRONMENT_LENGTH and is_secret_name(name)))
    )


def hide(value: Any, mask: Any) -> Any:
    """The value with everything Hidden that Terraform's mask covers. What no mask touches is handed on, not copied."""
    if mask is True:
        return value if value is None or isinstance(value, (Hidden, Masked)) else Hidden(value)
    if isinstance(mask, dict) and isinstance(value, dict):
        touched = {key: hide(value[key], part) for key, part in mask.items() if part and key in value}
        return value | touched if touched else value
    if isinstance(mask, list) and isinstance(value, list):
        if not any(mask):
            return value
        return [hide(member, part) for member, part in zip(value, mask, strict=False)] + value[len(mask) :]
    return value


def with_unknown(value: Any, unknown: Any) -> Any:
    """The planned value with Masked.UNKNOWN where apply decides: Terraform leaves such keys out of `after`."""
    if unknown is True:
        return Masked.UNKNOWN
    if isinstance(unknown, dict) and _has_unknown(unknown):
        known = mapping(value)
        return {
            **known,
            **{
                key: with_unknown(known.get(key), part) for key, part in unknown.items() if _has_unknown(part)
            },
        }
    if isinstance(unknown, list) and _has_unknown(unknown):
        members, parts = sequence(value), len(unknown)
        return [
            with_unknown(members[at] if at < len(members) else None, unknown[at] if at < parts else None)
            for at in range(max(len(members), parts))
        ]
    return value


def embedded(text: str) -> Any:
    """The object or list that a string holds as JSON, such as a policy; None for any other string."""
    start = text[:64].lstrip()[:1]
    if start not in ("{", "["):
        return None
    try:
        parsed = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, (dict, list)) else None


@functools.lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether what has this name is a secret by rule: `password`, `db_password`, `userData`, `TF_VAR_token`."""
    return _SECRET_NAME.fullmatch(_WORD.sub("_", name).lower()) is not None


def mapping(value: Any) -> Mapping[str, Any]:
    """The value where it is an object, else an empty one: nothing that stands in a plan may stop orch from masking it."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> Sequence[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else ()


def _root_variables(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(mapping(mapping(data.get("configuration")).get("root_module")).get("variables"))


def _is_ephemeral(name: str, data: Mapping[str, Any]) -> bool:
    """Terraform 1.11 does not say so, but in what it prints of a plan every other variable has a value."""
    if mapping(_root_variables(data).get(name)).get("ephemeral"):
        return True
    return "format_version" in data and name not in mapping(data.get("variables"))


def _has_unknown(unknown: Any) -> bool:
    if isinstance(unknown, dict):
        return any(map(_has_unknown, unknown.values()))
    if isinstance(unknown, list):
        return any(map(_has_unknown, unknown))
    return unknown is True


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _step(state: str, key: object) -> str:
    """Where a key leads: `hidden`, or where in an environment's values one is.

    An environment is a list of objects with a name and a value (containers, CodeBuild), a map (App Runner), or a block with
    `variables` (Lambda). As a plain text, such as the tag `environment`, it is none.
    """
    if state == "hidden":
        return state
    if not isinstance(key, str):
        return "item" if state == "environment" else state if state == "item" else ""
    if key in _ENVIRONMENT_NAMES or (key == "variables" and state):
        return "environment"
    if state == "environment" or (state == "item" and key == "value") or is_secret_name(key):
        return "hidden"
    return ""


def _covered(value: Any, mask: Any) -> Iterator[object]:
    if isinstance(value, dict) and isinstance(mask, dict):
        for key, part in mask.items():
            yield from _covered(value.get(key), part)
    elif isinstance(value, list) and isinstance(mask, list):
        for member, part in zip(value, mask, strict=False):
            yield from _covered(member, part)
    elif mask is True:
        yield value


def _option_values(value: Any) -> Iterator[str]:
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
            for option, argument in itertools.pairwise(value):
                if isinstance(option, str) and isinstance(argument, str) and _is_secret_of(option, argument):
                    yield argument
        elif isinstance(value, str) and '"-' in value:
            left.append(embedded(value))


def _is_secret_of(option: str, argument: str) -> bool:
    """Whether this argument is a secret because of the one before it."""
    if not option.startswith("-") or argument.startswith("-"):
        return False
    if option in _PAIR_OPTIONS:
        return _PAIR.fullmatch(argument) is not None
    return is_secret_name(option.lstrip("-"))


def _secret_texts(secret: object) -> Iterator[str]:
    """The texts in a secret of any type; a JSON text is also taken apart."""
    for text in _texts_in(secret):
        yield text
        parsed = embedded(text)
        if parsed is not None:
            yield from _texts_in(parsed)
        # Indented into a script, a key of many lines is found line by line.
        if "\n" in text:
            yield from (
                line.strip() for line in text.splitlines() if len(line.strip()) >= _ENVIRONMENT_LENGTH
            )


def _texts_in(value: object) -> Iterator[str]:
    """The texts and numbers in a value. Keys are names, and stay; a yes or no is everywhere, and no secret."""
    if isinstance(value, dict):
        for member in value.values():
            yield from _texts_in(member)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for member in value:
            yield from _texts_in(member)
    elif isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield json.dumps(value)


def _pattern(needles: set[str]) -> re.Pattern[str] | None:
    """One pattern for all of these texts; at one place the longest matches, so that none leaves its end behind."""
    if not needles:
        return None
    # By first and second character, so that hundreds of secrets cost little more than one.
    starts: dict[str, dict[str, list[str]]] = {}
    for text in sorted(needles, key=len, reverse=True):
        starts.setdefault(text[0], {}).setdefault(text[1], []).append(re.escape(text[2:]))
    branches = []
    for first, seconds in starts.items():
        rests = (f"{re.escape(second)}(?:{'|'.join(rest)})" for second, rest in seconds.items())
        branches.append(f"{re.escape(first)}(?:{'|'.join(rests)})")
    return re.compile("|".join(branches))


def _spans(pattern: re.Pattern[str] | None, text: str) -> list[tuple[int, int]]:
    """Where a pattern matches, overlaps included."""
    found: list[tuple[int, int]] = []
    match = pattern.search(text) if pattern is not None else None
    while pattern is not None and match is not None:
        found.append(match.span())
        match = pattern.search(text, match.start() + 1)
    return found


def _places(secret: str, text: str) -> Iterator[tuple[int, int]]:
    at = text.find(secret)
    while at >= 0:
        yield at, at + len(secret)
        at = text.find(secret, at + 1)


def _widened(span: tuple[int, int], text: str) -> tuple[int, int]:
    start, stop = span
    while start > 0 and text[start - 1] in _BASE64:
        start -= 1
    while stop < len(text) and text[stop] in _BASE64:
        stop += 1
    return start, stop


def _written_forms(secret: str) -> Iterator[str]:
    yield secret
    for text in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        for once in (text, text.translate(_GO_ESCAPES)):
            yield once
            # A string in JSON in a string in JSON.
            yield json.dumps(once, ensure_ascii=False)[1:-1]
    quoted = urllib.parse.quote(secret, safe="", errors="surrogatepass")
    yield quoted
    yield urllib.parse.quote(secret, errors="surrogatepass")
    yield urllib.parse.quote_plus(secret, errors="surrogatepass")
    yield re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), quoted)


def _base64_forms(secret: str) -> Iterator[str]:
    """The base64 of the secret alone, and the part that all base64 shows which has the secret somewhere inside, by the three
    places that its first byte can have in a group of three.
    """
    data = secret.encode(errors="surrogatepass")
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + data).decode()
        # Characters that hold bits of other bytes as well are left out, and found beside it.
        inner = whole[(0, 2, 3)[shift] : (len(data) + shift) * 8 // 6]
        for text in (inner, inner.translate(str.maketrans("+/", "-_"))):
            if len(text) >= _SUBSTRING_LENGTH:
                yield text
