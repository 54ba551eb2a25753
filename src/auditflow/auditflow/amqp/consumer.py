"""A consumer of batches: many messages, one acknowledgement, and never one message lost.

Its thread reads and prepares; the rest of the work, which waits for servers, goes on beside it
(``flight``). What is acknowledged is always a batch whose work is done, in the order of arrival.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pika
from pika.exceptions import AMQPError

from auditflow.amqp.batch_executor import Abandoned, Flight, Runway, Steps
from auditflow.amqp.connection import until_stopped
from auditflow.amqp.dead_letter import DeadLetter
from auditflow.amqp.delivery import Delivery
from auditflow.amqp.metrics import ConsumerMetrics
from auditflow.amqp.publisher import Publisher
from auditflow.amqp.subscription import Subscription
from auditflow.telemetry import logs

#: Messages that the broker hands over before the first is acknowledged.
PREFETCH: Final = 500
#: Batches on their way at once: one that is settled, one that is handled, one that is ready then.
IN_FLIGHT: Final = 3
#: The most in a batch: this part of the prefetch, and about so many bytes.
PARTS: Final = 4
MAX_BATCH_BYTES: Final = 2 * 1024 * 1024
#: A pause in what the broker sends, after which a batch waits no longer for more.
PAUSE_SECONDS: Final = 0.002
#: The longest that a batch waits for more, which comes in small pauses.
GATHERING_SECONDS: Final = 0.01
#: How long the broker has to confirm dead letters.
CONFIRM_SECONDS: Final = 10.0
#: How long the end of the process waits for the batch in hand (seconds).
LANDING_SECONDS: Final = 4.0

log = logs.get(__name__)


class _Lost(Exception):
    """The connection to the broker ended or could not be made."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error) or type(error).__name__)


class Consumer:
    """Consumes one queue on a connection of its own, with one thread that reads and prepares, and
    one for the other steps of the work.

    While a dependency of the work is down the batch is held and the connection kept alive, so
    that the rest stays in the queue. When the connection is lost, the broker gives what was not
    acknowledged to whoever comes next.
    """

    def __init__(
        self,
        parameters: pika.ConnectionParameters,
        queue: str,
        work: Steps,
        *,
        publisher: Publisher,
        service: str,
        metrics: ConsumerMetrics,
        prefetch: int = PREFETCH,
        on_poison: Callable[[DeadLetter], None] = lambda dead: None,
    ) -> None:
        """``work`` is done before a batch is acknowledged. When a step raises Unavailable, it is
        tried again; on any other error each message is tried alone. So it must bear to see a
        message twice.

        ``on_poison`` is told of each message that failed alone, when it is set aside.
        """
        self._parameters = parameters
        self._queue = queue
        self._prepare = work.prepare
        self._publisher = publisher
        self._service = service
        self._prefetch = prefetch
        self._largest = max(1, prefetch // PARTS)
        self._on_poison = on_poison
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._state: str | None = "not connected yet"
        self._subscription: Subscription | None = None
        self._buffer: deque[Delivery] = deque()
        self._flights: deque[Flight] = deque()
        self._metrics = metrics.of(
            queue,
            connected=lambda: self._state is None,
            in_hand=lambda: sum(len(one.batch) for one in tuple(self._flights)) + len(self._buffer),
            oldest=self._oldest,
        )
        self._runway = Runway(
            f"handler-{queue}",
            work,
            store=self._set_aside,
            metrics=self._metrics,
        )
        self._thread = threading.Thread(target=self._run, name=f"consumer-{queue}", daemon=True)

    def start(self) -> None:
        """Begin to consume; returns at once."""
        self._runway.open()
        self._thread.start()

    def stop(self, *, timeout: float = LANDING_SECONDS + 1) -> None:
        """Finish the batch in hand, give the rest back, and end."""
        self._stop.set()
        self._ended.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def check(self) -> str | None:
        """None while it is connected to the broker, else why not."""
        return self._state

    def held(self) -> str | None:
        """None while work goes on, else why the batch in hand has to wait."""
        return self._runway.held()

    def alive(self) -> str | None:
        """None while the thread works, else that it ended, which only a restart mends."""
        if self._thread.is_alive() or self._stop.is_set():
            return None
        return f"the consumer of {self._queue} has ended"

    def _oldest(self) -> Mapping[str, Any] | None:
        for flight in tuple(self._flights):
            return flight.batch[0].headers
        for delivery in tuple(self._buffer):
            return delivery.headers
        return None

    # What follows runs on the consumer's own thread, but for what says otherwise.

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                until_stopped(self._stop, _Lost, report=self._report)(self._open)
                self._consume()
            except (_Lost, AMQPError, OSError) as error:
                self._state = f"the connection ended: {error}"
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
            raise _Lost(error) from None
        self._state = None
        log.info("consumer connected", queue=self._queue, prefetch=self._prefetch)

    def _close(self) -> None:
        # What is on its way is not finished: the broker has it still, and gives it to the next.
        self._ended.set()
        self._ended = threading.Event()
        self._flights.clear()
        self._buffer.clear()
        subscription, self._subscription = self._subscription, None
        self._state = self._state or "disconnected"
        if subscription is not None:
            subscription.close()

    def _consume(self) -> None:
        while not self._stop.is_set():
            self._serve(1.0)
            self._acknowledge()
            while self._buffer and len(self._flights) < IN_FLIGHT and not self._stop.is_set():
                self._begin(self._gather())
                self._acknowledge()
        # What is under way comes to its end; no other is begun after this.
        self._ended.set()
        limit = time.monotonic() + LANDING_SECONDS
        while not all(one.landed for one in self._flights) and time.monotonic() < limit:
            self._serve(0.1)
        self._acknowledge()

    def _serve(self, seconds: float) -> None:
        """Let the connection work: deliveries into the buffer, heartbeats to the broker."""
        assert self._subscription is not None
        came = self._subscription.poll(seconds)
        self._buffer.extend(came)
        again = sum(one.redelivered for one in came)
        if again:
            self._metrics.redelivered.inc(again)

    def _gather(self) -> list[Delivery]:
        """The next batch: at least one message, and what else is there or comes at once.

        A trip to a server costs the same for many messages.
        """
        batch: list[Delivery] = []
        size = 0
        limit = time.monotonic() + GATHERING_SECONDS
        while len(batch) < self._largest and size < MAX_BATCH_BYTES:
            if not self._buffer and time.monotonic() < limit:
                self._serve(PAUSE_SECONDS)
            if not self._buffer:
                break
            batch.append(self._buffer.popleft())
            size += len(batch[-1].body)
        return batch

    def _begin(self, batch: list[Delivery]) -> None:
        try:
            prepared = self._prepare(batch)
        except Exception as error:  # noqa: BLE001 - each message is tried alone then
            prepared = error
        flight = Flight(batch, prepared, ended=self._ended, on_landed=self._wake)
        self._flights.append(flight)
        self._runway.start(flight)

    def _wake(self) -> None:
        """Let the consumer's thread look up. Called on any thread."""
        subscription = self._subscription
        if subscription is not None:
            subscription.wake()

    def _acknowledge(self) -> None:
        """Acknowledge the batches whose work is done."""
        assert self._subscription is not None
        while self._flights and self._flights[0].landed:
            flight = self._flights[0]
            if isinstance(flight.error, Abandoned):
                return
            if flight.error is not None:
                raise flight.error
            for one in flight.dead:
                self._metrics.dead_letters[one.kind].inc()
                if one.kind == "poison":
                    self._on_poison(one)
            self._subscription.acknowledge(flight.batch[-1].tag)
            self._metrics.acknowledged(len(flight.batch), flight.batch[0].headers)
            self._flights.popleft()

    def _set_aside(self, dead: Sequence[DeadLetter]) -> None:
        """Store dead letters. Called on the handler's thread."""
        messages = [one.message(self._queue, service=self._service) for one in dead]
        self._publisher.publish(messages, timeout=CONFIRM_SECONDS)

    def _report(self, error: BaseException, seconds: float) -> None:
        self._state = str(error)
        log.warning(
            "cannot consume", queue=self._queue, error=str(error), retry_in=round(seconds, 1)
        )
