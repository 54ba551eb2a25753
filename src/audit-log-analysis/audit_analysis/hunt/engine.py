"""Runs archived events through rules, and collects the findings that live detection would make."""

import datetime as dt
from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec
from msgspec import Struct

from audit_analysis.correlation import cascade, findings
from audit_analysis.correlation.cascade import RuleObservation
from audit_analysis.correlation.findings import Context
from audit_analysis.hunt.expiring_windows import ExpiringState, ExpiringWindows
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.rule import RuleSet
from audit_analysis.windows import Observation
from auditflow.contract import event, finding
from auditflow.contract.event import MAX_MESSAGE_BYTES, Received, Refused
from auditflow.contract.finding import Finding
from auditflow.errors import ContractError

_decode_finding = msgspec.json.Decoder(Finding).decode


class HuntedEvent(Struct, frozen=True, gc=False):
    """An archived event. Times are in milliseconds since 1970.

    ``occurred_ms`` is the timestamp as the analysis used it. ``processed_ms`` is the time at which
    the analysis received it.
    """

    record: bytes
    occurred_ms: int
    processed_ms: int


class HuntState(Struct, frozen=True, array_like=True):
    """Everything that a hunt has found and counted, to continue it later."""

    windows: ExpiringState
    findings: list[bytes]
    events: int
    refused: int


class Hunt:
    """Collects the findings of ``rules``. Events must be given in the order of the analysis.

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

    @property
    def number_of_findings(self) -> int:
        """The number of findings so far, at any time."""
        return len(self._findings)

    def process(self, events: Sequence[HuntedEvent]) -> None:
        """Process the next events. Events that violate the contract are counted and skipped."""
        if not events:
            return
        self._windows.now_ms = max(self._windows.now_ms, events[0].processed_ms)
        observations: list[RuleObservation[Received]] = []
        decoded = _decode_together([hunted.record for hunted in events])
        for hunted, received in zip(events, decoded, strict=True):
            if isinstance(received, Received):
                self.events += 1
                self._match(received, hunted.occurred_ms, observations)
            else:
                self.refused += 1
        for observed, result in cascade.observe(self._windows, self._rules, observations):
            for summary in result.summaries:
                self._add(
                    findings.from_summary(
                        observed.rule, observed.entity, summary, observed.cause.event, self._context
                    )
                )
            window = observed.observation
            self._windows.mark_published(
                [(window.key, window.spec, summary) for summary in result.summaries]
            )

    def state(self) -> HuntState:
        """The state of the hunt."""
        encoded = [msgspec.json.encode(found) for found in self._findings.values()]
        return HuntState(self._windows.state(), encoded, self.events, self.refused)

    def restore(self, state: HuntState) -> None:
        """Continue with the state of an earlier hunt with the same rules."""
        self._windows.restore(state.windows)
        decoded = (_decode_finding(encoded) for encoded in state.findings)
        self._findings = {found.finding_id: found for found in decoded}
        self.events, self.refused = state.events, state.refused

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

    def _match(
        self,
        received: Received,
        occurred_ms: int,
        observations: list[RuleObservation[Received]],
    ) -> None:
        view = View(received.event)
        for detector in self._rules.match(view):
            rule, entity = detector.rule, detector.entity(view)
            if rule.count_only or entity is None:
                continue
            if rule.window is None:
                self._add(
                    findings.from_event(
                        rule,
                        entity,
                        received,
                        occurred_ms,
                        self._context,
                        clamped=event.epoch_ms(received.event.timestamp) > occurred_ms,
                    )
                )
                continue
            key = findings.window_key(rule, entity)
            for tag in detector.tags(view):
                observation = Observation(
                    rule.window, key, received.event.event_id, occurred_ms, received.raw, tag
                )
                observations.append(RuleObservation(rule, entity, observation, received))

    def _add(self, version: Finding) -> None:
        known = self._findings.get(version.finding_id)
        self._findings[version.finding_id] = (
            version if known is None else finding.merge(known, version)
        )


def _decode_together(raws: Sequence[bytes]) -> Iterator[Received | Refused]:
    """Decode events in messages of many events, because that takes a third of the time.

    Yields one result for each event.
    """
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
        try:
            yield Received(event.decode(raw), raw)
        except ContractError as error:
            yield Refused(raw, str(error))
