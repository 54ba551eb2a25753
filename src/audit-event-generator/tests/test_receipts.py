"""Labels and receipts: the archive can compare what was confirmed with what it stored."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from audit_event_generator.event_publisher import EventPublisher
from audit_event_generator.ingest.batch import RefusedRecord
from audit_event_generator.ingest.encoding import EncodedEvent
from audit_event_generator.metrics import Metrics
from audit_event_generator.receipts import AcceptedMessages, ReceiptSender
from auditflow.amqp import Message, topology
from auditflow.contract import ledger
from auditflow.contract.ledger import Entry, Run
from auditflow.errors import PublishError
from auditflow_local.polling import eventually

from .conftest import RecordingBroker

HOUR_MS = 3_600_000


def events(count: int) -> list[EncodedEvent]:
    return [EncodedEvent(f"e{number}", b"{}") for number in range(count)]


def test_confirmed_messages_are_in_the_receipt(
    broker: RecordingBroker, registry: CollectorRegistry
) -> None:
    accepted = AcceptedMessages()
    publisher = EventPublisher(broker, Metrics(registry), accepted)
    publisher.publish("okta", events(250))
    publisher.publish("okta", events(1))
    labels = [ledger.label_of(message.headers or {}) for message in broker.messages]
    assert [(label.number, label.events) for label in labels if label] == [
        (0, 100), (1, 100), (2, 50), (3, 1),
    ]  # fmt: skip
    assert labels[0] is not None
    receipt = accepted.take(confirmed_ms=5)
    assert receipt is not None
    assert (receipt.producer, receipt.confirmed_ms) == (accepted.producer, 5)
    runs = (Run(0, 2, 100), Run(2, 3, 50), Run(3, 4, 1))
    assert receipt.entries == (Entry("okta", labels[0].hour, runs),)
    assert accepted.take(confirmed_ms=6) is None


def test_messages_without_a_confirm_are_in_no_receipt(
    broker: RecordingBroker, registry: CollectorRegistry
) -> None:
    accepted = AcceptedMessages()
    publisher = EventPublisher(broker, Metrics(registry), accepted)
    broker.confirms = False
    with pytest.raises(PublishError):
        publisher.publish("okta", events(1))
    broker.confirms = True
    publisher.publish("okta", events(1))
    receipt = accepted.take(confirmed_ms=0)
    assert receipt is not None
    assert receipt.entries[0].runs == (Run(1, 2, 1),)


async def _publish_refused(publisher: EventPublisher) -> None:
    refused = [RefusedRecord("line 1", "not JSON", b"{")]
    await publisher.publish_async("okta", events(1), refused=refused)


def test_refused_records_are_accepted_messages(
    broker: RecordingBroker, registry: CollectorRegistry
) -> None:
    accepted = AcceptedMessages()
    asyncio.run(_publish_refused(EventPublisher(broker, Metrics(registry), accepted)))
    labels = {
        message.routing_key: ledger.label_of(message.headers or {}) for message in broker.messages
    }
    quarantined = labels[topology.QUARANTINE_KEY]
    assert quarantined is not None
    assert (quarantined.number, quarantined.events) == (1, 1)
    receipt = accepted.take(confirmed_ms=0)
    assert receipt is not None
    # The event that reports the refusal is in the message of the other event.
    assert receipt.entries[0].runs == (Run(0, 1, 2), Run(1, 2, 1))


def test_each_hour_and_each_source_is_numbered_alone() -> None:
    accepted = AcceptedMessages("0123456789abcdef")
    numbers = [
        accepted.labels(source, [1], accepted_ms=hour * HOUR_MS)[0].number
        for source, hour in (("okta", 5), ("okta", 5), ("api", 5), ("okta", 6), ("okta", 5))
    ]
    assert numbers == [0, 1, 0, 0, 2]


def test_concurrent_labels_are_different() -> None:
    accepted = AcceptedMessages()
    numbers: list[int] = []

    def add() -> None:
        for _ in range(200):
            numbers.extend(label.number for label in accepted.labels("a", [1, 1], accepted_ms=0))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1600))


class FailingBroker:
    """A broker that does not confirm the first ``failures`` messages."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.messages: list[Message] = []

    def publish(self, messages: Sequence[Message], *, timeout: float) -> None:
        self.messages += messages
        if len(self.messages) <= self.failures:
            raise PublishError("no confirm")


def test_a_receipt_is_sent_again_unchanged_until_it_is_confirmed() -> None:
    accepted, broker = AcceptedMessages(), FailingBroker(failures=2)
    sender = ReceiptSender(accepted, broker, interval_seconds=0.01)
    sender.start()
    accepted.confirm(accepted.labels("okta", [3], accepted_ms=0))
    eventually(lambda: len(broker.messages) == 3)
    sender.stop()
    assert len({message.body for message in broker.messages}) == 1
    assert ledger.decode_receipt(broker.messages[0].body).entries[0].runs == (Run(0, 1, 3),)


def test_the_last_receipt_is_sent_at_the_end() -> None:
    accepted, broker = AcceptedMessages(), FailingBroker(failures=0)
    sender = ReceiptSender(accepted, broker, interval_seconds=3600)
    sender.start()
    accepted.confirm(accepted.labels("okta", [1], accepted_ms=0))
    sender.stop()
    assert len(broker.messages) == 1
