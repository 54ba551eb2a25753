"""A consumer of batches: many messages, one acknowledgement, and never one message lost."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pika
from msgspec import Struct
from pika.exceptions import AMQPError
from tenacity import Retrying, retry_if_not_exception_type, stop_after_attempt, wait_fixed

from auditflow import logs
from auditflow.amqp.connection import until_stopped
from auditflow.amqp.deadletter import DeadLetter
from auditflow.amqp.measuring import ConsumerMetrics
from auditflow.amqp.publisher import Publisher
from auditflow.errors import Unavailable

#: Messages that the broker hands over before the first is acknowledged.
PREFETCH: Final = 500
#: How often a message that fails alone is tried before it is set aside.
ATTEMPTS: Final = 3
#: How long the broker has to confirm dead letters.
CONFIRM_SECONDS: Final = 10.0

log = logs.get(__name__)


class Delivery(Struct, frozen=True):
    """A message as it came."""

    body: bytes
    tag: int
    redelivered: bool
    message_id: str | None
    correlation_id: str | None
    headers: Mapping[str, Any]


#: Does all that a batch needs before it returns, since the batch is acknowledged then, and returns
#: what is to be set aside. When it raises Unavailable it is called again with the same batch; on
#: any other error each message is tried alone. So it must bear to see a message twice.
Handler = Callable[[Sequence[Delivery]], Sequence[DeadLetter]]


class _Stopped(Exception):
    """The consumer was asked to end; the batch in hand goes back to the queue."""


class _Lost(Exception):
    """The connection to the broker ended or could not be made."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error) or type(error).__name__)


#: What ends the work on a connection, and is never a message's fault.
_ENDINGS: Final = (_Stopped, _Lost, AMQPError)


class Consumer:
    """Consumes one queue on a thread and a connection of its own.

    While a dependency of the handler is down the batch is held and the connection kept alive, so
    that the rest stays in the queue. When the connection is lost, the broker gives what was not
    acknowledged to whoever comes next.
    """

    def __init__(
        self,
        parameters: pika.ConnectionParameters,
        queue: str,
        handler: Handler,
        *,
        publisher: Publisher,
        service: str,
        metrics: ConsumerMetrics,
        prefetch: int = PREFETCH,
        on_poison: Callable[[DeadLetter], None] = lambda dead: None,
    ) -> None:
        """``on_poison`` is told of each message that failed alone, when it is set aside."""
        self._parameters = parameters
        self._queue = queue
        self._handler = handler
        self._publisher = publisher
        self._service = service
        self._prefetch = prefetch
        self._on_poison = on_poison
        self._stop = threading.Event()
        self._state: str | None = "not connected yet"
        self._held: str | None = None
        self._connection: pika.BlockingConnection | None = None
        self._channel: Any = None
        self._buffer: list[Delivery] = []
        self._batch: list[Delivery] = []
        self._metrics = metrics.of(
            queue,
            connected=lambda: self._state is None,
            in_hand=lambda: len(self._batch) + len(self._buffer),
            oldest=self._oldest,
        )
        self._thread = threading.Thread(target=self._run, name=f"consumer-{queue}", daemon=True)

    def start(self) -> None:
        """Begin to consume; returns at once."""
        self._thread.start()

    def stop(self, *, timeout: float = 5.0) -> None:
        """Finish the batch in hand, give the rest back, and end."""
        self._stop.set()
        connection = self._connection
        if connection is not None and connection.is_open:
            connection.add_callback_threadsafe(lambda: None)  # wakes it up
        if self._thread.is_alive():
            self._thread.join(timeout)

    def check(self) -> str | None:
        """None while it is connected to the broker, else why not."""
        return self._state

    def held(self) -> str | None:
        """None while work goes on, else why the batch in hand has to wait."""
        return self._held

    def alive(self) -> str | None:
        """None while the thread works, else that it ended, which only a restart mends."""
        if self._thread.is_alive() or self._stop.is_set():
            return None
        return f"the consumer of {self._queue} has ended"

    def _oldest(self) -> Mapping[str, Any] | None:
        for waiting in (self._batch, self._buffer):
            for delivery in waiting[:1]:
                return delivery.headers
        return None

    # What follows runs on the consumer's own thread.

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                until_stopped(self._stop, _Lost, report=self._report)(self._open)
                self._consume()
            except (_Lost, AMQPError) as error:
                self._state = f"the connection ended: {error}"
                if not self._stop.is_set():
                    log.warning("consumer disconnected", queue=self._queue, error=str(error))
            except _Stopped:
                pass
            finally:
                self._close()

    def _open(self) -> None:
        try:
            self._connection = pika.BlockingConnection(self._parameters)
            self._channel = self._connection.channel()
            self._channel.basic_qos(prefetch_count=self._prefetch)
            self._channel.add_on_cancel_callback(self._on_cancel)
            self._channel.basic_consume(self._queue, self._on_message)
        except (AMQPError, OSError) as error:
            self._close()
            raise _Lost(error) from None
        self._state = None
        log.info("consumer connected", queue=self._queue, prefetch=self._prefetch)

    def _close(self) -> None:
        self._buffer.clear()
        self._batch = []
        connection, self._connection, self._channel = self._connection, None, None
        self._state = self._state or "disconnected"
        if connection is not None and connection.is_open:
            try:
                connection.close()
            except AMQPError as error:
                log.info("the connection did not close in order", error=str(error))

    def _consume(self) -> None:
        while not self._stop.is_set():
            self._serve(1.0)
            # Handling a batch may let more in; it is taken up to the prefetch at a time.
            while self._buffer and not self._stop.is_set():
                self._batch, self._buffer = self._buffer, []
                self._settle(self._batch)
                self._batch = []

    def _serve(self, seconds: float) -> None:
        """Let the connection work: deliveries into the buffer, heartbeats to the broker."""
        assert self._connection is not None
        self._connection.process_data_events(time_limit=seconds)

    def _on_message(self, _: Any, method: Any, properties: Any, body: bytes) -> None:
        if method.redelivered:
            self._metrics.redelivered.inc()
        self._buffer.append(
            Delivery(
                body,
                method.delivery_tag,
                method.redelivered,
                properties.message_id,
                properties.correlation_id,
                properties.headers or {},
            )
        )

    def _on_cancel(self, _: Any) -> None:
        raise _Lost(RuntimeError(f"the broker ended the consumer of {self._queue}"))

    def _settle(self, batch: list[Delivery]) -> None:
        """Process a batch and acknowledge it."""
        try:
            dead = self._patiently(lambda: self._handle(batch))
        except _ENDINGS:
            raise
        except Exception:  # whatever one message did must not take the others with it
            log.exception("a batch failed: trying each message alone", messages=len(batch))
            for delivery in batch:
                self._acknowledge([delivery], self._alone(delivery))
        else:
            self._acknowledge(batch, dead)

    def _handle(self, batch: list[Delivery]) -> Sequence[DeadLetter]:
        began = time.perf_counter()
        dead = self._handler(batch)
        self._metrics.batch_seconds.observe(time.perf_counter() - began)
        return dead

    def _alone(self, delivery: Delivery) -> Sequence[DeadLetter]:
        """Process one message; if it fails by itself, it is poison."""
        attempts = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_fixed(0.05),
            retry=retry_if_not_exception_type(_ENDINGS),
            sleep=self._serve,
            reraise=True,
        )
        try:
            return attempts(self._patiently, lambda: self._handle([delivery]))
        except _ENDINGS:
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

    def _acknowledge(self, batch: list[Delivery], dead: Sequence[DeadLetter]) -> None:
        if dead:
            messages = [one.message(self._queue, service=self._service) for one in dead]
            self._patiently(lambda: self._publisher.publish(messages, timeout=CONFIRM_SECONDS))
            for one in dead:
                self._metrics.dead_letters[one.kind].inc()
                if one.kind == "poison":
                    self._on_poison(one)
        self._channel.basic_ack(batch[-1].tag, multiple=True)
        self._metrics.acknowledged(len(batch), batch[0].headers)

    def _patiently(self, work: Callable[[], Any]) -> Any:
        """Do it, and again while a dependency is down, keeping the connection alive meanwhile."""

        def report(error: BaseException, seconds: float) -> None:
            self._held = str(error)
            self._metrics.pauses.inc()
            log.warning("consumer paused", error=str(error), retry_in=round(seconds, 1))

        def sleep(seconds: float) -> None:
            # In steps, so that the end of the process need not wait for the longest pause.
            self._serve(min(seconds, 0.5))

        try:
            result = until_stopped(self._stop, Unavailable, report=report, sleep=sleep)(work)
        except Unavailable as error:
            raise _Stopped from error
        finally:
            self._held = None
        return result

    def _report(self, error: BaseException, seconds: float) -> None:
        self._state = str(error)
        log.warning(
            "cannot consume", queue=self._queue, error=str(error), retry_in=round(seconds, 1)
        )
