"""What a window is.

For one rule and one entity let S be the set of matching events, each at a time (ms) and with a tag.
A time e of S is a *hit* when the events in (e - timespan, e]

    event_count       are at least ``threshold``;
    value_count       have at least ``threshold`` different tags (values of a field);
    temporal          have at least ``threshold`` different tags (rules), in any order;
    temporal_ordered  hold a chain of the tags "1", "2", ... ``threshold`` whose times do not fall,
                      and whose last is at e.

Hits belong to the bucket e // dedup, and a *summary* is what a bucket saw:

    first hit a, last hit z of the bucket; its events are those of S in (a - timespan, z].

All of this is a function of the set S alone, so the order of arrival cannot matter. A store of
windows is told one event at a time and answers with the summaries that this event can have changed,
complete as far as it knows S. The answer to the last event that arrives is therefore the truth, and
earlier answers merge into it (``auditflow.contract.finding.merge``), for as S grows hits are only
added, the first hit only moves earlier, the last only later, and counts only grow.

An event x can change only buckets with hits in [x, x + timespan). A store that keeps what is
younger than newest - (lateness + timespan + dedup) thus knows all that an event of up to
``lateness`` behind the newest needs.

A value_count whose threshold is above ``capacity`` is *sketched*: the values are not kept, but
estimated by HyperLogLogs (within 1 % or so), one for each slice of time; 32 are a timespan.
A slice is a hit, at its start, when it and the 31 before it hold about ``threshold`` different
tags; of its events the first and the last are known. An estimate too depends on the set alone and
only grows with it. What such a window sees is always called approximate.

Windows may be fed by windows (a correlation of correlations). What the outer one counts are then
the events of the inner one that stand at a hit: those that completed something. They too are a
function of the set S that only grows, so all of the above holds for the outer window as it is. An
inner window tells its hits anew whenever an event that has a part in them comes again, since
whoever was told first may have died before the outer window heard of it.
"""

from collections.abc import Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

#: Sigma's correlation types.
Kind = Literal["event_count", "value_count", "temporal", "temporal_ordered"]
#: Stands between an event's id and its tag. Neither can hold it: the contract refuses NUL.
SEPARATOR: Final = "\0"
#: Slices of a timespan, where values are estimated.
SLICES: Final = 32
#: The greatest threshold of a window whose values are estimated.
MOST_SKETCHED: Final = 10_000_000


class WindowSpec(Struct, frozen=True, kw_only=True):
    """The parameters of a rule's windows. Times in milliseconds.

    ``capacity`` bounds the events kept of one entity: above it the oldest go, and a summary that
    reaches back to them says that it is approximate. ``feeds`` says that hits are told, for other
    windows count them; without ``reports`` summaries are not.
    """

    threshold: int
    timespan: int
    dedup: int
    lateness: int
    kind: Kind = "event_count"
    capacity: int = 10_000
    feeds: bool = False
    reports: bool = True

    def __post_init__(self) -> None:
        most = MOST_SKETCHED if self.kind == "value_count" else self.capacity
        if not 1 <= self.threshold <= most:
            raise ValueError(f"threshold must be from 1 to {most}, not {self.threshold}")
        if self.sketched and self.feeds:
            raise ValueError(
                f"a correlation that others rest on cannot count more than {self.capacity} values"
            )
        if self.timespan < 1 or self.dedup < 1 or self.lateness < 0:
            raise ValueError("timespan and dedup must be positive, lateness not negative")

    @property
    def sketched(self) -> bool:
        """Whether there are more different values than can be kept, so that they are estimated."""
        return self.kind == "value_count" and self.threshold > self.capacity

    @property
    def slice_width(self) -> int:
        """How long a slice is (ms), where values are estimated."""
        return -(-self.timespan // SLICES)

    @property
    def retention(self) -> int:
        """How far behind the newest event of an entity others are kept."""
        return self.lateness + self.timespan + self.dedup

    def buckets(self, timestamp_ms: int) -> range:
        """The buckets that an event at ``timestamp_ms`` can have a part in."""
        if self.sketched:
            first = timestamp_ms // self.slice_width * self.slice_width
            last = first + (SLICES - 1) * self.slice_width
            return range(first // self.dedup, last // self.dedup + 1)
        return range(
            timestamp_ms // self.dedup, (timestamp_ms + self.timespan - 1) // self.dedup + 1
        )


class Observation(Struct, frozen=True, gc=False):
    """A matching event, seen by the window ``key`` (of rule and entity).

    An event that plays two parts (matches two rules of a correlation) is an observation for each.
    ``raw`` is empty where the event is known by name only; ``approximate`` says that there may have
    been more like it, which a bound on memory kept from this window.
    """

    spec: WindowSpec
    key: str
    event_id: str
    timestamp_ms: int
    raw: bytes
    tag: str = ""
    approximate: bool = False


class BucketSummary(Struct, frozen=True, kw_only=True, gc=False):
    """What a bucket saw. Times in milliseconds; ``events`` are the first hundred, in order.

    ``first`` and ``last`` are the bytes of the first and the last event, where still known.
    """

    bucket: int
    last_hit: int
    count: int
    events: tuple[tuple[int, str], ...]
    last_event: tuple[int, str]
    first: bytes | None = None
    last: bytes | None = None
    approximate: bool = False

    @property
    def signature(self) -> str:
        """Changes whenever the summary does."""
        first, last = self.events[0], self.last_event
        return f"{self.count}:{self.last_hit}:{first[0]}:{first[1]}:{last[0]}:{last[1]}"


class Hit(Struct, frozen=True, gc=False):
    """An event at a hit of a window that ``feeds`` others; ``raw`` as in Observation."""

    event_id: str
    timestamp_ms: int
    raw: bytes
    approximate: bool = False


class ObservationResult(Struct, frozen=True, gc=False):
    """The answer to one observation. ``late``: it came too late to be counted, and was not."""

    late: bool = False
    summaries: tuple[BucketSummary, ...] = ()
    hits: tuple[Hit, ...] = ()


class WindowStore(Protocol):
    """Keeps windows between events."""

    def observe(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        """Take events in; one result for each, in the same order.

        Sightings may come with a later event of the same window than those which changed them.

        An event that is already in is looked at again as if it were new, since whoever took it in
        may have died before it could publish what it saw.

        Raises:
            auditflow.errors.Unavailable: the windows cannot be reached; nothing is half done that
                doing it again would not set right.
        """
        ...

    def mark_published(self, summaries: Sequence[tuple[str, WindowSpec, BucketSummary]]) -> None:
        """These summaries are safe with the broker: do not report them again unless they change."""
        ...

    def flush(self) -> None:
        """What is published is to be known to all workers now, if it was put off.

        Raises:
            auditflow.errors.Unavailable: it is put off still.
        """
        ...
