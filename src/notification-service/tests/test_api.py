"""Reading alerts over the API, from the real database: filters, order, pages, errors."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from quart import Quart

from auditflow.contract.alert import AlertSummary
from auditflow.contract.finding import Finding
from auditflow.contract.level import Level
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from notification_service.api import app as application
from notification_service.database.access_store import AccessStore
from notification_service.database.alert_reader import AlertReader
from notification_service.database.finding_store import FindingStore
from notification_service.database.triage_store import TriageStore
from notification_service.metrics import Metrics
from notification_service.order import Sort

TOKEN = "t0ken"
Answer = tuple[int, dict[str, Any], Any]
Get = Callable[..., Answer]


def _app(reader: Any, token: str = TOKEN, before: str | None = None) -> Quart:
    registry = CollectorRegistry()
    tokens = Tokens(SecretStr(token), None if before is None else SecretStr(before))
    none: Any = None
    stores = application.Stores(reader, TriageStore(none), AccessStore(none), none, none)
    return application.create(stores, Health({}), registry, Metrics(registry), tokens=tokens)


def _get(app: Quart, path: str, token: str | None = TOKEN, method: str = "GET") -> Answer:
    async def ask() -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client: Any = app.test_client()
        answer = await client.open(path, method=method, headers=headers)
        return answer.status_code, json.loads(await answer.get_data()), answer.headers

    return asyncio.run(ask())


@pytest.fixture
def get(reader: AlertReader) -> Get:
    app = _app(reader)

    def get(path: str, **parameters: Any) -> Answer:
        return _get(app, path + ("?" + urlencode(parameters) if parameters else ""))

    return get


@pytest.fixture
def alerts(store: FindingStore, query: Any, make_finding: Callable[..., Finding]) -> None:
    """Four alerts of different kinds."""
    day = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)
    store.store(
        [
            make_finding(user="alice", at=day, level="critical"),
            make_finding(
                user="bob", at=day + dt.timedelta(hours=1), server_hostname="db-1",
                client_ip="gateway.example", description="100% of_it",
            ),
            make_finding(
                user="carol", at=day + dt.timedelta(hours=2), rule="file-change",
                resource="/etc/passwd", environment="staging", level="low",
            ),
            make_finding(user="Dave", at=day + dt.timedelta(hours=3), description="100 of it"),
        ]
    )  # fmt: skip
    query("UPDATE alerts SET status = 'acknowledged' WHERE actor = 'bob'")
    query("UPDATE alerts SET status = 'resolved' WHERE actor = 'carol'")


@pytest.mark.parametrize(
    ("parameters", "actors"),
    [
        ({}, {"alice", "bob", "carol", "Dave"}),
        ({"status": "open"}, {"alice", "Dave"}),
        ({"status": "resolved,acknowledged"}, {"bob", "carol"}),
        ({"level": "critical"}, {"alice"}),
        ({"level": "critical,low"}, {"alice", "carol"}),
        ({"severity": "CRITICAL,INFO"}, {"alice", "carol"}),
        ({"severity": "INFO", "level": "critical"}, set()),
        ({"rule": "file-change"}, {"carol"}),
        ({"actor": "alice"}, {"alice"}),
        ({"actor": "ALICE"}, {"alice"}),
        ({"actor": "dave"}, {"Dave"}),
        ({"actor": "d*"}, {"Dave"}),
        ({"actor": "a"}, set()),
        ({"actor": "al*ce"}, set()),
        ({"actor": "al%"}, set()),
        ({"actor": "alice\\*"}, set()),
        ({"resource": "/ETC/*"}, {"carol"}),
        ({"ip": "203.0.113.*"}, {"alice", "carol", "Dave"}),
        ({"assignee": ""}, {"alice", "bob", "carol", "Dave"}),
        ({"assignee": "erin"}, set()),
        ({"active_again": "false"}, {"alice", "bob", "carol", "Dave"}),
        ({"snoozed": "true"}, set()),
        ({"verdict": "benign"}, set()),
        ({"host": "db-1"}, {"bob"}),
        ({"ip": "gateway.example"}, {"bob"}),
        ({"resource": "/etc/passwd"}, {"carol"}),
        ({"environment": "staging"}, {"carol"}),
        ({"since": "2026-01-31T02:00:30Z"}, {"carol", "Dave"}),
        ({"since": "2026-01-31T18:00:30+16:00"}, {"carol", "Dave"}),
        ({"since": "2026-01-31T02:00:10Z", "until": "2026-01-31T02:00:20Z"}, {"carol"}),
        ({"until": "2026-01-31T03:00:30+02:00"}, {"alice", "bob"}),
        ({"since": "2026-01-31T01:00:00Z", "until": "2026-01-31T02:00:00Z"}, {"bob", "carol"}),
        ({"since": "2026-01-31T01:00:00Z", "until": "2026-01-31T01:59:59Z"}, {"bob"}),
        ({"opened_since": "2026-01-01T00:00:00Z"}, {"alice", "bob", "carol", "Dave"}),
        ({"opened_since": "2999-01-01T00:00:00Z"}, set()),
        ({"q": "dave"}, {"Dave"}),
        ({"q": "100%"}, {"bob"}),
        ({"q": "of_it"}, {"bob"}),
        ({"q": "PASSWD"}, {"carol"}),
        ({"q": "db-"}, {"bob"}),
        ({"q": "\\"}, set()),
        ({"q": "'; DROP TABLE alerts; --"}, set()),
        ({"status": "open", "severity": "WARNING", "q": "100"}, {"Dave"}),
    ],
)
def test_filters(alerts: None, get: Get, parameters: dict[str, str], actors: set[str]) -> None:
    code, answer, _ = get("/alerts", **parameters)

    assert code == 200
    assert {alert["actor"] for alert in answer["alerts"]} == actors
    assert answer["counts"]["total"] == len(actors)


def test_counts_cover_the_complete_filter_and_not_the_page(alerts: None, get: Get) -> None:
    _, answer, _ = get("/alerts", limit=1)

    assert len(answer["alerts"]) == 1
    assert answer["counts"] == {
        "total": 4,
        "open": 2,
        "acknowledged": 1,
        "resolved": 1,
        "by_severity": {"CRITICAL": 1, "WARNING": 2, "INFO": 1},
    }


def test_a_summary_carries_no_events(alerts: None, get: Get) -> None:
    _, answer, headers = get("/alerts", actor="alice")

    (summary,) = answer["alerts"]
    assert summary.keys() == set(AlertSummary.__struct_fields__)
    assert summary["rule"] == {
        "id": "failed-logins",
        "title": "Title of failed-logins",
        "level": "critical",
        "tags": ["attack.t1110"],
        "runbook": None,
    }
    assert summary["entity"] == {"user_id": "alice"}
    assert summary["last_seen"] == "2026-01-31T00:00:30+00:00"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("sort", Sort)
def test_pages_by_cursor_neither_repeat_nor_miss_while_alerts_arrive(
    store: FindingStore, get: Get, make_finding: Callable[..., Finding], ids: Any, sort: Sort
) -> None:
    # given 25 alerts, of which several have the same sort keys
    levels = ("low", "high", "critical")
    for start in range(0, 25, 10):
        store.store(
            [
                make_finding(
                    user=f"user-{number}", level=levels[number % 3], count=number % 4 + 1,
                    bucket=number % 2,
                )
                for number in range(start, min(start + 10, 25))
            ]
        )  # fmt: skip
    before = get("/api/v1/alerts", limit=200, sort=sort)[1]["alerts"]

    # when a client reads them page by page, and new ones arrive at the top between the pages
    seen: list[Any] = []
    cursor: str | None = None
    arrived = 0
    while True:
        after: dict[str, str] = {"cursor": cursor} if cursor else {}
        code, answer, _ = get("/api/v1/alerts", limit=7, sort=sort, **after)
        assert code == 200
        seen += ids(answer["alerts"])
        cursor = answer["next_cursor"]
        if cursor is None:
            break
        arrived += 1
        late = make_finding(user=f"late-{arrived}", level="critical", count=90, bucket=59)
        store.store([late])

    # then it has seen those of the beginning, each once, in order
    assert seen == ids(before)
    assert len(before) == 25
    keys = {
        Sort.ACTIVITY: lambda alert: alert["last_seen"],
        Sort.OPENED: lambda alert: alert["opened_at"],
        Sort.SEVERITY: lambda alert: (Level(alert["level"]).rank, alert["last_seen"]),
        Sort.COUNT: lambda alert: alert["count"],
        Sort.RISK: lambda alert: alert["risk"],
    }
    order = [keys[sort](alert) for alert in before]
    assert order == sorted(order, reverse=True)


def test_pages_by_offset(
    store: FindingStore, get: Get, make_finding: Callable[..., Finding], ids: Any
) -> None:
    store.store([make_finding(user=f"user-{number}") for number in range(5)])
    everything = ids(get("/alerts")[1]["alerts"])

    pages = [ids(get("/alerts", limit=2, offset=offset)[1]["alerts"]) for offset in (0, 2, 4, 6)]

    assert pages == [everything[:2], everything[2:4], everything[4:], []]
    assert get("/alerts", limit=5)[1]["next_cursor"] is None


def test_wrong_parameters_are_a_problem_that_names_them(get: Get) -> None:
    code, answer, headers = get("/alerts", limit=500, page="2")

    assert (code, headers["Content-Type"]) == (400, "application/problem+json")
    assert answer["title"] == "Invalid parameters"
    assert [fault["where"] for fault in answer["errors"]] == ["limit", "page"]
    assert "from 1 to 200" in answer["detail"]


@pytest.mark.parametrize(
    "identifier",
    [
        "0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10",
        "not-a-uuid",
        "0c9d2c112f4e5b639a536f1e2d9b7a10",
        "{0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10}",
        "0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10' OR '1'='1",
        "\0",
        "ü",
    ],
)
def test_an_alert_that_is_not_there(get: Get, identifier: str) -> None:
    code, answer, headers = get(f"/alerts/{quote(identifier)}")

    assert (code, answer["title"]) == (404, "Not Found")
    assert headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", "tökén"])
@pytest.mark.parametrize("path", ["/alerts", "/alerts/0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10"])
def test_without_the_token_nothing_is_shown(
    reader: AlertReader, path: str, token: str | None
) -> None:
    code, answer, headers = _get(_app(reader), path, token)

    assert (code, answer["title"]) == (401, "Unauthorized")
    assert headers["WWW-Authenticate"] == 'Bearer realm="auditflow"'


def test_while_the_token_is_rotated_both_are_good_and_so_are_cursors_of_before(
    reader: AlertReader, store: FindingStore, make_finding: Callable[..., Finding], ids: Any
) -> None:
    # given a client of the old token, in the middle of a list
    store.store([make_finding(user=f"user-{number}") for number in range(3)])
    old = _app(reader)
    everything = ids(_get(old, "/alerts")[1]["alerts"])
    first = _get(old, "/alerts?limit=2")[1]

    # when the service has a new token, and knows that of before
    new = _app(reader, "another", before=TOKEN)

    # then the client goes on, and so does one with the new token
    for token in (TOKEN, "another"):
        code, answer, _ = _get(new, f"/alerts?limit=2&cursor={first['next_cursor']}", token)
        assert (code, ids(answer["alerts"])) == (200, everything[2:])
    assert _get(new, "/alerts", "wrong")[0] == 401
    # and when it has forgotten the old one, neither the token nor the cursor is good
    over = _app(reader, "another")
    assert _get(over, "/alerts")[0] == 401
    assert _get(over, f"/alerts?cursor={first['next_cursor']}", "another")[0] == 400


@pytest.mark.parametrize("scheme", ["Basic", "Digest", "Bearers", ""])
def test_the_token_with_another_authentication_scheme_is_refused(
    reader: AlertReader, scheme: str
) -> None:
    async def ask() -> int:
        client: Any = _app(reader).test_client()
        answer = await client.get("/alerts", headers={"Authorization": f"{scheme} {TOKEN}"})
        return int(answer.status_code)

    assert asyncio.run(ask()) == 401


def test_methods_and_addresses_that_are_not_there(reader: AlertReader) -> None:
    app = _app(reader)

    code, answer, headers = _get(app, "/alerts", method="POST")
    assert (code, answer["title"]) == (405, "Method Not Allowed")
    assert "GET" in headers["Allow"]
    code, answer, _ = _get(app, "/nothing")
    assert (code, answer["title"]) == (404, "Not Found")


def test_an_internal_error_shows_no_details_to_the_client() -> None:
    class Broken:
        pool: Any = None

        def page(self, _: Any) -> None:
            raise RuntimeError("password=hunter2")

    code, answer, headers = _get(_app(Broken()), "/alerts")

    assert (code, headers["Content-Type"]) == (500, "application/problem+json")
    assert answer["detail"] == "The service failed. Its log contains the reason."
