"""The audit trail: who did what, from where."""

import asyncio
import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from quart import Quart

from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from auditflow_local.servers.postgres import Database
from notification_service.api import app as application
from notification_service.api import trail_recording
from notification_service.audit import trail as trails
from notification_service.audit.trail import Trail, TrailMetrics
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.trail_store import TrailStore
from notification_service.metrics import Metrics
from notification_service.outbox.service import Notifications
from notification_service.settings import Settings

from .trail_records import record

Answer = tuple[int, Any]
SERVICE = "t0ken"
ROUTES = """
route: {receiver: team}
receivers:
- {name: team, webhook: {url: "http://127.0.0.1:9", key_secret: KEY}}
"""


@pytest.fixture
def trail(database: Database, open_pool: Callable[..., Pool]) -> Iterator[Trail]:
    trail = Trail(TrailStore(open_pool(database)), TrailMetrics(CollectorRegistry()))
    trail.start()
    yield trail
    trail.close()


@pytest.fixture
def app(make_stores: Any, trail: Trail) -> Quart:
    return _app(make_stores(), trail)


def _app(stores: application.Stores, trail: Trail, notifications: Any = None) -> Quart:
    registry = CollectorRegistry()
    stores = application.Stores(
        stores.alerts, stores.triage, stores.access, stores.feed, stores.exports, notifications,
        trail=trail,
    )  # fmt: skip
    return application.create(
        stores, Health({}), registry, Metrics(registry), tokens=Tokens(SecretStr(SERVICE))
    )


@pytest.fixture
def notifications(
    database: Database, open_pool: Callable[..., Pool], settings_for: Any, trail: Trail,
    tmp_path: Path,
) -> Iterator[Notifications]:  # fmt: skip
    """Notifications with a routing file."""
    (tmp_path / "routes.yaml").write_text(ROUTES)
    settings = Settings(
        **settings_for(database).model_dump(),
        rabbitmq_user="none",
        rabbitmq_pass=SecretStr("none"),
        api_token=SecretStr(SERVICE),
        routes_file=tmp_path / "routes.yaml",
    )
    made = Notifications(
        settings, CollectorRegistry(), open_pool(database), service="test", record=trail.record
    )
    yield made
    made.close()


@pytest.fixture
def call_with_routes(
    make_stores: Any, trail: Trail, notifications: Notifications
) -> Callable[..., Answer]:
    return _caller(_app(make_stores(), trail, notifications))


@pytest.fixture
def call(app: Quart) -> Callable[..., Answer]:
    return _caller(app)


def _caller(app: Quart) -> Callable[..., Answer]:
    """Sends a request as a person at an address."""

    def call(
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str | None = "alice",
        address: str | None = "203.0.113.7",
        token: str = SERVICE,
    ) -> Answer:
        async def ask() -> Answer:
            headers = {"Authorization": f"Bearer {token}", "If-Match": "*"}
            if user is not None:
                headers["X-AuditFlow-User"] = user
            if address is not None:
                headers["X-AuditFlow-Address"] = address
            client: Any = app.test_client()
            answer = await client.open(
                f"/api/v1{path}",
                method=method,
                headers=headers,
                data=None if body is None else json.dumps(body),
            )
            return answer.status_code, json.loads(await answer.get_data())

        return asyncio.run(ask())

    return call


@pytest.fixture
def rows(call: Callable[..., Answer], trail: Trail) -> Callable[..., list[dict[str, Any]]]:
    """The entries of the trail, the oldest first, without reads of the trail."""

    def read(parameters: str = "") -> list[dict[str, Any]]:
        while trail.flush():
            pass
        trail.record(record("flushed")).result(60)
        code, page = call("GET", f"/audit?{parameters}", user=None, address=None)
        assert code == 200, page
        ignored = ("audit trail read", "flushed")
        return [it for it in page["entries"][::-1] if it["action"] not in ignored]

    return read


def _facts(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(entry[name] for name in ("actor", "action", "outcome", "address", "target"))


def test_reads_and_actions_are_rows_with_who_what_and_from_where(
    call: Callable[..., Answer], rows: Any, store: FindingStore, make_finding: Any
) -> None:
    store.store([make_finding()])
    (alert,) = call("GET", "/alerts?actor=ali*&limit=10")[1]["alerts"]
    alert_id = alert["alert_id"]
    call("GET", f"/alerts/{alert_id}")
    call("POST", f"/alerts/{alert_id}/acknowledge", {})
    call("POST", f"/alerts/{alert_id}/acknowledge", {})
    call("PUT", "/users/bob", {"role": "viewer"}, user=None, address=None)
    call("POST", f"/alerts/{alert_id}/acknowledge", {}, user="bob")
    token = {"name": "SIEM", "scopes": ["alerts:read"]}
    secret = call("POST", "/tokens", token, user=None, address=None)[1]["secret"]
    call("GET", "/alerts", user=None, address="198.51.100.1", token=secret)
    call("GET", "/alerts", user=None, token="aft_guess")

    found = rows()

    assert [_facts(it) for it in found] == [
        ("alice", "search made", "done", "203.0.113.7", ""),
        ("alice", "alert shown", "done", "203.0.113.7", alert_id),
        ("alice", "alert acknowledged", "done", "203.0.113.7", alert_id),
        ("alice", "alert acknowledged", "refused", "203.0.113.7", alert_id),
        ("service", "role set", "done", "<local>", "bob"),
        ("bob", "alert acknowledged", "refused", "203.0.113.7", alert_id),
        ("service", "token created", "done", "<local>", ""),
        ("SIEM", "search made", "done", "<local>", ""),
        ("", "request without a valid token", "refused", "<local>", ""),
    ]
    assert found[0]["detail"] == {"actor": "ali*"}
    assert found[4]["detail"] == {"role": "viewer", "disabled": "false"}
    assert found[6]["detail"] == {"name": "SIEM", "scopes": "alerts:read", "days": "90"}
    assert (found[3]["status"], found[5]["status"], found[8]["status"]) == (409, 403, 401)
    assert secret not in json.dumps(found)
    assert [it["number"] for it in found] == sorted(it["number"] for it in found)


def test_the_same_read_is_one_row_a_minute(
    call: Callable[..., Answer], rows: Any, monkeypatch: Any
) -> None:
    for path in ("/alerts?q=x", "/alerts?q=x&limit=3", "/alerts?q=y", "/alerts?q=x"):
        call("GET", path)
    call("GET", "/alerts?q=x", user="bob")
    call("GET", "/alerts?q=x", address="203.0.113.8")
    assert [it["detail"]["q"] for it in rows()] == ["x", "y", "x", "x"]
    monkeypatch.setattr(trails, "REPEAT_SECONDS", 0.0)
    call("GET", "/alerts?q=x")
    assert len(rows()) == 5


def test_filters_and_pages(call: Callable[..., Answer], rows: Any, trail: Trail) -> None:
    start = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)
    for number in range(250):
        trail.record(
            record(
                "alert shown" if number % 2 else "search made",
                actor=f"user-{number % 5}",
                at=start + dt.timedelta(minutes=number),
                address=f"192.0.2.{number % 3}",
                target=str(number),
                outcome="refused" if number == 7 else "done",
            )
        )
    assert len(rows("actor=user-1&action=alert+shown")) == 25
    assert len(rows("address=192.0.2.0&target=9")) == 1
    assert [it["target"] for it in rows("outcome=refused")] == ["7"]
    assert len(rows("since=2026-01-31T00:10:00Z&until=2026-01-31T00:19:00Z")) == 10
    before, seen = "", []
    while True:
        _, page = call("GET", f"/audit?action=alert+shown{before}", user=None)
        seen += [it["target"] for it in page["entries"]]
        if page["next_before"] is None:
            break
        before = f"&before={page['next_before']}"
    assert seen == [str(number) for number in range(249, 0, -2)]
    for wrong in ("outcome=x", "before=0", "q=1", "actor=", "since=2026", "actor=a&actor=b"):
        assert call("GET", f"/audit?{wrong}", user=None)[0] == 400


def test_only_leads_read_the_trail_and_only_the_service_reports(
    call: Callable[..., Answer], rows: Any
) -> None:
    call("PUT", "/users/lea", {"role": "lead"}, user=None)
    report = {
        "reports": [
            {"actor": "mallory", "action": "sign-in refused", "outcome": "refused",
             "address": "198.51.100.9"},
            {"actor": "op", "action": "dlq replayed", "detail": {"queue": "audit_alerts.dlq"}},
        ]
    }  # fmt: skip
    assert call("GET", "/audit", user="alice")[0] == 403
    assert call("GET", "/audit", user="lea")[0] == 200
    call("PUT", "/users/root", {"role": "admin"}, user=None)
    assert call("POST", "/audit", report, user="root")[0] == 403
    admin = {"name": "service", "scopes": ["admin", "alerts:read"]}
    token = call("POST", "/tokens", admin, user=None)[1]["secret"]
    assert call("POST", "/audit", report, user=None, token=token)[0] == 403

    own = {"reports": report["reports"][1:]}
    narrow = call("POST", "/tokens", {"name": "n", "scopes": ["audit:read"]}, user=None)[1]
    assert call("POST", "/audit", own, user=None, token=narrow["secret"])[0] == 403

    assert call("POST", "/audit", report, user=None) == (200, {"stored": 2})

    assert [_facts(it) for it in rows("action=sign-in+refused")] == [
        ("mallory", "sign-in refused", "refused", "198.51.100.9", "")
    ]
    (replay,) = rows("action=dlq+replayed")
    assert replay["detail"] == {"queue": "audit_alerts.dlq"}
    for wrong in (
        [],
        [{"actor": "x", "action": "invented"}],
        [{"actor": "\0", "action": "signed out"}],
    ):
        assert call("POST", "/audit", {"reports": wrong}, user=None)[0] == 400


def test_an_api_token_reports_its_own_actions_in_its_own_name(
    call: Callable[..., Answer], rows: Any
) -> None:
    token = call("POST", "/tokens", {"name": "ops", "scopes": ["admin"]}, user=None)[1]["secret"]
    report = {
        "reports": [
            {"actor": "alice", "action": "dlq deleted", "address": "laptop",
             "target": "audit_events.dlq", "detail": {"deleted": "3"}},
        ]
    }  # fmt: skip
    assert call("POST", "/audit", report, user=None, token=token) == (200, {"stored": 1})
    (deletion,) = rows("action=dlq+deleted")
    assert (deletion["actor"], deletion["actor_kind"]) == ("ops", "token")
    assert deletion["address"] != "laptop"
    assert deletion["detail"] == {"deleted": "3", "account": "alice", "host": "laptop"}


def test_every_caller_reports_its_own_searches_of_the_archive(
    call: Callable[..., Answer], rows: Any
) -> None:
    def report(action: str) -> Any:
        return {"reports": [{"actor": "alice", "action": action, "address": "198.51.100.9"}]}

    # Given a person with the least rights, and a token that may only read alerts
    call("PUT", "/users/vera", {"role": "viewer"}, user=None)
    reader = {"name": "siem", "scopes": ["alerts:read"]}
    token = call("POST", "/tokens", reader, user=None)[1]["secret"]
    # when both report a search, then the entries have their own names
    assert call("POST", "/audit", report("archive searched"), user="vera")[0] == 200
    assert call("POST", "/audit", report("archive exported"), user=None, token=token)[0] == 200
    assert call("POST", "/audit", report("hunt started"), user=None)[0] == 200
    facts = [
        (it["actor"], it["actor_kind"], it["action"], it["address"])
        for it in rows()
        if it["action"] in ("archive searched", "archive exported", "hunt started")
    ]
    assert facts == [
        ("vera", "person", "archive searched", "203.0.113.7"),
        ("siem", "token", "archive exported", "198.51.100.9"),
        ("service", "token", "hunt started", "198.51.100.9"),
    ]
    # and nobody can report other actions together with a search
    mixed = {"reports": [*report("archive searched")["reports"], *report("dlq shown")["reports"]]}
    assert call("POST", "/audit", mixed, user="vera")[0] == 403
    assert call("POST", "/audit", mixed, user=None, token=token)[0] == 403


def test_every_route_is_recorded_or_excepted(app: Quart) -> None:
    names = {
        endpoint.rpartition(".")[2]
        for endpoint in app.view_functions
        if endpoint.startswith(("v1.", "previous."))
    }
    assert names - trail_recording.ACTIONS.keys() - trail_recording.NOT_RECORDED == set()


def test_strange_texts_are_stored(call: Callable[..., Answer], rows: Any) -> None:
    call("GET", "/alerts?q=%00%F0%9F%98%80&%00=%ED%A0%80", address="a\xff" * 300)
    call("GET", f"/alerts/{'x' * 5000}")
    (search, shown) = rows()
    assert search["outcome"] == "refused"
    assert len(search["address"]) <= 100
    assert len(shown["target"]) == 500


def test_the_service_signs_the_trail(
    service: Any, api: httpx.Client, eventually: Any, query: Any
) -> None:
    api.put("/api/v1/users/bob", json={"role": "viewer"}).raise_for_status()
    api.get("/api/v1/alerts").raise_for_status()
    eventually(
        lambda: (
            {it["action"] for it in api.get("/api/v1/audit").json()["entries"]}
            >= {"role set", "search made"}
        )
    )
    ((last,),) = query("SELECT max(number) FROM audit_trail")
    eventually(
        lambda: (
            next(
                it for it in api.get("/api/v1/audit/logs").json()["logs"] if it["name"] == "trail"
            )["size"]
            >= last
        )
    )
    entry = api.get("/api/v1/audit/trail/entries/1").json()
    assert json.loads(entry["entry"])["action"] == "role set"


def test_silences_and_test_notifications_are_rows_with_what_they_hide_and_where_they_go(
    call_with_routes: Callable[..., Answer], rows: Any
) -> None:
    call = call_with_routes
    end = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    silence = {"matchers": ['rule="x"', 'actor="eve"'], "reason": "a visit", "ends_at": end}
    created = call("POST", "/silences", silence)[1]
    window = {
        "id": "C-1", "title": "Patch", "matchers": ['host="web-1"'], "ends_at": end,
        "starts_at": dt.datetime.now(dt.UTC).isoformat(),
    }  # fmt: skip
    call("POST", "/maintenance-windows", window)
    replaced = call("POST", "/maintenance-windows", {**window, "title": "Patch again"})[1]
    call("POST", "/notifications/test", {"receiver": "team"})

    loaded, silenced, _, again, tested = (it for it in rows())

    assert (loaded["actor"], loaded["action"]) == ("notification-service", "routing file loaded")
    assert loaded["target"] == hashlib.sha256(ROUTES.encode()).hexdigest()
    assert loaded["detail"] == {"receivers": "team"}
    assert silenced["detail"]["silence_id"] == created["silence_id"]
    assert silenced["detail"]["matchers"] == 'rule="x" actor="eve"'
    assert dt.datetime.fromisoformat(silenced["detail"]["ends"]) == dt.datetime.fromisoformat(end)
    assert again["detail"]["silence_id"] == replaced["silence_id"]
    assert (again["detail"]["external_id"], again["detail"]["reason"]) == ("C-1", "Patch again")
    assert tested["detail"] == {"receiver": "team"}


def test_a_routing_file_that_is_refused_is_a_row(
    notifications: Notifications, rows: Any, tmp_path: Path
) -> None:
    (tmp_path / "routes.yaml").write_text("route: {receiver: nobody}")
    assert not notifications.file.refresh()
    assert not notifications.file.refresh()

    _, refused = rows()

    assert (refused["action"], refused["outcome"]) == ("routing file loaded", "refused")
    assert "nobody" in refused["detail"]["error"]
