"""The frame reader decodes what pika would decode, in any pieces, within limits and linear time."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import BasicProperties, frame, spec
from pika.exceptions import AMQPError

from auditflow.amqp import Delivery
from auditflow.amqp.delivery import has_no_context
from auditflow.amqp.frames import FrameReader, method_of

FRAME_MAX = 131_072
_names = st.none() | st.text(max_size=20)
_headers = st.none() | st.dictionaries(
    st.text(max_size=10), st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20), max_size=3
)
_HEARTBEAT = frame.Heartbeat().marshal()


def reader(**limits: int) -> FrameReader:
    return FrameReader(**{"channel": 1, "frame_max": FRAME_MAX, **limits})


def read(wire: bytes, **limits: int) -> list[Any]:
    return list(reader(**limits).feed(wire))


class Sent:
    """A message as a broker sends it, in body frames of at most ``size`` bytes."""

    def __init__(
        self,
        tag: int,
        redelivered: bool,
        body: bytes,
        size: int,
        properties: dict[str, Any],
        heartbeats: bool,
        *,
        channel: int = 1,
        declared: int | None = None,
    ) -> None:
        self.tag, self.redelivered, self.body, self.properties = tag, redelivered, body, properties
        declared = len(body) if declared is None else declared
        frames: list[frame.Frame] = [
            frame.Method(
                channel, spec.Basic.Deliver("ctag1", tag, redelivered, "audit", "event.x")
            ),
            frame.Header(channel, declared, BasicProperties(**properties)),
        ]
        frames += [
            frame.Body(channel, body[start : start + size]) for start in range(0, len(body), size)
        ]
        self.wire = (_HEARTBEAT if heartbeats else b"").join(item.marshal() for item in frames)


def message(body: bytes, *, size: int = 1000, **options: Any) -> bytes:
    return Sent(7, False, body, size, {}, False, **options).wire


_sent = st.builds(
    Sent,
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.binary(max_size=200),
    st.integers(1, 100),
    st.fixed_dictionaries(
        {"message_id": _names, "correlation_id": _names, "headers": _headers},
        optional={"delivery_mode": st.just(2), "content_type": st.text(max_size=9)},
    ),
    st.booleans(),
)


def deliveries(items: Sequence[Any]) -> list[Any]:
    return [item for item in items if isinstance(item, Delivery)]


def feed_in_pieces(wire: bytes, sizes: list[int]) -> list[Any]:
    frames, items, offset, turn = reader(), [], 0, 0
    while offset < len(wire):
        size = sizes[turn % len(sizes)]
        items += list(frames.feed(wire[offset : offset + size]))
        offset, turn = offset + size, turn + 1
    return items


@given(st.lists(_sent, max_size=6), st.lists(st.integers(1, 60), min_size=1), st.booleans())
def test_deliveries_are_the_sent_messages_in_any_pieces(
    sent: list[Sent], sizes: list[int], heartbeats: bool
) -> None:
    cancel = frame.Method(1, spec.Basic.Cancel("ctag1", True)).marshal()
    wire = (_HEARTBEAT if heartbeats else b"").join(item.wire for item in sent) + cancel
    items = feed_in_pieces(wire, sizes)
    assert [
        (it.tag, it.redelivered, it.body, it.message_id, it.correlation_id, it.headers)
        for it in deliveries(items)
    ] == [
        (
            it.tag,
            it.redelivered,
            it.body,
            it.properties["message_id"],
            it.properties["correlation_id"],
            it.properties["headers"] or {},
        )
        for it in sent
    ]
    assert isinstance(items[-1], frame.Method)
    assert isinstance(items[-1].method, spec.Basic.Cancel)


def test_a_large_message_arrives_in_many_pieces() -> None:
    body = bytes(range(256)) * 8192
    items = feed_in_pieces(Sent(7, False, body, 131_064, {}, False).wire, [1000])
    assert [it.body for it in deliveries(items)] == [body]


def test_the_connection_can_be_closed_inside_a_message() -> None:
    close = frame.Method(0, spec.Connection.Close(320, "maintenance", 0, 0)).marshal()
    half = message(b"x" * 2000)[:-1008]
    (item,) = read(half + close)
    assert isinstance(item.method, spec.Connection.Close)


@given(_sent, st.data())
def test_invalid_bytes_are_a_protocol_error_or_an_incomplete_frame(
    sent: Sent, data: st.DataObject
) -> None:
    wire = bytearray(sent.wire)
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    with suppress(AMQPError):
        read(bytes(wire))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_protocol_error_or_an_incomplete_frame(wire: bytes) -> None:
    with suppress(AMQPError):
        read(wire)


DELIVER = frame.Method(1, spec.Basic.Deliver("ctag1", 1, False, "audit", "event.x")).marshal()


def header(size: int, *, channel: int = 1) -> bytes:
    return frame.Header(channel, size, BasicProperties()).marshal()


def body(data: bytes, *, channel: int = 1) -> bytes:
    return frame.Body(channel, data).marshal()


#: The position of the delivery tag in the payload: after the method and the consumer tag.
_DELIVER_START = 4 + 1 + len("ctag1")


def truncated(wire: bytes, size: int) -> bytes:
    """A frame whose payload is cut to ``size`` bytes."""
    return wire[:3] + size.to_bytes(4, "big") + wire[7 : 7 + size] + b"\xce"


def with_channel(channel: int, wire: bytes) -> bytes:
    return wire[:1] + channel.to_bytes(2, "big") + wire[3:]


def of_class(number: int, wire: bytes) -> bytes:
    """A content header of another class."""
    return wire[:7] + number.to_bytes(2, "big") + wire[9:]


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        (message(b"x")[:-1] + b"\0", "frame-end"),
        (DELIVER + header(1) + body(b"xy"), "exceeds the declared size"),
        (DELIVER + header(1) + body(b""), "empty"),
        (DELIVER + body(b"x"), "exceeds the declared size"),
        (DELIVER + DELIVER, "inside a message"),
        (DELIVER + header(2) + body(b"x") + DELIVER, "inside a message"),
        (header(1), "without a delivery"),
        (body(b"x"), "exceeds the declared size"),
        (message(b"x", channel=2), "channel 2"),
        (DELIVER + header(1, channel=2), "channel 2"),
        (DELIVER + header(1) + body(b"x", channel=3), "channel 3"),
        (DELIVER + header(2**63), "exceeds 134217728 bytes"),
        (b"\x01\x00\x01\x00\x03\x00\x00", "exceeds the negotiated size"),
        (b"\x03\x00\x01\xff\xff\xff\xff", "exceeds the negotiated size"),
        (b"\x01\x00\x01\x00\x00\x00\x04\xff\xff\xff\xff\xce", "invalid frame"),
        (b"\x05\x00\x00\x00\x00\x00\x00\xce", "Unknown frame type"),
        (with_channel(2, DELIVER), "channel 2"),
        # the frames after a truncated frame do not complete it
        (truncated(DELIVER, _DELIVER_START + 8) + message(b"x"), "basic.deliver is truncated"),
        (DELIVER + truncated(header(1), 11) + message(b"x"), "content header is truncated"),
        (DELIVER + of_class(61, header(1)), "content header of class 61"),
    ],
)
def test_a_violation_of_the_protocol_is_an_error(wire: bytes, error: str) -> None:
    with pytest.raises(AMQPError, match=error):
        read(wire)


def test_the_negotiated_frame_size_is_enforced() -> None:
    # RabbitMQ may add 8 KiB of headers to a redelivered message.
    wire = message(b"x" * 20_000, size=20_000)
    assert deliveries(read(wire, frame_max=16_384))
    with pytest.raises(AMQPError, match="exceeds the negotiated size"):
        read(wire, frame_max=8_192)
    limited = reader()
    limited.limit_frames(8_192)
    with pytest.raises(AMQPError, match="exceeds the negotiated size"):
        list(limited.feed(wire))


@pytest.mark.parametrize("negotiated_later", [False, True])
def test_the_maximum_frame_size_is_exact(negotiated_later: bool) -> None:
    # A frame has 8 bytes beside its payload. 8 KiB more are allowed for headers that were added.
    def frames() -> FrameReader:
        if not negotiated_later:
            return reader(frame_max=4096)
        limited = reader()
        limited.limit_frames(4096)
        return limited

    largest = 4096 + 8192 - 8
    (received,) = frames().feed(message(b"x" * largest, size=largest))
    assert isinstance(received, Delivery)
    with pytest.raises(AMQPError, match=f"a frame of {largest + 1} bytes"):
        list(frames().feed(message(b"x" * (largest + 1), size=largest + 1)))


def test_the_properties_of_a_delivery_are_those_of_the_header() -> None:
    properties = {"message_id": "m", "headers": {"a": 1}}
    (received,) = read(Sent(7, True, b"x", 9, properties, False).wire + message(b"y"))[:1]
    assert received.properties == b"".join(BasicProperties(**properties).encode())
    assert (received.tag, received.redelivered) == (7, True)


def test_other_frames_are_returned_in_order() -> None:
    cancel = frame.Method(1, spec.Basic.Cancel("ctag1", True)).marshal()
    heartbeat, received, method = read(_HEARTBEAT + message(b"x") + cancel)
    assert isinstance(heartbeat, frame.Heartbeat)
    assert isinstance(received, Delivery)
    assert isinstance(method_of(method), spec.Basic.Cancel)
    assert method_of(heartbeat) is None
    assert method_of(received) is None


def test_the_maximum_body_size_is_enforced_before_the_body_arrives() -> None:
    assert read(DELIVER + header(100), body_max=100) == []
    with pytest.raises(AMQPError, match="a body of 101 bytes"):
        read(DELIVER + header(101), body_max=100)


def seconds_for(wire: bytes, piece: int) -> float:
    frames, started = reader(), time.process_time()
    items = [
        item
        for offset in range(0, len(wire), piece)
        for item in frames.feed(wire[offset : offset + piece])
    ]
    assert len(deliveries(items)) == 1
    return time.process_time() - started


@pytest.mark.parametrize(
    ("body_size", "frame_size", "piece"),
    [(40_000, 1, 7), (40_000, 1, 65_536), (130_000, 130_000, 1), (8_000_000, 131_000, 65_536)],
)
def test_the_time_is_linear_in_the_number_of_bytes(
    body_size: int, frame_size: int, piece: int
) -> None:
    # A quadratic reader needs 64 times as long for eight times as many bytes.
    small = min(
        seconds_for(message(b"x" * (body_size // 8), size=frame_size), piece) for _ in "123"
    )
    large = min(seconds_for(message(b"x" * body_size, size=frame_size), piece) for _ in "123")
    assert large < 30 * max(small, 0.001)


def test_properties_that_cannot_be_decoded_are_ignored() -> None:
    flags = (0x2000).to_bytes(2, "big")  # headers
    broken = Delivery(b"x", properties=flags + b"\0\0\0\x04\x01a?!")
    assert (broken.message_id, broken.correlation_id, broken.headers) == (None, None, {})
    latin = Delivery(b"x", properties=(0x0080).to_bytes(2, "big") + b"\x01\xe9")
    assert latin.message_id == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("size", [6, 5, 3, 2, 1])
def test_a_body_of_one_or_several_frames(size: int) -> None:
    (delivery,) = deliveries(read(message(b"abcdef", size=size)))
    assert delivery.body == b"abcdef"


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (BasicProperties(), True),
        (BasicProperties(message_id="m", content_type="application/json"), True),
        (BasicProperties(headers={"a": 1}), False),
        (BasicProperties(correlation_id="c"), False),
    ],
)
def test_properties_without_headers_and_correlation_id_are_recognised(
    properties: BasicProperties, expected: bool
) -> None:
    assert has_no_context(b"".join(properties.encode())) == expected


def test_empty_properties_have_no_context() -> None:
    assert has_no_context(b"")
