"""The question that ``GET /alerts`` asks, read from its parameters. All faults are told at once."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from auditflow.contract.alert import Status
from auditflow.contract.event import Severity
from auditflow.errors import AuditFlowError
from auditflow.http.problem import Fault
from notification_service.alert import MAX_TEXT
from notification_service.cursor import BadCursor, Cursors, Place

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
MAX_OFFSET: Final = 10_000
MAX_SEARCH: Final = 200
_MOMENT: Final[Any] = Annotated[dt.datetime, Meta(tz=True)]


class AlertQuery(Struct, frozen=True, kw_only=True):
    """Which alerts, and which page of them. Empty and None mean: no condition."""

    status: tuple[Status, ...] = ()
    severity: tuple[Severity, ...] = ()
    rule: str | None = None
    actor: str | None = None
    host: str | None = None
    ip: str | None = None
    resource: str | None = None
    environment: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    q: str | None = None
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    after: Place | None = None


class BadQuery(AuditFlowError):
    """Parameters that are unknown or wrong."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.where}: {fault.what}" for fault in faults))
        self.faults = faults


class _Wrong(Exception):
    """What is wrong with one value."""


def parse(parameters: Iterable[tuple[str, str]], cursors: Cursors) -> AlertQuery:
    """Read the parameters of a request.

    Raises:
        BadQuery: a fault for each parameter that is unknown, given twice, or wrong.
    """
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    readers: dict[str, Callable[[str], Any]] = {**_READERS, "cursor": partial(_cursor, cursors)}
    for name, text in parameters:
        if name not in readers:
            allowed = ", ".join(readers)
            # A name of any length and kind comes back only as far as it helps.
            faults.append(Fault(_printable(name), f"no such parameter; there are {allowed}"))
        elif name in values:
            faults.append(Fault(name, "given more than once"))
        else:
            values[name] = None
            try:
                values[name] = readers[name](text)
            except _Wrong as wrong:
                faults.append(Fault(name, str(wrong)))
    faults += _contradictions(values)
    if faults:
        raise BadQuery(tuple(faults))
    if "cursor" in values:
        values["after"] = values.pop("cursor")
    return AlertQuery(**values)


def _contradictions(values: Mapping[str, Any]) -> list[Fault]:
    faults = []
    if "cursor" in values and "offset" in values:
        faults.append(Fault("cursor", "give either cursor or offset, not both"))
    since, until = values.get("since"), values.get("until")
    if since is not None and until is not None and since > until:
        faults.append(Fault("since", "is later than until"))
    return faults


def _one_or_more_of(kind: type[Status] | type[Severity]) -> Callable[[str], tuple[Any, ...]]:
    allowed = ", ".join(kind)

    def read(text: str) -> tuple[Any, ...]:
        parts = text.split(",")
        if len(parts) > len(kind) or not all(part in list(kind) for part in parts):
            raise _Wrong(f"must be one or more of {allowed}, separated by commas")
        return tuple(dict.fromkeys(kind(part) for part in parts))

    return read


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) <= 9 and lowest <= int(text) <= highest:
            return int(text)
        raise _Wrong(f"must be a whole number from {lowest} to {highest}")

    return read


def _text(longest: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not text or len(text) > longest or "\0" in text:
            raise _Wrong(f"must be 1 to {longest} characters, without NUL")
        return text

    return read


def _moment(text: str) -> Any:
    try:
        return msgspec.convert(text, _MOMENT)
    except msgspec.ValidationError:
        raise _Wrong(
            "must be a time with an offset by RFC 3339, such as 2026-01-31T08:00:00Z"
            " (in a URL, write + as %2B)"
        ) from None


def _cursor(cursors: Cursors, text: str) -> Place:
    try:
        return cursors.read(text)
    except BadCursor:
        raise _Wrong("must be a next_cursor of this API; begin again without it") from None


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:64])


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "status": _one_or_more_of(Status),
    "severity": _one_or_more_of(Severity),
    "rule": _text(256),
    "actor": _text(MAX_TEXT),
    "host": _text(MAX_TEXT),
    "ip": _text(MAX_TEXT),
    "resource": _text(MAX_TEXT),
    "environment": _text(MAX_TEXT),
    "since": _moment,
    "until": _moment,
    "q": _text(MAX_SEARCH),
    "limit": _number(1, MAX_LIMIT),
    "offset": _number(0, MAX_OFFSET),
}
