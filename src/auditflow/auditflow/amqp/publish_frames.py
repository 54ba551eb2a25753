"""Encodes messages as frames of AMQP 0-9-1, and decodes the broker's confirms. Pure.

A publisher sends three frames for a message, and gets a frame for each confirm. A client library
creates several objects for each frame, which takes most of the time for a small message.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from struct import Struct
from typing import Final

from pika import frame, spec

#: The channel of all messages.
CHANNEL: Final = 1
#: Pieces are joined up to this size, so that the socket is written once for many messages.
WRITE_BYTES: Final = 256 * 1024

#: The size of a frame without its payload.
_OVERHEAD: Final = spec.FRAME_HEADER_SIZE + spec.FRAME_END_SIZE
_END: Final = bytes((spec.FRAME_END,))
#: A frame's type, channel and payload size.
_FRAME: Final = Struct(">BHI")
#: A frame's type, channel and payload size, and its payload: class, weight, body size.
_HEADER: Final = Struct(">BHIHHQ")
_CONTENT_SIZE: Final = 12
#: The start of a frame with basic.ack on the channel, and its arguments with the end of the frame.
_ACK_START: Final = Struct(">BHII").pack(spec.FRAME_METHOD, CHANNEL, 13, spec.Basic.Ack.INDEX)
_ACK_ARGUMENTS: Final = Struct(">QBB")
_ACK_SIZE: Final = len(_ACK_START) + _ACK_ARGUMENTS.size


def encode(
    exchange: str, routing_key: str, properties: bytes, body: bytes, *, frame_max: int
) -> list[bytes]:
    """The frames of a mandatory message, in pieces.

    ``properties`` are the encoded property flags and property list. ``frame_max`` is the negotiated
    frame size in bytes.
    """
    size = len(body)
    header = _HEADER.pack(
        spec.FRAME_HEADER, CHANNEL, _CONTENT_SIZE + len(properties), spec.Basic.INDEX, 0, size
    )
    pieces = [_method(exchange, routing_key), header, properties, _END]
    step = frame_max - _OVERHEAD
    for start in range(0, size, step):
        part = body if size <= step else body[start : start + step]
        pieces += (_FRAME.pack(spec.FRAME_BODY, CHANNEL, len(part)), part, _END)
    return pieces


def joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces as few buffers of about ``WRITE_BYTES``."""
    buffer: list[bytes] = []
    size = 0
    for piece in pieces:
        buffer.append(piece)
        size += len(piece)
        if size >= WRITE_BYTES:
            yield b"".join(buffer)
            buffer, size = [], 0
    if buffer:
        yield b"".join(buffer)


def read_acks(data: bytes) -> tuple[list[tuple[int, bool]], int]:
    """The complete basic.ack frames at the start of ``data``, and their size in bytes.

    An ack is a delivery tag, and whether it includes all tags before it.
    """
    acks: list[tuple[int, bool]] = []
    offset = 0
    while len(data) - offset >= _ACK_SIZE and data.startswith(_ACK_START, offset):
        tag, flags, end = _ACK_ARGUMENTS.unpack_from(data, offset + len(_ACK_START))
        if end != spec.FRAME_END:
            break  # pika reports the invalid frame
        acks.append((tag, bool(flags & 1)))
        offset += _ACK_SIZE
    return acks, offset


@lru_cache(maxsize=512)
def _method(exchange: str, routing_key: str) -> bytes:
    publish = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True)
    return bytes(frame.Method(CHANNEL, publish).marshal())
