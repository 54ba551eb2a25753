"""The audit trail: what each person and token did, written in batches by one thread.

An action that only reads does not wait for its row. The same read by the same person from the same
address is recorded once a minute. An action that changes something waits until its row is stored.
While the database is unavailable, rows wait in memory; if they become too many, the oldest are
dropped, and a row states how many.
"""

import datetime as dt
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final, Protocol

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter

from auditflow.contract.audit import MAX_TRAIL_TEXT, REPEAT_SECONDS, Outcome
from auditflow.errors import Unavailable
from auditflow.telemetry import logs
from auditflow.worker import Worker

#: Rows that wait for the database, and rows of one transaction.
MAX_WAITING: Final = 20_000
BATCH: Final = 1_000
#: Time between two batches of reads, and the pause after a failure, in seconds.
BATCH_SECONDS: Final = 0.25
RETRY_SECONDS: Final = 1.0
#: Maximum number of reads that are remembered, so that equal reads are recorded once.
MAX_REMEMBERED: Final = 10_000

log = logs.get(__name__)


def clean(text: str) -> str:
    """A text that can be stored: without NUL and lone surrogates, and not too long."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")[:MAX_TRAIL_TEXT]


class Record(Struct, frozen=True, kw_only=True):
    """A record that has no number yet."""

    at: dt.datetime
    actor: str
    actor_kind: str
    action: str
    outcome: Outcome
    address: str = ""
    target: str = ""
    detail: dict[str, str] = {}
    status: int | None = None
    correlation_id: str = ""

    def key(self) -> tuple[object, ...]:
        """The key of a read. Equal reads have the same key."""
        return (
            self.actor, self.actor_kind, self.action, self.outcome, self.address, self.target,
            tuple(self.detail.items()),
        )  # fmt: skip


class Store(Protocol):
    """Stores records."""

    def append(self, records: Sequence[Record]) -> None:
        """Store records in this order, all or none. Raises Unavailable."""


class TrailMetrics:
    """Metrics of the audit trail."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.written = Counter(
            "auditflow_audit_trail_rows_total", "Rows of the audit trail stored.", registry=registry
        )
        self.dropped = Counter(
            "auditflow_audit_trail_dropped_total",
            "Rows of the audit trail dropped, because too many waited for the database.",
            registry=registry,
        )


class _Waiting(Struct):
    record: Record
    stored: Future[None] | None


class Trail:
    """Receives records from any thread, and stores them in batches in a thread of its own."""

    def __init__(self, store: Store, metrics: TrailMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._dropped = 0
        self._recent: OrderedDict[tuple[object, ...], float] = OrderedDict()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._worker = Worker("audit-trail", self._run)

    def record(self, record: Record) -> Future[None]:
        """Store a record soon. The future is done when it is stored, or failed if it is dropped."""
        stored: Future[None] = Future()
        self._add(_Waiting(record, stored))
        self._wake.set()
        return stored

    def record_read(self, record: Record) -> None:
        """Store the record of a read, unless the same read was recorded within a minute."""
        key, now = record.key(), time.monotonic()
        with self._lock:
            if now - self._recent.get(key, -REPEAT_SECONDS) < REPEAT_SECONDS:
                return
            self._recent[key] = now
            self._recent.move_to_end(key)
            if len(self._recent) > MAX_REMEMBERED:
                self._recent.popitem(last=False)
        self._add(_Waiting(record, None))

    def _add(self, waiting: _Waiting) -> None:
        oldest = None
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                oldest = self._waiting.popleft()
                self._dropped += 1
                self._metrics.dropped.inc()
            self._waiting.append(waiting)
        if oldest is not None and oldest.stored is not None:
            oldest.stored.set_exception(Unavailable("postgresql", "the audit trail is full"))

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def close(self) -> None:
        """Store what waits, for some seconds, and end the thread."""
        self._stopping.set()
        self._wake.set()
        self._worker.stop(timeout=3.0)

    def alive(self) -> str | None:
        """None while the thread runs, else what is wrong."""
        return self._worker.check()

    def flush(self) -> bool:
        """Store one batch. True if more records wait.

        Raises:
            Unavailable: the records wait for the next call.
        """
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            dropped, self._dropped = self._dropped, 0
        records = [waiting.record for waiting in batch]
        if dropped:
            records.insert(0, _rows_dropped(dropped))
        if not records:
            return False
        try:
            self._store.append(records)
        except BaseException:
            with self._lock:
                self._waiting.extendleft(reversed(batch))
                self._dropped += dropped
            raise
        self._metrics.written.inc(len(records))
        for waiting in batch:
            if waiting.stored is not None:
                waiting.stored.set_result(None)
        return len(batch) == BATCH

    def _run(self) -> None:
        while True:
            self._wake.wait(BATCH_SECONDS)
            self._wake.clear()
            try:
                while self.flush():
                    pass
            except Unavailable as error:
                log.warning("audit trail waits", error=str(error))
                if self._stopping.wait(RETRY_SECONDS):
                    return
            if self._stopping.is_set():
                return


def _rows_dropped(count: int) -> Record:
    return Record(
        at=dt.datetime.now(dt.UTC),
        actor="notification-service",
        actor_kind="token",
        action="trail rows dropped",
        outcome="failed",
        detail={"rows": str(count)},
    )
