"""Moments and spans in words. ``static/live.js`` says "ago" in the same words."""

import datetime as dt
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def ago(moment: dt.datetime, now: dt.datetime) -> str:
    """How long ago, in one unit: ``12 s ago``, ``in 5 min``; after a month the date."""
    seconds = int((now - moment).total_seconds())
    if seconds < -5:
        return f"in {_amount(-seconds)}"
    if seconds < 5:
        return "just now"
    return f"{_amount(seconds)} ago" if seconds < 30 * _DAY else f"{_utc(moment):%Y-%m-%d}"


def exact(moment: dt.datetime) -> str:
    """``2026-05-04 09:08:07 UTC``, with milliseconds where there are any."""
    utc = _utc(moment)
    fraction = f".{utc.microsecond // 1000:03d}" if utc.microsecond else ""
    return f"{utc:%Y-%m-%d %H:%M:%S}{fraction} UTC"


def clock(moment: dt.datetime, *, beside: dt.datetime | None = None) -> str:
    """``09:08:07``, with the day before it unless it is the day of ``beside``."""
    utc = _utc(moment)
    same_day = beside is not None and _utc(beside).date() == utc.date()
    return f"{utc:%H:%M:%S}" if same_day else f"{utc:%Y-%m-%d %H:%M:%S}"


def span(first: dt.datetime, last: dt.datetime) -> str:
    """How long something went on: ``4 s``, ``2 min 5 s``, ``3 d 4 h``."""
    seconds = max(0, int((last - first).total_seconds()))
    parts = [
        (seconds // _DAY, "d"),
        (seconds % _DAY // _HOUR, "h"),
        (seconds % _HOUR // _MINUTE, "min"),
        (seconds % _MINUTE, "s"),
    ]
    told = [f"{amount} {unit}" for amount, unit in parts if amount]
    return " ".join(told[:2]) or "under 1 s"


def machine(moment: dt.datetime) -> str:
    """For ``<time datetime>``."""
    return _utc(moment).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _amount(seconds: int) -> str:
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC)
