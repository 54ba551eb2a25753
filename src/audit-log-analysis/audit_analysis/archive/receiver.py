"""Receives and decodes the batches of the archive, and acknowledges those that are in files."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import pika
from pika.exceptions import AMQPError

from audit_analysis.archive import pending_batch
from audit_analysis.archive.buffers import Buffers
from audit_analysis.archive.metrics import ArchiveMetrics
from audit_analysis.archive.pending_batch import PendingBatch
from auditflow.amqp import Delivery, topology
from auditflow.amqp.connection import retry_until_stopped
from auditflow.amqp.dead_letter import DeadLetter
from auditflow.amqp.subscription import Subscription
from auditflow.errors import ContractError
from auditflow.telemetry import logs

#: Rows are also written to a file when there are this many. A row uses about 1 KB more than its
#: record.
MAX_BUFFER_ROWS: Final = 100_000
POLL_SECONDS: Final = 0.5

log = logs.get(__name__)


class _ConnectionLost(Exception):
    """The connection to the broker ended or could not be opened."""


class BatchReceiver:
    """Fills the open buffer from the queue, and requests a flush when it is due."""

    def __init__(
        self,
        parameters: pika.ConnectionParameters,
        buffers: Buffers,
        *,
        metrics: ArchiveMetrics,
        flush_seconds: float,
        buffer_bytes: int,
        prefetch: int,
        clock: Callable[[], float],
        stop: threading.Event,
    ) -> None:
        """A flush is due ``flush_seconds`` after the first message of a buffer, or earlier: when
        its records have ``buffer_bytes``, or when it has half of the ``prefetch`` messages.
        """
        self._parameters = parameters
        self._buffers = buffers
        self._metrics = metrics
        self._flush_seconds = flush_seconds
        self._buffer_bytes = buffer_bytes
        self._prefetch = prefetch
        self._clock = clock
        self._stop = stop
        self._disconnect_reason: str | None = "not connected yet"
        self._subscription: Subscription | None = None
        #: Deliveries that were received while the buffer was full, or together with others.
        self._undecoded: deque[Delivery] = deque()

    def disconnect_reason(self) -> str | None:
        """Why the broker is not connected; None while it is connected. Any thread may call it."""
        return self._disconnect_reason

    def wake(self) -> None:
        """End the wait for deliveries. Any thread may call it."""
        subscription = self._subscription
        if subscription is not None:
            subscription.wake()

    def run(self) -> None:
        """Receive until the writer stops."""
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
        self._buffers.discard_open()
        if subscription is not None:
            subscription.close()

    def _consume(self) -> None:
        assert self._subscription is not None
        while not self._stop.is_set():
            if self._is_full():
                self._subscription.wait(POLL_SECONDS)
            elif self._undecoded:
                self._add(self._undecoded.popleft())
            else:
                self._undecoded.extend(self._subscription.poll(self._wait_seconds()))
            self._acknowledge()
            if self._is_due():
                self._buffers.request_flush()

    def _wait_seconds(self) -> float:
        buffer = self._buffers.open
        if not buffer.messages:
            return POLL_SECONDS
        due = buffer.started + self._flush_seconds - self._clock()
        return min(POLL_SECONDS, max(0.01, due))

    def _add(self, delivery: Delivery) -> None:
        batch: PendingBatch | None = None
        dead_letter: DeadLetter | None = None
        try:
            batch = pending_batch.read(delivery)
        except ContractError as error:
            dead_letter = DeadLetter(
                body=delivery.body, reason=str(error), kind="contract", headers=delivery.headers
            )
        except Exception as error:  # a message that fails must not stop the archive
            log.exception("a message of the archive failed, dead-lettering it")
            dead_letter = pending_batch.poison(delivery, error)
        self._buffers.add(delivery.tag, batch=batch, dead_letter=dead_letter)

    def _is_due(self) -> bool:
        buffer = self._buffers.open
        return bool(buffer.messages) and (
            self._is_full()
            or buffer.messages >= self._prefetch // 2
            or self._clock() >= buffer.started + self._flush_seconds
        )

    def _is_full(self) -> bool:
        """Whether the open buffer takes no further batch. A batch may exceed the limits once."""
        buffer = self._buffers.open
        return buffer.size >= self._buffer_bytes or buffer.rows >= MAX_BUFFER_ROWS

    def _acknowledge(self) -> None:
        """Acknowledge the batches that are in files."""
        assert self._subscription is not None
        flushed = self._buffers.take_flushed()
        if flushed is not None and flushed.last_tag:
            self._subscription.acknowledge(flushed.last_tag)
            self._metrics.batches.inc(flushed.messages)

    def _report(self, error: BaseException, seconds: float) -> None:
        self._disconnect_reason = str(error)
        log.warning("cannot consume the archive", error=str(error), retry_in=round(seconds, 1))
