"""Computes the SVG coordinates of an alert's timeline. Pure.

A bar is a finding: its width is the duration, its height the number of events. A tick is an event.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from event_audit_dashboard.alerts import Finding
from event_audit_dashboard.presentation import times
from event_audit_dashboard.presentation.text import plural

WIDTH: Final = 1000.0
HEIGHT: Final = 96.0
#: Minimum width of a bar.
MIN_BAR: Final = 6.0
MAX_TICKS: Final = 400


class Bar(Struct, frozen=True):
    """A finding. The origin is the upper left corner."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    label: str


class Timeline(Struct, frozen=True):
    """All shapes, and the three axis labels."""

    bars: tuple[Bar, ...]
    ticks: tuple[float, ...]
    start: dt.datetime
    middle: dt.datetime
    end: dt.datetime
    label: str


def draw(findings: Sequence[Finding]) -> Timeline | None:
    """Return None if there are no findings or all events happened within one second."""
    if not findings:
        return None
    start = min(finding.first_seen for finding in findings)
    end = max(finding.last_seen for finding in findings)
    if end - start < dt.timedelta(seconds=1):
        return None
    max_count = max(finding.count for finding in findings)

    def x(timestamp: dt.datetime) -> float:
        return min(max((timestamp - start) / (end - start), 0.0), 1.0) * (WIDTH - MIN_BAR)

    bars = tuple(
        _bar(finding, x, max_count)
        for finding in sorted(findings, key=lambda item: item.first_seen)
    )
    positions = {round(x(ref.timestamp) + MIN_BAR / 2, 1) for finding in findings
                 for ref in finding.evidence.events if start <= ref.timestamp <= end}  # fmt: skip
    label = (
        f"{plural(len(findings), 'finding')} over {times.span(start, end)}, "
        f"from {times.exact(start)} to {times.exact(end)}; "
        f"the largest has {plural(max_count, 'event')}."
    )
    ticks = tuple(sorted(positions)[:MAX_TICKS])
    return Timeline(bars, ticks, start, start + (end - start) / 2, end, label)


def _bar(finding: Finding, x: Callable[[dt.datetime], float], max_count: int) -> Bar:
    left = x(finding.first_seen)
    height = max(8.0, finding.count / max_count * HEIGHT)
    label = (
        f"{plural(finding.count, 'event')}, {times.exact(finding.first_seen)}, "
        f"{times.span(finding.first_seen, finding.last_seen)}"
    )
    return Bar(
        x=round(left, 1),
        y=round(HEIGHT - height, 1),
        width=round(max(MIN_BAR, x(finding.last_seen) - left + MIN_BAR), 1),
        height=round(height, 1),
        kind=finding.severity.lower(),
        label=label,
    )
