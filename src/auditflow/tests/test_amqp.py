"""Publisher and consumer on a real broker: nothing is lost, and no message takes others with it."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from auditflow.amqp import (
    DeadLetter,
    Delivery,
    Message,
    Publisher,
    dead_letter,
    topology,
)
from auditflow.amqp.consumer import BUSY_BYTES, FULL_BYTES
from auditflow.amqp.publisher import WINDOW
from auditflow.errors import PublishError, Unavailable
from auditflow_local.polling import eventually

from .conftest import Parameters, Running, waiting


def message(name: str, *, key: str = "event.test", size: int = 0) -> Message:
    body = b'{"name":"%s"}' % name.encode() + b" " * size
    return Message(exchange=topology.EXCHANGE, routing_key=key, body=body, message_id=name)


def test_many_threads_publish_and_every_message_is_stored(
    publisher: Publisher, admin: BlockingChannel
) -> None:
    def send(thread: int) -> None:
        for number in range(100):
            publisher.publish([message(f"{thread}-{number}")], timeout=60)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(send, range(16)))
    eventually(lambda: waiting(admin, topology.EVENTS) == 1600)


def test_a_batch_larger_than_the_window_is_stored(
    publisher: Publisher, admin: BlockingChannel
) -> None:
    publisher.publish([message(str(number)) for number in range(WINDOW + 500)], timeout=60)
    eventually(lambda: waiting(admin, topology.EVENTS) == WINDOW + 500)


def test_each_group_of_a_submission_has_its_own_result(
    publisher: Publisher, admin: BlockingChannel
) -> None:
    groups = [
        [message("1"), message("2")],
        [message("3"), message("lost", key="nowhere")],
        [message("4")],
    ]

    first, second, third = publisher.submit_each(groups)

    assert first.result(60) is None
    assert third.result(60) is None
    with pytest.raises(PublishError, match="no queue takes"):
        second.result(60)
    eventually(lambda: waiting(admin, topology.EVENTS) == 4)
    eventually(lambda: not publisher._pending)


def test_submission_fails_while_the_broker_is_unavailable(publisher: Publisher) -> None:
    publisher.close()

    with pytest.raises(PublishError):
        publisher.submit_each([[message("1")]])


def test_a_message_that_no_queue_takes_is_an_error(publisher: Publisher) -> None:
    with pytest.raises(PublishError, match="no queue takes"):
        publisher.publish([message("lost", key="nowhere")], timeout=60)
    publisher.publish([message("found")], timeout=60)  # the publisher goes on


def test_a_missing_exchange_is_an_error_and_the_publisher_reconnects(
    publisher: Publisher,
) -> None:
    wrong = Message(exchange="nowhere", routing_key="x", body=b"", message_id="1")
    with pytest.raises(PublishError):
        publisher.publish([wrong], timeout=60)
    eventually(lambda: publisher.check() is None)
    publisher.publish([message("found")], timeout=60)


def test_a_batch_is_handled_and_acknowledged(
    publisher: Publisher, parameters: Parameters, admin: BlockingChannel
) -> None:
    publisher.publish([message(str(number)) for number in range(1200)], timeout=60)
    seen: list[str | None] = []

    def handler(batch: Sequence[Delivery]) -> list[DeadLetter]:
        seen.extend(delivery.message_id for delivery in batch)
        return []

    running = Running(parameters("auditflow-admin"), handler, publisher)
    eventually(lambda: running.acknowledged == 1200)
    running.consumer.stop()
    assert seen == [str(number) for number in range(1200)]
    assert waiting(admin, topology.EVENTS) == 0


def test_only_the_poison_message_is_dead_lettered(
    publisher: Publisher, parameters: Parameters, admin: BlockingChannel
) -> None:
    publisher.publish([message(str(number)) for number in range(50)], timeout=60)
    done: list[str | None] = []

    def handler(batch: Sequence[Delivery]) -> list[DeadLetter]:
        if any(delivery.message_id == "13" for delivery in batch):
            raise KeyError("thirteen")
        done.extend(delivery.message_id for delivery in batch)
        return []

    running = Running(parameters("auditflow-admin"), handler, publisher)
    eventually(lambda: running.acknowledged == 50)
    running.consumer.stop()
    assert sorted(map(int, filter(None, done))) == [n for n in range(50) if n != 13]
    _, properties, body = admin.basic_get("audit_events.dlq", auto_ack=True)
    assert b'"13"' in body
    assert properties.headers[dead_letter.KIND] == "poison"
    assert properties.headers[dead_letter.REASON] == "KeyError: 'thirteen'"


def test_the_next_batch_is_prepared_while_one_waits_and_none_is_acknowledged_before_it_is_done(
    publisher: Publisher, parameters: Parameters, admin: BlockingChannel
) -> None:
    # Given a handler that waits for a server in its first batch
    publisher.publish([message(str(number)) for number in range(300)], timeout=60)
    prepared: list[list[str | None]] = []
    handled: list[list[str | None]] = []
    answered = threading.Event()

    def prepare(batch: Sequence[Delivery]) -> list[str | None]:
        prepared.append([delivery.message_id for delivery in batch])
        return prepared[-1]

    def handler(names: list[str | None]) -> list[DeadLetter]:
        assert answered.wait(60)
        handled.append(names)
        return []

    running = Running(
        parameters("auditflow-admin"), handler, publisher, prepare=prepare, prefetch=100
    )
    # then two more are prepared meanwhile, and not a fourth; and nothing is acknowledged
    eventually(lambda: len(prepared) == 3)
    eventually(lambda: in_hand(running) == 100)
    assert (len(prepared), handled, running.acknowledged) == (3, [], 0)
    # when the server answers, all are done in their order
    answered.set()
    eventually(lambda: running.acknowledged == 300)
    running.consumer.stop()
    assert handled == prepared
    assert [name for names in handled for name in names] == [str(number) for number in range(300)]
    assert waiting(admin, topology.EVENTS) == 0


def test_messages_that_arrive_while_a_batch_is_handled_are_one_batch(
    publisher: Publisher, parameters: Parameters
) -> None:
    # Given a handler that waits in its first batch
    batches: list[list[str | None]] = []
    started, answered = threading.Event(), threading.Event()

    def handler(batch: Sequence[Delivery]) -> list[DeadLetter]:
        batches.append([delivery.message_id for delivery in batch])
        started.set()
        assert answered.wait(60)
        return []

    running = Running(parameters("auditflow-admin"), handler, publisher)
    publisher.publish([message("first")], timeout=60)
    assert started.wait(60)
    # when others arrive one by one
    for number in range(3):
        publisher.publish([message(str(number))], timeout=60)
    eventually(lambda: in_hand(running) == 4)
    answered.set()
    # then they are handled together
    eventually(lambda: running.acknowledged == 4)
    running.consumer.stop()
    assert batches == [["first"], ["0", "1", "2"]]


def test_a_batch_waits_under_load_until_it_is_full(
    publisher: Publisher, parameters: Parameters, admin: BlockingChannel
) -> None:
    # Given batches of up to 10 messages, and a first batch that is full
    batches: list[int] = []

    def handler(batch: Sequence[Delivery]) -> list[DeadLetter]:
        batches.append(len(batch))
        return []

    publisher.publish([message(str(number)) for number in range(10)], timeout=60)
    running = Running(
        parameters("auditflow-admin"), handler, publisher, prefetch=40, busy_wait_seconds=600
    )
    eventually(lambda: running.acknowledged == 10)
    # when the next messages arrive in two parts
    publisher.publish([message(str(number)) for number in range(6)], timeout=60)
    eventually(lambda: waiting(admin, topology.EVENTS) == 0)
    publisher.publish([message(str(number)) for number in range(4)], timeout=60)
    # then they are one batch
    eventually(lambda: running.acknowledged == 20)
    running.consumer.stop()
    assert batches == [10, 10]


@pytest.mark.parametrize(("size", "batches"), [(BUSY_BYTES, [1, 2]), (FULL_BYTES, [1, 1, 1])])
def test_a_batch_waits_after_a_large_message_until_it_has_enough_bytes(
    publisher: Publisher,
    parameters: Parameters,
    admin: BlockingChannel,
    size: int,
    batches: list[int],
) -> None:
    # Given a first batch with one large message, and a time to wait that is longer than the test
    found: list[int] = []

    def handler(batch: Sequence[Delivery]) -> list[DeadLetter]:
        found.append(len(batch))
        return []

    publisher.publish([message("0", size=size)], timeout=60)
    running = Running(
        parameters("auditflow-admin"), handler, publisher, prefetch=8, busy_wait_seconds=600
    )
    eventually(lambda: running.acknowledged == 1)
    # when two messages arrive one after the other (a batch has at most two messages)
    publisher.publish([message("1", size=size)], timeout=60)
    eventually(lambda: waiting(admin, topology.EVENTS) == 0)
    if size >= FULL_BYTES:
        eventually(lambda: running.acknowledged == 2)
    publisher.publish([message("2", size=size)], timeout=60)
    # then they are one batch, unless the first of them is large enough
    eventually(lambda: running.acknowledged == 3)
    running.consumer.stop()
    assert found == batches


def test_an_incomplete_batch_does_not_delay_the_end(
    publisher: Publisher, parameters: Parameters, admin: BlockingChannel
) -> None:
    publisher.publish([message(str(number)) for number in range(13)], timeout=60)
    running = Running(
        parameters("auditflow-admin"),
        lambda batch: [],
        publisher,
        prefetch=40,
        busy_wait_seconds=600,
    )
    eventually(lambda: running.acknowledged == 10)

    running.consumer.stop()

    eventually(lambda: waiting(admin, topology.EVENTS) + running.acknowledged == 13)


class Two:
    """Steps that record their order, for batches of one message. The first settlements fail."""

    def __init__(self, *, overlap: bool, failures: int = 0, delay: float = 0.0) -> None:
        """``delay`` is the maximum time before the first batch is settled, in seconds."""
        self.log: list[str] = []
        self.failures = failures
        self.prepared: list[int] = []
        self.ready = threading.Event()
        self.steps: dict[str, Any] = {
            "prepare": self.prepare,
            "settle": self.settle,
            "may_overlap": lambda handled, prepared: overlap,
            "settle_delay": lambda number: delay if number == 0 else 0.0,
            "on_idle": self.on_idle,
        }

    def prepare(self, batch: Sequence[Delivery]) -> int:
        number = int(batch[0].message_id or 0)
        self.prepared.append(number)
        if number == 1:
            self.ready.set()
        return number

    def handle(self, number: int) -> int:
        assert self.ready.wait(60)
        self.log.append(f"handle {number}")
        return number

    def on_idle(self) -> None:
        if self.log:
            self.log.append("rest")

    def settle(self, number: int) -> list[DeadLetter]:
        if number == 0 and self.failures:
            self.failures -= 1
            self.log.append("fail 0")
            raise Unavailable("rabbitmq", "it forgot")
        self.log.append(f"settle {number}")
        return []


@pytest.mark.parametrize(
    ("overlap", "failures", "steps"),
    [
        (True, 0, ["handle 0", "handle 1", "settle 0", "settle 1"]),
        (False, 0, ["handle 0", "settle 0", "handle 1", "settle 1"]),
        (True, 1, ["handle 0", "handle 1", "fail 0", "handle 0", "settle 0", "settle 1"]),
        (False, 1, ["handle 0", "fail 0", "handle 0", "settle 0", "handle 1", "settle 1"]),
    ],
)
def test_a_batch_is_handled_before_the_previous_batch_is_settled_if_they_may_overlap(
    publisher: Publisher, parameters: Parameters, overlap: bool, failures: int, steps: list[str]
) -> None:
    # A message that arrives alone is a batch of its own.
    publisher.publish([message("0")], timeout=60)
    two = Two(overlap=overlap, failures=failures)
    running = Running(
        parameters("auditflow-admin"), two.handle, publisher, prefetch=100, **two.steps
    )
    eventually(lambda: two.prepared == [0])
    publisher.publish([message("1")], timeout=60)
    eventually(lambda: running.acknowledged == 2)
    eventually(lambda: two.log[-1:] == ["rest"])
    running.consumer.stop()
    assert [step for step in two.log if step != "rest"] == steps


@pytest.mark.parametrize("overlap", [True, False])
def test_a_batch_whose_settlement_may_wait_is_settled_when_the_next_batch_arrives(
    publisher: Publisher, parameters: Parameters, overlap: bool
) -> None:
    # Given a batch that is handled, and whose settlement may wait for longer than the test
    publisher.publish([message("0")], timeout=60)
    two = Two(overlap=overlap, delay=600)
    two.ready.set()
    running = Running(
        parameters("auditflow-admin"), two.handle, publisher, prefetch=100, **two.steps
    )
    eventually(lambda: two.log[-1:] == ["handle 0"])
    # When the next batch arrives
    publisher.publish([message("1")], timeout=60)
    eventually(lambda: running.acknowledged == 2)
    running.consumer.stop()
    # Then it is handled first, if both may overlap
    first = ["handle 1", "settle 0"] if overlap else ["settle 0", "handle 1"]
    assert [step for step in two.log if step != "rest"] == ["handle 0", *first, "settle 1"]


def test_a_batch_whose_settlement_may_wait_is_settled_when_the_time_is_over(
    publisher: Publisher, parameters: Parameters
) -> None:
    publisher.publish([message("0")], timeout=60)
    two = Two(overlap=True, delay=0.001)
    two.ready.set()
    running = Running(
        parameters("auditflow-admin"), two.handle, publisher, prefetch=100, **two.steps
    )
    eventually(lambda: running.acknowledged == 1)
    running.consumer.stop()


def in_hand(running: Running) -> int:
    name, labels = "auditflow_consumer_in_hand_messages", {"queue": topology.EVENTS}
    return int(running.registry.get_sample_value(name, labels) or 0)


def test_only_the_message_that_cannot_be_prepared_is_dead_lettered(
    publisher: Publisher, parameters: Parameters, admin: BlockingChannel
) -> None:
    publisher.publish([message(str(number)) for number in range(50)], timeout=60)

    def prepare(batch: Sequence[Delivery]) -> list[int]:
        return [1 // (int(delivery.message_id or 0) - 13) for delivery in batch]

    running = Running(parameters("auditflow-admin"), lambda batch: [], publisher, prepare=prepare)
    eventually(lambda: running.acknowledged == 50)
    running.consumer.stop()
    assert waiting(admin, "audit_events.dlq") == 1
    _, properties, body = admin.basic_get("audit_events.dlq", auto_ack=True)
    assert b'"13"' in body
    assert properties.headers[dead_letter.REASON].startswith("ZeroDivisionError")


def test_messages_stay_queued_and_the_state_reports_a_dependency_that_is_down(
    publisher: Publisher, parameters: Parameters
) -> None:
    publisher.publish([message(str(number)) for number in range(10)], timeout=60)
    down, calls = threading.Event(), []
    down.set()

    def handler(batch: Sequence[Delivery]) -> list[DeadLetter]:
        calls.append(len(batch))
        if down.is_set():
            raise Unavailable("redis", "no answer")
        return []

    running = Running(parameters("auditflow-admin"), handler, publisher)
    eventually(lambda: len(calls) >= 3)
    assert running.acknowledged == 0
    assert running.consumer.pause_reason() == "redis is unavailable: no answer"
    assert running.consumer.check() is None
    down.clear()
    eventually(lambda: running.acknowledged == 10)
    assert running.consumer.pause_reason() is None
    running.consumer.stop()


def test_unacknowledged_messages_return_to_the_queue_at_the_stop(
    publisher: Publisher, parameters: Parameters, admin: BlockingChannel
) -> None:
    publisher.publish([message(str(number)) for number in range(10)], timeout=60)

    def handler(batch: Sequence[Delivery]) -> list[DeadLetter]:
        raise Unavailable("redis", "no answer")

    running = Running(parameters("auditflow-admin"), handler, publisher)
    eventually(lambda: "no answer" in (running.consumer.pause_reason() or ""))
    running.consumer.stop()
    eventually(lambda: waiting(admin, topology.EVENTS) == 10)
    assert running.consumer.alive() is None


def test_no_message_is_lost_when_the_broker_restarts(
    rabbitmq: Any, publisher: Publisher, parameters: Parameters
) -> None:
    # Given a publisher and a consumer
    seen: set[str | None] = set()

    def handler(batch: Sequence[Delivery]) -> list[DeadLetter]:
        seen.update(delivery.message_id for delivery in batch)
        return []

    running = Running(parameters("auditflow-admin"), handler, publisher)
    confirmed = set()
    # when it is killed in the middle of publishing, and starts again
    killer = threading.Timer(0.3, rabbitmq.kill)
    killer.start()
    for number in range(100_000):
        try:
            publisher.publish([message(str(number))], timeout=60)
        except PublishError:
            break
        confirmed.add(str(number))
    killer.join()
    assert publisher.check() is not None
    eventually(lambda: running.consumer.check() is not None)
    rabbitmq.start()
    # then both come back by themselves, and every confirmed message arrives
    eventually(lambda: publisher.check() is None and running.consumer.check() is None)
    publisher.publish([message("after")], timeout=60)
    eventually(lambda: confirmed | {"after"} <= seen)
    assert confirmed
    running.consumer.stop()
