"""Findings on their way to the broker: sent at once, and waited for when it matters."""

import itertools
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from msgspec import Struct
from opentelemetry.trace import SpanKind

from audit_analysis.service.metrics import Metrics
from audit_analysis.windows import Sighting, WindowSpec
from auditflow.amqp import Delivery, Message, topology
from auditflow.contract import acceptance, finding
from auditflow.contract.finding import Finding
from auditflow.telemetry import logs, tracing

#: Findings of a batch that get a line of their own in the log.
LOGGED: Final = 10

log = logs.get(__name__)

#: Publishes messages, and returns what waits until they are stored. Either raises
#: auditflow.errors.Unavailable.
Publish = Callable[[Sequence[Message]], Callable[[], None]]


class Found(Struct, frozen=True):
    """A finding, with the message to which it is owed."""

    finding: Finding
    delivery: Delivery


class Told(Struct, frozen=True):
    """Findings that were sent, and the sightings that they came of. ``wait``: until stored."""

    findings: dict[UUID, Finding]
    owed: dict[UUID, Delivery]
    seen: Sequence[tuple[str, WindowSpec, Sighting]]
    wait: Callable[[], None]


class Teller:
    """Publishes findings. Waiting is for the broker's disk, so it is done for many at once."""

    def __init__(self, publish: Publish, metrics: Metrics) -> None:
        self._publish = publish
        self._metrics = metrics

    def begin(
        self, found: Sequence[Found], seen: Sequence[tuple[str, WindowSpec, Sighting]]
    ) -> Told:
        """Send findings, each once, whose sightings are ``seen``."""
        owed = {one.finding.finding_id: one.delivery for one in found}
        merged = finding.merge_all(one.finding for one in found)
        messages = [_message(one, owed[name]) for name, one in merged.items()]
        return Told(merged, owed, seen, self._publish(messages))

    def stored(self, told: Told, *, began: int) -> None:
        """Wait until they are stored, and say so. ``began`` is when their batch did (ns)."""
        told.wait()
        for one in told.findings.values():
            self._metrics.found(one)
        for name, one in itertools.islice(told.findings.items(), LOGGED):
            with tracing.span(
                "analyse event",
                carrier=tracing.carrier(told.owed[name].headers),
                correlation_id=one.correlation_id,
                kind=SpanKind.CONSUMER,
                began=began,
                rule=one.rule.title,
            ):
                log.info("finding", finding_id=str(name), rule=one.rule.title, count=one.count)


def _message(one: Finding, cause: Delivery) -> Message:
    return Message(
        exchange=topology.EXCHANGE,
        routing_key=f"finding.{one.severity.value.lower()}",
        body=finding.encode(one),
        message_id=str(one.finding_id),
        correlation_id=cause.correlation_id,
        headers={**tracing.carrier(cause.headers), **acceptance.copied_header(cause.headers)},
    )
