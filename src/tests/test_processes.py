"""Each service as a process: ordered stop, JSON logs, and one id through all services."""

import json
from pathlib import Path

import msgspec
import pytest

from auditflow_local.polling import eventually

from .events import failed_login
from .platform import Platform, ask

SERVICES = ("generator", "analysis", "notification", "dashboard")


def lines(log: Path) -> list[dict[str, object]]:
    """The log lines of a service. Every line must be a JSON object."""
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("name", SERVICES)
def test_it_ends_in_order(platform: Platform, name: str) -> None:
    service = getattr(platform, name)
    service.stop()
    assert service.exit_code == 0


@pytest.mark.parametrize("name", SERVICES)
def test_log_lines_have_service_and_time_in_json(platform: Platform, name: str) -> None:
    records = lines(getattr(platform, name).log)
    assert records
    assert all({"timestamp", "level", "event", "service"} <= line.keys() for line in records)


@pytest.mark.parametrize("name", SERVICES)
def test_it_has_health_readiness_and_metrics(platform: Platform, name: str) -> None:
    url = getattr(platform, name).url
    assert ask(f"{url}/healthz").json()["status"] == "alive"
    assert ask(f"{url}/readyz").json()["status"] == "ready"
    assert ask(f"{url}/metrics").headers["content-type"].startswith("text/plain")


def test_one_id_leads_through_the_logs_of_all_services(platform: Platform) -> None:
    # Given a request that brings its own correlation id and trace
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    events = [failed_login(f"traced-{number}", "alice", at=number) for number in range(3)]
    with platform.ingest() as client:
        client.post(
            "/ingest/ndjson",
            content=b"\n".join(msgspec.json.encode(event) for event in events),
            headers={
                "X-Correlation-ID": "order-66",
                "traceparent": f"00-{trace}-00f067aa0ba902b7-01",
            },
        ).raise_for_status()
    # when its alert is stored
    eventually(platform.alerts)
    # then the id is in the logs of each service on the way, and in the alert
    for name in ("generator", "analysis", "notification"):
        log = getattr(platform, name).log
        found = [line for line in lines(log) if line.get("correlation_id") == "order-66"]
        assert found, f"{name} does not know the correlation id"
        assert any(line.get("trace_id") == trace for line in found), f"{name} lost the trace"
    alert = platform.alerts()[0]["alert_id"]
    with platform.api() as client:
        (finding,) = client.get(f"/alerts/{alert}").json()["findings"]
    assert finding["correlation_id"] == "order-66"
    # and when a person looks at the alert, the log of the dashboard says whose it is
    with platform.analyst() as browser:
        assert browser.get(f"/alerts/{alert}").status_code == 200
    shown = [line for line in lines(platform.dashboard.log) if line["event"] == "alert shown"]
    assert ["order-66"] in [line["event_correlation_ids"] for line in shown]


def test_a_page_and_the_question_behind_it_have_one_id(platform: Platform) -> None:
    trace = "80f198ee56343ba864fe8b2a57d3eff7"
    with platform.analyst() as browser:
        browser.get(
            "/alerts",
            headers={
                "X-Correlation-ID": "page-1138",
                "traceparent": f"00-{trace}-00f067aa0ba902b7-01",
            },
        ).raise_for_status()
    for service in (platform.dashboard, platform.notification):
        found = [line for line in lines(service.log) if line.get("correlation_id") == "page-1138"]
        assert trace in [line.get("trace_id") for line in found], f"{service.name} lost the trace"
