"""Parameters of the alert list: valid values, and the errors of invalid ones."""

import datetime as dt
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.http.query_parameters import InvalidParameters
from notification_service.cursor import Cursors, InvalidCursor, Position
from notification_service.order import Sort
from notification_service.query import AlertQuery, parse

CURSORS = Cursors("token")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("status", "open,closed", "must be one or more of open, acknowledged, resolved"),
        ("status", "", "must be one or more of"),
        ("status", "OPEN", "must be one or more of"),
        ("severity", "critical", "must be one or more of INFO, WARNING, CRITICAL"),
        ("severity", "INFO,", "must be one or more of"),
        ("limit", "0", "must be an integer from 1 to 200"),
        ("limit", "201", "must be an integer from 1 to 200"),
        ("limit", "ten", "must be an integer"),
        ("limit", "-1", "must be an integer"),
        ("limit", "1.5", "must be an integer"),
        ("limit", "\u0661", "must be an integer"),
        ("limit", "9" * 5000, "must be an integer"),
        ("offset", "10001", "must be an integer from 0 to 10000"),
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
        ("page", "2", "unknown parameter; allowed are status, level, severity"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_allowed(
    name: str, value: str, message: str
) -> None:
    with pytest.raises(InvalidParameters) as refused:
        parse([(name, value)], CURSORS)

    (fault,) = refused.value.faults
    assert fault.where == name
    assert message in fault.what


def test_all_errors_are_reported_together() -> None:
    criteria = [("limit", "0"), ("statsu", "open"), ("q", "a"), ("q", "b")]

    with pytest.raises(InvalidParameters) as refused:
        parse(criteria, CURSORS)

    assert [fault.where for fault in refused.value.faults] == ["limit", "statsu", "q"]


POSITION = Position(Sort.ACTIVITY, ("2026-01-31 00:00:00+00",), uuid.UUID(int=1))


def test_a_cursor_and_an_offset_contradict_each_other() -> None:
    cursor = CURSORS.write(POSITION)

    with pytest.raises(InvalidParameters, match="either cursor or offset, not both"):
        parse([("cursor", cursor), ("offset", "0")], CURSORS)


def test_a_cursor_keeps_its_order() -> None:
    cursor = CURSORS.write(Position(Sort.COUNT, ("7",), uuid.UUID(int=1)))

    assert parse([("cursor", cursor)], CURSORS).sort is Sort.COUNT
    with pytest.raises(InvalidParameters, match="cursor: belongs to a list with sort=count"):
        parse([("cursor", cursor), ("sort", "opened")], CURSORS)


@pytest.mark.parametrize("offset", ["+16:00", "-16:00", "+23:59", "-23:59", "Z"])
def test_every_legal_offset_is_accepted(offset: str) -> None:
    criteria = parse([("since", f"2026-01-31T08:00:00{offset}")], CURSORS)

    assert criteria.since is not None
    assert criteria.since.utcoffset() == dt.timedelta(0)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_beyond_the_calendar_is_an_error(text: str) -> None:
    with pytest.raises(InvalidParameters, match="since: must be a time"):
        parse([("since", text)], CURSORS)


def test_since_after_until_is_a_fault() -> None:
    with pytest.raises(InvalidParameters, match="since: is later than until"):
        parse([("since", "2026-02-01T00:00:00Z"), ("until", "2026-01-01T00:00:00Z")], CURSORS)


def test_valid_parameters_are_accepted() -> None:
    criteria = parse(
        [("status", "open,open"), ("since", "2026-01-31T08:00:00+02:00"), ("limit", "7")], CURSORS
    )

    since = dt.datetime(2026, 1, 31, 6, tzinfo=dt.UTC)
    assert criteria == AlertQuery(status=("open",), since=since, limit=7)  # type: ignore[arg-type]
    assert parse([], CURSORS) == AlertQuery()


@given(st.sampled_from([("2026-01-31 08:00:00.123+00",), ("x",)]), st.uuids())
def test_a_cursor_is_read_as_it_was_written(keys: tuple[str, ...], alert_id: uuid.UUID) -> None:
    position = Position(Sort.OPENED, keys, alert_id)

    assert CURSORS.read(CURSORS.write(position)) == position


@given(st.data())
def test_a_changed_cursor_is_refused(data: st.DataObject) -> None:
    cursor = CURSORS.write(POSITION)
    index = data.draw(st.integers(0, len(cursor) - 2))
    letter = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda it: it != cursor[index]))

    with pytest.raises(InvalidCursor):
        CURSORS.read(cursor[:index] + letter + cursor[index + 1 :])
    with pytest.raises(InvalidCursor):
        Cursors("another token").read(cursor)


def test_a_cursor_of_the_previous_token_is_accepted() -> None:
    assert Cursors("new", "token").read(CURSORS.write(POSITION)) == POSITION
