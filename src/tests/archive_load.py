"""A constant load of batches for the archive, as the analysis and the ingest publish them."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import msgspec
import pika
from pika.exceptions import AMQPError
from src.tests.written_archive import ACCEPTED_MS, event

from auditflow.amqp import topology
from auditflow.amqp.delivery import encode_properties
from auditflow.contract import acceptance, archive, identity, ledger
from auditflow.contract.archive import ArchivedMessage, Note
from auditflow.contract.ledger import HOUR_MS, Entry, Label, Receipt, runs_of

EVENTS_PER_SECOND: Final = 5_000
_EVENTS_PER_BATCH: Final = 200
_BATCHES_PER_RECEIPT: Final = 10
_PRODUCER: Final = "0123456789abcdef"
_HOUR: Final = ACCEPTED_MS // HOUR_MS
_WAIT_SECONDS: Final = 60.0


class Load(threading.Thread):
    """Publishes 5,000 events per second until ``end``. Each batch is published until it is stored.

    Some batches and receipts are published twice. Some events are late, staged or clamped, and some
    records are refused.
    """

    def __init__(self, rabbitmq: Any, seed: int) -> None:
        super().__init__(daemon=True)
        self._rabbitmq = rabbitmq
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self._progress = threading.Condition()
        self._published = 0
        self._messages = 0
        self._unreceipted: dict[int, int] = {}
        #: What the archive must contain: identifiers of events and of refused records.
        self.accepted: set[str] = set()
        self.refused = 0
        self.late = 0
        self.staged = 0
        self.clamped = 0

    def wait(self, batches: int) -> None:
        """Wait until some more batches are stored by the broker."""
        with self._progress:
            aim = self._published + batches
            assert self._progress.wait_for(lambda: self._published >= aim, _WAIT_SECONDS)

    def end(self) -> None:
        """End the load after its last receipt."""
        self._ending.set()
        self.join(_WAIT_SECONDS)
        assert not self.is_alive()

    def run(self) -> None:
        began, number = time.monotonic(), 0
        connection: Iterator[Any] = self._channels()
        channel = next(connection)
        while not self._ending.is_set():
            number += 1
            due = began + number * _EVENTS_PER_BATCH / EVENTS_PER_SECOND
            self._ending.wait(due - time.monotonic())
            body = self._batch()
            for _ in range(self._random.choice((1, 1, 1, 2))):
                channel = self._publish(channel, connection, topology.ARCHIVE_KEY, body)
            if number % _BATCHES_PER_RECEIPT == 0:
                channel = self._publish_receipt(channel, connection)
            with self._progress:
                self._published += 1
                self._progress.notify_all()
        self._publish_receipt(channel, connection)
        connection.close()  # type: ignore[attr-defined]

    def _publish_receipt(self, channel: Any, connection: Iterator[Any]) -> Any:
        if not self._unreceipted:
            return channel
        entry = Entry("okta", _HOUR, runs_of(self._unreceipted.items()))
        self._unreceipted.clear()
        body = ledger.encode_receipt(Receipt(_PRODUCER, ACCEPTED_MS, (entry,)))
        for _ in range(self._random.choice((1, 2))):
            channel = self._publish(
                channel, connection, topology.RECEIPT_KEY, body, ledger.CONTENT_TYPE
            )
        return channel

    def _publish(
        self,
        channel: Any,
        connection: Iterator[Any],
        key: str,
        body: bytes,
        content_type: str | None = None,
    ) -> Any:
        """Publish until the broker confirms. Returns the channel, which may be a new one."""
        properties = pika.BasicProperties(content_type=content_type, delivery_mode=2)
        while True:
            try:
                channel.basic_publish(topology.EXCHANGE, key, body, properties, mandatory=True)
            except (AMQPError, OSError):
                channel = next(connection)
            else:
                return channel

    def _channels(self) -> Iterator[Any]:
        """A new channel for each request, as soon as the broker accepts a connection."""
        connection: Any = None
        while True:
            with suppress(AMQPError, OSError):
                connection = pika.BlockingConnection(self._rabbitmq.parameters("auditflow-admin"))
                channel = connection.channel()
                channel.confirm_delivery()
                try:
                    yield channel
                finally:
                    with suppress(AMQPError, OSError):
                        connection.close()
            time.sleep(0.05)

    def _batch(self) -> bytes:
        first = len(self.accepted)
        names = [f"e{first + part:07}" for part in range(_EVENTS_PER_BATCH)]
        messages = [self._message(msgspec.json.encode([event(name) for name in names]), len(names))]
        self.accepted |= set(names)
        if self._random.random() < 0.2:
            record = b"\xff not JSON %d" % first
            messages.append(self._message(record, 1))
            self.accepted.add(identity.record_id(record))
            self.refused += 1
        self.late += 1
        self.staged += 1
        self.clamped += 1
        notes = (
            Note(message=0, event=0, late=True),
            Note(message=0, event=1, staged=True),
            Note(message=0, event=2, clamped_ms=ACCEPTED_MS),
        )
        compressed = archive.compress(messages)
        events = _EVENTS_PER_BATCH + len(messages) - 1
        return compressed.with_notes(notes, processed_ms=ACCEPTED_MS + 5, events=events)

    def _message(self, body: bytes, events: int) -> ArchivedMessage:
        label = Label(_PRODUCER, "okta", _HOUR, self._messages, events)
        self._unreceipted[self._messages] = events
        self._messages += 1
        headers = {acceptance.HEADER: ACCEPTED_MS, ledger.HEADER: label.header()}
        return ArchivedMessage(encode_properties(headers=headers), body)
