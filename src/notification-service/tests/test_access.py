"""Users, roles and API tokens over the API."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from notification_service.api import app as application
from notification_service.api import callers
from notification_service.database.finding_store import FindingStore
from notification_service.metrics import Metrics

Answer = tuple[int, Any, Any]
SERVICE = "t0ken"


@pytest.fixture
def per_minute() -> int:
    """Requests that a person or an API token may send in a minute."""
    return callers.REQUESTS_PER_MINUTE


@pytest.fixture
def call(make_stores: Any, monkeypatch: Any, per_minute: int) -> Callable[..., Answer]:
    """Sends a request with a token, and a person if the token is the service token."""
    monkeypatch.setattr(callers, "_USER_SECONDS", 0.0)
    registry = CollectorRegistry()
    app = application.create(
        make_stores(),
        Health({}),
        registry,
        Metrics(registry),
        tokens=Tokens(SecretStr(SERVICE)),
        per_minute=per_minute,
    )

    def call(
        method: str, path: str, body: Any = None, *, token: str = SERVICE, user: str | None = None
    ) -> Answer:
        async def ask() -> Answer:
            client: Any = app.test_client()
            headers = {"Authorization": f"Bearer {token}", "If-Match": "*"}
            if user is not None:
                headers["X-AuditFlow-User"] = user
            data = None if body is None else json.dumps(body)
            answer = await client.open(f"/api/v1{path}", method=method, headers=headers, data=data)
            return answer.status_code, json.loads(await answer.get_data()), answer.headers

        return asyncio.run(ask())

    return call


def test_the_service_token_alone_is_an_admin_and_with_a_person_an_analyst(
    call: Callable[..., Answer],
) -> None:
    assert call("GET", "/me")[1] == {
        "name": "service", "kind": "token", "role": "admin",
        "scopes": ["alerts:read", "alerts:write", "audit:read", "admin"],
    }  # fmt: skip
    _, me, _ = call("GET", "/me", user="b%C3%B6b")
    assert (me["name"], me["kind"], me["role"]) == ("böb", "person", "analyst")
    assert [it["name"] for it in call("GET", "/users")[1]["users"]] == ["böb"]


@pytest.mark.parametrize("name", ["", "%00", "%FF", "a%0Ab", "x" * 201])
def test_an_invalid_name_of_a_person_is_refused(call: Callable[..., Answer], name: str) -> None:
    assert call("GET", "/me", user=name)[0] == 401


def test_a_changed_role_applies_to_the_next_request(
    call: Callable[..., Answer], monkeypatch: Any
) -> None:
    monkeypatch.setattr(callers, "_USER_SECONDS", 3600.0)
    assert call("GET", "/me", user="eve")[1]["role"] == "analyst"

    call("PUT", "/users?name=eve", {"role": "admin", "disabled": False})
    assert call("GET", "/me", user="eve")[1]["role"] == "admin"
    call("PUT", "/users/eve", {"role": "viewer", "disabled": True})
    assert call("GET", "/me", user="eve")[0] == 403


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("viewer", {"read"}),
        ("analyst", {"read", "act"}),
        ("lead", {"read", "act", "tokens"}),
        ("admin", {"read", "act", "tokens", "users"}),
    ],
)
def test_what_each_role_may_do(
    call: Callable[..., Answer],
    store: FindingStore,
    make_finding: Any,
    role: str,
    allowed: set[str],
) -> None:
    (alert,) = store.store([make_finding()]).opened
    assert call("PUT", "/users/alice", {"role": role})[0] == 200
    requests = {
        "read": ("GET", "/alerts", None),
        "act": ("POST", f"/alerts/{alert.alert_id}/acknowledge", {}),
        "tokens": ("POST", "/tokens", {"name": "t", "scopes": ["alerts:read"]}),
        "users": ("PUT", "/users/bob", {"role": "admin"}),
    }
    for name, (method, path, body) in requests.items():
        code, answer, _ = call(method, path, body, user="alice")
        assert code == (200 if name in allowed else 403), (name, answer)


def test_a_disabled_person_is_refused(call: Callable[..., Answer]) -> None:
    call("PUT", "/users/alice", {"role": "admin", "disabled": True})

    assert call("GET", "/alerts", user="alice")[0] == 403


def test_an_integer_may_have_a_decimal_point(call: Callable[..., Answer]) -> None:
    body = {"name": "SIEM", "scopes": ["alerts:read"], "expires_in_days": 2.0}
    assert call("POST", "/tokens", body)[0] == 200
    assert call("POST", "/tokens", {**body, "expires_in_days": 2.5})[0] == 400
    assert call("POST", "/tokens", {**body, "expires_in_days": "2"})[0] == 400


def test_a_token_is_shown_once_scoped_and_revocable(
    call: Callable[..., Answer], store: FindingStore, make_finding: Any, query: Any
) -> None:
    (alert,) = store.store([make_finding()]).opened
    action = f"/alerts/{alert.alert_id}/acknowledge"

    # given a token that may only read
    code, issued, _ = call("POST", "/tokens", {"name": "SIEM", "scopes": ["alerts:read"]})
    secret = issued["secret"]
    assert (code, issued["token"]["created_by"]) == (200, "service")

    # then it reads, and does nothing else
    assert call("GET", "/alerts", token=secret)[0] == 200
    assert call("GET", "/me", token=secret)[1]["role"] == "viewer"
    code, problem, _ = call("POST", action, {}, token=secret)
    assert (code, problem["detail"]) == (
        403,
        "This requires the scope alerts:write. The token has the scopes alerts:read.",
    )
    assert call("GET", "/tokens", token=secret)[0] == 403
    # and nobody can read its secret again
    _, listed, _ = call("GET", "/tokens")
    assert secret not in json.dumps(listed)
    assert listed["tokens"][0]["last_used_at"] is not None
    assert secret not in str(query("SELECT * FROM api_tokens"))
    # and its header of a person is ignored
    assert call("GET", "/me", token=secret, user="alice")[1]["name"] == "SIEM"

    # when it is revoked, then it is invalid at once
    code, revoked, _ = call("DELETE", f"/tokens/{issued['token']['token_id']}")
    assert (code, revoked["revoked_at"] is not None) == (200, True)
    assert call("GET", "/alerts", token=secret)[0] == 401


def test_a_token_that_may_write_is_the_actor(
    call: Callable[..., Answer], store: FindingStore, make_finding: Any
) -> None:
    (alert,) = store.store([make_finding()]).opened
    body = {"name": "SOAR", "scopes": ["alerts:read", "alerts:write"]}
    secret = call("POST", "/tokens", body)[1]["secret"]

    assert call("POST", f"/alerts/{alert.alert_id}/acknowledge", token=secret)[0] == 200

    (entry,) = call("GET", f"/alerts/{alert.alert_id}/history")[1]["entries"]
    assert (entry["actor"], entry["actor_kind"]) == ("SOAR", "token")


def test_an_expired_token_is_invalid(call: Callable[..., Answer], query: Any) -> None:
    secret = call("POST", "/tokens", {"name": "t", "scopes": ["alerts:read"]})[1]["secret"]

    query("UPDATE api_tokens SET expires_at = now()")

    assert call("GET", "/alerts", token=secret)[0] == 401


def test_only_an_admin_issues_an_admin_token(call: Callable[..., Answer]) -> None:
    call("PUT", "/users/lead", {"role": "lead"})
    body = {"name": "t", "scopes": ["admin"]}

    assert call("POST", "/tokens", body, user="lead")[0] == 403
    assert call("POST", "/tokens", body)[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        {"name": "t", "scopes": []},
        {"name": "t", "scopes": ["everything"]},
        {"name": "", "scopes": ["admin"]},
        {"name": "t", "scopes": ["admin"], "expires_in_days": 0},
        {"name": "t", "scopes": ["admin"], "expires_in_days": 367},
    ],
)
def test_an_invalid_token_request_is_refused(call: Callable[..., Answer], body: Any) -> None:
    assert call("POST", "/tokens", body)[0] == 400


@pytest.mark.parametrize("per_minute", [3])
def test_rates_are_limited(call: Callable[..., Answer], monkeypatch: Any) -> None:
    import limits

    monkeypatch.setattr(callers, "FAILURE_LIMIT", limits.parse("2/minute"))

    assert [call("GET", "/me", user="alice")[0] for _ in range(4)] == [200, 200, 200, 429]
    assert call("GET", "/me", user="bob")[0] == 200
    assert [call("GET", "/me", token="wrong")[0] for _ in range(3)] == [401, 401, 429]
    code, _, headers = call("GET", "/me", token="aft_guess")
    assert (code, int(headers["Retry-After"]) > 0) == (429, True)
    assert call("GET", "/me")[0] == 200


@pytest.mark.parametrize("name", ["team/eve", "..", "a//b", "ä?&=%2F"])
def test_a_name_may_contain_any_printable_character(call: Any, name: str) -> None:
    status, body, _ = call("PUT", f"/users?{urlencode({'name': name})}", {"role": "viewer"})

    assert (status, body["name"]) == (200, name)


@pytest.mark.parametrize("query", ["", "?name=", "?name=%20a", "?name=a&x=1", "?name=a%0A"])
def test_an_invalid_name_is_rejected(call: Any, query: str) -> None:
    assert call("PUT", f"/users{query}", {"role": "viewer"})[0] in {400, 404}
