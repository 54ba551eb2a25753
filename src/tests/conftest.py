"""The complete platform for tests. The servers are shared, and empty at the start of each test."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from pydantic import SecretStr

from auditflow.amqp import topology
from auditflow_local.polling import eventually
from auditflow_local.servers.postgres import Database, Postgres
from auditflow_local.servers.postgres_roles import OWNER
from auditflow_local.stack import RUNBOOKS
from auditflow_local.testing import Servers
from notification_service.migrate import MigrateSettings, migrate

from .platform import Platform

#: No synthetic stream: tests send what they mean to.
SILENT = {"GENERATOR_RATE": "0"}


def migrated(postgres: Postgres) -> Database:
    """A fresh database with the current schema."""

    def prepare(empty: Database) -> None:
        settings = MigrateSettings(
            pg_host=postgres.host,
            pg_port=postgres.port,
            pg_db=empty.name,
            pg_user=OWNER,
            pg_password=SecretStr(postgres.password_of(OWNER)),
        )
        migrate(settings, report=lambda _: None)

    return postgres.fresh_database(template=postgres.template("notification_service", prepare))


def make_platform(
    service_process: Any,
    secrets: dict[str, str],
    servers: Servers,
    *,
    notification_env: dict[str, str] | None = None,
    dashboard_env: dict[str, str] | None = None,
) -> Platform:
    """The services on these servers and a fresh database, not started yet."""
    rabbitmq, redis, postgres = servers
    database = migrated(postgres)
    around = {"rabbitmq": rabbitmq, "redis": redis, "database": database, "start": False}
    analysis = service_process("audit-log-analysis", **around)
    notification = service_process("notification-service", env=notification_env, **around)
    archive = service_process(
        "audit-event-archive", env={"ARCHIVE_FLUSH_SECONDS": "0.2"}, api=notification, **around
    )
    return Platform(
        rabbitmq=rabbitmq,
        redis=redis,
        database=database,
        generator=service_process("audit-event-generator", env=SILENT, **around),
        analysis=analysis,
        notification=notification,
        archive=archive,
        dashboard=service_process(
            "event-audit-dashboard",
            api=notification,
            env={
                "ANALYSIS_PORT": str(analysis.port),
                "EVENTS_API_HOST": "127.0.0.1",
                "EVENTS_API_PORT": str(archive.port),
                "RUNBOOKS_DIR": str(RUNBOOKS),
                **(dashboard_env or {}),
            },
            **around,
        ),
        secrets=secrets,
    )


@pytest.fixture(scope="session")
def shared_platform(
    other_servers: Servers, shared_service_process: Any, service_secrets: dict[str, str]
) -> Platform:
    """The platform that all tests of the run share."""
    return make_platform(shared_service_process, service_secrets, other_servers)


@pytest.fixture
def platform(shared_platform: Platform) -> Platform:
    """The platform, running and ready, with empty queues, windows and tables."""
    item = shared_platform
    for server in (item.rabbitmq, item.redis, item.database.server):
        server.start()
    for service in item.services:
        if not service.running:
            service.respawn()
    eventually(lambda: all(service.ready() for service in item.services), what="ready")
    for queue in topology.QUEUES:
        item.rabbitmq.empty(queue.name, queue.dead_letters)
    eventually(item.settled, what="rest")
    item.redis.flush()
    with psycopg2.connect(item.database.dsn(OWNER)) as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE findings, alerts")
    connection.close()
    item.begin()
    return item


@pytest.fixture
def fresh_platform(
    other_servers: Servers,
    shared_platform: Platform,
    service_process: Any,
    service_secrets: dict[str, str],
) -> Iterator[Platform]:
    """A running platform of the test's own, with an empty database and empty queues."""
    for service in shared_platform.services:
        service.stop()  # or they would take what is meant for this one
    for queue in topology.QUEUES:
        other_servers.rabbitmq.empty(queue.name, queue.dead_letters)
    other_servers.redis.flush()
    platform = make_platform(service_process, service_secrets, other_servers)
    for service in platform.services:
        service.start()
    platform.begin()
    yield platform
    for service in reversed(platform.services):
        service.stop()


@pytest.fixture
def late_platform(
    other_servers: Servers,
    shared_platform: Platform,
    service_process: Any,
    service_secrets: dict[str, str],
) -> Iterator[Platform]:
    """A platform of the test's own on servers that are down."""
    for service in shared_platform.services:
        service.stop()  # or they would take what is meant for this one
    other_servers.redis.flush()
    platform = make_platform(service_process, service_secrets, other_servers)
    for server in other_servers:
        server.stop()
    yield platform
    for server in other_servers:
        server.start()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of this size (MiB)."""
    with ExitStack() as stack:

        def mount(mebibytes: int) -> Path:
            folder = tmp_path / f"disk-{mebibytes}"
            folder.mkdir()
            done = subprocess.run(
                ("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)),
                capture_output=True,
                check=False,
            )
            if done.returncode:
                pytest.skip("only root can mount a small disk")
            stack.callback(subprocess.run, ("umount", "--lazy", str(folder)), check=True)
            return folder

        yield mount
