"""What one queue sends, on a connection of its own: the part of a client that a consumer needs.

pika says what the methods look like; the publisher and all tools use it whole. A consumer spends
half of its time in it, though, and what it needs of a client is little: to open, to read deliveries
by the hundred, to acknowledge them all at once, and to close in order.
"""

import selectors
import socket
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
from auditflow.amqp.frames import Frames, method_of

#: What one look at the socket takes at most: some hundred small messages.
RECEIVE_BYTES: Final = 256 * 1024
#: The largest frame that we ask for: RabbitMQ's own default.
FRAME_BYTES: Final = 128 * 1024
#: How long the broker has to say that it has closed (seconds).
CLOSING_SECONDS: Final = 2.0
#: What a consumer does not want to be told by a connection that just ends.
_CAPABILITIES: Final = {"authentication_failure_close": True, "consumer_cancel_notify": True}

_CHANNEL: Final = 1
#: A whole frame: basic.ack of a delivery and all before it.
_ACK: Final = struct.Struct(">BHIIQBB")

M = TypeVar("M")


class Subscription:
    """A queue's messages. All but ``wake`` belongs to one thread.

    Every method raises ``pika.exceptions.AMQPError`` or ``OSError`` when the connection has ended,
    and is of no more use then, but for ``close``.
    """

    def __init__(self, parameters: pika.ConnectionParameters, queue: str, *, prefetch: int) -> None:
        """Connect and subscribe. Waits for the broker as long as ``parameters`` say."""
        if parameters.ssl_options is not None:
            raise NotImplementedError("a subscription does not speak TLS")
        self._queue = queue
        self._frames = Frames()
        self._early: list[Delivery] = []
        self._heartbeat = 0.0
        self._sent = self._received = time.monotonic()
        self._socket = socket.create_connection(
            (parameters.host, parameters.port), timeout=parameters.socket_timeout
        )
        self._awake, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._waker.setblocking(False)
            self._awake.setblocking(False)
            for one in (self._socket, self._awake):
                self._selector.register(one, selectors.EVENT_READ)
            limit = time.monotonic() + (parameters.stack_timeout or parameters.socket_timeout)
            self._open(parameters, limit)
            self._subscribe(prefetch, limit)
        except BaseException:
            self._release()
            raise

    def poll(self, seconds: float) -> list[Delivery]:
        """What has come, after at most so long: nothing, when nothing came, or on ``wake``."""
        deliveries, self._early = self._early, []
        deliveries += self._deliveries(0.0 if deliveries else seconds)
        return deliveries

    def acknowledge(self, tag: int) -> None:
        """The delivery with this tag and all before it are done."""
        self._write(
            _ACK.pack(
                spec.FRAME_METHOD, _CHANNEL, 13, spec.Basic.Ack.INDEX, tag, True, spec.FRAME_END
            )
        )

    def wake(self) -> None:
        """End the ``poll`` that waits, or the next. May be called on any thread."""
        with suppress(OSError):  # it is awake, or closed
            self._waker.send(b"!")

    def close(self) -> None:
        """Say goodbye, so that what was sent before is heard. Never raises."""
        try:
            self._send(spec.Connection.Close(200, "consumer stopped", 0, 0), channel=0)
            self._await(spec.Connection.CloseOk, time.monotonic() + CLOSING_SECONDS)
        except (pika.exceptions.AMQPError, OSError):
            pass  # it ended by itself
        finally:
            self._release()

    def _release(self) -> None:
        self._selector.close()
        for one in (self._socket, self._awake, self._waker):
            one.close()

    def _open(self, parameters: pika.ConnectionParameters, limit: float) -> None:
        self._write(frame.ProtocolHeader().marshal())
        start = self._await(spec.Connection.Start, limit)
        mechanism, response = parameters.credentials.response_for(start)
        if mechanism is None:
            raise AMQPConnectionError("the broker takes none of our ways to sign in")
        properties = {
            "product": "AuditFlow",
            "capabilities": _CAPABILITIES,
            **(parameters.client_properties or {}),
        }
        self._send(
            spec.Connection.StartOk(properties, mechanism, response, parameters.locale), channel=0
        )
        try:
            tune = self._await(spec.Connection.Tune, limit)
        except ConnectionClosedByBroker as error:
            raise ProbableAuthenticationError(error.reply_text) from error
        self._heartbeat = min(filter(None, (tune.heartbeat, parameters.heartbeat)), default=0)
        frame_max = min(FRAME_BYTES, tune.frame_max or FRAME_BYTES)
        self._send(
            spec.Connection.TuneOk(tune.channel_max, frame_max, int(self._heartbeat)), channel=0
        )
        self._send(spec.Connection.Open(parameters.virtual_host), channel=0)
        self._await(spec.Connection.OpenOk, limit)

    def _subscribe(self, prefetch: int, limit: float) -> None:
        self._send(spec.Channel.Open())
        self._await(spec.Channel.OpenOk, limit)
        self._send(spec.Basic.Qos(prefetch_count=prefetch))
        self._await(spec.Basic.QosOk, limit)
        self._send(spec.Basic.Consume(queue=self._queue))
        self._await(spec.Basic.ConsumeOk, limit)

    def _await(self, method: type[M], limit: float) -> M:
        """The answer of this kind. Deliveries that come with it are kept for ``poll``."""
        answer: M | None = None
        while answer is None:
            left = limit - time.monotonic()
            if left <= 0:
                raise AMQPConnectionError(f"the broker sent no {method.__name__} in time")
            for one in self._receive(left):
                if isinstance(one, Delivery):
                    self._early.append(one)
                elif isinstance(method_of(one), method):
                    answer = method_of(one)
                else:
                    self._heed(one)
        return answer

    def _deliveries(self, seconds: float) -> list[Delivery]:
        """What comes within so long, as soon as something does."""
        deliveries: list[Delivery] = []
        until = time.monotonic() + seconds
        while True:
            self._beat()
            left = max(0.0, until - time.monotonic())
            for one in self._receive(min(left, self._heartbeat / 2 or left)):
                if isinstance(one, Delivery):
                    deliveries.append(one)
                else:
                    self._heed(one)
            if deliveries or self._woken() or time.monotonic() >= until:
                return deliveries

    def _receive(self, seconds: float) -> Iterator[Delivery | frame.Frame]:
        """What one look at the socket gives, when there is something within so long."""
        if not any(key.fileobj is self._socket for key, _ in self._selector.select(seconds)):
            return iter(())
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            raise StreamLostError("the broker closed the connection without a word")
        self._received = time.monotonic()
        return self._frames.feed(data)

    def _woken(self) -> bool:
        try:
            return bool(self._awake.recv(4096))
        except BlockingIOError:
            return False

    def _heed(self, one: frame.Frame) -> None:
        """What the broker tells beside deliveries."""
        method = method_of(one)
        if isinstance(method, spec.Basic.Cancel):
            raise ConsumerCancelled(f"the broker ended the consumer of {self._queue}")
        if isinstance(method, spec.Channel.Close):
            raise ChannelClosedByBroker(method.reply_code, method.reply_text)
        if isinstance(method, spec.Connection.Close):
            with suppress(OSError):
                self._send(spec.Connection.CloseOk(), channel=0)
            raise ConnectionClosedByBroker(method.reply_code, method.reply_text)

    def _beat(self) -> None:
        """Show the broker that we live, and see whether it does."""
        if not self._heartbeat:
            return
        now = time.monotonic()
        if now - self._received > 2 * self._heartbeat:
            raise AMQPHeartbeatTimeout(f"the broker was silent for {2 * self._heartbeat:.0f} s")
        if now - self._sent > self._heartbeat / 2:
            self._write(frame.Heartbeat().marshal())

    def _send(self, method: Any, *, channel: int = _CHANNEL) -> None:
        self._write(frame.Method(channel, method).marshal())

    def _write(self, data: bytes) -> None:
        self._socket.sendall(data)
        self._sent = time.monotonic()
