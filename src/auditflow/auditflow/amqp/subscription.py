"""A subscription to one queue on its own connection: the part of a client that a consumer needs.

pika encodes and decodes the methods. Publishers and tools use pika's connections. A consumer would
spend half of its time there, but it needs little: open, read hundreds of deliveries at once,
acknowledge them with one method, and close in order.
"""

import select
import selectors
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, TypeVar

import pika
from pika import frame, spec
from pika.exceptions import (
    AMQPConnectionError,
    AMQPHeartbeatTimeout,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ConsumerCancelled,
    ProbableAuthenticationError,
    StreamLostError,
)

from auditflow.amqp.delivery import Delivery
from auditflow.amqp.frames import FrameReader, method_of

#: The maximum number of bytes that are read from the socket at once: some hundred small messages.
RECEIVE_BYTES: Final = 256 * 1024
#: The requested maximum frame size, which is RabbitMQ's default.
FRAME_BYTES: Final = 128 * 1024
#: The timeout for the broker's answer to connection.close, in seconds.
CLOSING_SECONDS: Final = 2.0
_CAPABILITIES: Final = {"authentication_failure_close": True, "consumer_cancel_notify": True}

_CHANNEL: Final = 1
#: A complete frame: basic.ack of a delivery and all deliveries before it.
_ACK: Final = struct.Struct(">BHIIQBB")

M = TypeVar("M")


class Subscription:
    """The deliveries of a queue. All methods except ``wake`` belong to one thread.

    Every method raises ``pika.exceptions.AMQPError`` or ``OSError`` when the connection has ended.
    After that, only ``close`` may be called.
    """

    def __init__(self, parameters: pika.ConnectionParameters, queue: str, *, prefetch: int) -> None:
        """Connect and subscribe, within the timeouts of ``parameters``.

        At most ``prefetch`` messages are delivered before an acknowledgement.
        """
        self._queue = queue
        self._reader = FrameReader(channel=_CHANNEL, frame_max=FRAME_BYTES)
        #: Deliveries that arrived while the subscription was opened.
        self._early_deliveries: list[Delivery] = []
        self._heartbeat = 0.0
        self._enough_bytes = 1
        self._sent_at = self._received_at = time.monotonic()
        self._socket = _connect(parameters)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        try:
            self._wake_writer.setblocking(False)
            self._wake_reader.setblocking(False)
            for item in (self._socket, self._wake_reader):
                self._selector.register(item, selectors.EVENT_READ)
            deadline = time.monotonic() + (parameters.stack_timeout or parameters.socket_timeout)
            self._open(parameters, deadline)
            self._subscribe(prefetch, deadline)
        except BaseException:
            self._release()
            raise

    def poll(self, seconds: float, *, enough_bytes: int = 1) -> list[Delivery]:
        """The deliveries that have arrived. Waits up to ``seconds``, or until ``wake``.

        It does not wait longer when ``enough_bytes`` have arrived. While many messages arrive, each
        read would otherwise have the few messages that the broker wrote at once.
        """
        deliveries, self._early_deliveries = self._early_deliveries, []
        self._set_enough_bytes(enough_bytes)
        deliveries += self._receive_deliveries(0.0 if deliveries else seconds)
        if not deliveries and enough_bytes > 1:
            self._set_enough_bytes(1)
            deliveries = self._receive_deliveries(0.0)
        return deliveries

    def wait(self, seconds: float) -> None:
        """Read nothing, up to ``seconds`` or until ``wake``. The broker keeps further deliveries.

        Heartbeats are sent. Those of the broker cannot be read, so its silence is no fault.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._received_at = time.monotonic()
            self._keep_alive()
            remaining = max(0.0, deadline - time.monotonic())
            select.select(
                [self._wake_reader], [], [], min(remaining, self._heartbeat / 2 or remaining)
            )
            if self._was_woken() or time.monotonic() >= deadline:
                return

    def acknowledge(self, tag: int) -> None:
        """Acknowledge the delivery with this tag and all deliveries before it."""
        self._write(
            _ACK.pack(
                spec.FRAME_METHOD, _CHANNEL, 13, spec.Basic.Ack.INDEX, tag, True, spec.FRAME_END
            )
        )

    def wake(self) -> None:
        """End the current ``poll``, or the next one. May be called on any thread."""
        with suppress(OSError):  # it is already woken, or closed
            self._wake_writer.send(b"!")

    def close(self) -> None:
        """Close the connection in order, so that the broker gets everything sent. Never raises."""
        try:
            self._send(spec.Connection.Close(200, "consumer stopped", 0, 0), channel=0)
            self._await(spec.Connection.CloseOk, time.monotonic() + CLOSING_SECONDS)
        except (pika.exceptions.AMQPError, OSError):
            pass  # the connection has already ended
        finally:
            self._release()

    def _release(self) -> None:
        self._selector.close()
        for item in (self._socket, self._wake_reader, self._wake_writer):
            item.close()

    def _open(self, parameters: pika.ConnectionParameters, deadline: float) -> None:
        self._write(frame.ProtocolHeader().marshal())
        start = self._await(spec.Connection.Start, deadline)
        mechanism, response = parameters.credentials.response_for(start)
        if mechanism is None:
            raise AMQPConnectionError("the broker supports none of our authentication mechanisms")
        properties = {
            "product": "AuditFlow",
            "capabilities": _CAPABILITIES,
            **(parameters.client_properties or {}),
        }
        self._send(
            spec.Connection.StartOk(properties, mechanism, response, parameters.locale), channel=0
        )
        try:
            tune = self._await(spec.Connection.Tune, deadline)
        except ConnectionClosedByBroker as error:
            raise ProbableAuthenticationError(error.reply_text) from error
        self._heartbeat = min(filter(None, (tune.heartbeat, parameters.heartbeat)), default=0)
        frame_max = min(FRAME_BYTES, tune.frame_max or FRAME_BYTES)
        self._reader.limit_frames(frame_max)
        self._send(
            spec.Connection.TuneOk(tune.channel_max, frame_max, int(self._heartbeat)), channel=0
        )
        self._send(spec.Connection.Open(parameters.virtual_host), channel=0)
        self._await(spec.Connection.OpenOk, deadline)

    def _subscribe(self, prefetch: int, deadline: float) -> None:
        self._send(spec.Channel.Open())
        self._await(spec.Channel.OpenOk, deadline)
        self._send(spec.Basic.Qos(prefetch_count=prefetch))
        self._await(spec.Basic.QosOk, deadline)
        self._send(spec.Basic.Consume(queue=self._queue))
        self._await(spec.Basic.ConsumeOk, deadline)

    def _await(self, method: type[M], deadline: float) -> M:
        """Wait for a method of the broker. Deliveries that arrive before are kept for ``poll``."""
        self._set_enough_bytes(1)
        answer: M | None = None
        while answer is None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise AMQPConnectionError(f"the broker sent no {method.__name__} in time")
            for item in self._receive(remaining):
                if isinstance(item, Delivery):
                    self._early_deliveries.append(item)
                elif isinstance(method_of(item), method):
                    answer = method_of(item)
                else:
                    self._handle_frame(item)
        return answer

    def _receive_deliveries(self, seconds: float) -> list[Delivery]:
        deliveries: list[Delivery] = []
        deadline = time.monotonic() + seconds
        while True:
            self._keep_alive()
            remaining = max(0.0, deadline - time.monotonic())
            for item in self._receive(min(remaining, self._heartbeat / 2 or remaining)):
                if isinstance(item, Delivery):
                    deliveries.append(item)
                else:
                    self._handle_frame(item)
            if deliveries or self._was_woken() or time.monotonic() >= deadline:
                return deliveries

    def _receive(self, seconds: float) -> Iterator[Delivery | frame.Frame]:
        """Read from the socket once, after at most ``seconds``."""
        if not self._is_readable(seconds):
            return iter(())
        data = self._read()
        if data is None:
            return iter(())
        if not data:
            raise StreamLostError("the broker closed the connection")
        self._received_at = time.monotonic()
        return self._reader.feed(data)

    def _set_enough_bytes(self, number: int) -> None:
        """Set the number of bytes with which the socket is readable."""
        if number != self._enough_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, number)
            self._enough_bytes = number

    def _read(self) -> bytes | None:
        """The bytes of the readable socket: empty at its end, None without application data."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return self._socket.recv(RECEIVE_BYTES)
        # A TLS record may be incomplete, or contain no application data (a session ticket).
        timeout = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except ssl.SSLWantReadError:
            return None
        finally:
            self._socket.settimeout(timeout)

    def _is_readable(self, seconds: float) -> bool:
        # TLS may hold decrypted bytes that the selector does not see.
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return any(key.fileobj is self._socket for key, _ in self._selector.select(seconds))

    def _was_woken(self) -> bool:
        try:
            return bool(self._wake_reader.recv(4096))
        except BlockingIOError:
            return False

    def _handle_frame(self, item: frame.Frame) -> None:
        """Handle a frame that is no delivery."""
        method = method_of(item)
        if isinstance(method, spec.Basic.Cancel):
            raise ConsumerCancelled(f"the broker ended the consumer of {self._queue}")
        if isinstance(method, spec.Channel.Close):
            raise ChannelClosedByBroker(method.reply_code, method.reply_text)
        if isinstance(method, spec.Connection.Close):
            with suppress(OSError):
                self._send(spec.Connection.CloseOk(), channel=0)
            raise ConnectionClosedByBroker(method.reply_code, method.reply_text)

    def _keep_alive(self) -> None:
        """Send a heartbeat when it is due, and check that the broker sends something."""
        if not self._heartbeat:
            return
        now = time.monotonic()
        if now - self._received_at > 2 * self._heartbeat:
            raise AMQPHeartbeatTimeout(f"the broker was silent for {2 * self._heartbeat:.0f} s")
        if now - self._sent_at > self._heartbeat / 2:
            self._write(frame.Heartbeat().marshal())

    def _send(self, method: Any, *, channel: int = _CHANNEL) -> None:
        self._write(frame.Method(channel, method).marshal())

    def _write(self, data: bytes) -> None:
        self._socket.sendall(data)
        self._sent_at = time.monotonic()


def _connect(parameters: pika.ConnectionParameters) -> socket.socket:
    """A connected socket, with TLS if the parameters contain TLS options."""
    plain = socket.create_connection(
        (parameters.host, parameters.port), timeout=parameters.socket_timeout
    )
    options = parameters.ssl_options
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if options is not None:
            encrypted: ssl.SSLSocket = options.context.wrap_socket(
                plain, server_hostname=options.server_hostname or parameters.host
            )
    except BaseException:
        plain.close()
        raise
    return plain if options is None else encrypted
