"""Computes the SVG coordinates of the events of an alert on a time axis. Pure."""

import datetime as dt
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from auditflow.contract.alert import EventRow, FindingView
from event_audit_dashboard.localization.translation import ngettext
from event_audit_dashboard.presentation import times

WIDTH: Final = 1000.0
#: Events in the same stripe of this width are stacked.
STRIPE: Final = 12.0
#: Maximum number of events in a stack.
MAX_STACK: Final = 7
MIN_BAR: Final = 6.0
#: Height of an event in a stack.
MARK_HEIGHT: Final = 11


class Mark(Struct, frozen=True):
    """An event. ``level`` is its position in a stack, 0 at the bottom."""

    x: float
    level: int
    row: int
    label: str


class Bar(Struct, frozen=True):
    """The time span of a finding."""

    x: float
    width: float
    label: str


class Timeline(Struct, frozen=True):
    """All shapes, the times of the axis labels, and a description.

    ``height`` is the height of the highest stack.
    """

    marks: tuple[Mark, ...]
    bars: tuple[Bar, ...]
    start: dt.datetime
    end: dt.datetime
    label: str
    height: int


def draw(findings: Sequence[FindingView], events: Sequence[EventRow]) -> Timeline | None:
    """Return None if there is nothing to compare: no events, or all within one second."""
    timestamps = [event.timestamp for event in events]
    timestamps += [finding.first_seen for finding in findings]
    timestamps += [finding.last_seen for finding in findings]
    if not timestamps:
        return None
    start, end = min(timestamps), max(timestamps)
    if end - start < dt.timedelta(seconds=1):
        return None

    def x(timestamp: dt.datetime) -> float:
        return round((timestamp - start) / (end - start) * (WIDTH - 2 * STRIPE) + STRIPE, 1)

    stacks: dict[int, int] = {}
    marks = []
    for row, event in enumerate(events):
        stripe = int(x(event.timestamp) // STRIPE)
        height = stacks.get(stripe, 0)
        stacks[stripe] = height + 1
        if height < MAX_STACK:
            label = f"{times.exact(event.timestamp)} {event.event_type or ''}".strip()
            marks.append(Mark(x(event.timestamp), height, row, label))
    bars = tuple(
        Bar(
            x(finding.first_seen) - MIN_BAR / 2,
            round(x(finding.last_seen) - x(finding.first_seen) + MIN_BAR, 1),
            _bar_label(finding),
        )
        for finding in findings
    )
    label = ngettext(
        "%(count)s event from %(start)s to %(end)s", "%(count)s events from %(start)s to %(end)s",
        len(events), start=times.exact(start), end=times.exact(end),
    )  # fmt: skip
    highest = max((mark.level for mark in marks), default=0) + 1
    return Timeline(tuple(marks), bars, start, end, label, highest * MARK_HEIGHT + 2)


def _bar_label(finding: FindingView) -> str:
    duration = times.span(finding.first_seen, finding.last_seen)
    return ngettext(
        "%(count)s event in %(duration)s", "%(count)s events in %(duration)s", finding.count,
        duration=duration,
    )  # fmt: skip
