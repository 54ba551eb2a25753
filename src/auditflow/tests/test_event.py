"""What is an event, and what is not: each refusal says what was wrong, and where."""

import datetime as dt

import pytest

from auditflow import bounds, event
from auditflow.errors import ContractError
from auditflow.event import Event, Received, Refused

from .hostile import ACCEPTED, REFUSED, body


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    document, reason = REFUSED[name]
    with pytest.raises(ContractError, match=reason.replace("$", r"\$")):
        event.decode(document)


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    assert event.decode(ACCEPTED[name]).event_id


def test_each_event_of_a_batch_stands_for_itself() -> None:
    message = b"[" + b",".join((body(event_id="a"), b'{"x":1}', body(event_id="b"), b"7")) + b"]"
    kinds = [type(one) for one in event.decode_message(message)]
    assert kinds == [Received, Refused, Received, Refused]


def test_an_empty_batch_is_no_events() -> None:
    assert event.decode_message(b"[]") == []


def test_a_batch_that_is_no_json_is_refused_whole() -> None:
    assert [type(one) for one in event.decode_message(b"[1,")] == [Refused]


def test_a_batch_over_its_bound_is_refused_whole() -> None:
    (only,) = event.decode_message(b"[" + body() + b" " * event.MAX_MESSAGE_BYTES + b"]")
    assert isinstance(only, Refused)
    assert "more than" in only.reason


def test_the_bytes_of_an_event_are_kept_as_they_came() -> None:
    message = b'[ {"event_id":"a" , "timestamp":"2026-01-01T00:00:00Z","event_type":"\\u0061"} ]'
    (received,) = event.decode_message(message)
    assert received.raw == message[2:-2]


def test_where_the_first_version_of_the_format_put_things() -> None:
    seen = event.decode(body(details={"resource": "/etc/passwd", "ip_address": "192.0.2.1"}))
    assert (seen.object, seen.address) == ("/etc/passwd", "192.0.2.1")


def test_what_is_encoded_is_decoded() -> None:
    one = Event(event_id="e", timestamp=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), event_type="t")
    assert event.decode(event.encode(one)) == one


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_depth(depth: int) -> None:
    assert bounds.depth(b"[" * depth + b'"[[["' + b"]" * depth) == depth


def test_milliseconds_there_and_back() -> None:
    moment = dt.datetime(2026, 11, 24, 10, 0, 0, 999000, tzinfo=dt.UTC)
    assert event.from_epoch_ms(event.epoch_ms(moment)) == moment
