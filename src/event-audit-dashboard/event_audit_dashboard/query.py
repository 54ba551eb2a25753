"""Filter, order and page of the alert list, to and from the query of the URL. Pure.

The URL contains the complete filter. Therefore any list can be sent to a colleague. The names of
the parameters are those of the API, plus ``range`` and ``trail``.
"""

import datetime as dt
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct
from werkzeug.datastructures import MultiDict

from auditflow.contract.alert import Status, Verdict
from auditflow.contract.event import Severity
from auditflow.contract.level import Level
from event_audit_dashboard.localization.translation import gettext

RANGES: Final = {
    "15m": dt.timedelta(minutes=15),
    "1h": dt.timedelta(hours=1),
    "24h": dt.timedelta(hours=24),
    "7d": dt.timedelta(days=7),
    "30d": dt.timedelta(days=30),
}
#: Values of ``sort``. The first is the default.
SORTS: Final = ("activity", "opened", "severity", "count", "risk")
#: Filters with a fixed set of values. Several values are separated by commas.
CHOICES: Final = {
    "status": tuple(str(status) for status in Status),
    "level": tuple(str(level) for level in reversed(Level)),
    "severity": tuple(str(severity) for severity in Severity),
    "verdict": tuple(str(verdict) for verdict in Verdict),
}
FLAGS: Final = ("active_again", "snoozed")
#: Filters with free text.
TEXTS: Final = (
    "q", "actor", "host", "ip", "resource", "rule", "technique", "environment", "assignee",
)  # fmt: skip
#: Value of ``assignee`` for alerts that nobody works on. The API expects an empty text.
UNASSIGNED: Final = "nobody"
#: Maximum length of a free-text filter, in characters.
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
    level: str = ""
    severity: str = ""
    verdict: str = ""
    assignee: str = ""
    actor: str = ""
    host: str = ""
    ip: str = ""
    resource: str = ""
    rule: str = ""
    technique: str = ""
    environment: str = ""
    active_again: str = ""
    snoozed: str = ""
    range: str = ""
    since: str = ""
    until: str = ""
    sort: str = ""
    cursor: str = ""
    trail: tuple[str, ...] = ()

    @property
    def filters(self) -> dict[str, str]:
        """The filters that are set, without order and page."""
        return {
            name: value
            for name, value in msgspec.structs.asdict(self).items()
            if value and name not in {"cursor", "trail", "sort"}
        }

    @property
    def chips(self) -> dict[str, str]:
        """The filters to show. ``since`` is hidden if it follows from ``range``."""
        hidden = {"since"} if self.range else set()
        return {name: value for name, value in self.filters.items() if name not in hidden}

    @property
    def is_filtered(self) -> bool:
        """Whether any filter is set."""
        return bool(self.filters)

    def pairs(self) -> list[tuple[str, str]]:
        """The query parameters of the URL of this page."""
        sort = [("sort", self.sort)] if self.sort else []
        page = [("cursor", self.cursor)] if self.cursor else []
        return [*self.filters.items(), *sort, *page, *(("trail", c) for c in self.trail)]

    def first_page(self, **changes: str) -> "Query":
        """The newest page with changed filters."""
        range_change = {"since": ""} if self.range else {}
        return msgspec.structs.replace(
            self, **{"cursor": "", "trail": (), **range_change, **changes}
        )

    def toggled(self, name: str, value: str) -> "Query":
        """The newest page after a click on a facet value: it is added or removed."""
        if name not in CHOICES:
            return self.first_page(**{name: "" if getattr(self, name) == value else value})
        selected = set(filter(None, getattr(self, name).split(","))) ^ {value}
        values = [item for item in CHOICES[name] if item in selected]
        return self.first_page(**{name: ",".join(values)})

    def selects(self, name: str, value: str) -> bool:
        """Whether a facet value is part of the filter."""
        return value in getattr(self, name).split(",") if name in CHOICES else (
            getattr(self, name) == value
        )  # fmt: skip

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
        """The query parameters of the API request for this page."""
        page = {"sort": self.sort, "cursor": self.cursor}
        return {
            **self.api_filter(now=now),
            **{name: value for name, value in page.items() if value},
        }

    def api_filter(self, *, now: dt.datetime) -> dict[str, str]:
        """The filter as the API expects it, without order and page."""
        parameters = {**self.filters, "since": self._since(now)}
        parameters.pop("range", None)
        parameters = {name: value for name, value in parameters.items() if value}
        if parameters.get("assignee") == UNASSIGNED:
            parameters["assignee"] = ""
        return parameters

    def _since(self, now: dt.datetime) -> str:
        if self.since or not self.range:
            return self.since
        return (now - RANGES[self.range]).replace(microsecond=0).isoformat()


#: The alerts that need work: the start page.
UNRESOLVED: Final = Query(status="open,acknowledged")


class Problem(Struct, frozen=True):
    """An invalid parameter of the URL, with the reason in words."""

    name: str
    value: str
    reason: str


class Parsed(Struct, frozen=True):
    """The valid part of a URL's query, and every invalid parameter."""

    query: Query
    problems: tuple[Problem, ...] = ()


def parse(args: MultiDict[str, str]) -> Parsed:
    """Parse the query of a URL. Parameters without a value are ignored."""
    values: dict[str, str] = {}
    trail: list[str] = []
    problems: list[Problem] = []
    for name in args:
        given = [value.strip() for value in args.getlist(name) if value.strip()]
        if not given:
            continue
        try:
            if name == "trail":
                trail = [_cursor(value) for value in given]
            elif name in CHOICES:
                values[name] = _choice(CHOICES[name], given)
            elif name in _READERS:
                if len(given) > 1:
                    raise ValueError(gettext("is given more than once"))  # noqa: TRY301
                values[name] = _READERS[name](given[0])
            else:
                raise ValueError(gettext("is not a known filter"))  # noqa: TRY301
        except ValueError as error:
            problems.append(Problem(name[:64], given[0][:MAX_TEXT], str(error)))
    return Parsed(Query(**values, trail=tuple(trail[-MAX_TRAIL:])), tuple(problems))


def is_canonical(args: MultiDict[str, str], query: Query) -> bool:
    """Whether the URL has the form that ``Query.pairs`` produces."""
    return list(args.items(multi=True)) == query.pairs()


def filterable(value: str | None) -> bool:
    """Whether a value of an alert is a valid text filter."""
    return bool(value) and len(value or "") <= MAX_TEXT and _printable(value or "") == value


def _printable(value: str) -> str:
    return "".join(char for char in value if char.isprintable()).strip()


def _text(value: str) -> str:
    if len(value) > MAX_TEXT:
        raise ValueError(gettext("is longer than %(count)s characters", count=MAX_TEXT))
    if _printable(value) != value:
        raise ValueError(gettext("contains characters that cannot be displayed"))
    return value


def _choice(known: tuple[str, ...], given: list[str]) -> str:
    """Known values, comma-separated, in their order; empty if all of them are selected."""
    by_name = {item.lower(): item for item in known}
    selected = set()
    for value in (part.strip() for text in given for part in text.split(",")):
        if value.lower() not in by_name:
            raise ValueError(gettext("must be one or more of %(values)s", values=", ".join(known)))
        selected.add(by_name[value.lower()])
    return ",".join(item for item in known if item in selected) if selected != {*known} else ""


def _member(known: tuple[str, ...]) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in known:
            raise ValueError(gettext("must be one of %(values)s", values=", ".join(known)))
        return value

    return read


def _sort(value: str) -> str:
    value = _member(SORTS)(value)
    return "" if value == SORTS[0] else value


def _timestamp(value: str) -> str:
    message = gettext("must be a time with an offset, such as 2026-01-31T08:00:00Z")
    try:
        timestamp = dt.datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(message) from None
    if timestamp.tzinfo is None:
        raise ValueError(message)
    return timestamp.isoformat()


def _cursor(value: str) -> str:
    if not value.isprintable() or len(value) > MAX_CURSOR:
        raise ValueError(gettext("is not a page of this list; start again from the first page"))
    return value


_READERS: Final[dict[str, Callable[[str], str]]] = {
    **dict.fromkeys(TEXTS, _text),
    **dict.fromkeys(FLAGS, _member(("true", "false"))),
    "range": _member(tuple(RANGES)),
    "since": _timestamp,
    "until": _timestamp,
    "sort": _sort,
    "cursor": _cursor,
}
