"""Publish encoded events and refused records to the broker, and count them."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final, Protocol

import msgspec
from opentelemetry.trace import SpanKind

from audit_event_generator.grouped_publisher import CONFIRM_SECONDS, GroupedPublisher
from audit_event_generator.ingest import refusal
from audit_event_generator.ingest.batch import RefusedRecord
from audit_event_generator.ingest.encoding import EncodedEvent, encode
from audit_event_generator.metrics import Metrics
from audit_event_generator.receipts import AcceptedMessages
from auditflow.amqp import Message, topology
from auditflow.amqp.dead_letter import DeadLetter
from auditflow.contract import acceptance, identity, ledger
from auditflow.contract.ledger import Label
from auditflow.errors import PublishError
from auditflow.telemetry import tracing

#: Maximum number of events in a message.
MAX_EVENTS: Final = 100
#: Maximum size of a message with more than one event, in bytes. The analysis holds hundreds of
#: messages in memory.
MAX_BYTES: Final = 256 * 1024
#: The name of the service in dead letters.
SERVICE: Final = "audit-event-generator"
#: The header of a dead letter with the name of the source.
SOURCE_HEADER: Final = "x-auditflow-source"
#: The header of a dead letter with the size of the record, if the body is only its beginning.
SIZE_HEADER: Final = "x-auditflow-record-bytes"
#: Maximum size of a record in the quarantine, in bytes. The beginning of a larger record is kept.
MAX_QUARANTINED_BYTES: Final = 1024 * 1024
#: Maximum length of the AMQP property message-id, in bytes.
_MAX_MESSAGE_ID: Final = 255


class Broker(Protocol):
    """The part of ``auditflow.amqp.Publisher`` that is used here. ``timeout`` is in seconds."""

    def check(self) -> str | None: ...
    def publish(self, messages: Sequence[Message], *, timeout: float) -> None: ...
    def submit_each(self, groups: Sequence[Sequence[Message]]) -> list[Future[None]]: ...


class EventPublisher:
    """Publishes events. Counts them as accepted only after the broker has confirmed them."""

    def __init__(
        self, broker: Broker, metrics: Metrics, accepted: AcceptedMessages | None = None
    ) -> None:
        """``accepted`` labels messages and collects the confirmed ones, for the ledger."""
        self._broker = broker
        self._accepted = accepted or AcceptedMessages()
        self._metrics = metrics
        self._grouped = GroupedPublisher(broker)

    def publish(self, source: str, events: Sequence[EncodedEvent]) -> None:
        """Publish events, and return when the broker has stored all of them. Blocks.

        Raises:
            PublishError: at least one event is not confirmed. Publishing the same events again is
                safe, because they keep their identifiers.
        """
        if not events:
            return
        self._check()
        with self._accounting(source, events):
            messages, labels = self._to_messages(source, events, (), None)
            self._broker.publish(messages, timeout=CONFIRM_SECONDS)
        self._accepted.confirm(labels)

    async def publish_async(
        self,
        source: str,
        events: Sequence[EncodedEvent],
        *,
        refused: Sequence[RefusedRecord] = (),
        correlation_id: str | None = None,
    ) -> None:
        """Publish events as ``publish`` does, without blocking the event loop.

        Each refused record goes to the quarantine (the dead-letter queue of the events), and an
        event reports it.

        Raises:
            PublishError: see ``publish``.
        """
        if not events and not refused:
            return
        self._check()
        all_events = [*events, *_refusals(source, refused)] if refused else events
        with self._accounting(source, all_events):
            messages, labels = self._to_messages(source, all_events, refused, correlation_id)
            await self._grouped.publish(messages)
        self._accepted.confirm(labels)
        self._metrics.refused.labels(source).inc(len(refused))

    def _to_messages(
        self,
        source: str,
        events: Sequence[EncodedEvent],
        refused: Sequence[RefusedRecord],
        correlation_id: str | None,
    ) -> tuple[list[Message], list[Label]]:
        """The messages, and the label that each one has."""
        groups = list(_groups(events))
        accepted = acceptance.new_header()
        labels = self._accepted.labels(
            source,
            [*map(len, groups), *(1 for _ in refused)],
            accepted_ms=accepted[acceptance.HEADER],
        )
        context = {**tracing.headers(), **accepted}
        messages = [
            _message(source, group, correlation_id, {**context, ledger.HEADER: label.header()})
            for group, label in zip(groups, labels, strict=False)
        ]
        messages += [
            _to_dead_letter(
                source, record, correlation_id, {**accepted, ledger.HEADER: label.header()}
            )
            for record, label in zip(refused, labels[len(groups) :], strict=True)
        ]
        return messages, labels

    def _check(self) -> None:
        unavailable = self._broker.check()
        if unavailable is not None:
            raise PublishError(unavailable)

    @contextmanager
    def _accounting(self, source: str, events: Sequence[EncodedEvent]) -> Iterator[None]:
        with tracing.span("publish events", kind=SpanKind.PRODUCER, events=len(events)):
            try:
                yield
            except PublishError:
                self._metrics.unconfirmed.labels(source).inc(len(events))
                raise
        self._metrics.accepted.labels(source).inc(len(events))


def _refusals(source: str, refused: Sequence[RefusedRecord]) -> list[EncodedEvent]:
    received = dt.datetime.now(dt.UTC)
    return [encode(refusal.to_event(item, source=source, received=received)) for item in refused]


def _to_dead_letter(
    source: str,
    refused: RefusedRecord,
    correlation_id: str | None,
    headers: Mapping[str, object],
) -> Message:
    own: dict[str, object] = {**headers, SOURCE_HEADER: source}
    if len(refused.record) > MAX_QUARANTINED_BYTES:
        own[SIZE_HEADER] = len(refused.record)
    message = DeadLetter(
        body=refused.record[:MAX_QUARANTINED_BYTES],
        reason=f"{refused.where}: {refused.reason}",
        kind="contract",
        message_id=identity.record_id(refused.record),
        correlation_id=correlation_id,
        headers=own,
    ).message(topology.EVENTS, service=SERVICE)
    return msgspec.structs.replace(
        message, exchange=topology.EXCHANGE, routing_key=topology.QUARANTINE_KEY
    )


def to_messages(
    source: str, events: Sequence[EncodedEvent], correlation_id: str | None
) -> Iterator[Message]:
    """Group events into messages. A message is one event or an array of events."""
    headers = {**tracing.headers(), **acceptance.new_header()}
    for group in _groups(events):
        yield _message(source, group, correlation_id, headers)


def _message(
    source: str,
    group: Sequence[EncodedEvent],
    correlation_id: str | None,
    headers: Mapping[str, object],
) -> Message:
    is_single = len(group) == 1
    body = group[0].body if is_single else b"[" + b",".join(item.body for item in group) + b"]"
    return Message(
        exchange=topology.EXCHANGE,
        routing_key=f"event.{source}",
        body=body,
        message_id=_message_id(group[0]) if is_single else identity.record_id(body),
        correlation_id=correlation_id,
        headers=headers,
    )


def _message_id(encoded: EncodedEvent) -> str:
    """Return the event's identifier, or its hash if AMQP cannot carry it as a message-id."""
    event_id = encoded.event_id
    if len(event_id.encode()) <= _MAX_MESSAGE_ID:
        return event_id
    return identity.record_id(event_id.encode())


def _groups(events: Sequence[EncodedEvent]) -> Iterator[list[EncodedEvent]]:
    group: list[EncodedEvent] = []
    size = 0
    for encoded in events:
        if group and (len(group) == MAX_EVENTS or size + len(encoded.body) > MAX_BYTES):
            yield group
            group, size = [], 0
        group.append(encoded)
        size += len(encoded.body)
    if group:
        yield group
