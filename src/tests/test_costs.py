"""CPU time of hot paths, as ratios to minimal work in the same process.

A limit is about 1.5 times the measured ratio: clear regressions fail, and a busy machine does not.
"""

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
import structlog
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
from auditflow_local import cpu_cost
from auditflow_local.servers.postgres_roles import APP, OWNER
from notification_service.api import app as application
from notification_service.database.access_store import AccessStore
from notification_service.database.alert_reader import AlertReader
from notification_service.database.connection import connect
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.triage_store import TriageStore
from notification_service.inbox import Inbox
from notification_service.metrics import Metrics
from notification_service.migrate import MigrateSettings, migrate

from .bench import storage, streams

pytestmark = pytest.mark.soak
_RULES = Path(audit_analysis.__file__).parent / "rules"
_EVENTS = 5_000
_TOKEN = "t0ken"


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """A log without the lines of each request."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("logins", 36),
        ("logins in batches", 36),
        ("no logins", 17),
        ("quiet", 28),
        ("kubernetes", 54),
    ],
)
def test_an_event(make_redis: Any, tmp_path: Path, name: str, limit: float) -> None:
    # Given the shipped rules and real windows
    stream = streams.STREAMS[name]
    server = make_redis(tmp_path)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        rules = load([_RULES], lateness=900_000)
        analyse = Pipeline(
            lambda: rules,
            RedisWindows(client),
            lambda messages: lambda: None,
            environment="test",
            metrics=AnalysisMetrics(CollectorRegistry()),
        )
        numbers = itertools.count()
        kind = Event if stream.events_per_message == 1 else list[Event]
        decode = msgspec.json.Decoder(kind).decode
        messages: list[bytes] = []

        def generate() -> None:
            batch = stream.generate(_EVENTS, f"{secrets.token_hex(3)}{next(numbers)}")
            messages[:] = batch.messages(stream.events_per_message)

        def work() -> None:
            size = max(1, 250 // stream.events_per_message)
            for start in range(0, len(messages), size):
                analyse([Delivery(body) for body in messages[start : start + size]])

        def bare() -> None:
            for _ in range(5):
                for body in messages:
                    decode(body)

        # when each round analyses new events, then the cost is near the measured one
        assert 5 * cpu_cost.ratio(work, bare, before_each=generate) < limit


@pytest.fixture
def pool(postgres: Any) -> Any:
    """Connections to an empty, migrated database."""
    database = postgres.fresh_database()

    def settings(kind: Any, role: str) -> Any:
        return kind(
            pg_host=postgres.host,
            pg_port=postgres.port,
            pg_db=database.name,
            pg_user=role,
            pg_password=SecretStr(postgres.password_of(role)),
        )

    migrate(settings(MigrateSettings, OWNER), report=lambda _: None)
    open_connection = partial(
        connect, settings(PostgresSettings, APP), name="test", statement_seconds=30
    )
    made = Pool(open_connection, size=2, wait_seconds=5)
    yield made
    made.close()


def test_a_finding(pool: Pool) -> None:
    inbox = Inbox(FindingStore(pool).store, Metrics(CollectorRegistry()))
    decode = msgspec.json.Decoder(Finding).decode
    bodies: list[bytes] = []

    def generate() -> None:
        bodies[:] = storage.findings(500, secrets.token_hex(4))

    def work() -> None:
        for start in range(0, len(bodies), 100):
            inbox.store(inbox.decode([Delivery(body) for body in bodies[start : start + 100]]))

    def bare() -> None:
        for _ in range(5):
            for body in bodies:
                decode(body)

    # The work of PostgreSQL is not in this figure.
    assert 5 * cpu_cost.ratio(work, bare, before_each=generate) < 70


@pytest.mark.parametrize(("path", "limit"), [("alerts?limit=50", 6.5), ("alerts/{}", 5.6)])
def test_a_request(pool: Pool, path: str, limit: float) -> None:
    # Given an API with 500 alerts, and a minimal Quart application
    inbox = Inbox(FindingStore(pool).store, Metrics(CollectorRegistry()))
    inbox.store(inbox.decode([Delivery(body) for body in storage.findings(500, "request")]))
    registry, none = CollectorRegistry(), None
    reader = AlertReader(pool)
    stores = application.Stores(reader, TriageStore(pool), AccessStore(pool), none, none)  # type: ignore[arg-type]
    api = application.create(
        stores,
        Health({}),
        registry,
        Metrics(registry),
        tokens=Tokens(SecretStr(_TOKEN), None),
    )
    bare = Quart("bare")

    @bare.get("/")
    async def hello() -> str:
        return "Hello"

    with pool.cursor() as cursor:
        cursor.execute("SELECT alert_id FROM alerts LIMIT 1")
        (alert_id,) = cursor.fetchone() or ("",)
    work = _requests(api, f"/api/v1/{path.format(alert_id)}")
    # when both answer requests, then the cost is near the measured one
    assert cpu_cost.ratio(work, _requests(bare, "/"), clock=time.process_time) < limit


def _requests(app: Quart, path: str) -> Callable[[], None]:
    async def send() -> None:
        client: Any = app.test_client()
        for _ in range(100):
            answer = await client.get(path, headers={"Authorization": f"Bearer {_TOKEN}"})
            assert answer.status_code == 200

    return lambda: asyncio.run(send())
