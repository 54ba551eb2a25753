"""Invalid records are quarantined, and unusual content cannot prevent an event."""

from typing import Any

import msgspec
import pytest

from audit_event_generator.event_publisher import MAX_QUARANTINED_BYTES
from audit_event_generator.ingest import batch, native
from audit_event_generator.ingest.sources import SOURCES
from auditflow.contract import event, identity

from .conftest import Ingest, RecordingBroker

NDJSON, KUBERNETES, CLOUDTRAIL = "/ingest/ndjson", "/ingest/kubernetes", "/ingest/cloudtrail"
AUDIT = {
    "level": "Metadata",
    "auditID": "a1",
    "stage": "ResponseComplete",
    "verb": "get",
    "stageTimestamp": "2026-01-01T00:00:00.000000Z",
}
TRAIL = {"eventID": "t1", "eventTime": "2026-01-01T00:00:00Z", "eventName": "GetObject"}


def items(*records: Any) -> bytes:
    return msgspec.json.encode(
        {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": records}
    )


def make_line(**changes: Any) -> bytes:
    event = {"event_id": "e", "timestamp": "2026-01-01T00:00:00Z", "event_type": "a"}
    return msgspec.json.encode({**event, **changes})


#: The smallest record of each source without a wrapping object, and the name of its identifier.
BARE: dict[str, tuple[dict[str, Any], str]] = {
    "github": ({"@timestamp": 1767225600000, "action": "repo.create"}, "_document_id"),
    "okta": ({"published": "2026-01-01T00:00:00Z", "eventType": "user.session.start"}, "uuid"),
    "gcp": (
        {"timestamp": "2026-01-01T00:00:00Z", "protoPayload": {"methodName": "SetIamPolicy"}},
        "insertId",
    ),
}


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
