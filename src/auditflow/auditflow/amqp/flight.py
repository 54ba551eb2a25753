"""Batches on their way through a handler, on a thread of their own, one after the other.

So that the consumer's thread reads, and prepares the next batch, while a handler waits for servers.
"""

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from tenacity import Retrying, retry_if_not_exception_type, stop_after_attempt, wait_fixed

from auditflow import logs
from auditflow.amqp.connection import until_stopped
from auditflow.amqp.deadletter import DeadLetter
from auditflow.amqp.delivery import Delivery
from auditflow.amqp.measuring import QueueMetrics
from auditflow.errors import Unavailable

#: How often a message that fails alone is tried before it is set aside.
ATTEMPTS: Final = 3

T = TypeVar("T")

log = logs.get(__name__)


class Abandoned(Exception):
    """The batch is not to be finished: whoever comes next gets it."""


class Flight:
    """A batch, what was prepared of it, and, once it has landed, what is to be set aside of it."""

    def __init__(self, batch: Sequence[Delivery], prepared: Any, ended: threading.Event) -> None:
        """``prepared``: an error stands for the preparation that failed with it."""
        self.batch = batch
        self.prepared = prepared
        self.ended = ended
        self.landed = False
        self.dead: Sequence[DeadLetter] = ()
        self.error: BaseException | None = None


class Runway:
    """Lets batches through a handler in the order in which they came.

    ``store`` stores dead letters. Both may raise Unavailable, and are then called again until they
    do not, or the flight has ended.
    """

    def __init__(
        self,
        name: str,
        *,
        prepare: Callable[[Sequence[Delivery]], Any],
        handler: Callable[[Any], Sequence[DeadLetter]],
        store: Callable[[Sequence[DeadLetter]], None],
        metrics: QueueMetrics,
    ) -> None:
        self._prepare = prepare
        self._handler = handler
        self._store = store
        self._metrics = metrics
        self._held: str | None = None
        self._flights: SimpleQueue[tuple[Flight, Callable[[], None]]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def open(self) -> None:
        """Begin to work; returns at once."""
        self._thread.start()

    def held(self) -> str | None:
        """None while work goes on, else why the batch in hand has to wait."""
        return self._held

    def start(self, flight: Flight, landed: Callable[[], None]) -> None:
        """Work on a flight when those before it are done, then call ``landed`` on that thread."""
        self._flights.put((flight, landed))

    def _run(self) -> None:
        while True:
            flight, landed = self._flights.get()
            try:
                flight.dead = self._through(flight)
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                flight.error = error
            flight.landed = True
            landed()

    def _through(self, flight: Flight) -> Sequence[DeadLetter]:
        if flight.ended.is_set():
            raise Abandoned
        try:
            dead = self._patiently(flight, lambda: self._handle(flight.prepared))
        except Abandoned:
            raise
        except Exception:  # whatever one message did must not take the others with it
            log.exception("a batch failed: trying each message alone", messages=len(flight.batch))
            dead = [one for each in flight.batch for one in self._alone(flight, each)]
        if dead:
            self._patiently(flight, lambda: self._store(dead))
        return dead

    def _handle(self, prepared: Any) -> Sequence[DeadLetter]:
        if isinstance(prepared, Exception):
            raise prepared
        began = time.perf_counter()
        dead = self._handler(prepared)
        self._metrics.batch_seconds.observe(time.perf_counter() - began)
        return dead

    def _alone(self, flight: Flight, delivery: Delivery) -> Sequence[DeadLetter]:
        """Process one message; if it fails by itself, it is poison."""
        attempts = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_fixed(0.05),
            retry=retry_if_not_exception_type(Abandoned),
            reraise=True,
        )
        try:
            return attempts(
                self._patiently, flight, lambda: self._handle(self._prepare([delivery]))
            )
        except Abandoned:
            raise
        except Exception as error:
            log.exception("a message failed alone: it is set aside", message_id=delivery.message_id)
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

    def _patiently(self, flight: Flight, work: Callable[[], T]) -> T:
        """Do it, and again while a dependency is down."""

        def report(error: BaseException, seconds: float) -> None:
            self._held = str(error)
            self._metrics.pauses.inc()
            log.warning("consumer paused", error=str(error), retry_in=round(seconds, 1))

        try:
            return until_stopped(flight.ended, Unavailable, report=report)(work)
        except Unavailable as error:
            raise Abandoned from error
        finally:
            self._held = None
