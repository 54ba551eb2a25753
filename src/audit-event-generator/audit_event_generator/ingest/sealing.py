"""Sealing: what leaves here is what the analysis will accept, byte for byte."""

from msgspec import Struct

from auditflow.contract import event
from auditflow.contract.event import Event


class Sealed(Struct, frozen=True, gc=False):
    """An event as it travels, known to fit the contract."""

    event_id: str
    raw: bytes


def seal(one: Event) -> Sealed:
    """Encode an event, and read it again as the analysis will.

    Raises:
        ContractError: what does not fit, and where.
    """
    raw = event.encode(one)
    event.decode(raw)
    return Sealed(one.event_id, raw)
