"""Fuzz the adapters of the ingest with raw bytes and with changed real records.

For every input: only ContractError is raised, each record becomes an event that the analysis
accepts or is refused with a reason, and no adapter has a defect.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from audit_event_generator.event_publisher import to_messages
from audit_event_generator.ingest import batch, github_webhook, json_scan, limits, native
from audit_event_generator.ingest.sources import SOURCES
from audit_event_generator.web.gzip_stream import GzipError, GzipStream
from auditflow.contract import event
from auditflow.errors import ContractError

from .budget import PROFILE, repeat

pytestmark = pytest.mark.soak
DATA = Path(__file__).parents[2] / "audit-event-generator" / "tests" / "data"
SAMPLES: dict[str, str] = {
    "ndjson": "events.ndjson",
    "kubernetes": "kubernetes-audit.json",
    "cloudtrail": "cloudtrail.json",
    "auditd": "auditd.log",
    "github": "github-audit.ndjson",
    "okta": "okta-system-log.json",
    "gcp": "gcp-audit.ndjson",
    "alertmanager": "alertmanager.json",
}
#: How a source wraps its records.
WRAPPED = {
    "kubernetes": b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[%b]}',
    "cloudtrail": b'{"Records":[%b]}',
    "ndjson": b"%b",
}
JSON_SOURCES = sorted(SAMPLES.keys() - {"auditd"})

#: Values that only bytes can express, or that have broken parsers before.
UNUSUAL = [
    b"1e400", b"-1e400", b"9" * 5000, b"NaN", b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"',
    b'"\xff\xfe"', b'"\x01"', b"[" * 40 + b"]" * 40, b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b'"' + b"x" * 150_000 + b'"', b'"\\\\\\"]}\\\\"', b'"0001-01-01T00:00:00+14:00"',
    b'"9999-12-31T23:59:59-14:00"', b"-1", b"99999999999999", b'""', b"{}", b"[]", b"null",
]  # fmt: skip
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
VALUES = st.one_of(
    st.sampled_from(UNUSUAL).map(Raw),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
        max_leaves=10,
    ),
)


def records_of(source: str) -> list[bytes]:
    body = (DATA / SAMPLES[source]).read_bytes()
    return [record for _, record in SOURCES[source].split(body)]


def check(source: str, body: bytes) -> batch.Batch | None:
    """Convert a body and check the result. Returns None if the body has no records."""
    try:
        converted = batch.convert(SOURCES[source].split(body), SOURCES[source].to_event)
    except ContractError as error:
        str(error).encode()
        return None
    for refused in converted.refused:
        assert "the service failed" not in refused.reason, refused
        refused.reason.encode()
    for message in to_messages(source, converted.events, "id"):
        message.properties()
        assert len(message.message_id.encode()) <= 255
        for decoded in event.decode_message(message.body):
            assert isinstance(decoded, event.Received), decoded
    return converted


@pytest.mark.parametrize("source", SOURCES)
def test_raw_bytes(source: str) -> None:
    @PROFILE
    @given(st.binary(max_size=2000))
    def run(body: bytes) -> None:
        check(source, body)

    repeat(run)


@pytest.mark.parametrize("source", SOURCES)
def test_damaged_samples(source: str) -> None:
    records = records_of(source)

    @PROFILE
    @given(st.data())
    def run(data: st.DataObject) -> None:
        separator = b"\n" if source in ("ndjson", "auditd") else b","
        body = separator.join(data.draw(st.lists(st.sampled_from(records), max_size=4)))
        changed = bytearray(WRAPPED.get(source, b"[%b]" if source != "auditd" else b"%b") % body)
        for _ in range(data.draw(st.integers(1, 5))):
            position = data.draw(st.integers(0, len(changed)))
            length = data.draw(st.integers(0, 20))
            changed[position : position + length] = data.draw(st.binary(max_size=20))
        check(source, bytes(changed))

    repeat(run)


def replace_anywhere(data: st.DataObject, record: Any) -> Any:
    """Return the record with one value replaced, at any depth."""
    if isinstance(record, dict) and record and data.draw(st.integers(0, 3)):
        name = data.draw(st.sampled_from(sorted(record)))
        return {**record, name: replace_anywhere(data, record[name])}
    if isinstance(record, list) and record and data.draw(st.integers(0, 3)):
        index = data.draw(st.integers(0, len(record) - 1))
        return [*record[:index], replace_anywhere(data, record[index]), *record[index + 1 :]]
    return data.draw(VALUES)


@pytest.mark.parametrize("source", JSON_SOURCES)
def test_changed_record_does_not_affect_its_neighbours(source: str) -> None:
    records = records_of(source)

    @PROFILE
    @given(st.data())
    def run(data: st.DataObject) -> None:
        first, changed, last = (data.draw(st.sampled_from(records)) for _ in range(3))
        document = json.loads(changed)
        changed = msgspec.json.encode(replace_anywhere(data, document))
        separator = b"\n" if source == "ndjson" else b","
        body = WRAPPED.get(source, b"[%b]") % separator.join((first, changed, last))

        converted = check(source, body)

        assert converted is not None
        assert converted.total == 3
        ids = [encoded.event_id for encoded in converted.events]
        expected = [SOURCES[source].to_event(record).event_id for record in (first, last)]
        assert [ids[0], ids[-1]] == expected

    repeat(run)


def test_single_events_and_deliveries() -> None:
    template = {"event_type": "a", "event_id": "i", "details": {"a": 1}, "user_id": "u"}
    received = event.EARLIEST

    @PROFILE
    @given(st.data())
    def run(data: st.DataObject) -> None:
        body = data.draw(st.binary(max_size=200)) if data.draw(st.booleans()) else None
        if body is None:
            body = msgspec.json.encode(replace_anywhere(data, template))
        for convert in (
            native.request_to_event,
            lambda raw: github_webhook.to_event(raw, name="n", delivery="d", received=received),
        ):
            try:
                encoded = batch.convert_record(body, convert)
            except ContractError:
                continue
            event.decode(encoded.body)

    repeat(run)


def test_repaired_documents_satisfy_the_bounds() -> None:
    @PROFILE
    @given(VALUES, st.integers(100, 4000))
    def run(value: Any, max_bytes: int) -> None:
        document = msgspec.json.encode({"value": value})
        repaired = limits.repair(document, max_bytes=max_bytes)
        if repaired is not None:
            assert len(repaired) <= max_bytes
            msgspec.json.decode(repaired)
            repaired.decode()

    repeat(run)


def test_scanner_agrees_with_msgspec() -> None:
    @PROFILE
    @given(st.lists(VALUES, max_size=5), st.dictionaries(TEXTS, VALUES, max_size=5))
    def run(array: list[Any], members: dict[str, Any]) -> None:
        elements = [msgspec.json.encode(element) for element in array]
        assert json_scan.split_array(b"[" + b" , ".join(elements) + b"]") == elements
        pairs = [
            (msgspec.json.encode(key), msgspec.json.encode(value)) for key, value in members.items()
        ]
        body = b",".join(key + b" : " + value for key, value in pairs)
        assert json_scan.split_object(b" {" + body + b"} ") == pairs

    repeat(run)


def test_gzip() -> None:
    valid = gzip.compress(b"text" * 1000) + gzip.compress(b"")

    @PROFILE
    @given(st.binary(max_size=300), st.integers(0, len(valid)), st.integers(1, 5000))
    def run(noise: bytes, position: int, part: int) -> None:
        compressed = valid[:position] + noise + valid[position:]
        stream = GzipStream(limit=10_000)
        content = 0
        try:
            for start in range(0, len(compressed), part):
                content += sum(map(len, stream.feed(compressed[start : start + part])))
            stream.finish()
        except (GzipError, OverflowError):
            pass
        assert content <= 10_000

    repeat(run)
