"""A publisher that many threads share, and that knows of each message whether it was stored."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

import pika
from msgspec import Struct
from pika.exceptions import AMQPError

from auditflow.amqp.connection import until_stopped
from auditflow.errors import PublishError, Unavailable
from auditflow.telemetry import logs

#: Messages sent before their confirms are waited for. Enough to keep the broker's disk busy,
#: little enough that a batch of any size holds a bounded part of the memory.
WINDOW: Final = 4000

log = logs.get(__name__)


class Message(Struct, frozen=True, kw_only=True):
    """What is published. ``message_id`` is the event's or finding's own identifier."""

    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    correlation_id: str | None = None
    headers: Mapping[str, Any] | None = None

    def properties(self) -> pika.BasicProperties:
        """As AMQP has it: persistent JSON."""
        return pika.BasicProperties(
            content_type="application/json",
            delivery_mode=pika.DeliveryMode.Persistent.value,
            message_id=self.message_id,
            correlation_id=self.correlation_id,
            headers=dict(self.headers) if self.headers else None,
        )


class _Flight:
    """Messages of one call that are on their way."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.open = len(messages)
        self.landed: Future[None] = Future()

    def confirm(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.landed.done():
            self.landed.set_result(None)

    def fail(self, why: str) -> None:
        if not self.landed.done():
            self.landed.set_exception(PublishError(why))


def _stored() -> None:
    """Nothing is under way."""


class _Broken(Unavailable):
    """The connection ended or could not be made."""

    def __init__(self, why: object) -> None:
        super().__init__("rabbitmq", str(why) or type(why).__name__)


class Publisher:
    """One connection on one thread, for any number of threads that publish.

    It connects by itself, and again with back-off whenever the connection is lost. What was on its
    way then is reported as not confirmed, never as sent.
    """

    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        self._parameters = parameters
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._state: str | None = "not connected yet"
        self._connection: pika.SelectConnection | None = None
        self._channel: Any = None
        self._flights: set[_Flight] = set()
        self._unconfirmed: dict[int, tuple[_Flight, str]] = {}
        self._next_tag = 1
        self._end: object = ""
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """End the connection. What is still on its way is reported as not confirmed."""
        self._stop.set()
        with self._lock:
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(self._close)
        if self._thread.is_alive():
            self._thread.join(timeout=3)

    def check(self) -> str | None:
        """None while messages can be published, else why not."""
        return self._state

    def alive(self) -> str | None:
        """None while the thread works, else that it ended, which only a restart mends."""
        if self._thread.is_alive() or self._stop.is_set():
            return None
        return "the publisher has ended"

    def publish(self, messages: Sequence[Message], *, timeout: float) -> None:
        """Publish, and return when the broker has stored every message.

        ``timeout`` (seconds) is for each window.

        Raises:
            PublishError: at least one message is not confirmed; any of them may be stored.
        """
        self.begin(messages, timeout=timeout)()

    def begin(self, messages: Sequence[Message], *, timeout: float) -> Callable[[], None]:
        """Publish, and return what waits until the broker has stored every message.

        That is to be called, once. Either raises as ``publish`` does.
        """
        wait: Callable[[], None] = _stored
        for start in range(0, len(messages), WINDOW):
            wait()
            wait = partial(self._wait, self._depart(messages[start : start + WINDOW]), timeout)
        return wait

    def _depart(self, messages: Sequence[Message]) -> _Flight:
        flight = _Flight(messages)
        with self._lock:
            if self._state is not None or self._connection is None:
                raise PublishError(self._state or "not connected")
            self._flights.add(flight)
            self._connection.ioloop.add_callback_threadsafe(partial(self._send, flight))
        return flight

    def _wait(self, flight: _Flight, timeout: float) -> None:
        try:
            flight.landed.result(timeout)
        except TimeoutError:
            raise PublishError(f"no confirm within {timeout:g} s") from None
        finally:
            with self._lock:
                self._flights.discard(flight)

    # What follows runs on the publisher's own thread.

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                until_stopped(self._stop, _Broken, report=self._report)(self._session)
            except _Broken:
                return  # stopped while the broker was away

    def _session(self) -> None:
        """One connection, from its opening to its end. Raises _Broken if it never opened."""
        self._end, opened = "closed", False
        connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=lambda opening: opening.channel(on_open_callback=self._on_channel),
            on_open_error_callback=self._on_end,
            on_close_callback=self._on_end,
        )
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        with self._lock:
            self._connection = connection
        if self._stop.is_set():
            return
        try:
            connection.ioloop.start()
        except (AMQPError, OSError) as error:
            self._end = error
        opened = self._channel is not None
        self._ground(f"the connection ended: {self._end}")
        connection.ioloop.close()
        if not opened and not self._stop.is_set():
            raise _Broken(self._end)

    def _on_channel(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._on_ready(channel))

    def _on_ready(self, channel: Any) -> None:
        self._channel, self._next_tag = channel, 1
        with self._lock:
            self._state = None
        log.info("publisher connected", host=self._parameters.host, port=self._parameters.port)

    def _send(self, flight: _Flight) -> None:
        if self._channel is None or not self._channel.is_open:
            flight.fail("the connection ended")
            return
        for message in flight.messages:
            self._unconfirmed[self._next_tag] = (flight, message.message_id)
            self._next_tag += 1
            self._channel.basic_publish(
                message.exchange,
                message.routing_key,
                message.body,
                message.properties(),
                mandatory=True,
            )

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        stored = isinstance(method, pika.spec.Basic.Ack)
        for tag in self._tags(method.delivery_tag, multiple=method.multiple):
            flight, _ = self._unconfirmed.pop(tag)
            if stored:
                flight.confirm()
            else:
                flight.fail("the broker refused a message: its queue is full")

    def _tags(self, last: int, *, multiple: bool) -> list[int]:
        if not multiple:
            return [last] if last in self._unconfirmed else []
        tags = []
        for tag in self._unconfirmed:  # in the order of sending
            if tag > last:
                break
            tags.append(tag)
        return tags

    def _on_return(self, _: Any, method: Any, properties: Any, __: bytes) -> None:
        # The broker says that no queue takes it, and then confirms it all the same.
        for flight, message_id in self._unconfirmed.values():
            if message_id == properties.message_id:
                flight.fail(f"no queue takes messages for {method.routing_key!r}")

    def _on_blocked(self, _: Any, frame: Any) -> None:
        reason = frame.method.reason
        log.warning("the broker takes no messages", reason=reason)
        with self._lock:
            self._state = f"the broker takes no messages: {reason}"

    def _on_unblocked(self, _: Any, __: Any) -> None:
        with self._lock:
            self._state = None

    def _on_channel_closed(self, _: Any, reason: Any) -> None:
        self._end = reason
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def _on_end(self, connection: pika.SelectConnection, reason: Any) -> None:
        if self._end == "closed":
            self._end = reason
        connection.ioloop.stop()

    def _close(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closed:
            return
        if connection.is_open:
            connection.close()
        else:
            connection.ioloop.stop()

    def _ground(self, why: str) -> None:
        """The connection is gone: tell everybody who waits."""
        with self._lock:
            self._state, self._connection, self._channel = why, None, None
            flights, self._flights = self._flights, set()
        self._unconfirmed.clear()
        for flight in flights:
            flight.fail(why)
        if not self._stop.is_set():
            log.warning("publisher disconnected", reason=why)

    def _report(self, error: BaseException, seconds: float) -> None:
        log.warning("cannot reach the broker", error=str(error), retry_in=round(seconds, 1))
