"""Sign-in, sign-out and the access check."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from event_audit_dashboard import auth

PASSWORD = "correct horse battery staple"
OPEN = {
    "sign_in.form",
    "sign_in.submit",
    "assets.file",
    "operations.healthz",
    "operations.readyz",
    "operations.metrics",
}


def test_every_page_needs_a_session(dashboard: Any, stranger: Any, many: Any) -> None:
    closed = 0
    for rule in dashboard.url_map.iter_rules():
        if rule.endpoint in OPEN:
            continue
        path = rule.rule.replace("<uuid:alert_id>", many.alerts[0]["alert_id"])
        for method in rule.methods:
            data = {"csrf_token": stranger.token()} if method == "POST" else None
            response = stranger.http.open(path, method=method, data=data)
            assert response.status_code in {302, 401}, f"{method} {path}"
            if response.status_code == 302:
                assert response.location.startswith("/login"), f"{method} {path}"
            closed += 1
    assert closed >= 10
    assert many.requests == []


def test_sign_in_redirects_to_the_requested_page(stranger: Any, many: Any) -> None:
    requested = stranger.get("/alerts?status=open&host=web-01")
    assert requested.location == "/login?next=/alerts?status%3Dopen%26host%3Dweb-01"
    arrived = stranger.sign_in(path=requested.location)
    assert (arrived.status_code, arrived.location) == (303, "/alerts?status=open&host=web-01")
    assert stranger.get(arrived.location).status_code == 200
    assert stranger.get("/login").location == "/"


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("admin", "wrong"),
        ("nobody", PASSWORD),
        ("", ""),
        ("admin", ""),
        ("ADMIN", PASSWORD),
        ("\ud800", "\ud800"),
    ],
)
def test_wrong_credentials(stranger: Any, user: str, password: str) -> None:
    data = {
        "user": user.encode("utf-8", "replace"),
        "password": password.encode("utf-8", "replace"),
        "csrf_token": stranger.token(),
    }
    response = stranger.http.post("/login", data=data)
    assert response.status_code == 401
    assert "User or password is wrong" in response.text
    assert stranger.get("/alerts").status_code == 302


@pytest.mark.parametrize(
    "requested",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "///evil.example",
        "evil",
        "http:/evil",
        "/login",
        "/logout",
        "//[",
        "",
    ],
)
def test_redirects_stay_on_this_site(stranger: Any, requested: str) -> None:
    data = {"user": "admin", "password": PASSWORD, "csrf_token": stranger.token()}
    response = stranger.http.post("/login", query_string={"next": requested}, data=data)
    assert (response.status_code, response.location) == (303, "/")


def test_forms_without_a_valid_csrf_token_are_rejected(
    stranger: Any, analyst: Any, dashboard: Any
) -> None:
    for data in ({}, {"csrf_token": "made-up"}, {"csrf_token": analyst.token("/alerts")}):
        response = stranger.http.post(
            "/login", data={"user": "admin", "password": PASSWORD, **data}
        )
        assert response.status_code == 400
        assert "no longer valid" in response.text
    assert analyst.http.post("/logout").status_code == 400
    assert analyst.get("/alerts").status_code == 200


def test_sign_out(analyst: Any) -> None:
    assert analyst.get("/logout").status_code == 405
    token = analyst.token("/alerts")
    assert analyst.http.post("/logout", data={"csrf_token": token}).location == "/login"
    assert analyst.get("/alerts").status_code == 302


def test_sign_in_creates_a_new_session_that_scripts_cannot_read(stranger: Any) -> None:
    token = stranger.token()
    cookie = stranger.sign_in().headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert stranger.token("/alerts") != token
    stale = stranger.http.post("/logout", data={"csrf_token": token})
    assert stale.status_code == 400


def test_over_https_the_cookie_is_secure(make: Any, user: Any) -> None:
    browser = user(make(cookie_secure=True))
    cookie = browser.get("/login", base_url="https://localhost").headers["Set-Cookie"]
    assert cookie.startswith("__Host-auditflow=")
    assert "Secure" in cookie


def test_a_session_ends_after_twelve_hours(analyst: Any, monkeypatch: Any) -> None:
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began + auth.SESSION_SECONDS - 60)
    assert analyst.get("/alerts").status_code == 200
    monkeypatch.setattr(time, "time", lambda: began + auth.SESSION_SECONDS + 60)
    assert analyst.get("/alerts").status_code == 302


def test_a_changed_password_ends_all_sessions(make: Any, user: Any, analyst: Any) -> None:
    cookie = analyst.http.get_cookie("auditflow").value
    for password, expected in ((PASSWORD, 200), ("another password", 302)):
        other_browser = user(make(dashboard_password=password))
        other_browser.http.set_cookie("auditflow", cookie)
        assert other_browser.get("/alerts").status_code == expected


def test_parallel_attempts_use_bounded_memory() -> None:
    account = auth.Account("admin", PASSWORD)
    before = resident_mib()
    with ThreadPoolExecutor(40) as pool:
        responses = list(pool.map(lambda n: account.verify("admin", f"guess {n}"), range(80)))
    assert not any(responses)
    assert account.verify("admin", PASSWORD)
    assert resident_mib() - before < 80


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_failed_sign_ins_are_throttled(stranger: Any, user: Any, dashboard: Any) -> None:
    for _ in range(5):
        assert stranger.sign_in(password="guess").status_code == 401
    # The correct password is not checked before the wait is over.
    throttled = stranger.sign_in()
    assert throttled.status_code == 429
    assert int(throttled.headers["Retry-After"]) >= 1
    assert "Too many attempts. Try again in" in throttled.text
    other_browser = stranger.sign_in(environ_base={"REMOTE_ADDR": "198.51.100.9"})
    assert other_browser.status_code == 303
    counted = user(dashboard).get("/metrics").text
    assert 'auditflow_dashboard_sign_ins_total{result="throttled"} 1.0' in counted
    assert 'auditflow_dashboard_sign_ins_total{result="refused"} 5.0' in counted


def test_behind_a_proxy_each_client_has_its_own_throttle(make: Any, user: Any) -> None:
    browser = user(make(trusted_proxies=1))
    claims = {"X-Forwarded-For": "6.6.6.6, 203.0.113.1"}
    for number in range(5):
        headers = {"X-Forwarded-For": f"6.6.6.{number}, 203.0.113.1"}
        assert browser.sign_in(password="guess", headers=headers).status_code == 401
    assert browser.sign_in(headers=claims).status_code == 429
    assert browser.sign_in(headers={"X-Forwarded-For": "203.0.113.2"}).status_code == 303
