"""Divides observations into batches whose findings must be stored before the next batch counts.

A new event makes a window forget events that are much older. Findings about those events must be
stored by the broker before, because nobody can compute them again if the worker fails. Therefore,
within one safe batch, no window advances by more than its lateness. Only a backlog or a replayed
log leads to more than one safe batch.
"""

from typing import Final, Generic, TypeVar

from msgspec import Struct

from audit_analysis.correlation.cascade import RuleObservation

C = TypeVar("C")

#: The key under which all windows of cascades share one time range.
_CASCADES: Final = "cascades"


class TimeRange(Struct, frozen=True, gc=False):
    """The oldest and the newest timestamp that a window observes, and its lateness (ms)."""

    oldest: int
    newest: int
    lateness: int

    def fits(self, other: "TimeRange") -> bool:
        """Whether no event of one range makes the window forget an event of the other."""
        union = self.union(other)
        return union.newest - union.oldest <= union.lateness

    def union(self, other: "TimeRange") -> "TimeRange":
        """The range that covers both."""
        return TimeRange(
            min(self.oldest, other.oldest),
            max(self.newest, other.newest),
            min(self.lateness, other.lateness),
        )


class SafeBatch(Struct, Generic[C], frozen=True):
    """Observations that may be counted together, and the time range of each of their windows."""

    observations: list[RuleObservation[C]]
    ranges: dict[str, TimeRange]

    def fits(self, following: "SafeBatch[C]") -> bool:
        """Whether ``following`` may be counted before the findings of this batch are stored.

        May return False for two batches that would fit.
        """
        fewer, more = sorted((self.ranges, following.ranges), key=len)
        return all(own.fits(more[name]) for name, own in fewer.items() if name in more)


class SafeBatches(Generic[C]):
    """Collects observations in safe batches. ``last`` is the only one in most cases."""

    def __init__(self) -> None:
        self.before: list[SafeBatch[C]] = []
        self.last: SafeBatch[C] = SafeBatch([], {})

    def add(self, observation: RuleObservation[C]) -> None:
        """Add an observation. Observations are added in the order of arrival."""
        timestamp_ms = observation.observation.timestamp_ms
        spec = observation.observation.spec
        # The entities of outer windows are not known yet, so all cascades share one range.
        in_cascade = spec.feeds or observation.rule.depth
        name = _CASCADES if in_cascade else observation.observation.key
        known = self.last.ranges.get(name)
        lateness = spec.lateness
        if known is None:
            self.last.ranges[name] = TimeRange(timestamp_ms, timestamp_ms, lateness)
        elif timestamp_ms < known.newest - lateness:
            pass  # The event is too late and changes nothing.
        elif known.oldest <= timestamp_ms <= known.newest and known.lateness <= lateness:
            pass  # The most frequent case: the range does not change.
        elif (
            known.newest < timestamp_ms <= known.oldest + lateness and known.lateness == lateness
        ):  # Events in order: the general case below costs three times as much.
            self.last.ranges[name] = TimeRange(known.oldest, timestamp_ms, lateness)
        else:
            own = TimeRange(timestamp_ms, timestamp_ms, lateness)
            if known.fits(own):
                self.last.ranges[name] = known.union(own)
            else:
                self.before.append(self.last)
                self.last = SafeBatch([], {name: own})
        self.last.observations.append(observation)
