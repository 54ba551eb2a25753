"""The event that sources send and the analysis reads (JSON on the queue ``audit_events``)."""

import datetime as dt
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from auditflow.contract import bounds
from auditflow.errors import ContractError

#: Maximum size of a message (bytes of JSON). A consumer holds hundreds of messages in memory.
MAX_MESSAGE_BYTES: Final = 1024 * 1024
#: Recommended number of events in a message. Larger batches are hardly faster.
BATCH_EVENTS: Final = 100
#: Maximum number of elements of a message. A message of the maximum size has fewer valid events.
MAX_EVENTS: Final = 20_000
#: Maximum number of elements of a message that are refused separately. The others of the message
#: are refused together, so that a message cannot cause a dead letter for each few bytes.
MAX_SEPARATELY_REFUSED: Final = 20
#: Earliest timestamp of an event. Clocks that were never set have it too.
EARLIEST: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Identifier = Annotated[str, Meta(min_length=1, max_length=256)]
Timestamp = Annotated[dt.datetime, Meta(tz=True)]


class Severity(StrEnum):
    """The severity of an event as its source states it, or of a finding."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"

    @property
    def rank(self) -> int:
        """An integer from 0 (INFO) to 2 (CRITICAL)."""
        return _RANK[self]


_RANK: Final = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


class LogSource(Struct, frozen=True, omit_defaults=True, gc=False):
    """Sigma's log source. It selects the rules that are evaluated for an event."""

    product: str | None = None
    service: str | None = None
    category: str | None = None


class Event(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """An audit event. Only ``event_id``, ``timestamp`` and ``event_type`` are required.

    ``event_id`` is the source's own identifier if it has one. An event that is sent twice has the
    same identifier and counts once. ``timestamp`` is the time of the event, in RFC 3339 with an
    offset. ``record`` is the source's own record, unchanged. ``resource`` and ``client_ip`` can
    also be in ``details``, where they can be named ``path`` and ``ip_address``.
    """

    event_id: Identifier
    timestamp: Timestamp
    event_type: Annotated[str, Meta(min_length=1, max_length=128)]
    source_service: str | None = None
    server_hostname: str | None = None
    severity: Severity = Severity.INFO
    user_id: str | None = None
    action_result: str | None = None
    client_ip: str | None = None
    resource: str | None = None
    details: dict[str, Any] | None = None
    logsource: LogSource | None = None
    record: Raw | UnsetType = UNSET

    @property
    def address(self) -> str | None:
        """The address of the actor, from the first field that contains it."""
        return self.client_ip or self._detail("client_ip") or self._detail("ip_address")

    @property
    def object(self) -> str | None:
        """The object of the action, from the first field that contains it."""
        return self.resource or self._detail("resource") or self._detail("path")

    def _detail(self, name: str) -> str | None:
        value = self.details.get(name) if self.details else None
        return value if isinstance(value, str) and value else None


class Received(Struct, frozen=True, gc=False):
    """A valid event, and its bytes as received."""

    event: Event
    raw: bytes


class Refused(Struct, frozen=True, gc=False):
    """Bytes that violate the contract, and the reason."""

    raw: bytes
    reason: str


_decode_event = msgspec.json.Decoder(Event).decode
_decode_events = msgspec.json.Decoder(list[Event]).decode
_decode_array = msgspec.json.Decoder(Annotated[list[Raw], Meta(max_length=MAX_EVENTS)]).decode
_decode_anything = msgspec.json.Decoder().decode


def decode(raw: bytes) -> Event:
    """Decode an event.

    Raises:
        ContractError: the bytes violate the contract. The text states what is wrong and where.
    """
    bounds.check(raw)
    try:
        event = _decode_event(raw)
        if event.record is not UNSET:
            _decode_anything(event.record)
    except RecursionError:
        raise ContractError(f"nested deeper than {bounds.MAX_DEPTH} levels") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise ContractError(_explain(error)) from None
    if event.timestamp < EARLIEST:
        raise ContractError("timestamp is before 1970 - at `$.timestamp`")
    return event


def decode_message(body: bytes) -> list[Received | Refused]:
    """Decode a message: an event, or an array of events that are accepted or refused separately.

    It raises no errors. Bytes that violate the contract are returned as ``Refused``. If more
    than ``MAX_SEPARATELY_REFUSED`` events are refused, the last result is an array of the others.
    """
    if body[:1] != b"[":
        decoded = _decode_valid(body) or _decode_or_refuse(body)
        return [decoded]
    try:
        bounds.check_size(body, limit=MAX_MESSAGE_BYTES)
        elements = _decode_array(body)
    except RecursionError:
        return [Refused(body, f"nested deeper than {bounds.MAX_DEPTH} levels")]
    except ContractError as error:
        return [Refused(body, str(error))]
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        return [Refused(body, _explain(error))]
    raws = [bytes(element) for element in elements]
    events = _decode_all(body, raws)
    if events is None:
        return _decode_separately(raws)
    return list(map(Received, events, raws))


def encode(event: Event) -> bytes:
    """The JSON of an event."""
    return msgspec.json.encode(event)


def epoch_ms(timestamp: dt.datetime) -> int:
    """Milliseconds since 1970. They are the score of an event in a window."""
    return (timestamp - EARLIEST) // _MILLISECOND


def from_epoch_ms(timestamp_ms: int) -> dt.datetime:
    """The time of a number of milliseconds since 1970."""
    return EARLIEST + timestamp_ms * _MILLISECOND


_MILLISECOND: Final = dt.timedelta(milliseconds=1)


def _decode_valid(raw: bytes) -> Received | None:
    """Decode an event that is certainly within the bounds, which is the most frequent case.

    Returns None if it may violate the contract.
    """
    if not bounds.is_surely_valid(raw):
        return None
    try:
        event = _decode_event(raw)
        if event.record is not UNSET:
            _decode_anything(event.record)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError):
        return None
    return None if event.timestamp < EARLIEST else Received(event, raw)


def _decode_all(body: bytes, raws: Sequence[bytes]) -> list[Event] | None:
    """Decode all events of an array together, which is three times as fast as one by one.

    Returns None if an event may violate the contract.
    """
    if not bounds.surely_within(body, raws):
        return None
    try:
        events = _decode_events(body)
        for event in events:
            if event.record is not UNSET:
                _decode_anything(event.record)
            if event.timestamp < EARLIEST:
                return None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError):
        return None
    return events


def _decode_separately(raws: Sequence[bytes]) -> list[Received | Refused]:
    decoded: list[Received | Refused] = []
    refused = 0
    further: list[bytes] = []
    for raw in raws:
        result = _decode_or_refuse(raw)
        if isinstance(result, Refused):
            refused += 1
            if refused > MAX_SEPARATELY_REFUSED:
                further.append(raw)
                continue
        decoded.append(result)
    if further:
        raw = b"[" + b",".join(further) + b"]"
        decoded.append(
            Refused(raw, f"{len(further)} further events of the message violate the contract")
        )
    return decoded


def _decode_or_refuse(raw: bytes) -> Received | Refused:
    try:
        return Received(decode(raw), raw)
    except ContractError as error:
        return Refused(raw, str(error))


def _explain(error: Exception) -> str:
    # Errors of msgspec name the field ("Expected `str`, got `int` - at `$.user_id`"). The other
    # errors come from the decoding of strings and numbers.
    if isinstance(error, msgspec.MsgspecError):
        return str(error)
    return f"malformed JSON: {error}"
