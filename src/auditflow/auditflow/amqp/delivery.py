"""A message as the broker delivered it."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from msgspec import Struct
from pika import BasicProperties

from auditflow.amqp.limits import short_string

#: The encoded properties of a message without properties.
_NO_PROPERTIES: Final = b"\0\0"
#: Bits of the first two bytes of encoded properties: headers and correlation id are present.
_HEADERS_FLAG: Final = BasicProperties.FLAG_HEADERS >> 8
_CORRELATION_ID_FLAG: Final = BasicProperties.FLAG_CORRELATION_ID >> 8
_CONTEXT_FLAGS: Final = _HEADERS_FLAG | _CORRELATION_ID_FLAG


class Delivery(Struct, frozen=True, dict=True):
    """A message as the broker delivered it. Its properties are decoded on first use.

    ``properties`` are the encoded property flags and property list of AMQP 0-9-1. ``tag`` is the
    delivery tag, which is valid on one connection.
    """

    body: bytes
    tag: int = 0
    redelivered: bool = False
    properties: bytes = _NO_PROPERTIES

    def part(
        self, body: bytes, *, headers: Mapping[str, Any], message_id: str | None = None
    ) -> "Delivery":
        """A part of this message, as if it were a message with these headers."""
        part = Delivery(body, self.tag, self.redelivered, bytes((_HEADERS_FLAG, 0)))
        # The cached properties are set, because encoding and decoding them takes 20 times as long.
        part.__dict__["_decoded"] = BasicProperties(message_id=message_id, headers=dict(headers))
        return part

    @property
    def message_id(self) -> str | None:
        """The publisher's identifier of the message, at most 255 bytes."""
        return _text(self._decoded.message_id)

    @property
    def correlation_id(self) -> str | None:
        """The correlation id, at most 255 bytes."""
        if not self._has(_CORRELATION_ID_FLAG):
            return None
        return _text(self._decoded.correlation_id)

    @property
    def content_type(self) -> str | None:
        """The type of the body that the publisher states."""
        return _text(self._decoded.content_type)

    @property
    def headers(self) -> Mapping[str, Any]:
        """The headers; empty if there are none. Values have any type that AMQP allows."""
        if not self._has(_HEADERS_FLAG):
            return {}
        return self._decoded.headers or {}

    def _has(self, flag: int) -> bool:
        """Whether a property can be present. Decoding the properties takes ten times as long."""
        return bool(self.properties[:1]) and bool(self.properties[0] & flag)

    @cached_property
    def _decoded(self) -> BasicProperties:
        properties = BasicProperties()
        try:
            properties.decode(self.properties)
        except Exception:  # noqa: BLE001 - a publisher can send any bytes
            return BasicProperties()
        return properties


def has_no_context(properties: bytes) -> bool:
    """Whether encoded properties have neither headers nor a correlation id."""
    return not properties or not properties[0] & _CONTEXT_FLAGS


def encode_properties(
    *, correlation_id: str | None = None, headers: Mapping[str, Any] | None = None
) -> bytes:
    """The encoded properties of a message, as ``Delivery.properties`` has them."""
    properties = BasicProperties(
        correlation_id=None if correlation_id is None else short_string(correlation_id),
        headers=dict(headers) if headers else None,
    )
    return b"".join(properties.encode())


def _text(value: str | bytes | None) -> str | None:
    # pika returns bytes if the value is not UTF-8. Replacement characters need more bytes.
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return None if text is None else short_string(text)
