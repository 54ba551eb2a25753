"""The platform in its production configuration, for measurements.

Quorum queues, Redis with ``appendfsync always``, PostgreSQL with ``fsync``, and all processes on the
same two cores.
"""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pika
import psutil
import psycopg2
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from src.tests.bench.servers import private_rabbitmq, private_redis

from auditflow.amqp import Message, Publisher, topology
from auditflow_local import ports
from auditflow_local.servers.base import Server
from auditflow_local.servers.postgres import Postgres
from auditflow_local.servers.postgres_roles import APP, ARCHIVE, OWNER, SUPERUSER
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import Redis
from auditflow_local.service_process import ServiceProcess
from auditflow_local.services import (
    ANALYSIS,
    DASHBOARD,
    EVENT_ARCHIVE,
    GENERATOR,
    NOTIFICATION,
    SERVICES,
    Dependencies,
)
from notification_service.migrate import MigrateSettings, migrate

CORES: Final = 2
ADMIN: Final = "auditflow-admin"
#: A queue with the arguments of the platform's queues, for the bare clients.
BARE_QUEUE: Final = "bench"
_PATIENCE_SECONDS: Final = 300.0
#: The broker has settled when it uses less than this share of a core for one step.
_IDLE_SHARE: Final = 0.1
_SETTLE_STEP: Final = 0.25
#: Maximum time of settling, for brokers that always do something.
_SETTLE_SECONDS: Final = 5.0


def use_two_cores() -> None:
    """Run this process and all its children on two cores."""
    available = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, available[:CORES])


@dataclass
class Platform:
    """Servers and services that run."""

    rabbitmq: RabbitMQ
    redis: Redis
    postgres: Postgres
    analysis: ServiceProcess
    notification: ServiceProcess
    archive: ServiceProcess
    generator: ServiceProcess
    dashboard: ServiceProcess
    secrets: dict[str, str]
    _session: Any = None

    def publish(self, bodies: Sequence[bytes], *, queue: str | None = None) -> None:
        """Publish messages with confirms: to the platform's exchange, or to a queue."""
        publisher = Publisher(pika.URLParameters(self.rabbitmq.url(ADMIN)))
        publisher.start()
        while publisher.check() is not None:
            time.sleep(0.05)
        exchange, key = ("", queue) if queue else (topology.EXCHANGE, "event.bench")
        publisher.publish(
            [
                Message(exchange=exchange, routing_key=key, body=body, message_id=str(number))
                for number, body in enumerate(bodies)
            ],
            timeout=120,
        )
        publisher.close()

    def alerts(self) -> int:
        """Return the number of alerts that a reader sees."""
        return int(self.query("SELECT count(*) FROM alerts")[0][0])

    def last_change(self) -> int:
        """Return the number of the last change of an alert."""
        return int(self.query("SELECT coalesce(max(change_seq), 0) FROM alerts")[0][0])

    def changed_alerts(self, since: int) -> int:
        """Return the number of alerts that changed after a change. Reads only their rows."""
        return int(self.query("SELECT count(*) FROM alerts WHERE change_seq > %s", since)[0][0])

    def last_alert_committed(self, since: int) -> float:
        """Return the time at which the newest alert became readable, in seconds since 1970.

        Only alerts that changed after the change ``since`` are read.
        """
        statement = (
            "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin))) FROM alerts"
            " WHERE change_seq > %s"
        )
        return float(self.query(statement, since)[0][0])

    def query(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser."""
        with self.session().cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return cursor.fetchall() if cursor.description else []

    def session(self) -> Any:
        """Return a connection of the superuser with autocommit."""
        if self._session is None:
            self._session = psycopg2.connect(self.postgres.dsn(SUPERUSER))
            self._session.autocommit = True
        return self._session

    def consumed(self, service: ServiceProcess) -> int:
        """Return the number of messages that a service has acknowledged."""
        text = httpx.get(f"{service.url}/metrics", timeout=30).text
        return sum(
            int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "auditflow_consumed_messages_total"
        )

    @contextmanager
    def stopped(self, service: ServiceProcess) -> Iterator[None]:
        """Suspend a service, so that messages collect in its queue."""
        assert service.pid is not None
        os.kill(service.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(service.pid, signal.SIGCONT)

    @contextmanager
    def without_archive(self) -> Iterator[None]:
        """Let the analysis publish nothing for the archive meanwhile. Restarts the analysis."""
        self.analysis.variables["ARCHIVE"] = "false"
        self.analysis.restart()
        try:
            yield
        finally:
            del self.analysis.variables["ARCHIVE"]
            self.analysis.restart()

    def cpu(self) -> dict[str, float]:
        """Return the CPU time of each process and its children in seconds."""
        processes: dict[str, ServiceProcess | Server] = {
            "analysis": self.analysis,
            "redis": self.redis,
            "rabbitmq": self.rabbitmq,
            "archive": self.archive,
            "notification": self.notification,
            "postgresql": self.postgres,
        }
        return {name: cpu_seconds(process) for name, process in processes.items()}

    def memory(self) -> dict[str, float]:
        """Return the resident memory of each service and its children, in MiB."""
        services = (
            self.analysis, self.notification, self.archive, self.generator, self.dashboard,
        )  # fmt: skip
        return {service.name: memory_bytes(service) / 2**20 for service in services}

    def settle(self) -> None:
        """Wait until the broker has finished the work of messages that were published before."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        used = cpu_seconds(self.rabbitmq)
        while time.monotonic() < deadline:
            time.sleep(_SETTLE_STEP)
            before, used = used, cpu_seconds(self.rabbitmq)
            if used - before <= _IDLE_SHARE * _SETTLE_STEP:
                return

    def close(self) -> None:
        """Close the connection of this process."""
        if self._session is not None:
            self._session.close()


def cpu_seconds(process: ServiceProcess | Server) -> float:
    """Return the CPU time of a process and its children in seconds, user and system."""
    return _total(process, lambda member: sum(member.cpu_times()[:2]))


def memory_bytes(process: ServiceProcess | Server) -> float:
    """Return the resident memory of a process and its children."""
    return _total(process, lambda member: member.memory_info().rss)


def _total(process: ServiceProcess | Server, value: Callable[[psutil.Process], float]) -> float:
    """Return the sum of the values of a process and its children."""
    assert process.pid is not None
    total = 0.0
    parent = psutil.Process(process.pid)
    for member in (parent, *parent.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            total += value(member)
    return total


def wait_for(condition: Callable[[], bool], what: str, *, every: float = 0.02) -> None:
    """Poll until a condition is true."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {_PATIENCE_SECONDS:.0f} s")
        time.sleep(every)


@contextmanager
def platform() -> Iterator[Platform]:
    """Start the platform with empty servers. Everything is stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="auditflow-bench-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        servers = _servers(folder)
        for server in servers:
            stack.callback(server.destroy)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.start(), servers))
        rabbitmq, redis, postgres = servers
        _migrate(postgres)
        _declare_bare_queue(rabbitmq)
        tokens = {name: secrets.token_hex(20) for service in SERVICES for name in service.secrets}
        numbers = {service: ports.pick() for service in SERVICES}
        dependencies = Dependencies(
            rabbitmq=rabbitmq,
            redis=redis,
            postgres=postgres,
            api_port=numbers[NOTIFICATION],
            analysis_port=numbers[ANALYSIS],
            archive_folder=folder / "archive",
            secrets=tokens,
        )
        services = {}
        for service in SERVICES:
            process = ServiceProcess(
                service,
                dependencies,
                port=numbers[service],
                log=folder / f"{service.name}.log",
                record=folder / f"{service.name}.process",
                secrets_folder=folder / "secrets" / service.name,
                variables={
                    "LOG_LEVEL": "WARNING",
                    "GENERATOR_RATE": "0",
                    # Each client of the benchmark is the same person.
                    "REQUESTS_PER_MINUTE": "10000000",
                },
            )
            stack.callback(process.stop)
            process.start()
            services[service.name] = process
        running = Platform(
            rabbitmq=rabbitmq,
            redis=redis,
            postgres=postgres,
            analysis=services[ANALYSIS.name],
            notification=services[NOTIFICATION.name],
            archive=services[EVENT_ARCHIVE.name],
            generator=services[GENERATOR.name],
            dashboard=services[DASHBOARD.name],
            secrets=tokens,
        )
        stack.callback(running.close)
        yield running


def _servers(folder: Path) -> tuple[RabbitMQ, Redis, Postgres]:
    return (
        private_rabbitmq(folder),
        private_redis(folder),
        Postgres(
            folder / "postgres",
            port=ports.pick(),
            passwords={role: secrets.token_hex(8) for role in (SUPERUSER, OWNER, APP, ARCHIVE)},
            # The latency is measured with the time of the commit.
            settings={"track_commit_timestamp": "on"},
        ),
    )


def _migrate(postgres: Postgres) -> None:
    settings = MigrateSettings(
        pg_host=postgres.host,
        pg_port=postgres.port,
        pg_db=postgres.database,
        pg_user=OWNER,
        pg_password=SecretStr(postgres.password_of(OWNER)),
    )
    migrate(settings, report=lambda _: None)


def _declare_bare_queue(rabbitmq: RabbitMQ) -> None:
    with closing(pika.BlockingConnection(pika.URLParameters(rabbitmq.url(ADMIN)))) as connection:
        connection.channel().queue_declare(
            BARE_QUEUE, durable=True, arguments={"x-queue-type": "quorum"}
        )
