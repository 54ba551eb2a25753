"""An iCal file with a costly or invalid rule is refused when it is read."""

import datetime as dt

import pytest

from notification_service.oncall.schedule import MAX_DATES, MAX_RULES, Calendar, CalendarError

NOON = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
TIMES = "DTSTART:20260101T000000Z\r\nDTEND:20260102T000000Z"


def calendar(*events: str) -> bytes:
    listed = (
        f"BEGIN:VEVENT\r\nUID:{number}\r\nDTSTAMP:20260101T000000Z\r\nSUMMARY:Alice\r\n{event}\r\n"
        "END:VEVENT\r\n"
        for number, event in enumerate(events)
    )
    text = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{''.join(listed)}END:VCALENDAR\r\n"
    return text.encode()


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (f"{TIMES}\r\nRRULE:FREQ=DAILY;INTERVAL=0", "interval"),
        (f"{TIMES}\r\nRRULE:FREQ=DAILY;INTERVAL=99999", "interval"),
        (f"{TIMES}\r\nRRULE:FREQ=DAILY;INTERVAL=999999999999", "invalid value"),
        (f"{TIMES}\r\nRRULE:FREQ=SECONDLY", "a rule that is not"),
        (f"{TIMES}\r\nRRULE:FREQ=DAILY;BYHOUR=1,2", "several times of a day"),
        (f"{TIMES}\r\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31", "daily or weekly"),
        (f"{TIMES}\r\nRRULE:FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30", "do not exist"),
        (f"{TIMES}\r\nRRULE:FREQ=YEARLY;BYWEEKNO=53", "BYWEEKNO"),
        (f"{TIMES}\r\nRRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=300", "BYSETPOS"),
        (f"{TIMES}\r\nRRULE:FREQ=DAILY;UNTIL=99991231T000000Z", "after the year"),
        (f"{TIMES}\r\nRRULE:FREQ=DAILY\r\nRRULE:FREQ=DAILY", "several rules"),
        ("DTSTART:00010101T000000Z\r\nRRULE:FREQ=DAILY", "does not begin in the years"),
        (f"{TIMES}\r\nRDATE:{','.join(['20260101T000000Z'] * (MAX_DATES + 1))}", "dates"),
    ],
)
def test_a_costly_event_is_refused(event: str, error: str) -> None:
    with pytest.raises(CalendarError, match=error):
        Calendar(calendar(event))


def test_the_number_of_rules_is_limited() -> None:
    event = f"{TIMES}\r\nRRULE:FREQ=DAILY"
    assert len(Calendar(calendar(*[event] * 10)).at(NOON)) == 10
    with pytest.raises(CalendarError, match=f"more than {MAX_RULES} events"):
        Calendar(calendar(*[event] * (MAX_RULES + 1)))


@pytest.mark.parametrize(
    "event",
    [
        f"{TIMES}\r\nRRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TU",
        f"{TIMES}\r\nRRULE:FREQ=MONTHLY;BYMONTHDAY=30",
        f"{TIMES}\r\nRRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=-1",
        "DTSTART;VALUE=DATE:20260101\r\nDTEND;VALUE=DATE:20260102\r\nRRULE:FREQ=DAILY",
        "DTSTART;TZID=Europe/Berlin:20260101T000000\r\nDTEND;TZID=Europe/Berlin:20260102T000000\r\n"
        "RRULE:FREQ=DAILY;UNTIL=20270101T000000Z",
    ],
)
def test_usual_rules_are_accepted(event: str) -> None:
    assert len(Calendar(calendar(event)).at(NOON)) == 1
