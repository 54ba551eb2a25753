"""What an analyst reads of Prometheus' alerts. The sample was sent by an Alertmanager."""

import datetime as dt
import json
from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import alertmanager
from auditflow.contract.event import Event, Severity

from .conftest import DATA, Ingest, RememberingBroker

NOTIFICATION: dict[str, Any] = json.loads((DATA / "alertmanager.json").read_text())
FIRING, RESOLVED = NOTIFICATION["alerts"]


def read(alert: dict[str, Any]) -> Event:
    return alertmanager.event_of(msgspec.json.encode(alert))


def test_an_alert_that_pages() -> None:
    event = read(FIRING)

    assert event.event_type == "alert_firing"
    assert event.timestamp == dt.datetime(2026, 3, 2, 10, 0, 30, 123000, dt.UTC)
    assert (event.severity, event.action_result) == (Severity.CRITICAL, "FAILURE")
    assert event.resource == "ServiceDown"
    assert isinstance(event.details, dict)
    assert event.details["labels"]["namespace"] == "auditflow-dev"
    assert event.details["annotations"]["runbook_url"].endswith("/service-down.md")
    assert event.logsource is not None
    assert (event.logsource.product, event.logsource.service) == ("prometheus", "alertmanager")


def test_one_that_is_over_has_the_time_when_it_ended() -> None:
    event = read(RESOLVED)

    assert event.event_type == "alert_resolved"
    assert event.timestamp == dt.datetime(2026, 3, 2, 9, 58, tzinfo=dt.UTC)
    assert (event.severity, event.action_result) == (Severity.INFO, "SUCCESS")
    assert event.server_hostname == "node-1:9100"


def test_a_repeated_notification_is_the_same_event_and_its_end_another() -> None:
    again = {**FIRING, "endsAt": "2026-03-02T10:04:30.123Z"}
    over = {**again, "status": "resolved"}
    later = {**FIRING, "startsAt": "2026-03-03T10:00:30.123Z"}

    assert read(again).event_id == read(FIRING).event_id
    assert len({read(one).event_id for one in (FIRING, over, later)}) == 3


@pytest.mark.parametrize(
    ("label", "severity"),
    [("page", Severity.CRITICAL), ("critical", Severity.CRITICAL), ("ticket", Severity.WARNING),
     ("warning", Severity.WARNING), ("info", Severity.INFO), ("none", Severity.INFO),
     (None, Severity.INFO)],
)  # fmt: skip
def test_severities(label: str | None, severity: Severity) -> None:
    labels = {"alertname": "A"} | ({"severity": label} if label else {})
    assert read({**FIRING, "labels": labels}).severity is severity


def test_what_lacks_something_is_refused_and_the_rest_goes_on(
    ingest: Ingest, broker: RememberingBroker
) -> None:
    bad = {key: value for key, value in FIRING.items() if key != "fingerprint"}
    endless = {key: value for key, value in RESOLVED.items() if key != "endsAt"}
    answer = ingest.post("/ingest/alertmanager", {**NOTIFICATION, "alerts": [bad, endless, FIRING]})

    assert answer.status_code == 202
    assert answer.json["accepted"] == 1
    assert [(one["where"], "fingerprint" in one["what"] or "endsAt" in one["what"])
            for one in answer.json["errors"]] == [("alerts[0]", True), ("alerts[1]", True)]  # fmt: skip
    assert [one.event_type for one in broker.events()] == ["alert_firing"]


def test_a_notification_as_it_comes(ingest: Ingest, broker: RememberingBroker) -> None:
    assert ingest.post("/ingest/alertmanager", NOTIFICATION).json["accepted"] == 2
    assert {one.source_service for one in broker.events()} == {"alertmanager"}
