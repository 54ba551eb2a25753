"""A subscription to a real broker: its deliveries, and its error when the broker ends it."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import (
    AMQPHeartbeatTimeout,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ConsumerCancelled,
    ProbableAuthenticationError,
)

from auditflow.amqp import Delivery, topology
from auditflow.amqp.subscription import Subscription

from .conftest import Parameters

QUEUE = "of-this-test"


@pytest.fixture
def queue(admin: BlockingChannel) -> Iterator[str]:
    admin.queue_declare(QUEUE)
    yield QUEUE
    admin.queue_delete(QUEUE)


@pytest.fixture
def subscription(parameters: Parameters, queue: str) -> Iterator[Subscription]:
    opened = Subscription(parameters("auditflow-admin"), queue, prefetch=10)
    yield opened
    opened.close()


def receive(subscription: Subscription, number: int) -> list[Delivery]:
    received: list[Delivery] = []
    while len(received) < number:
        received += subscription.poll(20)
    return received


def impatient(parameters: Parameters) -> pika.ConnectionParameters:
    known = parameters("auditflow-admin")
    known.heartbeat = 1
    return known


def test_a_subscription_receives_messages_with_their_properties_up_to_its_prefetch(
    subscription: Subscription, admin: BlockingChannel
) -> None:
    for number in range(11):
        properties = pika.BasicProperties(message_id=str(number), headers={"n": number})
        admin.basic_publish("", QUEUE, b"x" * 200_000, properties)
    received = receive(subscription, 10)
    assert [(delivery.message_id, delivery.headers) for delivery in received] == [
        (str(number), {"n": number}) for number in range(10)
    ]
    assert {len(delivery.body) for delivery in received} == {200_000}
    assert subscription.poll(0.1) == []
    subscription.acknowledge(received[-1].tag)
    assert [delivery.message_id for delivery in receive(subscription, 1)] == ["10"]


def test_only_unacknowledged_messages_are_redelivered_after_the_end(
    parameters: Parameters, queue: str, admin: BlockingChannel
) -> None:
    first = Subscription(parameters("auditflow-admin"), queue, prefetch=10)
    for number in range(3):
        admin.basic_publish("", queue, str(number).encode())
    first.acknowledge(receive(first, 3)[1].tag)
    first.close()
    second = Subscription(parameters("auditflow-admin"), queue, prefetch=10)
    received = receive(second, 1)
    second.close()
    assert [(delivery.body, delivery.redelivered) for delivery in received] == [(b"2", True)]


def test_it_wakes(subscription: Subscription) -> None:
    threading.Timer(0.1, subscription.wake).start()
    assert subscription.poll(600) == []


def test_it_waits_without_reading_longer_than_the_heartbeats(
    parameters: Parameters, queue: str, admin: BlockingChannel
) -> None:
    with closing(Subscription(impatient(parameters), queue, prefetch=10)) as subscription:
        admin.basic_publish("", queue, b"waits")
        subscription.wait(4.0)
        deliveries = receive(subscription, 1)
    assert [delivery.body for delivery in deliveries] == [b"waits"]


def test_a_poll_for_many_bytes_waits_until_they_have_arrived(
    subscription: Subscription, admin: BlockingChannel
) -> None:
    # Given 9 messages, which arrive one by one
    def publish() -> None:
        for number in range(9):
            admin.basic_publish("", QUEUE, b"%d" % number + b"x" * 10_000)

    publisher = threading.Thread(target=publish)
    publisher.start()
    # When a poll waits for the size of 8 messages, without a practical limit of the time
    deliveries = subscription.poll(600, enough_bytes=80_000)
    publisher.join()
    # Then it has nearly all of them, and a poll with a short time has the others
    assert len(deliveries) >= 7
    while len(deliveries) < 9:
        deliveries += subscription.poll(0.01, enough_bytes=80_000)
    assert [delivery.body[:1] for delivery in deliveries] == [b"%d" % n for n in range(9)]


def test_a_subscription_that_waited_for_many_bytes_ends_in_order_at_once(
    parameters: Parameters, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a broker's answer to the closing that is awaited for longer than the test
    monkeypatch.setattr("auditflow.amqp.subscription.CLOSING_SECONDS", 600.0)
    opened = Subscription(parameters("auditflow-admin"), queue, prefetch=10)
    opened._set_enough_bytes(100_000)
    # Then the answer is read although it is short
    opened.close()


def test_a_wait_ends_when_it_is_woken(subscription: Subscription) -> None:
    threading.Timer(0.1, subscription.wake).start()
    subscription.wait(600)


def test_a_wrong_password_is_reported(parameters: Parameters, queue: str) -> None:
    known = parameters("auditflow-admin")
    known.credentials = pika.PlainCredentials("auditflow-admin", "wrong")
    with pytest.raises(ProbableAuthenticationError, match="ACCESS_REFUSED"):
        Subscription(known, queue, prefetch=10)


def test_a_missing_queue_is_reported(parameters: Parameters) -> None:
    with pytest.raises(ChannelClosedByBroker, match="no queue 'nowhere'"):
        Subscription(parameters("auditflow-admin"), "nowhere", prefetch=10)


def test_a_deleted_queue_is_reported(subscription: Subscription, admin: BlockingChannel) -> None:
    admin.queue_delete(QUEUE)
    with pytest.raises(ConsumerCancelled, match=QUEUE):
        receive(subscription, 1)


def test_an_unknown_delivery_tag_is_reported(subscription: Subscription) -> None:
    subscription.acknowledge(99)
    with pytest.raises(ChannelClosedByBroker, match="unknown delivery tag"):
        receive(subscription, 1)


def test_the_error_has_the_reason_why_the_broker_closed_the_connection(
    parameters: Parameters, rabbitmq: Any
) -> None:
    closed = Subscription(parameters("auditflow-admin"), topology.EVENTS, prefetch=10)
    rabbitmq.ctl("close_all_connections", "maintenance")
    with pytest.raises(ConnectionClosedByBroker, match="maintenance"):
        receive(closed, 1)
    closed.close()


def test_heartbeats_keep_a_quiet_connection(
    parameters: Parameters, queue: str, admin: BlockingChannel
) -> None:
    # Given a broker that gives up on who is silent for two seconds
    quiet = Subscription(impatient(parameters), queue, prefetch=10)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        assert quiet.poll(5) == []
    # then it is received still
    admin.basic_publish("", queue, b"at last")
    assert [delivery.body for delivery in receive(quiet, 1)] == [b"at last"]
    quiet.close()


def test_a_silent_broker_is_treated_as_disconnected(
    parameters: Parameters, queue: str, rabbitmq: Any
) -> None:
    silent = Subscription(impatient(parameters), queue, prefetch=10)
    os.kill(rabbitmq.pid, signal.SIGSTOP)
    try:
        with pytest.raises(AMQPHeartbeatTimeout, match="silent for 2 s"):
            receive(silent, 1)
        silent.close()
    finally:
        os.kill(rabbitmq.pid, signal.SIGCONT)
