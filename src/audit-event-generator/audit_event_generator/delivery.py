"""From sealed events to the broker, and into the ledger."""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from opentelemetry.trace import SpanKind

from audit_event_generator.ingest.sealing import Sealed
from audit_event_generator.metrics import Metrics, Source
from auditflow.amqp import Message, topology
from auditflow.contract import acceptance, identity
from auditflow.errors import PublishError
from auditflow.telemetry import tracing

#: A message holds at most so many events, and bytes unless a single event has more. The analysis
#: has hundreds of messages in hand at once, so one must stay small.
MAX_EVENTS: Final = 100
MAX_BYTES: Final = 256 * 1024
#: How long a client waits for the broker. An answer comes within a second, also on a busy machine.
CONFIRM_SECONDS: Final = 0.75


class Broker(Protocol):
    """What is needed of ``auditflow.amqp.Publisher``."""

    def check(self) -> str | None: ...
    def publish(self, messages: Sequence[Message], *, timeout: float) -> None: ...


class Delivery:
    """Publishes events and counts them when, and only when, the broker has confirmed them."""

    def __init__(self, broker: Broker, metrics: Metrics) -> None:
        self._broker = broker
        self._metrics = metrics

    def deliver(
        self, source: Source, events: Sequence[Sealed], *, correlation_id: str | None = None
    ) -> None:
        """Return when the broker has stored every event.

        Raises:
            PublishError: not all are confirmed. Sending the same events again is safe, since they
                keep their identifiers.
        """
        if not events:
            return
        away = self._broker.check()
        if away is not None:
            raise PublishError(away)
        with tracing.span("publish events", kind=SpanKind.PRODUCER, events=len(events)):
            messages = list(pack(source, events, correlation_id))
            try:
                self._broker.publish(messages, timeout=CONFIRM_SECONDS)
            except PublishError:
                self._metrics.unconfirmed.labels(source).inc(len(events))
                raise
        self._metrics.accepted.labels(source).inc(len(events))


def pack(source: Source, events: Sequence[Sealed], correlation_id: str | None) -> Iterator[Message]:
    """Few messages for many events: one event stands alone, more travel as arrays."""
    headers = {**tracing.headers(), **acceptance.new_header()}
    for group in _groups(events):
        alone = len(group) == 1
        body = group[0].raw if alone else b"[" + b",".join(one.raw for one in group) + b"]"
        yield Message(
            exchange=topology.EXCHANGE,
            routing_key=f"event.{source}",
            body=body,
            message_id=group[0].event_id if alone else identity.record_id(body),
            correlation_id=correlation_id,
            headers=headers,
        )


def _groups(events: Sequence[Sealed]) -> Iterator[list[Sealed]]:
    group: list[Sealed] = []
    size = 0
    for one in events:
        if group and (len(group) == MAX_EVENTS or size + len(one.raw) > MAX_BYTES):
            yield group
            group, size = [], 0
        group.append(one)
        size += len(one.raw)
    if group:
        yield group
