"""What a list shows, as its URL says it: filters and place. Pure.

The URL is the only home of a filter, so any list can be sent to a colleague.
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
#: Filters of free text, with what people call them.
TEXTS: Final = {
    "q": "Text",
    "actor": "User",
    "host": "Host",
    "ip": "Address",
    "resource": "Resource",
    "rule": "Rule",
    "environment": "Environment",
}
#: What a filter of free text may hold; longer values are cut.
MAX_TEXT: Final = 200
MAX_CURSOR: Final = 512
#: How many pages one can go back; then comes the first.
MAX_TRAIL: Final = 20


class Query(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Filters (empty: anything) and a place in the list (no cursor: its newest page).

    ``since`` is fixed when one turns pages, so that the pages of "last hour" belong together.
    ``trail`` are the cursors of the pages before this one.
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
        """Whether anything is left out."""
        return bool(self.filters)

    def pairs(self) -> list[tuple[str, str]]:
        """The query of the URL that shows this."""
        place = [("cursor", self.cursor)] if self.cursor else []
        return [*self.filters.items(), *place, *(("trail", one) for one in self.trail)]

    def first_page(self, **changes: str) -> "Query":
        """The newest page, with other filters."""
        moving = {"since": ""} if self.range else {}
        return msgspec.structs.replace(self, **{"cursor": "", "trail": (), **moving, **changes})

    def older(self, next_cursor: str, *, now: dt.datetime) -> "Query":
        """The page after this one."""
        trail = (*self.trail, self.cursor) if self.cursor else ()
        return msgspec.structs.replace(
            self, cursor=next_cursor, trail=trail[-MAX_TRAIL:], since=self._since(now)
        )

    def newer(self) -> "Query":
        """The page before this one."""
        if not self.trail:
            return self.first_page()
        return msgspec.structs.replace(self, cursor=self.trail[-1], trail=self.trail[:-1])

    def for_api(self, *, now: dt.datetime) -> dict[str, str]:
        """The same, as the notification service wants it."""
        asked = {**self.filters, "since": self._since(now), "cursor": self.cursor}
        asked.pop("range", None)
        return {name: value for name, value in asked.items() if value}

    def _since(self, now: dt.datetime) -> str:
        if self.since or not self.range:
            return self.since
        return (now - RANGES[self.range]).replace(microsecond=0).isoformat()


def read(args: MultiDict[str, str]) -> Query:
    """What a URL's query asks for. What makes no sense is left out."""
    return Query(
        **{name: _text(args.get(name, "")) for name in TEXTS},
        status=_choice(args.getlist("status"), STATUSES),
        severity=_choice(args.getlist("severity"), SEVERITIES),
        range=args.get("range", "") if args.get("range") in RANGES else "",
        since=_moment(args.get("since", "")),
        until=_moment(args.get("until", "")),
        cursor=_cursor(args.get("cursor", "")),
        trail=tuple(filter(None, map(_cursor, args.getlist("trail"))))[-MAX_TRAIL:],
    )


def is_canonical(args: MultiDict[str, str], query: Query) -> bool:
    """Whether the URL says it in the one way that we write it."""
    return list(args.items(multi=True)) == query.pairs()


def toggle(current: str, value: str) -> str:
    """The choice after a click on one value: only that one, or any if it was chosen already."""
    return "" if current == value else value


def _text(value: str) -> str:
    # Control characters are never part of what people look for, and no database finds NUL.
    return "".join(one for one in value if one.isprintable())[:MAX_TEXT].strip()


def _choice(given: list[str], known: tuple[str, ...]) -> str:
    """A comma list of known values in their order; empty when it would be all or none of them."""
    wanted = {one.strip().lower() for value in given for one in value.split(",")}
    chosen = [one for one in known if one.lower() in wanted]
    return ",".join(chosen) if len(chosen) < len(known) else ""


def _moment(value: str) -> str:
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        return ""
    return moment.isoformat() if moment.tzinfo else ""


def _cursor(value: str) -> str:
    return value if value.isprintable() and len(value) <= MAX_CURSOR else ""
