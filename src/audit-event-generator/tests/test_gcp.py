"""Conversion of Google Cloud Audit Logs."""

import base64
import json
from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import gcp
from auditflow.contract.event import Event
from auditflow.errors import ContractError

from .conftest import DATA, Ingest, RecordingBroker

RECORDS: list[dict[str, Any]] = [
    json.loads(line) for line in (DATA / "gcp-audit.ndjson").read_text().splitlines()
]


def read(record: dict[str, Any]) -> Event:
    return gcp.to_event(msgspec.json.encode(record))


def find(method: str) -> Event:
    return next(
        read(entry) for entry in RECORDS if entry["protoPayload"]["methodName"].endswith(method)
    )


def test_the_sample_has_entries_of_all_kinds() -> None:
    assert {entry["logName"].rpartition("%2F")[2] for entry in RECORDS} == {
        "activity",
        "data_access",
    }
    assert len({entry["protoPayload"]["serviceName"] for entry in RECORDS}) >= 10


def test_service_account_key_fields() -> None:
    event = find("CreateServiceAccountKey")

    assert event.event_type == "google.iam.admin.v1.CreateServiceAccountKey"
    assert event.source_service == "iam.googleapis.com"
    assert (event.user_id, event.client_ip) == ("nadia.kern@example.com", "203.0.113.66")
    assert event.resource is not None
    assert event.resource.startswith("projects/example-shop/serviceAccounts/deployer")
    assert event.action_result == "SUCCESS"
    assert event.logsource is not None
    assert (event.logsource.product, event.logsource.service) == ("gcp", "gcp.audit")


def test_status_code_means_failure() -> None:
    denied = [read(entry) for entry in RECORDS if entry["protoPayload"]["status"].get("code") == 7]

    assert len(denied) == 4
    assert {event.action_result for event in denied} == {"FAILURE"}


def test_field_names_of_public_rules_are_present() -> None:
    details = find("storage.buckets.delete").details

    assert details is not None
    assert details["gcp.audit.method_name"] == "storage.buckets.delete"
    assert details["data"]["protoPayload"]["serviceName"] == "storage.googleapis.com"
    assert details["data"]["protoPayload"]["authorizationInfo"][0] == {
        "permission": "storage.buckets.delete",
        "granted": True,
    }


def test_federated_principal_subject_is_the_user() -> None:
    user = find("GenerateAccessToken").user_id

    assert user is not None
    assert user.startswith("principal://")


def test_event_id_depends_on_the_timestamp() -> None:
    first = read({**RECORDS[0], "timestamp": "2026-03-14T09:00:00.123456789Z"})
    second = read({**RECORDS[0], "timestamp": "2026-03-14T09:00:01Z"})

    assert first.timestamp.microsecond in (123_456, 123_457)
    assert first.event_id != second.event_id


def test_other_payload_type_is_refused() -> None:
    payload = {**RECORDS[0]["protoPayload"], "@type": "type.googleapis.com/other"}

    with pytest.raises(ContractError, match="protoPayload"):
        read({**RECORDS[0], "protoPayload": payload})


def test_pubsub_push_is_decoded(ingest: Ingest, broker: RecordingBroker) -> None:
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
