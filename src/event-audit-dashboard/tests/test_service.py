"""Headers, health, metrics, correlation ids, and outages of the notification service."""

import re
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from event_audit_dashboard.settings import DashboardSettings


@pytest.mark.parametrize(
    ("mode", "status", "message"),
    [
        ("down", 503, "cannot read the alerts"),
        ("slow", 503, "did not respond within 2 seconds"),
        ("broken", 502, "failed with status 500"),
        ("garbage", 502, "violates the API contract"),
        ("html", 502, "violates the API contract"),
        ("denied", 502, "API_TOKEN"),
    ],
)
def test_an_outage_is_reported_until_it_ends(
    analyst: Any, many: Any, mode: str, status: int, message: str
) -> None:
    many.mode = mode
    alert_id = many.alerts[0]["alert_id"]
    for path in ("/alerts", f"/alerts/{alert_id}"):
        page = analyst.get(path)
        assert page.status_code == status
        assert "Alerts cannot be loaded" in page.text
        assert message in page.text
        assert "tries again" in page.text
        assert "No alerts yet" not in page.text
        assert "postgres" not in page.text
        assert "Traceback" not in page.text
    fragment = analyst.get("/alerts/live")
    assert (fragment.status_code, fragment.mimetype) == (status, "text/plain")
    many.mode = "ok"
    assert analyst.get("/alerts").status_code == 200
    counted = analyst.get("/metrics").text
    assert re.search(r"auditflow_dashboard_upstream_errors_total\{[^}]*\} [3-9]\.0", counted)


def test_the_dashboard_recovers_after_a_restart_of_the_api(analyst: Any, many: Any) -> None:
    assert analyst.get("/alerts").status_code == 200
    many.stop()
    page = analyst.get("/alerts")
    assert page.status_code == 503
    assert "cannot be reached" in page.text
    ready = analyst.get("/readyz")
    assert (ready.status_code, ready.json["dependencies"]["notification-service"]["state"]) == (
        503,
        "down",
    )
    assert analyst.get("/healthz").status_code == 200
    many.start()
    assert analyst.get("/alerts").status_code == 200


def test_the_dashboard_stays_ready_during_a_database_outage(analyst: Any, many: Any) -> None:
    many.mode = "down"
    assert analyst.get("/readyz").status_code == 200


def test_every_response_has_the_security_headers(analyst: Any, stranger: Any, many: Any) -> None:
    alert_id = many.alerts[0]["alert_id"]
    responses = [
        stranger.get("/login"),
        stranger.get("/alerts"),
        analyst.get("/alerts"),
        analyst.get(f"/alerts/{alert_id}"),
        analyst.get("/nowhere"),
        analyst.get("/alerts/live"),
    ]
    for response in responses:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"
        assert response.headers["Cache-Control"] == "no-store"
    for page in (response.text for response in responses):
        assert not re.search(r"<[^>]+\s(style|on\w+)=", page)
        assert "<style" not in page


def test_static_files_are_immutable_and_versioned(stranger: Any) -> None:
    files = re.findall(r'"(/static/[^"]+)"', stranger.get("/login").text)
    assert len(files) >= 4
    for path in files:
        file = stranger.get(path)
        assert file.status_code == 200
        assert "immutable" in file.headers["Cache-Control"]
        assert "Set-Cookie" not in file.headers
    old = "/static/0000000000000000/" + files[0].rpartition("/")[2]
    assert stranger.get(old).headers["Cache-Control"] == "no-store"
    assert stranger.get("/static/x/nothing.css").status_code == 404


def test_trace_and_correlation_ids_are_forwarded(analyst: Any, many: Any) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    response = analyst.get(
        "/alerts",
        headers={"X-Correlation-ID": "case-42", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
    )
    assert response.headers["X-Correlation-ID"] == "case-42"
    headers = many.requests[-1][2]
    assert headers["X-Correlation-Id"] == "case-42"
    assert headers["Traceparent"].split("-")[1] == trace
    analyst.get("/alerts", headers={"X-Correlation-ID": "<script>"})
    assert re.fullmatch(r"[0-9a-f-]{36}", many.requests[-1][2]["X-Correlation-Id"])


def test_requests_are_counted_by_route(analyst: Any, many: Any) -> None:
    for alert in many.alerts[:3]:
        analyst.get(f"/alerts/{alert['alert_id']}")
    analyst.get("/unknown-page")
    counted = analyst.get("/metrics").text
    name = "auditflow_http_request_duration_seconds_count"
    assert f'{name}{{code="2xx",route="/alerts/<uuid:alert_id>"}} 3.0' in counted
    assert f'{name}{{code="4xx",route="none"}} 1.0' in counted
    assert many.alerts[0]["alert_id"] not in counted


def test_invalid_settings_are_reported(monkeypatch: Any) -> None:
    monkeypatch.setenv("API_TOKEN", "t")
    with pytest.raises(ValidationError) as error:
        DashboardSettings.model_validate(
            {"dashboard_password": " ", "session_secret": "too-short-secret"}
        )
    message = str(error.value)
    assert "at least 32 characters" in message
    assert "must not be empty" in message


def test_the_server_answers_head_requests(site: str) -> None:
    with httpx.Client(base_url=site, trust_env=False) as http:
        head = http.head("/login")
        assert (head.status_code, head.content) == (200, b"")
        assert http.get("/readyz").json()["status"] == "ready"
        assert "server" not in head.headers
