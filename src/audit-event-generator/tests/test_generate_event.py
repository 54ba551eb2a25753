"""POST /generate_event accepts one event. Only event_type is required."""

import datetime as dt
import uuid
from typing import Any

import msgspec
import pytest

from .conftest import Ingest, RecordingBroker

PATH = "/generate_event"
GOOD = {"event_type": "user_login"}


def raw(more: str) -> bytes:
    """A good request with something that only bytes can say."""
    return b'{"event_type":"user_login",' + more.encode() + b"}"


def test_only_event_type_is_required(ingest: Ingest, broker: RecordingBroker) -> None:
    before = dt.datetime.now(dt.UTC)

    answer = ingest.post(PATH, GOOD)

    assert answer.status_code == 202
    assert answer.json["status"] == "success"
    [event] = broker.events()
    assert event.event_id == answer.json["event_id"] == str(uuid.UUID(event.event_id))
    assert before <= event.timestamp <= dt.datetime.now(dt.UTC)
    assert event.source_service == "audit-event-generator-api"
    assert (event.action_result, event.severity, event.details) == ("SUCCESS", "INFO", {})
    assert event.user_id is None, "nobody is invented"
    assert event.server_hostname is None
    assert ingest.count("accepted", "api") == 1


def test_given_fields_are_kept(ingest: Ingest, broker: RecordingBroker) -> None:
    given = {
        "event_id": "order 66 / ü",
        "timestamp": "2026-01-01T02:00:00+02:00",
        "event_type": "file_modified",
        "source_service": "fim",
        "server_hostname": "db-01",
        "severity": "CRITICAL",
        "user_id": "chiara",
        "action_result": "MODIFIED",
        "client_ip": "not-an-address",
        "resource": "/etc//passwd",
        "details": {"old_checksum": "a", "n": 1},
        "logsource": {"product": "linux", "service": "auditd"},
        "record": {"kept": [1, 2.50]},
    }

    answer = ingest.post(PATH, given)

    assert answer.json == {"status": "success", "event_id": "order 66 / ü"}
    [message] = broker.messages
    assert (message.exchange, message.routing_key) == ("audit", "event.api")
    assert message.message_id == "order 66 / ü"
    sent = msgspec.json.decode(message.body)
    assert dt.datetime.fromisoformat(sent.pop("timestamp")) == dt.datetime(
        2026, 1, 1, tzinfo=dt.UTC
    )
    assert sent == {name: value for name, value in given.items() if name != "timestamp"}


def test_unknown_fields_move_to_details(ingest: Ingest, broker: RecordingBroker) -> None:
    ingest.post(PATH, {**GOOD, "details": {"a": 1}, "tty": "pts/0", "tags": ["x"]})

    [event] = broker.events()
    assert event.details == {"a": 1, "tty": "pts/0", "tags": ["x"]}


def test_unknown_field_does_not_replace_a_detail(ingest: Ingest) -> None:
    answer = ingest.post(PATH, {**GOOD, "details": {"tty": 1}, "tty": 2})

    assert answer.status_code == 422
    assert answer.json["errors"][0]["where"] == "$.tty"


def test_null_means_absent(ingest: Ingest, broker: RecordingBroker) -> None:
    answer = ingest.post(PATH, {**GOOD, "event_id": None, "severity": None, "details": None})

    assert answer.status_code == 202
    [event] = broker.events()
    assert event.severity == "INFO"


REFUSED: dict[str, tuple[Any, int, str]] = {
    "nothing": (b"", 400, ""),
    "not JSON": (b"hello", 400, ""),
    "half of it": (b'{"event_type": "a', 400, ""),
    "two of them": (b'{"event_type":"a"}{"event_type":"b"}', 400, ""),
    "NaN": (raw('"details":{"n":NaN}'), 400, ""),
    "invalid UTF-8": (b'{"event_type":"\xff"}', 400, ""),
    "a lone surrogate": (raw('"user_id":"\\ud800"'), 400, ""),
    "a raw control character": (b'{"event_type":"a\x00b"}', 400, ""),
    "an array": ([GOOD], 422, "$"),
    "a number": (5, 422, "$"),
    "null": (b"null", 422, "$"),
    "no type": ({"user_id": "a"}, 422, "$.event_type"),
    "an empty type": ({"event_type": ""}, 422, "$.event_type"),
    "a number for the type": ({"event_type": 5}, 422, "$.event_type"),
    "a type without end": ({"event_type": "x" * 129}, 422, "$.event_type"),
    "an empty id": ({**GOOD, "event_id": ""}, 422, "$.event_id"),
    "a number for the id": ({**GOOD, "event_id": 7}, 422, "$.event_id"),
    "a list for the user": ({**GOOD, "user_id": ["a"]}, 422, "$.user_id"),
    "an object for the address": ({**GOOD, "client_ip": {}}, 422, "$.client_ip"),
    "a severity of its own": ({**GOOD, "severity": "HUGE"}, 422, "$.severity"),
    "text for details": ({**GOOD, "details": "x"}, 422, "$.details"),
    "text for details and more": ({**GOOD, "details": "x", "more": 1}, 422, "$.details"),
    "a naive timestamp": ({**GOOD, "timestamp": "2026-01-01T00:00:00"}, 422, "$.timestamp"),
    "a garbage timestamp": ({**GOOD, "timestamp": "yesterday"}, 422, "$.timestamp"),
    "a number for the timestamp": ({**GOOD, "timestamp": 1767225600}, 422, "$.timestamp"),
    "before 1970": ({**GOOD, "timestamp": "1969-12-31T23:59:59Z"}, 422, "$.timestamp"),
    "a NUL": ({**GOOD, "user_id": "a\x00b"}, 422, "$"),
    "a NUL in the record": ({**GOOD, "record": ["\x00"]}, 422, "$"),
    "5,000 digits": (raw('"details":{"n":' + "9" * 5000 + "}"), 422, "$.details[...]"),
    "infinity": (raw('"details":{"n":1e999}'), 422, "$.details[...]"),
    "nesting of 33": ({**GOOD, "details": {"a": msgspec.Raw(b"[" * 31 + b"]" * 31)}}, 422, "$"),
    "nesting without end": (raw('"details":' + "[" * 50_000 + "]" * 50_000), 422, "$"),
    "a string of a mebibyte": ({**GOOD, "resource": "x" * 2**20}, 413, ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_event_is_refused_with_its_field(
    ingest: Ingest, broker: RecordingBroker, name: str
) -> None:
    body, status, where = REFUSED[name]

    answer = ingest.post(PATH, body)

    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    assert answer.json["status"] == status
    assert [fault["where"] for fault in answer.json.get("errors", [])] == ([where] if where else [])
    assert broker.messages == []
    assert (ingest.count("accepted", "api"), ingest.count("refused", "api")) == (0, 1)


UNUSUAL: dict[str, dict[str, Any]] = {
    "a host name for an address": {"client_ip": "gateway.example.com"},
    "a bad address": {"client_ip": "999.1.2.3"},
    "the far future": {"timestamp": "2099-01-01T00:00:00Z"},
    "the past": {"timestamp": "1999-01-01T00:00:00Z"},
    "nanoseconds": {"timestamp": "2026-01-01T00:00:00.123456789Z"},
    "emoji": {"user_id": "😀", "details": {"😀": "é"}},
    "an empty user": {"user_id": ""},
    "70 bits": {"details": {"n": 2**70, "m": -(2**70)}},
    "nesting of 32": {"details": {"a": msgspec.Raw(b"[" * 30 + b"]" * 30)}},
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_event_is_accepted(ingest: Ingest, broker: RecordingBroker, name: str) -> None:
    answer = ingest.post(PATH, {**GOOD, **UNUSUAL[name]})

    assert answer.status_code == 202, answer.text
    assert len(broker.events()) == 1


def test_content_type_is_ignored(ingest: Ingest) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; x=y"):
        assert ingest.post(PATH, GOOD, Content_Type=kind).status_code == 202
