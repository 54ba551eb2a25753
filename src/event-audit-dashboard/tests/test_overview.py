"""Charts, durations and timelines of the overview and of entities."""

import datetime as dt
from typing import Any

import msgspec
import pytest

from auditflow.contract.alert import AlertSummary
from auditflow.contract.event_search import (
    ArchivedEventSummary,
    EventHistogram,
    HistogramBucket,
)
from auditflow.contract.level import Level
from auditflow.contract.statistics import Opened
from event_audit_dashboard.presentation import chart, lanes
from event_audit_dashboard.views import entity
from event_audit_dashboard.views.overview import duration

from .fake_api import alert, stamp

HOUR = dt.timedelta(hours=1)
START = dt.datetime(2026, 5, 4, 9, tzinfo=dt.UTC)


def test_a_chart_has_a_column_for_each_period_and_stacks_levels() -> None:
    opened = [
        Opened(START, Level.LOW, 1),
        Opened(START, Level.CRITICAL, 3),
        Opened(START - 2 * HOUR, Level.HIGH, 2),
        Opened(START - 9 * HOUR, Level.HIGH, 100),
    ]
    drawn = chart.draw(opened, last=START, step=HOUR, number=3)
    assert [column.total for column in drawn.columns] == [2, 0, 4]
    assert (drawn.total, drawn.highest) == (6, 4)
    low, critical = drawn.columns[2].segments
    assert (low.level, critical.level) == ("low", "critical")
    assert critical.height == pytest.approx(3 * low.height, abs=0.2)
    assert critical.y == pytest.approx(4)
    assert drawn.columns[2].counts == (("critical", 3), ("low", 1))


def test_an_empty_chart() -> None:
    drawn = chart.draw([], last=START, step=HOUR, number=24)
    assert (len(drawn.columns), drawn.total, drawn.highest) == (24, 0, 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\u2013"), (-5, "under 1 min"), (29, "under 1 min"), (240, "4 min"),
        (7500, "2 h 5 min"), (172800, "2 d"), (180000, "2 d 2 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def summary(number: int, first: dt.datetime, last: dt.datetime) -> AlertSummary:
    item = alert(number, now=last, first_seen=stamp(first), last_seen=stamp(last))
    return msgspec.convert(item, AlertSummary)


def test_alerts_at_the_same_time_are_in_different_lanes() -> None:
    drawn = lanes.draw(
        [
            summary(1, START, START + HOUR),
            summary(2, START, START + HOUR / 2),
            summary(3, START + HOUR * 0.9, START + HOUR),
        ]
    )
    assert drawn is not None
    assert [bar.y // lanes.LANE for bar in drawn.bars] == [0, 1, 1]
    assert max(bar.x + bar.width for bar in drawn.bars) <= lanes.WIDTH
    assert lanes.draw([summary(1, START, START)]) is None
    many = [summary(number, START, START + HOUR) for number in range(40)]
    crowded = lanes.draw(many)
    assert crowded is not None
    assert len(crowded.bars) == lanes.MAX_LANES


def test_the_timeline_of_an_entity_has_alerts_and_events_on_one_axis() -> None:
    histogram = EventHistogram(
        3600, 15, tuple(HistogramBucket(START + n * HOUR, [0, 5, 0, 10][n]) for n in range(4))
    )
    drawn = lanes.draw([summary(1, START + HOUR * 2, START + HOUR * 3.5)], histogram)

    assert drawn is not None
    assert (drawn.start, drawn.end) == (START + HOUR, START + 4 * HOUR)
    (bar,) = drawn.bars
    small, large = drawn.columns
    assert (small.count, large.count) == (5, 10)
    assert small.x < bar.x < large.x < bar.x + bar.width
    assert (small.height * 2, large.y) == (large.height, 0)
    assert lanes.period_of(histogram) == (START + HOUR, START + 4 * HOUR)
    assert lanes.draw([], EventHistogram(3600, 0, ())) is None


def test_alerts_and_events_of_a_day_are_listed_in_one_order() -> None:
    old, new = summary(1, START, START), summary(2, START, START + 3 * HOUR)
    events = [
        ArchivedEventSummary(event_id=str(n), timestamp=at, received_at=at, source="sshd")
        for n, at in enumerate([START - 10 * HOUR, START, START + HOUR])
    ]

    days = entity.by_day([old, new], events)

    assert [day.day for day, _ in days] == [4, 3]
    assert days[0][1] == [new, events[2], old, events[1]]
    assert days[1][1] == [events[0]]


@pytest.mark.parametrize(
    ("query", "status"),
    [("kind=user", 400), ("kind=planet&value=x", 404), ("kind=user&value=" + "x" * 201, 400)],
)
def test_an_invalid_entity_is_reported(analyst: Any, many: Any, query: str, status: int) -> None:
    assert analyst.get(f"/entity?{query}").status_code == status
