"""Filter and page of the alert list, to and from the query of the URL. Pure.

The URL contains the complete filter. Therefore any list can be sent to a colleague.
"""

import datetime as dt
from typing import Final

import msgspec
from msgspec import Struct
from werkzeug.datastructures import MultiDict

STATUSES: Final = ("open", "acknowledged", "resolved")
SEVERITIES: Final = ("CRITICAL", "WARNING", "INFO")
RANGES: Final = {
    "15m": dt.timedelta(minutes=15),
    "1h": dt.timedelta(hours=1),
    "24h": dt.timedelta(hours=24),
    "7d": dt.timedelta(days=7),
    "30d": dt.timedelta(days=30),
}
#: Free-text filters, with their labels.
TEXTS: Final = {
    "q": "Text",
    "actor": "User",
    "host": "Host",
    "ip": "Address",
    "resource": "Resource",
    "rule": "Rule",
    "environment": "Environment",
}
#: Maximum length of a free-text filter; longer values are shortened.
MAX_TEXT: Final = 200
MAX_CURSOR: Final = 512
#: Maximum number of pages to go back; then follows the first page.
MAX_TRAIL: Final = 20


class Query(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Filters (empty: no restriction) and a page of the list (no cursor: the newest page).

    ``since`` is fixed on later pages, so that all pages of "last hour" use the same range.
    ``trail`` are the cursors of the previous pages.
    """

    q: str = ""
    status: str = ""
    severity: str = ""
    actor: str = ""
    host: str = ""
    ip: str = ""
    resource: str = ""
    rule: str = ""
    environment: str = ""
    range: str = ""
    since: str = ""
    until: str = ""
    cursor: str = ""
    trail: tuple[str, ...] = ()

    @property
    def filters(self) -> dict[str, str]:
        """The filters that are set."""
        return {
            name: value
            for name, value in msgspec.structs.asdict(self).items()
            if value and name not in {"cursor", "trail"}
        }

    @property
    def is_filtered(self) -> bool:
        """Whether any filter is set."""
        return bool(self.filters)

    def pairs(self) -> list[tuple[str, str]]:
        """The query parameters of the URL of this page."""
        page = [("cursor", self.cursor)] if self.cursor else []
        return [*self.filters.items(), *page, *(("trail", cursor) for cursor in self.trail)]

    def first_page(self, **changes: str) -> "Query":
        """The newest page with changed filters."""
        range_change = {"since": ""} if self.range else {}
        return msgspec.structs.replace(
            self, **{"cursor": "", "trail": (), **range_change, **changes}
        )

    def older(self, next_cursor: str, *, now: dt.datetime) -> "Query":
        """The next page."""
        trail = (*self.trail, self.cursor) if self.cursor else ()
        return msgspec.structs.replace(
            self, cursor=next_cursor, trail=trail[-MAX_TRAIL:], since=self._since(now)
        )

    def newer(self) -> "Query":
        """The previous page."""
        if not self.trail:
            return self.first_page()
        return msgspec.structs.replace(self, cursor=self.trail[-1], trail=self.trail[:-1])

    def for_api(self, *, now: dt.datetime) -> dict[str, str]:
        """The query parameters of the API request."""
        parameters = {**self.filters, "since": self._since(now), "cursor": self.cursor}
        parameters.pop("range", None)
        return {name: value for name, value in parameters.items() if value}

    def _since(self, now: dt.datetime) -> str:
        if self.since or not self.range:
            return self.since
        return (now - RANGES[self.range]).replace(microsecond=0).isoformat()


def read(args: MultiDict[str, str]) -> Query:
    """Parse the query of a URL. Invalid values are removed."""
    return Query(
        **{name: _text(args.get(name, "")) for name in TEXTS},
        status=_choice(args.getlist("status"), STATUSES),
        severity=_choice(args.getlist("severity"), SEVERITIES),
        range=args.get("range", "") if args.get("range") in RANGES else "",
        since=_timestamp(args.get("since", "")),
        until=_timestamp(args.get("until", "")),
        cursor=_cursor(args.get("cursor", "")),
        trail=tuple(filter(None, map(_cursor, args.getlist("trail"))))[-MAX_TRAIL:],
    )


def is_canonical(args: MultiDict[str, str], query: Query) -> bool:
    """Whether the URL has the form that ``Query.pairs`` produces."""
    return list(args.items(multi=True)) == query.pairs()


def toggle(current: str, value: str) -> str:
    """The filter after a click on a value: the value, or no filter if it was already set."""
    return "" if current == value else value


def _text(value: str) -> str:
    # Users never search for control characters, and PostgreSQL cannot store NUL.
    return "".join(char for char in value if char.isprintable())[:MAX_TEXT].strip()


def _choice(given: list[str], known: tuple[str, ...]) -> str:
    """Known values, comma-separated; empty if all or none of them are selected."""
    selected = {item.strip().lower() for value in given for item in value.split(",")}
    chosen = [item for item in known if item.lower() in selected]
    return ",".join(chosen) if len(chosen) < len(known) else ""


def _timestamp(value: str) -> str:
    try:
        timestamp = dt.datetime.fromisoformat(value)
    except ValueError:
        return ""
    return timestamp.isoformat() if timestamp.tzinfo else ""


def _cursor(value: str) -> str:
    return value if value.isprintable() and len(value) <= MAX_CURSOR else ""
