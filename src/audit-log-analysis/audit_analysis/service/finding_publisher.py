"""Publishes findings, and waits for the broker's confirms when the result matters."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from uuid import UUID

from msgspec import Struct
from opentelemetry.trace import SpanKind

from audit_analysis.service.metrics import Metrics
from audit_analysis.windows import BucketSummary, WindowSpec
from auditflow.amqp import Delivery, Message, topology
from auditflow.contract import acceptance, finding, finding_message, identity
from auditflow.contract.finding import Finding
from auditflow.telemetry import logs, tracing

#: Maximum number of findings of a batch that are logged one by one.
MAX_LOGGED: Final = 10

log = logs.get(__name__)

#: Sends messages. Returns a function that waits until the broker has stored them.
#: Both raise auditflow.errors.Unavailable.
Publish = Callable[[Sequence[Message]], Callable[[], None]]

#: A summary with the key and the specification of its window.
WindowSummary = tuple[str, WindowSpec, BucketSummary]


class DeliveredFinding(Struct, frozen=True):
    """A finding, with the message whose event led to it."""

    finding: Finding
    delivery: Delivery


class PublishedBatch(Struct, frozen=True):
    """Findings that were sent, and the summaries that they were made from.

    ``wait`` returns when the broker has stored the findings.
    """

    findings: dict[UUID, Finding]
    deliveries: dict[UUID, Delivery]
    summaries: Sequence[WindowSummary]
    wait: Callable[[], None]


class FindingPublisher:
    """Publishes findings in batches, because each wait is a wait for the broker's disk."""

    def __init__(self, publish: Publish, metrics: Metrics, *, per_message: int = 1) -> None:
        """A message has at most ``per_message`` findings."""
        self._publish = publish
        self._metrics = metrics
        self._per_message = per_message

    def publish(
        self,
        findings: Sequence[DeliveredFinding],
        summaries: Sequence[WindowSummary],
        archive: Sequence[Message] = (),
    ) -> PublishedBatch:
        """Send each finding once, with all its versions merged, and ``archive``. Does not wait."""
        deliveries = {delivered.finding.finding_id: delivered.delivery for delivered in findings}
        merged = finding.merge_all(delivered.finding for delivered in findings)
        messages = [
            _message(version, deliveries[finding_id]) for finding_id, version in merged.items()
        ]
        if self._per_message > 1:
            messages = _combine(messages, self._per_message)
        return PublishedBatch(merged, deliveries, summaries, self._publish([*messages, *archive]))

    def publish_archive(self, archive: Sequence[Message]) -> None:
        """Send messages for the archive, and wait until the broker has stored them."""
        self._publish(archive)()

    def wait_until_stored(self, published: PublishedBatch, *, started_ns: int) -> None:
        """Wait for the broker's confirms, then count, log and trace the findings.

        ``started_ns`` is the start of the batch in nanoseconds since 1970.
        """
        published.wait()
        for stored in published.findings.values():
            self._metrics.add_finding(stored)
        for finding_id, stored in itertools.islice(published.findings.items(), MAX_LOGGED):
            with tracing.span(
                "analyse event",
                carrier=tracing.carrier(published.deliveries[finding_id].headers),
                correlation_id=stored.correlation_id,
                kind=SpanKind.CONSUMER,
                began=started_ns,
                rule=stored.rule.title,
            ):
                log.info(
                    "finding",
                    finding_id=str(finding_id),
                    rule=stored.rule.title,
                    count=stored.count,
                )


def _message(version: Finding, delivery: Delivery) -> Message:
    headers = delivery.headers
    return Message(
        exchange=topology.EXCHANGE,
        routing_key=f"finding.{version.severity.value.lower()}",
        body=finding.encode(version),
        message_id=str(version.finding_id),
        correlation_id=delivery.correlation_id,
        headers={**tracing.carrier(headers), **acceptance.copied_header(headers)},
    )


def _combine(messages: Iterable[Message], maximum: int) -> list[Message]:
    """Messages with up to ``maximum`` of these findings each."""
    groups = finding_message.group(
        messages, size=lambda message: len(message.body), maximum=maximum
    )
    return [group[0] if len(group) == 1 else _array(group) for group in groups]


def _array(messages: Iterable[Message]) -> Message:
    body = finding_message.encode((message.body, message.headers or {}) for message in messages)
    return Message(
        exchange=topology.EXCHANGE,
        routing_key="finding.batch",
        body=body,
        message_id=identity.record_id(body),
    )
