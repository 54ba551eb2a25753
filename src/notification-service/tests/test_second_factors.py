"""Second factors over the API: enabled once, codes used once, deleted by an admin."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from quart import Quart

from auditflow.contract.access import Role
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from notification_service.api import app as application
from notification_service.database.second_factor_store import SecondFactorStore
from notification_service.metrics import Metrics

Answer = tuple[int, Any]
HASHES = ["00" * 32, "01" * 32]
BODY = {"encrypted_secret": "A" * 120, "recovery_hashes": HASHES}


@pytest.fixture
def store(make_stores: Any) -> SecondFactorStore:
    return SecondFactorStore(make_stores().access.pool)


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
    def call(
        method: str, path: str = "", body: Any = None, *, user: str | None = "analyst"
    ) -> Answer:
        async def ask() -> Answer:
            client: Any = app.test_client()
            person = {} if user is None else {"X-AuditFlow-User": user}
            answer = await client.open(
                f"/api/v1/second-factor{path}",
                method=method,
                headers={"Authorization": "Bearer t0ken", **person},
                data=None if body is None else json.dumps(body),
            )
            return answer.status_code, json.loads(await answer.get_data())

        return asyncio.run(ask())

    return call


def test_a_second_factor_belongs_to_one_person_and_is_not_replaced(
    call: Callable[..., Answer],
) -> None:
    assert call("GET")[1]["enabled"] is False
    assert call("PUT", body=BODY)[0] == 200
    assert call("PUT", body={**BODY, "encrypted_secret": "B" * 120})[0] == 409

    found = call("GET")[1]
    assert found == {"enabled": True, "encrypted_secret": "A" * 120, "recovery_codes": 2}
    assert call("GET", user="lead")[1]["enabled"] is False


def test_a_code_is_used_once_and_in_order(call: Callable[..., Answer]) -> None:
    assert call("POST", "/steps", {"step": 100})[0] == 409  # not enabled
    call("PUT", body=BODY)

    statuses = [call("POST", "/steps", {"step": step})[0] for step in (100, 100, 99, 101)]

    assert statuses == [200, 409, 409, 200]


def test_a_recovery_code_is_used_once(call: Callable[..., Answer]) -> None:
    call("PUT", body=BODY)

    used = [call("POST", "/recovery-codes", {"hash": HASHES[0]}) for _ in range(2)]

    assert [status for status, _ in used] == [200, 409]
    assert used[0][1]["recovery_codes"] == 1
    assert call("POST", "/recovery-codes", {"hash": "02" * 32})[0] == 409


def test_parallel_requests_use_a_code_once(store: SecondFactorStore) -> None:
    store.enable("kim", "A" * 120, HASHES)
    with ThreadPoolExecutor(8) as pool:
        steps = list(pool.map(lambda _: store.use_step("kim", 7), range(16)))
        codes = list(pool.map(lambda _: store.use_recovery_code("kim", HASHES[1]), range(16)))
    assert sum(found is not None for found in steps) == 1
    assert sum(found is not None for found in codes) == 1


def test_only_the_person_and_an_admin_delete_a_second_factor(call: Callable[..., Answer]) -> None:
    for _ in range(2):
        call("PUT", body=BODY)
        assert call("DELETE", "?name=analyst", user="viewer")[0] == 403
        assert call("DELETE", "?name=analyst", user="lead")[0] == 403
    assert call("DELETE", "?name=analyst", user="admin")[0] == 200
    assert call("DELETE", "?name=analyst", user="admin")[0] == 404
    call("PUT", body=BODY)
    assert call("DELETE", "?name=analyst")[0] == 200
    call("PUT", body=BODY)
    assert call("DELETE", "?name=analyst", user=None)[0] == 200  # the operator, with the token


def test_a_token_has_no_second_factor(call: Callable[..., Answer]) -> None:
    assert call("GET", user=None)[0] == 403
    assert call("PUT", body=BODY, user=None)[0] == 403


@pytest.mark.parametrize(
    "change",
    [
        {"encrypted_secret": "A"},
        {"encrypted_secret": "A" * 401},
        {"encrypted_secret": "A" * 120 + "\n"},
        {"recovery_hashes": []},
        {"recovery_hashes": ["00" * 32] * 21},
        {"recovery_hashes": ["XX" * 32]},
        {"x": 1},
    ],
)
def test_an_invalid_second_factor_is_rejected(call: Callable[..., Answer], change: Any) -> None:
    assert call("PUT", body={**BODY, **change})[0] == 400
    assert call("GET")[1]["enabled"] is False
