"""Writes the buffers of the archive to files, and commits the files in the manifest."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from audit_analysis.archive.archived_file import ArchiveFile, path_of
from audit_analysis.archive.buffers import Buffer, Buffers
from audit_analysis.archive.manifest import Manifest
from audit_analysis.archive.metrics import ArchiveMetrics
from audit_analysis.archive.parquet import ParquetWriter, UnstoredFile
from audit_analysis.archive.pending_batch import PendingBatch, poison
from audit_analysis.archive.storage import Storage
from audit_analysis.archive.table import ArchivedEvent, hour_of, partition_hour_ms
from audit_analysis.ledger.senders import activity_of
from audit_analysis.ledger.store import Entries
from auditflow.amqp import topology
from auditflow.amqp.connection import retry_until_stopped
from auditflow.amqp.publisher import Publisher
from auditflow.errors import Unavailable
from auditflow.telemetry import logs

#: The name of the service in dead letters, and of its Deployment.
SERVICE: Final = "audit-event-archive"
_CONFIRM_SECONDS: Final = 10.0

log = logs.get(__name__)


class BufferFlusher:
    """Writes one buffer after the other. It waits while PostgreSQL or the storage fails."""

    def __init__(
        self,
        buffers: Buffers,
        manifest: Manifest,
        storage: Storage,
        files: ParquetWriter,
        publisher: Publisher,
        *,
        metrics: ArchiveMetrics,
        silence_seconds: float,
        stop: threading.Event,
        on_flushed: Callable[[], None],
    ) -> None:
        """``publisher`` publishes the dead letters of the queue.

        ``silence_seconds`` is the minimum time after which a host is silent. ``on_flushed`` is
        called on this thread after each buffer.
        """
        self._buffers = buffers
        self._manifest = manifest
        self._storage = storage
        self._files = files
        self._publisher = publisher
        self._metrics = metrics
        self._silence_seconds = silence_seconds
        self._stop = stop
        self._on_flushed = on_flushed
        self._pause_reason: str | None = None

    def pause_reason(self) -> str | None:
        """Why batches wait; None while files are written. Any thread may call it."""
        return self._pause_reason

    def run(self) -> None:
        """Write buffers until the writer stops."""
        try:
            self._retry(self._manifest.migrate)
            while not self._stop.is_set():
                self._flush_next()
        except Unavailable:
            pass  # stopped while a server was unavailable

    def _flush_next(self) -> None:
        buffer = self._buffers.next_buffer()
        if buffer is None or self._stop.is_set():
            return
        try:
            self._retry(partial(self._flush, buffer))
        except Unavailable:
            raise
        except Exception:  # a batch that fails must not stop the archive
            log.exception("files cannot be written, writing each batch alone")
            self._flush_separately(buffer)
        self._buffers.report_flushed()
        self._on_flushed()

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
                dead_letters.append(poison(batch.delivery, error))
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


def _partitions(
    rows: Iterable[ArchivedEvent],
) -> dict[tuple[int, str], list[ArchivedEvent]]:
    """The rows by hour (see ``partition_hour_ms``) and source.

    A sender of the ingest chooses the time of an event, but not the time of its receipt.
    """
    partitions: dict[tuple[int, str], list[ArchivedEvent]] = defaultdict(list)
    for row in rows:
        partitions[partition_hour_ms(row), row.source].append(row)
    return partitions
