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
#: Rules that repeat more often than daily cost much time to expand, and no shift does.
_FREQUENCIES: Final = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")


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
        for event in events:
            _check(event)

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
    rules = event.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        frequency = [str(part) for part in rule.get("FREQ", [])]
        if not frequency or any(part not in _FREQUENCIES for part in frequency):
            raise CalendarError(f"an event repeats by a rule that is not {_FREQUENCIES}")
        if any(rule.get(part) for part in ("BYSECOND", "BYMINUTE", "BYHOUR")):
            raise CalendarError("an event repeats at several times of a day: use several events")


def _utc(time: dt.date | dt.datetime) -> dt.datetime:
    """Days and times without a zone are in UTC."""
    if not isinstance(time, dt.datetime):
        time = dt.datetime(time.year, time.month, time.day)
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
