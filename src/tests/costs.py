"""Programs that measure the cost of one hot path. See ``auditflow_local.cost``.

``python -m src.tests.costs KIND ...`` prints the cost as a ratio to minimal work.
"""

import asyncio
import contextlib
import itertools
import json
import os
import re
import secrets
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import redis
from flask import Flask
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from quart import Quart

import audit_analysis
from audit_analysis.service.metrics import Metrics as AnalysisMetrics
from audit_analysis.service.pipeline import Pipeline
from audit_analysis.sigma.load import load
from audit_analysis.windows.redis_windows import RedisWindows
from auditflow.amqp import Delivery
from auditflow.contract.event import Event
from auditflow.contract.finding import Finding
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from auditflow.settings import PostgresSettings
from auditflow.telemetry import logs, tracing
from auditflow_local import cost
from event_audit_dashboard import app as dashboard_application
from event_audit_dashboard.apis.client import ApiClient
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.apis.transport import Transport
from event_audit_dashboard.metrics import Metrics as DashboardMetrics
from event_audit_dashboard.settings import DashboardSettings
from notification_service.api import app as application
from notification_service.database.access_store import AccessStore
from notification_service.database.alert_reader import AlertReader
from notification_service.database.connection import Connection, connect, connect_for_keys
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.triage_store import TriageStore
from notification_service.inbox import Inbox
from notification_service.metrics import Metrics

from .bench import storage, streams

_RULES: Final = Path(audit_analysis.__file__).parent / "rules"
_TOKEN: Final = "t0ken"
#: Alerts of the database that requests read.
_ALERTS: Final = 500
# Callgrind is slow, and it counts the same for each repetition. CPU time needs more of them.
_EVENTS: Final = 1_000 if cost.counts_instructions() else 5_000
_FINDINGS: Final = 200 if cost.counts_instructions() else 500
_REQUESTS: Final = 10 if cost.counts_instructions() else 100
#: Repetitions of minimal work that is much shorter than the work.
_BARE: Final = 5


def event(name: str, redis_url: str) -> float:
    """An event of a stream in the analysis, beside decoding it."""
    stream = streams.STREAMS[name]
    numbers = itertools.count()
    kind = Event if stream.events_per_message == 1 else list[Event]
    decode = msgspec.json.Decoder(kind).decode
    messages: list[bytes] = []
    with redis.Redis.from_url(redis_url) as client:
        rules = load([_RULES], lateness=900_000)
        analyse = Pipeline(
            lambda: rules,
            RedisWindows(client),
            lambda messages: lambda: None,
            environment="test",
            metrics=AnalysisMetrics(CollectorRegistry()),
        )

        def generate() -> None:
            batch = stream.generate(_EVENTS, f"cost{next(numbers)}")
            messages[:] = batch.messages(stream.events_per_message)

        def work() -> None:
            size = max(1, 250 // stream.events_per_message)
            for start in range(0, len(messages), size):
                analyse([Delivery(body) for body in messages[start : start + size]])

        def bare() -> None:
            for _ in range(_BARE):
                for body in messages:
                    decode(body)

        return _BARE * cost.ratio(work, bare, before_each=generate)


def finding(database: str) -> float:
    """A stored finding without the work of PostgreSQL, beside decoding it."""
    pool = _pool(database, open_connection=connect_for_keys)
    inbox = Inbox(FindingStore(pool).store, Metrics(CollectorRegistry()))
    decode = msgspec.json.Decoder(Finding).decode
    bodies: list[bytes] = []

    def generate() -> None:
        bodies[:] = storage.findings(_FINDINGS, secrets.token_hex(4))

    def work() -> None:
        for start in range(0, len(bodies), 100):
            inbox.store(inbox.decode([Delivery(body) for body in bodies[start : start + 100]]))

    def bare() -> None:
        for _ in range(_BARE):
            for body in bodies:
                decode(body)

    return _BARE * cost.ratio(work, bare, before_each=generate)


def request(path: str, database: str) -> float:
    """A request to the API without HTTP, beside a minimal Quart route.

    ``{}`` in the path stands for the identifier of an alert.
    """
    pool = _pool(database)
    _store_alerts(pool)
    registry, none = CollectorRegistry(), None
    stores = application.Stores(
        AlertReader(pool), TriageStore(pool), AccessStore(pool), none, none  # type: ignore[arg-type]
    )  # fmt: skip
    tokens = Tokens(SecretStr(_TOKEN), None)
    api = application.create(stores, Health({}), registry, Metrics(registry), tokens=tokens)
    bare = Quart("bare")

    @bare.get("/")
    async def hello() -> str:
        return "Hello"

    with pool.cursor() as cursor:
        cursor.execute("SELECT alert_id FROM alerts LIMIT 1")
        (alert_id,) = cursor.fetchone() or ("",)
    return cost.ratio(_requests(api, path.format(alert_id)), _requests(bare, "/"))


def page(path: str, host: str, port: str, token: str) -> float:
    """A page of the dashboard without HTTP and without the API, beside a minimal Flask route.

    ``{}`` in the path stands for the identifier of an alert.
    """
    registry = CollectorRegistry()
    metrics = DashboardMetrics(registry)
    settings = DashboardSettings(
        api_token=SecretStr(token),
        dashboard_password=SecretStr("password"),
        session_secret=SecretStr("s" * 40),
    )
    transport = Transport(host, int(port), token=token)
    api = NotificationService(transport, metrics=metrics)
    analysis = ApiClient(Transport(host, int(port)), metrics=metrics)
    dashboard = dashboard_application.create(
        settings, api=api, analysis=analysis, health=Health({}), registry=registry, metrics=metrics
    )
    client = dashboard.test_client()
    (form_token,) = re.findall(
        r'name="csrf_token"[^>]*value="([^"]+)"', client.get("/login").get_data(as_text=True)
    )
    form = {"user": "admin", "password": "password", "csrf_token": form_token}
    assert client.post("/login", data=form).status_code == 303
    if "{}" in path:
        listed = client.get("/alerts").get_data(as_text=True)
        path = path.format(re.findall(r'href="/alerts/([0-9a-f-]{36})', listed)[0])
    bare = Flask("bare")

    @bare.get("/")
    def hello() -> str:
        return "Hello"

    def work() -> None:
        for _ in range(_REQUESTS):
            assert client.get(path).status_code == 200

    bare_client = bare.test_client()

    def minimal() -> None:
        for _ in range(_REQUESTS):
            assert bare_client.get("/").status_code == 200

    return cost.ratio(work, minimal)


def store_alerts(database: str) -> None:
    """Store the alerts that ``page`` reads."""
    with contextlib.closing(_pool(database)) as pool:
        _store_alerts(pool)


def _store_alerts(pool: Pool) -> None:
    inbox = Inbox(FindingStore(pool).store, Metrics(CollectorRegistry()))
    inbox.store(inbox.decode([Delivery(body) for body in storage.findings(_ALERTS, "alert")]))


def _pool(database: str, *, open_connection: Callable[..., Connection] = connect) -> Pool:
    """Connections to a migrated database, from ``PostgresSettings`` as JSON."""
    fields = json.loads(database)
    settings = PostgresSettings(**{**fields, "pg_password": SecretStr(fields["pg_password"])})
    return Pool(
        partial(open_connection, settings, name="test", statement_seconds=300),
        size=2,
        wait_seconds=60,
    )


def _requests(app: Quart, path: str) -> Callable[[], None]:
    async def send(loop_app: Any) -> None:
        target, _, query = path.partition("?")
        for _ in range(_REQUESTS):
            sent: list[Any] = []
            incoming: asyncio.Queue[Any] = asyncio.Queue()
            incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})

            async def answer(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message)

            scope = {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": "GET",
                "scheme": "http",
                "path": target,
                "raw_path": target.encode(),
                "query_string": query.encode(),
                "root_path": "",
                "headers": [
                    (b"host", b"localhost"),
                    (b"authorization", f"Bearer {_TOKEN}".encode()),
                ],
                "client": ("127.0.0.1", 1),
                "server": ("127.0.0.1", 2),
                "extensions": {},
            }
            await loop_app(scope, incoming.get, answer)
            assert sent[0]["status"] == 200, sent

    return lambda: asyncio.run(send(app))


_KINDS: Final[dict[str, Callable[..., float]]] = {
    "event": event,
    "finding": finding,
    "request": request,
    "page": page,
}


def main() -> None:
    """Print the cost that the arguments name."""
    with Path(os.devnull).open("w") as null, contextlib.redirect_stdout(null):
        # The service's own log and traces, whose cost counts too.
        logs.configure("costs")
        tracing.configure("costs")
        measured = _KINDS[sys.argv[1]](*sys.argv[2:])
    sys.stdout.write(str(measured))


if __name__ == "__main__":
    main()
