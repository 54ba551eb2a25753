"""Computes the bars of small charts as SVG coordinates. Pure."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

HEIGHT: Final = 24
WIDTH: Final = 4


class Bar(Struct, frozen=True):
    """A bar. ``y`` is its upper edge."""

    x: int
    y: float
    height: float


def bars(values: Sequence[int]) -> list[Bar]:
    """A bar for each value that is not zero. The highest value has the full height."""
    highest = max(values, default=0)
    return [
        Bar(index * WIDTH, round(HEIGHT - height, 1), height)
        for index, value in enumerate(values)
        if value and (height := round(max(2.0, value / highest * HEIGHT), 1))
    ]
