"""Valid and invalid events. The reason of a refusal states the fault and its place."""

import datetime as dt
import json

import pytest

from auditflow.contract import bounds, event
from auditflow.contract.event import Event, Received, Refused, Severity
from auditflow.errors import ContractError

from .hostile import ACCEPTED, REFUSED, body


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    document, reason = REFUSED[name]
    with pytest.raises(ContractError, match=reason.replace("$", r"\$")):
        event.decode(document)


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    assert event.decode(ACCEPTED[name]).event_id


@pytest.mark.parametrize("name", [*REFUSED, *ACCEPTED])
def test_a_message_with_one_event_is_accepted_if_the_event_is(name: str) -> None:
    document = REFUSED[name][0] if name in REFUSED else ACCEPTED[name]
    if document[:1] != b"[":  # an array is a batch
        (found,) = event.decode_message(document)
        assert found.raw == document
        assert isinstance(found, Received) == (name in ACCEPTED)
        if isinstance(found, Received):
            assert found.event == event.decode(document)


def test_each_event_of_a_batch_is_decoded_separately() -> None:
    message = b"[" + b",".join((body(event_id="a"), b'{"x":1}', body(event_id="b"), b"7")) + b"]"
    kinds = [type(item) for item in event.decode_message(message)]
    assert kinds == [Received, Refused, Received, Refused]


@pytest.mark.parametrize("name", [*REFUSED, *ACCEPTED])
@pytest.mark.parametrize("friends", [0, 2])
def test_in_a_batch_it_is_what_it_is_alone(name: str, friends: int) -> None:
    document = REFUSED[name][0] if name in REFUSED else ACCEPTED[name]
    message = b"[" + b",".join([document, *[body()] * friends]) + b"]"
    found = event.decode_message(message)
    if not document:
        assert friends or found == []
    elif found[0].raw == message:  # these bytes spoil the array too
        assert name in REFUSED
        assert [type(item) for item in found] == [Refused]
    else:
        assert found[0] == event.decode_message(document)[0]
        assert [type(item) for item in found[1:]] == [Received] * friends


def test_many_refused_events_of_a_message_are_one_dead_letter() -> None:
    """A message of 1 MiB must not become half a million dead letters."""
    number = event.MAX_SEPARATELY_REFUSED + 30
    elements = [body(event_id="a"), *(b"%d" % element for element in range(number)), body()]
    found = event.decode_message(b"[" + b",".join(elements) + b"]")
    assert [type(item) for item in found] == [
        Received, *[Refused] * event.MAX_SEPARATELY_REFUSED, Received, Refused,
    ]  # fmt: skip
    last = found[-1]
    assert isinstance(last, Refused)
    assert last.reason == "30 further events of the message violate the contract"
    assert json.loads(last.raw) == list(range(number - 30, number))


def test_a_message_with_too_many_elements_is_refused_as_a_unit() -> None:
    message = b"[" + b",".join([b"1"] * (event.MAX_EVENTS + 1)) + b"]"
    (only,) = event.decode_message(message)
    assert only == Refused(message, f"Expected `array` of length <= {event.MAX_EVENTS}")


def test_a_message_of_the_maximum_size_can_be_full_of_events() -> None:
    short = body(event_id="a", event_type="b")
    number = event.MAX_MESSAGE_BYTES // (len(short) + 1) - 1
    found = event.decode_message(b"[" + b",".join([short] * number) + b"]")
    assert [type(item) for item in found] == [Received] * number


def test_an_empty_batch_is_no_events() -> None:
    assert event.decode_message(b"[]") == []


def test_a_batch_that_is_not_json_is_refused_as_a_unit() -> None:
    assert [type(item) for item in event.decode_message(b"[1,")] == [Refused]


def test_a_batch_over_its_size_limit_is_refused_as_a_unit() -> None:
    (only,) = event.decode_message(b"[" + body() + b" " * event.MAX_MESSAGE_BYTES + b"]")
    assert isinstance(only, Refused)
    assert "more than" in only.reason


def test_the_bytes_of_an_event_are_kept_as_they_came() -> None:
    message = b'[ {"event_id":"a" , "timestamp":"2026-01-01T00:00:00Z","event_type":"\\u0061"} ]'
    (received,) = event.decode_message(message)
    assert received.raw == message[2:-2]


def test_the_layout_of_the_first_version_of_the_format() -> None:
    seen = event.decode(body(details={"resource": "/etc/passwd", "ip_address": "192.0.2.1"}))
    assert (seen.object, seen.address) == ("/etc/passwd", "192.0.2.1")


def test_details_that_are_not_text_are_no_address_and_no_resource() -> None:
    numbers = event.decode(body(details={"resource": 5, "ip_address": ["192.0.2.1"]}))
    assert (numbers.object, numbers.address) == (None, None)
    empty = event.decode(body(details={"resource": "", "path": "/p", "client_ip": ""}))
    assert (empty.object, empty.address) == ("/p", None)


def test_the_encoding_of_an_event_is_a_public_contract() -> None:
    """A field without a value is not sent, so that a message is small."""
    time = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    minimal = Event(event_id="e", timestamp=time, event_type="t")
    assert event.encode(minimal) == (
        b'{"event_id":"e","timestamp":"2026-01-01T00:00:00Z","event_type":"t"}'
    )
    source = event.LogSource(product="linux", category="process_creation")
    detailed = Event(
        event_id="e", timestamp=time, event_type="t", severity=Severity.WARNING, logsource=source
    )
    assert event.encode(detailed) == (
        b'{"event_id":"e","timestamp":"2026-01-01T00:00:00Z","event_type":"t",'
        b'"severity":"WARNING","logsource":{"product":"linux","category":"process_creation"}}'
    )


def test_the_order_of_severities() -> None:
    assert [severity.rank for severity in Severity] == [0, 1, 2]
    assert list(Severity) == ["INFO", "WARNING", "CRITICAL"]


def test_the_epoch_is_1970() -> None:
    assert event.epoch_ms(dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) == 0
    assert event.epoch_ms(dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) == 1_767_225_600_000


def test_what_is_encoded_is_decoded() -> None:
    original = Event(event_id="e", timestamp=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), event_type="t")
    assert event.decode(event.encode(original)) == original


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_depth(depth: int) -> None:
    assert bounds.depth(b"[" * depth + b'"[[["' + b"]" * depth) == depth


def test_milliseconds_there_and_back() -> None:
    timestamp = dt.datetime(2026, 11, 24, 10, 0, 0, 999000, tzinfo=dt.UTC)
    assert event.from_epoch_ms(event.epoch_ms(timestamp)) == timestamp
