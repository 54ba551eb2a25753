"""The parameters of the alert list. All errors in them are reported together."""

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final, TypeVar, get_args
from uuid import UUID

from msgspec import Struct

from auditflow.contract.access import MAX_NAME
from auditflow.contract.alert import Status, Verdict
from auditflow.contract.audit import MAX_TRAIL_TEXT, Outcome
from auditflow.contract.event import Severity
from auditflow.contract.level import Level
from auditflow.http import query_parameters
from auditflow.http.problem import Fault
from auditflow.http.query_parameters import (
    InvalidValue,
    Reader,
    boolean,
    integer,
    member_of,
    members_of,
    text,
    timestamp,
)
from notification_service import techniques
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


class AlertFilter(Struct, frozen=True, kw_only=True):
    """Which alerts. Empty and None mean that there is no condition."""

    status: tuple[Status, ...] = ()
    level: tuple[Level, ...] = ()
    severity: tuple[Severity, ...] = ()
    verdict: tuple[Verdict, ...] = ()
    rule: str | None = None
    #: A technique of ATT&CK, in upper case. It includes its sub-techniques.
    technique: str | None = None
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


def parse(parameters: Iterable[tuple[str, str]], cursors: Cursors) -> AlertQuery:
    """Read the parameters of a list.

    Raises:
        InvalidParameters: a fault for each parameter that is unknown, repeated, or wrong.
    """
    readers: dict[str, Reader] = {
        **_FILTERS,
        **_PAGING,
        "cursor": partial(_cursor, cursors),
    }
    values = query_parameters.parse(parameters, readers, check=_contradictions)
    if "cursor" in values:
        values["after"] = values.pop("cursor")
        values["sort"] = values["after"].sort
    return AlertQuery(**values)


def parse_filter(parameters: Iterable[tuple[str, str]]) -> AlertFilter:
    """Read the parameters that select alerts, without those of paging.

    Raises:
        InvalidParameters: a fault for each parameter that is unknown, repeated, or wrong.
    """
    values = query_parameters.parse(parameters, _FILTERS, check=_contradictions)
    return AlertFilter(**values)


def parse_export(parameters: Iterable[tuple[str, str]]) -> tuple[AlertFilter, Format]:
    """Read the parameters of an export.

    Raises:
        InvalidParameters: a fault for each parameter that is unknown, repeated, or wrong.
    """
    values = query_parameters.parse(
        parameters, {**_FILTERS, "format": member_of(Format)}, check=_contradictions
    )
    form = values.pop("format", Format.NDJSON)
    return AlertFilter(**values), form


def parse_after(parameters: Iterable[tuple[str, str]]) -> int | None:
    """Read the number that changes are read from.

    Raises:
        InvalidParameters: a fault for each parameter that is unknown, repeated, or wrong.
    """
    values = query_parameters.parse(parameters, {"after": integer(0, 10**18 - 1)})
    return values.get("after")


def parse_after_identifier(parameters: Iterable[tuple[str, str]]) -> UUID | None:
    """Read the identifier that a list continues after.

    Raises:
        InvalidParameters: a fault for each parameter that is unknown, repeated, or wrong.
    """

    def read(text: str) -> UUID:
        try:
            parsed = UUID(text)
        except ValueError:
            raise InvalidValue("must be a UUID") from None
        if str(parsed) != text.lower():
            raise InvalidValue("must be a UUID with hyphens")
        return parsed

    return query_parameters.parse(parameters, {"after": read}).get("after")


def parse_entity(parameters: Iterable[tuple[str, str]]) -> tuple[Kind, str]:
    """Read the kind and the value of an entity.

    Raises:
        InvalidParameters: a fault for each parameter that is missing, unknown, repeated, or wrong.
    """
    readers = {"kind": member_of(get_args(Kind)), "value": text(MAX_TEXT)}
    values = query_parameters.parse(parameters, readers, required=readers)
    return values["kind"], values["value"]


def parse_event_id(parameters: Iterable[tuple[str, str]]) -> str:
    """Read the identifier of an event.

    Raises:
        InvalidParameters: a fault for each parameter that is missing, unknown, repeated, or wrong.
    """
    readers = {"event_id": text(256)}
    return str(query_parameters.parse(parameters, readers, required=readers)["event_id"])


def parse_event_cursor(
    parameters: Iterable[tuple[str, str]], cursors: Cursors, kind: type[S]
) -> S | None:
    """Read the cursor of a list of events.

    Raises:
        InvalidParameters: a fault for each parameter that is unknown, repeated, or wrong.
    """

    def read(text: str) -> S:
        try:
            return cursors.verify(text, kind)
        except InvalidCursor:
            raise InvalidValue(_NO_CURSOR) from None

    values = query_parameters.parse(parameters, {"cursor": read})
    return values.get("cursor")


def parse_numbers(
    parameters: Iterable[tuple[str, str]],
    *names: str,
    largest: int,
    required: tuple[str, ...] = (),
) -> dict[str, int]:
    """Read parameters that are numbers from 1 to ``largest``.

    Raises:
        InvalidParameters: a fault for each parameter that is missing, unknown, repeated, or wrong.
    """
    readers = dict.fromkeys(names, integer(1, largest))
    return query_parameters.parse(parameters, readers, required=required)


def parse_trail(parameters: Iterable[tuple[str, str]], kind: type[S]) -> S:
    """Read the parameters of the audit trail.

    Raises:
        InvalidParameters: a fault for each parameter that is unknown, repeated, or wrong.
    """
    values = query_parameters.parse(parameters, _TRAIL, check=_contradictions)
    return kind(**values)


def parse_name(parameters: Iterable[tuple[str, str]]) -> str:
    """Read the name of a person.

    Raises:
        InvalidParameters: a fault if it is missing, or for each parameter that is unknown.
    """
    values = query_parameters.parse(parameters, {"name": text(MAX_NAME)}, required=("name",))
    return str(values["name"])


def parse_dead_letters(parameters: Iterable[tuple[str, str]]) -> tuple[str | None, int]:
    """Read the parameters of a list of dead letters: the reason, and the limit.

    Raises:
        InvalidParameters: a fault for each parameter that is unknown, repeated, or wrong.
    """
    readers = {"reason": text(MAX_TEXT, shortest=0), "limit": integer(1, MAX_LIMIT)}
    values = query_parameters.parse(parameters, readers)
    return values.get("reason"), values.get("limit", DEFAULT_LIMIT)


def parse_before(parameters: Iterable[tuple[str, str]]) -> int | None:
    """Read the parameter of a history.

    Raises:
        InvalidParameters: a fault for each parameter that is unknown, repeated, or wrong.
    """
    values = query_parameters.parse(parameters, {"before": integer(1, 999_999_999)})
    return values.get("before")


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


def _cursor(cursors: Cursors, text: str) -> Position:
    try:
        return cursors.read(text)
    except InvalidCursor:
        raise InvalidValue(_NO_CURSOR) from None


def _technique(text: str) -> str:
    if not techniques.is_technique(text):
        raise InvalidValue("must be a technique of ATT&CK such as T1110 or T1110.001")
    return text.upper()


_FILTERS: Final[Mapping[str, Reader]] = {
    "status": members_of(Status),
    "level": members_of(Level),
    "severity": members_of(Severity),
    "verdict": members_of(Verdict),
    "rule": text(256),
    "technique": _technique,
    "actor": text(MAX_TEXT),
    "host": text(MAX_TEXT),
    "ip": text(MAX_TEXT),
    "resource": text(MAX_TEXT),
    "environment": text(MAX_TEXT),
    "assignee": text(MAX_TEXT, shortest=0),
    "active_again": boolean,
    "snoozed": boolean,
    "since": timestamp,
    "until": timestamp,
    "updated_since": timestamp,
    "opened_since": timestamp,
    "q": text(MAX_SEARCH),
}
_TRAIL: Final[Mapping[str, Reader]] = {
    "actor": text(MAX_TRAIL_TEXT),
    "action": text(MAX_TRAIL_TEXT),
    "outcome": member_of(get_args(Outcome)),
    "address": text(MAX_TRAIL_TEXT),
    "target": text(MAX_TRAIL_TEXT),
    "since": timestamp,
    "until": timestamp,
    "before": integer(1, 999_999_999),
}
_PAGING: Final[Mapping[str, Reader]] = {
    "sort": member_of(Sort),
    "limit": integer(1, MAX_LIMIT),
    "offset": integer(0, MAX_OFFSET),
}
