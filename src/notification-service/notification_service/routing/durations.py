"""Durations as Alertmanager writes them: ``30s``, ``5m``, ``1h30m``, ``7d``."""

import datetime as dt
import re
from typing import Final

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_FORM: Final = re.compile(
    r"(?:(\d{1,6})w)?(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?"
)
#: The longest duration that the service accepts.
LONGEST: Final = dt.timedelta(days=366)


def parse(text: str) -> dt.timedelta:
    """The duration that a text states.

    Raises:
        ValueError: the text is not a duration, or it is longer than a year.
    """
    found = _FORM.fullmatch(text)
    if not found or not text:
        raise ValueError(f"{text[:40]!r} is not a duration; write for example 30s, 5m or 1h30m")
    seconds = sum(
        int(number) * size
        for number, size in zip(found.groups(), _UNITS.values(), strict=True)
        if number
    )
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text} is longer than {LONGEST.days} days")
    return dt.timedelta(seconds=seconds)


def write(duration: dt.timedelta) -> str:
    """The shortest text for a duration of whole seconds."""
    rest = int(duration.total_seconds())
    parts = []
    for unit, size in _UNITS.items():
        if unit == "w":
            continue  # 7d is easier to read than 1w
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"
