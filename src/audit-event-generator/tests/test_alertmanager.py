"""Conversion of Prometheus alerts. An Alertmanager sent the sample."""

import datetime as dt
import json
from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import alertmanager
from auditflow.contract.event import Event, Severity

from .conftest import DATA, Ingest, RecordingBroker

NOTIFICATION: dict[str, Any] = json.loads((DATA / "alertmanager.json").read_text())
FIRING, RESOLVED = NOTIFICATION["alerts"]


def read(alert: dict[str, Any]) -> Event:
    return alertmanager.to_event(msgspec.json.encode(alert))


def test_firing_alert_with_severity_page() -> None:
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


def test_resolved_alert_has_the_end_time() -> None:
    event = read(RESOLVED)

    assert event.event_type == "alert_resolved"
    assert event.timestamp == dt.datetime(2026, 3, 2, 9, 58, tzinfo=dt.UTC)
    assert (event.severity, event.action_result) == (Severity.INFO, "SUCCESS")
    assert event.server_hostname == "node-1:9100"


def test_repeated_notification_keeps_the_event_id() -> None:
    repeated = {**FIRING, "endsAt": "2026-03-02T10:04:30.123Z"}
    resolved = {**repeated, "status": "resolved"}
    later = {**FIRING, "startsAt": "2026-03-03T10:00:30.123Z"}

    assert read(repeated).event_id == read(FIRING).event_id
    assert len({read(alert).event_id for alert in (FIRING, resolved, later)}) == 3


@pytest.mark.parametrize(
    ("label", "severity"),
    [("page", Severity.CRITICAL), ("critical", Severity.CRITICAL), ("ticket", Severity.WARNING),
     ("warning", Severity.WARNING), ("info", Severity.INFO), ("none", Severity.INFO),
     (None, Severity.INFO)],
)  # fmt: skip
def test_severity_label_maps_to_event_severity(label: str | None, severity: Severity) -> None:
    labels = {"alertname": "A"} | ({"severity": label} if label else {})
    assert read({**FIRING, "labels": labels}).severity is severity


def test_incomplete_alerts_are_refused_and_the_others_accepted(
    ingest: Ingest, broker: RecordingBroker
) -> None:
    incomplete = {key: value for key, value in FIRING.items() if key != "fingerprint"}
    without_end = {key: value for key, value in RESOLVED.items() if key != "endsAt"}
    answer = ingest.post(
        "/ingest/alertmanager", {**NOTIFICATION, "alerts": [incomplete, without_end, FIRING]}
    )

    assert answer.status_code == 202
    assert answer.json["accepted"] == 1
    assert [(fault["where"], "fingerprint" in fault["what"] or "endsAt" in fault["what"])
            for fault in answer.json["errors"]] == [("alerts[0]", True), ("alerts[1]", True)]  # fmt: skip
    assert [event.event_type for event in broker.events()] == ["alert_firing"]


def test_recorded_notification_is_accepted(ingest: Ingest, broker: RecordingBroker) -> None:
    assert ingest.post("/ingest/alertmanager", NOTIFICATION).json["accepted"] == 2
    assert {event.source_service for event in broker.events()} == {"alertmanager"}
