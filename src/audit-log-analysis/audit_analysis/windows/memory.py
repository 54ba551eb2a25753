"""Windows in the memory of this process: for rule tests, backtests, and as a reference in tests."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from audit_analysis.windows.hits import FIND_HITS, Member
from audit_analysis.windows.sketch import SketchWindow
from audit_analysis.windows.spec import (
    BucketSummary,
    Hit,
    Observation,
    ObservationResult,
    WindowSpec,
)
from auditflow.contract.finding import MAX_EVIDENCE

#: Maximum number of tags in a summary.
MAX_TAGS: Final = 1000


class WindowState(Struct, frozen=True, array_like=True):
    """The content of a window, so that another process can continue with it.

    ``slices`` has, for a sketched window, the number, the tags and the events of each slice.
    """

    spec: WindowSpec
    members: list[Member]
    raws: dict[str, bytes]
    hits: list[int]
    lost_until: int | None
    newest: int | None = None
    slices: list[tuple[int, list[str], list[tuple[int, str, bytes]]]] = []


class _Published(Struct, frozen=True):
    """A published summary: its signature, and the time range that it covers (ms)."""

    signature: str
    first_event: int
    last_hit: int


class _Window:
    """The events of one entity."""

    def __init__(self, spec: WindowSpec) -> None:
        self.spec = spec
        self.members: list[Member] = []
        self.timestamps: dict[tuple[str, str], int] = {}
        self.raws: dict[str, bytes] = {}
        self.hits: list[int] = []
        self.lost_until: int | None = None
        self.published: dict[int, _Published] = {}

    @classmethod
    def restore(cls, state: WindowState) -> "_Window":
        window = cls(state.spec)
        window.members = list(state.members)
        window.timestamps = {(event_id, tag): time for time, event_id, tag in state.members}
        window.raws, window.hits = dict(state.raws), list(state.hits)
        window.lost_until = state.lost_until
        return window

    def state(self) -> WindowState:
        return WindowState(self.spec, self.members, self.raws, self.hits, self.lost_until)

    def observe(self, observation: Observation) -> ObservationResult:
        name = (observation.event_id, observation.tag)
        timestamp_ms = self.timestamps.get(name)
        is_known = timestamp_ms is not None
        if timestamp_ms is None:
            if self.members and (
                observation.timestamp_ms < self.members[-1][0] - self.spec.lateness
            ):
                return ObservationResult(late=True)
            timestamp_ms = observation.timestamp_ms
            self.timestamps[name] = timestamp_ms
            if observation.raw:
                self.raws[observation.event_id] = observation.raw
            insort(self.members, (timestamp_ms, *name))
            self._trim()
            if name not in self.timestamps:
                return ObservationResult(late=True)
        if observation.approximate:
            self._record_loss(timestamp_ms)
        found = self._find_hits((timestamp_ms, *name))
        buckets = self.spec.buckets(timestamp_ms) if self.spec.reports else ()
        summaries = (self._summary(bucket, observation.event_id) for bucket in buckets)
        return ObservationResult(
            summaries=tuple(
                summary for summary in summaries if summary and self._is_due(summary, is_known)
            ),
            hits=tuple(self._events_at(found)) if self.spec.feeds else (),
        )

    def _trim(self) -> None:
        oldest = self.members[-1][0] - self.spec.retention
        dropped = self._position(oldest)
        surplus = len(self.members) - self.spec.capacity
        if surplus > dropped:
            dropped = surplus
            self._record_loss(self.members[dropped - 1][0])
        for _, event_id, tag in self.members[:dropped]:
            del self.timestamps[event_id, tag]
            self.raws.pop(event_id, None)
        del self.members[:dropped]
        del self.hits[: bisect_left(self.hits, oldest)]

    def _record_loss(self, timestamp_ms: int) -> None:
        self.lost_until = max(timestamp_ms, self.lost_until or timestamp_ms)

    def _find_hits(self, member: Member) -> list[int]:
        near = self.members[
            self._position(member[0] - self.spec.timespan + 1) : self._position(
                member[0] + self.spec.timespan
            )
        ]
        found = sorted(set(FIND_HITS[self.spec.kind](near, member, self.spec)))
        for hit in found:
            position = bisect_left(self.hits, hit)
            if position == len(self.hits) or self.hits[position] != hit:
                self.hits.insert(position, hit)
        return found

    def _events_at(self, hits: Sequence[int]) -> Iterator[Hit]:
        """The events whose times are hits, each once."""
        for hit in hits:
            members = self.members[self._position(hit) : self._position(hit + 1)]
            approximate = self._reaches_loss(hit)
            for event_id in dict.fromkeys(event_id for _, event_id, _ in members):
                yield Hit(event_id, hit, self.raws.get(event_id, b""), approximate)

    def _reaches_loss(self, hit: int) -> bool:
        return self.lost_until is not None and hit - self.spec.timespan < self.lost_until

    def mark_published(self, summary: BucketSummary) -> None:
        self.published[summary.bucket] = _Published(
            summary.signature, summary.events[0][0], summary.last_hit
        )

    def _is_due(self, summary: BucketSummary, is_known: bool) -> bool:
        # The worker that added a known event may have failed before it listed the event.
        published = self.published.get(summary.bucket)
        return (
            published is None
            or published.signature != summary.signature
            or (is_known and summary.count > MAX_EVIDENCE)
        )

    def _summary(self, bucket: int, observed_id: str) -> BucketSummary | None:
        first = bisect_left(self.hits, bucket * self.spec.dedup)
        end = bisect_left(self.hits, (bucket + 1) * self.spec.dedup)
        if first == end:
            return None
        opening, last_hit = self.hits[first] - self.spec.timespan, self.hits[end - 1]
        stop = bisect_right(self.members, last_hit, key=lambda member: member[0])
        members = self.members[self._position(opening + 1) : stop]
        if not members:
            return None
        # An event may have several tags. Its members are next to each other.
        events = list(dict.fromkeys((time, event_id) for time, event_id, _ in members))
        tags = dict.fromkeys(tag for _, _, tag in members)
        return BucketSummary(
            bucket=bucket,
            last_hit=last_hit,
            count=len(events),
            events=tuple(events[:MAX_EVIDENCE]),
            last_event=events[-1],
            first=self.raws.get(events[0][1]),
            last=self.raws.get(events[-1][1]),
            approximate=self._reaches_loss(self.hits[first]),
            tags=tuple(tags)[:MAX_TAGS] if self.spec.kind == "value_count" else (),
            unnamed=self._unnamed(bucket, events, observed_id),
        )

    def _unnamed(
        self, bucket: int, events: Sequence[tuple[int, str]], observed_id: str
    ) -> tuple[str, ...]:
        """The ids that a summary must list in addition to the first events: see large.lua."""
        if len(events) <= MAX_EVIDENCE:
            return ()
        published = self.published.get(bucket)
        return tuple(
            event_id
            for timestamp_ms, event_id in events
            if published is None
            or not published.first_event < timestamp_ms <= published.last_hit
            or event_id == observed_id
        )

    def _position(self, timestamp_ms: int) -> int:
        """The position of the first member that is not before a time."""
        return bisect_left(self.members, timestamp_ms, key=lambda member: member[0])


class MemoryWindows:
    """A ``WindowStore`` in the memory of this process."""

    def __init__(self, states: Iterable[tuple[str, WindowState]] = ()) -> None:
        self._windows: dict[str, _Window | SketchWindow] = {
            key: _restore_sketch(state) if state.spec.sketched else _Window.restore(state)
            for key, state in states
        }

    def observe(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        """See ``WindowStore``."""
        return [self._window(observation).observe(observation) for observation in observations]

    def mark_published(self, summaries: Sequence[tuple[str, WindowSpec, BucketSummary]]) -> None:
        """See ``WindowStore``."""
        for key, _, summary in summaries:
            if (window := self._windows.get(key)) is not None:
                window.mark_published(summary)

    def flush(self) -> None:
        """See ``WindowStore``. There is nothing to do."""

    def state(self) -> list[tuple[str, WindowState]]:
        """The content of all windows, with their keys. Published summaries are not included."""
        return [
            (key, _sketch_state(window) if isinstance(window, SketchWindow) else window.state())
            for key, window in self._windows.items()
        ]

    def remove(self, keys: Iterable[str]) -> None:
        """Remove windows, with all their events."""
        for key in keys:
            self._windows.pop(key, None)

    def _window(self, observation: Observation) -> _Window | SketchWindow:
        window = self._windows.get(observation.key)
        if window is None:
            spec = observation.spec
            window = SketchWindow(spec) if spec.sketched else _Window(spec)
            self._windows[observation.key] = window
        return window


def _sketch_state(window: SketchWindow) -> WindowState:
    slices = [
        (
            number,
            sorted(tags),
            [(*key, raw) for key, raw in window.events.get(number, {}).items()],
        )
        for number, tags in window.tags.items()
    ]
    return WindowState(window.spec, [], {}, sorted(window.hits), None, window.newest, slices)


def _restore_sketch(state: WindowState) -> SketchWindow:
    window = SketchWindow(state.spec)
    window.newest, window.hits = state.newest, set(state.hits)
    for number, tags, events in state.slices:
        window.tags[number] = set(tags)
        window.events[number] = {(time, event_id): raw for time, event_id, raw in events}
    return window
