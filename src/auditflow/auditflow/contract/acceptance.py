"""When an event was accepted: a header of the messages, from the ingest to the stored alert.

Ages are measured from it and not from the event's own time, which is its source's clock and may be
of last year.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

#: Milliseconds since 1970. A replay of dead letters drops it, so that the days that a message lay
#: there do not count as our slowness.
HEADER: Final = "x-auditflow-accepted-at"


def new_header() -> dict[str, int]:
    """The header of what is accepted now."""
    return {HEADER: time.time_ns() // 1_000_000}


def copied_header(headers: Mapping[str, Any] | None) -> dict[str, int]:
    """The header to pass on; empty where the message came past the ingest."""
    value = (headers or {}).get(HEADER)
    # pika reads a number of 64 bits as an int of its own kind, and a bool is an int too.
    return {HEADER: int(value)} if isinstance(value, int) and not isinstance(value, bool) else {}


def age_seconds(headers: Mapping[str, Any] | None) -> float | None:
    """Seconds since the acceptance, never below 0; None where it is not known."""
    moment = copied_header(headers).get(HEADER)
    return None if moment is None else max(0.0, time.time() - moment / 1000)
