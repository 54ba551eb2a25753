"""Every source reads its log, and knows its own."""

import json

import pytest

from audit_event_generator.ingest import sources
from auditflow.contract.event import Event
from auditflow.http.problem import Fault

from .conftest import DATA, sample

FILES = {
    "kubernetes": "kubernetes-audit.json",
    "cloudtrail": "cloudtrail.json",
    "auditd": "auditd.log",
    "github": "github-audit.ndjson",
    "okta": "okta-system-log.json",
    "gcp": "gcp-audit.ndjson",
    "alertmanager": "alertmanager.json",
}
SOURCES = {
    "ndjson": sources.NDJSON,
    "kubernetes": sources.KUBERNETES,
    "cloudtrail": sources.CLOUDTRAIL,
    "auditd": sources.AUDITD,
    "github": sources.GITHUB,
    "okta": sources.OKTA,
    "gcp": sources.GCP,
    "alertmanager": sources.ALERTMANAGER,
}


@pytest.mark.parametrize("name", FILES)
def test_a_log_is_known_by_its_own_source_alone(name: str) -> None:
    body = (DATA / FILES[name]).read_bytes()

    assert [one for one, source in SOURCES.items() if source.recognises(body)] == [name]
    assert all(isinstance(one, Event) for one in SOURCES[name](body))


@pytest.mark.parametrize(("name", "key"), [("kubernetes", "items"), ("cloudtrail", "Records")])
def test_a_record_a_line_is_read_as_well(name: str, key: str) -> None:
    records = sample(FILES[name])[key]
    if name == "kubernetes":
        records = [{"kind": "Event", "apiVersion": "audit.k8s.io/v1", **one} for one in records]
    body = "\n".join(json.dumps(one) for one in records).encode()

    assert SOURCES[name].recognises(body)
    assert len(list(SOURCES[name](body))) == len(records)


def test_a_bad_record_is_a_fault_with_its_place() -> None:
    found = list(sources.OKTA(b'{"uuid":"a"}\n{"uuid":"b"}'))

    assert found == [
        Fault("line 1", "Object missing required field `published`"),
        Fault("line 2", "Object missing required field `published`"),
    ]


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"[]", b"{}", b"[1]", b"\xff", b'{"a":1}\n{"b":2}']
)
def test_what_is_no_log_is_nobodys(body: bytes) -> None:
    assert [name for name, source in SOURCES.items() if source.recognises(body)] == []
