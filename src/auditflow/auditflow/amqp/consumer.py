"""Consumes a queue in batches. One acknowledgement covers a batch, and no message is lost.

The consumer's thread reads and prepares batches. ``BatchExecutor`` executes the steps that wait for
servers, on its own thread. Batches are acknowledged in the order of arrival, after their work is
completed.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pika
from pika.exceptions import AMQPError

from auditflow.amqp.batch_executor import Abandoned, BatchExecutor, InFlightBatch, Steps, never
from auditflow.amqp.connection import retry_until_stopped
from auditflow.amqp.dead_letter import DeadLetter
from auditflow.amqp.delivery import Delivery
from auditflow.amqp.metrics import ConsumerMetrics
from auditflow.amqp.publisher import Message, Publisher
from auditflow.amqp.subscription import Subscription
from auditflow.telemetry import logs
from auditflow.worker import Worker

#: The number of messages that the broker delivers before the first is acknowledged.
PREFETCH: Final = 500
#: The maximum number of batches in flight: one is settled, one is handled, one is prepared.
MAX_IN_FLIGHT: Final = 3
#: The maximum batch size is the prefetch count divided by this number, by default.
BATCHES_PER_PREFETCH: Final = 4
#: A batch that has this number of bytes gets no further message.
MAX_BATCH_BYTES: Final = 2 * 1024 * 1024
#: When deliveries of this total size wait for their batch, the consumer reads nothing until a batch
#: is completed. Otherwise ``prefetch`` large messages would fill the memory of the process.
MAX_BUFFER_BYTES: Final = 16 * 1024 * 1024
#: A batch is complete when no message arrives for this time.
BATCH_IDLE_SECONDS: Final = 0.002
#: The maximum time that a batch waits for further messages.
MAX_BATCH_WAIT_SECONDS: Final = 0.01
#: After a read of at least this number of messages, the next read waits until ``READ_BYTES`` have
#: arrived, but not longer than ``READ_SECONDS``. A read costs as much as the work for ten messages.
MANY_MESSAGES: Final = 4
READ_BYTES: Final = 48 * 1024
READ_SECONDS: Final = 0.001
#: After a batch of at least this number of messages or bytes, the next batch may wait longer: see
#: ``busy_wait_seconds``. A message with many findings is as much work as many messages.
BUSY_MESSAGES: Final = 8
BUSY_BYTES: Final = 16 * 1024
#: A batch of this size does not wait: it has about 100 findings, and more would not cost less each.
FULL_BYTES: Final = 160 * 1024
#: The timeout for the broker's confirms of dead letters.
CONFIRM_SECONDS: Final = 10.0
#: The maximum time that a stopping consumer waits for batches in flight.
DRAIN_SECONDS: Final = 4.0

log = logs.get(__name__)


def no_copies(dead_letters: Sequence[DeadLetter]) -> Sequence[Message]:
    """No further messages."""
    return ()


class _ConnectionLost(Exception):
    """The connection to the broker ended or could not be opened."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error) or type(error).__name__)


class Consumer:
    """Consumes one queue on its own connection.

    While a dependency of the work is unavailable, the current batch waits and the connection stays
    open, so that the other messages stay in the queue. When the connection is lost, the broker
    delivers all unacknowledged messages to the next consumer.
    """

    def __init__(
        self,
        parameters: pika.ConnectionParameters,
        queue: str,
        steps: Steps,
        *,
        publisher: Publisher,
        service: str,
        metrics: ConsumerMetrics,
        prefetch: int = PREFETCH,
        batches_per_prefetch: int = BATCHES_PER_PREFETCH,
        busy_wait_seconds: float = 0.0,
        on_poison: Callable[[DeadLetter], None] = lambda dead_letter: None,
        copy_poison: Callable[[Sequence[DeadLetter]], Sequence[Message]] = no_copies,
    ) -> None:
        """``steps`` must be idempotent, because a message may be processed more than once.

        A step that raises Unavailable is retried. On any other exception, each message of the
        batch is processed alone. ``publisher`` publishes dead letters. ``on_poison`` is called for
        each message that failed alone, after it was dead-lettered. ``copy_poison`` returns further
        messages that are published together with these dead letters. Under load, a batch waits up
        to ``busy_wait_seconds`` until it is full, if the cost per batch is high. At most
        ``prefetch`` messages are unacknowledged, and a batch has at most the part
        1 / ``batches_per_prefetch`` of them.
        """
        self._parameters = parameters
        self._queue = queue
        self._prepare = steps.prepare
        #: The number of batches that the executor can work on at the same time.
        self._executable = 1 if steps.may_overlap is never else 2
        self._publisher = publisher
        self._service = service
        self._prefetch = prefetch
        self._max_batch = max(1, prefetch // batches_per_prefetch)
        self._busy_wait_seconds = busy_wait_seconds
        self._last_size = 0
        self._last_bytes = 0
        self._reads_many = False
        self._on_poison = on_poison
        self._copy_poison = copy_poison
        self._stop = threading.Event()
        self._cancelled = threading.Event()
        self._disconnect_reason: str | None = "not connected yet"
        self._subscription: Subscription | None = None
        self._buffer: deque[Delivery] = deque()
        self._buffer_bytes = 0
        self._in_flight: deque[InFlightBatch] = deque()
        self._metrics = metrics.for_queue(
            queue,
            connected=lambda: self._disconnect_reason is None,
            in_hand=self._count_unacknowledged,
            oldest=self._oldest_headers,
        )
        self._executor = BatchExecutor(
            f"handler-{queue}", steps, store=self._publish_dead_letters, metrics=self._metrics
        )
        self._worker = Worker(f"consumer-{queue}", self._run)

    def start(self) -> None:
        """Start to consume. Returns immediately."""
        self._executor.start()
        self._worker.start()

    def stop(self, *, timeout: float = DRAIN_SECONDS + 1) -> None:
        """Complete the batches in flight, return the other messages to the queue, and end.

        ``timeout`` is the maximum time to wait for the thread, in seconds.
        """
        self._stop.set()
        self._cancelled.set()
        self._wake()
        self._worker.stop(timeout=timeout)

    def check(self) -> str | None:
        """Why the consumer is not connected to the broker; None while it is connected."""
        return self.alive() or self._disconnect_reason

    def pause_reason(self) -> str | None:
        """Why the current batch waits for a dependency; None while work continues."""
        return self._executor.pause_reason()

    def alive(self) -> str | None:
        """Why a thread of the consumer does not run; None while both run. Only a restart helps."""
        return self._worker.check() or self._executor.check()

    def _count_unacknowledged(self) -> int:
        return sum(len(item.batch) for item in tuple(self._in_flight)) + len(self._buffer)

    def _oldest_headers(self) -> Mapping[str, Any] | None:
        for item in tuple(self._in_flight):
            return item.batch[0].headers
        for delivery in tuple(self._buffer):
            return delivery.headers
        return None

    # The following methods run on the consumer's thread, unless they state another thread.

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                retry_until_stopped(self._stop, _ConnectionLost, report=self._report)(self._open)
                self._consume()
            except (_ConnectionLost, AMQPError, OSError) as error:
                self._disconnect_reason = f"the connection ended: {error}"
                if not self._stop.is_set():
                    log.warning("consumer disconnected", queue=self._queue, error=str(error))
            finally:
                self._close()

    def _open(self) -> None:
        try:
            self._subscription = Subscription(
                self._parameters, self._queue, prefetch=self._prefetch
            )
        except (AMQPError, OSError) as error:
            raise _ConnectionLost(error) from None
        self._disconnect_reason = None
        log.info("consumer connected", queue=self._queue, prefetch=self._prefetch)

    def _close(self) -> None:
        # Batches in flight are not completed: the broker delivers their messages again. Messages
        # of the old connection must not be acknowledged on the next one.
        self._cancelled.set()
        self._cancelled = threading.Event()
        self._in_flight.clear()
        self._buffer.clear()
        self._buffer_bytes = 0
        subscription, self._subscription = self._subscription, None
        self._disconnect_reason = self._disconnect_reason or "disconnected"
        if subscription is not None:
            subscription.close()

    def _consume(self) -> None:
        while not self._stop.is_set():
            self._poll(1.0)
            self._acknowledge()
            while self._can_submit():
                self._submit(self._next_batch())
                self._acknowledge()
        # Batches in flight are completed; no other batch is submitted.
        self._cancelled.set()
        deadline = time.monotonic() + DRAIN_SECONDS
        while not all(item.completed for item in self._in_flight) and time.monotonic() < deadline:
            self._poll(0.1)
        self._acknowledge()

    def _can_submit(self) -> bool:
        if not self._buffer or len(self._in_flight) >= MAX_IN_FLIGHT or self._stop.is_set():
            return False
        # While the executor is busy, a small batch would only wait. More messages join it instead,
        # because a transaction or a round trip costs nearly the same for many messages as for one.
        unfinished = sum(not item.completed for item in self._in_flight)
        return unfinished < self._executable or len(self._buffer) >= self._max_batch

    def _poll(self, seconds: float) -> None:
        """Read deliveries into the buffer, and send heartbeats."""
        assert self._subscription is not None
        if self._buffer_bytes >= MAX_BUFFER_BYTES:
            self._subscription.wait(seconds)
            return
        if self._reads_many:
            deliveries = self._subscription.poll(
                min(seconds, READ_SECONDS), enough_bytes=READ_BYTES
            )
        else:
            deliveries = self._subscription.poll(seconds)
        self._reads_many = len(deliveries) >= MANY_MESSAGES
        self._buffer.extend(deliveries)
        self._buffer_bytes += sum(len(delivery.body) for delivery in deliveries)
        redelivered = sum(delivery.redelivered for delivery in deliveries)
        if redelivered:
            self._metrics.redelivered.inc(redelivered)

    def _next_batch(self) -> list[Delivery]:
        """At least one message, and the messages that are buffered or arrive immediately.

        A round trip to a server costs the same for many messages as for one message.
        """
        batch: list[Delivery] = []
        size = 0
        started = time.monotonic()
        while len(batch) < self._max_batch and size < MAX_BATCH_BYTES:
            if not self._buffer and not self._await_more(started, len(batch), size):
                break
            batch.append(self._buffer.popleft())
            size += len(batch[-1].body)
            self._buffer_bytes -= len(batch[-1].body)
        self._last_size, self._last_bytes = len(batch), size
        return batch

    def _await_more(self, started: float, messages: int, size: int) -> bool:
        """Wait for a message that joins a batch. Returns whether one has arrived.

        The batch has a number of ``messages``, and ``size`` bytes.
        """
        # At a low rate, no other message would arrive, and the wait would only delay this one.
        if self._last_size > 1 and time.monotonic() < started + MAX_BATCH_WAIT_SECONDS:
            self._poll(BATCH_IDLE_SECONDS)
        if self._last_size >= BUSY_MESSAGES or self._last_bytes >= BUSY_BYTES:
            while (
                not self._buffer
                and size < FULL_BYTES
                and (seconds := started + self._busy_wait_seconds - time.monotonic()) > 0
                and self._count_unacknowledged() + messages < self._prefetch
                and not self._stop.is_set()
            ):
                self._poll(seconds)
                self._acknowledge()
        return bool(self._buffer)

    def _submit(self, batch: list[Delivery]) -> None:
        try:
            prepared = self._prepare(batch)
        except Exception as error:  # noqa: BLE001 - the executor processes each message alone
            prepared = error
        item = InFlightBatch(batch, prepared, cancelled=self._cancelled, on_completed=self._wake)
        self._in_flight.append(item)
        self._executor.submit(item)

    def _wake(self) -> None:
        """End the poll of the consumer's thread. Called on any thread."""
        subscription = self._subscription
        if subscription is not None:
            subscription.wake()

    def _acknowledge(self) -> None:
        """Acknowledge the completed batches, in order."""
        assert self._subscription is not None
        while self._in_flight and self._in_flight[0].completed:
            item = self._in_flight[0]
            if isinstance(item.error, Abandoned):
                return
            if item.error is not None:
                raise item.error
            for dead_letter in item.dead_letters:
                self._metrics.dead_letters[dead_letter.kind].inc()
                if dead_letter.kind == "poison":
                    self._on_poison(dead_letter)
            self._subscription.acknowledge(item.batch[-1].tag)
            self._metrics.acknowledged(len(item.batch), item.batch[0].headers)
            self._in_flight.popleft()

    def _publish_dead_letters(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Publish dead letters and wait for the confirms. Called on the executor's thread."""
        messages = [letter.message(self._queue, service=self._service) for letter in dead_letters]
        poison = [letter for letter in dead_letters if letter.kind == "poison"]
        if poison:
            messages += self._copy_poison(poison)
        self._publisher.publish(messages, timeout=CONFIRM_SECONDS)

    def _report(self, error: BaseException, seconds: float) -> None:
        self._disconnect_reason = str(error)
        log.warning(
            "cannot consume", queue=self._queue, error=str(error), retry_in=round(seconds, 1)
        )
