"""Every message that a broker can deliver is handled or dead-lettered; none blocks the queue."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from auditflow.amqp import DeadLetter, Delivery, Publisher, dead_letter, limits, topology
from auditflow.contract import acceptance
from auditflow.telemetry import tracing
from auditflow_local.polling import eventually

from . import amqp_values
from .amqp_values import KNOWN_BAD, RawProperties
from .conftest import Parameters, Running, waiting


@pytest.fixture(autouse=True)
def short_logs() -> Iterator[None]:
    """Tracebacks with the values of large messages take seconds."""
    with structlog.testing.capture_logs():
        yield


def read_all(channel: BlockingChannel, queue: str) -> list[tuple[Any, bytes]]:
    found: list[tuple[Any, bytes]] = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return found
        found.append((properties, body))


def use_properties(batch: Sequence[Delivery]) -> Sequence[Delivery]:
    """Read everything that services read."""
    for delivery in batch:
        tracing.carrier(delivery.headers)
        acceptance.age_seconds(delivery.headers)
        for text in (delivery.message_id, delivery.correlation_id):
            assert text is None or len(text.encode()) <= limits.SHORT_STRING_BYTES
    return batch


def refuse(batch: Sequence[Delivery]) -> list[DeadLetter]:
    """Dead-letter every message as a violation of the contract."""
    return [
        DeadLetter(
            body=delivery.body,
            reason="refused \ud800",
            kind="contract",
            message_id=delivery.message_id,
            correlation_id=delivery.correlation_id,
            headers=delivery.headers,
        )
        for delivery in batch
    ]


def fail(batch: Sequence[Delivery]) -> list[DeadLetter]:
    raise KeyError(batch[0].message_id)


@pytest.mark.parametrize(("handle", "reason"), [(refuse, "refused ?"), (fail, "KeyError: ")])
def test_known_bad_messages_become_dead_letters_with_their_body(
    publisher: Publisher, parameters: Parameters, admin: BlockingChannel, handle: Any, reason: str
) -> None:
    admin.confirm_delivery()
    for name, properties in KNOWN_BAD.items():
        admin.basic_publish("", topology.EVENTS, name.encode(), RawProperties(properties))
    running = Running(parameters("auditflow-admin"), handle, publisher, prepare=use_properties)
    eventually(lambda: running.acknowledged == len(KNOWN_BAD))
    running.consumer.stop()
    assert waiting(admin, topology.EVENTS) == 0
    letters = read_all(admin, topology.QUEUES[0].dead_letters)
    assert sorted(body.decode() for _, body in letters) == sorted(KNOWN_BAD)
    for properties, _ in letters:
        assert properties.headers[dead_letter.QUEUE] == topology.EVENTS
        assert properties.headers[dead_letter.REASON].startswith(reason)
    dropped = {body.decode() for p, body in letters if dead_letter.DROPPED_HEADERS in p.headers}
    assert {"a header of 130,800 bytes", "a double of 1e300"} <= dropped


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.tuples(amqp_values.properties, st.binary(max_size=2000), st.booleans()),
        min_size=1,
        max_size=20,
    )
)
def test_any_sequence_of_messages_ends_with_an_empty_queue(
    publisher: Publisher,
    parameters: Parameters,
    admin: BlockingChannel,
    messages: list[tuple[bytes, bytes, bool]],
) -> None:
    # Given messages with any properties and bodies, of which some fail
    bad = {body for _, body, fails in messages if fails}
    admin.confirm_delivery()
    for properties, body, _ in messages:
        admin.basic_publish("", topology.EVENTS, body, RawProperties(properties))
    handled: list[bytes] = []

    def handle(batch: Sequence[Delivery]) -> list[DeadLetter]:
        if any(delivery.body in bad for delivery in batch):
            raise ValueError(batch[0].headers)
        handled.extend(delivery.body for delivery in batch)
        return []

    running = Running(parameters("auditflow-admin"), handle, publisher, prepare=use_properties)
    # when they are consumed
    eventually(lambda: running.acknowledged >= len(messages))
    running.consumer.stop()
    # then the queue is empty, and each message was handled or is a dead letter
    assert running.consumer.alive() is None
    assert waiting(admin, topology.EVENTS) == 0
    letters = [body for _, body in read_all(admin, topology.QUEUES[0].dead_letters)]
    assert sorted(letters) == sorted(body for _, body, _ in messages if body in bad)
    assert set(handled) == {body for _, body, _ in messages if body not in bad}


def test_an_exception_in_the_overlap_step_loses_only_the_overlap(
    publisher: Publisher, parameters: Parameters, admin: BlockingChannel
) -> None:
    for number in range(100):
        admin.basic_publish("", topology.EVENTS, b"%d" % number)
    gate = threading.Event()
    prepared: list[int] = []

    def prepare(batch: Sequence[Delivery]) -> Sequence[Delivery]:
        prepared.append(len(batch))
        if len(prepared) == 2:
            gate.set()
        return batch

    def handle(batch: Sequence[Delivery]) -> Sequence[Delivery]:
        assert gate.wait(60)
        return batch

    def overlap(handled: Any, following: Any) -> bool:
        raise KeyError("a bug")

    running = Running(
        parameters("auditflow-admin"), handle, publisher,
        prefetch=40, prepare=prepare, may_overlap=overlap, settle=lambda batch: [],
    )  # fmt: skip
    eventually(lambda: running.acknowledged == 100)
    assert running.consumer.alive() is None
    running.consumer.stop()


@pytest.mark.parametrize("step", ["on_idle", "on_poison"])
def test_a_failed_thread_is_reported_by_liveness_and_readiness(
    publisher: Publisher, parameters: Parameters, admin: BlockingChannel, step: str
) -> None:
    def end(*_: Any) -> None:
        raise SystemExit("out of memory")

    options: dict[str, Any] = {step: end}
    if step == "on_poison":
        admin.basic_publish("", topology.EVENTS, b"{}")
    running = Running(parameters("auditflow-admin"), fail, publisher, **options)
    eventually(lambda: "SystemExit: out of memory" in (running.consumer.alive() or ""))
    assert running.consumer.check() == running.consumer.alive()
    running.consumer.stop()
    assert running.consumer.alive() is not None


def test_the_broker_refuses_a_message_over_its_maximum(admin: BlockingChannel) -> None:
    """Without a maximum, a few messages of 128 MiB would fill the memory of a consumer."""
    admin.confirm_delivery()
    events = topology.QUEUES[0].name
    admin.basic_publish("", events, bytes(topology.MAX_MESSAGE_BYTES))
    with pytest.raises(ChannelClosedByBroker, match="larger than configured max size"):
        admin.basic_publish("", events, bytes(topology.MAX_MESSAGE_BYTES + 1))


def test_all_configurations_have_the_maximum() -> None:
    root = Path(__file__).parents[3]
    line = f"max_message_size = {topology.MAX_MESSAGE_BYTES}"
    for file in ("apps/data/rabbitmq/base/rabbitmq.conf", "apps/data/rabbitmq/ha/cluster.yaml"):
        assert line in [text.strip() for text in (root / file).read_text("utf-8").splitlines()]
