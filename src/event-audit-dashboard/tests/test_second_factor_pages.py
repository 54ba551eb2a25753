"""The second factor at sign-in and in the settings."""

import html
import re
import time
from collections.abc import Callable
from typing import Any

import pyotp
import pytest
from flask import Flask

from event_audit_dashboard.access import second_factors

from .conftest import PASSWORD, User


class Clock:
    """The time of the second factor, which tests advance."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    defaults = second_factors.SecondFactors.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "clock", clock)
    return clock


@pytest.fixture
def build(clock: Clock, make: Callable[..., Flask]) -> Callable[..., Flask]:
    """Creates applications whose second factor has the clock of the test."""
    return make


def code(secret: str, clock: Clock) -> str:
    return pyotp.TOTP(secret).at(clock.now)


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found, page
    return html.unescape(found[1])


def secret_of(page: str) -> str:
    found = re.search(r'id="secret">([A-Z2-7 ]+)<', page)
    assert found, page
    return found[1].replace(" ", "")


def recovery_codes(page: str) -> list[str]:
    return re.findall(r"<li><code>([a-z2-7-]+)</code>", page)


def enable(visitor: User, clock: Clock) -> tuple[str, list[str]]:
    """Enable the second factor in the settings. Return the secret and the recovery codes."""
    data = {"csrf_token": visitor.token("/settings/second-factor"), "password": PASSWORD}
    page = visitor.http.post("/settings/second-factor/new", data=data)
    assert page.status_code == 200
    secret = secret_of(page.text)
    data = {
        "csrf_token": field(page.text, "csrf_token"),
        "encrypted": field(page.text, "encrypted"),
        "code": code(secret, clock),
    }
    page = visitor.http.post("/settings/second-factor", data=data)
    assert page.status_code == 200
    return secret, recovery_codes(page.text)


def enter(visitor: User, text: str) -> Any:
    """Enter the password and this code."""
    answer = visitor.sign_in(path="/login?next=/settings")
    assert answer.status_code == 303
    assert answer.location == "/login/code?next=/settings"
    assert visitor.get("/settings").status_code == 302  # the password is not sufficient
    data = {"csrf_token": visitor.token("/login/code"), "code": text}
    return visitor.http.post("/login/code?next=/settings", data=data)


def test_a_sign_in_needs_the_code_once(build: Any, clock: Clock) -> None:
    app = build()
    visitor = User(app)
    visitor.sign_in()
    secret, codes = enable(visitor, clock)
    assert len(codes) == 10

    assert enter(User(app), code(secret, clock)).status_code == 401  # used when it was enabled
    clock.now += 30
    current = code(secret, clock)
    signed_in = enter(User(app), current)
    assert (signed_in.status_code, signed_in.location) == (303, "/settings")
    assert enter(User(app), current).status_code == 401
    clock.now += 30
    early = pyotp.TOTP(secret).at(clock.now + 30)
    assert enter(User(app), early).status_code == 303  # the clock of the phone is fast
    assert enter(User(app), code(secret, clock)).status_code == 401  # an earlier code


def test_a_recovery_code_is_accepted_once(build: Any, clock: Clock) -> None:
    app = build()
    visitor = User(app)
    visitor.sign_in()
    _, codes = enable(visitor, clock)
    assert enter(User(app), codes[0].upper()).status_code == 303
    assert enter(User(app), codes[0]).status_code == 401
    assert "9 recovery codes" in visitor.get("/settings/second-factor").text


def test_codes_are_throttled_with_passwords(build: Any, clock: Clock) -> None:
    app = build()
    visitor = User(app)
    visitor.sign_in()
    secret, _ = enable(visitor, clock)
    clock.now += 30
    guesser = User(app)
    guesser.sign_in()
    token = guesser.token("/login/code")
    statuses = [
        guesser.http.post("/login/code", data={"csrf_token": token, "code": "000000"}).status_code
        for _ in range(5)
    ]
    assert statuses == [401] * 4 + [429]
    right = {"csrf_token": token, "code": code(secret, clock)}
    assert guesser.http.post("/login/code", data=right).status_code == 429
    assert guesser.get("/settings").status_code == 302


def test_the_code_is_useless_without_the_password(build: Any, clock: Clock) -> None:
    app = build()
    visitor = User(app)
    visitor.sign_in()
    secret, _ = enable(visitor, clock)
    clock.now += 30
    stranger = User(app)
    assert stranger.get("/login/code").status_code == 303
    data = {"csrf_token": stranger.token(), "code": code(secret, clock)}
    answer = stranger.http.post("/login/code", data=data)
    assert (answer.status_code, answer.location) == (303, "/login")
    assert stranger.get("/settings").status_code == 302


def test_a_required_second_factor_is_set_up_at_sign_in(build: Any, clock: Clock) -> None:
    app = build(second_factor="required")
    visitor = User(app)
    answer = visitor.sign_in(path="/login?next=/settings")
    assert answer.location == "/login/second-factor?next=/settings"
    page = visitor.get("/login/second-factor").text
    assert visitor.get("/settings").status_code == 302
    data = {
        "csrf_token": field(page, "csrf_token"),
        "encrypted": field(page, "encrypted"),
        "code": "abc",
    }
    wrong = visitor.http.post("/login/second-factor", data=data)
    assert wrong.status_code == 400
    assert secret_of(wrong.text) == secret_of(page)  # the app has this one already
    right = {**data, "code": code(secret_of(page), clock)}
    page = visitor.http.post("/login/second-factor", data=right).text
    assert len(recovery_codes(page)) == 10
    assert visitor.get("/settings").status_code == 200
    data = {"csrf_token": visitor.token("/settings"), "code": recovery_codes(page)[0]}
    visitor.http.post("/settings/second-factor/delete", data=data)
    assert "is <strong>enabled" in visitor.get("/settings/second-factor").text


def test_an_enabled_second_factor_cannot_be_replaced_with_the_password(
    build: Any, clock: Clock
) -> None:
    app = build(second_factor="required")
    visitor = User(app)
    visitor.sign_in()
    page = visitor.get("/login/second-factor").text
    confirmed = {
        "csrf_token": field(page, "csrf_token"),
        "encrypted": field(page, "encrypted"),
        "code": code(secret_of(page), clock),
    }
    assert visitor.http.post("/login/second-factor", data=confirmed).status_code == 200
    thief = User(app)
    thief.sign_in()
    page = thief.get("/login/second-factor").text
    data = {
        "csrf_token": field(page, "csrf_token"),
        "encrypted": field(page, "encrypted"),
        "code": code(secret_of(page), clock),
    }
    assert thief.http.post("/login/second-factor", data=data).status_code == 303
    assert thief.get("/settings").status_code == 302


def test_setting_up_needs_the_password_and_deleting_needs_a_code(build: Any, clock: Clock) -> None:
    visitor = User(build())
    visitor.sign_in()
    data = {"csrf_token": visitor.token("/settings/second-factor"), "password": "wrong"}
    assert visitor.http.post("/settings/second-factor/new", data=data).status_code == 303
    assert "The password is wrong" in visitor.get("/settings/second-factor").text
    _, codes = enable(visitor, clock)
    data = {"csrf_token": visitor.token("/settings/second-factor"), "code": "000000"}
    visitor.http.post("/settings/second-factor/delete", data=data)
    assert "is <strong>enabled" in visitor.get("/settings/second-factor").text
    visitor.http.post("/settings/second-factor/delete", data={**data, "code": codes[0]})
    assert "not enabled" in visitor.get("/settings/second-factor").text


def test_without_the_api_a_password_is_not_sufficient(build: Any, clock: Clock, api: Any) -> None:
    app = build()
    visitor = User(app)
    visitor.sign_in()
    enable(visitor, clock)
    api.stop()
    stranger = User(app)
    assert stranger.sign_in().status_code == 503
    assert stranger.get("/settings").status_code == 302


def test_secrets_are_not_in_the_last_pages_of_an_outage(build: Any, clock: Clock, api: Any) -> None:
    visitor = User(build())
    visitor.sign_in()
    secret, codes = enable(visitor, clock)
    visitor.get("/settings/second-factor")
    api.stop()
    for path in ("/settings/second-factor", "/settings/second-factor/new"):
        page = visitor.get(path).text
        assert secret not in page.replace(" ", "")
        assert codes[0] not in page


def test_a_changed_key_refuses_codes_but_not_recovery_codes(build: Any, clock: Clock) -> None:
    visitor = User(build())
    visitor.sign_in()
    secret, codes = enable(visitor, clock)
    clock.now += 30
    app = build(session_secret="t" * 40)
    assert enter(User(app), code(secret, clock)).status_code == 401
    assert enter(User(app), codes[0]).status_code == 303


def test_a_disabled_local_account_cannot_sign_in(build: Any, clock: Clock, api: Any) -> None:
    api.disabled.add("admin")
    answer = User(build()).sign_in()
    assert answer.status_code == 403
    assert "An administrator has disabled your access" in answer.text


def test_the_second_factor_can_be_turned_off(build: Any, clock: Clock) -> None:
    visitor = User(build())
    visitor.sign_in()
    enable(visitor, clock)
    app = build(second_factor="off")
    assert User(app).sign_in().location == "/"
