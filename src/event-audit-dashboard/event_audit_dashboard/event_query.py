"""The filter of the page of events, to and from the query of the URL. Pure."""

import datetime as dt
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from event_audit_dashboard.localization.translation import N_, Texts

RANGES: Final = {
    "1h": dt.timedelta(hours=1),
    "24h": dt.timedelta(hours=24),
    "7d": dt.timedelta(days=7),
    "30d": dt.timedelta(days=30),
}
DEFAULT_RANGE: Final = "24h"
#: Filters of the API and their labels.
FIELDS: Final = Texts(
    {
        "user": N_("User"),
        "host": N_("Host"),
        "ip": N_("Address"),
        "event_type": N_("Event type"),
        "action_result": N_("Result"),
        "resource": N_("Resource"),
        "source": N_("Log source"),
        "severity": N_("Severity"),
    }
)
#: Fields of facets, and the filter that selects a value.
FACETS: Final = {
    "event_type": "event_type",
    "action_result": "action_result",
    "user": "user",
    "host": "host",
    "address": "ip",
    "source": "source",
}
MAX_TEXT: Final = 500


class EventQuery(Struct, frozen=True):
    """The filter: text, values by field, and a range or both ends of a period."""

    q: str = ""
    values: dict[str, str] = {}
    range: str = DEFAULT_RANGE
    since: str = ""
    until: str = ""
    cursor: str = ""

    def pairs(self) -> dict[str, str]:
        """The query parameters of the URL, without the page."""
        period = (
            {"since": self.since, "until": self.until}
            if self.since or self.until
            else {"range": self.range if self.range != DEFAULT_RANGE else ""}
        )
        found = {"q": self.q, **self.values, **period}
        return {name: value for name, value in found.items() if value}

    def for_api(self, now: dt.datetime) -> dict[str, str]:
        """The query parameters of the API, without the page."""
        found = {"q": self.q, **self.values}
        if self.since or self.until:
            found |= {"since": self.since, "until": self.until}
        else:
            found["since"] = (now - RANGES[self.range]).replace(microsecond=0).isoformat()
        return {name: value for name, value in found.items() if value}

    def with_(self, **values: str) -> dict[str, str]:
        """The query parameters with changed filters, from the first page."""
        pairs = {**self.pairs(), **values}
        if values.get("since"):
            pairs.pop("range", None)
        return {name: value for name, value in pairs.items() if value}


def parse(args: Mapping[str, str]) -> EventQuery:
    """Read the query of a URL. The API reports invalid values."""

    def text(name: str) -> str:
        return args.get(name, "").strip()[:MAX_TEXT]

    wanted = text("range")
    return EventQuery(
        q=text("q"),
        values={name: text(name) for name in FIELDS if text(name)},
        range=wanted if wanted in RANGES else DEFAULT_RANGE,
        since=text("since"),
        until=text("until"),
        cursor=text("cursor"),
    )
