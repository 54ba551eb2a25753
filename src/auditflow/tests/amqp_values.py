"""Arbitrary valid AMQP 0-9-1 properties, encoded, also those that pika cannot encode."""

import struct
from collections.abc import Mapping
from functools import partial
from typing import Any

from hypothesis import strategies as st
from pika import BasicProperties

#: The flag of each property that tests set, and whether it is a short string.
FLAGS = {
    "content_type": 0x8000,
    "headers": 0x2000,
    "delivery_mode": 0x1000,
    "priority": 0x0800,
    "correlation_id": 0x0400,
    "reply_to": 0x0200,
    "expiration": 0x0100,
    "message_id": 0x0080,
    "timestamp": 0x0040,
    "type": 0x0020,
    "app_id": 0x0008,
}


class RawProperties(BasicProperties):
    """Properties that are sent as the given bytes."""

    def __init__(self, encoded: bytes) -> None:
        super().__init__()
        self._encoded = encoded

    def encode(self) -> list[bytes]:
        return [self._encoded]


def short(value: bytes) -> bytes:
    return struct.pack(">B", len(value)) + value


def long(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def table(fields: Mapping[bytes, bytes]) -> bytes:
    """A table of encoded values."""
    return long(b"".join(short(name) + value for name, value in fields.items()))


def encode(properties: Mapping[str, Any]) -> bytes:
    """The property flags and the property list."""
    flags, encoded = 0, b""
    for name, flag in FLAGS.items():
        if name not in properties:
            continue
        flags |= flag
        value = properties[name]
        if name == "headers":
            encoded += value
        elif name in ("delivery_mode", "priority"):
            encoded += struct.pack(">B", value)
        elif name == "timestamp":
            encoded += struct.pack(">Q", value)
        else:
            encoded += short(value)
    return struct.pack(">H", flags) + encoded


_short_strings = st.binary(max_size=255).filter(lambda value: b"\0" not in value)
#: RabbitMQ closes the connection of a publisher that sends infinity or not-a-number.
_finite = partial(st.floats, allow_nan=False, allow_infinity=False)
_scalars = st.one_of(
    st.booleans().map(lambda value: b"t" + bytes([value])),
    st.integers(-128, 127).map(lambda value: struct.pack(">cb", b"b", value)),
    st.integers(-(2**15), 2**15 - 1).map(lambda value: struct.pack(">ch", b"s", value)),
    st.integers(-(2**31), 2**31 - 1).map(lambda value: struct.pack(">ci", b"I", value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: struct.pack(">cq", b"l", value)),
    _finite(width=32).map(lambda value: struct.pack(">cf", b"f", value)),
    _finite().map(lambda value: struct.pack(">cd", b"d", value)),
    st.tuples(st.integers(0, 255), st.integers(-(2**31), 2**31 - 1)).map(
        lambda value: struct.pack(">cBi", b"D", *value)
    ),
    st.binary(max_size=300).map(lambda value: b"S" + long(value)),
    st.binary(max_size=300).map(lambda value: b"x" + long(value)),
    st.integers(0, 2**64 - 1).map(lambda value: struct.pack(">cQ", b"T", value)),
    st.just(b"V"),
)
_tables = st.deferred(lambda: st.dictionaries(_short_strings, _values, max_size=4).map(table))
_values: st.SearchStrategy[bytes] = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: b"A" + long(b"".join(items))),
        st.dictionaries(_short_strings, inner, max_size=3).map(lambda fields: b"F" + table(fields)),
    ),
    max_leaves=8,
)
#: Names that the services read.
_known_names = st.sampled_from([b"traceparent", b"tracestate", b"x-auditflow-accepted-at"])
headers = st.dictionaries(_short_strings | _known_names, _values, max_size=5).map(table)

#: Encoded properties of any message that a broker accepts.
properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": _short_strings,
        "headers": headers,
        "delivery_mode": st.integers(1, 2),
        "priority": st.integers(0, 255),
        "correlation_id": _short_strings,
        "reply_to": _short_strings,
        "message_id": _short_strings,
        "timestamp": st.integers(0, 2**64 - 1),
        "type": _short_strings,
        "app_id": _short_strings,
    },
).map(encode)

#: Properties that once blocked a consumer.
KNOWN_BAD = {
    "a message id of 255 bytes that are not UTF-8": encode({"message_id": b"\xff" * 255}),
    "a correlation id of 255 bytes that are not UTF-8": encode({"correlation_id": b"\xff" * 255}),
    "a header of 130,800 bytes": encode(
        {"headers": table({b"large": b"S" + long(b"x" * 130_800)})}
    ),
    "many headers": encode(
        {"headers": table({b"%d" % n: b"S" + long(b"x" * 1000) for n in range(120)})}
    ),
    "a double of 1e300": encode({"headers": table({b"d": struct.pack(">cd", b"d", 1e300)})}),
    "an acceptance time of 1e300": encode(
        {"headers": table({b"x-auditflow-accepted-at": struct.pack(">cd", b"d", 1e300)})}
    ),
    "an acceptance time of 2**63 - 1": encode(
        {"headers": table({b"x-auditflow-accepted-at": struct.pack(">cq", b"l", 2**63 - 1)})}
    ),
    "a trace state of 100 KB": encode(
        {
            "headers": table(
                {
                    b"traceparent": b"S" + long(b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
                    b"tracestate": b"S" + long(b"a=" + b"b" * 100_000),
                }
            )
        }
    ),
    "a header name that is not UTF-8": encode({"headers": table({b"\xff": b"V"})}),
    "nested tables": encode(
        {"headers": table({b"a": b"F" + table({b"b": b"F" + table({b"c": b"A" + long(b"")})})})}
    ),
}
