"""Sign-ins are reported to the audit trail, and requests carry the person's address."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from auditflow_local.polling import eventually
from event_audit_dashboard import errors
from event_audit_dashboard.access import audit_reports
from event_audit_dashboard.access.audit_reports import AuditReports
from event_audit_dashboard.access.throttled_attempts import (
    MAX_ADDRESSES,
    PERIOD_SECONDS,
    ThrottledAttempts,
)
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.apis.transport import Transport
from event_audit_dashboard.metrics import Metrics

from .conftest import User
from .fake_api import TOKEN, FakeApi


@pytest.fixture
def reports(api: FakeApi) -> Iterator[AuditReports]:
    client = NotificationService(
        Transport("127.0.0.1", api.port, token=TOKEN), metrics=Metrics(CollectorRegistry())
    )
    yield AuditReports(client)
    client.close()


def _facts(api: FakeApi) -> list[tuple[str, str, str, str]]:
    return [
        (it["action"], it["outcome"], it["actor"], it["address"]) for it in api.reports
    ]  # fmt: skip


def test_sign_ins_and_sign_outs_are_reported(
    make: Callable[..., Any], api: FakeApi, reports: AuditReports
) -> None:
    user = User(make(reports=reports))
    user.sign_in("mallory\0", "wrong")
    user.sign_in()
    token = user.token("/settings")
    user.http.post("/logout", data={"csrf_token": token, "scope": "all"})

    reports.send()

    assert _facts(api) == [
        ("sign-in refused", "refused", "mallory?", "127.0.0.1"),
        ("sign-in accepted", "done", "admin", "127.0.0.1"),
        ("sessions ended", "done", "admin", "127.0.0.1"),
        ("signed out", "done", "admin", "127.0.0.1"),
    ]


def test_a_throttled_sign_in_is_reported(
    make: Callable[..., Any], api: FakeApi, reports: AuditReports
) -> None:
    user = User(make(reports=reports))
    while user.sign_in("admin", "wrong").status_code != 429:
        pass
    while reports.send():
        pass
    assert _facts(api)[-1] == ("sign-in throttled", "refused", "admin", "127.0.0.1")


def test_a_flood_of_throttled_sign_ins_is_one_report(
    make: Callable[..., Any], api: FakeApi, reports: AuditReports
) -> None:
    user = User(make(reports=reports))
    while user.sign_in("admin", "wrong").status_code != 429:
        pass
    for _ in range(30):
        assert user.sign_in("admin", "wrong").status_code == 429
    while reports.send():
        pass
    throttled = [fact for fact in _facts(api) if fact[0] == "sign-in throttled"]
    assert throttled == [("sign-in throttled", "refused", "admin", "127.0.0.1")]


def test_throttled_attempts_are_counted_by_address_and_period() -> None:
    now = [0.0]
    counted = ThrottledAttempts(clock=lambda: now[0])
    assert [counted.add("a") for _ in range(5)] == [1, 0, 0, 0, 0]
    assert counted.add("b") == 1
    now[0] = PERIOD_SECONDS
    assert counted.add("a") == 5
    for number in range(MAX_ADDRESSES):
        counted.add(f"other-{number}")
    assert len(counted._counts) == MAX_ADDRESSES


def test_requests_of_a_person_carry_the_address(analyst: Any, many: FakeApi) -> None:
    analyst.get("/alerts", environ_base={"REMOTE_ADDR": "203.0.113.9"})
    _, _, headers = next(it for it in many.requests if it[0] == "/api/v1/alerts")
    assert headers["X-Auditflow-Address"] == "203.0.113.9"


def test_reports_wait_for_the_api_and_the_oldest_are_dropped(
    api: FakeApi, reports: AuditReports, monkeypatch: Any
) -> None:
    monkeypatch.setattr(audit_reports, "MAX_WAITING", 5)
    api.mode = "down"
    for number in range(7):
        reports.report("signed out", f"user-{number}", "")
    with pytest.raises(errors.ApiError):
        reports.send()
    api.mode = "ok"

    reports.send()

    assert [it["actor"] for it in api.reports] == [f"user-{number}" for number in range(2, 7)]
    assert api.reports[0]["detail"] == {"reports dropped before": "2"}
    assert not reports.send()


def test_the_process_sends_reports(site: str, api: FakeApi) -> None:
    with httpx.Client(base_url=site, verify=False, trust_env=False) as client:
        page = client.get("/login").text
        token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
        form = {"user": "eve", "password": "wrong", "csrf_token": token}
        assert client.post("/login", data=form).status_code == 401
    eventually(lambda: api.reports, what="the reports")
    assert _facts(api) == [("sign-in refused", "refused", "eve", "127.0.0.1")]
