"""Batches: valid records are accepted, and invalid records are named."""

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
    assert (answer.json["accepted"], answer.json["refused"]) == (5, 6)
    assert [fault["where"] for fault in answer.json["errors"]] == [
        f"line {n}" for n in (2, 3, 4, 5, 8, 10)
    ]
    assert "$.user_id" in answer.json["errors"][1]["what"]
    ids = [event.event_id for event in broker.events()]
    assert ids == ["good 1", "e", "e", "e", "good 2"], "long, deep and NUL are shortened"
    assert (ingest.count("accepted", "ndjson"), ingest.count("refused", "ndjson")) == (11, 6)


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


def test_same_record_of_two_sources_is_two_reports(ingest: Ingest, broker: RecordingBroker) -> None:
    for _ in range(2):
        ingest.post("/ingest/okta", b"[5]")
        ingest.post("/ingest/github", b"[5]")

    assert len({item.event_id for item in broker.refusals()}) == 2, (
        "a repetition is the same report"
    )


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
