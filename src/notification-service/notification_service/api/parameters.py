"""The parameters of ``GET /alerts`` as the OpenAPI document tells them; ``query`` reads them."""

import datetime as dt
from typing import Annotated

from msgspec import Meta, Struct

from notification_service.query import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, MAX_SEARCH


class AlertParameters(Struct):
    """The parameters of ``GET /alerts``. None is required; several narrow the answer together."""

    status: Annotated[
        str,
        Meta(
            description="One or more of open, acknowledged, resolved, separated by commas.",
            examples=["open,acknowledged"],
            pattern="^(open|acknowledged|resolved)(,(open|acknowledged|resolved)){0,2}$",
        ),
    ] = "open,acknowledged,resolved"
    severity: Annotated[
        str,
        Meta(
            description="One or more of INFO, WARNING, CRITICAL, separated by commas.",
            examples=["CRITICAL"],
            pattern="^(INFO|WARNING|CRITICAL)(,(INFO|WARNING|CRITICAL)){0,2}$",
        ),
    ] = "INFO,WARNING,CRITICAL"
    rule: Annotated[str, Meta(description="The identifier of a rule.")] | None = None
    actor: Annotated[str, Meta(description="Who acted, exactly.", examples=["alice"])] | None = None
    host: Annotated[str, Meta(description="The host it happened on, exactly.")] | None = None
    ip: (
        Annotated[str, Meta(description="Where the actor came from, exactly; or a host name.")]
        | None
    ) = None
    resource: Annotated[str, Meta(description="What was acted upon, exactly.")] | None = None
    environment: Annotated[str, Meta(description="For example prod.")] | None = None
    since: (
        Annotated[
            dt.datetime,
            Meta(
                description="Only alerts last seen then or later.",
                examples=["2026-01-31T08:00:00Z"],
                tz=True,
            ),
        ]
        | None
    ) = None
    until: (
        Annotated[dt.datetime, Meta(description="Only alerts last seen then or before.", tz=True)]
        | None
    ) = None
    q: (
        Annotated[
            str,
            Meta(
                description="Text in title, description, actor, host or resource, in any case.",
                min_length=1,
                max_length=MAX_SEARCH,
            ),
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(description="Alerts on a page.", ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: (
        Annotated[
            str, Meta(description="The next_cursor of the page before. Not together with offset.")
        ]
        | None
    ) = None
    offset: Annotated[
        int,
        Meta(
            description="Alerts to pass over. Alerts that arrive meanwhile shift the pages: a "
            "cursor does not have that.",
            ge=0,
            le=MAX_OFFSET,
        ),
    ] = 0
