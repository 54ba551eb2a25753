"""What the tests of the library share: a broker with nothing in it, and ways to look."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from auditflow.amqp import Publisher, topology

Parameters = Callable[[str], pika.ConnectionParameters]


@pytest.fixture
def parameters(rabbitmq: Any) -> Parameters:
    """How a user connects to the broker."""
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
    one = Publisher(parameters("auditflow-admin"))
    one.start()
    eventually(lambda: one.check() is None)
    yield one
    one.close()


def eventually(holds: Callable[[], object], *, seconds: float = 20) -> None:
    """Wait until something holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
