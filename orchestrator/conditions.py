"""The small language in which orch.toml says what a measured value must be: `value < 0.01`, `0 <= value <= 5 or value == 99`.

Comparisons of `value` with numbers, joined by `and`, `or`, `not` and parentheses. Hides how it is parsed (Python's own parser,
of whose trees only these are let through; nothing is ever evaluated as Python). A leaf: pure.
"""

from __future__ import annotations

import ast
import operator
import warnings
from functools import lru_cache

LONGEST = 200
"""As many characters as a condition may have."""

_EXAMPLE = "write a comparison of `value` with a number, such as value < 0.01"
_COMPARISONS = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def check(text: str) -> str:
    """The text, when it is a condition. Raises ValueError whose message says what is wrong, and what to write."""
    _parsed(text)
    return text


def holds(text: str, value: float) -> bool:
    """Whether the value meets the condition. Raises ValueError when the text is none (see `check`)."""
    return _holds(_parsed(text), value)


@lru_cache(maxsize=256)
def _parsed(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise ValueError(f"has {len(text)} characters, and at most {LONGEST} are read; {_EXAMPLE}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is no condition; {_EXAMPLE}") from None
    _require_condition(tree, text)
    return tree


def _require_condition(node: ast.expr, text: str) -> None:
    match node:
        case ast.BoolOp(values=parts):
            for part in parts:
                _require_condition(part, text)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            _require_condition(part, text)
        case ast.Compare(left=left, ops=comparisons, comparators=others):
            sides = [left, *others]
            unknown = next((type(one) for one in comparisons if type(one) not in _COMPARISONS), None)
            if unknown is not None:
                raise ValueError(f"{text!r} compares in a way that numbers have not; {_EXAMPLE}")
            for side in sides:
                _require_operand(side, text)
            if not any(isinstance(side, ast.Name) for side in sides):
                raise ValueError(f"{text!r} compares numbers alone; {_EXAMPLE}")
        case _:
            raise ValueError(f"{text!r}: {ast.unparse(node)!r} is no comparison; {_EXAMPLE}")


def _require_operand(node: ast.expr, text: str) -> None:
    is_value = isinstance(node, ast.Name) and node.id == "value"
    if not is_value and _number(node) is None:
        raise ValueError(f"{text!r}: {ast.unparse(node)!r} is neither `value` nor a number; {_EXAMPLE}")


def _number(node: ast.expr) -> float | None:
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=part):
            found = _number(part)
            return None if found is None else -found
        # True is a number to Python.
        case ast.Constant(value=int() | float() as found) if not isinstance(found, bool):
            return found
        case _:
            return None


def _holds(node: ast.expr, value: float) -> bool:
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_holds(part, value) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_holds(part, value) for part in parts)
        case ast.UnaryOp(operand=part):
            return not _holds(part, value)
        case ast.Compare(left=left, ops=comparisons, comparators=others):
            sides = [_side(side, value) for side in (left, *others)]
            pairs = zip(comparisons, sides, sides[1:], strict=False)
            return all(_COMPARISONS[type(one)](before, after) for one, before, after in pairs)
        case _:
            raise AssertionError(f"let through: {ast.dump(node)}")


def _side(node: ast.expr, value: float) -> float:
    number = _number(node)
    return value if number is None else number
