"""The request and the response of the Lua script that adds observations to windows."""

import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from audit_analysis.windows.layout import (
    HASHED_TAG,
    MAX_TAG_BYTES,
    MAX_TAGS,
    OUTAGE_SECONDS,
    SHARD_PREFIX,
    SHARDS,
    SLACK_SECONDS,
)
from audit_analysis.windows.memory_pressure import Limits
from audit_analysis.windows.spec import (
    BucketSummary,
    Hit,
    Observation,
    ObservationResult,
    WindowSpec,
)

#: Maximum number of observations in one call, so that no call blocks Redis for long.
MAX_OBSERVATIONS: Final = 500
#: Maximum number of observations of one window in one call.
MAX_OF_WINDOW: Final = MAX_TAGS

#: A summary with the key and the specification of its window.
WindowSummary = tuple[str, WindowSpec, BucketSummary]

_encode = msgspec.msgpack.Encoder().encode


def idle_seconds(spec: WindowSpec) -> int:
    """The time without access after which a window expires."""
    return spec.retention // 1000 + OUTAGE_SECONDS + SLACK_SECONDS


def calls(observations: Sequence[Observation]) -> Iterator[list[list[int]]]:
    """Divide observations into calls. A call is a list of windows, a window a list of positions.

    The observations of a window keep their order.
    """
    by_window: dict[str, list[int]] = {}
    for position, observation in enumerate(observations):
        positions = by_window.get(observation.key)
        if positions is None:
            by_window[observation.key] = [position]
        else:
            positions.append(position)
    call: list[list[int]] = []
    size = 0
    for positions in by_window.values():
        for start in range(0, len(positions), MAX_OF_WINDOW):
            window = positions[start : start + MAX_OF_WINDOW]
            if size + len(window) > MAX_OBSERVATIONS:
                yield call
                call, size = [], 0
            call.append(window)
            size += len(window)
    if call:
        yield call


class Request:
    """Builds a request: the observations of some windows, and published summaries."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._specs: dict[WindowSpec, int] = {}
        self._published: list[object] = []
        self._windows: list[object] = []

    def mark_published(self, summary: WindowSummary) -> None:
        """Add a published summary."""
        key, spec, bucket = summary
        self._published += (
            self._number(spec), shard(key), key, bucket.bucket, bucket.signature
        )  # fmt: skip

    def observe(
        self,
        observations: Sequence[Observation],
        positions: Sequence[int],
        references: Mapping[str, str],
    ) -> None:
        """Add the observations of one window, by their positions.

        ``references`` are the references of stored complete events, by event id.
        """
        first = observations[positions[0]]
        windows, key = self._windows, first.key
        windows += (self._number(first.spec), shard(key), key, len(positions))
        for position in positions:
            observation = observations[position]
            tag = observation.tag
            windows += (
                observation.event_id,
                tag if len(tag) <= MAX_TAG_BYTES // 4 else short_tag(tag),
                observation.timestamp_ms,
                references.get(observation.event_id) or observation.reference,
                observation.approximate,
            )

    def encoded(self) -> bytes:
        """The request in MessagePack."""
        limits = self._limits
        specs = [_spec_fields(spec) for spec in self._specs]
        return _encode(
            (
                limits.windows_per_shard,
                limits.events_per_window,
                specs,
                self._published,
                self._windows,
            )
        )

    def _number(self, spec: WindowSpec) -> int:
        number = self._specs.get(spec)
        if number is None:
            number = self._specs[spec] = len(self._specs) + 1
        return number


def shard(key: str) -> int:
    """The shard number of a window."""
    return zlib.crc32(key.encode()) % SHARDS


def short_tag(tag: str) -> str:
    """The tag itself, or a hash if it is long. Different tags stay different."""
    encoded = tag.encode()
    if len(encoded) <= MAX_TAG_BYTES:
        return tag
    return HASHED_TAG + blake2b(encoded, digest_size=16).hexdigest()


def results(
    response: Sequence[Any], positions: Sequence[int]
) -> Iterator[tuple[int, ObservationResult]]:
    """The results of a response with the positions of their observations.

    Observations without a result are not yielded. ``positions`` has the position for each
    observation number of the request. Complete events are references here: see ``Pending``.
    """
    late, summaries, hits, _ = response
    by_number: defaultdict[int, tuple[list[BucketSummary], list[Hit]]] = defaultdict(
        lambda: ([], [])
    )
    for number, *fields in summaries:
        by_number[number][0].append(_summary(fields))
    for number, event_id, timestamp_ms, reference, approximate in hits:
        by_number[number][1].append(
            Hit(
                event_id.decode(),
                timestamp_ms,
                reference=reference.decode(),
                approximate=bool(approximate),
            )
        )
    for number in late:
        yield positions[number - 1], ObservationResult(late=True)
    for number, (own_summaries, own_hits) in by_number.items():
        yield (
            positions[number - 1],
            ObservationResult(summaries=tuple(own_summaries), hits=tuple(own_hits)),
        )


def _summary(fields: list[Any]) -> BucketSummary:
    (
        bucket, last_hit, count, named, last_id, last_timestamp_ms, first, last, approximate, tags,
        unnamed,
    ) = fields  # fmt: skip
    return BucketSummary(
        bucket=bucket,
        last_hit=last_hit,
        count=count,
        events=tuple(
            (timestamp_ms, event_id.decode())
            for event_id, timestamp_ms in zip(named[::2], named[1::2], strict=True)
        ),
        last_event=(last_timestamp_ms, last_id.decode()),
        first=first or None,
        last=last or None,
        approximate=bool(approximate),
        tags=tuple(tag.decode() for tag in tags),
        unnamed=tuple(event_id.decode() for event_id in unnamed),
    )


def _spec_fields(spec: WindowSpec) -> tuple[object, ...]:
    return (
        spec.kind, spec.threshold, spec.timespan, spec.dedup, spec.lateness, spec.capacity,
        idle_seconds(spec), spec.reports, spec.feeds, f"{SHARD_PREFIX}{spec.pool}:{{",
        spec.sketched, spec.counts_hits,
    )  # fmt: skip
