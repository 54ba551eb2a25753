"""Sign-in, sign-out and the access check."""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from event_audit_dashboard.access import auth
from event_audit_dashboard.access.sessions import SESSION_SECONDS

from .conftest import dashboard_client

PASSWORD = "correct horse battery staple"
OPEN = {
    "sign_in.form",
    "sign_in.submit",
    "second_factor.code",  # test_second_factor_pages: these need the password first
    "second_factor.check_code",
    "second_factor.first_setup",
    "second_factor.first_confirm",
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
        path = re.sub(r"<uuid:\w+>", many.alerts[0]["alert_id"], rule.rule)
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
        assert "outdated" in response.text
    assert analyst.http.post("/logout").status_code == 400
    assert analyst.get("/alerts").status_code == 200


def test_sign_out_ends_the_session_on_the_server(analyst: Any, dashboard: Any, user: Any) -> None:
    assert analyst.get("/logout").status_code == 405
    stolen = user(dashboard)
    stolen.http.set_cookie("auditflow", analyst.http.get_cookie("auditflow").value)
    assert stolen.get("/alerts").status_code == 200
    token = analyst.token("/alerts")
    signed_out = analyst.http.post("/logout", data={"csrf_token": token})
    assert signed_out.location == "/login?ended=signed-out"
    assert "You have signed out" in analyst.get(signed_out.location).text
    for browser in (analyst, stolen):
        assert browser.get("/alerts").status_code == 302
    page = stolen.http.get("/alerts", follow_redirects=True)
    assert "Your session has ended" in page.text


def test_all_sessions_of_a_user_end_at_once(analyst: Any, dashboard: Any, user: Any) -> None:
    other = user(dashboard)
    other.sign_in()
    data = {"csrf_token": analyst.token("/alerts"), "scope": "all"}
    analyst.http.post("/logout", data=data)
    assert other.get("/alerts").status_code == 302


def test_a_second_sign_in_tab_works(stranger: Any) -> None:
    outdated = stranger.token()
    data = {"user": "admin", "password": PASSWORD, "csrf_token": outdated}
    assert stranger.sign_in().status_code == 303
    second = stranger.http.post("/login?next=/alerts", data=data)
    assert (second.status_code, second.location) == (303, "/alerts")


def test_an_outdated_sign_in_form_is_shown_again(stranger: Any) -> None:
    stranger.get("/login")
    page = stranger.http.post("/login", data={"user": "dana", "csrf_token": "outdated"})
    assert page.status_code == 400
    assert "The sign-in page was outdated" in page.text
    assert 'value="dana"' in page.text


def test_sign_in_creates_a_new_session_that_scripts_cannot_read(stranger: Any) -> None:
    token = stranger.token()
    cookie = stranger.sign_in().headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert stranger.token("/alerts") != token
    stale = stranger.http.post("/logout", data={"csrf_token": token})
    assert stale.status_code == 400


def test_sign_in_sends_the_token_of_all_forms(stranger: Any) -> None:
    # Given a browser that has signed in
    assert stranger.sign_in().status_code == 303
    # When two tabs open pages at the same time, none replaces the cookie of the other
    pages = [stranger.get("/alerts") for _ in range(2)]
    assert not any("Set-Cookie" in page.headers for page in pages)
    # Then the token of each page is valid
    for page in pages:
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert token
        data = {"csrf_token": token[1], "zone": "Asia/Tokyo"}
        assert stranger.http.post("/settings/time-zone", data=data).status_code == 303


def test_over_https_the_cookie_is_secure(make: Any, user: Any) -> None:
    browser = user(make(cookie_secure=True))
    cookie = browser.get("/login", base_url="https://localhost").headers["Set-Cookie"]
    assert cookie.startswith("__Host-auditflow=")
    assert "Secure" in cookie


def test_a_session_ends_after_twelve_hours(analyst: Any, monkeypatch: Any) -> None:
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began + SESSION_SECONDS - 60)
    assert analyst.get("/alerts").status_code == 200
    monkeypatch.setattr(time, "time", lambda: began + SESSION_SECONDS + 60)
    assert analyst.get("/alerts").status_code == 302


def test_replicas_share_sessions_until_the_password_changes(
    make: Any, user: Any, redis_of_the_dashboard: Any
) -> None:
    first = user(make(redis=redis_of_the_dashboard))
    assert first.sign_in().status_code == 303
    cookie = first.http.get_cookie("auditflow").value
    for password, expected in ((PASSWORD, 200), ("another password", 302)):
        replica = user(make(redis=redis_of_the_dashboard, dashboard_password=password))
        replica.http.set_cookie("auditflow", cookie)
        assert replica.get("/alerts").status_code == expected
    first.http.post("/logout", data={"csrf_token": first.token("/alerts")})
    replica = user(make(redis=redis_of_the_dashboard))
    replica.http.set_cookie("auditflow", cookie)
    page = replica.http.get("/alerts", follow_redirects=True)
    assert "Your session has ended" in page.text


def test_without_redis_the_outage_is_reported(
    make: Any, user: Any, make_redis: Any, tmp_path: Any
) -> None:
    server = make_redis(tmp_path)
    analyst = user(make(redis=dashboard_client(server)))
    assert analyst.sign_in().status_code == 303
    server.stop()
    page = analyst.get("/alerts")
    assert page.status_code == 503
    assert "sessions cannot be checked" in page.text.lower()
    assert analyst.get("/healthz").status_code == 200
    server.start()
    assert analyst.get("/healthz").status_code == 200


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
