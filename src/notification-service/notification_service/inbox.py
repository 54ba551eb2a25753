"""The handler of messages from the queue ``audit_alerts``: decode, store, report."""

import datetime as dt
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final
from uuid import UUID

from msgspec import Struct
from opentelemetry.trace import SpanKind

from auditflow.amqp import DeadLetter, Delivery
from auditflow.contract import acceptance, finding_message
from auditflow.contract import finding as findings
from auditflow.contract.finding import Finding
from auditflow.errors import ContractError
from auditflow.telemetry import logs, tracing
from auditflow.telemetry.metrics import exemplar
from notification_service.aggregation import Changes, StoredFinding, fingerprint_of
from notification_service.disjoint_calls import DisjointCalls
from notification_service.metrics import Metrics

#: Maximum size of the findings of one transaction, in bytes. It bounds the memory for the rows.
MAX_TRANSACTION_BYTES: Final = 4 * 1024 * 1024
#: Maximum number of findings of one transaction, each of which needs two locks of PostgreSQL. More
#: findings do not reduce the cost of each.
MAX_TRANSACTION_FINDINGS: Final = 250
#: A batch is divided for parallel transactions with at least this number of findings each, because
#: a finding costs more in a smaller transaction.
MIN_PARALLEL_FINDINGS: Final = 100
#: A batch with this number of findings shows that many findings arrive, for this time in seconds.
BUSY_FINDINGS: Final = 50
BUSY_SECONDS: Final = 1.0
#: Number of findings of a transaction that are logged one by one.
LOGGED: Final = 10

log = logs.get(__name__)

#: Stores findings, one version of each, in one transaction.
Store = Callable[[Sequence[Finding]], Changes]


class _Message(Struct, frozen=True):
    """A valid finding, and its message or the part of a message that contains it."""

    delivery: Delivery
    finding: Finding
    fingerprint: UUID


class DecodedBatch(Struct, frozen=True):
    """The valid findings of a batch, and the dead letters of findings that violate the contract.

    ``size`` is the number of messages.
    """

    size: int
    messages: list[_Message]
    dead_letters: list[DeadLetter]


class Inbox:
    """The steps of an ``auditflow.amqp.Consumer``. A message may be delivered repeatedly."""

    def __init__(self, store: Store, metrics: Metrics, *, parallel: int = 1) -> None:
        """``parallel`` transactions of a batch are executed at the same time."""
        self._store = store
        self._metrics = metrics
        self._parallel = parallel
        self._calls = DisjointCalls(parallel, name="store")
        self._busy_until = -math.inf

    def is_busy(self) -> bool:
        """Whether many findings arrive. Any thread may call it."""
        return time.monotonic() < self._busy_until

    def decode(self, batch: Sequence[Delivery]) -> DecodedBatch:
        """Decode the findings of a batch. This can be done while another batch is stored."""
        return _decode(batch)

    @staticmethod
    def split(delivery: Delivery) -> Sequence[Delivery]:
        """The findings of a message as messages of their own, to process each alone."""
        try:
            return _split_message(delivery)
        except ContractError:
            return (delivery,)

    def store(self, decoded: DecodedBatch) -> list[DeadLetter]:
        """Store the findings of a batch. Return the findings that violate the contract."""
        started, started_ns = time.perf_counter(), time.time_ns()
        dead_letters = list(decoded.dead_letters)
        totals = dict.fromkeys(("new", "updated", "unchanged", "opened"), 0)

        def record(transactions: list[tuple[Changes, list[_Message]]]) -> None:
            for changes, messages in transactions:
                refused = {finding.finding_id for finding in changes.conflicting}
                dead_letters.extend(
                    _conflict(message)
                    for message in messages
                    if message.finding.finding_id in refused
                )
                self._record(changes, messages, totals, started_ns)

        parts = _split(decoded.messages, self._parallel)
        self._calls.run(parts, self._store_part, keys=_keys, done=record)
        if len(decoded.messages) >= BUSY_FINDINGS:
            self._busy_until = time.monotonic() + BUSY_SECONDS
        self._metrics.batch_seconds.observe(time.perf_counter() - started)
        log.info("findings stored", messages=decoded.size, **totals, refused=len(dead_letters))
        return dead_letters

    def _store_part(self, part: list[_Message]) -> list[tuple[Changes, list[_Message]]]:
        """Store a part of a batch. Return the changes of each transaction with its messages."""
        transactions = []
        while part:
            # Messages that conflict with another message are compared with what it stored.
            consistent, part = _separate_conflicts(part)
            merged = findings.merge_all(message.finding for message in consistent)
            transactions.append((self._store(list(merged.values())), consistent))
        return transactions

    def _record(
        self,
        changes: Changes,
        messages: Sequence[_Message],
        totals: dict[str, int],
        started_ns: int,
    ) -> None:
        """Record the result of a transaction in metrics, traces and the log."""
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
        causes: dict[UUID, Delivery] = {}
        for message in messages:
            causes.setdefault(message.finding.finding_id, message.delivery)
        stored_findings = [*changes.new, *changes.updated]
        for number, stored in enumerate(stored_findings):
            cause = causes[stored.finding.finding_id]
            is_new, is_logged = number < len(changes.new), number < LOGGED
            with _span(stored, cause, started_ns) if is_logged else nullcontext():
                age = acceptance.age_seconds(cause.headers) if is_new else None
                if age is not None:
                    self._metrics.event_to_alert_seconds.observe(age, exemplar())
                if is_logged:
                    log.info(
                        "finding stored",
                        finding_id=str(stored.finding.finding_id),
                        alert_id=str(stored.alert_id),
                        rule=stored.finding.rule.title,
                        outcome="new" if is_new else "updated",
                    )


def _decode(batch: Sequence[Delivery]) -> DecodedBatch:
    now = dt.datetime.now(dt.UTC)
    messages: list[_Message] = []
    dead_letters: list[DeadLetter] = []
    for delivery in batch:
        try:
            parts = _split_message(delivery)
        except ContractError as error:
            dead_letters.append(_dead_letter(delivery, str(error)))
            continue
        for part in parts:
            try:
                finding = findings.decode(part.body, now=now)
            except ContractError as error:
                dead_letters.append(_dead_letter(part, str(error)))
            else:
                messages.append(_Message(part, finding, fingerprint_of(finding)))
    return DecodedBatch(len(batch), messages, dead_letters)


def _split_message(delivery: Delivery) -> Sequence[Delivery]:
    """The findings of a message as messages of their own. They are not validated.

    Raises:
        ContractError: the message is an array that exceeds a limit or is malformed.
    """
    if not finding_message.is_array(delivery.body):
        return (delivery,)
    return [
        delivery.part(body, headers={**delivery.headers, **headers})
        for body, headers in finding_message.decode(delivery.body)
    ]


def _keys(part: Iterable[_Message]) -> frozenset[UUID]:
    """What a transaction locks: parts that share a key are stored one after the other."""
    keys = {message.fingerprint for message in part}
    return frozenset(keys.union(message.finding.finding_id for message in part))


def _split(messages: Sequence[_Message], parallel: int) -> Iterator[list[_Message]]:
    """Parts of a batch that are small enough for one transaction, for ``parallel`` transactions."""
    share = math.ceil(len(messages) / parallel)
    maximum = MAX_TRANSACTION_FINDINGS
    if share >= MIN_PARALLEL_FINDINGS:
        maximum = min(maximum, share)
    part: list[_Message] = []
    size = 0
    for message in messages:
        if part and (
            len(part) >= maximum or size + len(message.delivery.body) > MAX_TRANSACTION_BYTES
        ):
            yield part
            part, size = [], 0
        part.append(message)
        size += len(message.delivery.body)
    if part:
        yield part


def _separate_conflicts(
    messages: Sequence[_Message],
) -> tuple[list[_Message], list[_Message]]:
    """Separate messages whose finding has the identifier of an earlier one, but another entity."""
    owners: dict[UUID, UUID] = {}
    consistent: list[_Message] = []
    conflicting: list[_Message] = []
    for message in messages:
        owner = owners.setdefault(message.finding.finding_id, message.fingerprint)
        (consistent if owner == message.fingerprint else conflicting).append(message)
    return consistent, conflicting


def _span(
    stored: StoredFinding, cause: Delivery, started_ns: int
) -> AbstractContextManager[object]:
    return tracing.span(
        "store finding",
        carrier=tracing.carrier(cause.headers),
        correlation_id=stored.finding.correlation_id or cause.correlation_id,
        kind=SpanKind.CONSUMER,
        began=started_ns,
        rule=stored.finding.rule.title,
    )


def _conflict(message: _Message) -> DeadLetter:
    reason = f"finding {message.finding.finding_id} belongs to another rule or entity"
    return _dead_letter(message.delivery, reason)


def _dead_letter(delivery: Delivery, reason: str) -> DeadLetter:
    return DeadLetter(
        body=delivery.body,
        reason=reason,
        kind="contract",
        message_id=delivery.message_id,
        correlation_id=delivery.correlation_id,
        headers=delivery.headers,
    )
