"""The ledger: labels of messages, and receipts of the ingest. Pure.

The ingest labels each message with its producer, source, hour and number. It publishes receipts of
the messages that the broker confirmed. The archive compares labels and receipts, so that it finds
each message that was accepted and not archived, also after restarts and redeliveries.

A receipt travels through the queue ``audit_archive``. It is MessagePack.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from auditflow.errors import ContractError

#: The name of the header with the label. A replay of dead letters keeps it.
HEADER: Final = "x-auditflow-ledger"
CONTENT_TYPE: Final = "application/x-auditflow-receipt"
#: An hour in milliseconds.
HOUR_MS: Final = 3_600_000
#: Maximum number of events in a labelled message. It must fit a byte.
MAX_EVENTS: Final = 254
#: Maximum number of entries of a receipt.
MAX_ENTRIES: Final = 10_000
#: Maximum number of messages that a receipt confirms.
MAX_MESSAGES: Final = 1_000_000
_LABEL: Final = re.compile(
    r"([0-9a-f]{16}):([a-z0-9_-]{1,40}):([0-9]{1,7}):([0-9]{1,12}):([0-9]{1,3})"
)
#: Hours after 1970 that are valid: up to the year 2100.
_MAX_HOUR: Final = 1_139_520


class Label(Struct, frozen=True):
    """The label of a message.

    ``producer`` identifies a process. ``hour`` is in hours since 1970. ``number`` counts the
    messages of a producer, a source and an hour, from 0. ``events`` is the number of events.
    """

    producer: str
    source: str
    hour: int
    number: int
    events: int

    def header(self) -> str:
        """The value of the header."""
        return f"{self.producer}:{self.source}:{self.hour}:{self.number}:{self.events}"


class Run(Struct, frozen=True, array_like=True):
    """Consecutive messages, from ``start`` to ``stop`` (excluded), with ``events`` events each."""

    start: int
    stop: int
    events: int


class Entry(Struct, frozen=True, array_like=True):
    """The confirmed messages of a source and an hour."""

    source: str
    hour: int
    runs: tuple[Run, ...]


class Receipt(Struct, frozen=True, array_like=True):
    """Messages that the broker confirmed to a producer since its last receipt.

    ``confirmed_ms`` is the time of the receipt, in milliseconds since 1970.
    """

    producer: str
    confirmed_ms: int
    entries: tuple[Entry, ...]
    version: int = 1


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Receipt).decode


def label_of(headers: Mapping[str, Any]) -> Label | None:
    """The label of a message; None if it is missing or invalid.

    Any publisher can send any value.
    """
    value = headers.get(HEADER)
    found = _LABEL.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    producer, source, hour, number, events = found.groups()
    label = Label(producer, source, int(hour), int(number), int(events))
    if not 1 <= label.events <= MAX_EVENTS or label.hour > _MAX_HOUR:
        return None
    return label


def copied_header(headers: Mapping[str, Any]) -> dict[str, str]:
    """The header to copy; empty if it is missing or invalid."""
    label = label_of(headers)
    return {} if label is None else {HEADER: label.header()}


def runs_of(messages: Iterable[tuple[int, int]]) -> tuple[Run, ...]:
    """The runs of messages, which are pairs of a number and a number of events."""
    runs: list[Run] = []
    for number, events in sorted(messages):
        if runs and runs[-1].stop == number and runs[-1].events == events:
            runs[-1] = Run(runs[-1].start, number + 1, events)
        else:
            runs.append(Run(number, number + 1, events))
    return tuple(runs)


def encode_receipt(receipt: Receipt) -> bytes:
    """The receipt as it travels."""
    return _encode(receipt)


def receipt_id(body: bytes) -> bytes:
    """The identifier of an encoded receipt: 16 bytes."""
    return hashlib.blake2b(body, digest_size=16).digest()


def decode_receipt(body: bytes) -> Receipt:
    """Read a receipt.

    Raises:
        ContractError: the bytes are not a receipt of a known version, or a value is out of range.
    """
    try:
        receipt = _decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ContractError(f"not a receipt of the ledger: {error}") from None
    if receipt.version != 1:
        raise ContractError(f"the version {receipt.version} of the receipt is unknown")
    if len(receipt.entries) > MAX_ENTRIES or not 0 <= receipt.confirmed_ms < 2**53:
        raise ContractError("the receipt has too many entries or an invalid time")
    numbers = 0
    for entry in receipt.entries:
        for run in entry.runs:
            label = Label(receipt.producer, entry.source, entry.hour, run.start, run.events)
            if label_of({HEADER: label.header()}) is None or not run.start < run.stop:
                raise ContractError("the receipt has an invalid entry")
            numbers += run.stop - run.start
    if numbers > MAX_MESSAGES:
        raise ContractError(f"the receipt has more than {MAX_MESSAGES} messages")
    return receipt
