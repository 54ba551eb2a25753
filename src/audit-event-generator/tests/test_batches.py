"""Batches: valid records are accepted, invalid records are named and refused."""

import gzip
import json
from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import batch
from auditflow.contract import identity

from .conftest import Ingest, RecordingBroker

NDJSON, KUBERNETES, CLOUDTRAIL = "/ingest/ndjson", "/ingest/kubernetes", "/ingest/cloudtrail"
AUDITD, GITHUB, OKTA, GCP = "/ingest/auditd", "/ingest/github", "/ingest/okta", "/ingest/gcp"
AUDIT = {
    "level": "Metadata",
    "auditID": "a1",
    "stage": "ResponseComplete",
    "verb": "get",
    "stageTimestamp": "2026-01-01T00:00:00.000000Z",
}
TRAIL = {"eventID": "t1", "eventTime": "2026-01-01T00:00:00Z", "eventName": "GetObject"}
#: The smallest record of each source without a wrapping object, and the name of its identifier.
BARE: dict[str, tuple[dict[str, Any], str]] = {
    "github": ({"@timestamp": 1767225600000, "action": "repo.create"}, "_document_id"),
    "okta": ({"published": "2026-01-01T00:00:00Z", "eventType": "user.session.start"}, "uuid"),
    "gcp": (
        {"timestamp": "2026-01-01T00:00:00Z", "protoPayload": {"methodName": "SetIamPolicy"}},
        "insertId",
    ),
}


def make_line(**changes: Any) -> bytes:
    event = {"event_id": "e", "timestamp": "2026-01-01T00:00:00Z", "event_type": "a"}
    return msgspec.json.encode({**event, **changes})


def items(*records: Any) -> bytes:
    return msgspec.json.encode(
        {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": records}
    )


def test_each_line_becomes_an_event(ingest: Ingest, broker: RecordingBroker) -> None:
    body = (
        b"\xef\xbb\xbf"
        + make_line(event_id="1")
        + b"\r\n\n  \n"
        + make_line(event_id="2", tty="pts/1")
    )

    answer = ingest.post(NDJSON, body)

    assert (answer.status_code, answer.json) == (202, {"accepted": 2, "refused": 0, "errors": []})
    assert [event.event_id for event in broker.events()] == ["1", "2"]
    assert broker.events()[1].details == {"tty": "pts/1"}
    assert [message.routing_key for message in broker.messages] == ["event.ndjson"]


def test_identical_lines_have_the_same_event_id(ingest: Ingest, broker: RecordingBroker) -> None:
    without_id = make_line(event_id=None)

    for _ in range(2):
        ingest.post(NDJSON, without_id + b"\n" + without_id.replace(b'"a"', b'"b"'))

    first, second, third, fourth = (event.event_id for event in broker.events())
    assert (first, second) == (third, fourth)
    assert first != second
    assert first == identity.record_id(without_id)


def test_invalid_lines_are_named_and_the_others_accepted(
    ingest: Ingest, broker: RecordingBroker
) -> None:
    deep = make_line(record=msgspec.Raw(b"[" * 60_000 + b"]" * 60_000))
    lines = [
        make_line(event_id="good 1"),
        b"not json",
        make_line(user_id=5),
        b'{"timestamp":"2026-01-01T00:00:00Z"}',
        make_line(timestamp=None),
        make_line(resource="x" * 2**20),
        make_line(user_id="a\x00"),
        b'{"event_id":"\xff"}',
        deep,
        b"[]",
        make_line(event_id="good 2"),
    ]

    answer = ingest.post(NDJSON, b"\n".join(lines))

    assert answer.status_code == 202
    assert (answer.json["accepted"], answer.json["refused"]) == (2, 9)
    assert [fault["where"] for fault in answer.json["errors"]] == [
        f"line {n}" for n in range(2, 11)
    ]
    assert "$.user_id" in answer.json["errors"][1]["what"]
    assert [event.event_id for event in broker.events()] == ["good 1", "good 2"]
    assert (ingest.count("accepted", "ndjson"), ingest.count("refused", "ndjson")) == (2, 9)


def test_batch_without_valid_records_is_refused(ingest: Ingest) -> None:
    answer = ingest.post(NDJSON, b"{}\n" * 250)

    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert len(answer.json["errors"]) == batch.MAX_FAULTS
    assert "250" in answer.json["detail"]
    assert ingest.count("refused", "ndjson") == 250


EMPTY = {
    "no bytes": (NDJSON, b""),
    "blank lines": (NDJSON, b"\n \r\n\n"),
    "no items": (KUBERNETES, items()),
    "null items, as Go writes them": (
        KUBERNETES,
        b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":null}',
    ),
    "no records": (CLOUDTRAIL, b'{"Records":[]}'),
    "no lines, auditd": (AUDITD, b"\n\n"),
    "no entries, GitHub": (GITHUB, b"[]"),
    "a blank body, Okta": (OKTA, b" "),
    "a hook without events": (OKTA, b'{"data":{"events":[]}}'),
    "no entries, Google": (GCP, b'{"entries":[]}'),
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_batch_is_accepted(ingest: Ingest, broker: RecordingBroker, name: str) -> None:
    answer = ingest.post(*EMPTY[name])

    assert (answer.status_code, answer.json) == (202, {"accepted": 0, "refused": 0, "errors": []})
    assert broker.messages == []


BAD_ENVELOPES: dict[str, tuple[str, Any, int, str]] = {
    "no bytes": (KUBERNETES, b"", 400, ""),
    "not JSON": (KUBERNETES, b"<xml/>", 400, ""),
    "incomplete": (CLOUDTRAIL, b'{"Records":[{"eventID":"a"', 400, ""),
    "an array": (CLOUDTRAIL, b"[]", 422, "$"),
    "no kind": (KUBERNETES, {"apiVersion": "audit.k8s.io/v1"}, 422, "$.kind"),
    "another kind": (KUBERNETES, {"kind": "PodList", "apiVersion": "v1"}, 422, "$.apiVersion"),
    "an old version": (
        KUBERNETES,
        {"kind": "EventList", "apiVersion": "audit.k8s.io/v1beta1", "items": []},
        422,
        "$.apiVersion",
    ),
    "no items": (
        KUBERNETES,
        {"kind": "EventList", "apiVersion": "audit.k8s.io/v1"},
        422,
        "$.items",
    ),
    "an object for items": (
        KUBERNETES,
        {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": {}},
        422,
        "$.items",
    ),
    "no Records": (CLOUDTRAIL, {"records": []}, 422, "$.Records"),
    "text for Records": (CLOUDTRAIL, {"Records": "x"}, 422, "$.Records"),
    "not JSON, Okta": (OKTA, b"<xml/>", 400, ""),
    "a number, GitHub": (GITHUB, b"5", 422, "$"),
    "incomplete, GitHub": (GITHUB, b'[{"action":"a"', 400, ""),
    "a hook with an object for events": (OKTA, {"data": {"events": {}}}, 422, "$.data.events"),
    "a hook without data": (OKTA, {"data": {}}, 422, "$.data.events"),
    "a push without a message": (GCP, {"message": 5, "subscription": "s"}, 422, "$"),
    "damaged gzip": (CLOUDTRAIL, b"\x1f\x8bxxxx", 400, ""),
    "incomplete gzip": (CLOUDTRAIL, gzip.compress(b'{"Records":[]}')[:-6], 400, ""),
}


@pytest.mark.parametrize("name", BAD_ENVELOPES)
def test_body_of_another_shape_is_refused(ingest: Ingest, name: str) -> None:
    path, body, status, where = BAD_ENVELOPES[name]

    answer = ingest.post(path, body)

    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    assert [fault["where"] for fault in answer.json.get("errors", [])] == ([where] if where else [])


BAD_RECORDS: dict[str, dict[str, Any]] = {
    "a number for the id": {"auditID": 5, "eventID": 5},
    "an empty id": {"auditID": "", "eventID": ""},
    "a long id": {"auditID": "x" * 300, "eventID": "x" * 300},
    "a naive timestamp": {
        "stageTimestamp": "2026-01-01T00:00:00",
        "eventTime": "2026-01-01T00:00:00",
    },
    "a garbage timestamp": {"stageTimestamp": "now", "eventTime": "now"},
    "no timestamp": {"stageTimestamp": None, "eventTime": None},
    "before 1970": {"stageTimestamp": "0001-01-01T00:00:00Z", "eventTime": "0001-01-01T00:00:00Z"},
    "a NUL": {"verb": "a\x00", "eventName": "a\x00"},
    "a NUL in a field that is not used": {"requestObject": "\x00", "requestParameters": "\x00"},
    "5,000 digits": {
        "requestObject": msgspec.Raw(b"9" * 5000),
        "requestParameters": msgspec.Raw(b"9" * 5000),
    },
    "infinity": {
        "requestObject": msgspec.Raw(b"1e999"),
        "requestParameters": msgspec.Raw(b"1e999"),
    },
    "more than 256 KiB": {"requestObject": "x" * 2**18, "requestParameters": "x" * 2**18},
    "very deep nesting": {
        "requestObject": msgspec.Raw(b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
        "requestParameters": msgspec.Raw(b"[" * 20_000 + b"]" * 20_000),
    },
    "a list for the user": {"user": [], "userIdentity": []},
}


@pytest.mark.parametrize("name", BAD_RECORDS)
@pytest.mark.parametrize("source", ["kubernetes", "cloudtrail"])
def test_invalid_wrapped_record_does_not_affect_others(
    ingest: Ingest, broker: RecordingBroker, source: str, name: str
) -> None:
    if source == "kubernetes":
        records = [
            {**AUDIT, "auditID": "g1"},
            {**AUDIT, **BAD_RECORDS[name]},
            {**AUDIT, "auditID": "g2"},
        ]
        answer = ingest.post(KUBERNETES, items(*records))
    else:
        records = [
            {**TRAIL, "eventID": "g1"},
            {**TRAIL, **BAD_RECORDS[name]},
            {**TRAIL, "eventID": "g2"},
        ]
        answer = ingest.post(CLOUDTRAIL, {"Records": records})

    assert answer.status_code == 202, answer.text
    assert (answer.json["accepted"], answer.json["refused"]) == (2, 1)
    assert answer.json["errors"][0]["where"] in ("items[1]", "Records[1]")
    assert [event.event_id[:2] for event in broker.events()] == ["g1", "g2"]


BAD_BARE: dict[str, dict[str, Any]] = {
    "no timestamp": {"@timestamp": None, "published": None, "timestamp": None},
    "a garbage timestamp": {"@timestamp": "now", "published": "now", "timestamp": "now"},
    "a naive timestamp": {
        "@timestamp": -1,
        "published": "2026-01-01T00:00:00",
        "timestamp": "2026-01-01T00:00:00",
    },
    "no event type": {"action": "", "eventType": "", "protoPayload": {"methodName": ""}},
    "a number for the user": {
        "actor": 5,
        "protoPayload": {"methodName": "a", "authenticationInfo": 5},
    },
    "a NUL": {"action": "a\x00", "eventType": "a\x00", "protoPayload": {"methodName": "a\x00"}},
    "a NUL in a field that is not used": {"extra": "\x00"},
    "infinity": {"extra": msgspec.Raw(b"1e999")},
    "more than 256 KiB": {"extra": "x" * 2**18},
    "very deep nesting": {"extra": msgspec.Raw(b"[" * 20_000 + b"]" * 20_000)},
}


@pytest.mark.parametrize("shape", ["an array", "lines"])
@pytest.mark.parametrize("name", BAD_BARE)
@pytest.mark.parametrize("source", BARE)
def test_invalid_bare_record_does_not_affect_others(
    ingest: Ingest, broker: RecordingBroker, source: str, name: str, shape: str
) -> None:
    good, identifier = BARE[source]
    records = [
        msgspec.json.encode(record)
        for record in (
            {**good, identifier: "g1"},
            {**good, identifier: "b", **BAD_BARE[name]},
            {**good, identifier: "g2"},
        )
    ]
    body = b"\n".join(records) if shape == "lines" else b"[" + b",".join(records) + b"]"

    answer = ingest.post(f"/ingest/{source}", body)

    assert answer.status_code == 202, answer.text
    assert (answer.json["accepted"], answer.json["refused"]) == (2, 1)
    assert answer.json["errors"][0]["where"] == ("line 2" if shape == "lines" else "[1]")
    assert [event.event_id[-2:] for event in broker.events()] == ["g1", "g2"]


@pytest.mark.parametrize("record", [5, "x", None, [], {}])
def test_values_that_are_not_records_are_refused(ingest: Ingest, record: Any) -> None:
    for path, body in (
        (KUBERNETES, items(record, AUDIT)),
        (CLOUDTRAIL, {"Records": [record, TRAIL]}),
    ):
        answer = ingest.post(path, body)
        assert (answer.status_code, answer.json["refused"]) == (202, 1)


def test_gzip_is_detected_by_header_or_first_bytes(ingest: Ingest, broker: RecordingBroker) -> None:
    body = json.dumps({"Records": [TRAIL]}).encode()
    # A gzip file can have several members.
    compressed = gzip.compress(body[:20]) + gzip.compress(body[20:])

    assert ingest.post(CLOUDTRAIL, compressed, Content_Encoding="gzip").status_code == 202
    assert ingest.post(CLOUDTRAIL, compressed).status_code == 202
    assert ingest.post(CLOUDTRAIL, body, Content_Encoding="gzip").status_code == 400
    assert ingest.post(CLOUDTRAIL, body, Content_Encoding="br").status_code == 415
    assert len(broker.events()) == 2


def test_decompressed_size_is_limited(ingest: Ingest) -> None:
    bomb = gzip.compress(b" " * 17 * 2**20)

    assert ingest.post(NDJSON, bomb).status_code == 413


def test_body_over_16_mebibytes_is_refused(ingest: Ingest) -> None:
    answer = ingest.post(NDJSON, b" " * (16 * 2**20 + 1))

    assert answer.status_code == 413
    assert answer.content_type == "application/problem+json"


def test_number_of_records_is_limited(ingest: Ingest, broker: RecordingBroker) -> None:
    answer = ingest.post(NDJSON, (make_line() + b"\n") * (batch.MAX_RECORDS + 1))

    assert answer.status_code == 413
    assert broker.messages == []


def test_events_are_grouped_into_messages(ingest: Ingest, broker: RecordingBroker) -> None:
    small = [make_line(event_id=str(n)) for n in range(250)]
    large = [make_line(event_id=f"large {n}", resource="x" * 100_000) for n in range(5)]

    ingest.post(NDJSON, b"\n".join(small + large))

    assert [event.event_id for event in broker.events()] == [
        *(str(n) for n in range(250)),
        *(f"large {n}" for n in range(5)),
    ]
    assert len(broker.messages) == 5
    assert max(len(message.body) for message in broker.messages) <= 256 * 1024 + 200
