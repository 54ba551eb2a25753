"""What other programs see: headers, health, metrics, ids, and the notification service away."""

import re
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from event_audit_dashboard.settings import DashboardSettings


@pytest.mark.parametrize(
    ("mode", "status", "words"),
    [
        ("down", 503, "cannot read the alerts at the moment"),
        ("slow", 503, "did not answer within 2 seconds"),
        ("broken", 502, "it answered 500"),
        ("garbage", 502, "does not understand"),
        ("html", 502, "does not understand"),
        ("denied", 502, "API_TOKEN"),
    ],
)
def test_an_outage_is_told_and_ends(
    analyst: Any, many: Any, mode: str, status: int, words: str
) -> None:
    many.mode = mode
    one = many.alerts[0]["alert_id"]
    for path in ("/alerts", f"/alerts/{one}"):
        page = analyst.get(path)
        assert page.status_code == status
        assert "Alerts cannot be loaded now" in page.text
        assert words in page.text
        assert "tries again" in page.text
        assert "No alerts yet" not in page.text
        assert "postgres" not in page.text
        assert "Traceback" not in page.text
    fragment = analyst.get("/alerts/live")
    assert (fragment.status_code, fragment.mimetype) == (status, "text/plain")
    many.mode = "ok"
    assert analyst.get("/alerts").status_code == 200
    counted = analyst.get("/metrics").text
    assert re.search(r"auditflow_dashboard_upstream_errors_total\{[^}]*\} 3\.0", counted)


def test_the_service_stopped_and_started_again(analyst: Any, many: Any) -> None:
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


def test_an_outage_of_the_database_does_not_take_the_dashboard_out_of_service(
    analyst: Any, many: Any
) -> None:
    many.mode = "down"
    assert analyst.get("/readyz").status_code == 200


def test_every_answer_has_the_strict_headers(analyst: Any, stranger: Any, many: Any) -> None:
    one = many.alerts[0]["alert_id"]
    answers = [
        stranger.get("/login"),
        stranger.get("/alerts"),
        analyst.get("/alerts"),
        analyst.get(f"/alerts/{one}"),
        analyst.get("/nowhere"),
        analyst.get("/alerts/live"),
    ]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
    for page in (answer.text for answer in answers):
        assert not re.search(r"<[^>]+\s(style|on\w+)=", page)
        assert "<style" not in page


def test_static_files_are_kept_for_ever_and_change_their_address(stranger: Any) -> None:
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


def test_ids_travel_on(analyst: Any, many: Any) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = analyst.get(
        "/alerts",
        headers={"X-Correlation-ID": "case-42", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
    )
    assert answer.headers["X-Correlation-ID"] == "case-42"
    headers = many.asked[-1][2]
    assert headers["X-Correlation-Id"] == "case-42"
    assert headers["Traceparent"].split("-")[1] == trace
    analyst.get("/alerts", headers={"X-Correlation-ID": "<script>"})
    assert re.fullmatch(r"[0-9a-f-]{36}", many.asked[-1][2]["X-Correlation-Id"])


def test_requests_are_counted_by_route(analyst: Any, many: Any) -> None:
    for one in many.alerts[:3]:
        analyst.get(f"/alerts/{one['alert_id']}")
    analyst.get("/a-page-that-nobody-made")
    counted = analyst.get("/metrics").text
    name = "auditflow_http_request_duration_seconds_count"
    assert f'{name}{{code="2xx",route="/alerts/<alert_id>"}} 3.0' in counted
    assert f'{name}{{code="4xx",route="none"}} 1.0' in counted
    assert many.alerts[0]["alert_id"] not in counted


def test_settings_say_what_is_wrong(monkeypatch: Any) -> None:
    monkeypatch.setenv("API_TOKEN", "t")
    with pytest.raises(ValidationError) as refused:
        DashboardSettings.model_validate(
            {"dashboard_password": " ", "session_secret": "too-short-secret"}
        )
    said = str(refused.value)
    assert "at least 32 characters" in said
    assert "must not be empty" in said


def test_the_real_server_answers_what_has_no_body(site: str) -> None:
    with httpx.Client(base_url=site, trust_env=False) as http:
        head = http.head("/login")
        assert (head.status_code, head.content) == (200, b"")
        assert http.get("/readyz").json()["status"] == "ready"
        assert "server" not in head.headers
