"""Hosts that send events, and how long they are usually silent. Pure.

All times are times of acceptance, in milliseconds since 1970.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from audit_analysis.archive.table import ArchivedEvent

#: The type of the event that reports a silent host.
EVENT_TYPE: Final = "source_silent"
#: A host is silent if it sends nothing for this multiple of its longest usual time without events.
FACTOR: Final = 2.0
#: A host that has sent events for a shorter time is never reported: its habits are unknown.
LEARNING_MS: Final = 24 * 3_600_000
#: Within this time, each time without events is usual. It contains a weekend.
ESTABLISHED_MS: Final = 8 * LEARNING_MS
#: After this time, a longest time without events counts half.
_HALF_LIFE_MS: Final = 14 * LEARNING_MS
#: Longer names are not observed.
MAX_HOST: Final = 255


class SenderKey(Struct, frozen=True, order=True):
    """A log source of the archive and a host."""

    source: str
    host: str


class Activity(Struct, frozen=True):
    """The first and the last event of some events of a host."""

    first_ms: int
    last_ms: int


class Sender(Struct, frozen=True):
    """The stored state of a host. ``usual_ms``: the longest usual time without events (ms)."""

    first_ms: int
    last_ms: int
    usual_ms: int = 0

    def seen(self, activity: Activity, *, minimum_ms: int) -> "Sender":
        """The host after further events. Old events and repeated events change nothing."""
        if activity.last_ms <= self.last_ms:
            return self
        gap_ms = max(0, activity.first_ms - self.last_ms)
        if self.last_ms - self.first_ms >= ESTABLISHED_MS:
            # A long outage must not become usual.
            gap_ms = min(gap_ms, self.limit_ms(minimum_ms))
        elapsed_ms = activity.last_ms - self.last_ms
        faded_ms = int(self.usual_ms * 0.5 ** (elapsed_ms / _HALF_LIFE_MS))
        return Sender(self.first_ms, activity.last_ms, max(faded_ms, gap_ms))

    def limit_ms(self, minimum_ms: int) -> int:
        """The host is silent after this time without events."""
        return max(minimum_ms, int(FACTOR * self.usual_ms))

    def is_silent(self, now_ms: int, *, minimum_ms: int) -> bool:
        """Whether the host is silent for longer than usual."""
        return (
            self.last_ms - self.first_ms >= LEARNING_MS
            and now_ms - self.last_ms > self.limit_ms(minimum_ms)
        )


def activity_of(rows: Iterable[ArchivedEvent]) -> Mapping[SenderKey, Activity]:
    """The hosts of events. Refused records and reports about silent hosts are not counted."""
    found: dict[SenderKey, Activity] = {}
    for row in rows:
        host = row.host
        if not host or row.refused or row.event_type == EVENT_TYPE or len(host) > MAX_HOST:
            continue
        key = SenderKey(row.source, host)
        seen = found.get(key)
        if seen is None:
            found[key] = Activity(row.received_ms, row.received_ms)
        elif not seen.first_ms <= row.received_ms <= seen.last_ms:
            found[key] = Activity(
                min(seen.first_ms, row.received_ms), max(seen.last_ms, row.received_ms)
            )
    return found
