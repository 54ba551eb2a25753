"""Parameters of the other lists: exact limits, required parameters and all errors together."""

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any, get_args

import pytest

from auditflow.contract.audit import Outcome
from auditflow.http.query_parameters import InvalidParameters
from notification_service import query
from notification_service.cursor import Cursors, InvalidCursor, Position
from notification_service.database.alert_events import EventPosition
from notification_service.database.trail_store import TrailFilter
from notification_service.export import Format
from notification_service.order import Sort
from notification_service.query import AlertFilter, AlertQuery

CURSORS = Cursors("token")
IDENTIFIER = uuid.UUID("4b1f0c1e-1f5c-4d0e-9d0a-3f4a6f6f8a11")
Pairs = list[tuple[str, str]]


def parse(pairs: Pairs) -> AlertQuery:
    return query.parse(pairs, CURSORS)


def event_cursor(pairs: Pairs) -> EventPosition | None:
    return query.parse_event_cursor(pairs, CURSORS, EventPosition)


def numbers(pairs: Pairs) -> dict[str, int]:
    return query.parse_numbers(pairs, "first", "second", largest=9, required=("first",))


def trail(pairs: Pairs) -> TrailFilter:
    return query.parse_trail(pairs, TrailFilter)


@pytest.mark.parametrize(
    ("read", "name", "accepted", "refused"),
    [
        (parse, "limit", ["1", "200", "0200"], ["0", "201", "", "+1", " 1"]),
        (parse, "offset", ["0", "10000", "0" * 13 + "10000"], ["10001", "0" * 14 + "10000"]),
        (parse, "q", ["a", "a" * 200], ["", "a" * 201, "a\0"]),
        (parse, "rule", ["r", "r" * 256], ["", "r" * 257]),
        (parse, "actor", ["a" * 500], ["", "a" * 501]),
        (parse, "assignee", ["", "a" * 500], ["a" * 501]),
        (parse, "status", ["open,acknowledged,resolved"], ["open,open,open,open", "open, resolved"]),
        (parse, "sort", ["activity", "opened", "severity", "count", "risk"], ["", "Risk"]),
        (query.parse_after, "after", ["0", "9" * 18], ["-1", "1" + "0" * 18]),
        (parse, "technique", ["T1110", "t1110.001"], ["T111", "T1110.1", "T11100", "attack.t1110"]),
        (
            query.parse_after_identifier, "after",
            ["4b1f0c1e-1f5c-4d0e-9d0a-3f4a6f6f8a11", "4B1F0C1E-1f5c-4d0e-9d0a-3f4a6f6f8a11"],
            ["4b1f", "", "4b1f0c1e1f5c4d0e9d0a3f4a6f6f8a11", "{4b1f0c1e-1f5c-4d0e-9d0a-3f4a6f6f8a11}"],
        ),
        (query.parse_before, "before", ["1", "999999999"], ["0", "1000000000"]),
        (query.parse_event_id, "event_id", ["e", "e" * 256], ["", "e" * 257]),
        (trail, "actor", ["a", "a" * 500], ["", "a" * 501]),
        (query.parse_dead_letters, "reason", ["", "a" * 500], ["a" * 501]),
        (query.parse_dead_letters, "limit", ["1", "200"], ["0", "201"]),
    ],
)  # fmt: skip
def test_the_limits_of_parameters_are_exact(
    read: Callable[[Pairs], Any], name: str, accepted: list[str], refused: list[str]
) -> None:
    for text in accepted:
        read([(name, text)])
    for text in refused:
        with pytest.raises(InvalidParameters) as raised:
            read([(name, text)])
        assert [fault.where for fault in raised.value.faults] == [name], text


@pytest.mark.parametrize(
    ("read", "pairs", "value"),
    [
        (query.parse_after, [], None),
        (query.parse_after, [("after", "7")], 7),
        (query.parse_after_identifier, [], None),
        (query.parse_after_identifier, [("after", str(IDENTIFIER))], IDENTIFIER),
        (query.parse_before, [], None),
        (query.parse_before, [("before", "7")], 7),
        (query.parse_event_id, [("event_id", "e 1")], "e 1"),
        (query.parse_filter, [], AlertFilter()),
        (query.parse_filter, [("actor", "alice")], AlertFilter(actor="alice")),
        (query.parse_filter, [("technique", "t1110.001")], AlertFilter(technique="T1110.001")),
        (query.parse_export, [("actor", "a")], (AlertFilter(actor="a"), Format.NDJSON)),
        (query.parse_export, [("format", "csv")], (AlertFilter(), Format.CSV)),
        (parse, [("active_again", "true")], AlertQuery(active_again=True)),
        (parse, [("snoozed", "false")], AlertQuery(snoozed=False)),
        (event_cursor, [], None),
        *(
            (query.parse_entity, [("kind", kind), ("value", "v")], (kind, "v"))
            for kind in ("user", "host", "address", "resource")
        ),
    ],
)
def test_valid_parameters(read: Callable[[Pairs], Any], pairs: Pairs, value: Any) -> None:
    assert read(pairs) == value


def test_the_defaults_of_a_list() -> None:
    criteria = parse([])
    assert (criteria.sort, criteria.limit, criteria.offset, criteria.after) == (
        Sort.ACTIVITY,
        50,
        0,
        None,
    )


@pytest.mark.parametrize(
    ("read", "pairs", "faults"),
    [
        (query.parse_filter, [("limit", "5")], ["limit"]),
        (query.parse_filter, [("actor", ""), ("actor", "a"), ("x", "")], ["actor", "actor", "x"]),
        (query.parse_filter, [("since", "2026-01-02T00:00:00Z"), ("until", "2026-01-01T00:00:00Z")], ["since"]),
        (query.parse_export, [("format", "pdf"), ("q", "")], ["format", "q"]),
        (query.parse_export, [("since", "2026-01-02T00:00:00Z"), ("until", "2026-01-01T00:00:00Z")], ["since"]),
        (query.parse_after, [("after", "x"), ("before", "1")], ["after", "before"]),
        (query.parse_before, [("before", "x")], ["before"]),
        (query.parse_entity, [], ["kind", "value"]),
        (query.parse_entity, [("kind", "user")], ["value"]),
        (query.parse_entity, [("kind", "User"), ("value", "v")], ["kind"]),
        (query.parse_event_id, [], ["event_id"]),
        (event_cursor, [("cursor", "x")], ["cursor"]),
        (parse, [("snoozed", "yes")], ["snoozed"]),
        (parse, [("x" * 65, "")], ["x" * 64]),
        (parse, [("a\nb\x00", "")], ["a?b?"]),
    ],
)  # fmt: skip
def test_all_errors_are_reported(
    read: Callable[[Pairs], Any], pairs: Pairs, faults: list[str]
) -> None:
    with pytest.raises(InvalidParameters) as raised:
        read(pairs)
    assert [fault.where for fault in raised.value.faults] == faults


def test_a_period_may_be_a_single_instant() -> None:
    instant = "2026-01-01T00:00:00Z"
    criteria = query.parse_filter([("since", instant), ("until", instant)])
    assert criteria.since == criteria.until == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


POSITION = Position(Sort.SEVERITY, ("3", "2026-01-31 00:00:00+00"), uuid.UUID(int=1))


def test_a_cursor_may_be_given_with_its_own_order() -> None:
    cursor = CURSORS.write(POSITION)
    for pairs in ([("cursor", cursor)], [("cursor", cursor), ("sort", "severity")]):
        assert (parse(pairs).after, parse(pairs).sort) == (POSITION, Sort.SEVERITY)


def test_a_cursor_with_another_number_of_keys_is_refused() -> None:
    for keys in (("3",), ("3", "4", "5")):
        cursor = CURSORS.write(Position(Sort.SEVERITY, keys, uuid.UUID(int=1)))
        with pytest.raises(InvalidCursor):
            CURSORS.read(cursor)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(InvalidCursor):
        CURSORS.verify(CURSORS.write(POSITION), EventPosition)
    with pytest.raises(InvalidParameters, match="cursor: must be a next_cursor"):
        event_cursor([("cursor", CURSORS.write(POSITION))])


def test_a_cursor_of_a_list_of_events_is_read() -> None:
    position = EventPosition(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "e")
    assert event_cursor([("cursor", CURSORS.sign(position))]) == position


def test_a_cursor_has_at_most_2000_characters() -> None:
    assert CURSORS.read(_of_length(2000))
    with pytest.raises(InvalidCursor):
        CURSORS.read(_of_length(2001))


def _of_length(length: int) -> str:
    """A valid cursor of this length."""
    letters = [chr(0x100 + number * 7919 % 40_000) for number in range(3000)]
    for size in range(len(letters)):
        for extra in ("", "x", "xy"):
            keys = ("".join(letters[:size]) + extra,)
            text = CURSORS.write(Position(Sort.COUNT, keys, uuid.UUID(int=1)))
            if len(text) == length:
                return text
    raise AssertionError(f"no cursor has {length} characters")


def test_numbers_of_a_log() -> None:
    assert numbers([("first", "1")]) == {"first": 1}
    assert numbers([("second", "9"), ("first", "2")]) == {"first": 2, "second": 9}


@pytest.mark.parametrize(
    ("read", "pairs", "faults"),
    [
        (numbers, [("first", "0")], ["first"]),
        (numbers, [("first", "10")], ["first"]),
        (numbers, [("second", "0")], ["second", "first"]),
        (trail, [("actor", "a" * 1000), ("page", "1")], ["actor", "page"]),
        (trail, [("outcome", "maybe"), ("before", "0")], ["outcome", "before"]),
        (trail, [("before", "1000000000")], ["before"]),
        (
            trail,
            [("since", "2026-01-02T00:00:00Z"), ("until", "2026-01-01T00:00:00Z")],
            ["since"],
        ),
    ],
)
def test_all_errors_of_logs_are_reported(
    read: Callable[[Pairs], Any], pairs: Pairs, faults: list[str]
) -> None:
    with pytest.raises(InvalidParameters) as raised:
        read(pairs)
    assert [fault.where for fault in raised.value.faults] == faults


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_the_filter_of_the_audit_trail(outcome: str) -> None:
    found = trail([("outcome", outcome), ("before", "999999999"), ("actor", "alice")])
    assert (found.outcome, found.before, found.actor) == (outcome, 999_999_999, "alice")
    assert trail([("before", "1")]).before == 1


def test_the_name_of_a_person_is_required() -> None:
    assert query.parse_name([("name", "alice")]) == "alice"
    with pytest.raises(InvalidParameters):
        query.parse_name([])


def test_the_parameters_of_dead_letters_have_defaults() -> None:
    assert query.parse_dead_letters([]) == (None, query.DEFAULT_LIMIT)
    assert query.parse_dead_letters([("reason", "late"), ("limit", "3")]) == ("late", 3)
