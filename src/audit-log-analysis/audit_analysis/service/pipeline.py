"""Processes a batch of messages: decode, match, count in windows, publish, wait for confirms.

The worker may fail at any time. Windows accept an event again, findings merge, and no message is
acknowledged before the broker has confirmed the findings of its events.
"""

import datetime as dt
import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from audit_analysis.correlation import cascade, findings
from audit_analysis.correlation.cascade import RuleObservation
from audit_analysis.correlation.findings import Context
from audit_analysis.correlation.safe_batches import SafeBatch, SafeBatches
from audit_analysis.service.archiving import ArchivedBatch, Archiver
from audit_analysis.service.finding_publisher import (
    DeliveredFinding,
    FindingPublisher,
    Publish,
    PublishedBatch,
    WindowSummary,
)
from audit_analysis.service.metrics import BatchCounts, Metrics
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.rule import Detector, RuleSet
from audit_analysis.windows import Observation, WindowStore
from auditflow.amqp import DeadLetter, Delivery, Message, Steps
from auditflow.contract import event
from auditflow.contract.event import Received, Refused
from auditflow.telemetry import logs

#: The clock of a source may be ahead by this much. A later timestamp is set to this limit.
MAX_AHEAD: Final = dt.timedelta(minutes=5)

#: The message of a batch with up to this number of events is published for the archive after its
#: findings. In large batches, this would be one more wait for the broker.
POSTPONED_EVENTS: Final = 8
#: The time between both, in seconds. Most findings are stored in the database within this time.
POSTPONED_SECONDS: Final = 0.005

log = logs.get(__name__)


class _Cause(Struct, frozen=True):
    """An event and the message that contained it.

    ``clamped``: see ``MAX_AHEAD``. ``position`` is the index of the message in the batch, and of
    the event in the message.
    """

    received: Received
    delivery: Delivery
    clamped: bool
    position: tuple[int, int]


class MatchedBatch(Struct, frozen=True):
    """A batch after matching. No server was involved yet.

    ``started_ns`` is the time at which the processing began, in nanoseconds since 1970.
    ``findings`` are those of rules without windows; ``observations`` are for windows.
    """

    rules: RuleSet
    started_ns: int
    counts: BatchCounts
    findings: list[DeliveredFinding]
    observations: SafeBatches[_Cause]
    dead_letters: list[DeadLetter]
    archived: ArchivedBatch


class CountedBatch(Struct, frozen=True):
    """A batch that the windows have counted. The findings of ``last`` are not yet confirmed.

    ``late`` is the number of events that were too late for a window. ``archive`` are the messages
    for the archive that are not published yet.
    """

    matched: MatchedBatch
    late: int
    last: SafeBatch[_Cause]
    published: PublishedBatch
    archive: Sequence[Message] = ()


class Pipeline:
    """Turns deliveries of events into published findings.

    ``match`` waits for no server, ``count`` waits for Redis, and ``complete`` waits for the broker.
    While one batch waits, the next batch can be matched, and in most cases also counted.
    """

    def __init__(
        self,
        rules: Callable[[], RuleSet],
        windows: WindowStore,
        publish: Publish,
        *,
        environment: str,
        metrics: Metrics,
        archiver: Archiver | None = None,
        findings_per_message: int = 1,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """``findings_per_message`` is the maximum number of findings of a message."""
        self._rules = rules
        self._windows = windows
        self._publisher = FindingPublisher(publish, metrics, per_message=findings_per_message)
        self._archiver = archiver or Archiver(enabled=False)
        self._environment = environment
        self._metrics = metrics
        self._now = now

    def __call__(self, batch: Sequence[Delivery]) -> list[DeadLetter]:
        """Process a batch completely. Returns the input that violates the contract."""
        return self.complete(self.count(self.match(batch)))

    def steps(self) -> Steps:
        """The steps for a consumer."""
        return Steps(
            prepare=self.match,
            handle=self.count,
            settle=self.complete,
            may_overlap=self.can_overlap,
            settle_delay=self.settle_delay,
            on_idle=self._windows.flush,
        )

    def match(self, batch: Sequence[Delivery]) -> MatchedBatch:
        """Decode the events and find the rules that they match."""
        counts = self._metrics.new_batch()
        archived = self._archiver.compress(batch)
        matched = MatchedBatch(
            self._rules(), time.time_ns(), counts, [], SafeBatches(), [], archived
        )
        match, dead_letters = matched.rules.match, matched.dead_letters
        latest = self._now() + MAX_AHEAD
        for message, delivery in enumerate(batch):
            for index, decoded in enumerate(event.decode_message(delivery.body)):
                if isinstance(decoded, Refused):
                    dead_letters.append(_dead_letter(decoded, delivery))
                    archived.add_refused((message, index), decoded.reason)
                    continue
                counts.events += 1
                is_ahead = decoded.event.timestamp > latest
                if is_ahead:
                    counts.clamped += 1
                    archived.add_clamped((message, index), event.epoch_ms(latest))
                view = View(decoded.event)
                detectors = match(view)
                if detectors:  # Few events match any rule.
                    timestamp = latest if is_ahead else decoded.event.timestamp
                    self._add_matches(
                        matched,
                        detectors,
                        view,
                        event.epoch_ms(timestamp),
                        _Cause(decoded, delivery, is_ahead, (message, index)),
                    )
        counts.rejected += len(dead_letters)
        return matched

    def count(self, matched: MatchedBatch) -> CountedBatch:
        """Count the observations in windows, and start to publish the findings."""
        late: set[tuple[int, int]] = set()
        of_events: Sequence[DeliveredFinding] = matched.findings
        for safe_batch in matched.observations.before:
            delivered, summaries = self._count(matched, safe_batch, of_events, late)
            self._wait(self._publisher.publish(delivered, summaries), matched)
            of_events = ()
        last = matched.observations.last
        delivered, summaries = self._count(matched, last, of_events, late)
        events = matched.counts.events + matched.counts.rejected
        archive = matched.archived.messages(
            late, processed_us=matched.started_ns // 1_000, events=events
        )
        postponed: Sequence[Message] = ()
        if delivered and events <= POSTPONED_EVENTS:
            archive, postponed = (), archive
        published = self._publisher.publish(delivered, summaries, archive)
        return CountedBatch(matched, len(late), last, published, postponed)

    def complete(self, counted: CountedBatch) -> list[DeadLetter]:
        """Wait until the broker has stored the findings and the messages for the archive.

        Returns the batch's dead letters.
        """
        matched = counted.matched
        self._wait(counted.published, matched)
        if counted.archive:
            self._publisher.publish_archive(counted.archive)
        matched.counts.commit(late=counted.late)
        dead_letters = matched.dead_letters
        if dead_letters:
            log.warning("messages refused", count=len(dead_letters), first=dead_letters[0].reason)
        return dead_letters

    @staticmethod
    def can_overlap(counted: CountedBatch, following: MatchedBatch) -> bool:
        """Whether ``following`` may be counted before the findings of ``counted`` are stored."""
        observations = following.observations
        return not observations.before and counted.last.fits(observations.last)

    @staticmethod
    def settle_delay(counted: CountedBatch) -> float:
        """The seconds after which the postponed messages for the archive are published."""
        return POSTPONED_SECONDS if counted.archive else 0.0

    def _add_matches(
        self,
        matched: MatchedBatch,
        detectors: Sequence[Detector],
        view: View,
        timestamp_ms: int,
        cause: _Cause,
    ) -> None:
        """Add the findings of one event, and its observations for windows."""
        received = cause.received
        for detector in detectors:
            rule, entity = detector.rule, detector.entity(view)
            matched.counts.add_match(rule)
            if rule.staged:
                matched.archived.add_staged(cause.position)
            if rule.count_only:
                continue
            if entity is None:
                continue  # Events without an entity must not be counted together.
            if rule.window is None:
                finding = findings.from_event(
                    rule,
                    entity,
                    received,
                    timestamp_ms,
                    self._context(cause.delivery),
                    clamped=cause.clamped,
                )
                matched.findings.append(DeliveredFinding(finding, cause.delivery))
                continue
            key = findings.window_key(rule, entity)
            for tag in detector.tags(view):
                observation = Observation(
                    rule.window, key, received.event.event_id, timestamp_ms, received.raw, tag
                )
                matched.observations.add(RuleObservation(rule, entity, observation, cause))

    def _count(
        self,
        matched: MatchedBatch,
        safe_batch: SafeBatch[_Cause],
        of_events: Sequence[DeliveredFinding],
        late: set[tuple[int, int]],
    ) -> tuple[list[DeliveredFinding], list[WindowSummary]]:
        """Count a safe batch. Returns the findings of its windows with ``of_events``.

        Adds the positions of events that are too late for a window to ``late``.
        """
        delivered = list(of_events)
        summaries: list[WindowSummary] = []
        observed = cascade.observe(self._windows, matched.rules, safe_batch.observations)
        for observation, result in observed:
            if result.late:
                late.add(observation.cause.position)
            for summary in result.summaries:
                delivery = observation.cause.delivery
                finding = findings.from_summary(
                    observation.rule,
                    observation.entity,
                    summary,
                    observation.cause.received.event,
                    self._context(delivery),
                    clamped=observation.cause.clamped,
                )
                delivered.append(DeliveredFinding(finding, delivery))
                window = observation.observation
                summaries.append((window.key, window.spec, summary))
        return delivered, summaries

    def _wait(self, published: PublishedBatch, matched: MatchedBatch) -> None:
        self._publisher.wait_until_stored(published, started_ns=matched.started_ns)
        self._windows.mark_published(published.summaries)

    def _context(self, delivery: Delivery) -> Context:
        return Context(self._environment, delivery.correlation_id)


def _dead_letter(refused: Refused, delivery: Delivery) -> DeadLetter:
    is_complete_message = refused.raw is delivery.body
    return DeadLetter(
        body=refused.raw,
        reason=refused.reason,
        kind="contract",
        message_id=delivery.message_id if is_complete_message else None,
        correlation_id=delivery.correlation_id,
        headers=delivery.headers,
    )
