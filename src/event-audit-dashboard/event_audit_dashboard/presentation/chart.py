"""Computes a chart of alerts by time and level as SVG coordinates. Pure."""

import datetime as dt
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from auditflow.contract.level import Level
from auditflow.contract.statistics import Opened

WIDTH: Final = 720
HEIGHT: Final = 120
#: Levels from the bottom of a stack to its top.
ORDER: Final = tuple(Level)


class Segment(Struct, frozen=True):
    """A part of a column: the alerts of one level."""

    level: str
    y: float
    height: float


class Column(Struct, frozen=True):
    """The alerts of one hour or day. ``counts`` has numbers above zero, the highest level first."""

    start: dt.datetime
    end: dt.datetime
    x: float
    width: float
    total: int
    counts: tuple[tuple[str, int], ...]
    segments: tuple[Segment, ...]


class Chart(Struct, frozen=True):
    """All columns, the oldest first, and the highest number of alerts in one."""

    columns: tuple[Column, ...]
    highest: int
    total: int


def draw(opened: Sequence[Opened], *, last: dt.datetime, step: dt.timedelta, number: int) -> Chart:
    """Stacked columns for ``number`` periods of ``step``. The last period starts at ``last``."""
    counts: dict[dt.datetime, dict[str, int]] = {}
    for item in opened:
        counts.setdefault(item.start, {})[str(item.level)] = item.alerts
    starts = [last - step * index for index in reversed(range(number))]
    highest = max((sum(counts.get(start, {}).values()) for start in starts), default=0)
    width = WIDTH / number
    columns = []
    for index, start in enumerate(starts):
        here = counts.get(start, {})
        y, segments = float(HEIGHT), []
        for level in ORDER:
            if here.get(level):
                height = here[level] / highest * (HEIGHT - 4)
                y -= height
                segments.append(Segment(str(level), round(y, 1), round(height, 1)))
        columns.append(
            Column(
                start,
                start + step,
                round(index * width + 1, 1),
                round(width - 2, 1),
                sum(here.values()),
                tuple((str(it), here[it]) for it in reversed(ORDER) if here.get(it)),
                tuple(segments),
            )
        )
    return Chart(tuple(columns), highest, sum(column.total for column in columns))
