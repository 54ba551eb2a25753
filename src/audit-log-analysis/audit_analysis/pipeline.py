"""A batch of messages, from bytes to acknowledged: decode, match, windows, publish.

The order makes it safe to die at any moment. Windows bear an event that they know already, findings
merge, and nothing is acknowledged before the broker has confirmed what came of it.
"""

import datetime as dt
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from uuid import UUID

from msgspec import Struct
from opentelemetry.trace import SpanKind

from audit_analysis import chains, findings
from audit_analysis.chains import Counted
from audit_analysis.findings import Context
from audit_analysis.metrics import Ledger, Metrics
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.rule import RuleSet
from audit_analysis.windows import Observation, Sighting, WindowKeeper, WindowSpec
from auditflow import acceptance, event, finding, logs, topology, tracing
from auditflow.amqp import DeadLetter, Delivery, Message
from auditflow.event import Received, Refused
from auditflow.finding import Finding

#: A source's clock may run ahead by this much; what is later is set back to it.
MAX_AHEAD: Final = dt.timedelta(minutes=5)
#: Events that are worked on at once: batches of batches must not fill the memory.
SLICE: Final = 5000

#: Findings that are held before they are published.
UNTOLD: Final = 5000
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


class Pipeline:
    """Turns deliveries of events into published findings: the handler of a Consumer."""

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
        self._began = 0

    def __call__(self, batch: Sequence[Delivery]) -> list[DeadLetter]:
        """Process a batch. Returns what does not fit the contract."""
        self._began = time.time_ns()
        dead: list[DeadLetter] = []
        found: list[_Found] = []
        seen: list[tuple[UUID, WindowSpec, Sighting]] = []
        ledger, rules = self._metrics.ledger(), self._rules()
        for causes in _slices(batch, dead):
            of_events, counted = self._match(rules, causes, ledger)
            of_windows, sightings = self._count(rules, counted, ledger)
            found += of_events + of_windows
            seen += sightings
            ledger.events += len(causes)
            if len(found) >= UNTOLD:
                self._tell(found, seen)
        self._tell(found, seen)
        ledger.rejected += len(dead)
        ledger.settle()
        if dead:
            log.warning("messages refused", count=len(dead), first=dead[0].reason)
        return dead

    def _match(
        self, rules: RuleSet, causes: Sequence[_Cause], ledger: Ledger
    ) -> tuple[list[_Found], list[Counted[_Cause]]]:
        """The findings of single events, and the events that windows count."""
        latest = self._now() + MAX_AHEAD
        match = rules.match
        found: list[_Found] = []
        counted: list[Counted[_Cause]] = []
        for cause in causes:
            one = cause.received.event
            ahead = one.timestamp > latest
            if ahead:
                ledger.clamped += 1
            view = View(one)
            matched = match(view)
            if not matched:
                continue  # as nearly all do
            moment = event.epoch_ms(latest if ahead else one.timestamp)
            for detector in matched:
                rule, entity = detector.rule, detector.entity(view)
                ledger.matched(rule)
                if rule.idle:
                    continue  # on trial: it counts, and tells nobody
                if entity is None:
                    continue  # not about anybody: it must not be pooled with others
                if rule.window is None:
                    context = self._context(cause.delivery)
                    made = findings.of_event(rule, entity, cause.received, moment, context)
                    found.append(_Found(made, cause.delivery))
                else:
                    key = findings.window_key(rule, entity)
                    for tag in detector.tags(view):
                        observation = Observation(
                            rule.window, key, one.event_id, moment, cause.received.raw, tag
                        )
                        counted.append(Counted(rule, entity, observation, cause))
        return found, counted

    def _count(
        self, rules: RuleSet, counted: Sequence[Counted[_Cause]], ledger: Ledger
    ) -> tuple[list[_Found], list[tuple[UUID, WindowSpec, Sighting]]]:
        """The findings of windows, and the sightings that they came of."""
        found: list[_Found] = []
        seen: list[tuple[UUID, WindowSpec, Sighting]] = []
        late: set[int] = set()
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
        ledger.late += len(late)
        return found, seen

    def _tell(self, found: list[_Found], seen: list[tuple[UUID, WindowSpec, Sighting]]) -> None:
        """Publish what was found, each finding once, wait until it is stored, and empty the lists.

        Waiting is for the broker's disk, so it is done for as many at once as the memory bears.
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
                began=self._began,
                rule=one.rule.title,
            ):
                log.info("finding", finding_id=str(name), rule=one.rule.title, count=one.count)
        self._windows.published(seen)
        found.clear()
        seen.clear()

    def _context(self, delivery: Delivery) -> Context:
        return Context(self._environment, delivery.correlation_id)


def _slices(batch: Sequence[Delivery], dead: list[DeadLetter]) -> Iterator[list[_Cause]]:
    """The events of a batch, some thousands at a time; what is not one is added to ``dead``."""
    causes: list[_Cause] = []
    for delivery in batch:
        for one in event.decode_message(delivery.body):
            if isinstance(one, Refused):
                dead.append(_dead_letter(one, delivery))
            else:
                causes.append(_Cause(one, delivery))
        if len(causes) >= SLICE:
            yield causes
            causes = []
    if causes:
        yield causes


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
