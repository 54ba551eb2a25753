"""The table of sources: recognition and conversion of logs."""

import json
from importlib.metadata import entry_points

import pytest

from audit_event_generator.ingest.sources import LABELS, SOURCES
from auditflow.contract.event import Event
from auditflow.http.problem import Fault

from .conftest import DATA, Ingest, RecordingBroker, sample

#: A sample of each source in ``data/``.
FILES = {
    "ndjson": "events.ndjson",
    "kubernetes": "kubernetes-audit.json",
    "cloudtrail": "cloudtrail.json",
    "auditd": "auditd.log",
    "github": "github-audit.ndjson",
    "okta": "okta-system-log.json",
    "gcp": "gcp-audit.ndjson",
    "alertmanager": "alertmanager.json",
}


def test_every_source_has_a_sample() -> None:
    assert FILES.keys() == SOURCES.keys()


def test_labels_are_the_sources_and_two_more() -> None:
    assert ("synthetic", "api", *SOURCES) == LABELS


def test_other_programs_find_the_table_by_its_entry_point() -> None:
    [entry_point] = [
        item for item in entry_points(group="auditflow.sources")
        if item.name == "audit-event-generator"
    ]  # fmt: skip

    assert entry_point.load() is SOURCES


@pytest.mark.parametrize("name", FILES)
def test_log_is_recognised_by_its_source_only(name: str) -> None:
    body = (DATA / FILES[name]).read_bytes()

    assert [found for found, source in SOURCES.items() if source.recognises(body)] == [name]
    events = list(SOURCES[name](body))
    assert all(isinstance(event, Event) for event in events)
    expected = SOURCES[name].log_sources
    if expected:
        assert {event.logsource for event in events if isinstance(event, Event)} <= set(expected)


@pytest.mark.parametrize("name", FILES)
def test_recorded_file_is_accepted_and_keeps_its_event_ids(
    ingest: Ingest, broker: RecordingBroker, name: str
) -> None:
    body = (DATA / FILES[name]).read_bytes()
    count = len(list(SOURCES[name](body)))
    assert count > 1

    for _ in range(2):
        answer = ingest.post(f"/ingest/{name}", body)
        assert answer.json == {"accepted": count, "refused": 0, "errors": []}

    ids = [event.event_id for event in broker.events()]
    assert len(set(ids)) == count
    assert ids[:count] == ids[count:]
    assert ingest.count("accepted", name) == 2 * count


@pytest.mark.parametrize(("name", "key"), [("kubernetes", "items"), ("cloudtrail", "Records")])
def test_one_record_per_line_is_accepted(name: str, key: str) -> None:
    records = sample(FILES[name])[key]
    if name == "kubernetes":
        records = [
            {"kind": "Event", "apiVersion": "audit.k8s.io/v1", **record} for record in records
        ]
    body = "\n".join(json.dumps(record) for record in records).encode()

    assert SOURCES[name].recognises(body)
    assert len(list(SOURCES[name](body))) == len(records)


def test_invalid_record_is_a_fault_with_its_location() -> None:
    faults = list(SOURCES["okta"](b'{"uuid":"a"}\n{"uuid":"b"}'))

    assert faults == [
        Fault("line 1", "Object missing required field `published`"),
        Fault("line 2", "Object missing required field `published`"),
    ]


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"[]", b"{}", b"[1]", b"\xff", b'{"a":1}\n{"b":2}']
)
def test_other_bytes_are_not_recognised(body: bytes) -> None:
    assert [name for name, source in SOURCES.items() if source.recognises(body)] == []
