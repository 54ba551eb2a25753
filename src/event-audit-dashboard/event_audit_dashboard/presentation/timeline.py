"""The drawing of when findings were made and events happened: numbers for an SVG. Pure.

Bars are findings: as wide as they lasted, as high as they have events. Ticks are single events.
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
#: A finding of one moment is still seen.
MIN_BAR: Final = 6.0
MAX_TICKS: Final = 400


class Bar(Struct, frozen=True):
    """One finding. The origin is the upper left corner."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    words: str


class Timeline(Struct, frozen=True):
    """The drawing and the three moments below it."""

    bars: tuple[Bar, ...]
    ticks: tuple[float, ...]
    start: dt.datetime
    middle: dt.datetime
    end: dt.datetime
    words: str


def draw(findings: Sequence[Finding]) -> Timeline | None:
    """None when there is nothing to compare: no findings, or all in one moment."""
    if not findings:
        return None
    start = min(one.first_seen for one in findings)
    end = max(one.last_seen for one in findings)
    if end - start < dt.timedelta(seconds=1):
        return None
    most = max(one.count for one in findings)

    def x(moment: dt.datetime) -> float:
        return min(max((moment - start) / (end - start), 0.0), 1.0) * (WIDTH - MIN_BAR)

    bars = tuple(_bar(one, x, most) for one in sorted(findings, key=lambda one: one.first_seen))
    moments = {round(x(ref.timestamp) + MIN_BAR / 2, 1) for one in findings
               for ref in one.evidence.events if start <= ref.timestamp <= end}  # fmt: skip
    words = (
        f"{plural(len(findings), 'finding')} over {times.span(start, end)}, "
        f"from {times.exact(start)} to {times.exact(end)}; "
        f"the largest has {plural(most, 'event')}."
    )
    ticks = tuple(sorted(moments)[:MAX_TICKS])
    return Timeline(bars, ticks, start, start + (end - start) / 2, end, words)


def _bar(finding: Finding, x: Callable[[dt.datetime], float], most: int) -> Bar:
    left = x(finding.first_seen)
    height = max(8.0, finding.count / most * HEIGHT)
    words = (
        f"{plural(finding.count, 'event')}, {times.exact(finding.first_seen)}, "
        f"{times.span(finding.first_seen, finding.last_seen)}"
    )
    return Bar(
        x=round(left, 1),
        y=round(HEIGHT - height, 1),
        width=round(max(MIN_BAR, x(finding.last_seen) - left + MIN_BAR), 1),
        height=round(height, 1),
        kind=finding.severity.lower(),
        words=words,
    )
