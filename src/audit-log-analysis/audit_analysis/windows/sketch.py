"""Windows with estimated values in the memory of this process; see spec.py.

The slices are the same as in Redis. Here the values of a slice are stored, not estimated.
"""

from collections.abc import Iterator

from audit_analysis.windows.spec import (
    SLICES,
    BucketSummary,
    Observation,
    ObservationResult,
    WindowSpec,
)
from auditflow.contract.finding import MAX_EVIDENCE


class SketchWindow:
    """The slices of one entity."""

    def __init__(self, spec: WindowSpec) -> None:
        self.spec = spec
        self.newest: int | None = None
        self.tags: dict[int, set[str]] = {}
        self.events: dict[int, dict[tuple[int, str], bytes]] = {}
        self.hits: set[int] = set()
        self.published: dict[int, str] = {}

    def observe(self, observation: Observation) -> ObservationResult:
        """Add an event."""
        spec, timestamp_ms = self.spec, observation.timestamp_ms
        self.newest = timestamp_ms if self.newest is None else self.newest
        if timestamp_ms < self.newest - spec.lateness:
            return ObservationResult(late=True)
        self.newest = max(timestamp_ms, self.newest)
        slice_ = timestamp_ms // spec.slice_width
        self.tags.setdefault(slice_, set()).add(observation.tag)
        self.events.setdefault(slice_, {}).setdefault(
            (timestamp_ms, observation.event_id), observation.raw
        )
        for end in range(slice_, slice_ + SLICES):
            if end in self.tags and end not in self.hits:
                near = [self.tags[each] for each in self._existing(end - SLICES + 1, end)]
                if len(set().union(*near)) >= spec.threshold:
                    self.hits.add(end)
        summaries = (self._summary(bucket) for bucket in spec.buckets(timestamp_ms))
        return ObservationResult(
            summaries=tuple(
                summary
                for summary in summaries
                if summary and self.published.get(summary.bucket) != summary.signature
            )
            if spec.reports
            else ()
        )

    def mark_published(self, summary: BucketSummary) -> None:
        """Do not report this summary again unless it changes."""
        self.published[summary.bucket] = summary.signature

    def _existing(self, first: int, last: int) -> Iterator[int]:
        return (number for number in range(first, last + 1) if number in self.tags)

    def _summary(self, bucket: int) -> BucketSummary | None:
        width = self.spec.slice_width
        own = sorted(hit for hit in self.hits if hit * width // self.spec.dedup == bucket)
        if not own:
            return None
        slices = list(self._existing(own[0] - SLICES + 1, own[-1]))
        boundaries = {
            boundary
            for slice_ in slices
            for boundary in (min(self.events[slice_]), max(self.events[slice_]))
        }
        named = tuple(sorted(boundaries))
        return BucketSummary(
            bucket=bucket,
            last_hit=own[-1] * width,
            count=sum(len(self.events[slice_]) for slice_ in slices),
            events=named[:MAX_EVIDENCE],
            last_event=named[-1],
            first=self.events[slices[0]][named[0]],
            last=self.events[slices[-1]][named[-1]],
            approximate=True,
        )
