"""Fixtures of the tests of the library: a broker with empty queues, and consumers."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError
from prometheus_client import CollectorRegistry

from auditflow.amqp import Consumer, ConsumerMetrics, DeadLetter, Publisher, Steps, topology
from auditflow_local.polling import eventually

from .served import Certificates, Serve, Served

Parameters = Callable[[str], pika.ConnectionParameters]


@pytest.fixture
def parameters(rabbitmq: Any) -> Parameters:
    """The connection parameters of a user of the broker."""
    return lambda user: pika.URLParameters(rabbitmq.url(user))


@pytest.fixture
def admin(rabbitmq: Any, parameters: Parameters) -> Iterator[BlockingChannel]:
    """The administrator's channel, with all queues empty."""
    for queue in topology.QUEUES:
        rabbitmq.empty(queue.name, queue.dead_letters)
    connection = pika.BlockingConnection(parameters("auditflow-admin"))
    channel = connection.channel()
    yield channel
    with suppress(AMQPError):  # the test may have killed the broker
        connection.close()


@pytest.fixture
def publisher(parameters: Parameters, admin: BlockingChannel) -> Iterator[Publisher]:
    """A publisher that may do what all services may do."""
    new_publisher = Publisher(parameters("auditflow-admin"))
    new_publisher.start()
    eventually(lambda: new_publisher.check() is None)
    yield new_publisher
    new_publisher.close()


def waiting(channel: BlockingChannel, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


class Running:
    """A running consumer of events."""

    def __init__(
        self,
        parameters: Any,
        handler: Callable[[Any], Any],
        publisher: Publisher,
        *,
        prefetch: int = 500,
        busy_wait_seconds: float = 0.0,
        on_poison: Callable[[DeadLetter], None] = lambda dead_letter: None,
        **steps: Any,
    ) -> None:
        self.registry = CollectorRegistry()
        self.consumer = Consumer(
            parameters,
            topology.EVENTS,
            Steps(handle=handler, **steps),
            publisher=publisher,
            service="test",
            metrics=ConsumerMetrics(self.registry),
            prefetch=prefetch,
            busy_wait_seconds=busy_wait_seconds,
            on_poison=on_poison,
        )
        self.consumer.start()

    @property
    def acknowledged(self) -> int:
        name, labels = "auditflow_consumed_messages_total", {"queue": topology.EVENTS}
        return int(self.registry.get_sample_value(name, labels) or 0)


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[Served] = []

    def start(*arguments: str, **variables: str) -> Served:
        started.append(Served(*arguments, **variables))
        return started[-1]

    yield start
    for served in started:
        served.stop()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)
