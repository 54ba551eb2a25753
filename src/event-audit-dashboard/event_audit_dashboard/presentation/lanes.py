"""Computes a timeline of alerts as SVG coordinates: a bar for each alert, in lanes. Pure."""

import datetime as dt
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from auditflow.contract.alert import AlertSummary
from event_audit_dashboard.presentation import times

WIDTH: Final = 1000.0
LANE: Final = 14
MIN_BAR: Final = 8.0
MAX_LANES: Final = 12


class Bar(Struct, frozen=True):
    """An alert from its first to its last event."""

    x: float
    y: int
    width: float
    level: str
    alert_id: str
    label: str


class Lanes(Struct, frozen=True):
    """All bars, the height in pixels, and the times at both ends."""

    bars: tuple[Bar, ...]
    height: int
    start: dt.datetime
    end: dt.datetime


def draw(alerts: Sequence[AlertSummary]) -> Lanes | None:
    """Place the alerts so that no two bars overlap. None for less than two alerts.

    Alerts that find no free lane are left out; the list below the timeline has them.
    """
    if len(alerts) < 2:
        return None
    start = min(item.first_seen for item in alerts)
    end = max(item.last_seen for item in alerts)
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
    return Lanes(tuple(bars), len(free_from) * LANE, start, end)
