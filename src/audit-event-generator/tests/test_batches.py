"""Batches: valid records are accepted, invalid records are named and refused."""

import gzip
import json
from typing import Any

import msgspec
import pytest

from audit_event_generator.event_publisher import MAX_QUARANTINED_BYTES
from audit_event_generator.ingest import batch, native
from audit_event_generator.ingest.sources import SOURCES
from auditflow.contract import event, identity

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


#: Values that no event can be made of.
INVALID: dict[str, dict[str, Any]] = {
    "a number for the id": {
        "auditID": 5,
        "eventID": 5,
        "uuid": 5,
        "_document_id": 5,
        "insertId": 5,
    },
    "a naive timestamp": {
        "stageTimestamp": "2026-01-01T00:00:00",
        "eventTime": "2026-01-01T00:00:00",
        "published": "2026-01-01T00:00:00",
        "timestamp": "2026-01-01T00:00:00",
        "@timestamp": -1,
    },
    "a timestamp before the year 1": dict.fromkeys(
        ("stageTimestamp", "eventTime", "published", "timestamp", "@timestamp"),
        "0001-01-01T00:00:00+14:00",
    ),
    "an invalid timestamp": dict.fromkeys(
        ("stageTimestamp", "eventTime", "published", "timestamp", "@timestamp"), "now"
    ),
    "no timestamp": dict.fromkeys(
        ("stageTimestamp", "eventTime", "published", "timestamp", "@timestamp")
    ),
    "no event type": {
        "verb": "",
        "eventName": "",
        "eventType": "",
        "action": "",
        "protoPayload": 5,
    },
    "a list for the user": {
        "user": [],
        "userIdentity": [],
        "actor": [],
        "protoPayload": {"methodName": "a", "authenticationInfo": 5},
    },
}
#: Content that a user of the source controls. The record must become an event in spite of it.
CONTENT: dict[str, Any] = {
    "a NUL": "a\x00b",
    "5,000 digits": msgspec.Raw(b"9" * 5000),
    "infinity": msgspec.Raw(b"1e400"),
    "a lone surrogate": msgspec.Raw(b'"a\\ud800"'),
    "invalid UTF-8": msgspec.Raw(b'"a\xff"'),
    "a control character": msgspec.Raw(b'"a\x01b"'),
    "more than 256 KiB": "x" * 2**18,
    "many members": {f"member {number}": "x" * 20 for number in range(20_000)},
    "deep nesting": msgspec.Raw(b"[" * 40 + b"]" * 40),
    "very deep nesting": msgspec.Raw(b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "an unusual escape": msgspec.Raw(rb'"\\\"]}\\"'),
}
SHAPES = {
    "kubernetes": ("auditID", AUDIT, "items"),
    "cloudtrail": ("eventID", TRAIL, "Records"),
    **{source: (identifier, record, "") for source, (record, identifier) in BARE.items()},
}


def make_batch(source: str, changes: dict[str, Any], *, lines: bool = False) -> bytes:
    """Three records of a source. The second has other values."""
    identifier, record, wrapper = SHAPES[source]
    records = [
        msgspec.json.encode({**record, identifier: "g1"}),
        msgspec.json.encode({**record, identifier: "b", **changes}),
        msgspec.json.encode({**record, identifier: "g2"}),
    ]
    if lines:
        return b"\n".join(records)
    array = b"[" + b",".join(records) + b"]"
    if not wrapper:
        return array
    return b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","%b":%b}' % (
        wrapper.encode(),
        array,
    )


@pytest.mark.parametrize("name", INVALID)
@pytest.mark.parametrize("source", SHAPES)
def test_invalid_record_goes_to_the_quarantine(
    ingest: Ingest, broker: RecordingBroker, source: str, name: str
) -> None:
    answer = ingest.post(f"/ingest/{source}", make_batch(source, INVALID[name]))

    assert answer.status_code == 202, answer.text
    assert (answer.json["accepted"], answer.json["refused"]) == (2, 1)
    [fault] = answer.json["errors"]
    assert fault["where"].endswith("[1]")
    assert "the service failed" not in fault["what"]
    assert [event.event_id.split(":")[0] for event in broker.events() if source != "gcp"] in (
        ["g1", "g2"],
        [],
    )
    assert len(broker.events()) == 2
    # the bytes are in the dead-letter queue, with source and reason
    [letter] = broker.dead_letters()
    assert (letter.exchange, letter.routing_key) == ("audit", "quarantine.event")
    assert b'"b"' in letter.body or b"5" in letter.body
    assert letter.headers is not None
    assert letter.headers["x-auditflow-source"] == source
    assert fault["what"] in letter.headers["x-auditflow-reason"]
    # and an event reports it
    [refused] = broker.refusals()
    assert (refused.event_type, refused.resource) == ("record_refused", source)
    assert refused.details is not None
    assert refused.details["record_id"] == letter.message_id
    assert refused.details["reason"] == fault["what"]
    assert (ingest.count("accepted", source), ingest.count("refused", source)) == (3, 1)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("source", SHAPES)
def test_content_cannot_prevent_an_event(
    ingest: Ingest, broker: RecordingBroker, source: str, name: str, lines: bool
) -> None:
    # given a batch in which the content of one record violates a limit
    body = make_batch(source, {"requestObject": CONTENT[name]}, lines=lines)

    # when it is sent
    answer = ingest.post(f"/ingest/{source}", body)

    # then every record becomes an event, and the changed one is marked
    assert answer.status_code == 202, answer.text
    assert answer.json == {"accepted": 3, "refused": 0, "errors": []}
    first, changed, last = broker.events()
    assert "truncated" not in (first.details or {})
    assert "truncated" not in (last.details or {})
    if name != "an unusual escape":
        assert changed.details is not None
        assert changed.details["truncated"] == ["record"]
    assert msgspec.json.decode(changed.record) is not None  # type: ignore[arg-type]
    assert broker.dead_letters() == []


def test_long_audit_id_and_long_uri_cannot_hide_a_request(
    ingest: Ingest, broker: RecordingBroker
) -> None:
    uri = "/api/v1/namespaces/prod/pods/web/exec?command=" + "x" * 140_000
    record = {**AUDIT, "auditID": "a" * 300, "requestURI": uri}
    reference = {"resource": "pods", "subresource": "exec", "namespace": "prod", "name": "web"}

    answer = ingest.post(KUBERNETES, items({**record, "objectRef": reference}, record))

    assert answer.json["accepted"] == 2
    first, second = broker.events()
    assert first.event_type == "get pods/exec"
    assert first.details is not None
    assert first.details["truncated"] == ["event_id", "details.requestURI"]
    assert first.details["requestURI"] == uri[:16_384]
    kept = msgspec.json.decode(first.record)  # type: ignore[arg-type]
    assert kept["auditID"] == "a" * 300, "the original identifier is in the record"
    assert kept["requestURI"] == uri, "the record fits, so it is complete"
    assert first.event_id != second.event_id
    # the identifier does not depend on the request
    ingest.post(KUBERNETES, items({**record, "objectRef": reference}))
    assert broker.events()[-1].event_id == first.event_id


def test_long_identifier_of_a_line_is_kept_in_the_record(
    ingest: Ingest, broker: RecordingBroker
) -> None:
    body = make_line(event_id="i" * 257, event_type="t" * 129, user_id="u" * 300_000)

    assert ingest.post(NDJSON, body).json["accepted"] == 1

    [event] = broker.events()
    assert event.event_id == identity.record_id(body)
    assert event.event_type == "t" * 128
    assert event.user_id == "u" * 4096
    assert event.details == {"truncated": ["event_id", "event_type", "user_id", "record"]}
    assert msgspec.json.decode(event.record)["event_id"] == "i" * 257  # type: ignore[arg-type]


def test_identifier_that_amqp_cannot_carry_is_not_the_message_id(
    ingest: Ingest, broker: RecordingBroker
) -> None:
    for event_id in ("x" * 256, "\u20ac" * 100, "x" * 255):
        assert ingest.post("/generate_event", {"event_type": "a", "event_id": event_id}).json == {
            "status": "success",
            "event_id": event_id,
        }

    assert [event.event_id for event in broker.events()] == ["x" * 256, "\u20ac" * 100, "x" * 255]
    assert [len(message.message_id) for message in broker.messages] == [36, 36, 255]


def test_defect_of_an_adapter_does_not_stop_the_batch(
    ingest: Ingest, broker: RecordingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(line: bytes) -> event.Event:
        if b"bad" in line:
            raise RuntimeError("password=hunter2")
        return native.line_to_event(line)

    source = msgspec.structs.replace(SOURCES["ndjson"], to_event=fail)
    taken = batch.convert(source.split(make_line() + b"\n" + make_line(user_id="bad")), fail)

    assert len(taken.events) == 1
    [refused] = taken.refused
    assert "hunter2" not in refused.reason


def test_same_record_of_two_sources_is_two_reports(ingest: Ingest, broker: RecordingBroker) -> None:
    for _ in range(2):
        ingest.post("/ingest/okta", b"[5]")
        ingest.post("/ingest/github", b"[5]")

    assert len({item.event_id for item in broker.refusals()}) == 2, (
        "a repetition is the same report"
    )


def test_large_record_is_cut_in_the_quarantine(ingest: Ingest, broker: RecordingBroker) -> None:
    ingest.post(NDJSON, b"x" * 3_000_000)

    [letter] = broker.dead_letters()
    assert len(letter.body) == MAX_QUARANTINED_BYTES
    assert letter.headers is not None
    assert letter.headers["x-auditflow-record-bytes"] == 3_000_000


@pytest.mark.parametrize("record", [5, "x", None, [], {}])
def test_values_that_are_not_records_are_refused(
    ingest: Ingest, broker: RecordingBroker, record: Any
) -> None:
    for path, body in (
        (KUBERNETES, items(record, AUDIT)),
        (CLOUDTRAIL, {"Records": [record, TRAIL]}),
    ):
        answer = ingest.post(path, body)
        assert (answer.status_code, answer.json["refused"]) == (202, 1)
    assert len(broker.dead_letters()) == len(broker.refusals()) == 2


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
