"""Publish encoded events to the broker, and count them."""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from opentelemetry.trace import SpanKind

from audit_event_generator.ingest.encoding import EncodedEvent
from audit_event_generator.metrics import Metrics
from auditflow.amqp import Message, topology
from auditflow.contract import acceptance, identity
from auditflow.errors import PublishError
from auditflow.telemetry import tracing

#: Maximum number of events in a message.
MAX_EVENTS: Final = 100
#: Maximum size of a message with more than one event, in bytes. The analysis holds hundreds of
#: messages in memory.
MAX_BYTES: Final = 256 * 1024
#: Maximum wait for the broker's confirms, in seconds.
CONFIRM_SECONDS: Final = 0.75


class Broker(Protocol):
    """The part of ``auditflow.amqp.Publisher`` that is used here."""

    def check(self) -> str | None: ...
    def publish(self, messages: Sequence[Message], *, timeout: float) -> None: ...


class EventPublisher:
    """Publishes events. Counts them as accepted only after the broker has confirmed them."""

    def __init__(self, broker: Broker, metrics: Metrics) -> None:
        self._broker = broker
        self._metrics = metrics

    def publish(
        self, source: str, events: Sequence[EncodedEvent], *, correlation_id: str | None = None
    ) -> None:
        """Publish events, and return when the broker has stored all of them.

        Raises:
            PublishError: at least one event is not confirmed. Publishing the same events again is
                safe, because they keep their identifiers.
        """
        if not events:
            return
        unavailable = self._broker.check()
        if unavailable is not None:
            raise PublishError(unavailable)
        with tracing.span("publish events", kind=SpanKind.PRODUCER, events=len(events)):
            messages = list(to_messages(source, events, correlation_id))
            try:
                self._broker.publish(messages, timeout=CONFIRM_SECONDS)
            except PublishError:
                self._metrics.unconfirmed.labels(source).inc(len(events))
                raise
        self._metrics.accepted.labels(source).inc(len(events))


def to_messages(
    source: str, events: Sequence[EncodedEvent], correlation_id: str | None
) -> Iterator[Message]:
    """Group events into messages. A message is one event or an array of events."""
    headers = {**tracing.headers(), **acceptance.new_header()}
    for group in _groups(events):
        single = len(group) == 1
        body = group[0].body if single else b"[" + b",".join(item.body for item in group) + b"]"
        yield Message(
            exchange=topology.EXCHANGE,
            routing_key=f"event.{source}",
            body=body,
            message_id=group[0].event_id if single else identity.record_id(body),
            correlation_id=correlation_id,
            headers=headers,
        )


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
