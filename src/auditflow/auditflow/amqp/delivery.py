"""A message as it came."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from msgspec import Struct
from pika import BasicProperties

#: The properties of a message that has none, as AMQP writes them.
_NONE = b"\0\0"


class Delivery(Struct, frozen=True, dict=True):
    """A message as it came. Its properties are read when they are asked for, as few are.

    ``properties`` is what AMQP 0-9-1 calls the property flags and list of a content header.
    """

    body: bytes
    tag: int = 0
    redelivered: bool = False
    properties: bytes = _NONE

    @property
    def message_id(self) -> str | None:
        """How its publisher calls it."""
        return _text(self._read.message_id)

    @property
    def correlation_id(self) -> str | None:
        """What it belongs to."""
        return _text(self._read.correlation_id)

    @property
    def headers(self) -> Mapping[str, Any]:
        """Its headers; empty where it has none."""
        return self._read.headers or {}

    @cached_property
    def _read(self) -> BasicProperties:
        properties = BasicProperties()
        try:
            properties.decode(self.properties)
        except Exception:  # noqa: BLE001 - any publisher's bytes: what cannot be read is not there
            return BasicProperties()
        return properties


def _text(value: str | bytes | None) -> str | None:
    # pika gives bytes where they are no UTF-8.
    return value.decode(errors="replace") if isinstance(value, bytes) else value
