"""Faults of request bodies name the field and what is expected, in words of the API."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta, Struct

from auditflow.contract.access import PersonName
from auditflow.contract.event import Timestamp
from auditflow.contract.notification import DurationText
from auditflow.http.body_faults import fault_of
from auditflow.http.problem import Fault


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Inner(Struct, forbid_unknown_fields=True):
    size: Annotated[int, Meta(ge=1, le=9)]


class Body(Struct, kw_only=True, forbid_unknown_fields=True):
    colour: Colour = Colour.RED
    scopes: tuple[Literal["read", "write"], ...] = ()
    name: PersonName | None = None
    wait: Annotated[DurationText | None, Meta(description="How long.")] = None
    note: Annotated[str, Meta(min_length=1, max_length=3, pattern=r"^[^\x00]*$")] = "-"
    until: Timestamp | None = None
    alert: UUID | None = None
    inner: Inner | None = None
    labels: dict[str, str] = {}
    is_final: bool = False


_TIME = "must be a time with an offset by RFC 3339, such as 2026-01-31T08:00:00Z"
_NAME = "must be a name: at least one visible character, no control characters"


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        (b'{"colour": "blue"}', "colour", "must be one of red, green"),
        (b'{"colour": 1}', "colour", "must be a text, not an integer"),
        (b'{"scopes": ["read", "own"]}', "scopes[1]", "must be one of read, write"),
        (b'{"name": "  "}', "name", _NAME),
        ('{"name": "\u00a0\u2003"}'.encode(), "name", _NAME),
        (b'{"name": "a\\nb"}', "name", _NAME),
        (b'{"wait": "soon"}', "wait", "must be a duration, such as 30s, 5m, 1h30m or 7d"),
        (b'{"note": ""}', "note", "must have at least 1 character"),
        (b'{"note": "abcd"}', "note", "must have at most 3 characters"),
        (b'{"note": "\\u0000"}', "note", "must not contain the character NUL"),
        (b'{"until": "tomorrow"}', "until", _TIME),
        (b'{"until": "2026-01-31T08:00:00"}', "until", _TIME),
        (b'{"until": 5}', "until", _TIME),
        (b'{"alert": "x"}', "alert", "must be a UUID, such as 0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10"),
        (b'{"inner": {}}', "inner.size", "is required"),
        (b'{"inner": {"size": 0}}', "inner.size", "must be at least 1"),
        (b'{"inner": {"size": 1.5}}', "inner.size", "must be an integer, not a decimal number"),
        (b'{"inner": {"size": 1, "x": 2}}', "inner", "unknown field 'x'; the fields are size"),
        (b'{"labels": {"a": 1}}', "labels[...]", "must be a text, not an integer"),
        (b'{"is_final": null}', "is_final", "must be true or false, not null"),
        (b"[]", "body", "must be an object, not a list"),
        (b'{"note": }', "body", "is not valid JSON, at byte 9"),
        (b'{"note"', "body", "is not valid JSON"),
        (b'{"note": "\xff"}', "body", "is not UTF-8"),
        (b'{"labels": ' + b"[" * 100_000, "labels", "must be an object, not a list"),
    ],
)  # fmt: skip
def test_a_fault_names_the_field_and_what_is_expected(body: bytes, where: str, what: str) -> None:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError, RecursionError)) as raised:
        msgspec.json.decode(body, type=Body)
    assert fault_of(raised.value, Body) == Fault(where, what)


def test_an_unknown_field_with_a_long_name_is_shortened() -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(b'{"' + b"x" * 5_000 + b'": 1}', type=Body)
    fault = fault_of(raised.value, Body)
    assert "'" + "x" * 60 + "…'" in fault.what
    assert len(fault.what) < 250


def test_names_with_a_visible_character_are_accepted() -> None:
    for name in ("a", " a b ", "ä", "\u5f20", "kim <i>"):
        body = msgspec.json.encode({"name": name})
        assert msgspec.json.decode(body, type=Body).name == name
