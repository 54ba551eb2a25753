"""What an analyst reads of a Kubernetes audit record."""

from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import kubernetes
from auditflow.contract.event import Event

from .conftest import sample

RECORDS: list[dict[str, Any]] = sample("kubernetes-audit.json")["items"]


def read(record: dict[str, Any]) -> Event:
    return kubernetes.event_of(msgspec.json.encode(record))


def find(verb: str, uri: str, stage: str = "ResponseComplete") -> Event:
    [record] = [
        one
        for one in RECORDS
        if (one["verb"], one["stage"]) == (verb, stage) and uri in one["requestURI"]
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


def test_the_stages_of_one_request_are_events_of_their_own() -> None:
    watches = [
        one for one in RECORDS if one["verb"] == "watch" and "/shop/pods" in one["requestURI"]
    ]

    events = [read(one) for one in watches]

    assert len({one["auditID"] for one in watches}) == 1
    assert [event.event_id.split(":")[1] for event in events] == [
        "RequestReceived", "ResponseStarted", "ResponseComplete",
    ]  # fmt: skip
    assert [event.action_result for event in events] == [None, "SUCCESS", "SUCCESS"]
    assert events[0].timestamp < events[1].timestamp < events[2].timestamp


def test_a_command_in_a_pod() -> None:
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


def test_the_record_is_kept_byte_for_byte() -> None:
    record = b'{ "auditID":"a", "stage":"Panic","verb":"get",  "stageTimestamp":"2026-01-01T00:00:00Z", "n":1.50 }'

    event = kubernetes.event_of(record)

    assert bytes(event.record) == record  # type: ignore[arg-type]
    assert event.action_result == "FAILURE", "a panic is one whatever its code"


def test_who_is_impersonated_acts_and_who_impersonates_is_named() -> None:
    event = find("get", "configmaps/coredns")

    assert event.user_id == "system:admin"
    assert event.details is not None
    assert event.details["impersonatedBy"] == "aisha.bello@example.com"


def test_what_is_no_resource_is_its_path() -> None:
    event = find("get", "/livez")

    assert event.event_type == "get nonResourceURL"
    assert event.resource == "/livez", "without the query, which would make each call another"
    assert event.user_id == "system:anonymous"


def test_nobody_is_nobody() -> None:
    event = find("get", "secrets/bootstrap")

    assert event.user_id is None
    assert event.action_result == "FAILURE"
    assert event.details is not None
    assert event.details["reason"] == "Unauthorized"


def test_behind_proxies_the_first_address_is_the_client_and_all_are_kept() -> None:
    [record] = [one for one in RECORDS if one["requestURI"] == "/api"]

    event = read(record)

    assert event.client_ip == "198.51.100.140"
    assert event.details is not None
    assert event.details["sourceIPs"] == ["198.51.100.140", "10.0.0.5"]


def test_a_single_event_is_taken_as_well() -> None:
    body = msgspec.json.encode({"kind": "Event", "apiVersion": "audit.k8s.io/v1", **RECORDS[0]})

    [(where, record)] = kubernetes.records(body)

    assert where == "$"
    assert kubernetes.event_of(record).event_id.startswith(RECORDS[0]["auditID"])


@pytest.mark.parametrize(
    ("code", "result"), [(101, "SUCCESS"), (200, "SUCCESS"), (304, "SUCCESS"), (403, "FAILURE"),
                         (429, "FAILURE"), (500, "FAILURE"), (0, None), (None, None)]
)  # fmt: skip
def test_the_code_tells_the_result(code: int | None, result: str | None) -> None:
    assert read({**RECORDS[0], "responseStatus": {"code": code}}).action_result == result


def test_a_client_that_repeats_an_audit_id_does_not_hide_its_requests() -> None:
    one = b'{"auditID":"mine","stage":"ResponseComplete","verb":"get","requestReceivedTimestamp":"2026-01-01T00:00:00.000001Z"}'
    other = one.replace(b"000001Z", b"000002Z")
    assert kubernetes.event_of(one).event_id != kubernetes.event_of(other).event_id
    assert kubernetes.event_of(one).event_id == kubernetes.event_of(one).event_id
