"""Conversion of Kubernetes audit records."""

from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import kubernetes
from auditflow.contract.event import Event

from .conftest import sample

RECORDS: list[dict[str, Any]] = sample("kubernetes-audit.json")["items"]


def read(record: dict[str, Any]) -> Event:
    return kubernetes.to_event(msgspec.json.encode(record))


def find(verb: str, uri: str, stage: str = "ResponseComplete") -> Event:
    [record] = [
        record
        for record in RECORDS
        if (record["verb"], record["stage"]) == (verb, stage) and uri in record["requestURI"]
    ]
    return read(record)


def test_the_sample_has_records_of_all_kinds() -> None:
    assert {record["stage"] for record in RECORDS} == {
        "RequestReceived", "ResponseStarted", "ResponseComplete", "Panic",
    }  # fmt: skip
    assert {record["verb"] for record in RECORDS} >= {
        "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "post",
    }  # fmt: skip
    assert {record["level"] for record in RECORDS} == {"Metadata", "Request", "RequestResponse"}


def test_each_stage_of_a_request_is_an_event() -> None:
    watches = [
        record
        for record in RECORDS
        if record["verb"] == "watch" and "/shop/pods" in record["requestURI"]
    ]

    events = [read(record) for record in watches]

    assert len({record["auditID"] for record in watches}) == 1
    assert [event.event_id.split(":")[1] for event in events] == [
        "RequestReceived", "ResponseStarted", "ResponseComplete",
    ]  # fmt: skip
    assert [event.action_result for event in events] == [None, "SUCCESS", "SUCCESS"]
    assert events[0].timestamp < events[1].timestamp < events[2].timestamp


def test_exec_into_a_pod() -> None:
    event = find("create", "node-shell/exec", "ResponseStarted")

    assert event.event_type == "create pods/exec"
    assert event.resource == "default/pods/node-shell/exec"
    assert event.user_id == "oleg.sidorov@example.com"
    assert event.client_ip == "192.0.2.34"
    assert event.action_result == "SUCCESS"
    assert event.source_service == "kube-apiserver"
    assert event.server_hostname is None
    assert event.logsource is not None
    assert (event.logsource.product, event.logsource.service) == ("kubernetes", "audit")
    assert event.details is not None
    assert event.details["responseCode"] == 101
    assert event.details["decision"] == "allow"


def test_record_is_unchanged() -> None:
    record = b'{ "auditID":"a", "stage":"Panic","verb":"get",  "stageTimestamp":"2026-01-01T00:00:00Z", "n":1.50 }'

    event = kubernetes.to_event(record)

    assert bytes(event.record) == record  # type: ignore[arg-type]
    assert event.action_result == "FAILURE", "a panic is a failure with any code"


def test_impersonated_user_is_the_actor() -> None:
    event = find("get", "configmaps/coredns")

    assert event.user_id == "system:admin"
    assert event.details is not None
    assert event.details["impersonatedBy"] == "aisha.bello@example.com"


def test_non_resource_url_has_its_path() -> None:
    event = find("get", "/livez")

    assert event.event_type == "get nonResourceURL"
    assert event.resource == "/livez", "without the query, which differs in each call"
    assert event.user_id == "system:anonymous"


def test_missing_user_is_absent() -> None:
    event = find("get", "secrets/bootstrap")

    assert event.user_id is None
    assert event.action_result == "FAILURE"
    assert event.details is not None
    assert event.details["reason"] == "Unauthorized"


def test_address_of_the_connection_is_the_client() -> None:
    """The client can set the earlier addresses by the header X-Forwarded-For."""
    [record] = [record for record in RECORDS if record["requestURI"] == "/api"]

    event = read(record)

    assert event.client_ip == "10.0.0.5"
    assert event.details is not None
    assert event.details["sourceIPs"] == ["198.51.100.140", "10.0.0.5"]


def test_single_event_is_accepted() -> None:
    body = msgspec.json.encode({"kind": "Event", "apiVersion": "audit.k8s.io/v1", **RECORDS[0]})

    [(where, record)] = kubernetes.split(body)

    assert where == "$"
    assert kubernetes.to_event(record).event_id.startswith(RECORDS[0]["auditID"])


@pytest.mark.parametrize(
    ("code", "result"), [(101, "SUCCESS"), (200, "SUCCESS"), (304, "SUCCESS"), (403, "FAILURE"),
                         (429, "FAILURE"), (500, "FAILURE"), (0, None), (None, None)]
)  # fmt: skip
def test_response_code_determines_the_result(code: int | None, result: str | None) -> None:
    assert read({**RECORDS[0], "responseStatus": {"code": code}}).action_result == result


def test_repeated_audit_id_gives_distinct_event_ids() -> None:
    first = b'{"auditID":"mine","stage":"ResponseComplete","verb":"get","requestReceivedTimestamp":"2026-01-01T00:00:00.000001Z"}'
    second = first.replace(b"000001Z", b"000002Z")
    assert kubernetes.to_event(first).event_id != kubernetes.to_event(second).event_id
    assert kubernetes.to_event(first).event_id == kubernetes.to_event(first).event_id
