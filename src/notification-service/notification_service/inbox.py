"""What to do with a batch of messages from the queue ``audit_alerts``. Pure, but for the fold."""

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final
from uuid import UUID

from msgspec import Struct
from opentelemetry.trace import SpanKind

from auditflow.amqp import DeadLetter, Delivery
from auditflow.contract import acceptance
from auditflow.contract import finding as findings
from auditflow.contract.finding import Finding
from auditflow.errors import ContractError
from auditflow.telemetry import logs, tracing
from auditflow.telemetry.metrics import exemplar
from notification_service.fold import Changes, Stored, fingerprint_of
from notification_service.metrics import Metrics

#: Messages that go into one transaction, in bytes. It bounds the memory that the largest findings
#: take on their way into SQL.
MAX_TRANSACTION_BYTES: Final = 4 * 1024 * 1024

#: Findings of a transaction that get a line of their own in the log.
LOGGED: Final = 10

log = logs.get(__name__)

#: Stores findings, one version of each, in one transaction.
Store = Callable[[Sequence[Finding]], Changes]


class _Read(Struct, frozen=True):
    delivery: Delivery
    finding: Finding
    fingerprint: UUID


class Inbox:
    """The handler of an ``auditflow.amqp.Consumer``. It bears to see a message twice."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    def __call__(self, batch: Sequence[Delivery]) -> list[DeadLetter]:
        """Store a batch of findings, and return what does not fit the contract."""
        started, began = time.perf_counter(), time.time_ns()
        readable, dead = self._read(batch)
        totals = dict.fromkeys(("new", "updated", "unchanged", "opened"), 0)
        for part in _parts(readable):
            changes, refused = self._fold(part)
            dead += refused
            self._count(changes, totals)
            self._tell(changes, part, began)
        self._metrics.batch_seconds.observe(time.perf_counter() - started)
        log.info("findings folded", messages=len(batch), **totals, refused=len(dead))
        return dead

    @staticmethod
    def _read(batch: Sequence[Delivery]) -> tuple[list[_Read], list[DeadLetter]]:
        now = dt.datetime.now(dt.UTC)
        readable: list[_Read] = []
        dead: list[DeadLetter] = []
        for delivery in batch:
            try:
                finding = findings.decode(delivery.body, now=now)
            except ContractError as error:
                dead.append(_dead(delivery, str(error)))
            else:
                readable.append(_Read(delivery, finding, fingerprint_of(finding)))
        return readable, dead

    def _fold(self, part: Sequence[_Read]) -> tuple[Changes, list[DeadLetter]]:
        claims: dict[UUID, UUID] = {}
        honest = [
            one
            for one in part
            if claims.setdefault(one.finding.finding_id, one.fingerprint) == one.fingerprint
        ]
        merged = findings.merge_all(one.finding for one in honest)
        changes = self._store(list(merged.values()))
        for impostor in changes.impostors:
            del claims[impostor.finding_id]
        return changes, [
            _dead(one.delivery, f"finding {one.finding.finding_id} is of another rule or entity")
            for one in part
            if claims.get(one.finding.finding_id) != one.fingerprint
        ]

    def _count(self, changes: Changes, totals: dict[str, int]) -> None:
        outcomes = {
            "new": len(changes.new),
            "updated": len(changes.updated),
            "unchanged": changes.unchanged,
        }
        for outcome, number in outcomes.items():
            self._metrics.findings.labels(outcome).inc(number)
            totals[outcome] += number
        for alert in changes.opened:
            self._metrics.opened.labels(alert.severity).inc()
        totals["opened"] += len(changes.opened)

    def _tell(self, changes: Changes, part: Sequence[_Read], began: int) -> None:
        """What became of findings, each in the trace and under the id of what caused it."""
        causes: dict[UUID, Delivery] = {}
        for one in part:
            causes.setdefault(one.finding.finding_id, one.delivery)
        new = len(changes.new)
        for number, stored in enumerate((*changes.new, *changes.updated)):
            cause = causes[stored.finding.finding_id]
            with _span(stored, cause, began) if number < LOGGED else nullcontext():
                if number < new:
                    self._arrived(cause)
                if number < LOGGED:
                    log.info(
                        "finding stored",
                        finding_id=str(stored.finding.finding_id),
                        alert_id=str(stored.alert_id),
                        rule=stored.finding.rule.title,
                        outcome="new" if number < new else "updated",
                    )

    def _arrived(self, cause: Delivery) -> None:
        age = acceptance.age_seconds(cause.headers)
        if age is not None:
            self._metrics.event_to_alert_seconds.observe(age, exemplar())


def _parts(readable: Sequence[_Read]) -> Iterator[list[_Read]]:
    """Pieces of a batch that are small enough for one transaction."""
    part: list[_Read] = []
    size = 0
    for one in readable:
        if part and size + len(one.delivery.body) > MAX_TRANSACTION_BYTES:
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one.delivery.body)
    if part:
        yield part


def _span(stored: Stored, cause: Delivery, began: int) -> AbstractContextManager[object]:
    return tracing.span(
        "store finding",
        carrier=tracing.carrier(cause.headers),
        correlation_id=stored.finding.correlation_id or cause.correlation_id,
        kind=SpanKind.CONSUMER,
        began=began,
        rule=stored.finding.rule.title,
    )


def _dead(delivery: Delivery, reason: str) -> DeadLetter:
    return DeadLetter(
        body=delivery.body,
        reason=reason,
        kind="contract",
        message_id=delivery.message_id,
        correlation_id=delivery.correlation_id,
        headers=delivery.headers,
    )
