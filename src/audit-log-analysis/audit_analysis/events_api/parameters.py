"""Reads the query parameters of the API. All errors in them are reported together."""

import base64
import binascii
import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

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
from auditflow.errors import AuditFlowError
from auditflow.http.problem import Fault

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 500
MAX_TEXT: Final = 200
MAX_BUCKETS: Final = 1_000
DEFAULT_RANGE: Final = dt.timedelta(days=1)
#: Events may be ahead of the clock by five minutes, and their newest ones must be found.
_AHEAD: Final = dt.timedelta(minutes=10)
_TIMESTAMP: Final[Any] = Annotated[dt.datetime, Meta(tz=True)]
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


class InvalidParameters(AuditFlowError):
    """Parameters that are unknown or wrong."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.where}: {fault.what}" for fault in self.faults))


class _InvalidValue(ValueError):
    """What is wrong with one value."""


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
        {"order": _member_of(Order), "limit": _integer(1, MAX_LIMIT), "cursor": read_cursor},
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
    values = _read(parameters, {"interval_seconds": _integer(1, 366 * 86400)})
    asked = _filter(values, now)
    duration_ms = asked.until_ms - asked.since_ms
    interval_ms = values.get("interval_seconds", _interval_seconds(duration_ms)) * 1000
    if duration_ms / interval_ms > MAX_BUCKETS:
        raise InvalidParameters(
            [Fault("interval_seconds", f"would give more than {MAX_BUCKETS} periods")]
        )
    return HistogramQuery(asked, interval_ms)


def parse_facets(parameters: Iterable[tuple[str, str]], *, now: dt.datetime) -> FacetQuery:
    """Read the parameters of facets. Raises as ``parse_page``."""
    values = _read(parameters, {"fields": _fields, "limit": _integer(1, 100)})
    return FacetQuery(
        _filter(values, now),
        values.get("fields", ("event_type", "user", "host", "address")),
        values.get("limit", 10),
    )


def parse_export(
    parameters: Iterable[tuple[str, str]], *, now: dt.datetime
) -> tuple[EventFilter, ExportFormat]:
    """Read the parameters of an export. Raises as ``parse_page``."""
    values = _read(parameters, {"format": _member_of(ExportFormat)})
    return _filter(values, now), values.get("format", ExportFormat.NDJSON)


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
        raise _InvalidValue(
            "must be a next_cursor of this API; start again without a cursor"
        ) from None
    if not 0 <= position.occurred_ms < 2**53:
        raise _InvalidValue("must be a next_cursor of this API; start again without a cursor")
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
        conditions=(*conditions, *values.get("where", ())),
        text=values.get("q"),
        refused=values.get("refused"),
        late=values.get("late"),
    )


def _read(
    parameters: Iterable[tuple[str, str]], more: Mapping[str, Callable[[str], Any]]
) -> dict[str, Any]:
    readers = {**_FILTERS, **more}
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    where: list[Condition] = []
    for name, value in parameters:
        if name == "where":
            try:
                where.append(query.parse_condition(value))
            except InvalidCondition as error:
                faults.append(Fault("where", str(error)))
        elif name not in readers:
            allowed = ", ".join([*readers, "where"])
            faults.append(Fault(_printable(name), f"unknown parameter; allowed are {allowed}"))
        elif name in values:
            faults.append(Fault(name, "is given more than once"))
        else:
            values[name] = None
            try:
                values[name] = readers[name](value)
            except _InvalidValue as error:
                faults.append(Fault(name, str(error)))
    if len(where) > query.MAX_CONDITIONS:
        faults.append(Fault("where", f"is given more than {query.MAX_CONDITIONS} times"))
    if faults:
        raise InvalidParameters(faults)
    return {**values, "where": tuple(where)}


def _interval_seconds(duration_ms: int) -> int:
    """A usual length of a period for about 100 periods."""
    lengths = (1, 10, 60, 300, 900, 3600, 6 * 3600, 86400)
    return next((length for length in lengths if duration_ms / (length * 1000) <= 120), 7 * 86400)


def _fields(value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(value.split(",")))
    if not set(names) <= set(FACETS):
        raise _InvalidValue(f"must be one or more of {', '.join(FACETS)}, separated by commas")
    return names


def _text(longest: int) -> Callable[[str], str]:
    def read(value: str) -> str:
        if not 1 <= len(value) <= longest or "\0" in value or value.strip("*") == "":
            raise _InvalidValue(f"must have 1 to {longest} characters, without NUL")
        return value

    return read


def _integer(lowest: int, highest: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        is_number = value.isascii() and value.isdigit() and len(value) <= 18
        if is_number and lowest <= int(value) <= highest:
            return int(value)
        raise _InvalidValue(f"must be an integer from {lowest} to {highest}")

    return read


def _boolean(value: str) -> bool:
    if value not in ("true", "false"):
        raise _InvalidValue("must be true or false")
    return value == "true"


def _timestamp(value: str) -> Any:
    try:
        parsed = msgspec.convert(value, _TIMESTAMP).astimezone(dt.UTC)
    except (msgspec.ValidationError, OverflowError):
        parsed = None
    if parsed is None or not 1970 <= parsed.year < 9000:
        raise _InvalidValue(
            "must be a time with an offset by RFC 3339, such as 2026-01-31T08:00:00Z"
            " (in a URL, write + as %2B)"
        )
    return parsed


def _member_of(kind: type[StrEnum]) -> Callable[[str], Any]:
    def read(value: str) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise _InvalidValue(f"must be one of {', '.join(kind)}") from None

    return read


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:64])


_FILTERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "since": _timestamp,
    "until": _timestamp,
    **{name: _text(query.MAX_VALUE) for name in _COLUMNS},
    "q": _text(MAX_TEXT),
    "refused": _boolean,
    "late": _boolean,
}
