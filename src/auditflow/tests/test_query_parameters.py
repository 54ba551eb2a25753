"""Query parameters: all errors are reported together, and no text of the request is trusted."""

import datetime as dt
from enum import StrEnum

import pytest

from auditflow.http import query_parameters
from auditflow.http.problem import Fault
from auditflow.http.query_parameters import (
    InvalidParameters,
    Reader,
    Repeatable,
    boolean,
    integer,
    member_of,
    members_of,
    text,
    timestamp,
)


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("reader", "given", "expected"),
    [
        (integer(0, 10), "0", 0),
        (integer(0, 10), "10", 10),
        (integer(0, 10), "0" * 18, 0),
        (text(3), "abc", "abc"),
        (text(3, shortest=0), "", ""),
        (boolean, "true", True),
        (boolean, "false", False),
        (timestamp, "2026-01-31T10:00:00+02:00", dt.datetime(2026, 1, 31, 8, tzinfo=dt.UTC)),
        (member_of(Color), "red", Color.RED),
        (member_of(("red", "blue")), "blue", "blue"),
        (members_of(Color), "blue,red", (Color.BLUE, Color.RED)),
        (members_of(Color), "blue,blue", (Color.BLUE,)),
    ],
)
def test_valid_values(reader: Reader, given: str, expected: object) -> None:
    assert query_parameters.parse([("x", given)], {"x": reader}) == {"x": expected}


@pytest.mark.parametrize(
    ("reader", "given", "fault"),
    [
        (integer(1, 10), "0", "must be an integer from 1 to 10"),
        (integer(1, 10), "11", "must be an integer from 1 to 10"),
        (integer(1, 10), "-1", "must be an integer from 1 to 10"),
        (integer(1, 10), "", "must be an integer from 1 to 10"),
        (integer(1, 10), "٣", "must be an integer from 1 to 10"),
        (integer(0, 10), "0" * 19, "must be an integer from 0 to 10"),
        (integer(1, 10), "9" * 100_000, "must be an integer from 1 to 10"),
        (text(3), "", "must be 1 to 3 characters, without NUL"),
        (text(3), "abcd", "must be 1 to 3 characters, without NUL"),
        (text(3), "a\0", "must be 1 to 3 characters, without NUL"),
        (boolean, "True", "must be true or false"),
        (timestamp, "2026-01-31T10:00:00", "must be a time with an offset"),
        (timestamp, "0001-01-01T00:00:00+23:00", "must be a time with an offset"),
        (member_of(Color), "RED", "must be one of red, blue"),
        (member_of(Color), "", "must be one of red, blue"),
        (members_of(Color), "red,green", "must be one or more of red, blue, separated by commas"),
        (members_of(Color), "red,red,red", "must be one or more of red, blue"),
        (members_of(Color), "", "must be one or more of red, blue"),
    ],
)
def test_invalid_values(reader: Reader, given: str, fault: str) -> None:
    with pytest.raises(InvalidParameters) as raised:
        query_parameters.parse([("x", given)], {"x": reader})
    (found,) = raised.value.faults
    assert found.where == "x"
    assert found.what.startswith(fault)


def test_all_errors_are_reported_together() -> None:
    with pytest.raises(InvalidParameters) as raised:
        query_parameters.parse(
            [("limit", "0"), ("\nlog" + "x" * 100, ""), ("name", "a"), ("name", "b")],
            {"limit": integer(1, 5), "name": text(3), "id": text(3)},
            required=["name", "id"],
        )
    assert raised.value.faults == (
        Fault("limit", "must be an integer from 1 to 5"),
        Fault("?log" + "x" * 60, "unknown parameter; allowed are limit, name, id"),
        Fault("name", "is given more than once"),
        Fault("id", "is required"),
    )
    assert "limit: must be an integer from 1 to 5; ?log" in str(raised.value)


def test_a_repeatable_parameter() -> None:
    readers = {"where": Repeatable(integer(1, 5), maximum=2)}
    assert query_parameters.parse([], readers) == {"where": ()}
    assert query_parameters.parse([("where", "1"), ("where", "2")], readers) == {"where": (1, 2)}
    with pytest.raises(InvalidParameters, match="where: is given more than 2 times"):
        query_parameters.parse([("where", "1")] * 3, readers)
    with pytest.raises(InvalidParameters, match="where: must be an integer"):
        query_parameters.parse([("where", "1"), ("where", "9")], readers)


def test_contradictions_are_reported_with_the_other_errors() -> None:
    seen = []

    def check(values: object) -> list[Fault]:
        seen.append(values)
        return [Fault("b", "is less than a")]

    with pytest.raises(InvalidParameters) as raised:
        query_parameters.parse(
            [("a", "3"), ("b", "no")], {"a": integer(1, 5), "b": integer(1, 5)}, check=check
        )
    assert seen == [{"a": 3, "b": None}]
    assert [fault.where for fault in raised.value.faults] == ["b", "b"]
