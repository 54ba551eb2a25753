"""Which times become hits by one more event: the definition of spec.py, for each kind of window.

``members`` are in order of time; ``new`` is one of them. All functions look only at what is less
than a timespan away from it, for no other hit can be new.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from audit_analysis.windows.spec import Kind, WindowSpec

#: Time (ms), event id, tag.
Member = tuple[int, str, str]
_Finder = Callable[[Sequence[Member], Member, WindowSpec], Iterator[int]]


def _counted(near: Sequence[Member], new: Member, spec: WindowSpec) -> Iterator[int]:
    """Every run of ``threshold`` neighbours around the new one that fits into the timespan."""
    size, at = spec.threshold, near.index(new)
    for start in range(max(0, at - size + 1), min(at, len(near) - size) + 1):
        end = near[start + size - 1][0]
        if end - near[start][0] < spec.timespan:
            yield end


def _different(near: Sequence[Member], new: Member, spec: WindowSpec) -> Iterator[int]:
    """A window slides over the neighbours, and counts how often it holds each tag."""
    tags: Counter[str] = Counter()
    first = 0
    for timestamp_ms, _, tag in near:
        tags[tag] += 1
        while near[first][0] <= timestamp_ms - spec.timespan:
            gone = near[first][2]
            tags[gone] -= 1
            if not tags[gone]:
                del tags[gone]
            first += 1
        if timestamp_ms >= new[0] and len(tags) >= spec.threshold:
            yield timestamp_ms


def _in_order(near: Sequence[Member], new: Member, spec: WindowSpec) -> Iterator[int]:
    """Of each length of chain only the one that started last can matter: keep its start."""
    started: dict[int, int] = {}
    for timestamp_ms, together in groupby(near, key=lambda member: member[0]):
        for stage in sorted(int(tag) for _, _, tag in together):
            if stage == 1:
                started[1] = timestamp_ms
            elif stage - 1 in started:
                started[stage] = max(started.get(stage, 0), started[stage - 1])
            complete = stage == spec.threshold and stage in started
            if (
                complete
                and timestamp_ms >= new[0]
                and started[stage] > timestamp_ms - spec.timespan
            ):
                yield timestamp_ms


FINDERS: Final[Mapping[Kind, _Finder]] = {
    "event_count": _counted,
    "value_count": _different,
    "temporal": _different,
    "temporal_ordered": _in_order,
}
