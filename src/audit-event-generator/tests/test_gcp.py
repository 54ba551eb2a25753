"""What an analyst reads of Google Cloud's audit logs."""

import base64
import json
from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import gcp
from auditflow.contract.event import Event
from auditflow.errors import ContractError

from .conftest import DATA, Ingest, RememberingBroker

RECORDS: list[dict[str, Any]] = [
    json.loads(line) for line in (DATA / "gcp-audit.ndjson").read_text().splitlines()
]


def read(record: dict[str, Any]) -> Event:
    return gcp.event_of(msgspec.json.encode(record))


def find(method: str) -> Event:
    return next(read(one) for one in RECORDS if one["protoPayload"]["methodName"].endswith(method))


def test_the_sample_has_entries_of_all_kinds() -> None:
    assert {one["logName"].rpartition("%2F")[2] for one in RECORDS} == {"activity", "data_access"}
    assert len({one["protoPayload"]["serviceName"] for one in RECORDS}) >= 10


def test_a_key_of_a_service_account() -> None:
    event = find("CreateServiceAccountKey")

    assert event.event_type == "google.iam.admin.v1.CreateServiceAccountKey"
    assert event.source_service == "iam.googleapis.com"
    assert (event.user_id, event.client_ip) == ("nadia.kern@example.com", "203.0.113.66")
    assert event.resource is not None
    assert event.resource.startswith("projects/example-shop/serviceAccounts/deployer")
    assert event.action_result == "SUCCESS"
    assert event.logsource is not None
    assert (event.logsource.product, event.logsource.service) == ("gcp", "gcp.audit")


def test_a_status_with_a_code_is_a_failure() -> None:
    denied = [read(one) for one in RECORDS if one["protoPayload"]["status"].get("code") == 7]

    assert len(denied) == 4
    assert {one.action_result for one in denied} == {"FAILURE"}


def test_public_rules_find_the_fields_by_their_names() -> None:
    details = find("storage.buckets.delete").details

    assert details is not None
    assert details["gcp.audit.method_name"] == "storage.buckets.delete"
    assert details["data"]["protoPayload"]["serviceName"] == "storage.googleapis.com"
    assert details["data"]["protoPayload"]["authorizationInfo"][0] == {
        "permission": "storage.buckets.delete",
        "granted": True,
    }


def test_a_federated_principal_has_a_subject() -> None:
    user = find("GenerateAccessToken").user_id

    assert user is not None
    assert user.startswith("principal://")


def test_nanoseconds_are_understood_and_the_same_id_at_another_time_is_another() -> None:
    one = read({**RECORDS[0], "timestamp": "2026-03-14T09:00:00.123456789Z"})
    other = read({**RECORDS[0], "timestamp": "2026-03-14T09:00:01Z"})

    assert one.timestamp.microsecond in (123_456, 123_457)
    assert one.event_id != other.event_id


def test_another_payload_is_refused() -> None:
    payload = {**RECORDS[0]["protoPayload"], "@type": "type.googleapis.com/other"}

    with pytest.raises(ContractError, match="protoPayload"):
        read({**RECORDS[0], "protoPayload": payload})


def test_a_push_of_pub_sub_is_opened(ingest: Ingest, broker: RememberingBroker) -> None:
    data = base64.b64encode(msgspec.json.encode(RECORDS[0])).decode()
    push = {
        "message": {"data": data, "messageId": "1"},
        "subscription": "projects/p/subscriptions/s",
    }

    assert ingest.post("/ingest/gcp", push).json["accepted"] == 1
    assert broker.events()[0].event_type == RECORDS[0]["protoPayload"]["methodName"]
    push["message"] = {"data": "no base64!"}
    answer = ingest.post("/ingest/gcp", push)
    assert (answer.status_code, answer.json["errors"][0]["where"]) == (422, "$.message.data")
