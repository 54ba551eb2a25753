"""The two buffers of the writer: one is filled while the other one is written to files."""

import threading
from collections.abc import Callable, Sequence

from msgspec import Struct, field

from audit_analysis.archive.pending_batch import PendingBatch
from audit_analysis.archive.table import ArchivedEvent
from auditflow.amqp.dead_letter import DeadLetter


class Buffer(Struct):
    """Batches that are not in a file yet. ``size`` is the size of their records in bytes.

    ``started`` is the time of the first message, in seconds of the writer's clock. ``last_tag`` is
    the delivery tag of the newest message; 0 if nothing can be acknowledged.
    """

    started: float
    batches: dict[bytes, PendingBatch] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    messages: int = 0
    last_tag: int = 0
    rows: int = 0
    size: int = 0


class Buffers:
    """The open buffer and the buffer that is being written. Two threads use it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` returns seconds and never goes back."""
        self._clock = clock
        self._lock = threading.Lock()
        self._open = Buffer(clock())
        self._flushing: Buffer | None = None
        self._flush_requested = threading.Event()
        self._flushed = threading.Event()

    def rows(self) -> Sequence[ArchivedEvent]:
        """The events of both buffers. Any thread may call it."""
        with self._lock:
            buffers = [buffer for buffer in (self._flushing, self._open) if buffer is not None]
            batches = [batch for buffer in buffers for batch in buffer.batches.values()]
        return [row for batch in batches for row in batch.rows]

    def row_count(self) -> int:
        """The number of events of both buffers. Any thread may call it."""
        with self._lock:
            return self._open.rows + (self._flushing.rows if self._flushing else 0)

    def end_wait(self) -> None:
        """End ``next_buffer`` without a buffer. Any thread may call it."""
        self._flush_requested.set()

    # The following methods run on the receiver's thread.

    @property
    def open(self) -> Buffer:
        """The buffer that is filled. Only ``add`` changes it."""
        return self._open

    def add(
        self, tag: int, *, batch: PendingBatch | None = None, dead_letter: DeadLetter | None = None
    ) -> None:
        """Add a message with its delivery tag. A batch that is in the buffer is not added again."""
        with self._lock:
            buffer = self._open
            if not buffer.messages:
                buffer.started = self._clock()
            buffer.messages += 1
            buffer.last_tag = tag
            if dead_letter is not None:
                buffer.dead_letters.append(dead_letter)
            elif batch is not None and batch.batch_id not in buffer.batches:
                buffer.batches[batch.batch_id] = batch
                buffer.rows += len(batch.rows)
                buffer.size += sum(len(row.record) for row in batch.rows)

    def discard_open(self) -> None:
        """Forget the open buffer and all delivery tags: the connection was lost.

        A flush in progress completes.
        """
        with self._lock:
            self._open = Buffer(self._clock())
            if self._flushing is not None:
                self._flushing.last_tag = 0  # a tag of another connection

    def request_flush(self) -> None:
        """Give the open buffer to the flusher, unless it still has one."""
        with self._lock:
            if self._flushing is not None:
                return  # no further batch is read when the open buffer is full
            self._flushing, self._open = self._open, Buffer(self._clock())
        self._flush_requested.set()

    def take_flushed(self) -> Buffer | None:
        """The buffer that was written since the last call; None if there is none."""
        if not self._flushed.is_set():
            return None
        with self._lock:
            flushed, self._flushing = self._flushing, None
            self._flushed.clear()
        return flushed

    # The following methods run on the flusher's thread.

    def next_buffer(self) -> Buffer | None:
        """Wait for the next buffer to write; None after ``end_wait``."""
        self._flush_requested.wait()
        self._flush_requested.clear()
        with self._lock:
            return None if self._flushed.is_set() else self._flushing

    def report_flushed(self) -> None:
        """The buffer of ``next_buffer`` is in files."""
        self._flushed.set()
