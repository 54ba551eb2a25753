"""Consumes the queue ``audit_archive`` and writes its events to files.

A thread receives and decodes batches. A second thread writes files, commits them in the manifest,
and only then the batches are acknowledged. While PostgreSQL or the storage is unavailable, batches
wait in the broker.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import pika

from audit_analysis.archive.buffers import Buffers
from audit_analysis.archive.flusher import BufferFlusher
from audit_analysis.archive.manifest import Manifest
from audit_analysis.archive.metrics import ArchiveMetrics
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.receiver import BatchReceiver
from audit_analysis.archive.storage import Storage
from audit_analysis.archive.table import ArchivedEvent
from auditflow.amqp.publisher import Publisher
from auditflow.worker import Worker

#: Maximum number of unacknowledged batches. Half of them are written at once.
PREFETCH: Final = 400
#: The default of the minimum time after which a host is silent (seconds).
SILENCE_SECONDS: Final = 30 * 60.0
#: The writer's threads have a lower CPU priority than, on the same machine, the path of the alerts:
#: batches can wait in the queue. Searches have a lower priority than the writer.
NICENESS: Final = 5
_STOP_SECONDS: Final = 8.0


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

        ``flush_seconds`` is the maximum time of an event in a buffer. ``prefetch`` is the maximum
        number of unacknowledged batches. ``silence_seconds`` is the minimum time after which a
        host is silent.
        """
        self._stop = threading.Event()
        self._buffers = Buffers(clock)
        self._receiver = BatchReceiver(
            parameters,
            self._buffers,
            metrics=metrics,
            flush_seconds=flush_seconds,
            buffer_bytes=buffer_bytes,
            prefetch=prefetch,
            clock=clock,
            stop=self._stop,
        )
        self._flusher = BufferFlusher(
            self._buffers,
            manifest,
            storage,
            files,
            publisher,
            metrics=metrics,
            silence_seconds=silence_seconds,
            stop=self._stop,
            on_flushed=self._receiver.wake,
        )
        self._receiver_thread = Worker("archive-receiver", self._receiver.run, niceness=NICENESS)
        self._flusher_thread = Worker("archive-flusher", self._flusher.run, niceness=NICENESS)
        metrics.observe_pending(self.pending_count)

    def start(self) -> None:
        """Start both threads. Returns immediately."""
        self._flusher_thread.start()
        self._receiver_thread.start()

    def stop(self) -> None:
        """End the threads. Batches that are not in a file stay in the queue."""
        self._stop.set()
        self._buffers.end_wait()
        self._receiver.wake()
        self._receiver_thread.stop(timeout=_STOP_SECONDS)
        self._flusher_thread.stop(timeout=_STOP_SECONDS)

    def check(self) -> str | None:
        """Why the writer is not connected to the broker; None while it is connected."""
        return self.alive() or self._receiver.disconnect_reason()

    def pause_reason(self) -> str | None:
        """Why batches wait for the storage or for PostgreSQL; None while files are written."""
        return self._flusher.pause_reason()

    def alive(self) -> str | None:
        """Why a thread does not run; None while both run. Only a restart helps."""
        return self._receiver_thread.check() or self._flusher_thread.check()

    def pending(self) -> Sequence[ArchivedEvent]:
        """The events that are not in a file yet.

        Read them before the snapshot of the manifest. Events that are written in between are in
        both; otherwise they would be in neither.
        """
        return self._buffers.rows()

    def pending_count(self) -> int:
        """The number of events that are not in a file yet."""
        return self._buffers.row_count()
