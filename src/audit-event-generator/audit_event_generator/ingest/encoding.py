"""Encode events, and verify that the analysis will accept the bytes."""

from msgspec import Struct

from auditflow.contract import event
from auditflow.contract.event import Event


class EncodedEvent(Struct, frozen=True, gc=False):
    """An event as JSON bytes that are known to satisfy the contract."""

    event_id: str
    body: bytes


def encode(decoded: Event) -> EncodedEvent:
    """Encode an event, and decode it again as the analysis does.

    Raises:
        ContractError: the event violates the contract. The text names the field and the reason.
    """
    body = event.encode(decoded)
    event.decode(body)
    return EncodedEvent(decoded.event_id, body)
