"""Time from the publication of an event to its readable alert, beside a bare path.

The bare path has the same hops: a quorum queue, a consumer that publishes to a second quorum queue, and
a consumer that commits one row.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, NamedTuple

import msgspec
import pika
import psycopg2

from auditflow.amqp import topology
from auditflow_local.servers.postgres_roles import SUPERUSER

from . import streams
from .environment import ADMIN, Platform, wait_for

#: Events per second.
RATE = 50
_QUEUES = ("bench-first", "bench-second")


class Latency(NamedTuple):
    """Quantiles in milliseconds."""

    p50: float
    p99: float


def measure(platform: Platform, number: int, prefix: str) -> Latency:
    """Publish events that alert at ``RATE``. The end is the commit of the finding's transaction."""
    events = [alerting_event(f"{prefix}-{index}") for index in range(number)]
    before = platform.alerts()
    published = _publish_at_rate(platform, topology.EXCHANGE, "event.bench", events)
    wait_for(lambda: platform.alerts() - before >= number, f"{number} alerts")
    committed = platform.query(
        "SELECT actor, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8"
        " FROM findings WHERE actor LIKE %s",
        f"{prefix}-%",
    )
    times = dict(committed)
    return _quantiles([times[f"{prefix}-{index}"] - start for index, start in enumerate(published)])


def measure_bare(platform: Platform, number: int) -> Latency:
    """Publish messages of the same size at the same rate through the bare path."""
    bodies = [alerting_event(f"bare-{index}") for index in range(number)]
    committed: list[float] = []
    with _bare_path(platform, committed):
        published = _publish_at_rate(platform, "", _QUEUES[0], bodies)
        wait_for(lambda: len(committed) >= number, f"{number} rows of the bare path")
    return _quantiles([end - start for start, end in zip(published, committed, strict=True)])


def _quantiles(seconds: Sequence[float]) -> Latency:
    ordered = sorted(seconds)
    return Latency(
        ordered[len(ordered) // 2] * 1000,
        ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)] * 1000,
    )


def alerting_event(user: str) -> bytes:
    """Return an encoded event that alerts alone, of a user."""
    return msgspec.json.encode(
        {
            "event_id": f"event-{user}",
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "server_hostname": "web-01",
            "severity": "INFO",
            "client_ip": "192.0.2.1",
            **streams.sensitive_file(user),
        }
    )


def _publish_at_rate(
    platform: Platform, exchange: str, key: str, bodies: Sequence[bytes]
) -> list[float]:
    """Publish at ``RATE`` with confirms. Returns the time before each publication."""
    times = []
    with closing(pika.BlockingConnection(parameters(platform))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        start = time.monotonic()
        for index, body in enumerate(bodies):
            time.sleep(max(0.0, start + index / RATE - time.monotonic()))
            times.append(time.time())
            channel.basic_publish(
                exchange, key, body, pika.BasicProperties(delivery_mode=2), mandatory=True
            )
    return times


@contextmanager
def _bare_path(platform: Platform, committed: list[float]) -> Iterator[None]:
    platform.query("CREATE TABLE IF NOT EXISTS bench (id bigserial PRIMARY KEY, body text)")
    with closing(pika.BlockingConnection(parameters(platform))) as connection:
        for queue in _QUEUES:
            connection.channel().queue_declare(
                queue, durable=True, arguments={"x-queue-type": "quorum"}
            )
    session = psycopg2.connect(platform.postgres.dsn(SUPERUSER))
    session.autocommit = True

    def forward(channel: Any, method: Any, _: Any, body: bytes) -> None:
        channel.basic_publish("", _QUEUES[1], body, pika.BasicProperties(delivery_mode=2))
        channel.basic_ack(method.delivery_tag)

    def store(channel: Any, method: Any, _: Any, body: bytes) -> None:
        with session.cursor() as cursor:
            cursor.execute("INSERT INTO bench (body) VALUES (%s)", (body.decode(),))
        committed.append(time.time())
        channel.basic_ack(method.delivery_tag)

    consumers = [_Consumer(platform, queue, callback)
                 for queue, callback in zip(_QUEUES, (forward, store), strict=True)]  # fmt: skip
    try:
        yield
    finally:
        for consumer in consumers:
            consumer.stop()
        session.close()
        platform.query("DROP TABLE bench")


class _Consumer:
    """A pika consumer on its own thread."""

    def __init__(self, platform: Platform, queue: str, callback: Any) -> None:
        self._connection = pika.BlockingConnection(parameters(platform))
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=100)
        self._channel.basic_consume(queue, callback)
        self._thread = threading.Thread(target=self._channel.start_consuming, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop consuming and close the connection."""
        self._connection.add_callback_threadsafe(self._channel.stop_consuming)
        self._thread.join()
        with suppress(pika.exceptions.AMQPError):
            self._connection.close()


def parameters(platform: Platform) -> pika.URLParameters:
    """Return the parameters of connections to the broker, as administrator."""
    return pika.URLParameters(platform.rabbitmq.url(ADMIN))
