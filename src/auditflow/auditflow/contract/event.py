"""The event: what sources send and the analysis reads (JSON on the queue ``audit_events``)."""

import datetime as dt
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from auditflow.contract import bounds
from auditflow.errors import ContractError

#: The largest message: a batch of events, in bytes of JSON. A consumer holds hundreds of messages.
MAX_MESSAGE_BYTES: Final = 1024 * 1024
#: A good size of a batch, in events: more gains little.
BATCH_EVENTS: Final = 100
#: Older than any audit log, and what a clock that was never set says.
EARLIEST: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Identifier = Annotated[str, Meta(min_length=1, max_length=256)]
Timestamp = Annotated[dt.datetime, Meta(tz=True)]


class Severity(StrEnum):
    """How grave the source thinks an event is, or a rule thinks a finding is."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"

    @property
    def rank(self) -> int:
        """0 for INFO up to 2 for CRITICAL."""
        return _RANK[self]


_RANK: Final = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


class LogSource(Struct, frozen=True, omit_defaults=True, gc=False):
    """Which rules an event meets, in Sigma's terms."""

    product: str | None = None
    service: str | None = None
    category: str | None = None


class Event(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One audit event. Only ``event_id``, ``timestamp`` and ``event_type`` are required.

    ``event_id`` is the source's own identifier where it has one, so that the same event sent
    twice is one event. ``timestamp`` is when it happened, RFC 3339 with an offset. ``record`` is
    the source's own record, unchanged. ``resource`` and ``client_ip`` may stand under ``details``
    (there also as ``path`` and ``ip_address``).
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
        """Where the actor came from, wherever the event carries it."""
        return self.client_ip or self._detail("client_ip") or self._detail("ip_address")

    @property
    def object(self) -> str | None:
        """What was acted upon, wherever the event carries it."""
        return self.resource or self._detail("resource") or self._detail("path")

    def _detail(self, name: str) -> str | None:
        value = self.details.get(name) if self.details else None
        return value if isinstance(value, str) and value else None


class Received(Struct, frozen=True, gc=False):
    """An event that fits the contract, with its bytes as they came."""

    event: Event
    raw: bytes


class Refused(Struct, frozen=True, gc=False):
    """Bytes that do not fit the contract, and why."""

    raw: bytes
    reason: str


_decode_event = msgspec.json.Decoder(Event).decode
_decode_events = msgspec.json.Decoder(list[Event]).decode
_decode_array = msgspec.json.Decoder(list[Raw]).decode
_decode_anything = msgspec.json.Decoder().decode


def decode(raw: bytes) -> Event:
    """Read one event.

    Raises:
        ContractError: what does not fit, and where.
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
    """Read a message: one event, or an array of them of which each stands for itself.

    Never raises: what cannot be read is returned as ``Refused``.
    """
    if body[:1] != b"[":
        return [_decode_or_refuse(body)]
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
        return [_decode_or_refuse(raw) for raw in raws]
    return list(map(Received, events, raws))


def encode(event: Event) -> bytes:
    """The event as it travels."""
    return msgspec.json.encode(event)


def epoch_ms(timestamp: dt.datetime) -> int:
    """Milliseconds since 1970: the score of an event in a window."""
    return (timestamp - EARLIEST) // _MILLISECOND


def from_epoch_ms(value: int) -> dt.datetime:
    """The moment that ``epoch_ms`` measured."""
    return EARLIEST + value * _MILLISECOND


_MILLISECOND: Final = dt.timedelta(milliseconds=1)


def _decode_all(body: bytes, raws: Sequence[bytes]) -> list[Event] | None:
    """The events of an array, if it is plain that each fits the contract: three times as fast."""
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


def _decode_or_refuse(raw: bytes) -> Received | Refused:
    try:
        return Received(decode(raw), raw)
    except ContractError as error:
        return Refused(raw, str(error))


def _explain(error: Exception) -> str:
    # What msgspec says names the field ("Expected `str`, got `int` - at `$.user_id`"); the other
    # errors come out of its decoding of strings and numbers.
    if isinstance(error, msgspec.MsgspecError):
        return str(error)
    return f"malformed JSON: {error}"
