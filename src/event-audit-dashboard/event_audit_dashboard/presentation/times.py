"""Formats timestamps and durations in the current language, like ``static/ago.js``."""

import datetime as dt
import math
from functools import lru_cache
from typing import Final

from event_audit_dashboard.localization.translation import (
    Language,
    current,
    gettext,
    ngettext,
    using,
)

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def ago(timestamp: dt.datetime, now: dt.datetime) -> str:
    """Relative time in one unit: ``12 s ago``, ``in 5 min``; the date after 30 days."""
    seconds = int((now - timestamp).total_seconds())
    return _ago(seconds, current()) if seconds < 30 * _DAY else date(_utc(timestamp))


def change_of_ago(timestamp: dt.datetime, now: dt.datetime) -> dt.datetime:
    """The time at which ``ago`` of a timestamp may change next."""
    seconds = math.floor((now - timestamp).total_seconds())
    if seconds < -5:  # rare: the clock of a source is wrong
        return now + dt.timedelta.resolution
    if seconds < 5:
        change = 5
    else:
        unit = next((size for size in (_DAY, _HOUR, _MINUTE) if seconds >= size), 1)
        change = (seconds // unit + 1) * unit
    return timestamp + dt.timedelta(seconds=change)


@lru_cache(8192)
def _ago(seconds: int, language: Language) -> str:
    with using(language):
        if seconds < -5:
            return gettext("in %(time)s", time=_amount(-seconds))
        if seconds < 5:
            return gettext("just now")
        return gettext("%(time)s ago", time=_amount(seconds))


def date(day: dt.date) -> str:
    """``2026-05-04``, or as the language writes it."""
    return day.strftime(current().date)


def exact(timestamp: dt.datetime) -> str:
    """``2026-05-04 09:08:07 UTC``, with milliseconds if they are not zero."""
    utc = _utc(timestamp)
    fraction = f"{current().point}{utc.microsecond // 1000:03d}" if utc.microsecond else ""
    return f"{date(utc)} {utc:%H:%M:%S}{fraction} UTC"


def local(timestamp: dt.datetime, zone: dt.tzinfo) -> str:
    """``2026-05-04 11:08:07`` in a time zone, with its abbreviation."""
    there = timestamp.astimezone(zone)
    return f"{date(there)} {there:%H:%M:%S %Z}"


def local_minutes(timestamp: dt.datetime, zone: dt.tzinfo) -> str:
    """``2026-05-04 11:08`` in a time zone, for labels with little space."""
    there = timestamp.astimezone(zone)
    return f"{date(there)} {there:%H:%M}"


def local_clock(timestamp: dt.datetime, zone: dt.tzinfo) -> str:
    """``11:08:07`` in a time zone."""
    return f"{timestamp.astimezone(zone):%H:%M:%S}"


def span(first: dt.datetime, last: dt.datetime) -> str:
    """Duration in at most two units: ``4 s``, ``2 min 5 s``, ``3 d 4 h``."""
    seconds = max(0, int((last - first).total_seconds()))
    parts = [
        (seconds // _DAY, gettext("d")),
        (seconds % _DAY // _HOUR, gettext("h")),
        (seconds % _HOUR // _MINUTE, gettext("min")),
        (seconds % _MINUTE, gettext("s")),
    ]
    units = [f"{amount} {unit}" for amount, unit in parts if amount]
    return " ".join(units[:2]) or gettext("under 1 s")


def wait(seconds: int) -> str:
    """A time to wait: ``45 seconds``, ``3 minutes``."""
    if seconds < 90:
        return ngettext("%(count)s second", "%(count)s seconds", seconds)
    return ngettext("%(count)s minute", "%(count)s minutes", math.ceil(seconds / 60))


def machine(timestamp: dt.datetime) -> str:
    """RFC 3339 in UTC, for ``<time datetime>``."""
    return _utc(timestamp).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _amount(seconds: int) -> str:
    for size, unit in ((_DAY, gettext("d")), (_HOUR, gettext("h")), (_MINUTE, gettext("min"))):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} {gettext('s')}"


def _utc(timestamp: dt.datetime) -> dt.datetime:
    return timestamp.astimezone(dt.UTC)
