"""Reads the query parameters of the API. All errors in them are reported together."""

import base64
import binascii
import datetime as dt
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from audit_analysis.events_api import query
from audit_analysis.events_api.archive_search import FACETS
from audit_analysis.events_api.query import (
    Condition,
    EventFilter,
    EventQuery,
    InvalidCondition,
    Modifier,
    Order,
    Position,
)
from auditflow.contract import event_search
from auditflow.http import query_parameters
from auditflow.http.problem import Fault
from auditflow.http.query_parameters import (
    InvalidParameters,
    InvalidValue,
    Reader,
    Repeatable,
    boolean,
    integer,
    member_of,
    members_of,
)

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 500
MAX_TEXT: Final = 200
MAX_BUCKETS: Final = 1_000
DEFAULT_RANGE: Final = dt.timedelta(days=1)
MAX_LEDGER_RANGE: Final = dt.timedelta(days=31)
#: Events may be ahead of the clock by five minutes, and their newest ones must be found.
_AHEAD: Final = dt.timedelta(minutes=10)
#: Parameters that test one column, and the column.
_COLUMNS: Final = {
    "user": "user", "host": "host", "ip": "address", "resource": "resource",
    "event_type": "event_type", "severity": "severity", "action_result": "action_result",
    "source": "source", "product": "product", "service": "service", "category": "category",
    "source_service": "source_service", "correlation_id": "correlation_id",
}  # fmt: skip


class ExportFormat(StrEnum):
    """The format of an export."""

    NDJSON = "ndjson"
    PARQUET = "parquet"


class LedgerQuery(Struct, frozen=True):
    """The hours of the ledger; ``until`` is not included. ``source`` None: all sources."""

    since: dt.datetime
    until: dt.datetime
    source: str | None


class HistogramQuery(Struct, frozen=True):
    """The events to count, and the length of a period (ms)."""

    filter: EventFilter
    interval_ms: int


class FacetQuery(Struct, frozen=True):
    """The events to count, the fields, and the number of values of each field."""

    filter: EventFilter
    fields: tuple[str, ...]
    limit: int


def parse_page(parameters: Iterable[tuple[str, str]], *, now: dt.datetime) -> EventQuery:
    """Read the parameters of a list of events.

    Raises:
        InvalidParameters: a fault for each parameter that is unknown, repeated or wrong.
    """
    values = _read(
        parameters,
        {
            "order": member_of(Order),
            "limit": integer(1, MAX_LIMIT),
            "cursor": read_cursor,
        },
    )
    after = values.get("cursor")
    order = values.get("order") or (after.order if after else Order.NEWEST)
    if after is not None and after.order is not order:
        raise InvalidParameters([Fault("cursor", f"belongs to a list with order={after.order}")])
    return EventQuery(
        filter=_filter(values, now),
        order=order,
        limit=values.get("limit", DEFAULT_LIMIT),
        after=after,
    )


def parse_histogram(parameters: Iterable[tuple[str, str]], *, now: dt.datetime) -> HistogramQuery:
    """Read the parameters of a histogram. Raises as ``parse_page``."""
    values = _read(parameters, {"interval_seconds": integer(1, 366 * 86400)})
    criteria = _filter(values, now)
    duration_ms = criteria.until_ms - criteria.since_ms
    interval_ms = values.get("interval_seconds", _interval_seconds(duration_ms)) * 1000
    if duration_ms / interval_ms > MAX_BUCKETS:
        raise InvalidParameters(
            [Fault("interval_seconds", f"would give more than {MAX_BUCKETS} periods")]
        )
    return HistogramQuery(criteria, interval_ms)


def parse_facets(parameters: Iterable[tuple[str, str]], *, now: dt.datetime) -> FacetQuery:
    """Read the parameters of facets. Raises as ``parse_page``."""
    values = _read(
        parameters,
        {"fields": members_of(FACETS), "limit": integer(1, 100)},
    )
    return FacetQuery(
        _filter(values, now),
        values.get("fields", ("event_type", "user", "host", "address")),
        values.get("limit", 10),
    )


def parse_export(
    parameters: Iterable[tuple[str, str]], *, now: dt.datetime
) -> tuple[EventFilter, ExportFormat]:
    """Read the parameters of an export. Raises as ``parse_page``."""
    values = _read(parameters, {"format": member_of(ExportFormat)})
    return _filter(values, now), values.get("format", ExportFormat.NDJSON)


def parse_ledger(parameters: Iterable[tuple[str, str]], *, now: dt.datetime) -> LedgerQuery:
    """Read the parameters of the ledger. Raises as ``parse_page``."""
    values = query_parameters.parse(
        parameters,
        {"since": _timestamp, "until": _timestamp, "source": query_parameters.text(64)},
    )
    until = values.get("until") or now + dt.timedelta(hours=1)
    since = values.get("since") or until - DEFAULT_RANGE
    if since > until:
        raise InvalidParameters([Fault("since", "is later than until")])
    if until - since > MAX_LEDGER_RANGE:
        raise InvalidParameters(
            [Fault("since", f"is more than {MAX_LEDGER_RANGE.days} days before until")]
        )
    start_of_hour = since.replace(minute=0, second=0, microsecond=0)
    return LedgerQuery(start_of_hour, until, values.get("source"))


def write_cursor(position: Position) -> str:
    """The cursor of a position. It contains no secret and gives no access."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def read_cursor(text: str) -> Position:
    """The position in a cursor.

    Raises:
        ValueError: it is no cursor of this API.
    """
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        position = msgspec.json.decode(raw, type=Position)
    except (ValueError, binascii.Error):
        raise InvalidValue(
            "must be a next_cursor of this API; start again without a cursor"
        ) from None
    if not 0 <= position.occurred_ms < 2**53:
        raise InvalidValue("must be a next_cursor of this API; start again without a cursor")
    return position


def _filter(values: Mapping[str, Any], now: dt.datetime) -> EventFilter:
    until = values.get("until") or now + _AHEAD
    since = values.get("since") or until - DEFAULT_RANGE - _AHEAD
    if since > until:
        raise InvalidParameters([Fault("since", "is later than until")])
    conditions = [
        Condition(column, values[name].rstrip("*"), Modifier.STARTSWITH)
        if values[name].endswith("*")
        else Condition(column, values[name])
        for name, column in _COLUMNS.items()
        if name in values
    ]
    return EventFilter(
        since_ms=query.to_ms(since),
        until_ms=query.to_ms(until),
        conditions=(*conditions, *values["where"]),
        text=values.get("q"),
        refused=values.get("refused"),
        late=values.get("late"),
        event_ids=tuple(dict.fromkeys(values["event_id"])),
    )


def _read(parameters: Iterable[tuple[str, str]], more: Mapping[str, Reader]) -> dict[str, Any]:
    return query_parameters.parse(
        parameters,
        {
            **_FILTERS,
            **more,
            "where": Repeatable(_condition, query.MAX_CONDITIONS),
            "event_id": Repeatable(query_parameters.text(256), event_search.MAX_EVENT_IDS),
        },
    )


def _interval_seconds(duration_ms: int) -> int:
    """A usual length of a period for about 100 periods."""
    lengths = (1, 10, 60, 300, 900, 3600, 6 * 3600, 86400)
    return next((length for length in lengths if duration_ms / (length * 1000) <= 120), 7 * 86400)


def _condition(text: str) -> Condition:
    try:
        return query.parse_condition(text)
    except InvalidCondition as error:
        raise InvalidValue(str(error)) from None


def _pattern(longest: int) -> Reader:
    read_text = query_parameters.text(longest)

    def read(text: str) -> str:
        value: str = read_text(text)
        if not value.strip("*"):
            raise InvalidValue("must contain a character other than `*`")
        return value

    return read


def _timestamp(text: str) -> dt.datetime:
    time = query_parameters.timestamp(text)
    if not 1970 <= time.year < 9000:
        raise InvalidValue("must be a time from the year 1970 to the year 8999")
    return time


_FILTERS: Final[Mapping[str, Reader]] = {
    "since": _timestamp,
    "until": _timestamp,
    **{name: _pattern(query.MAX_VALUE) for name in _COLUMNS},
    "q": _pattern(MAX_TEXT),
    "refused": boolean,
    "late": boolean,
}
