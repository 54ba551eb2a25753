"""Times on the command line: a duration before now, or a time with an offset."""

import datetime as dt
import re
from typing import Any, Final

import click
import msgspec

_UNITS: Final = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION: Final = re.compile(r"([0-9]{1,5})([mhdw])")


def read_time(text: str, now: dt.datetime) -> dt.datetime:
    """The time, in UTC.

    Raises:
        click.BadParameter: the text is no duration and no time with an offset.
    """
    duration = _DURATION.fullmatch(text)
    try:
        if duration is not None:
            return now - dt.timedelta(seconds=int(duration[1]) * _UNITS[duration[2]])
        found: Any = msgspec.convert(text, dt.datetime)
        if found.tzinfo is not None and found.year < 9000:
            return found.astimezone(dt.UTC)  # type: ignore[no-any-return]
    except (msgspec.ValidationError, OverflowError):
        pass
    raise click.BadParameter(f"{text!r} is no duration such as 90d and no time with an offset")
