"""Query parameters and headers in the OpenAPI document. ``query`` and ``requests`` read them."""

import datetime as dt
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from auditflow.contract.alert import Status, Verdict
from auditflow.contract.event import Severity
from auditflow.contract.level import Level
from notification_service import techniques
from notification_service.alert import MAX_TEXT
from notification_service.export import Format
from notification_service.order import Sort
from notification_service.query import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, MAX_SEARCH


def _several(kind: type[StrEnum], example: str) -> Meta:
    values = "|".join(kind)
    return Meta(
        description=f"One or more of {', '.join(kind)}, separated by commas.",
        examples=[example],
        pattern=f"^({values})(,({values})){{0,{len(kind) - 1}}}$",
    )


def _text(description: str, *, examples: list[str] | None = None, shortest: int = 1) -> Meta:
    return Meta(
        description=description, examples=examples, min_length=shortest, max_length=MAX_TEXT,
        pattern="^[^\\x00]*$",
    )  # fmt: skip


_PREFIX = (
    "In any letter case. With `*` at the end it is a prefix. For a value that ends in `*`, write "
    "`\\*` at the end, and double each backslash directly before it."
)


class FilterParameters(Struct):
    """The parameters that select alerts. All conditions must be true."""

    status: Annotated[str, _several(Status, "open,acknowledged")] | None = None
    level: Annotated[str, _several(Level, "high,critical")] | None = None
    severity: Annotated[str, _several(Severity, "CRITICAL")] | None = None
    verdict: Annotated[str, _several(Verdict, "true_positive")] | None = None
    rule: (
        Annotated[
            str,
            Meta(
                description="The identifier of a rule.",
                min_length=1,
                max_length=256,
                pattern="^[^\\x00]*$",
            ),
        ]
        | None
    ) = None
    technique: (
        Annotated[
            str,
            Meta(
                description="A technique of ATT&CK. It selects the alerts of rules whose newest"
                " alert has this technique or one of its sub-techniques.",
                examples=["T1110"],
                pattern=techniques.PATTERN,
            ),
        ]
        | None
    ) = None
    actor: Annotated[str, _text(f"A user in any finding. {_PREFIX}", examples=["alice"])] | None = (
        None
    )
    host: Annotated[str, _text(f"A host in any finding. {_PREFIX}")] | None = None
    ip: Annotated[str, _text(f"A client address in any finding. {_PREFIX}")] | None = None
    resource: Annotated[str, _text(f"A resource in any finding. {_PREFIX}")] | None = None
    environment: Annotated[str, _text("The environment, for example prod.")] | None = None
    assignee: (
        Annotated[str, _text("The assignee. Empty: alerts without an assignee.", shortest=0)] | None
    ) = None
    active_again: (
        Annotated[bool, Meta(description="Whether new events arrived after an action.")] | None
    ) = None
    snoozed: Annotated[bool, Meta(description="Whether the alert is snoozed now.")] | None = None
    since: (
        Annotated[
            dt.datetime,
            Meta(
                description="Alerts that were active at this time or later.",
                examples=["2026-01-31T08:00:00Z"],
                tz=True,
            ),
        ]
        | None
    ) = None
    until: (
        Annotated[
            dt.datetime,
            Meta(description="Alerts that were active at this time or earlier.", tz=True),
        ]
        | None
    ) = None
    opened_since: (
        Annotated[
            dt.datetime,
            Meta(description="Alerts that were opened at this time or later.", tz=True),
        ]
        | None
    ) = None
    updated_since: (
        Annotated[
            dt.datetime,
            Meta(description="Alerts that changed at this time or later.", tz=True),
        ]
        | None
    ) = None
    q: (
        Annotated[
            str,
            Meta(
                description="Text in title, description, actor, host, address or resource, in any "
                "letter case.",
                min_length=1,
                max_length=MAX_SEARCH,
                pattern="^[^\\x00]*$",
            ),
        ]
        | None
    ) = None


class AlertParameters(FilterParameters):
    """The parameters of the alert list."""

    sort: Annotated[Sort, Meta(description="The order, descending.")] = Sort.ACTIVITY
    limit: Annotated[int, Meta(description="Alerts on a page.", ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: (
        Annotated[
            str,
            Meta(description="The next_cursor of the previous page. Not together with offset."),
        ]
        | None
    ) = None
    offset: Annotated[
        int,
        Meta(
            description="Alerts to skip. New alerts shift pages by offset, but not by cursor.",
            ge=0,
            le=MAX_OFFSET,
        ),
    ] = 0


class ExportParameters(FilterParameters):
    """The parameters of an export."""

    format: Annotated[Format, Meta(description="The format.")] = Format.NDJSON


class ChangesParameters(Struct):
    """The parameters of the list of changes."""

    after: (
        Annotated[
            int,
            Meta(description="`last` of the previous answer.", ge=0, le=10**18 - 1),
        ]
        | None
    ) = None


class StreamHeaders(Struct):
    """The headers of a stream."""

    last_event_id: (
        Annotated[
            str,
            Meta(
                description="The id of the last event that the client received.",
                pattern="^[0-9]{1,18}$",
            ),
        ]
        | None
    ) = field(name="Last-Event-ID", default=None)


class RiskParameters(Struct):
    """The parameters of a risk: an entity."""

    kind: Annotated[
        Literal["user", "host", "address", "resource"],
        Meta(description="The kind of the entity.", examples=["user"]),
    ]
    value: Annotated[str, _text("The entity, in any letter case.", examples=["alice"])]


class EventsParameters(Struct):
    """The parameters of the events of an alert."""

    cursor: Annotated[str, Meta(description="The next_cursor of the previous page.")] | None = None


class EventParameters(Struct):
    """The parameters of a complete event."""

    event_id: Annotated[
        str,
        Meta(
            description="The identifier of the event.",
            examples=["4b1f"],
            min_length=1,
            max_length=256,
            pattern="^[^\\x00]*$",
        ),
    ]


class HistoryParameters(Struct):
    """The parameters of a history."""

    before: (
        Annotated[
            int,
            Meta(
                description="Entries with lower numbers: next_before of the previous page.",
                ge=1,
                le=999_999_999,
            ),
        ]
        | None
    ) = None


class ChangeHeaders(Struct):
    """The headers of a request that changes an alert."""

    if_match: Annotated[
        str,
        Meta(
            description="The ETag of the alert, or `*` for any version.",
            examples=["*"],
            pattern='^(\\*|"[0-9]{1,9}")$',
        ),
    ] = field(name="If-Match")
    x_auditflow_user: (
        Annotated[
            str,
            Meta(
                description="With the service token: the name of the person who acts, "
                "percent-encoded UTF-8.",
                examples=["alice"],
                pattern="^[!-~]{1,200}$",
            ),
        ]
        | None
    ) = field(name="X-AuditFlow-User", default=None)
