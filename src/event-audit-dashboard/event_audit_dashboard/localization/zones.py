"""The time zone in which a user sees times."""

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from flask import g, request

#: The time zone of the browser. A script sets the cookie; users without scripts see UTC.
BROWSER_COOKIE: Final = "auditflow-zone"
#: The time zone that the user has chosen on the page of settings.
CHOSEN_COOKIE: Final = "auditflow-chosen-zone"
NAMES: Final = frozenset(available_timezones())


def chosen() -> str | None:
    """The name of the time zone that the user has chosen, if any."""
    name = request.cookies.get(CHOSEN_COOKIE, "")
    return name if name in NAMES else None


def name() -> str:
    """The name of the time zone of this request."""
    found = chosen() or request.cookies.get(BROWSER_COOKIE, "")
    return found if found in NAMES else "UTC"


def current() -> dt.tzinfo:
    """The time zone of this request."""
    if "zone" not in g:
        g.zone = _zone(name())
    zone: dt.tzinfo = g.zone
    return zone


def _zone(name: str) -> dt.tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return dt.UTC
