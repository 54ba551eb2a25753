"""The time when an event was accepted: a header of messages, from the ingest to the stored alert.

Ages are measured from this time. The event's own timestamp comes from the clock of its source, and
may be of last year.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

#: The name of the header. Its value is in milliseconds since 1970. A replay of dead letters drops
#: the header, so that the time in the dead-letter queue does not count as latency.
HEADER: Final = "x-auditflow-accepted-at"
#: Later values are invalid: the year 2100. The archive computes calendar hours from values.
_MAX_VALUE: Final = 4_102_444_800_000


def new_header() -> dict[str, int]:
    """The header of an event that is accepted now."""
    return {HEADER: time.time_ns() // 1_000_000}


def copied_header(headers: Mapping[str, Any] | None) -> dict[str, int]:
    """The header to copy to the next message; empty if it is missing or invalid."""
    value = (headers or {}).get(HEADER)
    # pika decodes 64-bit integers as a subclass of int, and doubles as integers of any size.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_VALUE:
        return {HEADER: int(value)}
    return {}


def age_seconds(headers: Mapping[str, Any] | None) -> float | None:
    """Seconds since the acceptance, at least 0; None if it is unknown."""
    timestamp_ms = copied_header(headers).get(HEADER)
    return None if timestamp_ms is None else max(0.0, time.time() - timestamp_ms / 1000)
