"""Limits of AMQP 0-9-1 on properties, in bytes. Pure.

A publisher must respect them: a client library raises exceptions for values that it cannot encode,
and a broker closes the connection of all threads because of one message.
"""

from collections.abc import Mapping
from typing import Any, Final

from pika import BasicProperties
from pika.data import encode_table

#: The maximum length of a short string: message ids, correlation ids, routing keys, header names.
SHORT_STRING_BYTES: Final = 255
#: The maximum size of the headers of a dead letter. A frame has 128 KiB.
DEAD_LETTER_HEADER_BYTES: Final = 32 * 1024
#: A frame of this size is valid on every connection.
MIN_FRAME_BYTES: Final = 4096
#: The frame, class, weight and body size around the properties of a message.
_HEADER_FRAME_OVERHEAD: Final = 8 + 12


def short_string(text: str) -> str:
    """The longest prefix that AMQP can carry as a short string."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        encoded = text.encode("utf-8", "replace")
    else:
        if len(encoded) <= SHORT_STRING_BYTES:
            return text
    return encoded[:SHORT_STRING_BYTES].decode("utf-8", "ignore")


def fit_headers(headers: Mapping[Any, Any], *, limit: int) -> dict[str, Any]:
    """The headers that can be encoded within ``limit`` bytes in total. Drops all others."""
    fitting: dict[str, Any] = {}
    size = 0
    for name, value in headers.items():
        length = _encoded_length(name, value)
        if length is not None and size + length <= limit:
            fitting[name] = value
            size += length
    return fitting


def encode(properties: BasicProperties, routing_key: str, *, frame_max: int) -> bytes:
    """The encoded properties of a message. A frame has at most ``frame_max`` bytes.

    Raises:
        ValueError: why the message cannot be published.
    """
    if len(routing_key.encode("utf-8", "replace")) > SHORT_STRING_BYTES:
        raise ValueError(f"the routing key has more than {SHORT_STRING_BYTES} bytes")
    try:
        encoded = b"".join(properties.encode())
    except Exception as error:  # noqa: BLE001 - pika raises different types for bad values
        name = type(error).__name__
        raise ValueError(f"the properties cannot be encoded: {name}") from None
    size = len(encoded)
    if size + _HEADER_FRAME_OVERHEAD > frame_max:
        raise ValueError(
            f"the properties have {size} bytes, more than a frame of {frame_max} bytes holds"
        )
    return encoded


def _encoded_length(name: Any, value: Any) -> int | None:
    """The encoded length of one header; None if it cannot be encoded."""
    pieces: list[bytes] = []
    if not isinstance(name, str):
        return None
    try:
        encode_table(pieces, {name: value})
        return sum(map(len, pieces))
    except Exception:  # noqa: BLE001 - pika raises different types for bad values
        return None
