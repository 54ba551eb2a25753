"""A message as it came."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Delivery(Struct, frozen=True, gc=False):
    """A message as it came."""

    body: bytes
    tag: int
    redelivered: bool
    message_id: str | None
    correlation_id: str | None
    headers: Mapping[str, Any]
