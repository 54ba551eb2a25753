"""Conversion of the Okta System Log."""

from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import okta
from auditflow.contract.event import Event, Severity

from .conftest import TOKEN, Ingest, RecordingBroker, sample

RECORDS: list[dict[str, Any]] = sample("okta-system-log.json")  # type: ignore[assignment]


def read(record: dict[str, Any]) -> Event:
    return okta.to_event(msgspec.json.encode(record))


def named(event_type: str) -> list[Event]:
    return [read(record) for record in RECORDS if record["eventType"] == event_type]


def test_the_sample_has_events_of_all_kinds() -> None:
    assert {record["eventType"].split(".")[0] for record in RECORDS} >= {
        "user", "policy", "system", "application", "group", "zone", "security",
    }  # fmt: skip
    assert {record["outcome"]["result"] for record in RECORDS} >= {
        "SUCCESS",
        "FAILURE",
        "ALLOW",
        "DENY",
    }


def test_failed_login_fields() -> None:
    failed = [event for event in named("user.session.start") if event.action_result == "FAILURE"]

    assert [event.user_id for event in failed] == ["nadia.kern@example.com"] * 5 + [None]
    assert {event.client_ip for event in failed} == {"203.0.113.66"}
    assert failed[0].details is not None
    assert (failed[0].details["reason"], failed[0].details["country"]) == (
        "INVALID_CREDENTIALS",
        "Netherlands",
    )


def test_resource_is_not_the_actor() -> None:
    [event] = named("user.account.privilege.grant")

    assert (event.user_id, event.resource) == ("nadia.kern@example.com", "ingrid.holm@example.com")
    assert event.details is not None
    assert event.details["targets"] == ["ingrid.holm@example.com", "Super administrator"]
    assert event.logsource is not None
    assert (event.logsource.product, event.logsource.service) == ("okta", "okta")


@pytest.mark.parametrize(
    ("result", "expected"),
    [("SUCCESS", "SUCCESS"), ("ALLOW", "SUCCESS"), ("DENY", "FAILURE"), ("FAILURE", "FAILURE"),
     ("CHALLENGE", "CHALLENGE"), ("UNKNOWN", None), (None, None)],
)  # fmt: skip
def test_outcome_maps_to_action_result(result: str | None, expected: str | None) -> None:
    assert read({**RECORDS[0], "outcome": {"result": result}}).action_result == expected


def test_severity_of_warnings() -> None:
    assert named("user.account.lock")[0].severity is Severity.WARNING
    assert named("user.lifecycle.create")[0].severity is Severity.INFO


def test_event_hook_is_accepted(ingest: Ingest, broker: RecordingBroker) -> None:
    hook = {
        "eventType": "com.okta.event_hook",
        "eventTypeVersion": "1.0",
        "cloudEventsVersion": "0.1",
        "source": "https://example.okta.com/api/v1/eventHooks/who1",
        "eventId": "b5a188b9",
        "data": {"events": RECORDS[:3]},
    }

    answer = ingest.post("/ingest/okta", hook)

    assert answer.json == {"accepted": 3, "refused": 0, "errors": []}
    assert [event.event_id for event in broker.events()] == [
        record["uuid"] for record in RECORDS[:3]
    ]


def test_verification_challenge_is_answered(ingest: Ingest) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}

    answer = ingest.client.get(
        "/ingest/okta", headers={**headers, "X-Okta-Verification-Challenge": "abc123"}
    )

    assert (answer.status_code, answer.json) == (200, {"verification": "abc123"})
    assert ingest.client.get("/ingest/okta", headers=headers).status_code == 400
    assert ingest.client.get("/ingest/okta").status_code == 401
