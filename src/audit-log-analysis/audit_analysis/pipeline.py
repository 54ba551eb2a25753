"""A batch of messages, from bytes to acknowledged: decode, match, windows, publish.

The order makes it safe to die at any moment. Windows bear an event that they know already, findings
merge, and nothing is acknowledged before the broker has confirmed what came of it.
"""

import datetime as dt
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from msgspec import Struct
from opentelemetry.trace import SpanKind

from audit_analysis import chains, findings
from audit_analysis.chains import Counted
from audit_analysis.findings import Context
from audit_analysis.metrics import Ledger, Metrics
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.rule import Detector, RuleSet
from audit_analysis.windows import Observation, Sighting, WindowKeeper, WindowSpec
from auditflow import acceptance, event, finding, logs, topology, tracing
from auditflow.amqp import DeadLetter, Delivery, Message
from auditflow.event import Received, Refused
from auditflow.finding import Finding

#: A source's clock may run ahead by this much; what is later is set back to it.
MAX_AHEAD: Final = dt.timedelta(minutes=5)
#: Findings of a batch that get a line of their own in the log.
LOGGED: Final = 10

log = logs.get(__name__)

#: Publishes messages and returns when they are stored. Raises auditflow.errors.Unavailable.
Publish = Callable[[Sequence[Message]], None]


class _Cause(Struct, frozen=True):
    """An event with the message that brought it."""

    received: Received
    delivery: Delivery


class _Found(Struct, frozen=True):
    """A finding, with the message to which it is owed."""

    finding: Finding
    delivery: Delivery


class Prepared(Struct, frozen=True):
    """What a batch comes to before any server is asked."""

    rules: RuleSet
    began: int
    ledger: Ledger
    found: list[_Found]
    counted: list[Counted[_Cause]]
    dead: list[DeadLetter]


class Pipeline:
    """Turns deliveries of events into published findings: the handler of a Consumer.

    ``prepare`` waits for nobody, and ``complete`` for Redis and the broker: while one batch waits,
    the next can be prepared.
    """

    def __init__(
        self,
        rules: Callable[[], RuleSet],
        windows: WindowKeeper,
        publish: Publish,
        *,
        environment: str,
        metrics: Metrics,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._rules = rules
        self._windows = windows
        self._publish = publish
        self._environment = environment
        self._metrics = metrics
        self._now = now

    def __call__(self, batch: Sequence[Delivery]) -> list[DeadLetter]:
        """Process a batch. Returns what does not fit the contract."""
        return self.complete(self.prepare(batch))

    def prepare(self, batch: Sequence[Delivery]) -> Prepared:
        """Decode and match."""
        prepared = Prepared(self._rules(), time.time_ns(), self._metrics.ledger(), [], [], [])
        ledger, match, dead = prepared.ledger, prepared.rules.match, prepared.dead
        latest = self._now() + MAX_AHEAD
        for delivery in batch:
            for one in event.decode_message(delivery.body):
                if isinstance(one, Refused):
                    dead.append(_dead_letter(one, delivery))
                    continue
                seen = one.event
                ledger.events += 1
                ahead = seen.timestamp > latest
                if ahead:
                    ledger.clamped += 1
                view = View(seen)
                matched = match(view)
                if matched:  # as few do
                    moment = event.epoch_ms(latest if ahead else seen.timestamp)
                    self._note(prepared, matched, view, moment, _Cause(one, delivery))
        ledger.rejected += len(dead)
        return prepared

    def complete(self, prepared: Prepared) -> list[DeadLetter]:
        """Ask the windows, and publish what was found. May be called again when it failed."""
        late: set[int] = set()
        found = prepared.found
        for part in chains.in_parts(prepared.counted):
            of_windows, seen = self._count(prepared.rules, part, late)
            self._tell([*found, *of_windows], seen, began=prepared.began)
            found = []
        prepared.ledger.settle(late=len(late))
        dead = prepared.dead
        if dead:
            log.warning("messages refused", count=len(dead), first=dead[0].reason)
        return dead

    def _note(
        self,
        prepared: Prepared,
        matched: Sequence[Detector],
        view: View,
        moment: int,
        cause: _Cause,
    ) -> None:
        """The findings of a single event, and the windows that count it."""
        seen = cause.received
        for detector in matched:
            rule, entity = detector.rule, detector.entity(view)
            prepared.ledger.matched(rule)
            if rule.idle:
                continue  # on trial: it counts, and tells nobody
            if entity is None:
                continue  # not about anybody: it must not be pooled with others
            if rule.window is None:
                context = self._context(cause.delivery)
                made = findings.of_event(rule, entity, seen, moment, context)
                prepared.found.append(_Found(made, cause.delivery))
            else:
                key = findings.window_key(rule, entity)
                for tag in detector.tags(view):
                    observation = Observation(
                        rule.window, key, seen.event.event_id, moment, seen.raw, tag
                    )
                    prepared.counted.append(Counted(rule, entity, observation, cause))

    def _count(
        self, rules: RuleSet, counted: Sequence[Counted[_Cause]], late: set[int]
    ) -> tuple[list[_Found], list[tuple[UUID, WindowSpec, Sighting]]]:
        """The findings of windows, and the sightings they came of. Notes which causes are late."""
        found: list[_Found] = []
        seen: list[tuple[UUID, WindowSpec, Sighting]] = []
        for one, outcome in chains.observe(self._windows, rules, counted):
            if outcome.late:
                late.add(id(one.cause))
            for sighting in outcome.sightings:
                delivery = one.cause.delivery
                made = findings.of_sighting(
                    one.rule,
                    one.entity,
                    sighting,
                    one.cause.received.event,
                    self._context(delivery),
                )
                found.append(_Found(made, delivery))
                seen.append((one.observation.key, one.observation.spec, sighting))
        return found, seen

    def _tell(
        self,
        found: Sequence[_Found],
        seen: Sequence[tuple[UUID, WindowSpec, Sighting]],
        *,
        began: int,
    ) -> None:
        """Publish what was found, each finding once, and wait until it is stored.

        Waiting is for the broker's disk, so it is done for as many at once as a batch has.
        """
        if not found:
            return
        owed = {one.finding.finding_id: one.delivery for one in found}
        merged = finding.merge_all(one.finding for one in found)
        self._publish([_message(one, owed[name]) for name, one in merged.items()])
        for one in merged.values():
            self._metrics.found(one)
        for name, one in itertools.islice(merged.items(), LOGGED):
            with tracing.span(
                "analyse event",
                carrier=tracing.carrier(owed[name].headers),
                correlation_id=one.correlation_id,
                kind=SpanKind.CONSUMER,
                began=began,
                rule=one.rule.title,
            ):
                log.info("finding", finding_id=str(name), rule=one.rule.title, count=one.count)
        self._windows.published(seen)

    def _context(self, delivery: Delivery) -> Context:
        return Context(self._environment, delivery.correlation_id)


def _dead_letter(refused: Refused, delivery: Delivery) -> DeadLetter:
    whole = refused.raw is delivery.body
    return DeadLetter(
        body=refused.raw,
        reason=refused.reason,
        kind="contract",
        message_id=delivery.message_id if whole else None,
        correlation_id=delivery.correlation_id,
        headers=delivery.headers,
    )


def _message(one: Finding, cause: Delivery) -> Message:
    return Message(
        exchange=topology.EXCHANGE,
        routing_key=f"finding.{one.severity.value.lower()}",
        body=finding.encode(one),
        message_id=str(one.finding_id),
        correlation_id=cause.correlation_id,
        headers={**tracing.carrier(cause.headers), **acceptance.carried(cause.headers)},
    )
