"""The OpenAPI document of the API: its parameters, and what it adds to the models."""

import datetime as dt
from typing import Annotated, Final

from msgspec import Meta, Struct

from audit_analysis.events_api import query
from audit_analysis.events_api.archive_search import FACETS
from audit_analysis.events_api.parameters import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    MAX_TEXT,
    ExportFormat,
)
from audit_analysis.events_api.query import Order
from auditflow.contract import event_search
from auditflow.http.openapi import Documentation, PathParameter


def _text(description: str, example: str | None = None, longest: int = query.MAX_VALUE) -> Meta:
    return Meta(
        description=description, examples=[example] if example else None, min_length=1,
        max_length=longest, pattern="^[^\\x00]*$",
    )  # fmt: skip


_EXACT = "The complete value. With `*` at the end it is a prefix in any letter case."
_Value = Annotated[str, _text(_EXACT)]


class FilterParameters(Struct):
    """The parameters that select events. All conditions must be true."""

    since: (
        Annotated[
            dt.datetime,
            Meta(
                description="Events at this time or later. By default one day before `until`.",
                examples=["2026-01-31T08:00:00Z"],
                tz=True,
            ),
        ]
        | None
    ) = None
    until: (
        Annotated[dt.datetime, Meta(description="Events before this time. Default: now.", tz=True)]
        | None
    ) = None
    user: Annotated[str, _text(_EXACT, "alice")] | None = None
    host: _Value | None = None
    ip: _Value | None = None
    resource: _Value | None = None
    event_type: _Value | None = None
    severity: _Value | None = None
    action_result: _Value | None = None
    source: _Value | None = None
    product: _Value | None = None
    service: _Value | None = None
    category: _Value | None = None
    source_service: _Value | None = None
    correlation_id: _Value | None = None
    q: (
        Annotated[
            str,
            _text("Text anywhere in the event's JSON, in any letter case.", "curl", MAX_TEXT),
        ]
        | None
    ) = None
    where: (
        Annotated[
            list[str],
            Meta(
                description="Further conditions: `FIELD=VALUE` or `FIELD|MODIFIER=VALUE`, with `!` "
                "in front to negate. Can be repeated. A field is one of "
                f"{', '.join(query.FIELDS)}, or `record.` with a path in the event's JSON. The "
                f"modifiers are {', '.join(query.Modifier)}; `cidr` is for IPv4 networks.",
                examples=[["user|startswith=adm", "record.details.port=22"]],
                max_length=query.MAX_CONDITIONS,
            ),
        ]
        | None
    ) = None
    event_id: (
        Annotated[
            list[str],
            Meta(
                description="Only events with these identifiers. Can be repeated.",
                examples=[["0b6a2c1e-1f5c-4d0e-9d0a-3f4a6f6f8a11"]],
                max_length=event_search.MAX_EVENT_IDS,
            ),
        ]
        | None
    ) = None
    refused: Annotated[bool, Meta(description="Whether the event was refused.")] | None = None
    late: Annotated[bool, Meta(description="Whether the event was late for a window.")] | None = (
        None
    )


class PageParameters(FilterParameters):
    """The parameters of a list of events."""

    order: Annotated[Order, Meta(description="The order by time.")] = Order.NEWEST
    limit: Annotated[int, Meta(description="Events on a page.", ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Meta(description="The next_cursor of the previous page.")] | None = None


class HistogramParameters(FilterParameters):
    """The parameters of a histogram."""

    interval_seconds: (
        Annotated[int, Meta(description="The length of a period.", ge=1, le=366 * 86400)] | None
    ) = None


class FacetParameters(FilterParameters):
    """The parameters of facets."""

    fields: (
        Annotated[
            str,
            Meta(
                description=f"One or more of {', '.join(FACETS)}, separated by commas.",
                examples=["user,host"],
            ),
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(description="Values of each field.", ge=1, le=100)] = 10


class ExportParameters(FilterParameters):
    """The parameters of an export and the ledger."""

    format: Annotated[ExportFormat, Meta(description="The format.")] = ExportFormat.NDJSON


class EventParameters(Struct):
    """The parameter of one event."""

    event_id: Annotated[str, _text("The identifier of the event.", "4b1f", 256)]


class LedgerParameters(Struct):
    """The parameters of the ledger."""

    since: (
        Annotated[
            dt.datetime,
            Meta(description="Hours that begin at this time or later. Default: one day.", tz=True),
        ]
        | None
    ) = None
    until: (
        Annotated[dt.datetime, Meta(description="Hours that begin before this time.", tz=True)]
        | None
    ) = None
    source: Annotated[str, _text("A source of the ingest.", "okta", 64)] | None = None


class HuntFindings(Struct):
    """Findings, as NDJSON."""


class ExportFile(Struct):
    """The events, as NDJSON or Parquet."""


DOCUMENTATION: Final = Documentation(
    title="AuditFlow event archive",
    summary="Archived events: search, lookup, counts, export and hunts.",
    description="Errors are problem details (RFC 9457). Times are RFC 3339 in UTC. Tokens and "
    "roles are those of the notification service. Operators also use `/healthz`, `/readyz` and "
    "`/metrics`.",
    path_parameters={
        "event_id": PathParameter(
            {"type": "string", "minLength": 1, "maxLength": 256},
            "The identifier of the event.",
            "4b1f",
        ),
        "hunt_id": PathParameter(
            {"type": "string", "format": "uuid"},
            "The identifier of the hunt.",
            "0d6e3a0e-5d0c-4d53-9f2b-0c3a3f1a7a11",
        ),
    },
    content_types={
        ExportFile: ("application/x-ndjson", "application/vnd.apache.parquet"),
        HuntFindings: ("application/x-ndjson",),
    },
)
