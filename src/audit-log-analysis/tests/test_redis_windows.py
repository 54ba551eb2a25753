"""What of windows stays in Redis: for how long, how much, and what outlives a crash."""

import random
import uuid
from pathlib import Path
from typing import Any

import pytest
import redis

from audit_analysis.windows import BucketSummary, Observation, WindowSpec
from audit_analysis.windows.redis_windows import RedisWindows

NOON = 1_800_000_000_000
KINDS = ("event_count", "value_count", "temporal", "temporal_ordered")
#: What Redis says of the end of a key that is not there.
ABSENT = -2
SPEC = WindowSpec(threshold=3, timespan=60_000, dedup=300_000, lateness=900_000)


def test_memory_of_a_window_is_bounded(redis_windows: RedisWindows) -> None:
    # Given an entity that fails every second for an hour
    key, spec = (
        str(uuid.uuid4()),
        WindowSpec(threshold=3, timespan=60_000, dedup=60_000, lateness=60_000),
    )
    order = list(range(3600))
    random.Random(1).shuffle(order[:30])
    for start in range(0, len(order), 10):
        results = redis_windows.observe(
            [
                Observation(spec, key, f"e{second}", NOON + second * 1000, b"raw")
                for second in order[start : start + 10]
            ]
        )
        redis_windows.mark_published(
            [(key, spec, one) for result in results for one in result.summaries]
        )
    # then only what an event within the lateness can need is kept, and no note outlives its bucket
    client = redis_windows._client
    assert client.zcard(f"{{{key}}}:events") == spec.retention // 1000 + 1
    assert client.hlen(f"{{{key}}}:raws") <= spec.retention // 1000 + 1
    assert client.hlen(f"{{{key}}}:notes") <= spec.retention // spec.dedup + 2
    assert client.ttl(f"{{{key}}}:events") > 0


def test_what_is_published_is_known_to_the_next_trip_and_after_a_flush_to_all(
    redis_windows: RedisWindows,
) -> None:
    spec = WindowSpec(threshold=2, timespan=2000, dedup=2000, lateness=0)
    other = RedisWindows(redis_windows._client)

    def see(store: RedisWindows, key: str) -> int:
        events = [Observation(spec, key, f"e{number}", NOON, b"raw") for number in range(2)]
        results = store.observe(events)
        seen = [(key, spec, one) for result in results for one in result.summaries]
        store.mark_published(seen)
        return len(seen)

    mine, shared = str(uuid.uuid4()), str(uuid.uuid4())
    assert see(redis_windows, mine) == 1
    assert see(redis_windows, mine) == 0
    assert see(redis_windows, shared) == 1
    redis_windows.flush()
    assert see(other, shared) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_window_has_an_end_however_it_came_to_be(
    redis_windows: RedisWindows, kind: str
) -> None:
    # Given a window whose events, hits, bytes and notes are all forgotten again and again
    client = redis_windows._client
    key, spec = (
        str(uuid.uuid4()),
        WindowSpec(kind=kind, threshold=2, timespan=2000, dedup=2000, lateness=0, capacity=4),  # type: ignore[arg-type]
    )
    for number, second in enumerate([0, 1, 1, 100, 101, 101, 101, 101, 101, 101, 102, 300, 300]):
        tag = "" if kind == "event_count" else str(number % 2 + 1)
        (result,) = redis_windows.observe(
            [Observation(spec, key, f"e{number}", NOON + second * 1000, b"raw", tag)]
        )
        redis_windows.mark_published([(key, spec, one) for one in result.summaries])
        # then at any time each that is there has an end
        ends = [
            client.ttl(f"{{{key}}}:{name}")
            for name in ("events", "hits", "raws", "notes", "latest")
        ]
        assert ends[0] > 0
        assert all(seconds > spec.retention // 1000 for seconds in ends if seconds != ABSENT)


def test_windows_outlive_a_redis_that_is_killed(
    make_redis: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Given two of three events, in a Redis with the users and the settings that we run it with
    server = make_redis(tmp_path)
    client = redis.Redis.from_url(server.url)
    request.addfinalizer(client.close)
    windows = RedisWindows(client)
    key = str(uuid.uuid4())

    def see(name: str, seconds: int) -> tuple[BucketSummary, ...]:
        timestamp_ms = NOON + seconds * 1000
        (result,) = windows.observe([Observation(SPEC, key, name, timestamp_ms, b"raw")])
        return result.summaries

    assert see("one", 1) == see("two", 2) == ()
    # when it is killed and starts again
    server.kill()
    server.start()
    # then the third completes the window
    (summary,) = see("three", 3)
    assert [name for _, name in summary.events] == ["one", "two", "three"]
    assert summary.first == b"raw"


def test_the_memory_of_estimates_is_bounded(redis_windows: RedisWindows) -> None:
    # Given 20,000 values, when an hour of them passes through a window of a minute
    spec = WindowSpec(
        kind="value_count", threshold=100, timespan=60_000, dedup=60_000, lateness=60_000,
        capacity=50,
    )  # fmt: skip
    key = str(uuid.uuid4())
    for minute in range(0, 60, 5):
        redis_windows.observe(
            [
                Observation(
                    spec, key, f"e{minute}-{n}", NOON + minute * 60_000 + n * 30, b"raw", f"{n}"
                )
                for n in range(2000)
            ]
        )
    # then only the slices that an event within the lateness can need are there
    client = redis_windows._client
    kept = -(-spec.retention // spec.slice_width) + 2
    assert client.zcard(f"{{{key}}}:events") <= kept
    assert len(list(client.scan_iter(f"{{{key}}}:latest:*", count=10_000))) <= 2 * kept
    assert client.hlen(f"{{{key}}}:raws") <= 2 * kept
    assert all(client.ttl(name) > 0 for name in client.scan_iter(f"{{{key}}}*", count=10_000))
