"""Computes a timeline as SVG coordinates: alerts as bars in lanes, and numbers of events. Pure."""

import datetime as dt
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from auditflow.contract.alert import AlertSummary
from auditflow.contract.event_search import EventHistogram
from event_audit_dashboard.presentation import times

WIDTH: Final = 1000.0
LANE: Final = 14
MIN_BAR: Final = 8.0
MAX_LANES: Final = 12
#: Height of the numbers of events below the alerts, in pixels.
EVENTS_HEIGHT: Final = 40.0


class Bar(Struct, frozen=True):
    """An alert from its first to its last event."""

    x: float
    y: int
    width: float
    level: str
    alert_id: str
    label: str


class Column(Struct, frozen=True):
    """The events of a period. ``y`` and ``height`` are within ``EVENTS_HEIGHT``."""

    x: float
    y: float
    width: float
    height: float
    count: int
    start: dt.datetime
    end: dt.datetime


class Lanes(Struct, frozen=True):
    """All bars, the height of their lanes in pixels, the events, and the times at both ends."""

    bars: tuple[Bar, ...]
    height: int
    start: dt.datetime
    end: dt.datetime
    columns: tuple[Column, ...] = ()


def draw(alerts: Sequence[AlertSummary], events: EventHistogram | None = None) -> Lanes | None:
    """Place the alerts so that no two bars overlap, above the numbers of events.

    Alerts that find no free lane are left out; the list below the timeline has them. None if there
    are no events and less than two alerts.
    """
    filled = _filled(events)
    if not filled and len(alerts) < 2:
        return None
    start = min([item.first_seen for item in alerts] + [first for first, _, _ in filled])
    end = max([item.last_seen for item in alerts] + [last for _, last, _ in filled])
    span = max((end - start).total_seconds(), 1.0)
    free_from: list[float] = []
    bars = []
    for alert in sorted(alerts, key=lambda item: item.first_seen):
        x = (alert.first_seen - start).total_seconds() / span * (WIDTH - MIN_BAR)
        length = (alert.last_seen - alert.first_seen).total_seconds() / span * (WIDTH - MIN_BAR)
        width = max(MIN_BAR, length)
        lane = next((index for index, until in enumerate(free_from) if until <= x), len(free_from))
        if lane == MAX_LANES:
            continue
        free_from[lane : lane + 1] = [x + width + 2]
        label = f"{times.exact(alert.first_seen)}: {alert.title or alert.rule.id}"
        bars.append(
            Bar(
                round(x, 1), lane * LANE, round(width, 1), str(alert.level), str(alert.alert_id),
                label,
            )
        )  # fmt: skip
    return Lanes(
        tuple(bars), len(free_from) * LANE, start, end, tuple(_columns(filled, start, span))
    )


def period_of(histogram: EventHistogram) -> tuple[dt.datetime, dt.datetime] | None:
    """From the beginning of the first period with events to the end of the last one."""
    filled = _filled(histogram)
    return (filled[0][0], filled[-1][1]) if filled else None


def _filled(histogram: EventHistogram | None) -> list[tuple[dt.datetime, dt.datetime, int]]:
    """Start, end and number of each period that has events."""
    if histogram is None:
        return []
    step = dt.timedelta(seconds=histogram.interval_seconds)
    return [(each.start, each.start + step, each.count) for each in histogram.buckets if each.count]


def _columns(
    filled: Sequence[tuple[dt.datetime, dt.datetime, int]], start: dt.datetime, span: float
) -> list[Column]:
    highest = max((count for _, _, count in filled), default=1)
    found = []
    for first, last, count in filled:
        height = round(max(2.0, count / highest * EVENTS_HEIGHT), 1)
        x = (first - start).total_seconds() / span * WIDTH
        width = max(1.0, (last - first).total_seconds() / span * WIDTH - 1)
        y = round(EVENTS_HEIGHT - height, 1)
        found.append(Column(round(x, 1), y, round(width, 1), height, count, first, last))
    return found
