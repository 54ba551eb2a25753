"""Windows in this process' memory: for rule tests, back-tests, and to compare others with."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence

from audit_analysis.windows.hits import FINDERS, Member
from audit_analysis.windows.sketch import SketchWindow
from audit_analysis.windows.spec import (
    BucketSummary,
    Hit,
    Observation,
    ObservationResult,
    WindowSpec,
)
from auditflow.contract.finding import MAX_EVIDENCE


class _Window:
    """The events of one entity."""

    def __init__(self, spec: WindowSpec) -> None:
        self.spec = spec
        self.members: list[Member] = []
        self.timestamps: dict[tuple[str, str], int] = {}
        self.raws: dict[str, bytes] = {}
        self.hits: list[int] = []
        self.lost_until: int | None = None
        self.published: dict[int, str] = {}

    def observe(self, one: Observation) -> ObservationResult:
        name = (one.event_id, one.tag)
        timestamp_ms = self.timestamps.get(name)
        if timestamp_ms is None:
            if self.members and one.timestamp_ms < self.members[-1][0] - self.spec.lateness:
                return ObservationResult(late=True)
            timestamp_ms = one.timestamp_ms
            self.timestamps[name] = timestamp_ms
            if one.raw:
                self.raws[one.event_id] = one.raw
            insort(self.members, (timestamp_ms, *name))
            self._trim()
            if name not in self.timestamps:
                return ObservationResult(late=True)
        if one.approximate:
            self._lose(timestamp_ms)
        found = self._find_hits((timestamp_ms, *name))
        seen = (self._summary(bucket) for bucket in self.spec.buckets(timestamp_ms))
        return ObservationResult(
            summaries=tuple(
                summary
                for summary in seen
                if summary and self.published.get(summary.bucket) != summary.signature
            )
            if self.spec.reports
            else (),
            hits=tuple(self._at(found)) if self.spec.feeds else (),
        )

    def _trim(self) -> None:
        oldest = self.members[-1][0] - self.spec.retention
        drop = self._from(oldest)
        surplus = len(self.members) - self.spec.capacity
        if surplus > drop:
            drop = surplus
            self._lose(self.members[drop - 1][0])
        for _, event_id, tag in self.members[:drop]:
            del self.timestamps[event_id, tag]
            self.raws.pop(event_id, None)
        del self.members[:drop]
        del self.hits[: bisect_left(self.hits, oldest)]

    def _lose(self, timestamp_ms: int) -> None:
        self.lost_until = max(timestamp_ms, self.lost_until or timestamp_ms)

    def _find_hits(self, member: Member) -> list[int]:
        near = self.members[
            self._from(member[0] - self.spec.timespan + 1) : self._from(
                member[0] + self.spec.timespan
            )
        ]
        found = sorted(set(FINDERS[self.spec.kind](near, member, self.spec)))
        for end in found:
            place = bisect_left(self.hits, end)
            if place == len(self.hits) or self.hits[place] != end:
                self.hits.insert(place, end)
        return found

    def _at(self, hits: Sequence[int]) -> Iterator[Hit]:
        """The events that stand at hits, each once."""
        for timestamp_ms in hits:
            together = self.members[self._from(timestamp_ms) : self._from(timestamp_ms + 1)]
            doubtful = self._reaches_lost(timestamp_ms)
            for event_id in dict.fromkeys(name for _, name, _ in together):
                yield Hit(event_id, timestamp_ms, self.raws.get(event_id, b""), doubtful)

    def _reaches_lost(self, hit: int) -> bool:
        return self.lost_until is not None and hit - self.spec.timespan < self.lost_until

    def _summary(self, bucket: int) -> BucketSummary | None:
        first = bisect_left(self.hits, bucket * self.spec.dedup)
        behind = bisect_left(self.hits, (bucket + 1) * self.spec.dedup)
        if first == behind:
            return None
        opening, last_hit = self.hits[first] - self.spec.timespan, self.hits[behind - 1]
        stop = bisect_right(self.members, last_hit, key=lambda member: member[0])
        events = [
            (timestamp_ms, name)
            for timestamp_ms, name, _ in self.members[self._from(opening + 1) : stop]
        ]
        if not events:
            return None
        return BucketSummary(
            bucket=bucket,
            last_hit=last_hit,
            count=len(events),
            events=tuple(events[:MAX_EVIDENCE]),
            last_event=events[-1],
            first=self.raws.get(events[0][1]),
            last=self.raws.get(events[-1][1]),
            approximate=self._reaches_lost(self.hits[first]),
        )

    def _from(self, timestamp_ms: int) -> int:
        """The place of the first member that is not before a timestamp_ms."""
        return bisect_left(self.members, timestamp_ms, key=lambda member: member[0])


class MemoryWindows:
    """A ``WindowStore`` that forgets when the process ends."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window | SketchWindow] = {}

    def observe(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        """See ``WindowStore``."""
        return [self._window(one).observe(one) for one in observations]

    def mark_published(self, summaries: Sequence[tuple[str, WindowSpec, BucketSummary]]) -> None:
        """See ``WindowStore``."""
        for key, _, summary in summaries:
            self._windows[key].published[summary.bucket] = summary.signature

    def flush(self) -> None:
        """See ``WindowStore``. Nothing is put off."""

    def _window(self, one: Observation) -> _Window | SketchWindow:
        window = self._windows.get(one.key)
        if window is None:
            window = SketchWindow(one.spec) if one.spec.sketched else _Window(one.spec)
            self._windows[one.key] = window
        return window
