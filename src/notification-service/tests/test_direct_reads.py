"""Lists and alerts are answered without Quart. The answers are the same as Quart's."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from quart import Quart

from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from notification_service.api import app as application
from notification_service.api import encoded_lists
from notification_service.api.encoded_lists import EncodedLists
from notification_service.audit.trail import Record
from notification_service.cursor import Cursors
from notification_service.database import alert_reader
from notification_service.database.alert_reader import Page
from notification_service.database.finding_store import FindingStore
from notification_service.metrics import Metrics
from notification_service.query import AlertQuery

TOKEN = "t0ken"
Answer = tuple[int, bytes, dict[str, str]]


class Recorded:
    """An audit trail that keeps the records."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def record_read(self, record: Record) -> None:
        self.records.append(record)


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def app(make_stores: Any, recorded: Any, registry: CollectorRegistry) -> Quart:
    stores = make_stores()
    stores = application.Stores(
        stores.alerts, stores.triage, stores.access, stores.feed, stores.exports, trail=recorded
    )
    return application.create(
        stores,
        Health({}),
        registry,
        Metrics(registry),
        tokens=Tokens(SecretStr(TOKEN)),
        per_minute=6,
    )


@pytest.fixture
def get(app: Quart) -> Callable[..., Answer]:
    """Sends a request. ``through_quart`` sends a header with which it goes to Quart."""

    def get(
        path: str,
        *,
        token: str = TOKEN,
        user: str | None = None,
        through_quart: bool = False,
        prefix: str = "/api/v1",
        if_none_match: str | None = None,
    ) -> Answer:
        async def ask() -> Answer:
            headers = {"Authorization": f"Bearer {token}", "X-Correlation-ID": "7"}
            if if_none_match is not None:
                headers["If-None-Match"] = if_none_match
            if user is not None:
                headers["X-AuditFlow-User"] = user
            if through_quart:
                headers["Content-Length"] = "0"
            client: Any = app.test_client()
            answer = await client.get(f"{prefix}{path}", headers=headers)
            return answer.status_code, await answer.get_data(), dict(answer.headers)

        return asyncio.run(ask())

    return get


@pytest.fixture
def get_together(app: Quart) -> Callable[..., list[bytes]]:
    """Sends requests at the same time. Returns the bodies."""

    def get(*paths: str) -> list[bytes]:
        async def ask() -> list[bytes]:
            client: Any = app.test_client()
            headers = {"Authorization": f"Bearer {TOKEN}"}
            answers = await asyncio.gather(*(client.get(path, headers=headers) for path in paths))
            assert {answer.status_code for answer in answers} == {200}
            return [await answer.get_data() for answer in answers]

        return asyncio.run(ask())

    return get


def count(registry: CollectorRegistry, route: str, code: str = "2xx") -> float | None:
    name = "auditflow_http_request_duration_seconds_count"
    return registry.get_sample_value(name, {"route": route, "code": code})


@pytest.mark.parametrize("prefix", ["/api/v1", ""])
def test_an_answer_is_the_same_as_quarts(
    get: Any, recorded: Recorded, registry: CollectorRegistry, store: FindingStore, query: Any,
    make_finding: Any, prefix: str,
) -> None:  # fmt: skip
    store.store([make_finding(user=name) for name in ("alice", "bob", "carol")])
    ((alert_id,), *_) = query("SELECT alert_id FROM alerts")
    routes = {
        "/alerts": "/alerts",
        "/alerts?limit=2&status=open&actor=%61li*": "/alerts",
        "/alerts?limit=2": "/alerts",
        f"/alerts/{alert_id}": "/alerts/<alert_id>",
        f"/alerts/{str(alert_id).upper()}": "/alerts/<alert_id>",
    }
    if prefix:
        for part in ("events", "history"):
            routes[f"/alerts/{alert_id}/{part}"] = f"/alerts/<alert_id>/{part}"
            routes[f"/alerts/{str(alert_id).upper()}/{part}"] = f"/alerts/<alert_id>/{part}"
    for path, route in routes.items():
        before = count(registry, prefix + route) or 0
        direct, quart = get(path, prefix=prefix), get(path, through_quart=True, prefix=prefix)
        assert direct == quart
        assert direct[0] == 200
        assert count(registry, prefix + route) == before + 2
        first, second = recorded.records[-2:]
        assert first.key() == second.key()
        assert (first.status, first.correlation_id) == (200, second.correlation_id)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/alerts?limit=0", 400),
        ("/alerts?limit=1&limit=2", 400),
        ("/alerts?cursor=invalid", 400),
        ("/alerts?q=%FF", 200),
        ("/alerts/00000000-0000-4000-8000-000000000000", 404),
        ("/alerts/unknown", 404),
        ("/alerts/unknown/events", 404),
        ("/alerts/unknown/history", 404),
        ("/alerts/00000000-0000-4000-8000-000000000000/history", 200),
        ("/alerts/00000000-0000-4000-8000-000000000000/events?cursor=invalid", 400),
        ("/alerts/00000000-0000-4000-8000-000000000000/history?before=invalid", 400),
    ],
)
def test_errors_are_quarts_and_count_once_against_the_limit(
    get: Any, recorded: Recorded, path: str, status: int
) -> None:
    answers = [get(path, user="alice", through_quart=it % 2 == 1) for it in range(6)]
    assert {answer[0] for answer in answers} == {status}
    assert answers[0][1:] == answers[1][1:]
    assert len({record.key() for record in recorded.records}) == 1
    assert get(path, user="alice")[0] == 429
    assert len(recorded.records) == 6


def test_a_caller_without_the_right_to_read_is_refused(get: Any, query: Any) -> None:
    assert get("/alerts", token="wrong")[0] == get("/alerts", token="")[0] == 401
    assert get("/alerts", user="alice")[0] == 200
    query("INSERT INTO users (name, role, disabled) VALUES ('eve', 'viewer', true)")
    assert get("/alerts", user="eve")[0] == 403
    parts = [
        f"/alerts/00000000-0000-4000-8000-000000000000/{part}" for part in ("events", "history")
    ]
    for path in parts:
        assert get(path)[0] == 200
        assert get(path, token="wrong")[0] == get(path, token="")[0] == 401
        assert get(path, user="eve")[0] == 403


def test_a_list_shows_each_change_at_once(
    get: Any, store: FindingStore, query: Any, make_finding: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(alert_reader, "MAX_ENCODED", 2)
    store.store([make_finding(user=name) for name in ("alice", "bob", "carol")])

    def listed() -> list[dict[str, Any]]:
        first, second, fresh = (
            get("/alerts"),
            get("/alerts"),
            get("/alerts?since=2000-01-01T00:00:00Z"),
        )
        assert first == second
        assert fresh[1] == first[1]
        alerts: list[dict[str, Any]] = json.loads(first[1])["alerts"]
        return alerts

    assert [it["description"] for it in listed()] != ["new"] * 3
    query("UPDATE alerts SET description = 'new'")
    assert [it["description"] for it in listed()] == ["new"] * 3
    query("INSERT INTO entity_risk SELECT entity_kind, entity_value, 77, now() FROM alerts LIMIT 1")
    assert {it["risk"] for it in listed()} == {0, 77}
    query("UPDATE alerts SET status = 'acknowledged' WHERE actor = 'bob'")
    assert {it["actor"]: it["status"] for it in listed()}["bob"] == "acknowledged"


@pytest.mark.parametrize("through_quart", [False, True])
@pytest.mark.parametrize("prefix", ["/api/v1", ""])
def test_an_unchanged_list_is_not_sent_again(
    get: Any, recorded: Recorded, store: FindingStore, query: Any, make_finding: Any,
    prefix: str, through_quart: bool,
) -> None:  # fmt: skip
    store.store([make_finding(user=name) for name in ("alice", "bob")])

    def ask(path: str, etag: str | None = None, **rest: Any) -> Answer:
        options = {"prefix": prefix, "through_quart": through_quart, **rest}
        answer: Answer = get(path, if_none_match=etag, **options)
        return answer

    etag = ask("/alerts")[2]["etag"]
    assert ask("/alerts?limit=1")[2]["etag"] != etag
    for given in (etag, f'"other", W/{etag}', "*"):
        status, body, headers = ask("/alerts", given)
        assert (status, body, headers["etag"]) == (304, b"", etag)
        assert recorded.records[-1].action == "search made"
        assert recorded.records[-1].outcome == "done"
    assert ask("/alerts", etag.strip('"'))[0] == 200
    assert ask("/alerts", etag, token="wrong")[0] == 401
    query("UPDATE alerts SET description = 'new' WHERE actor = 'bob'")
    status, body, headers = ask("/alerts", etag)
    assert status == 200
    assert b'"description":"new"' in body
    assert headers["etag"] != etag
    query("INSERT INTO users (name, role, disabled) VALUES ('eve', 'viewer', true)")
    assert ask("/alerts", headers["etag"], user="eve")[0] == 403


def test_kept_lists_are_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(encoded_lists, "MAX_BYTES", 10_000)
    lists = EncodedLists(Cursors("secret"))
    for limit in range(1, 101):
        page = Page([f'{{"alert_id":"{limit:0900}"}}'], None)
        first = lists.encode(AlertQuery(limit=limit), page, None)
        assert lists.encode(AlertQuery(limit=limit), page, None) is first
        assert json.loads(first.body)["next_cursor"] is None
    assert lists.kept_bytes <= 10_000
    large = Page([f'{{"alert_id":"{0:020000}"}}'], None)
    assert len(lists.encode(AlertQuery(limit=1), large, None).body) > 20_000
    assert lists.kept_bytes == 0


def test_answers_of_requests_at_the_same_time_are_those_of_single_requests(
    get: Any, get_together: Any, store: FindingStore, query: Any, make_finding: Any
) -> None:
    store.store([make_finding(user=f"user-{number}") for number in range(20)])
    lists = [f"{prefix}/alerts?limit={limit}" for prefix in ("", "/api/v1") for limit in (1, 5, 50)]
    alerts = [f"/api/v1/alerts/{alert_id}" for (alert_id,) in query("SELECT alert_id FROM alerts")]
    paths = [*lists, "/api/v1/alerts?q=user-7", *alerts] * 2
    expected = [get(path, prefix="")[1] for path in paths]
    assert len(set(expected)) == len(paths) // 2
    assert get_together(*paths) == expected
