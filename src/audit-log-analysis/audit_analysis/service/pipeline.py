"""A batch of messages, from bytes to acknowledged: decode, match, windows, publish.

The order makes it safe to die at any moment. Windows bear an event that they know already, findings
merge, and nothing is acknowledged before the broker has confirmed what came of it.
"""

import datetime as dt
import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from audit_analysis.correlation import cascade, findings
from audit_analysis.correlation.cascade import Counted
from audit_analysis.correlation.findings import Context
from audit_analysis.correlation.safe_batches import Part, Parts
from audit_analysis.service.finding_publisher import Found, Publish, Teller, Told
from audit_analysis.service.metrics import Ledger, Metrics
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.rule import Detector, RuleSet
from audit_analysis.windows import Observation, Sighting, WindowKeeper, WindowSpec
from auditflow.amqp import DeadLetter, Delivery, Steps
from auditflow.contract import event
from auditflow.contract.event import Received, Refused
from auditflow.telemetry import logs

#: A source's clock may run ahead by this much; what is later is set back to it.
MAX_AHEAD: Final = dt.timedelta(minutes=5)
log = logs.get(__name__)


class _Cause(Struct, frozen=True):
    """An event with the message that brought it."""

    received: Received
    delivery: Delivery


class Prepared(Struct, frozen=True):
    """What a batch comes to before any server is asked."""

    rules: RuleSet
    began: int
    ledger: Ledger
    found: list[Found]
    counted: Parts[_Cause]
    dead: list[DeadLetter]


class Begun(Struct, frozen=True):
    """A batch of which the windows know, and the broker not for sure: ``last`` is under way."""

    prepared: Prepared
    late: int
    counted: Part[_Cause]
    last: Told


class Pipeline:
    """Turns deliveries of events into published findings: the work of a Consumer.

    ``prepare`` waits for nobody, ``count`` for Redis, and ``settle`` for the broker: while one
    batch waits, the next can be prepared, and mostly counted.
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
        self._teller = Teller(publish, metrics)
        self._environment = environment
        self._metrics = metrics
        self._now = now

    def __call__(self, batch: Sequence[Delivery]) -> list[DeadLetter]:
        """Process a batch. Returns what does not fit the contract."""
        return self.settle(self.count(self.prepare(batch)))

    def steps(self) -> Steps:
        """The work of a consumer."""
        return Steps(
            prepare=self.prepare,
            handle=self.count,
            settle=self.settle,
            may_overlap=self.overlap,
            on_idle=self._windows.flush,
        )

    def prepare(self, batch: Sequence[Delivery]) -> Prepared:
        """Decode and match."""
        prepared = Prepared(self._rules(), time.time_ns(), self._metrics.ledger(), [], Parts(), [])
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

    def count(self, prepared: Prepared) -> Begun:
        """Ask the windows, and begin to publish what was found."""
        late: set[int] = set()
        found: Sequence[Found] = prepared.found
        for part in prepared.counted.before:
            self._stored(self._begin(prepared, part, found, late), began=prepared.began)
            found = ()
        last = prepared.counted.last
        told = self._begin(prepared, last, found, late)
        return Begun(prepared, len(late), last, told)

    def settle(self, begun: Begun) -> list[DeadLetter]:
        """Wait until the broker has it all. Returns what does not fit the contract."""
        prepared = begun.prepared
        self._stored(begun.last, began=prepared.began)
        prepared.ledger.settle(late=begun.late)
        dead = prepared.dead
        if dead:
            log.warning("messages refused", count=len(dead), first=dead[0].reason)
        return dead

    @staticmethod
    def overlap(begun: Begun, following: Prepared) -> bool:
        """Whether a batch may be counted before what the one before it saw is safe."""
        counted = following.counted
        return not counted.before and begun.counted.fits(counted.last)

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
                prepared.found.append(Found(made, cause.delivery))
            else:
                key = findings.window_key(rule, entity)
                for tag in detector.tags(view):
                    observation = Observation(
                        rule.window, key, seen.event.event_id, moment, seen.raw, tag
                    )
                    prepared.counted.add(Counted(rule, entity, observation, cause))

    def _count(
        self, rules: RuleSet, counted: Sequence[Counted[_Cause]], late: set[int]
    ) -> tuple[list[Found], list[tuple[str, WindowSpec, Sighting]]]:
        """The findings of windows, and the sightings they came of. Notes which causes are late."""
        found: list[Found] = []
        seen: list[tuple[str, WindowSpec, Sighting]] = []
        for one, outcome in cascade.observe(self._windows, rules, counted):
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
                found.append(Found(made, delivery))
                seen.append((one.observation.key, one.observation.spec, sighting))
        return found, seen

    def _begin(
        self,
        prepared: Prepared,
        part: Part[_Cause],
        found: Sequence[Found],
        late: set[int],
    ) -> Told:
        """Count a part of a batch, and send what was found."""
        of_windows, seen = self._count(prepared.rules, part.counted, late)
        return self._teller.begin([*found, *of_windows], seen)

    def _stored(self, told: Told, *, began: int) -> None:
        self._teller.stored(told, began=began)
        self._windows.published(told.seen)

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
