"""Fixtures: findings, a database, a broker, the service, and a client of its API."""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pika
import pika.exceptions
import psycopg2
import pytest
from pydantic import SecretStr

from auditflow.amqp import Message, Publisher, topology
from auditflow.contract import finding as findings
from auditflow.contract import identity
from auditflow.contract.finding import EventRef, Evidence, Finding, RuleRef
from auditflow.contract.level import Level
from auditflow.settings import PostgresSettings
from auditflow_local import polling
from auditflow_local.servers.postgres import Database, Postgres
from auditflow_local.servers.postgres_roles import APP, OWNER
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.service_process import ServiceProcess
from notification_service.api.app import Stores
from notification_service.database.access_store import AccessStore
from notification_service.database.alert_reader import AlertReader
from notification_service.database.change_feed import ChangeFeed
from notification_service.database.connection import Connection, connect, connect_for_keys
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.triage_store import TriageStore
from notification_service.migrate import MigrateSettings, migrate

#: A minute of today, so that findings fall into a partition that is made ahead.
NOW = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
ADMIN = "auditflow-admin"


@pytest.fixture(scope="session")
def now() -> dt.datetime:
    return NOW


@pytest.fixture(scope="session")
def make_finding() -> Callable[..., Finding]:
    """Makes a finding; ``bucket`` numbers those of one rule and user."""

    def make(
        *, rule: str = "failed-logins", user: str = "alice", bucket: int = 0, **fields: Any
    ) -> Finding:
        entity = fields.pop("entity", {"user_id": user})
        at = fields.pop("at", NOW - dt.timedelta(hours=1) + dt.timedelta(minutes=bucket))
        level = fields.pop("level", "high")
        event = {"event_id": f"{user}-{bucket}", "timestamp": at.isoformat(), "event_type": "login"}
        defaults: dict[str, Any] = {
            "finding_id": identity.finding_id(rule, entity, bucket),
            "rule": RuleRef(rule, f"Title of {rule}", "1", level, ("attack.t1110",)),
            "severity": Level(level).severity,
            "entity": entity,
            "bucket_start": at,
            "first_seen": at,
            "last_seen": at + dt.timedelta(seconds=30),
            "count": 3,
            "description": f"3 failed logins of {user}",
            "evidence": Evidence(
                events=(EventRef(at, f"{user}-{bucket}"),),
                first_event=msgspec.Raw(msgspec.json.encode(event)),
                last_event=msgspec.Raw(msgspec.json.encode(event)),
            ),
            "actor": user,
            "client_ip": "203.0.113.7",
            "resource": "sshd",
            "server_hostname": "web-1",
            "environment": "prod",
        }
        return Finding(**{**defaults, **fields})

    return make


@pytest.fixture(scope="session")
def settings_for(postgres: Postgres) -> Callable[..., Any]:
    """Settings for a database, as one of the roles."""

    def make(database: Database, role: str = APP, **more: Any) -> Any:
        server = database.server
        kind = MigrateSettings if role == OWNER else PostgresSettings
        return kind(
            pg_host=server.host,
            pg_port=server.port,
            pg_db=database.name,
            pg_user=role,
            pg_password=SecretStr(server.password_of(role)),
            **more,
        )

    return make


@pytest.fixture
def database(postgres: Postgres, settings_for: Callable[..., Any]) -> Database:
    """A database of the test's own, migrated."""

    def prepare(empty: Database) -> None:
        migrate(settings_for(empty, OWNER), report=lambda _: None)

    template = postgres.template("notification_service", prepare)
    return postgres.fresh_database(template=template)


@pytest.fixture
def open_pool(settings_for: Callable[..., Any]) -> Iterator[Callable[..., Pool]]:
    """Pools of connections to a database, closed with the test."""
    pools: list[Pool] = []

    def make(
        database: Database,
        *,
        size: int = 1,
        open_connection: Callable[..., Connection] = connect,
    ) -> Pool:
        settings = settings_for(database)
        pool = Pool(
            partial(open_connection, settings, name="test", statement_seconds=60),
            size=size,
            wait_seconds=60,
        )
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.close()


@pytest.fixture
def store(database: Database, open_pool: Callable[..., Pool]) -> FindingStore:
    return FindingStore(open_pool(database, open_connection=connect_for_keys))


@pytest.fixture
def reader(database: Database, open_pool: Callable[..., Pool]) -> AlertReader:
    return AlertReader(open_pool(database, size=2))


@pytest.fixture
def triage_store(database: Database, open_pool: Callable[..., Pool]) -> TriageStore:
    return TriageStore(open_pool(database, size=2))


@pytest.fixture
def make_stores(
    database: Database, open_pool: Callable[..., Pool], settings_for: Callable[..., Any]
) -> Iterator[Callable[[], Stores]]:
    """Makes what the API needs of the database."""
    feeds: list[ChangeFeed] = []

    def make() -> Stores:
        pool = open_pool(database, size=2)
        open_connection = partial(
            connect, settings_for(database), name="test feed", statement_seconds=60
        )
        feeds.append(ChangeFeed(open_connection, pool))
        return Stores(
            AlertReader(pool), TriageStore(pool), AccessStore(pool), feeds[-1], open_pool(database)
        )

    yield make
    for feed in feeds:
        feed.stop()


@pytest.fixture
def query(database: Database) -> Callable[..., list[tuple[Any, ...]]]:
    """Runs a statement in the database as its owner and returns the rows, if any."""

    def run(statement: str, *values: Any, role: str = OWNER) -> list[tuple[Any, ...]]:
        with (
            closing(psycopg2.connect(database.dsn(role))) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    return run


class Broker:
    """The broker, as an administrator sees it."""

    def __init__(self, server: RabbitMQ) -> None:
        self.server = server
        parameters = pika.URLParameters(server.url(ADMIN))
        parameters.heartbeat = 0  # a test may not use the connection for minutes
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()
        self._publisher = Publisher(pika.URLParameters(server.url(ADMIN)))
        self._publisher.start()

    def purge(self) -> None:
        self.server.empty(topology.FINDINGS, f"{topology.FINDINGS}.dlq")

    def send(self, *bodies: bytes | Finding, headers: dict[str, str] | None = None) -> None:
        """Publish findings, or any bytes, as the analysis would."""
        raws = (findings.encode(body) if isinstance(body, Finding) else body for body in bodies)
        messages = [
            Message(
                exchange=topology.EXCHANGE,
                routing_key="finding.test",
                body=raw,
                message_id=identity.record_id(raw),
                headers=headers,
            )
            for raw in raws
        ]
        polling.eventually(lambda: self._publisher.check() is None, what="the connection")
        self._publisher.publish(messages, timeout=60)

    def dead_letters(self) -> list[tuple[bytes, dict[str, Any]]]:
        """Take all dead letters, with their headers."""
        taken: list[tuple[bytes, dict[str, Any]]] = []
        while True:
            method, properties, body = self._channel.basic_get(f"{topology.FINDINGS}.dlq")
            if method is None:
                return taken
            self._channel.basic_ack(method.delivery_tag)
            taken.append((body, properties.headers))

    def waiting(self) -> int:
        """Messages that nobody has taken yet."""
        declared = self._channel.queue_declare(topology.FINDINGS, passive=True)
        return int(declared.method.message_count)

    def close(self) -> None:
        self._publisher.close()
        with suppress(pika.exceptions.AMQPError):  # it may not have noticed a restart
            self._connection.close()


@pytest.fixture
def broker(rabbitmq: RabbitMQ) -> Iterator[Broker]:
    """The broker, with empty queues."""
    broker = Broker(rabbitmq)
    broker.purge()
    yield broker
    broker.close()


@pytest.fixture
def service(
    service_process: Callable[..., ServiceProcess], broker: Broker, database: Database
) -> ServiceProcess:
    """The service as a process, ready."""
    return service_process("notification-service", rabbitmq=broker.server, database=database)


@pytest.fixture
def api(service: ServiceProcess, service_secrets: dict[str, str]) -> Iterator[httpx.Client]:
    """A client of the service that shows the token."""
    headers = {"Authorization": f"Bearer {service_secrets['API_TOKEN']}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=60, verify=False) as client:
        yield client


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Calls a function until its result is true, and returns the result."""
    return polling.eventually


@pytest.fixture(scope="session")
def ids() -> Callable[[list[dict[str, Any]]], list[UUID]]:
    """The identifiers in a list of alerts."""
    return lambda alerts: [UUID(alert["alert_id"]) for alert in alerts]
