"""Kept pages and answers of the API: nobody sees what belongs to another user, role or session."""

import datetime as dt
import gzip
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, render_template

from auditflow.contract.access import Role
from event_audit_dashboard.access import roles
from event_audit_dashboard.access.sessions import RedisSessions, Session
from event_audit_dashboard.apis.answers import MAX_BYTES, OVERHEAD, Answer, Answers
from event_audit_dashboard.rendering import csrf, page_cache

from .conftest import User
from .fake_api import FakeApi, alert

NONCE = re.compile(r'nonce="([^"]*)"')
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
#: What may differ between two responses for the same user.
OF_A_RESPONSE = re.compile(
    r'(?<=nonce=")[^"]+|(?<=name="csrf_token" value=")[^"]+|(?<=data-now=")[^"]+'
    r"|\d\d:\d\d:\d\d(?=</span>)"
)
GZIP = {"Accept-Encoding": "gzip"}
#: The list, and the page of an alert.
PATHS = ("/alerts", "/alerts/{}")


@pytest.fixture
def app(make: Callable[..., Flask], redis_of_the_dashboard: Any, monkeypatch: Any) -> Flask:
    """A dashboard that reads roles from the API for each request."""
    monkeypatch.setattr(roles, "ROLE_SECONDS", 0)
    return make(redis=redis_of_the_dashboard)


@pytest.fixture
def person(app: Flask, redis_of_the_dashboard: Any, api: FakeApi) -> Callable[..., User]:
    """A browser in which a person with a role is signed in."""

    def sign_in(name: str, role: str = "analyst") -> User:
        api.roles[name] = role
        browser = User(app)
        store = RedisSessions(redis_of_the_dashboard)
        identifier = store.start(Session(name, Role(role), time.time()))
        with browser.http.session_transaction() as cookie:
            cookie["id"] = identifier
            cookie["until"] = int(time.time()) + 60
        return browser

    return sign_in


@pytest.fixture
def old(api: FakeApi, now: dt.datetime) -> FakeApi:
    """Alerts whose relative times do not change during a test."""
    api.alerts = [alert(number, now=now - dt.timedelta(days=2, hours=1)) for number in range(60)]
    api.alerts[0] |= {"status": "open", "verdict": None}
    return api


def path_of(path: str, api: FakeApi) -> str:
    return path.format(api.alerts[0]["alert_id"])


def without_values(page: str) -> str:
    return OF_A_RESPONSE.sub("", page)


@pytest.mark.parametrize("path", PATHS)
def test_a_kept_page_is_the_same_as_a_new_page(
    person: Any, old: FakeApi, monkeypatch: Any, path: str
) -> None:
    alice = person("alice")
    path = path_of(path, old)
    first = alice.get(path)
    with monkeypatch.context() as patched:
        patched.delattr("event_audit_dashboard.rendering.page_cache.render_template")
        second = alice.get(path)
        packed = alice.get(path, headers=GZIP)

    assert second.status_code == packed.status_code == 200, "the page was rendered again"
    assert without_values(first.text) == without_values(second.text)
    assert without_values(gzip.decompress(packed.data).decode()) == without_values(first.text)
    assert "\x02" not in second.text
    assert first.headers["Cache-Control"] == second.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", PATHS)
def test_each_response_has_its_own_nonce_and_token(person: Any, old: FakeApi, path: str) -> None:
    alice, bob = person("alice"), person("bob")
    path = path_of(path, old)
    nonces, tokens = set(), set()
    for browser in (alice, alice, bob, alice):
        response = browser.get(path)
        (nonce,) = set(NONCE.findall(response.text))
        assert f"'nonce-{nonce}'" in response.headers["Content-Security-Policy"]
        assert response.text.count(nonce) == len(NONCE.findall(response.text))
        (token,) = set(TOKEN.findall(response.text))
        nonces.add(nonce)
        tokens.add(token)
    assert len(nonces) == len(tokens) == 4

    own, other = (TOKEN.findall(browser.get(path).text)[0] for browser in (alice, bob))
    assert csrf.unmask(own) != csrf.unmask(other)
    for token, status in ((other, 400), (own, 303)):
        data = {"csrf_token": token, "zone": "Asia/Tokyo"}
        assert alice.http.post("/settings/time-zone", data=data).status_code == status


def test_a_list_shows_nothing_of_another_person(person: Any, old: FakeApi) -> None:
    alice, bob = person("alice-7"), person("bob-7", "viewer")
    old.views = [
        {
            "view_id": f"3f0c8a52-6c56-4a0f-9a57-0e5b7c1d2e3{number}",
            "name": name,
            "owner": owner,
            "query": "level=high",
            "shared": shared,
            "created_at": "2026-01-01T00:00:00Z",
        }
        for number, (name, owner, shared) in enumerate(
            [("secret plan", "alice-7", False), ("of bob", "bob-7", False), ("all", "kim", True)]
        )
    ]
    for _ in range(2):
        shown = {"alice": alice.get("/alerts").text, "bob": bob.get("/alerts").text}
        assert "secret plan" in shown["alice"]
        assert "assignee=alice-7" in shown["alice"]
        assert 'value="assign:me"' in shown["alice"]
        assert "secret plan" not in shown["bob"]
        assert "alice-7" not in shown["bob"]
        assert "bob-7" not in shown["alice"]
        assert "assignee=bob-7" in shown["bob"]
        assert 'value="assign:me"' not in shown["bob"]
        assert "of bob" in shown["bob"]
        assert all(">all<" in page for page in shown.values())


def test_persons_with_the_same_role_see_their_own_names(person: Any, old: FakeApi) -> None:
    alice, bob = person("alice-7"), person("bob-7")
    old.alerts[0] |= {"assignee": "alice-7"}
    path = path_of("/alerts/{}", old)
    for _ in range(2):
        for browser, name, other in ((alice, "alice-7", "bob-7"), (bob, "bob-7", "alice-7")):
            page = browser.get("/alerts?assignee=nobody").text
            assert f"Signed in as {name}" in page
            assert f"assignee={name}" in page
            assert other not in page
            page = browser.get(path).text
            assert f"Signed in as {name}" in page
            assert ('value="assign:me"' in page) == (browser is bob)


def test_an_alert_shows_a_viewer_no_forms_of_an_analyst(person: Any, old: FakeApi) -> None:
    alice, bob = person("alice-7"), person("bob-7", "viewer")
    path = path_of("/alerts/{}", old)
    for _ in range(2):
        assert 'value="acknowledge"' in alice.get(path).text
        page = bob.get(path).text
        assert 'value="acknowledge"' not in page
        assert 'id="comment"' not in page
        assert "alice-7" not in page


@pytest.mark.parametrize("path", PATHS)
def test_a_change_of_the_role_takes_effect(person: Any, old: FakeApi, path: str) -> None:
    alice = person("alice")
    path = path_of(path, old)
    assert 'value="acknowledge"' in alice.get(path).text
    old.roles["alice"] = "viewer"
    assert 'value="acknowledge"' not in alice.get(path).text
    old.disabled.add("alice")
    refused = alice.get(path)
    assert refused.status_code == 403
    assert str(old.alerts[0]["title"]) not in refused.text
    old.disabled.clear()
    old.roles["alice"] = "analyst"
    assert 'value="acknowledge"' in alice.get(path).text


@pytest.mark.parametrize("path", PATHS)
def test_without_a_complete_sign_in_nothing_is_shown(
    make: Any, user: type[User], old: FakeApi, path: str
) -> None:
    app = make(second_factor="required")
    path = path_of(path, old)
    stranger, half = user(app), user(app)
    answer = half.sign_in()  # the password is correct, the second factor is missing
    assert answer.status_code == 303
    for browser in (stranger, half):
        response = browser.get(path)
        assert response.status_code == 302
        assert "/login" in response.headers["Location"]


def test_notices_are_shown_once_to_the_person_who_acted(person: Any, old: FakeApi) -> None:
    alice, bob = person("alice"), person("bob")
    for browser in (alice, bob):
        browser.get("/alerts")
    token = TOKEN.findall(alice.get("/alerts").text)[0]
    data = {"csrf_token": token, "do": "acknowledge", "id": old.alerts[0]["alert_id"]}
    path = "/alerts/actions"
    assert alice.http.post(path, data={**data, "back": "/alerts"}).status_code == 303
    assert 'class="notice-line' not in bob.get("/alerts").text
    assert 'class="notice-line' in alice.get("/alerts").text
    assert 'class="notice-line' not in alice.get("/alerts").text


def test_languages_and_time_zones_have_their_own_pages(person: Any, old: FakeApi) -> None:
    alice = person("alice")
    path = path_of("/alerts/{}", old)
    german = {"Accept-Language": "de"}
    for _ in range(2):
        assert '<html lang="en">' in alice.get(path).text
        assert '<html lang="de">' in alice.get(path, headers=german).text
        assert "JST" not in alice.get(path).text
    alice.http.set_cookie("auditflow-chosen-zone", "Asia/Tokyo")
    assert "JST" in alice.get(path).text


def test_an_unchanged_list_is_neither_sent_nor_rendered_again(person: Any, old: FakeApi) -> None:
    alice, bob = person("alice"), person("bob")

    def conditional() -> list[str | None]:
        return [
            headers.get("If-None-Match")
            for path, _, headers in old.requests
            if path == "/api/v1/alerts"
        ]

    alice.get("/alerts")
    alice.get("/alerts")
    first, second = conditional()
    assert first is None
    assert second is not None
    bob.get("/alerts")
    assert conditional()[-1] is None, "the answer of another person was used"

    old.alerts[0] |= {"title": "Changed title", "change_seq": 999}
    assert "Changed title" in alice.get("/alerts").text
    assert "Changed title" in alice.get(path_of("/alerts/{}", old)).text
    old.alerts[0] |= {"count": 4242}
    assert "4,242" in alice.get("/alerts").text
    assert "4,242" in alice.get(path_of("/alerts/{}", old)).text
    for item in old.alerts[50:]:
        old.alerts.remove(item)
    assert 'rel="next"' not in alice.get("/alerts").text


def test_relative_times_of_a_kept_page_are_correct(
    person: Any, api: FakeApi, now: dt.datetime, monkeypatch: Any
) -> None:
    clock = [now]

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return clock[0]

    api.alerts = [alert(0, now=now)]
    api.alerts[0] |= {"last_seen": (now - dt.timedelta(seconds=50)).isoformat()}
    alice = person("alice")
    for module in ("rendering.page_cache", "views.alerts"):
        monkeypatch.setattr(f"event_audit_dashboard.{module}.dt.datetime", Clock)
    for seconds, words in ((0, "50 s ago"), (9, "59 s ago"), (10, "1 min ago"), (80, "2 min ago")):
        clock[0] = now + dt.timedelta(seconds=seconds)
        for path in PATHS:
            assert words in alice.get(path_of(path, api)).text, (path, seconds)


def test_the_memory_is_limited() -> None:
    answers = Answers(max_bytes=10 * (OVERHEAD + 3 + 300))
    for number in range(20):
        answers.put("alice", f"/{number}", Answer(b"x" * 100, number, "tag"))
    assert answers.get("alice", "/0") is None
    assert sum(answers.get("alice", f"/{number}") is not None for number in range(20)) == 10
    answers.put("alice", "/19", Answer(b"x" * 5_000, "large", "tag"))
    assert answers.get("alice", "/19") is None, "an old answer stayed"
    assert answers.get("bob", "/18") is None


def test_long_targets_with_small_answers_stay_within_the_memory_limit() -> None:
    """A viewer could fill the memory with searches that find nothing."""
    answers = Answers()
    targets = [f"/api/v1/alerts?q={number}{'x' * 15_000}" for number in range(2_000)]
    for target in targets:
        answers.put("alice", target, Answer(b'{"items":[]}', None, "tag"))
    kept = [target for target in targets if answers.get("alice", target) is not None]
    assert kept[-1] == targets[-1]
    assert sum(len(target) for target in kept) <= MAX_BYTES


def test_pages_with_long_queries_are_not_kept(person: Any, old: FakeApi, monkeypatch: Any) -> None:
    alice = person("alice")
    rendered: list[int] = []
    monkeypatch.setattr(
        page_cache,
        "render_template",
        lambda *a, **k: [rendered.append(1), render_template(*a, **k)][1],
    )
    long_text = "%C3%A4" * 200
    for path, times in (("/alerts?actor=x", 1), (f"/alerts?actor={long_text}&host={long_text}", 2)):
        rendered.clear()
        for _ in range(2):
            assert alice.get(path).status_code == 200
        assert len(rendered) == times, path[:20]
