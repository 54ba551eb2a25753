"""Saved views over the API: private, shared, and who may delete them."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from quart import Quart

from auditflow.contract.access import Role
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from notification_service.api import app as application
from notification_service.database import view_store
from notification_service.metrics import Metrics

Answer = tuple[int, Any]


@pytest.fixture
def app(make_stores: Any) -> Quart:
    registry, stores = CollectorRegistry(), make_stores()
    for role in Role:
        stores.access.put_user(str(role), role, disabled=False)
    return application.create(
        stores, Health({}), registry, Metrics(registry), tokens=Tokens(SecretStr("t0ken"))
    )


@pytest.fixture
def call(app: Quart) -> Callable[..., Answer]:
    def call(method: str, path: str, body: Any = None, *, user: str | None = "analyst") -> Answer:
        async def ask() -> Answer:
            client: Any = app.test_client()
            person = {} if user is None else {"X-AuditFlow-User": user}
            answer = await client.open(
                f"/api/v1{path}",
                method=method,
                headers={"Authorization": "Bearer t0ken", **person},
                data=None if body is None else json.dumps(body),
            )
            return answer.status_code, json.loads(await answer.get_data())

        return asyncio.run(ask())

    return call


def _names(call: Callable[..., Answer], user: str | None) -> list[str]:
    return [view["name"] for view in call("GET", "/views", user=user)[1]["views"]]


def test_a_private_view_is_visible_only_for_its_owner(call: Callable[..., Answer]) -> None:
    body = {"name": "Mine", "query": "status=open"}
    assert call("POST", "/views", body, user="viewer")[0] == 200
    assert call("POST", "/views", {**body, "name": "Ours", "shared": True})[0] == 200

    assert _names(call, "viewer") == ["Mine", "Ours"]
    assert _names(call, "lead") == ["Ours"]
    assert _names(call, None) == ["Ours"]


def test_a_view_with_the_same_name_is_replaced(call: Callable[..., Answer]) -> None:
    for query in ("status=open", "level=high"):
        call("POST", "/views", {"name": "Mine", "query": query})

    views = call("GET", "/views")[1]["views"]
    assert [view["query"] for view in views] == ["level=high"]


def test_roles_of_sharing_and_deleting(call: Callable[..., Answer]) -> None:
    shared = {"name": "Ours", "query": "", "shared": True}
    assert call("POST", "/views", shared, user="viewer")[0] == 403
    assert call("POST", "/views", shared, user=None)[0] == 403  # a token is no person
    view_id = call("POST", "/views", shared)[1]["view_id"]
    private = call("POST", "/views", {"name": "Mine", "query": ""})[1]["view_id"]

    assert call("DELETE", f"/views/{view_id}", user="viewer")[0] == 403
    assert call("DELETE", f"/views/{private}", user="admin")[0] == 404  # its name is private, too
    assert call("DELETE", f"/views/{view_id}", user="lead")[0] == 200
    assert call("DELETE", f"/views/{view_id}", user="lead")[0] == 404
    assert call("DELETE", f"/views/{private}")[0] == 200


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": " a"},
        {"name": "a\n"},
        {"query": "a b"},
        {"query": "x" * 2001},
        {"x": 1},
    ],
)
def test_an_invalid_view_is_rejected(call: Callable[..., Answer], change: Any) -> None:
    assert call("POST", "/views", {"name": "a", "query": "", **change})[0] == 400
    assert _names(call, "analyst") == []


def test_the_number_of_views_is_limited(
    call: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_store, "MAX_OWN", 2)
    statuses = [call("POST", "/views", {"name": f"v{n}", "query": ""})[0] for n in (1, 2, 3, 2)]

    assert statuses == [200, 200, 400, 200]
