"""Windows of more different values than can be kept, in this process' memory; see spec.py.

They are cut into the same slices as in Redis. Here the values of a slice are kept, not estimated.
"""

from collections.abc import Iterator

from audit_analysis.windows.spec import SLICES, Observation, Outcome, Sighting, WindowSpec
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

    def observe(self, one: Observation) -> Outcome:
        """Take an event in."""
        spec, moment = self.spec, one.moment
        self.newest = moment if self.newest is None else self.newest
        if moment < self.newest - spec.lateness:
            return Outcome(late=True)
        self.newest = max(moment, self.newest)
        slice_ = moment // spec.slice_width
        self.tags.setdefault(slice_, set()).add(one.tag)
        self.events.setdefault(slice_, {}).setdefault((moment, one.event_id), one.raw)
        for at in range(slice_, slice_ + SLICES):
            if at in self.tags and at not in self.hits:
                near = [self.tags[each] for each in self._existing(at - SLICES + 1, at)]
                if len(set().union(*near)) >= spec.threshold:
                    self.hits.add(at)
        seen = (self._sighting(bucket) for bucket in spec.buckets(moment))
        return Outcome(
            sightings=tuple(
                sighting
                for sighting in seen
                if sighting and self.published.get(sighting.bucket) != sighting.signature
            )
            if spec.reports
            else ()
        )

    def _existing(self, first: int, last: int) -> Iterator[int]:
        return (number for number in range(first, last + 1) if number in self.tags)

    def _sighting(self, bucket: int) -> Sighting | None:
        width = self.spec.slice_width
        own = sorted(at for at in self.hits if at * width // self.spec.dedup == bucket)
        if not own:
            return None
        slices = list(self._existing(own[0] - SLICES + 1, own[-1]))
        ends = {end for at in slices for end in (min(self.events[at]), max(self.events[at]))}
        named = tuple(sorted(ends))
        return Sighting(
            bucket=bucket,
            last_hit=own[-1] * width,
            count=sum(len(self.events[at]) for at in slices),
            events=named[:MAX_EVIDENCE],
            last_event=named[-1],
            first=self.events[slices[0]][named[0]],
            last=self.events[slices[-1]][named[-1]],
            approximate=True,
        )
