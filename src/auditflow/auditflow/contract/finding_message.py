"""Messages on the queue ``audit_alerts``: one finding, or a JSON array of findings with headers.

The broker, the consumer and the database do much of their work once for each message and batch.
Therefore a producer under load sends several findings in one message. Each element of the array has
the headers that a message with only this finding would have. Elements are accepted or refused
separately.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar

import msgspec
from msgspec import Raw, Struct

from auditflow.contract import bounds
from auditflow.contract.finding import MAX_FINDING_BYTES
from auditflow.errors import ContractError

#: Maximum size of a message, in bytes.
MAX_MESSAGE_BYTES: Final = MAX_FINDING_BYTES
#: Maximum number of findings in a message that a consumer accepts.
MAX_FINDINGS: Final = 1000
#: Maximum size of the findings that a producer adds to others, in bytes. A consumer has many
#: messages in memory.
FULL_BYTES: Final = 64 * 1024


class ListedFinding(Struct, frozen=True, omit_defaults=True):
    """An element of the array: the JSON of a finding, and its headers.

    ``headers`` are the trace context and the time of acceptance of the event that led to the
    finding.
    """

    finding: Raw
    headers: dict[str, str | int] = {}


_decode_array = msgspec.json.Decoder(list[Raw]).decode
_decode_element = msgspec.json.Decoder(ListedFinding).decode

T = TypeVar("T")

#: The JSON of a finding, and its headers.
EncodedFinding = tuple[bytes, Mapping[str, str | int]]


def is_array(body: bytes) -> bool:
    """Whether a message is an array of findings."""
    return body[:1] == b"["


def encode(findings: Iterable[EncodedFinding]) -> bytes:
    """Encode an array of findings as a message body."""
    return msgspec.json.encode(
        [ListedFinding(Raw(encoded), dict(headers)) for encoded, headers in findings]
    )


def decode(body: bytes) -> list[EncodedFinding]:
    """The findings of an array. They are not validated.

    An element that is no ``ListedFinding`` is returned unchanged and without headers, so that
    ``finding.decode`` refuses it alone.

    Raises:
        ContractError: the message is no array, or exceeds a limit.
    """
    bounds.check_size(body, limit=MAX_MESSAGE_BYTES)
    try:
        elements = _decode_array(body)
    except RecursionError:
        raise ContractError("the array is nested too deep") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise ContractError(str(error)) from None
    if not 1 <= len(elements) <= MAX_FINDINGS:
        raise ContractError(
            f"the array has {len(elements)} elements, but it must have 1 to {MAX_FINDINGS}"
        )
    return [_read_element(bytes(element)) for element in elements]


def group(items: Iterable[T], *, size: Callable[[T], int], maximum: int) -> Iterator[list[T]]:
    """Divide findings into messages of at most ``maximum`` findings and about ``FULL_BYTES``.

    ``size`` returns the number of bytes of an item.
    """
    members: list[T] = []
    total = 0
    for item in items:
        if members and (len(members) >= maximum or total + size(item) > FULL_BYTES):
            yield members
            members, total = [], 0
        members.append(item)
        total += size(item)
    if members:
        yield members


def _read_element(element: bytes) -> EncodedFinding:
    try:
        listed = _decode_element(element)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError):
        return element, {}
    return bytes(listed.finding), listed.headers
