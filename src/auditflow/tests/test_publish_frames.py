"""Frames of published messages, compared with pika's encoder."""

from hypothesis import given
from hypothesis import strategies as st
from pika import BasicProperties, frame, spec

from auditflow.amqp import publish_frames

FRAME_MAX = 4096
#: Names of at most 255 bytes.
names = st.text(st.characters(codec="ascii"), max_size=255)


def by_pika(exchange: str, key: str, properties: BasicProperties, body: bytes) -> bytes:
    publish = spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=True)
    step = FRAME_MAX - 8
    frames = [
        frame.Method(1, publish),
        frame.Header(1, len(body), properties),
        *(frame.Body(1, body[start : start + step]) for start in range(0, len(body), step)),
    ]
    return b"".join(item.marshal() for item in frames)


@given(
    exchange=names,
    key=names,
    message_id=names,
    headers=st.dictionaries(names.filter(bool), names, max_size=3),
    body=st.one_of(
        st.binary(max_size=100),
        st.sampled_from([0, 1, 4087, 4088, 4089, 8176, 8177, 20_000]).map(lambda n: b"x" * n),
    ),
)
def test_a_message_is_encoded_as_pika_encodes_it(
    exchange: str, key: str, message_id: str, headers: dict[str, str], body: bytes
) -> None:
    properties = BasicProperties(message_id=message_id, delivery_mode=2, headers=headers or None)

    pieces = publish_frames.encode(
        exchange, key, b"".join(properties.encode()), body, frame_max=FRAME_MAX
    )

    assert b"".join(pieces) == by_pika(exchange, key, properties, body)


@given(st.lists(st.binary(max_size=300_000), max_size=5))
def test_joined_pieces_are_the_same_bytes(pieces: list[bytes]) -> None:
    buffers = list(publish_frames.joined(pieces))

    assert b"".join(buffers) == b"".join(pieces)
    assert all(len(buffer) >= publish_frames.WRITE_BYTES for buffer in buffers[:-1])


def ack(tag: int, *, multiple: bool = False, channel: int = 1) -> bytes:
    return bytes(frame.Method(channel, spec.Basic.Ack(tag, multiple)).marshal())


acks = st.lists(st.tuples(st.integers(0, 2**64 - 1), st.booleans()), max_size=5)


@given(acks, st.sampled_from([b"", b"\x01", ack(7)[:-1], ack(7, channel=2), b"\x08garbage"]))
def test_complete_acks_at_the_start_are_read(sent: list[tuple[int, bool]], rest: bytes) -> None:
    data = b"".join(ack(tag, multiple=multiple) for tag, multiple in sent)

    assert publish_frames.read_acks(data + rest) == (sent, len(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    found, size = publish_frames.read_acks(data)

    assert size == 21 * len(found)


def test_an_ack_without_its_end_is_left_to_pika() -> None:
    data = ack(1) + ack(2)[:-1] + b"\x00"

    assert publish_frames.read_acks(data) == ([(1, False)], 21)


def test_other_methods_are_left_to_pika() -> None:
    nack = bytes(frame.Method(1, spec.Basic.Nack(1, False, False)).marshal())

    assert publish_frames.read_acks(nack + ack(2)) == ([], 0)
