"""All versions of a summary together list every event, also if workers fail before they publish."""

import random
import uuid
from collections import deque
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit_analysis.windows import BucketSummary, Observation, WindowSpec, WindowStore
from audit_analysis.windows.memory import MemoryWindows
from audit_analysis.windows.redis_windows import RedisWindows
from audit_analysis.windows.spec import Kind
from auditflow.contract.finding import MAX_EVIDENCE

LATENESS = 200


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Callable[[], WindowStore]:
    if request.param == "memory":
        return MemoryWindows
    windows: RedisWindows = request.getfixturevalue("redis_windows")
    return lambda: windows


def listed(versions: Sequence[BucketSummary]) -> set[str]:
    """The events that the findings of these versions have after they are merged."""
    return {
        event_id
        for version in versions
        for event_id in (*(name for _, name in version.events), *version.unnamed)
    }


def publish_with_failures(
    store: WindowStore,
    batches: Sequence[list[Observation]],
    draw: random.Random,
    *,
    failures: float,
) -> dict[int, list[BucketSummary]]:
    """The versions that are published by bucket, if workers fail and their batches are redelivered.

    A worker may fail before it publishes, or after it published and before the summaries are
    marked. Marks are made late: up to two more batches are counted before.
    """
    published: dict[int, list[BucketSummary]] = {}
    unmarked: deque[list[tuple[str, WindowSpec, BucketSummary]]] = deque()
    waiting = deque(batches)
    while waiting:
        batch = waiting.popleft()
        results = store.observe(batch)
        outcome = draw.random()
        if outcome < failures:
            waiting.insert(min(len(waiting), draw.randrange(3)), batch)
        if outcome < failures / 2:
            continue
        summaries = [summary for result in results for summary in result.summaries]
        for summary in summaries:
            published.setdefault(summary.bucket, []).append(summary)
        if outcome >= failures:
            unmarked.append([(batch[0].key, batch[0].spec, summary) for summary in summaries])
        while len(unmarked) > draw.randrange(3):
            store.mark_published(unmarked.popleft())
    return published


@pytest.mark.parametrize("kind", ["event_count", "value_count", "temporal_ordered"])
def test_all_events_are_listed_after_failures_and_reordering(
    store: Callable[[], WindowStore], kind: Kind
) -> None:
    @settings(max_examples=15, deadline=None)
    @example(1, 600, 40, 0.0, 150)
    @example(2, 600, 40, 0.5, 150)
    @given(
        st.integers(0, 2**32), st.integers(101, 700), st.integers(2, 260),
        st.sampled_from([0.0, 0.2, 0.5]), st.integers(0, LATENESS),
    )  # fmt: skip
    def check(seed: int, number: int, batch: int, failures: float, delay: int) -> None:
        draw = random.Random(seed)
        spec = WindowSpec(kind=kind, threshold=2, timespan=300, dedup=400, lateness=LATENESS + 2000)
        key = str(uuid.uuid4())
        times = [draw.randrange(1000) for _ in range(number)]
        observations = [
            Observation(
                spec, key, f"e{n}", at, b"", "" if kind == "event_count" else str(n % 2 + 1)
            )
            for n, at in enumerate(times)
        ]
        arrival = sorted(observations, key=lambda each: each.timestamp_ms + draw.randint(0, delay))
        batches = [arrival[start : start + batch] for start in range(0, len(arrival), batch)]
        published = publish_with_failures(store(), batches, draw, failures=failures)

        expected: dict[int, int] = {}
        reference = MemoryWindows()
        for result in reference.observe(observations):
            for summary in result.summaries:
                expected[summary.bucket] = summary.count
        assert {bucket: len(listed(versions)) for bucket, versions in published.items()} == expected
        assert {
            bucket: max(version.count for version in versions)
            for bucket, versions in published.items()
        } == expected

    check()


def test_a_version_does_not_list_published_events_again(store: Callable[[], WindowStore]) -> None:
    # Given a window with 1,000 events whose summary is published
    windows = store()
    spec = WindowSpec(threshold=2, timespan=10_000, dedup=20_000, lateness=0)
    key = str(uuid.uuid4())

    def observe(*numbers: int) -> list[BucketSummary]:
        results = windows.observe([Observation(spec, key, f"e{n}", n, b"") for n in numbers])
        summaries = [summary for result in results for summary in result.summaries]
        windows.mark_published([(key, spec, summary) for summary in summaries])
        return summaries

    observe(*range(1000))
    # when events arrive
    summaries = observe(1000, 1001, 1002)
    # then only these are listed, and an event that is delivered again is listed again
    assert set().union(*(summary.unnamed for summary in summaries)) <= {
        "e0",
        "e1000",
        "e1001",
        "e1002",
    }
    (again,) = observe(500)
    assert "e500" in again.unnamed
    assert (again.count, len(again.events)) == (1003, MAX_EVIDENCE)


@pytest.mark.parametrize("kind", ["temporal", "value_count"])
@pytest.mark.parametrize("size", [1, 6, 500])
def test_an_event_with_several_tags_is_counted_once(
    store: Callable[[], WindowStore], kind: Kind, size: int
) -> None:
    # Given 300 events with two tags each, for example because they match two rules
    windows = store()
    spec = WindowSpec(kind=kind, threshold=2, timespan=10_000, dedup=20_000, lateness=0)
    key = str(uuid.uuid4())
    observations = [
        Observation(spec, key, f"e{n}", n, b"", tag) for n in range(300) for tag in ("1", "2")
    ]
    # When they are counted in batches
    summaries = [
        summary
        for start in range(0, 600, 2 * size)
        for result in windows.observe(observations[start : start + 2 * size])
        for summary in result.summaries
    ]
    # Then each event counts once
    assert max(summary.count for summary in summaries) == 300
    assert listed(summaries) == {f"e{n}" for n in range(300)}
