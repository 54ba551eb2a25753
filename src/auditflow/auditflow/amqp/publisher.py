"""A publisher for many threads. It reports for each call whether the broker stored all messages."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, NamedTuple

import pika
from msgspec import Struct
from pika.exceptions import AMQPError

from auditflow.amqp import limits, publish_frames
from auditflow.amqp.connection import retry_until_stopped
from auditflow.amqp.publisher_connection import PublisherConnection
from auditflow.errors import InvalidMessage, PublishError, Unavailable
from auditflow.telemetry import logs
from auditflow.worker import Worker

#: The maximum number of unconfirmed messages of one call. It keeps the broker's disk busy and
#: limits the memory for batches of any size.
WINDOW: Final = 4000

log = logs.get(__name__)


class Message(Struct, frozen=True, kw_only=True):
    """A message to publish. ``message_id`` is the identifier of the event or finding.

    Ids are truncated to the 255 bytes that AMQP can carry.
    """

    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    correlation_id: str | None = None
    headers: Mapping[str, Any] | None = None
    content_type: str = "application/json"

    def properties(self) -> pika.BasicProperties:
        """The AMQP properties of a persistent message."""
        return pika.BasicProperties(
            content_type=self.content_type,
            delivery_mode=pika.DeliveryMode.Persistent.value,
            message_id=limits.short_string(self.message_id),
            correlation_id=(
                None if self.correlation_id is None else limits.short_string(self.correlation_id)
            ),
            headers=dict(self.headers) if self.headers else None,
        )


class EncodedMessage(NamedTuple):
    """A message as frames in pieces. ``message_id`` is the identifier that was sent."""

    message_id: str
    frames: list[bytes]


class PendingPublish:
    """The messages of one window that the broker has not confirmed completely."""

    def __init__(self, messages: Sequence[EncodedMessage]) -> None:
        self.messages = messages
        self.unconfirmed = len(messages)
        self.completed: Future[None] = Future()

    def confirm(self) -> None:
        """One message was confirmed."""
        self.unconfirmed -= 1
        if self.unconfirmed == 0 and not self.completed.done():
            self.completed.set_result(None)

    def fail(self, reason: str) -> None:
        """At least one message was not stored. The first reason counts."""
        if not self.completed.done():
            self.completed.set_exception(PublishError(reason))


def _explain(reason: Any) -> str:
    """The text of the innermost exception. pika wraps errors of a connection attempt."""
    while True:
        wrapped = [getattr(reason, "exception", None)]
        wrapped += [*getattr(reason, "exceptions", ()), *getattr(reason, "args", ())]
        inner = [item for item in wrapped if isinstance(item, BaseException)]
        if not inner:
            return str(reason) or type(reason).__name__
        reason = inner[-1]


def _all_confirmed() -> None:
    """Wait for nothing."""


class _ConnectionFailed(Unavailable):
    """The connection could not be opened."""

    def __init__(self, reason: str) -> None:
        super().__init__("rabbitmq", reason)


class Publisher:
    """One connection on its own thread. Any number of threads may publish.

    It reconnects with backoff when the connection is lost. Messages that are unconfirmed at that
    time are reported as not confirmed, never as stored.
    """

    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        self._parameters = parameters
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._unavailable_reason: str | None = "not connected yet"
        self._connection: PublisherConnection | None = None
        self._channel: Any = None
        self._pending: set[PendingPublish] = set()
        #: By delivery tag, in the order of sending: the call and the message's identifier.
        self._unconfirmed: dict[int, tuple[PendingPublish, str]] = {}
        self._next_tag = 1
        self._close_reason: object = None
        self._frame_max = limits.MIN_FRAME_BYTES
        self._worker = Worker("publisher", self._run)

    def start(self) -> None:
        """Start to connect. Returns immediately."""
        self._worker.start()

    def close(self) -> None:
        """Close the connection. Unconfirmed messages are reported as not confirmed."""
        self._stop.set()
        with self._lock:
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(self._close)
        self._worker.stop(timeout=3)

    def check(self) -> str | None:
        """Why messages cannot be published; None while they can be published."""
        return self._worker.check() or self._unavailable_reason

    def alive(self) -> str | None:
        """Why the publisher's thread does not run; None while it runs. Only a restart helps."""
        return self._worker.check()

    def publish(self, messages: Sequence[Message], *, timeout: float) -> None:
        """Publish messages, and return when the broker has stored all of them.

        ``timeout`` is in seconds and applies to each window.

        Raises:
            PublishError: at least one message is not confirmed. Any of them may be stored.
            InvalidMessage: a message exceeds a limit of AMQP. None of its window is published.
        """
        self.submit(messages, timeout=timeout)()

    def submit(self, messages: Sequence[Message], *, timeout: float) -> Callable[[], None]:
        """Publish messages, and return a function that waits until the broker has stored them.

        Call the function once. Both calls raise the exceptions of ``publish``. ``timeout`` is the
        maximum time until the broker confirms a window of messages, in seconds.
        """
        wait: Callable[[], None] = _all_confirmed
        for start in range(0, len(messages), WINDOW):
            wait()
            pending = self._submit_window(messages[start : start + WINDOW])
            wait = partial(self._wait, pending, timeout)
        return wait

    def submit_each(self, groups: Sequence[Sequence[Message]]) -> list[Future[None]]:
        """Publish groups of messages with one wake-up of the publisher's thread.

        Returns a future for each group. It completes when the broker has stored all messages of the
        group, and has a PublishError if a message is not confirmed. It has no timeout. A group has
        at most ``WINDOW`` messages.

        Raises:
            PublishError: the broker is unavailable. No message was sent.
            InvalidMessage: a message exceeds a limit of AMQP. No message was sent.
        """
        submitted = [PendingPublish(self._encode(messages)) for messages in groups]
        with self._lock:
            if self._unavailable_reason is not None or self._connection is None:
                raise PublishError(self._unavailable_reason or "not connected")
            self._pending.update(submitted)
            self._connection.ioloop.add_callback_threadsafe(partial(self._send_each, submitted))
        return [pending.completed for pending in submitted]

    def _submit_window(self, messages: Sequence[Message]) -> PendingPublish:
        pending = PendingPublish(self._encode(messages))
        with self._lock:
            if self._unavailable_reason is not None or self._connection is None:
                raise PublishError(self._unavailable_reason or "not connected")
            self._pending.add(pending)
            self._connection.ioloop.add_callback_threadsafe(partial(self._send, pending))
        return pending

    def _encode(self, messages: Sequence[Message]) -> list[EncodedMessage]:
        """Encode messages. Raises InvalidMessage if a message exceeds a limit of AMQP."""
        encoded: list[EncodedMessage] = []
        for message in messages:
            properties = message.properties()
            try:
                frames = publish_frames.encode(
                    message.exchange,
                    message.routing_key,
                    limits.encode(properties, message.routing_key, frame_max=self._frame_max),
                    message.body,
                    frame_max=self._frame_max,
                )
            except ValueError as error:
                raise InvalidMessage(f"message {message.message_id[:64]!r}: {error}") from None
            encoded.append(EncodedMessage(properties.message_id or "", frames))
        return encoded

    def _wait(self, pending: PendingPublish, timeout: float) -> None:
        try:
            pending.completed.result(timeout)
        except TimeoutError:
            raise PublishError(f"no confirm within {timeout:g} s") from None
        finally:
            with self._lock:
                self._pending.discard(pending)

    # The following methods run on the publisher's thread.

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                retry_until_stopped(self._stop, _ConnectionFailed, report=self._report)(
                    self._run_connection
                )
            except _ConnectionFailed:
                return  # stopped while the broker was unavailable

    def _run_connection(self) -> None:
        """Open a connection and serve it until it ends.

        Raises:
            _ConnectionFailed: the connection was never opened.
        """
        self._close_reason = None
        connection = PublisherConnection(
            self._parameters,
            on_ack=partial(self._confirm, is_ack=True),
            expects_acks=lambda: bool(self._unconfirmed),
            on_open_callback=lambda opened: opened.channel(on_open_callback=self._on_channel),
            on_open_error_callback=self._on_connection_closed,
            on_close_callback=self._on_connection_closed,
        )
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        with self._lock:
            self._connection = connection
        if self._stop.is_set():  # ``close`` did not see this connection
            connection.ioloop.add_callback_threadsafe(self._close)
        try:
            connection.ioloop.start()
        except (AMQPError, OSError) as error:
            self._close_reason = error
        was_opened = self._channel is not None
        reason = _explain(self._close_reason or "closed")
        self._fail_pending(f"the connection ended: {reason}")
        connection.ioloop.close()
        if not was_opened and not self._stop.is_set():
            raise _ConnectionFailed(reason)

    def _on_channel(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._on_ready(channel))

    def _on_ready(self, channel: Any) -> None:
        self._channel, self._next_tag = channel, 1
        self._frame_max = channel.connection.params.frame_max or limits.MIN_FRAME_BYTES
        with self._lock:
            self._unavailable_reason = None
        log.info("publisher connected", host=self._parameters.host, port=self._parameters.port)

    def _send(self, pending: PendingPublish) -> None:
        if self._channel is None or not self._channel.is_open:
            pending.fail("the connection ended")
            return
        for message in pending.messages:
            self._unconfirmed[self._next_tag] = (pending, message.message_id)
            self._next_tag += 1
        self._channel.connection.write(
            piece for message in pending.messages for piece in message.frames
        )

    def _send_each(self, submitted: Sequence[PendingPublish]) -> None:
        for pending in submitted:
            pending.completed.add_done_callback(partial(self._forget, pending))
            self._send(pending)

    def _forget(self, pending: PendingPublish, _: Future[None]) -> None:
        with self._lock:
            self._pending.discard(pending)

    def _on_confirm(self, frame: Any) -> None:
        """A confirm that the connection did not read itself: refused messages, in most cases."""
        method = frame.method
        is_ack = isinstance(method, pika.spec.Basic.Ack)
        self._confirm(method.delivery_tag, method.multiple, is_ack=is_ack)

    def _confirm(self, last: int, multiple: bool, *, is_ack: bool) -> None:
        for tag in self._tags(last, multiple=multiple):
            pending, _ = self._unconfirmed.pop(tag)
            if is_ack:
                pending.confirm()
            else:
                pending.fail("the broker refused a message: its queue is full")

    def _tags(self, last: int, *, multiple: bool) -> list[int]:
        if not multiple:
            return [last] if last in self._unconfirmed else []
        tags = []
        for tag in self._unconfirmed:
            if tag > last:
                break
            tags.append(tag)
        return tags

    def _on_return(self, _: Any, method: Any, properties: Any, __: bytes) -> None:
        # The broker returns a message that no queue takes, and confirms it afterwards.
        for pending, message_id in self._unconfirmed.values():
            if message_id == properties.message_id:
                pending.fail(f"no queue takes messages for {method.routing_key!r}")

    def _on_blocked(self, _: Any, frame: Any) -> None:
        reason = frame.method.reason
        log.warning("the broker accepts no messages", reason=reason)
        with self._lock:
            self._unavailable_reason = f"the broker accepts no messages: {reason}"

    def _on_unblocked(self, _: Any, __: Any) -> None:
        with self._lock:
            self._unavailable_reason = None

    def _on_channel_closed(self, _: Any, reason: Any) -> None:
        self._close_reason = reason
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def _on_connection_closed(self, connection: pika.SelectConnection, reason: Any) -> None:
        self._close_reason = self._close_reason or reason
        connection.ioloop.stop()

    def _close(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closed:
            return
        if connection.is_open:
            connection.close()
        else:
            connection.ioloop.stop()

    def _fail_pending(self, reason: str) -> None:
        """Fail all pending publishes after the connection is lost."""
        with self._lock:
            self._unavailable_reason, self._connection, self._channel = reason, None, None
            failed, self._pending = self._pending, set()
        self._unconfirmed.clear()
        for pending in failed:
            pending.fail(reason)
        if not self._stop.is_set():
            log.warning("publisher disconnected", reason=reason)

    def _report(self, error: BaseException, seconds: float) -> None:
        log.warning("cannot reach the broker", error=str(error), retry_in=round(seconds, 1))
