"""Guarantees of delivery that only a full queue, a failing message or a lost connection shows."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from auditflow.amqp import DeadLetter, Delivery, Message, Publisher, dead_letter_queue, topology
from auditflow.amqp.dead_letter_queue import Entry, Selection
from auditflow.amqp.topology import Queue
from auditflow.errors import PublishError
from auditflow_local.polling import eventually

from .conftest import Parameters, Running, waiting

#: A queue of this test and its dead-letter queue.
SMALL = Queue("small-queue-of-this-test", "unused")
CAPACITY = 5


def declare_full(channel: BlockingChannel, **arguments: Any) -> None:
    """Declare the queue so that it rejects messages above its capacity."""
    channel.queue_declare(
        SMALL.name,
        durable=True,
        arguments={"x-max-length": CAPACITY, "x-overflow": "reject-publish", **arguments},
    )


@pytest.fixture
def small(admin: BlockingChannel) -> Iterator[BlockingChannel]:
    """The administrator's channel. The queues of the test are deleted at the end."""
    admin.queue_declare(SMALL.dead_letters, durable=True)
    yield admin
    admin.queue_delete(SMALL.name)
    admin.queue_delete(SMALL.dead_letters)


def message(name: str, queue: str = SMALL.name) -> Message:
    return Message(exchange="", routing_key=queue, body=b"{}", message_id=name)


def test_a_message_that_a_full_queue_rejects_is_not_reported_as_stored(
    publisher: Publisher, small: BlockingChannel
) -> None:
    declare_full(small)
    # given groups of messages that exceed the capacity of a queue
    groups = [[message(f"{group}-{number}") for number in range(2)] for group in range(4)]
    futures = publisher.submit_each(groups)
    # then exactly the groups that the queue stored completely are reported as stored
    errors = [future.exception(20) for future in futures]
    assert errors[:2] == [None, None]
    for error in errors[2:]:
        assert isinstance(error, PublishError)
        assert "its queue is full" in str(error)
    assert waiting(small, SMALL.name) == CAPACITY
    # and a call for one message is an error until the queue has room again
    with pytest.raises(PublishError, match="its queue is full"):
        publisher.publish([message("rejected")], timeout=60)
    small.queue_purge(SMALL.name)
    publisher.publish([message("stored")], timeout=60)
    assert waiting(small, SMALL.name) == 1


def test_a_message_is_not_acknowledged_if_its_dead_letter_is_rejected(
    publisher: Publisher, parameters: Parameters, small: BlockingChannel
) -> None:
    # given a consumer whose dead letters are rejected, because their queue is full
    class FullPublisher(Publisher):
        def publish(self, messages: Sequence[Message], *, timeout: float) -> None:
            rejected = [message(it.message_id) for it in messages]
            super().publish(rejected if full.is_set() else messages, timeout=timeout)

    full = threading.Event()
    full.set()
    declare_full(small)
    publisher.publish([message(str(number)) for number in range(CAPACITY)], timeout=60)
    full_publisher = FullPublisher(parameters("auditflow-admin"))
    full_publisher.start()
    eventually(lambda: full_publisher.check() is None)
    small.basic_publish("", topology.EVENTS, b"poison")

    def handler(batch: Sequence[Delivery]) -> list[DeadLetter]:
        raise KeyError("poison")

    running = Running(parameters("auditflow-admin"), handler, full_publisher)
    # when the message failed, then it is not acknowledged while its dead letter is not stored
    eventually(lambda: "its queue is full" in (running.consumer.pause_reason() or ""))
    assert running.acknowledged == 0
    assert waiting(small, "audit_events.dlq") == 0
    # and both happen when the queue has room
    full.clear()
    eventually(lambda: running.acknowledged == 1)
    running.consumer.stop()
    full_publisher.close()
    assert waiting(small, "audit_events.dlq") == 1


@pytest.fixture
def three_dead(publisher: Publisher, small: BlockingChannel) -> None:
    publisher.publish(
        [message(f"m{number}", SMALL.dead_letters) for number in range(3)], timeout=60
    )


def replay(parameters: Parameters, **options: Any) -> dead_letter_queue.Replayed:
    """Replay the dead letters on an own connection, which is closed afterwards."""
    connection = pika.BlockingConnection(parameters("auditflow-admin"))
    try:
        return dead_letter_queue.replay(
            connection.channel(), SMALL, selection=Selection(), **options
        )
    finally:
        connection.close()


@pytest.mark.usefixtures("three_dead")
def test_a_replay_into_a_full_queue_keeps_the_dead_letters(
    parameters: Parameters, publisher: Publisher, small: BlockingChannel
) -> None:
    # given a queue with room for one message
    declare_full(small)
    publisher.publish([message(str(number)) for number in range(CAPACITY - 1)], timeout=60)
    # when three dead letters are replayed
    with pytest.raises(PublishError, match="does not accept"):
        replay(parameters)
    # then one is in the queue, and the others still are dead letters
    assert waiting(small, SMALL.name) == CAPACITY
    eventually(lambda: waiting(small, SMALL.dead_letters) == 2)


@pytest.mark.usefixtures("three_dead")
def test_a_replay_into_a_missing_queue_keeps_the_dead_letters(
    parameters: Parameters, small: BlockingChannel
) -> None:
    with pytest.raises(PublishError, match="does not accept"):
        replay(parameters)
    eventually(lambda: waiting(small, SMALL.dead_letters) == 3)


@pytest.mark.usefixtures("three_dead")
def test_a_replay_ends_although_each_message_becomes_a_dead_letter_again(
    parameters: Parameters, small: BlockingChannel
) -> None:
    # given a queue that dead-letters each message at once
    small.queue_declare(
        SMALL.name,
        durable=True,
        arguments={
            "x-message-ttl": 0,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": SMALL.dead_letters,
        },
    )
    replayed: list[str | None] = []

    def record(entry: Entry) -> None:
        replayed.append(entry.message_id)
        assert len(replayed) <= 3, "the replay does not end"
        eventually(lambda: waiting(small, SMALL.name) == 0)

    # when they are replayed, then each is replayed once
    result = replay(parameters, progress=record)
    assert (result.replayed, replayed) == (3, ["m0", "m1", "m2"])
    eventually(lambda: waiting(small, SMALL.dead_letters) == 3)


@pytest.mark.parametrize(
    ("failures", "calls", "dead"), [(1, 2, False), (2, 3, False), (3, 3, True), (99, 3, True)]
)
def test_a_message_is_processed_three_times_before_it_becomes_a_dead_letter(
    publisher: Publisher,
    parameters: Parameters,
    admin: BlockingChannel,
    failures: int,
    calls: int,
    dead: bool,
) -> None:
    """docs/how-to/dead-letters.md: poison is a message whose processing failed three times."""
    # given a message that fails the given number of times when it is processed alone
    names = [str(number) for number in range(10)]
    publisher.publish([message(name, topology.EVENTS) for name in names], timeout=60)
    alone: Counter[str | None] = Counter()
    handled: set[str | None] = set()

    def handler(batch: Sequence[Delivery]) -> list[DeadLetter]:
        if len(batch) > 1:
            raise KeyError("a bug that concerns the batch")
        (delivery,) = batch
        alone[delivery.message_id] += 1
        if delivery.message_id == "5" and alone["5"] <= failures:
            raise KeyError("five")
        handled.add(delivery.message_id)
        return []

    running = Running(parameters("auditflow-admin"), handler, publisher)
    # when all messages are processed
    eventually(lambda: running.acknowledged == 10)
    running.consumer.stop()
    # then it was processed at most three times, and is a dead letter only after that
    if alone["5"] == 0:  # each message arrived alone
        pytest.fail("no message was processed alone")
    assert alone["5"] in (calls, calls + 1)  # once more if it was the only message of its batch
    assert ("5" in handled) is not dead
    assert waiting(admin, "audit_events.dlq") == int(dead)
    assert handled == set(names) - ({"5"} if dead else set())


def test_messages_of_a_lost_connection_are_not_processed_from_the_buffer(
    rabbitmq: Any, publisher: Publisher, parameters: Parameters, admin: BlockingChannel
) -> None:
    # given three batches in flight, and further messages in the consumer's buffer
    names = [str(number) for number in range(100)]
    publisher.publish([message(name, topology.EVENTS) for name in names], timeout=60)
    prepared: list[list[str | None]] = []
    handled: Counter[str | None] = Counter()
    gate = threading.Event()

    def prepare(batch: Sequence[Delivery]) -> Sequence[Delivery]:
        prepared.append([delivery.message_id for delivery in batch])
        return batch

    def handler(batch: Sequence[Delivery]) -> list[DeadLetter]:
        assert gate.wait(60)
        handled.update(delivery.message_id for delivery in batch)
        return []

    running = Running(
        parameters("auditflow-admin"), handler, publisher, prefetch=100, prepare=prepare
    )
    name, labels = "auditflow_consumer_in_hand_messages", {"queue": topology.EVENTS}
    eventually(lambda: running.registry.get_sample_value(name, labels) == 100)
    eventually(lambda: len(prepared) == 3)
    buffered = set(names).difference(*prepared)
    assert buffered
    # when the connection is lost, and the consumer is connected again
    rabbitmq.ctl("close_all_connections", "maintenance")
    eventually(lambda: len(prepared) > 3)
    gate.set()
    # then all messages are handled, those of the old buffer only from the new connection
    eventually(lambda: set(handled) == set(names))
    eventually(lambda: running.acknowledged >= 100)
    running.consumer.stop()
    assert {handled[name] for name in buffered} == {1}
    assert running.acknowledged == 100
    with pika.BlockingConnection(parameters("auditflow-admin")) as connection:
        assert waiting(connection.channel(), topology.EVENTS) == 0
