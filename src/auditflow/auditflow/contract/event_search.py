"""The messages of the API of archived events (``/api/v1/events``)."""

from typing import Annotated, Final

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from auditflow.contract.event import Timestamp

#: The route of a search.
PATH: Final = "/api/v1/events"
#: Maximum number of identifiers of a search.
MAX_EVENT_IDS: Final = 100


def _doc(description: str) -> Meta:
    return Meta(description=description)


class ArchivedEventSummary(Struct, frozen=True, kw_only=True):
    """An archived event without its record. Fields are null if the event has no value."""

    event_id: str
    timestamp: Annotated[
        Timestamp, _doc("The time as the analysis used it: a time in the future is limited.")
    ]
    received_at: Annotated[Timestamp, _doc("The time at which the event was accepted.")]
    source: Annotated[str, _doc("The log source by which files are separated.")]
    event_type: str | None = None
    severity: str | None = None
    action_result: str | None = None
    source_service: str | None = None
    host: str | None = None
    user: str | None = None
    address: str | None = None
    resource: str | None = None
    product: str | None = None
    service: str | None = None
    category: str | None = None
    correlation_id: str | None = None
    late: Annotated[bool, _doc("The event was too late for a window.")] = False
    clamped: Annotated[bool, _doc("The timestamp of the event was too far in the future.")] = False
    staged: Annotated[bool, _doc("A staged rule matched the event.")] = False
    refused: Annotated[bool, _doc("The event was refused, so no rule has seen it.")] = False
    reason: Annotated[str | None, _doc("Why the event was refused.")] = None


class ArchivedEventDetail(ArchivedEventSummary, frozen=True, kw_only=True):
    """An archived event with its complete record.

    ``record`` is the JSON of the event as it arrived. It is missing if the event is not valid JSON,
    which only refused events can be; then ``record_base64`` has its bytes.
    """

    record: Raw | UnsetType = UNSET
    record_base64: str | None = None


class ArchivedEventList(Struct, frozen=True):
    """A page of archived events."""

    events: tuple[ArchivedEventSummary, ...]
    next_cursor: Annotated[str | None, _doc("The cursor of the next page, if there is one.")] = None


class HistogramBucket(Struct, frozen=True):
    """The number of events in a period that begins at ``start``."""

    start: Timestamp
    count: int


class EventHistogram(Struct, frozen=True):
    """The number of events over time. Periods without events are included."""

    interval_seconds: int
    total: int
    buckets: tuple[HistogramBucket, ...]


class EventFacetValue(Struct, frozen=True):
    """A value of a field and the number of events with it. Null: events without a value."""

    value: str | None
    count: int


class EventFacet(Struct, frozen=True):
    """The most frequent values of a field."""

    field: str
    values: tuple[EventFacetValue, ...]


class EventFacets(Struct, frozen=True):
    """The most frequent values of some fields."""

    facets: tuple[EventFacet, ...]
