"""Consumes the queue ``audit_archive`` and writes its events to files.

A thread receives and decodes batches. A second thread writes files, commits them in the manifest,
and only then the batches are acknowledged. While PostgreSQL or the storage is unavailable, batches
wait in the broker.
"""

import datetime as dt
import hashlib
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import pika
from msgspec import Struct, field
from pika.exceptions import AMQPError

from audit_analysis.archive import decoding
from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.archive.manifest import Manifest
from audit_analysis.archive.metrics import ArchiveMetrics
from audit_analysis.archive.parquet import ParquetWriter, UnstoredFile
from audit_analysis.archive.storage import Storage
from audit_analysis.archive.table import ArchivedEvent, hour_of
from audit_analysis.ledger.outcomes import MessageOutcome
from audit_analysis.ledger.senders import activity_of
from audit_analysis.ledger.store import DifferentBatch, Entries
from auditflow.amqp import Delivery, topology
from auditflow.amqp.connection import retry_until_stopped
from auditflow.amqp.dead_letter import DeadLetter
from auditflow.amqp.publisher import Publisher
from auditflow.amqp.subscription import Subscription
from auditflow.contract import archive, ledger
from auditflow.contract.ledger import HOUR_MS, Receipt
from auditflow.errors import ContractError, Unavailable
from auditflow.telemetry import logs
from auditflow.worker import Worker

#: The name of the service in dead letters, and of its Deployment.
SERVICE: Final = "audit-event-archive"
#: Maximum number of unacknowledged batches. Half of them are written at once.
PREFETCH: Final = 400
#: The default of the minimum time after which a host is silent (seconds).
SILENCE_SECONDS: Final = 30 * 60.0
#: The writer's threads have a lower CPU priority than searches and, on the same machine, than the
#: path of the alerts: batches can wait in the queue.
NICENESS: Final = 5
#: Rows are also written to a file when there are this many. A row uses about 1 KB more than its
#: record.
MAX_BUFFER_ROWS: Final = 100_000
_POLL_SECONDS: Final = 0.5
_CONFIRM_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 8.0

log = logs.get(__name__)


class PendingBatch(Struct, frozen=True, kw_only=True):
    """A received batch or receipt. ``different`` is given if the analysis counted other events."""

    delivery: Delivery
    batch_id: bytes
    rows: Sequence[ArchivedEvent] = ()
    messages: Sequence[MessageOutcome] = ()
    receipt: Receipt | None = None
    different: DifferentBatch | None = None


class Buffer(Struct):
    """Batches that are not in a file yet. ``size`` is the size of their records in bytes."""

    started: float
    batches: dict[bytes, PendingBatch] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    messages: int = 0
    last_tag: int = 0
    rows: int = 0
    size: int = 0


class _ConnectionLost(Exception):
    """The connection to the broker ended or could not be opened."""


class ArchiveWriter:
    """The writer of the archive."""

    def __init__(
        self,
        parameters: pika.ConnectionParameters,
        manifest: Manifest,
        storage: Storage,
        files: ParquetWriter,
        publisher: Publisher,
        *,
        metrics: ArchiveMetrics,
        flush_seconds: float,
        buffer_bytes: int,
        prefetch: int = PREFETCH,
        silence_seconds: float = SILENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``publisher`` publishes the dead letters of this queue.

        ``silence_seconds`` is the minimum time after which a host is silent.
        """
        self._parameters = parameters
        self._manifest = manifest
        self._storage = storage
        self._files = files
        self._publisher = publisher
        self._metrics = metrics
        self._flush_seconds = flush_seconds
        self._buffer_bytes = buffer_bytes
        self._prefetch = prefetch
        self._silence_seconds = silence_seconds
        self._clock = clock
        self._stop = threading.Event()
        self._disconnect_reason: str | None = "not connected yet"
        self._pause_reason: str | None = None
        self._subscription: Subscription | None = None
        #: Deliveries that were received while the buffer was full, or together with others.
        self._undecoded: deque[Delivery] = deque()
        self._lock = threading.Lock()
        self._open = Buffer(clock())
        self._flushing: Buffer | None = None
        self._flush_requested = threading.Event()
        self._flushed = threading.Event()
        self._receiver = Worker("archive-receiver", self._receive, niceness=NICENESS)
        self._flusher = Worker("archive-flusher", self._flush_buffers, niceness=NICENESS)
        metrics.observe_pending(self.pending_count)

    def start(self) -> None:
        """Start both threads. Returns immediately."""
        self._flusher.start()
        self._receiver.start()

    def stop(self) -> None:
        """End the threads. Batches that are not in a file stay in the queue."""
        self._stop.set()
        self._flush_requested.set()
        self._wake()
        self._receiver.stop(timeout=_STOP_SECONDS)
        self._flusher.stop(timeout=_STOP_SECONDS)

    def check(self) -> str | None:
        """Why the writer is not connected to the broker; None while it is connected."""
        return self.alive() or self._disconnect_reason

    def pause_reason(self) -> str | None:
        """Why batches wait for the storage or for PostgreSQL; None while files are written."""
        return self._pause_reason

    def alive(self) -> str | None:
        """Why a thread does not run; None while both run. Only a restart helps."""
        return self._receiver.check() or self._flusher.check()

    def pending(self) -> Sequence[ArchivedEvent]:
        """The events that are not in a file yet.

        Read them before the snapshot of the manifest. Events that are written in between are in
        both; otherwise they would be in neither.
        """
        with self._lock:
            buffers = [buffer for buffer in (self._flushing, self._open) if buffer is not None]
            batches = [batch for buffer in buffers for batch in buffer.batches.values()]
        return [row for batch in batches for row in batch.rows]

    def pending_count(self) -> int:
        """The number of events that are not in a file yet."""
        with self._lock:
            return self._open.rows + (self._flushing.rows if self._flushing else 0)

    # The following methods run on the receiver's thread.

    def _receive(self) -> None:
        while not self._stop.is_set():
            try:
                retry_until_stopped(self._stop, _ConnectionLost, report=self._report)(self._connect)
                self._consume()
            except (_ConnectionLost, AMQPError, OSError) as error:
                self._disconnect_reason = f"the connection ended: {error}"
                if not self._stop.is_set():
                    log.warning("archive writer disconnected", error=str(error))
            finally:
                self._disconnect()

    def _connect(self) -> None:
        try:
            self._subscription = Subscription(
                self._parameters, topology.ARCHIVE, prefetch=self._prefetch
            )
        except (AMQPError, OSError) as error:
            raise _ConnectionLost(str(error) or type(error).__name__) from None
        self._disconnect_reason = None
        log.info("archive writer connected", queue=topology.ARCHIVE)

    def _disconnect(self) -> None:
        """Forget the open buffer: the broker delivers its batches again.

        A flush in progress completes. Its batches are delivered again too, and are then known.
        """
        subscription, self._subscription = self._subscription, None
        self._disconnect_reason = self._disconnect_reason or "disconnected"
        self._undecoded.clear()
        with self._lock:
            self._open = Buffer(self._clock())
            if self._flushing is not None:
                self._flushing.last_tag = 0  # a tag of another connection
        if subscription is not None:
            subscription.close()

    def _consume(self) -> None:
        assert self._subscription is not None
        while not self._stop.is_set():
            if self._is_full():
                self._subscription.wait(_POLL_SECONDS)
            elif self._undecoded:
                self._add(self._undecoded.popleft())
            else:
                self._undecoded.extend(self._subscription.poll(self._wait_seconds()))
            self._acknowledge()
            if self._is_due():
                self._request_flush()

    def _wait_seconds(self) -> float:
        if not self._open.messages:
            return _POLL_SECONDS
        due = self._open.started + self._flush_seconds - self._clock()
        return min(_POLL_SECONDS, max(0.01, due))

    def _add(self, delivery: Delivery) -> None:
        batch: PendingBatch | None = None
        dead_letter: DeadLetter | None = None
        try:
            batch = _read(delivery)
        except ContractError as error:
            dead_letter = DeadLetter(
                body=delivery.body, reason=str(error), kind="contract", headers=delivery.headers
            )
        except Exception as error:  # one message must not stop the archive
            log.exception("a message of the archive failed, dead-lettering it")
            dead_letter = _poison(delivery, error)
        with self._lock:
            buffer = self._open
            if not buffer.messages:
                buffer.started = self._clock()
            buffer.messages += 1
            buffer.last_tag = delivery.tag
            if dead_letter is not None:
                buffer.dead_letters.append(dead_letter)
            elif batch is not None and batch.batch_id not in buffer.batches:
                buffer.batches[batch.batch_id] = batch
                buffer.rows += len(batch.rows)
                buffer.size += sum(len(row.record) for row in batch.rows)

    def _is_due(self) -> bool:
        buffer = self._open
        return bool(buffer.messages) and (
            self._is_full()
            or buffer.messages >= self._prefetch // 2
            or self._clock() >= buffer.started + self._flush_seconds
        )

    def _is_full(self) -> bool:
        """Whether the open buffer takes no further batch. A batch may exceed the limits once."""
        return self._open.size >= self._buffer_bytes or self._open.rows >= MAX_BUFFER_ROWS

    def _request_flush(self) -> None:
        with self._lock:
            if self._flushing is not None:
                return  # no further batch is read when the open buffer is full
            self._flushing, self._open = self._open, Buffer(self._clock())
        self._flush_requested.set()

    def _acknowledge(self) -> None:
        """Acknowledge the batches that are in files."""
        assert self._subscription is not None
        if not self._flushed.is_set():
            return
        with self._lock:
            flushed, self._flushing = self._flushing, None
            self._flushed.clear()
        if flushed is not None and flushed.last_tag:
            self._subscription.acknowledge(flushed.last_tag)
            self._metrics.batches.inc(flushed.messages)

    def _report(self, error: BaseException, seconds: float) -> None:
        self._disconnect_reason = str(error)
        log.warning("cannot consume the archive", error=str(error), retry_in=round(seconds, 1))

    def _wake(self) -> None:
        subscription = self._subscription
        if subscription is not None:
            subscription.wake()

    # The following methods run on the flusher's thread.

    def _flush_buffers(self) -> None:
        try:
            self._retry(self._manifest.migrate)
            while not self._stop.is_set():
                self._flush_next()
        except Unavailable:
            pass  # stopped while a server was unavailable

    def _flush_next(self) -> None:
        self._flush_requested.wait()
        self._flush_requested.clear()
        with self._lock:
            buffer = self._flushing
        if buffer is None or self._flushed.is_set() or self._stop.is_set():
            return
        try:
            self._retry(partial(self._flush, buffer))
        except Unavailable:
            raise
        except Exception:  # one batch must not stop the archive
            log.exception("files cannot be written, writing each batch alone")
            self._flush_separately(buffer)
        self._flushed.set()
        self._wake()

    def _retry(self, work: Callable[[], None]) -> None:
        retry_until_stopped(self._stop, Unavailable, report=self._report_pause)(work)
        self._pause_reason = None

    def _report_pause(self, error: BaseException, seconds: float) -> None:
        self._pause_reason = str(error)
        self._metrics.pauses.inc()
        log.warning("the archive cannot be written", error=str(error), retry_in=round(seconds, 1))

    def _flush_separately(self, buffer: Buffer) -> None:
        """Write each batch of a buffer alone, and dead-letter those that fail again."""
        dead_letters = list(buffer.dead_letters)
        for batch_id, batch in buffer.batches.items():
            try:
                self._retry(partial(self._flush, Buffer(buffer.started, {batch_id: batch})))
            except Unavailable:
                raise
            except Exception as error:
                log.exception("a batch of the archive failed alone, dead-lettering it")
                dead_letters.append(_poison(batch.delivery, error))
        letters_only = Buffer(buffer.started, dead_letters=dead_letters)
        self._retry(partial(self._flush, letters_only))

    def _flush(self, buffer: Buffer) -> None:
        """Write a buffer to files and commit them. May be repeated."""
        started = time.perf_counter()
        batch_ids = list(buffer.batches)
        # Known: a batch that was published or delivered twice.
        known = self._manifest.known_batches(batch_ids)
        new = [batch for batch in buffer.batches.values() if batch.batch_id not in known]
        rows = [row for batch in new for row in batch.rows]
        files = [
            self._store(self._files.write(part), hour_ms, source)
            for (hour_ms, source), part in _partitions(rows).items()
        ]
        if buffer.dead_letters:
            self._publisher.publish(
                [
                    letter.message(topology.ARCHIVE, service=SERVICE)
                    for letter in buffer.dead_letters
                ],
                timeout=_CONFIRM_SECONDS,
            )
        self._manifest.commit(
            files, [batch.batch_id for batch in new], self._ledger_entries(new, rows)
        )
        self._metrics.add_flush(files, duplicates=len(known), seconds=time.perf_counter() - started)

    def _ledger_entries(
        self, batches: Sequence[PendingBatch], rows: Sequence[ArchivedEvent]
    ) -> Entries:
        return Entries(
            receipts=[batch.receipt for batch in batches if batch.receipt is not None],
            messages=[message for batch in batches for message in batch.messages],
            different=[batch.different for batch in batches if batch.different is not None],
            activity=activity_of(rows),
            silence_ms=int(self._silence_seconds * 1000),
        )

    def _store(self, written: UnstoredFile, hour_ms: int, source: str) -> ArchiveFile:
        hour = hour_of(hour_ms)
        path = path_of(hour, source)
        self._storage.store(written.local, path)
        return written.stored(path, tier=self._storage.tier, hour=hour, source=source)


def path_of(hour: dt.datetime, source: str) -> str:
    """A new path for a file. The manifest, not the path, states what a file contains."""
    return f"{hour:%Y/%m/%d/%H}/{source}-{uuid.uuid4()}.parquet"


def _poison(delivery: Delivery, error: Exception) -> DeadLetter:
    return DeadLetter(
        body=delivery.body,
        reason=f"{type(error).__name__}: {error}",
        kind="poison",
        headers=delivery.headers,
    )


def _read(delivery: Delivery) -> PendingBatch:
    if decoding.is_dead_letter(delivery):
        content = delivery.properties + delivery.body
        batch_id = hashlib.blake2b(content, digest_size=16).digest()
        message = decoding.message_of_dead_letter(delivery)
        return PendingBatch(
            delivery=delivery, batch_id=batch_id, rows=message.rows, messages=[message.outcome]
        )
    if delivery.content_type == ledger.CONTENT_TYPE:
        receipt = ledger.decode_receipt(delivery.body)
        return PendingBatch(
            delivery=delivery, batch_id=ledger.receipt_id(delivery.body), receipt=receipt
        )
    batch = archive.decode(delivery.body)
    messages = decoding.messages_of_batch(batch)
    rows = [row for message in messages for row in message.rows]
    different = None
    if batch.events is not None and batch.events != len(rows):
        hour = hour_of(batch.processed_ms)
        different = DifferentBatch(batch.batch_id, hour, batch.events, len(rows))
    return PendingBatch(
        delivery=delivery,
        batch_id=batch.batch_id,
        rows=rows,
        messages=[message.outcome for message in messages],
        different=different,
    )


def _partitions(
    rows: Iterable[ArchivedEvent],
) -> dict[tuple[int, str], list[ArchivedEvent]]:
    """The rows by hour of receipt and source.

    A sender chooses the time of an event, but not the time of its receipt. Therefore a sender
    cannot create many files, and a redelivered event is in the same hour.
    """
    partitions: dict[tuple[int, str], list[ArchivedEvent]] = defaultdict(list)
    for row in rows:
        partitions[row.received_ms // HOUR_MS * HOUR_MS, row.source].append(row)
    return partitions
