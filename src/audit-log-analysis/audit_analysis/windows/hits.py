"""Finds the hits that one more event makes: the definition in spec.py for each kind of window.

``near`` are the events less than a timespan away from ``new``, in order of time, including ``new``.
No other hit can be new.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from audit_analysis.windows.spec import Kind, WindowSpec

#: Time (ms), event id, tag.
Member = tuple[int, str, str]
_Finder = Callable[[Sequence[Member], Member, WindowSpec], Iterator[int]]


def _event_count(near: Sequence[Member], new: Member, spec: WindowSpec) -> Iterator[int]:
    """Every run of ``threshold`` neighbours that contains ``new`` and is within the timespan."""
    size, position = spec.threshold, near.index(new)
    for start in range(max(0, position - size + 1), min(position, len(near) - size) + 1):
        end = near[start + size - 1][0]
        if end - near[start][0] < spec.timespan:
            yield end


def _value_count(near: Sequence[Member], new: Member, spec: WindowSpec) -> Iterator[int]:
    """Slides a window over the neighbours and counts how often it contains each tag."""
    tags: Counter[str] = Counter()
    first = 0
    for timestamp_ms, _, tag in near:
        tags[tag] += 1
        while near[first][0] <= timestamp_ms - spec.timespan:
            dropped = near[first][2]
            tags[dropped] -= 1
            if not tags[dropped]:
                del tags[dropped]
            first += 1
        if timestamp_ms >= new[0] and len(tags) >= spec.threshold:
            yield timestamp_ms


def _temporal_ordered(near: Sequence[Member], new: Member, spec: WindowSpec) -> Iterator[int]:
    """For each length of a sequence only the sequence with the latest start matters."""
    started: dict[int, int] = {}
    for timestamp_ms, members in groupby(near, key=lambda member: member[0]):
        for stage in sorted(int(tag) for _, _, tag in members):
            if stage == 1:
                started[1] = timestamp_ms
            elif stage - 1 in started:
                started[stage] = max(started.get(stage, 0), started[stage - 1])
            is_complete = stage == spec.threshold and stage in started
            is_new = timestamp_ms >= new[0]
            if is_complete and is_new and started[stage] > timestamp_ms - spec.timespan:
                yield timestamp_ms


FIND_HITS: Final[Mapping[Kind, _Finder]] = {
    "event_count": _event_count,
    "value_count": _value_count,
    "temporal": _value_count,
    "temporal_ordered": _temporal_ordered,
}
