"""Frames of AMQP 0-9-1 as a consumer gets them: deliveries taken apart at once, the rest by pika.

A message is three frames or more (a method, a header, parts of the body). To make an object of each
is most of what a client spends on a small message; here a message that is whole becomes a
``Delivery`` in one go, and its properties stay bytes until somebody asks.
"""

from collections.abc import Iterator
from struct import Struct, error
from typing import Any, Final

from pika import frame, spec
from pika.exceptions import InvalidFrameError, ProtocolSyntaxError, UnexpectedFrameError

from auditflow.amqp.delivery import Delivery

#: Before and after what a frame carries.
_BEFORE: Final = spec.FRAME_HEADER_SIZE
_AROUND: Final = spec.FRAME_HEADER_SIZE + spec.FRAME_END_SIZE

#: A frame's type, channel and size.
_FRAME: Final = Struct(">BHI").unpack_from
#: The same of a method, with its number and the length of the string that begins its arguments.
_METHOD: Final = Struct(">BHIIB")
#: Of a delivery after the consumer's tag: its own tag, and whether it was delivered before.
_DELIVER: Final = Struct(">QB")
#: The frame of a header: type, channel, size, class, weight, the size of the body.
_HEADER: Final = Struct(">BHIHHQ")


class Frames:
    """What a connection receives, in pieces of any size."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held = 0
        self._wanted = 0

    def feed(self, data: bytes) -> Iterator[Delivery | frame.Frame]:
        """What is whole after ``data``, in order. To be read to its end.

        Raises:
            pika.exceptions.AMQPError: this is not what a broker sends.
        """
        self._pieces.append(data)
        self._held += len(data)
        if self._held < self._wanted:
            return
        whole = data if len(self._pieces) == 1 else b"".join(self._pieces)
        place, end = 0, len(whole)
        while True:
            try:
                if end - place >= _METHOD.size:
                    kind, _, _, method, tag = _METHOD.unpack_from(whole, place)
                    if kind == spec.FRAME_METHOD and method == spec.Basic.Deliver.INDEX:
                        delivery, place = _delivery(whole, place, end, tag)
                        yield delivery
                        continue
                after = _end(whole, place, end, since=place)
                _, other = frame.decode_frame(whole[place:after])
            except _Short as short:
                self._wanted = short.wanted
                break
            except (error, LookupError) as wrong:
                raise ProtocolSyntaxError(f"a frame that AMQP does not know: {wrong}") from None
            place = after
            if isinstance(other, frame.Frame):
                yield other
        self._pieces = [whole[place:]] if place < end else []
        self._held = end - place


class _Short(Exception):
    """So many bytes from here on are wanted, and are not there yet."""

    def __init__(self, wanted: int) -> None:
        super().__init__(wanted)
        self.wanted = wanted


def _delivery(whole: bytes, start: int, end: int, length: int) -> tuple[Delivery, int]:
    """The delivery that begins at ``start``, and where the next frame begins."""
    # The method: basic.deliver
    place = _end(whole, start, end, since=start)
    tag, redelivered = _DELIVER.unpack_from(whole, start + _METHOD.size + length)
    # The header: how large the body is, and the properties
    place = _past_heartbeats(whole, place, end, since=start)
    after = _end(whole, place, end, since=start)
    if whole[place] != spec.FRAME_HEADER:
        raise UnexpectedFrameError(f"a frame of type {whole[place]} after basic.deliver")
    *_, size = _HEADER.unpack_from(whole, place)
    properties = whole[place + _HEADER.size : after - 1]
    # The body: in one frame, as nearly always, or in parts
    place = after
    if end - place < size:
        raise _Short(place - start + size + _AROUND)
    parts: list[bytes] = []
    while size > 0:
        place = _past_heartbeats(whole, place, end, since=start)
        after = _end(whole, place, end, since=start)
        if whole[place] != spec.FRAME_BODY:
            raise UnexpectedFrameError(f"a frame of type {whole[place]} in a body")
        parts.append(whole[place + _BEFORE : after - 1])
        size -= len(parts[-1])
        place = after
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    return Delivery(body, tag, bool(redelivered & 1), properties), place


def _end(whole: bytes, place: int, end: int, *, since: int) -> int:
    """Where the frame at ``place`` ends, which must be there."""
    if end - place < _BEFORE:
        raise _Short(place + _AROUND - since)
    after: int = place + _FRAME(whole, place)[2] + _AROUND
    if after > end:
        raise _Short(after - since)
    if whole[after - 1] != spec.FRAME_END:
        raise InvalidFrameError("no end of frame where one must be")
    return after


def _past_heartbeats(whole: bytes, place: int, end: int, *, since: int) -> int:
    """The next place that is no heartbeat, which alone may come in the middle of a message."""
    while place < end and whole[place] == spec.FRAME_HEARTBEAT:
        place = _end(whole, place, end, since=since)
    return place


def method_of(one: Any) -> Any:
    """The method that a frame carries; None where it is a heartbeat or the like."""
    return one.method if isinstance(one, frame.Method) else None
