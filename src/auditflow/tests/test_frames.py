"""Frames become the deliveries that pika would make of them, however the bytes are cut."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import BasicProperties, frame, spec
from pika.exceptions import AMQPError

from auditflow.amqp import Delivery
from auditflow.amqp.frames import Frames

_names = st.none() | st.text(max_size=20)
_headers = st.none() | st.dictionaries(
    st.text(max_size=10), st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20), max_size=3
)
_BEAT = frame.Heartbeat().marshal()


class Sent:
    """A message as a broker sends it, in frames of a largest size."""

    def __init__(
        self, tag: int, again: bool, body: bytes, size: int, properties: dict[str, Any], beats: bool
    ) -> None:
        self.tag, self.again, self.body, self.properties = tag, again, body, properties
        frames: list[frame.Frame] = [
            frame.Method(1, spec.Basic.Deliver("ctag1", tag, again, "audit", "event.x")),
            frame.Header(1, len(body), BasicProperties(**properties)),
        ]
        frames += [frame.Body(1, body[start : start + size]) for start in range(0, len(body), size)]
        self.wire = (_BEAT if beats else b"").join(one.marshal() for one in frames)


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


def deliveries(got: Sequence[Any]) -> list[Any]:
    return [one for one in got if isinstance(one, Delivery)]


@given(st.lists(_sent, max_size=6), st.lists(st.integers(1, 60), min_size=1), st.booleans())
def test_deliveries_are_what_was_sent_however_the_bytes_are_cut(
    sent: list[Sent], cuts: list[int], beats: bool
) -> None:
    cancel = frame.Method(1, spec.Basic.Cancel("ctag1", True)).marshal()
    wire = (_BEAT if beats else b"").join(one.wire for one in sent) + cancel
    frames, got, place, turn = Frames(), [], 0, 0
    while place < len(wire):
        size = cuts[turn % len(cuts)]
        got += list(frames.feed(wire[place : place + size]))
        place, turn = place + size, turn + 1
    assert [
        (one.tag, one.redelivered, one.body, one.message_id, one.correlation_id, one.headers)
        for one in deliveries(got)
    ] == [
        (
            one.tag,
            one.again,
            one.body,
            one.properties["message_id"],
            one.properties["correlation_id"],
            one.properties["headers"] or {},
        )
        for one in sent
    ]
    assert isinstance(got[-1], frame.Method)
    assert isinstance(got[-1].method, spec.Basic.Cancel)


def test_a_large_message_comes_in_many_pieces() -> None:
    body = bytes(range(256)) * 8192
    wire = Sent(7, False, body, 131_064, {}, False).wire
    frames = Frames()
    got = [one for start in range(0, len(wire), 1000) for one in frames.feed(wire[start:][:1000])]
    assert [one.body for one in deliveries(got)] == [body]


@given(_sent, st.data())
def test_what_no_broker_sends_is_an_error_of_amqp_or_waits_for_more(
    sent: Sent, data: st.DataObject
) -> None:
    wire = bytearray(sent.wire)
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    with suppress(AMQPError):
        list(Frames().feed(bytes(wire)))


def test_a_frame_without_its_end_is_refused() -> None:
    wire = Sent(1, False, b"x", 10, {}, False).wire
    with pytest.raises(AMQPError, match="no end of frame"):
        list(Frames().feed(wire[:-1] + b"\0"))


def test_properties_that_cannot_be_read_are_not_there() -> None:
    flags = (0x2000).to_bytes(2, "big")  # headers
    broken = Delivery(b"x", properties=flags + b"\0\0\0\x04\x01a?!")
    assert (broken.message_id, broken.correlation_id, broken.headers) == (None, None, {})
    latin = Delivery(b"x", properties=(0x0080).to_bytes(2, "big") + b"\x01\xe9")
    assert latin.message_id == "\N{REPLACEMENT CHARACTER}"
