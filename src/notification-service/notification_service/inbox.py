"""What to do with a batch of messages from the queue ``audit_alerts``. Pure, but for the fold."""

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final
from uuid import UUID

from msgspec import Struct

from auditflow import finding as findings
from auditflow import logs, tracing
from auditflow.amqp import DeadLetter, Delivery
from auditflow.errors import ContractError
from auditflow.finding import Finding
from notification_service.fold import Changes, fingerprint_of
from notification_service.metrics import Metrics

#: Messages that go into one transaction, in bytes. It bounds the memory that the largest findings
#: take on their way into SQL.
MAX_TRANSACTION_BYTES: Final = 4 * 1024 * 1024

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
        started = time.perf_counter()
        readable, dead = self._read(batch)
        with _context(batch, readable):
            totals = dict.fromkeys(("new", "updated", "unchanged", "opened"), 0)
            for part in _parts(readable):
                changes, refused = self._fold(part)
                dead += refused
                self._count(changes, totals)
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
        now = dt.datetime.now(dt.UTC)
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
        for stored in changes.new:
            age = (now - stored.finding.last_seen).total_seconds()
            self._metrics.event_to_alert_seconds.observe(max(0.0, age))
        totals["opened"] += len(changes.opened)


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


def _context(batch: Sequence[Delivery], readable: Sequence[_Read]) -> AbstractContextManager[None]:
    """The trace that a single message continues; many messages have no one trace."""
    if len(batch) != 1:
        return nullcontext()
    known = [one.finding.correlation_id for one in readable]
    return tracing.span(
        "fold findings",
        carrier=tracing.carrier(batch[0].headers),
        correlation_id=(known[0] if known else None) or batch[0].correlation_id,
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
