"""Metrics of a few weeks as shapes of a small chart, in the units of an SVG's viewBox. Pure.

Comes in: one number or nothing for each part of a period. Goes out: Bars or a Line, which a template draws; nothing of it is text
of others. What there was no data for has no shape, and is never a zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 240, 56
_GAP = 4
_LEAST = 2.0


@dataclass(frozen=True)
class Box:
    """A rectangle: its left and upper edge, width and height."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Bars:
    """A column for each part: `whole` stand on the ground, `failed` on top of them. `most` is what the full height stands for."""

    whole: tuple[Box, ...]
    failed: tuple[Box, ...]
    most: int


@dataclass(frozen=True)
class Line:
    """A dot for each part there is a value of, and a line between neighbours. `most` is what the full height stands for."""

    dots: tuple[tuple[float, float], ...]
    strokes: tuple[tuple[float, float, float, float], ...]
    most: float


def bars(parts: Sequence[tuple[int, int]]) -> Bars:
    """Columns of (all, how many of these failed)."""
    most = max((every for every, _failed in parts), default=0)
    step = WIDTH / max(len(parts), 1)
    whole: list[Box] = []
    failed: list[Box] = []
    for number, (every, bad) in enumerate(parts):
        x, width, ground = number * step + _GAP / 2, step - _GAP, float(HEIGHT)
        for count, boxes in ((every - bad, whole), (bad, failed)):
            if count:
                height = max(count * HEIGHT / most, _LEAST)
                ground -= height
                boxes.append(_rounded(x, ground, width, height))
    return Bars(tuple(whole), tuple(failed), most)


def line(values: Sequence[float | None]) -> Line:
    """Dots from left to right, the largest value at the top."""
    most = max((value for value in values if value is not None), default=0.0)
    step, room = WIDTH / max(len(values), 1), HEIGHT - 8
    placed = [
        None
        if value is None
        else (
            round((number + 0.5) * step, 1),
            round(4 + room - (value / most * room if most else 0.0), 1),
        )
        for number, value in enumerate(values)
    ]
    return Line(
        tuple(one for one in placed if one is not None),
        tuple((*one, *other) for one, other in pairwise(placed) if one is not None and other is not None),
        most,
    )


def _rounded(x: float, y: float, width: float, height: float) -> Box:
    return Box(round(x, 1), round(y, 1), round(width, 1), round(height, 1))
