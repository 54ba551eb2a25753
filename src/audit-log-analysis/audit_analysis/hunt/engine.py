"""Runs archived events through rules, and collects the findings that live detection would make."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final
from uuid import UUID

from msgspec import Struct

from audit_analysis.correlation import cascade, findings
from audit_analysis.correlation.cascade import RuleObservation
from audit_analysis.correlation.findings import Context
from audit_analysis.hunt.expiring_windows import ExpiringWindows
from audit_analysis.service.pipeline import MAX_AHEAD
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.rule import RuleSet
from audit_analysis.windows import Observation
from auditflow.contract import event, finding
from auditflow.contract.event import MAX_MESSAGE_BYTES, Received, Refused
from auditflow.contract.finding import Finding

_MAX_AHEAD_MS: Final = MAX_AHEAD // dt.timedelta(milliseconds=1)


class ArchivedEvent(Struct, frozen=True, gc=False):
    """An event as it was accepted, and when the analysis received it (ms since 1970).

    All events of a batch have the same ``received_ms``: the clock that limits their timestamps.
    """

    raw: bytes
    received_ms: int


class Hunt:
    """Collects the findings of ``rules``. Events must be given in the order of their arrival.

    The findings have the identities that live detection would give them if it had these rules at
    that time, and if no window had reached a memory limit. Events that one window received too late
    are not counted in it, as in live detection.
    """

    def __init__(self, rules: RuleSet, *, environment: str = "hunt") -> None:
        self._rules = rules
        self._context = Context(environment)
        self._windows = ExpiringWindows()
        self._findings: dict[UUID, Finding] = {}
        self.events = 0
        self.refused = 0

    @property
    def open_windows(self) -> int:
        """The number of windows in memory."""
        return len(self._windows)

    def process(self, events: Iterable[ArchivedEvent]) -> None:
        """Process the next events. Events that violate the contract are counted and skipped."""
        for received_ms, batch in groupby(events, key=lambda archived: archived.received_ms):
            self._process_batch([archived.raw for archived in batch], received_ms)

    def findings(
        self, since: dt.datetime | None = None, until: dt.datetime | None = None
    ) -> tuple[Finding, ...]:
        """The findings with events from ``since`` on and before ``until``, ordered by time."""
        return tuple(
            sorted(
                (
                    found
                    for found in self._findings.values()
                    if (since is None or found.last_seen >= since)
                    and (until is None or found.first_seen < until)
                ),
                key=lambda found: (found.first_seen, found.rule.id, found.finding_id),
            )
        )

    def _process_batch(self, raws: Sequence[bytes], received_ms: int) -> None:
        self._windows.now_ms = received_ms
        latest_ms = received_ms + _MAX_AHEAD_MS
        observations: list[RuleObservation[Received]] = []
        for received in self._decode(raws):
            view = View(received.event)
            for detector in self._rules.match(view):
                rule, entity = detector.rule, detector.entity(view)
                if rule.count_only or entity is None:
                    continue
                timestamp_ms = min(event.epoch_ms(received.event.timestamp), latest_ms)
                if rule.window is None:
                    self._add(
                        findings.from_event(rule, entity, received, timestamp_ms, self._context)
                    )
                    continue
                key = findings.window_key(rule, entity)
                for tag in detector.tags(view):
                    observation = Observation(
                        rule.window, key, received.event.event_id, timestamp_ms, received.raw, tag
                    )
                    observations.append(RuleObservation(rule, entity, observation, received))
        for observed, result in cascade.observe(self._windows, self._rules, observations):
            for summary in result.summaries:
                self._add(
                    findings.from_summary(
                        observed.rule, observed.entity, summary, observed.cause.event, self._context
                    )
                )

    def _decode(self, raws: Sequence[bytes]) -> Iterator[Received]:
        for decoded in _decode_together(raws):
            if isinstance(decoded, Received):
                self.events += 1
                yield decoded
            else:
                self.refused += 1

    def _add(self, version: Finding) -> None:
        known = self._findings.get(version.finding_id)
        self._findings[version.finding_id] = (
            version if known is None else finding.merge(known, version)
        )


def _decode_together(raws: Sequence[bytes]) -> Iterator[Received | Refused]:
    """Decode events in messages of many events, because that takes a third of the time."""
    message: list[bytes] = []
    size = 0
    for raw in raws:
        if message and size + len(raw) > MAX_MESSAGE_BYTES // 2:
            yield from _decode_message(message)
            message, size = [], 0
        message.append(raw)
        size += len(raw)
    if message:
        yield from _decode_message(message)


def _decode_message(raws: Sequence[bytes]) -> Iterator[Received | Refused]:
    decoded = event.decode_message(b"[" + b",".join(raws) + b"]") if len(raws) > 1 else []
    if len(decoded) == len(raws) and not any(isinstance(item, Refused) for item in decoded):
        yield from decoded
        return
    for raw in raws:
        yield from event.decode_message(raw)
