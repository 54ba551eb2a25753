"""Who is on call, from an iCal file. Pure.

Each event is a shift. Its summary is the person's name, or its attendee is the person's address. If
shifts overlap, the one that began last counts, so that an exception replaces the usual rotation.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Final

import icalendar
import recurring_ical_events
from msgspec import Struct

from auditflow.errors import AuditFlowError

MAX_BYTES: Final = 1024 * 1024
MAX_EVENTS: Final = 5_000
#: The maximum number of events that repeat, and the years in which events may begin. All times from
#: the first are computed for each question.
MAX_RULES: Final = 100
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2100
MAX_INTERVAL: Final = 1_000
MAX_POSITION: Final = 5
#: Other dates of an event, and dates at which it does not take place.
MAX_DATES: Final = 1_000
#: Rules that repeat more often than daily cost much time to expand, and no shift does.
_FREQUENCIES: Final = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
#: The days of each month in a leap year.
_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
#: Parts of a rule with which it may never apply, such as 30 February. It is then searched up to the
#: year 9999, which costs seconds for rules that repeat daily or weekly.
_SEARCHED: Final = ("BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS")


class CalendarError(AuditFlowError):
    """An iCal file cannot be used. The text states why."""


class Shift(Struct, frozen=True):
    """A time for which a person is on call. ``receiver``: None for a person who has none."""

    person: str
    receiver: str | None
    begins_at: dt.datetime
    ends_at: dt.datetime


class Calendar:
    """The events of one iCal file."""

    def __init__(self, text: bytes) -> None:
        """Raises ``CalendarError``."""
        if len(text) > MAX_BYTES:
            raise CalendarError(f"the calendar has more than {MAX_BYTES} bytes")
        try:
            self._calendar: Any = icalendar.Calendar.from_ical(text)
            events = self._calendar.walk("VEVENT")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise CalendarError("the file is not an iCal calendar") from None
        if len(events) > MAX_EVENTS:
            raise CalendarError(f"the calendar has more than {MAX_EVENTS} events")
        if sum("RRULE" in event for event in events) > MAX_RULES:
            raise CalendarError(f"the calendar has more than {MAX_RULES} events that repeat")
        try:
            for event in events:
                _check(event)
        except (AttributeError, ValueError, TypeError):  # a value that could not be parsed
            raise CalendarError("an event of the calendar has an invalid value") from None

    def at(self, time: dt.datetime) -> list[tuple[dt.datetime, dt.datetime, Any]]:
        """The events that are in progress at a time, as begin, end and event."""
        return self.between(time, time + dt.timedelta(seconds=1))

    def between(
        self, begin: dt.datetime, end: dt.datetime
    ) -> list[tuple[dt.datetime, dt.datetime, Any]]:
        """The events that overlap a range of time, in the order of their begin."""
        try:
            found = recurring_ical_events.of(self._calendar).between(
                begin - dt.timedelta(days=1), end + dt.timedelta(days=1)
            )
            timed = [(_utc(event.start), _utc(event.end), event) for event in found]
        except (ValueError, TypeError, OverflowError, ArithmeticError):
            raise CalendarError("an event of the calendar has no valid times") from None
        return sorted(
            (entry for entry in timed if entry[0] < end and begin < entry[1]),
            key=lambda entry: entry[:2],
        )


def shifts(
    calendar: Calendar, people: Mapping[str, str], begin: dt.datetime, end: dt.datetime
) -> list[Shift]:
    """The shifts within a range of time. ``people`` maps names and addresses to receivers."""
    return [
        _shift(begins_at, ends_at, event, people)
        for begins_at, ends_at, event in calendar.between(begin, end)
    ]


def on_call(calendar: Calendar, people: Mapping[str, str], at: dt.datetime) -> Shift | None:
    """The shift that counts at a time, or None."""
    current = [_shift(*entry, people) for entry in calendar.at(at)]
    return max(current, key=lambda shift: (shift.begins_at, shift.person), default=None)


def _shift(
    begins_at: dt.datetime, ends_at: dt.datetime, event: Any, people: Mapping[str, str]
) -> Shift:
    names = list(_names(event))
    receiver = next((people[name.lower()] for name in names if name.lower() in people), None)
    return Shift((names or ["nobody"])[0][:200], receiver, begins_at, ends_at)


def _names(event: Any) -> Iterator[str]:
    if summary := str(event.get("SUMMARY", "")).strip():
        yield summary
    attendees = event.get("ATTENDEE", [])
    for attendee in attendees if isinstance(attendees, list) else [attendees]:
        yield str(attendee).lower().removeprefix("mailto:")


def _check(event: Any) -> None:
    begin = getattr(event.get("DTSTART"), "dt", None)
    if begin is not None and not FIRST_YEAR <= begin.year <= LAST_YEAR:
        raise CalendarError(f"an event does not begin in the years {FIRST_YEAR} to {LAST_YEAR}")
    if sum(_dates(event, name) for name in ("RDATE", "EXDATE")) > MAX_DATES:
        raise CalendarError(f"an event has more than {MAX_DATES} dates")
    rule = event.get("RRULE")
    if isinstance(rule, list):
        raise CalendarError("an event has several rules: use several events")
    if rule is not None:
        _check_rule(rule)


def _check_rule(rule: Any) -> None:
    frequency = [str(part) for part in rule.get("FREQ", [])]
    if not frequency or any(part not in _FREQUENCIES for part in frequency):
        raise CalendarError(f"an event repeats by a rule that is not {_FREQUENCIES}")
    if any(rule.get(part) for part in ("BYSECOND", "BYMINUTE", "BYHOUR")):
        raise CalendarError("an event repeats at several times of a day: use several events")
    if any(not 1 <= interval <= MAX_INTERVAL for interval in rule.get("INTERVAL", [])):
        raise CalendarError(f"the interval of an event is not from 1 to {MAX_INTERVAL}")
    if {"DAILY", "WEEKLY"} & {*frequency} and any(rule.get(part) for part in _SEARCHED):
        raise CalendarError("an event repeats daily or weekly, and on chosen dates: use MONTHLY")
    if any(rule.get(part) for part in ("BYWEEKNO", "BYYEARDAY")) or any(
        abs(position) > MAX_POSITION for position in rule.get("BYSETPOS", [])
    ):
        raise CalendarError("an event repeats by BYWEEKNO, BYYEARDAY or a large BYSETPOS")
    months, days = rule.get("BYMONTH") or range(1, 13), rule.get("BYMONTHDAY") or [1]
    if all(abs(day) > _DAYS[int(month) - 1] for month in months for day in days):
        raise CalendarError("an event repeats on days that do not exist")
    if any(until.year > LAST_YEAR for until in rule.get("UNTIL", [])):
        raise CalendarError(f"an event repeats after the year {LAST_YEAR}")


def _dates(event: Any, name: str) -> int:
    values = event.get(name, [])
    return sum(len(value.dts) for value in (values if isinstance(values, list) else [values]))


def _utc(time: dt.date | dt.datetime) -> dt.datetime:
    """Days and times without a zone are in UTC."""
    if not isinstance(time, dt.datetime):
        time = dt.datetime(time.year, time.month, time.day)
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
