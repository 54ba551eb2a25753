"""Reads frames of AMQP 0-9-1: deliveries are decoded here, all other frames by pika.

A message is at least three frames (method, header, parts of the body). A client library spends most
of its time for a small message on creating an object per frame. Here a complete message becomes one
``Delivery``, and its properties stay encoded until they are used.

The reader handles each byte once, and it never holds more than one frame and one body.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Any, Final

from pika import frame, spec
from pika.exceptions import AMQPError, InvalidFrameError, ProtocolSyntaxError, UnexpectedFrameError

from auditflow.amqp.delivery import Delivery

#: The size of type, channel and length before the payload of a frame.
_HEADER_SIZE: Final = spec.FRAME_HEADER_SIZE
#: The size of a frame without its payload.
_OVERHEAD: Final = spec.FRAME_HEADER_SIZE + spec.FRAME_END_SIZE
#: RabbitMQ adds headers to a redelivered message and does not split its header frame. Such a frame
#: may exceed the negotiated size by this number of bytes.
_ADDED_HEADERS: Final = 8 * 1024
#: RabbitMQ's largest default of ``max_message_size``, for the brokers of others. Our brokers
#: permit ``topology.MAX_MESSAGE_BYTES``.
MAX_BODY_BYTES: Final = 128 * 1024 * 1024

#: A frame's type, channel and payload size.
_FRAME: Final = Struct(">BHI")
#: A method's class and number, as one integer, and the length of the consumer tag.
_METHOD: Final = Struct(">IB")
#: The arguments of basic.deliver after the consumer tag: delivery tag and redelivered flag.
_DELIVER: Final = Struct(">QB")
#: A content header: class, weight, body size.
_CONTENT: Final = Struct(">HHQ")
_DELIVER_METHOD: Final = spec.Basic.Deliver.INDEX
_BASIC_CLASS: Final = spec.Basic.INDEX


class FrameReader:
    """The frames that a connection receives, in pieces of any size.

    ``channel`` is the only channel on which deliveries are valid. ``frame_max`` is the negotiated
    frame size in bytes. ``body_max`` limits the size of a body.
    """

    def __init__(self, *, channel: int, frame_max: int, body_max: int = MAX_BODY_BYTES) -> None:
        self._channel = channel
        self._payload_max = frame_max + _ADDED_HEADERS - _OVERHEAD
        self._body_max = body_max
        self._rest = b""
        #: Further pieces of an incomplete frame, and how many bytes it needs.
        self._pieces: list[bytes] = []
        self._missing = 0
        # The delivery whose content has not arrived completely.
        self._expects_header = False
        self._tag = 0
        self._redelivered = False
        self._properties = b""
        self._parts: list[bytes] = []
        self._body_missing = 0

    def limit_frames(self, frame_max: int) -> None:
        """Set the negotiated frame size, in bytes."""
        self._payload_max = frame_max + _ADDED_HEADERS - _OVERHEAD

    def feed(self, data: bytes) -> Iterator[Delivery | frame.Frame]:
        """The deliveries and frames that are complete after ``data``, in order.

        The iterator must be exhausted before the next call.

        Raises:
            pika.exceptions.AMQPError: the bytes violate the protocol or a limit.
        """
        if self._missing > len(data):
            self._pieces.append(data)
            self._missing -= len(data)
            return
        if self._pieces or self._rest:
            data = b"".join((self._rest, *self._pieces, data))
            self._pieces = []
        offset, length = 0, len(data)
        self._missing = 0
        while length - offset >= _HEADER_SIZE:
            kind, channel, size = _FRAME.unpack_from(data, offset)
            if size > self._payload_max:
                raise InvalidFrameError(f"a frame of {size} bytes exceeds the negotiated size")
            end = offset + size + _OVERHEAD
            if end > length:
                self._missing = end - length
                break
            if data[end - 1] != spec.FRAME_END:
                raise InvalidFrameError("a frame does not end with the frame-end octet")
            try:
                result = self._handle(kind, channel, data, offset, end)
            except AMQPError:
                raise
            except Exception as error:  # noqa: BLE001 - pika raises many types for invalid bytes
                raise ProtocolSyntaxError(f"an invalid frame: {error!r}") from None
            offset = end
            if result is not None:
                yield result
        self._rest = data[offset:]

    def _handle(
        self, kind: int, channel: int, data: bytes, offset: int, end: int
    ) -> Delivery | frame.Frame | None:
        start = offset + _HEADER_SIZE
        if kind == spec.FRAME_BODY:
            return self._on_body(channel, data[start : end - 1])
        if kind == spec.FRAME_HEADER:
            return self._on_header(channel, data, start, end - 1)
        if kind == spec.FRAME_HEARTBEAT:
            return self._decode(data[offset:end])
        # Methods of the connection may arrive inside a message: for example connection.close.
        if channel == self._channel and (self._expects_header or self._body_missing):
            raise UnexpectedFrameError(f"a frame of type {kind} inside a message")
        if kind == spec.FRAME_METHOD:
            method, tag_length = _METHOD.unpack_from(data, start)
            if method == _DELIVER_METHOD:
                self._on_deliver(channel, data, start + _METHOD.size + tag_length, end - 1)
                return None
        return self._decode(data[offset:end])

    def _on_deliver(self, channel: int, data: bytes, start: int, end: int) -> None:
        self._check_channel(channel)
        if start + _DELIVER.size > end:
            raise ProtocolSyntaxError("basic.deliver is truncated")
        self._tag, redelivered = _DELIVER.unpack_from(data, start)
        self._redelivered = bool(redelivered & 1)
        self._expects_header = True

    def _on_header(self, channel: int, data: bytes, start: int, end: int) -> Delivery | None:
        self._check_channel(channel)
        if not self._expects_header:
            raise UnexpectedFrameError("a content header without a delivery")
        if start + _CONTENT.size > end:
            raise ProtocolSyntaxError("a content header is truncated")
        content_class, _, size = _CONTENT.unpack_from(data, start)
        if content_class != _BASIC_CLASS:
            raise UnexpectedFrameError(f"a content header of class {content_class}")
        if size > self._body_max:
            raise InvalidFrameError(f"a body of {size} bytes exceeds {self._body_max} bytes")
        self._expects_header = False
        self._properties = data[start + _CONTENT.size : end]
        self._body_missing = size
        return self._complete() if size == 0 else None

    def _on_body(self, channel: int, part: bytes) -> Delivery | None:
        self._check_channel(channel)
        if len(part) > self._body_missing or not part:
            raise UnexpectedFrameError("a body frame exceeds the declared size, or is empty")
        self._parts.append(part)
        self._body_missing -= len(part)
        return self._complete() if self._body_missing == 0 else None

    def _complete(self) -> Delivery:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        return Delivery(body, self._tag, self._redelivered, self._properties)

    def _check_channel(self, channel: int) -> None:
        if channel != self._channel:
            raise UnexpectedFrameError(f"a message on channel {channel}")

    @staticmethod
    def _decode(data: bytes) -> frame.Frame | None:
        _, decoded = frame.decode_frame(data)
        return decoded if isinstance(decoded, frame.Frame) else None


def method_of(item: Any) -> Any:
    """The method that a frame carries; None for other frames."""
    return item.method if isinstance(item, frame.Method) else None
