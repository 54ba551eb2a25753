"""Parameters of ``GET /alerts``: what is taken, and what is said of the rest."""

import datetime as dt
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notification_service.cursor import BadCursor, Cursors, Place
from notification_service.query import AlertQuery, BadQuery, parse

CURSORS = Cursors("token")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("status", "open,closed", "must be one or more of open, acknowledged, resolved"),
        ("status", "", "must be one or more of"),
        ("status", "OPEN", "must be one or more of"),
        ("severity", "critical", "must be one or more of INFO, WARNING, CRITICAL"),
        ("severity", "INFO,", "must be one or more of"),
        ("limit", "0", "must be a whole number from 1 to 200"),
        ("limit", "201", "must be a whole number from 1 to 200"),
        ("limit", "ten", "must be a whole number"),
        ("limit", "-1", "must be a whole number"),
        ("limit", "1.5", "must be a whole number"),
        ("limit", "\u0661", "must be a whole number"),
        ("limit", "9" * 5000, "must be a whole number"),
        ("offset", "10001", "must be a whole number from 0 to 10000"),
        ("since", "yesterday", "must be a time with an offset by RFC 3339"),
        ("since", "2026-01-31T08:00:00", "must be a time with an offset"),
        ("until", "2026-01-31T08:00:00 02:00", "write + as %2B"),
        ("until", "1700000000", "must be a time with an offset"),
        ("q", "", "must be 1 to 200 characters"),
        ("q", "a" * 201, "must be 1 to 200 characters"),
        ("actor", "a\0b", "without NUL"),
        ("rule", "r" * 257, "must be 1 to 256 characters"),
        ("cursor", "nonsense", "must be a next_cursor of this API"),
        ("cursor", "", "must be a next_cursor of this API"),
        ("cursor", "é", "must be a next_cursor of this API"),
        ("page", "2", "no such parameter; there are status, severity, rule"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_allowed(name: str, value: str, says: str) -> None:
    with pytest.raises(BadQuery) as refused:
        parse([(name, value)], CURSORS)

    (fault,) = refused.value.faults
    assert fault.where == name
    assert says in fault.what


def test_all_faults_are_told_at_once() -> None:
    asked = [("limit", "0"), ("statsu", "open"), ("q", "a"), ("q", "b")]

    with pytest.raises(BadQuery) as refused:
        parse(asked, CURSORS)

    assert [fault.where for fault in refused.value.faults] == ["limit", "statsu", "q"]


def test_a_cursor_and_an_offset_contradict_each_other() -> None:
    cursor = CURSORS.write(Place(dt.datetime.now(dt.UTC), uuid.uuid4()))

    with pytest.raises(BadQuery, match="either cursor or offset, not both"):
        parse([("cursor", cursor), ("offset", "0")], CURSORS)


def test_since_after_until_is_a_fault() -> None:
    with pytest.raises(BadQuery, match="since: is later than until"):
        parse([("since", "2026-02-01T00:00:00Z"), ("until", "2026-01-01T00:00:00Z")], CURSORS)


def test_what_is_right_is_taken() -> None:
    asked = parse(
        [("status", "open,open"), ("since", "2026-01-31T08:00:00+02:00"), ("limit", "7")], CURSORS
    )

    since = dt.datetime(2026, 1, 31, 6, tzinfo=dt.UTC)
    assert asked == AlertQuery(status=("open",), since=since, limit=7)  # type: ignore[arg-type]
    assert parse([], CURSORS) == AlertQuery()


@given(st.datetimes(timezones=st.just(dt.UTC)), st.uuids())
def test_a_cursor_is_read_as_it_was_written(moment: dt.datetime, alert_id: uuid.UUID) -> None:
    place = Place(moment, alert_id)

    assert CURSORS.read(CURSORS.write(place)) == place


@given(st.data())
def test_a_cursor_that_was_changed_is_refused(data: st.DataObject) -> None:
    cursor = CURSORS.write(Place(dt.datetime(2026, 1, 31, tzinfo=dt.UTC), uuid.UUID(int=1)))
    at = data.draw(st.integers(0, len(cursor) - 2))
    letter = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda one: one != cursor[at]))

    with pytest.raises(BadCursor):
        CURSORS.read(cursor[:at] + letter + cursor[at + 1 :])
    with pytest.raises(BadCursor):
        Cursors("another token").read(cursor)
