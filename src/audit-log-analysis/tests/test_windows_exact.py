"""The same events give the same summaries: shuffled, doubled, delayed, in batches of any size."""

import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_analysis.windows import (
    BucketSummary,
    Observation,
    WindowSpec,
    WindowStore,
    layout,
    scripts,
)
from audit_analysis.windows.memory import MemoryWindows
from audit_analysis.windows.redis_windows import RedisWindows
from audit_analysis.windows.spec import Kind
from auditflow.contract.finding import MAX_EVIDENCE

#: Time, event id, tag.
Member = tuple[int, str, str]
LATENESS = 40


#: The definition in windows/spec.py: whether (end, members, spec) is a hit.
IsHit = Callable[[int, set[Member], WindowSpec], bool]


def truth(
    members: set[Member], spec: WindowSpec, is_hit: IsHit
) -> dict[int, tuple[int, int, list[Member]]]:
    """For each bucket with a hit: first hit, last hit, its events."""
    times = sorted({timestamp_ms for timestamp_ms, _, _ in members})
    hits = [end for end in times if is_hit(end, members, spec)]
    seen: dict[int, tuple[int, int, list[Member]]] = {}
    for bucket in {hit // spec.dedup for hit in hits}:
        own = [hit for hit in hits if hit // spec.dedup == bucket]
        events = sorted(m for m in members if min(own) - spec.timespan < m[0] <= max(own))
        seen[bucket] = (min(own), max(own), events)
    return seen


KINDS = ("event_count", "value_count", "temporal", "temporal_ordered")


def specs(kind: str) -> st.SearchStrategy[WindowSpec]:
    return st.builds(
        WindowSpec,
        kind=st.just(kind),
        threshold=st.integers(1, 5 if kind == "event_count" else 3),
        timespan=st.integers(1, 30),
        dedup=st.integers(5, 60),
        lateness=st.just(LATENESS),
    )


@st.composite
def streams(draw: st.DrawFn, kind: str) -> tuple[WindowSpec, set[Member], list[list[Member]]]:
    """A kind of window, a set of events, and orders of arrival within the lateness bound.

    One order shrinks with the rest of an example that fails; the other costs a tenth to make.
    """
    spec = draw(specs(kind))
    tags = st.just("") if kind == "event_count" else st.sampled_from("123"[: spec.threshold + 1])
    if kind == "temporal_ordered":
        tags = st.integers(1, spec.threshold).map(str)
    seen = draw(st.lists(st.tuples(st.integers(0, 200), tags), min_size=1, max_size=30))
    members = [(timestamp_ms, f"e{number}", tag) for number, (timestamp_ms, tag) in enumerate(seen)]
    lateness = st.integers(0, LATENESS)
    delays = draw(st.lists(lateness, min_size=len(members), max_size=len(members)))
    again = draw(st.lists(st.sampled_from(members), max_size=10))
    rng = random.Random(draw(st.integers(0, 2**32)))
    other = [rng.choice((0, LATENESS, rng.randint(0, LATENESS))) for _ in members]
    return (
        spec,
        set(members),
        [
            arrival(members, delays, again, rng),
            arrival(members, other, rng.choices(members, k=5), rng),
        ],
    )


def arrival(
    members: list[Member], delays: list[int], again: list[Member], rng: random.Random
) -> list[Member]:
    """Each event after its delay, and some once more, at any later time."""
    late = sorted(
        zip(sorted(members), delays, strict=True), key=lambda arrival: arrival[0][0] + arrival[1]
    )
    order = [member for member, _ in late]
    for member in again:
        order.insert(rng.randint(order.index(member) + 1, len(order)), member)
    return order


def knowledge(
    store: WindowStore, spec: WindowSpec, order: Sequence[Member], *, batch: int, forget: bool
) -> dict[int, list[BucketSummary]]:
    """Everything that the store reported, by bucket. ``forget``: publishing is never noted."""
    key = str(uuid.uuid4())
    reported: dict[int, list[BucketSummary]] = {}
    for start in range(0, len(order), batch):
        observations = [
            Observation(spec, key, name, timestamp_ms, name.encode(), tag)
            for timestamp_ms, name, tag in order[start : start + batch]
        ]
        results = store.observe(observations)
        assert len(results) == len(observations)
        summaries = [summary for result in results for summary in result.summaries]
        for summary in summaries:
            reported.setdefault(summary.bucket, []).append(summary)
        if not forget:
            store.mark_published([(key, spec, summary) for summary in summaries])
    return reported


def check_against_truth(
    members: set[Member],
    spec: WindowSpec,
    reported: dict[int, list[BucketSummary]],
    is_hit: IsHit,
) -> None:
    expected = truth(members, spec, is_hit)
    assert reported.keys() == expected.keys()
    for bucket, (_, last_hit, members_of_bucket) in expected.items():
        versions, events = (
            reported[bucket],
            [(timestamp_ms, name) for timestamp_ms, name, _ in members_of_bucket],
        )
        # As findings merge: the most counted, the earliest first, the latest last.
        assert max(version.count for version in versions) == len(events)
        assert min(version.events[0] for version in versions) == events[0]
        assert max(version.last_hit for version in versions) == last_hit
        assert max(version.last_event for version in versions) == events[-1]
        named = sorted({event for version in versions for event in version.events})[:MAX_EVIDENCE]
        assert named == events[:MAX_EVIDENCE]
        assert {version.first for version in versions if version.events[0] == events[0]} == {
            events[0][1].encode()
        }
        assert not any(version.approximate for version in versions)


def check_streams(
    kind: str, store: Callable[[], WindowStore], is_hit: IsHit, *, examples: int
) -> None:
    """Every example is two streams of the same events."""

    @settings(max_examples=examples, deadline=None)
    @given(streams(kind), st.integers(1, 7), st.booleans())
    def check(
        stream: tuple[WindowSpec, set[Member], list[list[Member]]], batch: int, forget: bool
    ) -> None:
        spec, members, orders = stream
        for order in orders:
            reported = knowledge(store(), spec, order, batch=batch, forget=forget)
            check_against_truth(members, spec, reported, is_hit)

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_memory_windows_equal_the_definition_in_any_order(kind: str, is_hit: IsHit) -> None:
    check_streams(kind, MemoryWindows, is_hit, examples=100)


@pytest.mark.parametrize("kind", KINDS)
def test_redis_windows_equal_the_definition_in_any_order(
    redis_windows: RedisWindows, kind: str, is_hit: IsHit
) -> None:
    examples = 600 if kind == "event_count" else 250  # each in two orders: 2,700 streams
    check_streams(kind, lambda: redis_windows, is_hit, examples=examples)


@pytest.fixture
def windows_in_own_keys(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RedisWindows]:
    """Windows that large.lua handles from the third event on."""
    monkeypatch.setitem(layout.LUA_CONSTANTS, "MAX_SMALL", 2)
    scripts.text.cache_clear()
    with redis.Redis.from_url(redis_server.url) as client:
        yield RedisWindows(client)
    scripts.text.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_windows_in_own_keys_equal_the_definition_in_any_order(
    windows_in_own_keys: RedisWindows, kind: str, is_hit: IsHit
) -> None:
    check_streams(kind, lambda: windows_in_own_keys, is_hit, examples=60)


@pytest.mark.parametrize("kind", ["event_count", "value_count"])
def test_large_redis_windows_equal_the_definition(
    redis_windows: RedisWindows, kind: Kind, is_hit: IsHit
) -> None:
    # Given 250 events, of which a hundred (with different values) in half of their time are a hit
    draw = random.Random(7)
    spec = WindowSpec(kind=kind, threshold=115, timespan=150, dedup=200, lateness=100)
    times = [draw.randrange(300) for _ in range(250)]
    seen = [
        (time, f"e{n}", "" if kind == "event_count" else f"v{n % 240}")
        for n, time in enumerate(times)
    ]
    # when they come shuffled, some twice
    order = sorted([*seen, *seen[::7]], key=lambda member: member[0] + draw.randrange(100))
    reported = knowledge(redis_windows, spec, order, batch=50, forget=False)
    # then the truth is known
    check_against_truth(set(seen), spec, reported, is_hit)
    assert reported


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> WindowStore:
    if request.param == "memory":
        return MemoryWindows()
    windows: RedisWindows = request.getfixturevalue("redis_windows")
    return windows


SPEC = WindowSpec(threshold=3, timespan=60_000, dedup=300_000, lateness=900_000)
NOON = 1_800_000_000_000


def observe(store: WindowStore, *timestamps: int, spec: WindowSpec = SPEC) -> list[BucketSummary]:
    """Report events at these seconds after noon, one by one; returns the summaries in order."""
    key = str(uuid.uuid4())
    return [
        summary
        for number, seconds in enumerate(timestamps)
        for result in store.observe(
            [Observation(spec, key, f"e{number}", NOON + seconds * 1000, b"raw")]
        )
        for summary in result.summaries
    ]


def test_ten_in_a_second_are_one_bucket(store: WindowStore) -> None:
    summaries = observe(store, *[1] * 10)
    assert {summary.bucket for summary in summaries} == {NOON // SPEC.dedup}
    assert max(summary.count for summary in summaries) == 10


def test_three_events_ten_minutes_apart_are_no_hit(store: WindowStore) -> None:
    assert observe(store, 0, 600, 1200) == []


def test_exactly_the_timespan_apart_is_not_within_it(store: WindowStore) -> None:
    assert observe(store, 0, 30, 60) == []
    assert len(observe(store, 0, 30, 59)) == 1


def test_the_earliest_may_arrive_last(store: WindowStore) -> None:
    (summary,) = observe(store, 50, 30, 10)
    assert [timestamp_ms - NOON for timestamp_ms, _ in summary.events] == [10_000, 30_000, 50_000]


def test_a_late_event_is_reported_and_not_counted(store: WindowStore) -> None:
    # Given an entity whose newest event is at 2,000 s, when one comes 901 s behind it
    key = str(uuid.uuid4())

    def late(name: str, seconds: int) -> bool:
        return store.observe([Observation(SPEC, key, name, NOON + seconds * 1000, b"")])[0].late

    assert not late("new", 2000)
    # then the bound itself is still in time, and a second more is late
    assert not late("just", 1100)
    assert late("old", 1099)


def test_a_summary_above_capacity_is_marked_as_approximate(store: WindowStore) -> None:
    spec = WindowSpec(threshold=3, timespan=60_000, dedup=300_000, lateness=0, capacity=5)
    summaries = observe(store, *range(20), spec=spec)
    assert not summaries[0].approximate
    assert summaries[-1].approximate
    assert max(summary.count for summary in summaries) >= 5


@pytest.mark.parametrize("name", ["memory", "redis"])
def test_more_values_than_can_be_kept_are_estimated_in_any_order(
    request: pytest.FixtureRequest, name: str
) -> None:
    # Given 3,000 values in a minute, where 2,000 are a hit and only 1,000 events would be kept
    draw = random.Random(3)
    spec = WindowSpec(
        kind="value_count", threshold=2000, timespan=60_000, dedup=60_000, lateness=30_000,
        capacity=1000,
    )  # fmt: skip
    start = 1_800_000_000_000 // 60_000 * 60_000
    seen = [(start + draw.randrange(60_000), f"e{n}", f"v{n}") for n in range(3000)]
    reports = []
    for _ in range(2):
        # when they come shuffled, some twice
        order = sorted([*seen, *seen[::9]], key=lambda member: member[0] + draw.randrange(30_000))
        store = MemoryWindows() if name == "memory" else request.getfixturevalue("redis_windows")
        reported = knowledge(store, spec, order, batch=200, forget=False)
        reports.append(
            {
                bucket: (
                    max(version.count for version in versions),
                    min(version.events[0] for version in versions),
                    max(version.last_event for version in versions),
                    max(version.last_hit for version in versions),
                )
                for bucket, versions in reported.items()
            }
        )
        assert all(version.approximate for versions in reported.values() for version in versions)
        assert all(
            version.first and version.last for versions in reported.values() for version in versions
        )
    # then the same is seen both times, and it is about the truth
    assert reports[0] == reports[1]
    (bucket,) = reports[0]
    count, first, last, last_hit = reports[0][bucket]
    assert bucket == start // spec.dedup
    assert count == pytest.approx(3000, rel=0.03)
    assert (first[1], last[1]) == (min(seen)[1], max(seen)[1])
    assert start + 40_000 * 0.9 < last_hit <= start + 60_000
    # and fewer are nothing
    assert not knowledge(store, spec, sorted(seen)[:1500], batch=200, forget=False)
