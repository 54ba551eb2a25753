"""The definition of windows and of their results.

For one rule and one entity let S be the set of matching events, each with a time (ms) and a tag.
A time e of S is a *hit* if the events in (e - timespan, e]

    event_count       are at least ``threshold``;
    value_count       have at least ``threshold`` different tags (values of a field);
    temporal          have at least ``threshold`` different tags (rules), in any order;
    temporal_ordered  contain a sequence of the tags "1", "2", ... ``threshold`` whose times do not
                      decrease and whose last event is at e.

A hit belongs to the bucket e // dedup. The *summary* of a bucket with the first hit a and the last
hit z covers the events of S in (a - timespan, z].

All of this is a function of the set S alone, so the order of arrival cannot matter. A store of
windows receives one event at a time and returns the summaries that this event can have changed,
complete as far as the store knows S. Therefore the result for the last event that arrives is
correct, and earlier results merge into it (``auditflow.contract.finding.merge``): as S grows, hits
are only added, the first hit only moves earlier, the last hit only later, and counts only grow.

An event x can only change buckets with hits in [x, x + timespan). A store that keeps the events
after newest - (lateness + timespan + dedup) thus has everything that an event needs that is at most
``lateness`` behind the newest one.

A value_count whose threshold is above ``capacity`` is *sketched*: the values are not stored, but
estimated by HyperLogLogs (within about 1 %), one for each slice of time; SLICES slices are a
timespan. A slice is a hit, at its start, if it and the slices of a timespan before it have about
``threshold`` different tags. Of the events of a slice the first and the last are known. An estimate
too depends on the set alone and only grows with it. Summaries of sketched windows are always
approximate.

Windows may feed other windows (a correlation of correlations). The outer window counts the events
of the inner window whose times are hits, that is, the events that completed something. They too are
a function of the set S that only grows, so all of the above holds for the outer window. An inner
window reports a hit again whenever an event that belongs to it arrives again, because the worker
that received the first report may have failed before the outer window was updated.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, Literal, Protocol

import msgspec
from msgspec import Struct

#: Sigma's correlation types.
Kind = Literal["event_count", "value_count", "temporal", "temporal_ordered"]
#: Number of slices of a timespan in sketched windows.
SLICES: Final = 32
#: Maximum threshold of a sketched window.
MAX_SKETCHED: Final = 10_000_000


class WindowSpec(Struct, frozen=True, kw_only=True):
    """The parameters of a rule's windows. Times are in milliseconds.

    ``capacity`` is the maximum number of events of a window: above it the oldest events are
    removed, and summaries that would include them are approximate. ``feeds`` states that hits are
    reported, because other windows count them; without ``reports`` summaries are not reported.
    ``counts_hits`` states that the observations are hits of other windows.
    Windows with the same ``pool`` share a limit on their number; ``source`` is the log source whose
    budget for complete events they use.
    """

    threshold: int
    timespan: int
    dedup: int
    lateness: int
    kind: Kind = "event_count"
    capacity: int = 10_000
    feeds: bool = False
    reports: bool = True
    counts_hits: bool = False
    pool: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        maximum = MAX_SKETCHED if self.kind == "value_count" else self.capacity
        if not 1 <= self.threshold <= maximum:
            raise ValueError(f"threshold must be from 1 to {maximum}, not {self.threshold}")
        if self.sketched and self.feeds:
            raise ValueError(
                "a correlation that other correlations refer to cannot count more than "
                f"{self.capacity} values"
            )
        if self.timespan < 1 or self.dedup < 1 or self.lateness < 0:
            raise ValueError("timespan and dedup must be positive, lateness must not be negative")

    @property
    def sketched(self) -> bool:
        """Whether the number of different values is estimated."""
        return self.kind == "value_count" and self.threshold > self.capacity

    @property
    def slice_width(self) -> int:
        """The duration of a slice of a sketched window (ms)."""
        return -(-self.timespan // SLICES)

    @property
    def retention(self) -> int:
        """The maximum age of a kept event, relative to the newest event of the window (ms)."""
        return self.lateness + self.timespan + self.dedup

    def buckets(self, timestamp_ms: int) -> range:
        """The buckets that an event can belong to."""
        if self.sketched:
            first = timestamp_ms // self.slice_width * self.slice_width
            last = first + (SLICES - 1) * self.slice_width
            return range(first // self.dedup, last // self.dedup + 1)
        last = timestamp_ms + self.timespan - 1
        return range(timestamp_ms // self.dedup, last // self.dedup + 1)


def pool_of(rule_id: str, *, kind: Kind, threshold: int, timespan: int, dedup: int) -> str:
    """The pool of a rule's windows. It changes if the rule counts differently.

    ``threshold`` is the number of events or values that a finding needs. ``timespan`` and ``dedup``
    are in milliseconds.
    """
    name = msgspec.json.encode((rule_id, kind, threshold, timespan, dedup))
    return blake2b(name, digest_size=6).hexdigest()


class Observation(Struct, frozen=True, gc=False):
    """A matching event for the window ``key`` (of a rule and an entity).

    An event that matches two rules of a correlation has an observation for each of them. ``raw``
    are the bytes of the complete event; empty if only the id is known. ``reference`` identifies an
    event that the store has already. ``approximate`` states that similar events may be missing
    because of a memory limit of the window that feeds this one.
    """

    spec: WindowSpec
    key: str
    event_id: str
    timestamp_ms: int
    raw: bytes
    tag: str = ""
    approximate: bool = False
    reference: str = ""


class BucketSummary(Struct, frozen=True, kw_only=True, gc=False):
    """The hits of a window in one bucket. Times are in milliseconds.

    ``count`` is the number of different events. ``events`` are the times and ids of the first 100
    events, in order. If there are more, ``unnamed`` has the ids of all events that no published
    version can have, in any order and with some others: all versions together have all ids, unless
    the window is sketched. ``first`` and ``last`` are the bytes of the first and the last event;
    None if they are not stored. ``tags`` are different values of a value_count; a version has at
    least those of the newest events.
    """

    bucket: int
    last_hit: int
    count: int
    events: tuple[tuple[int, str], ...]
    last_event: tuple[int, str]
    first: bytes | None = None
    last: bytes | None = None
    approximate: bool = False
    tags: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()

    @property
    def signature(self) -> str:
        """A text that differs between versions of a summary."""
        first, last = self.events[0], self.last_event
        return f"{self.count}:{self.last_hit}:{first[0]}:{first[1]}:{last[0]}:{last[1]}"


class Hit(Struct, frozen=True, gc=False):
    """An event at a hit of a window that ``feeds`` others. Fields are as in ``Observation``."""

    event_id: str
    timestamp_ms: int
    raw: bytes = b""
    approximate: bool = False
    reference: str = ""


class ObservationResult(Struct, frozen=True, gc=False):
    """The result of one observation. A ``late`` event was too late and is not counted."""

    late: bool = False
    summaries: tuple[BucketSummary, ...] = ()
    hits: tuple[Hit, ...] = ()


class WindowStore(Protocol):
    """Stores windows between events."""

    def observe(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        """Add events to their windows. Returns one result for each, in the same order.

        A summary may come with a later event of the same window than the one that changed it. An
        event that the window has already is processed as if it were new, because the worker that
        added it may have failed before it published the result.

        Raises:
            auditflow.errors.Unavailable: the windows cannot be reached. Repeating the call is safe.
        """
        ...

    def mark_published(self, summaries: Sequence[tuple[str, WindowSpec, BucketSummary]]) -> None:
        """Do not report these summaries again unless they change. The broker has stored them."""
        ...

    def flush(self) -> None:
        """Make all published summaries known to other workers.

        Raises:
            auditflow.errors.Unavailable: the windows cannot be reached.
        """
        ...
