"""Executes batches in order on its own thread.

The consumer's thread reads and prepares the next batch while a handler waits for servers. One batch
may be settled while the next batch is handled.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from msgspec import Struct
from tenacity import Retrying, retry_if_not_exception_type, stop_after_attempt, wait_fixed

from auditflow.amqp.connection import retry_until_stopped
from auditflow.amqp.dead_letter import DeadLetter
from auditflow.amqp.delivery import Delivery
from auditflow.amqp.metrics import QueueMetrics
from auditflow.errors import Unavailable
from auditflow.telemetry import logs
from auditflow.worker import Worker

#: The number of attempts for a message that fails alone, before it is dead-lettered.
ATTEMPTS: Final = 3

T = TypeVar("T")

log = logs.get(__name__)


def pass_through(batch: Any) -> Any:
    """The step that does nothing."""
    return batch


def keep_complete(delivery: Delivery) -> Sequence[Delivery]:
    """A message that is not split."""
    return (delivery,)


def do_nothing() -> None:
    """The idle step that does nothing."""


def never(handled: Any, prepared: Any) -> bool:
    """No batch is handled before the previous batch is settled."""
    return False


def no_delay(handled: Any) -> float:
    """A handled batch is settled at once."""
    return 0.0


class Steps(Struct, frozen=True, kw_only=True):
    """The steps of a batch. Each step gets the result of the previous step.

    - ``prepare`` gets the deliveries. It must not wait for servers.
    - ``handle`` gets the result of ``prepare``. It may wait for servers.
    - ``settle`` gets the result of ``handle``. It waits for the operations that ``handle`` started,
      and returns the dead letters of the batch.
    - ``may_overlap(handled, prepared)`` returns whether the next batch (``prepared``) is handled
      before the current batch (``handled``) is settled.
    - ``settle_delay(handled)`` returns how long ``settle`` waits for the next batch, in seconds, if
      its work is less urgent than the next batch.
    - ``split`` gets a message of a batch that failed, and returns the parts that are processed
      alone. So a part that fails does not dead-letter the other parts of its message.
    - ``on_idle`` is called when no batch waits, for work that can be postponed.

    If ``handle`` or ``settle`` raises Unavailable, both are called again. They must be idempotent.
    """

    handle: Callable[[Any], Any]
    prepare: Callable[[Sequence[Delivery]], Any] = pass_through
    settle: Callable[[Any], Sequence[DeadLetter]] = pass_through
    may_overlap: Callable[[Any, Any], bool] = never
    settle_delay: Callable[[Any], float] = no_delay
    split: Callable[[Delivery], Sequence[Delivery]] = keep_complete
    on_idle: Callable[[], None] = do_nothing


class _Handled(Struct, frozen=True):
    """The result of the handle step, and its duration in seconds."""

    result: Any
    seconds: float


class Abandoned(Exception):
    """The batch is not completed. The broker delivers it to the next consumer."""


class InFlightBatch:
    """A batch, its intermediate results and, when it is completed, its dead letters."""

    def __init__(
        self,
        batch: Sequence[Delivery],
        prepared: Any,
        *,
        cancelled: threading.Event,
        on_completed: Callable[[], None],
    ) -> None:
        """``prepared`` is the result of the prepare step, or the exception that it raised."""
        self.batch = batch
        self.prepared = prepared
        self.cancelled = cancelled
        self.handled: _Handled | None = None
        self.completed = False
        self.dead_letters: Sequence[DeadLetter] = ()
        self.error: BaseException | None = None
        self._on_completed = on_completed

    def complete(self, work: Callable[[], Sequence[DeadLetter]]) -> None:
        """Do the remaining work, and record its dead letters or its exception."""
        try:
            self.dead_letters = work()
        except BaseException as error:  # noqa: BLE001 - the consumer's thread raises it
            self.error = error
        self.completed = True
        self._on_completed()


class BatchExecutor:
    """Executes the steps of batches in the order in which the batches were submitted.

    ``store`` publishes dead letters. It is called again while it raises Unavailable, until the
    batch is cancelled.
    """

    def __init__(
        self,
        name: str,
        steps: Steps,
        *,
        store: Callable[[Sequence[DeadLetter]], None],
        metrics: QueueMetrics,
    ) -> None:
        self._steps = steps
        self._store = store
        self._metrics = metrics
        self._pause_reason: str | None = None
        self._submitted: SimpleQueue[InFlightBatch] = SimpleQueue()
        self._worker = Worker(name, self._run)

    def start(self) -> None:
        """Start the thread. Returns immediately."""
        self._worker.start()

    def check(self) -> str | None:
        """Why the thread does not run; None while it runs."""
        return self._worker.check()

    def pause_reason(self) -> str | None:
        """Why the current batch waits for a dependency; None while work continues."""
        return self._pause_reason

    def submit(self, batch: InFlightBatch) -> None:
        """Execute a batch after all batches that were submitted before it."""
        self._submitted.put(batch)

    def _run(self) -> None:
        current: InFlightBatch | None = None
        while True:
            if current is None and self._submitted.empty():
                self._idle()
            following = self._next(current)
            if current is not None and not self._may_overlap(current, following):
                self._finish(current)
                current = None
            if following is None:
                continue
            handled = self._try_handle(following)
            if current is not None:
                self._finish(current)
            if not handled:
                following.complete(partial(self._process, following))
            current = following if handled else None

    def _next(self, current: InFlightBatch | None) -> InFlightBatch | None:
        """The next batch. While a batch is handled and not settled, None if no batch arrives."""
        if current is None:
            return self._submitted.get()
        seconds = self._settle_delay(current)
        try:
            return self._submitted.get(block=seconds > 0, timeout=seconds or None)
        except Empty:
            return None

    def _settle_delay(self, batch: InFlightBatch) -> float:
        if batch.handled is None or batch.cancelled.is_set():
            return 0.0
        try:
            return self._steps.settle_delay(batch.handled.result)
        except Exception:  # the settlement without a delay is always correct
            log.exception("cannot decide when a batch is settled")
            return 0.0

    def _idle(self) -> None:
        try:
            self._steps.on_idle()
        except Unavailable:
            pass  # it is called again when the queue is empty again
        except Exception:
            log.exception("postponed work failed")

    def _may_overlap(self, current: InFlightBatch, following: InFlightBatch | None) -> bool:
        if (
            following is None
            or current.handled is None
            or isinstance(following.prepared, Exception)
        ):
            return False
        try:
            return self._steps.may_overlap(current.handled.result, following.prepared)
        except Exception:  # the order without overlap is always correct
            log.exception("cannot decide whether batches may overlap")
            return False

    def _try_handle(self, batch: InFlightBatch) -> bool:
        """Handle a batch once. Returns False if that failed; ``_process`` then repeats it."""
        if batch.cancelled.is_set():
            return False
        try:
            batch.handled = self._handle(batch.prepared)
        except Exception:  # noqa: BLE001 - reported when it fails again
            return False
        return True

    def _finish(self, batch: InFlightBatch) -> None:
        """Settle a handled batch. If that fails, repeat all steps."""
        batch.complete(partial(self._settle_or_process, batch))

    def _settle_or_process(self, batch: InFlightBatch) -> Sequence[DeadLetter]:
        assert batch.handled is not None
        try:
            dead_letters = self._settle(batch.handled)
        except Exception:  # noqa: BLE001 - reported when it fails again
            return self._process(batch)
        return self._store_dead_letters(batch, dead_letters)

    def _process(self, batch: InFlightBatch) -> Sequence[DeadLetter]:
        """Execute all steps, and repeat them while a dependency is unavailable."""
        if batch.cancelled.is_set():
            raise Abandoned
        try:
            dead_letters = self._retry(batch, lambda: self._settle(self._handle(batch.prepared)))
        except Abandoned:
            raise
        except Exception:  # one message must not fail the other messages
            log.exception("batch failed, processing each message alone", messages=len(batch.batch))
            dead_letters = [
                dead_letter
                for delivery in batch.batch
                for part in self._steps.split(delivery)
                for dead_letter in self._process_alone(batch, part)
            ]
        return self._store_dead_letters(batch, dead_letters)

    def _store_dead_letters(
        self, batch: InFlightBatch, dead_letters: Sequence[DeadLetter]
    ) -> Sequence[DeadLetter]:
        if dead_letters:
            self._retry(batch, lambda: self._store(dead_letters))
        return dead_letters

    def _handle(self, prepared: Any) -> _Handled:
        if isinstance(prepared, Exception):
            raise prepared
        started = time.perf_counter()
        result = self._steps.handle(prepared)
        return _Handled(result, time.perf_counter() - started)

    def _settle(self, handled: _Handled) -> Sequence[DeadLetter]:
        started = time.perf_counter()
        dead_letters = self._steps.settle(handled.result)
        self._metrics.batch_seconds.observe(handled.seconds + time.perf_counter() - started)
        return dead_letters

    def _process_alone(self, batch: InFlightBatch, delivery: Delivery) -> Sequence[DeadLetter]:
        """Process one message. If it fails ``ATTEMPTS`` times, it becomes a dead letter."""
        attempts = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_fixed(0.05),
            retry=retry_if_not_exception_type(Abandoned),
            reraise=True,
        )
        try:
            return attempts(
                self._retry,
                batch,
                lambda: self._settle(self._handle(self._steps.prepare([delivery]))),
            )
        except Abandoned:
            raise
        except Exception as error:
            log.exception("message failed alone, dead-lettering it", message_id=delivery.message_id)
            return [
                DeadLetter(
                    body=delivery.body,
                    reason=f"{type(error).__name__}: {error}",
                    kind="poison",
                    message_id=delivery.message_id,
                    correlation_id=delivery.correlation_id,
                    headers=delivery.headers,
                )
            ]

    def _retry(self, batch: InFlightBatch, work: Callable[[], T]) -> T:
        """Do the work, and repeat it with backoff while a dependency is unavailable."""

        def report(error: BaseException, seconds: float) -> None:
            self._pause_reason = str(error)
            self._metrics.pauses.inc()
            log.warning("consumer paused", error=str(error), retry_in=round(seconds, 1))

        try:
            return retry_until_stopped(batch.cancelled, Unavailable, report=report)(work)
        except Unavailable as error:
            raise Abandoned from error
        finally:
            self._pause_reason = None
