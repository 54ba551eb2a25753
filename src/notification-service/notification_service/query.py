"""The parameters of the alert list. All errors in them are reported together."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Final, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from auditflow.contract.alert import Status, Verdict
from auditflow.contract.audit import MAX_TRAIL_TEXT, Outcome
from auditflow.contract.event import Severity
from auditflow.contract.level import Level
from auditflow.errors import AuditFlowError
from auditflow.http.problem import Fault
from notification_service.alert import MAX_TEXT
from notification_service.cursor import Cursors, InvalidCursor, Position
from notification_service.export import Format
from notification_service.observables import Kind
from notification_service.order import Sort

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
MAX_OFFSET: Final = 10_000
MAX_SEARCH: Final = 200
_NO_CURSOR: Final = "must be a next_cursor of this API; start again without a cursor"
S = TypeVar("S", bound=Struct)
_TIMESTAMP: Final[Any] = Annotated[dt.datetime, Meta(tz=True)]


class AlertFilter(Struct, frozen=True, kw_only=True):
    """Which alerts. Empty and None mean that there is no condition."""

    status: tuple[Status, ...] = ()
    level: tuple[Level, ...] = ()
    severity: tuple[Severity, ...] = ()
    verdict: tuple[Verdict, ...] = ()
    rule: str | None = None
    actor: str | None = None
    host: str | None = None
    ip: str | None = None
    resource: str | None = None
    environment: str | None = None
    #: An empty string selects alerts without an assignee.
    assignee: str | None = None
    active_again: bool | None = None
    snoozed: bool | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    updated_since: dt.datetime | None = None
    opened_since: dt.datetime | None = None
    q: str | None = None


class AlertQuery(AlertFilter, frozen=True, kw_only=True):
    """Which alerts, in which order, and which page of them."""

    sort: Sort = Sort.ACTIVITY
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    after: Position | None = None


class InvalidQuery(AuditFlowError):
    """Parameters that are unknown or wrong."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.where}: {fault.what}" for fault in faults))
        self.faults = faults


class _InvalidValue(Exception):
    """What is wrong with one value."""


def parse(parameters: Iterable[tuple[str, str]], cursors: Cursors) -> AlertQuery:
    """Read the parameters of a list.

    Raises:
        InvalidQuery: a fault for each parameter that is unknown, repeated, or wrong.
    """
    readers: dict[str, Callable[[str], Any]] = {
        **_FILTERS,
        **_PAGING,
        "cursor": partial(_cursor, cursors),
    }
    values, faults = _read(parameters, readers)
    faults += _contradictions(values)
    if faults:
        raise InvalidQuery(tuple(faults))
    if "cursor" in values:
        values["after"] = values.pop("cursor")
        values["sort"] = values["after"].sort
    return AlertQuery(**values)


def parse_filter(parameters: Iterable[tuple[str, str]]) -> AlertFilter:
    """Read the parameters that select alerts, without those of paging.

    Raises:
        InvalidQuery: a fault for each parameter that is unknown, repeated, or wrong.
    """
    values, faults = _read(parameters, _FILTERS)
    faults += _contradictions(values)
    if faults:
        raise InvalidQuery(tuple(faults))
    return AlertFilter(**values)


def parse_export(parameters: Iterable[tuple[str, str]]) -> tuple[AlertFilter, Format]:
    """Read the parameters of an export.

    Raises:
        InvalidQuery: a fault for each parameter that is unknown, repeated, or wrong.
    """
    values, faults = _read(parameters, {**_FILTERS, "format": _member_of(Format)})
    faults += _contradictions(values)
    if faults:
        raise InvalidQuery(tuple(faults))
    form = values.pop("format", Format.NDJSON)
    return AlertFilter(**values), form


def parse_after(parameters: Iterable[tuple[str, str]]) -> int | None:
    """Read the number that changes are read from.

    Raises:
        InvalidQuery: a fault for each parameter that is unknown, repeated, or wrong.
    """
    values, faults = _read(parameters, {"after": _integer(0, 10**18 - 1)})
    if faults:
        raise InvalidQuery(tuple(faults))
    return values.get("after")


def parse_entity(parameters: Iterable[tuple[str, str]]) -> tuple[Kind, str]:
    """Read the kind and the value of an entity.

    Raises:
        InvalidQuery: a fault for each parameter that is missing, unknown, repeated, or wrong.
    """
    values = _required(parameters, {"kind": _kind, "value": _text(MAX_TEXT)})
    return values["kind"], values["value"]


def parse_event_id(parameters: Iterable[tuple[str, str]]) -> str:
    """Read the identifier of an event.

    Raises:
        InvalidQuery: a fault for each parameter that is missing, unknown, repeated, or wrong.
    """
    return str(_required(parameters, {"event_id": _text(256)})["event_id"])


def parse_event_cursor(
    parameters: Iterable[tuple[str, str]], cursors: Cursors, kind: type[S]
) -> S | None:
    """Read the cursor of a list of events.

    Raises:
        InvalidQuery: a fault for each parameter that is unknown, repeated, or wrong.
    """

    def read(text: str) -> S:
        try:
            return cursors.verify(text, kind)
        except InvalidCursor:
            raise _InvalidValue(_NO_CURSOR) from None

    values, faults = _read(parameters, {"cursor": read})
    if faults:
        raise InvalidQuery(tuple(faults))
    return values.get("cursor")


def parse_numbers(
    parameters: Iterable[tuple[str, str]],
    *names: str,
    largest: int,
    required: tuple[str, ...] = (),
) -> dict[str, int]:
    """Read parameters that are numbers from 1.

    Raises:
        InvalidQuery: a fault for each parameter that is missing, unknown, repeated, or wrong.
    """
    values, faults = _read(parameters, dict.fromkeys(names, _integer(1, largest)))
    faults += [Fault(name, "is required") for name in required if name not in values]
    if faults:
        raise InvalidQuery(tuple(faults))
    return values


def parse_trail(parameters: Iterable[tuple[str, str]], kind: type[S]) -> S:
    """Read the parameters of the audit trail.

    Raises:
        InvalidQuery: a fault for each parameter that is unknown, repeated, or wrong.
    """
    values, faults = _read(parameters, _TRAIL)
    faults += _contradictions(values)
    if faults:
        raise InvalidQuery(tuple(faults))
    return kind(**values)


def parse_before(parameters: Iterable[tuple[str, str]]) -> int | None:
    """Read the parameter of a history.

    Raises:
        InvalidQuery: a fault for each parameter that is unknown, repeated, or wrong.
    """
    values, faults = _read(parameters, {"before": _integer(1, 999_999_999)})
    if faults:
        raise InvalidQuery(tuple(faults))
    return values.get("before")


def _required(
    parameters: Iterable[tuple[str, str]], readers: Mapping[str, Callable[[str], Any]]
) -> dict[str, Any]:
    values, faults = _read(parameters, readers)
    faults += [Fault(name, "is required") for name in readers if name not in values]
    if faults:
        raise InvalidQuery(tuple(faults))
    return values


def _read(
    parameters: Iterable[tuple[str, str]], readers: Mapping[str, Callable[[str], Any]]
) -> tuple[dict[str, Any], list[Fault]]:
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    for name, text in parameters:
        if name not in readers:
            allowed = ", ".join(readers)
            faults.append(Fault(_printable(name), f"unknown parameter; allowed are {allowed}"))
        elif name in values:
            faults.append(Fault(name, "is given more than once"))
        else:
            values[name] = None
            try:
                values[name] = readers[name](text)
            except _InvalidValue as error:
                faults.append(Fault(name, str(error)))
    return values, faults


def _contradictions(values: Mapping[str, Any]) -> list[Fault]:
    faults = []
    if "cursor" in values and "offset" in values:
        faults.append(Fault("cursor", "give either cursor or offset, not both"))
    cursor, sort = values.get("cursor"), values.get("sort")
    if cursor is not None and sort is not None and cursor.sort is not sort:
        faults.append(Fault("cursor", f"belongs to a list with sort={cursor.sort}"))
    since, until = values.get("since"), values.get("until")
    if since is not None and until is not None and since > until:
        faults.append(Fault("since", "is later than until"))
    return faults


def _values_of(kind: type[StrEnum]) -> Callable[[str], tuple[Any, ...]]:
    allowed = ", ".join(kind)

    def read(text: str) -> tuple[Any, ...]:
        parts = text.split(",")
        if len(parts) > len(kind) or not all(part in list(kind) for part in parts):
            raise _InvalidValue(f"must be one or more of {allowed}, separated by commas")
        return tuple(dict.fromkeys(kind(part) for part in parts))

    return read


def _integer(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) <= 18 and lowest <= int(text) <= highest:
            return int(text)
        raise _InvalidValue(f"must be an integer from {lowest} to {highest}")

    return read


def _text(longest: int, *, shortest: int = 1) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not shortest <= len(text) <= longest or "\0" in text:
            raise _InvalidValue(f"must be {shortest} to {longest} characters, without NUL")
        return text

    return read


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise _InvalidValue("must be true or false")
    return text == "true"


def _timestamp(text: str) -> Any:
    try:
        return msgspec.convert(text, _TIMESTAMP).astimezone(dt.UTC)
    except (msgspec.ValidationError, OverflowError):
        raise _InvalidValue(
            "must be a time with an offset by RFC 3339, such as 2026-01-31T08:00:00Z"
            " (in a URL, write + as %2B)"
        ) from None


def _member_of(kind: type[StrEnum]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise _InvalidValue(f"must be one of {', '.join(kind)}") from None

    return read


def _cursor(cursors: Cursors, text: str) -> Position:
    try:
        return cursors.read(text)
    except InvalidCursor:
        raise _InvalidValue(_NO_CURSOR) from None


def _kind(text: str) -> Kind:
    for kind in get_args(Kind):
        if text == kind:
            return kind  # type: ignore[no-any-return]
    raise _InvalidValue(f"must be one of {', '.join(get_args(Kind))}")


def _outcome(text: str) -> str:
    if text not in get_args(Outcome):
        raise _InvalidValue(f"must be one of {', '.join(get_args(Outcome))}")
    return text


def _printable(name: str) -> str:
    # A name may have any length and any characters. The answer shows a readable part of it.
    return "".join(letter if letter.isprintable() else "?" for letter in name[:64])


_FILTERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "status": _values_of(Status),
    "level": _values_of(Level),
    "severity": _values_of(Severity),
    "verdict": _values_of(Verdict),
    "rule": _text(256),
    "actor": _text(MAX_TEXT),
    "host": _text(MAX_TEXT),
    "ip": _text(MAX_TEXT),
    "resource": _text(MAX_TEXT),
    "environment": _text(MAX_TEXT),
    "assignee": _text(MAX_TEXT, shortest=0),
    "active_again": _boolean,
    "snoozed": _boolean,
    "since": _timestamp,
    "until": _timestamp,
    "updated_since": _timestamp,
    "opened_since": _timestamp,
    "q": _text(MAX_SEARCH),
}
_TRAIL: Final[Mapping[str, Callable[[str], Any]]] = {
    "actor": _text(MAX_TRAIL_TEXT),
    "action": _text(MAX_TRAIL_TEXT),
    "outcome": _outcome,
    "address": _text(MAX_TRAIL_TEXT),
    "target": _text(MAX_TRAIL_TEXT),
    "since": _timestamp,
    "until": _timestamp,
    "before": _integer(1, 999_999_999),
}
_PAGING: Final[Mapping[str, Callable[[str], Any]]] = {
    "sort": _member_of(Sort),
    "limit": _integer(1, MAX_LIMIT),
    "offset": _integer(0, MAX_OFFSET),
}
