"""A consumer of large messages keeps only some of them in memory while its work waits."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from auditflow.amqp import Delivery, Publisher, topology
from auditflow.amqp.consumer import MAX_BUFFER_BYTES
from auditflow.amqp.subscription import Subscription
from auditflow_local.polling import eventually

from .conftest import Parameters, Running

MESSAGES = 40


def test_large_messages_stay_in_the_queue_while_the_work_waits(
    publisher: Publisher,
    parameters: Parameters,
    admin: BlockingChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given more large messages than the limit, and work that waits for a server
    for _ in range(MESSAGES):
        admin.basic_publish("", topology.EVENTS, bytes(2**20))
    gate, full = threading.Event(), threading.Event()
    buffered: list[int] = []
    poll, wait = Subscription.poll, Subscription.wait

    def recorded_poll(subscription: Subscription, seconds: float) -> list[Delivery]:
        deliveries = poll(subscription, seconds)
        buffered.append(sum(len(delivery.body) for delivery in running.consumer._buffer))
        return deliveries

    def recorded_wait(subscription: Subscription, seconds: float) -> None:
        full.set()
        wait(subscription, seconds)

    def handle(batch: Sequence[Delivery]) -> list[Any]:
        assert gate.wait(60)
        return []

    monkeypatch.setattr(Subscription, "poll", recorded_poll)
    monkeypatch.setattr(Subscription, "wait", recorded_wait)
    # when they are consumed
    running = Running(parameters("auditflow-admin"), handle, publisher)
    eventually(full.is_set)
    gate.set()
    eventually(lambda: running.acknowledged == MESSAGES)
    running.consumer.stop()
    # then the consumer read nothing while the limit was reached
    assert max(buffered) < MAX_BUFFER_BYTES
