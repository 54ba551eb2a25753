"""Formats timestamps and durations. ``static/ago.js`` uses the same texts."""

import datetime as dt
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def ago(timestamp: dt.datetime, now: dt.datetime) -> str:
    """Relative time in one unit: ``12 s ago``, ``in 5 min``; the date after 30 days."""
    seconds = int((now - timestamp).total_seconds())
    if seconds < -5:
        return f"in {_amount(-seconds)}"
    if seconds < 5:
        return "just now"
    return f"{_amount(seconds)} ago" if seconds < 30 * _DAY else f"{_utc(timestamp):%Y-%m-%d}"


def exact(timestamp: dt.datetime) -> str:
    """``2026-05-04 09:08:07 UTC``, with milliseconds if they are not zero."""
    utc = _utc(timestamp)
    fraction = f".{utc.microsecond // 1000:03d}" if utc.microsecond else ""
    return f"{utc:%Y-%m-%d %H:%M:%S}{fraction} UTC"


def local(timestamp: dt.datetime, zone: dt.tzinfo) -> str:
    """``2026-05-04 11:08:07`` in a time zone, with its abbreviation."""
    return f"{timestamp.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def local_clock(timestamp: dt.datetime, zone: dt.tzinfo) -> str:
    """``11:08:07`` in a time zone."""
    return f"{timestamp.astimezone(zone):%H:%M:%S}"


def span(first: dt.datetime, last: dt.datetime) -> str:
    """Duration in at most two units: ``4 s``, ``2 min 5 s``, ``3 d 4 h``."""
    seconds = max(0, int((last - first).total_seconds()))
    parts = [
        (seconds // _DAY, "d"),
        (seconds % _DAY // _HOUR, "h"),
        (seconds % _HOUR // _MINUTE, "min"),
        (seconds % _MINUTE, "s"),
    ]
    units = [f"{amount} {unit}" for amount, unit in parts if amount]
    return " ".join(units[:2]) or "under 1 s"


def machine(timestamp: dt.datetime) -> str:
    """RFC 3339 in UTC, for ``<time datetime>``."""
    return _utc(timestamp).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _amount(seconds: int) -> str:
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _utc(timestamp: dt.datetime) -> dt.datetime:
    return timestamp.astimezone(dt.UTC)
