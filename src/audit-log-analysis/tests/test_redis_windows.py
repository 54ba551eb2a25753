"""Windows in Redis: limits, complete events, and restarts of Redis."""

import random
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from audit_analysis.windows import Observation, WindowSpec
from audit_analysis.windows.event_store import MAX_EVENT_BYTES
from audit_analysis.windows.layout import (
    EVENT_CHUNKS,
    EVENT_SIZES,
    MAX_STORED_EVENTS,
)
from audit_analysis.windows.redis_windows import RedisWindows
from audit_analysis.windows.request import short_tag

from .window_keys import NOON, SMALL, SPEC, key_of, last_summary, observe, shard_key


def test_the_memory_of_a_window_is_bounded(redis_windows: RedisWindows) -> None:
    # Given an entity that fails every second for an hour
    key, spec = str(uuid.uuid4()), SMALL
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
            [(key, spec, summary) for result in results for summary in result.summaries]
        )
    # then only the events are kept that an event within the lateness can need, and only the
    # signatures of their buckets
    client = redis_windows._client
    assert client.zcard(key_of(key, "events", spec)) == spec.retention // 1000 + 1
    assert client.hlen(key_of(key, "references", spec)) <= spec.retention // 1000 + 1
    assert client.hlen(key_of(key, "published", spec)) <= spec.retention // spec.dedup + 2
    assert client.ttl(key_of(key, "events", spec)) > 0


def test_a_small_window_forgets_events_that_no_other_event_needs(
    redis_windows: RedisWindows,
) -> None:
    # Given a window with an event every 100 seconds, of which it keeps those of 180 seconds
    key = str(uuid.uuid4())
    for second in range(0, 2000, 100):
        observe(redis_windows, key, second, spec=SMALL)
    value: Any = redis_windows._client.hget(shard_key(key, SMALL), key)
    # then its value has two events
    assert value[8:10] == b"02"


def test_published_summaries_reach_the_next_batch_and_after_a_flush_all_workers(
    redis_windows: RedisWindows,
) -> None:
    spec = WindowSpec(threshold=2, timespan=2000, dedup=2000, lateness=0)
    other_worker = RedisWindows(redis_windows._client)

    def summaries(windows: RedisWindows, key: str) -> int:
        events = [Observation(spec, key, f"e{number}", NOON, b"raw") for number in range(2)]
        found = [
            (key, spec, summary)
            for result in windows.observe(events)
            for summary in result.summaries
        ]
        windows.mark_published(found)
        return len(found)

    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    assert summaries(redis_windows, first) == 1
    assert summaries(redis_windows, first) == 0
    assert summaries(redis_windows, second) == 1
    redis_windows.flush()
    assert summaries(other_worker, second) == 0


def test_complete_events_of_a_window_are_limited(redis_windows: RedisWindows) -> None:
    key, number = str(uuid.uuid4()), MAX_STORED_EVENTS + 50
    results = redis_windows.observe(
        [Observation(SPEC, key, f"e{n:04}", NOON + n, b"raw %d" % n) for n in range(number)]
    )
    assert redis_windows._client.hlen(key_of(key, "references")) == MAX_STORED_EVENTS
    summary = last_summary(results)
    assert (summary.first, summary.last) == (b"raw 0", None)
    assert summary.last_event == (NOON + number - 1, f"e{number - 1:04}")


def test_only_the_id_of_a_large_event_is_stored(redis_windows: RedisWindows) -> None:
    key, largest = str(uuid.uuid4()), b"x" * MAX_EVENT_BYTES
    observe(redis_windows, key, 0, raw=largest)
    observe(redis_windows, key, 1)
    (summary,) = observe(redis_windows, key, 2, raw=largest + b"x").summaries
    assert (summary.first, summary.last) == (largest, None)


def test_complete_events_stay_within_the_budget_and_the_oldest_go_first(
    make_redis: Any, tmp_path: Path
) -> None:
    server = make_redis(tmp_path)
    with redis.Redis.from_url(server.url) as client:
        # Given a budget of 40,000 bytes, half of it for each source
        windows = RedisWindows(client, event_budget_bytes=40_000)
        first, second = (
            msgspec.structs.replace(SPEC, source=source) for source in ("aws", "linux")
        )
        key, raw = str(uuid.uuid4()), b"x" * 4000
        observe(windows, key, 0, spec=second, raw=b"linux")
        # when one source sends more than that
        for number in range(30):
            observe(windows, f"flood {number}", number, spec=first, raw=raw)
        # then its oldest events are deleted, and the event of the other source is not
        chunks = list(client.scan_iter(match="\\" + EVENT_CHUNKS + "*"))
        assert sum(client.strlen(chunk) for chunk in chunks) <= 20_000 + 5
        other_worker = RedisWindows(client)
        for second_ in (1, 2):
            result = observe(other_worker, key, second_, spec=second, raw=b"linux")
        assert result.summaries[0].first == b"linux"


def test_the_events_of_all_sources_stay_within_the_budget(make_redis: Any, tmp_path: Path) -> None:
    server = make_redis(tmp_path)
    with redis.Redis.from_url(server.url) as client:
        # Given three sources that stay within their shares of 20,000 bytes, but not within 40,000
        windows = RedisWindows(client, event_budget_bytes=40_000)
        for source, number in (("linux", 3), ("aws", 4), ("okta", 4)):
            spec = msgspec.structs.replace(SPEC, source=source)
            for _ in range(number):
                observe(windows, str(uuid.uuid4()), 0, spec=spec, raw=b"x" * 4000)
        # then events of the largest sources are deleted
        sizes: Any = client.hgetall(EVENT_SIZES)
        total = int(sizes.pop(b""))
        assert 36_000 < total <= 40_000
        assert sum(map(int, sizes.values())) == total
        assert int(sizes[b"linux"]) >= 12_000
        chunks = list(client.scan_iter(match="\\" + EVENT_CHUNKS + "*"))
        assert sum(client.strlen(chunk) for chunk in chunks) == total


def test_a_deleted_event_is_represented_by_its_id(redis_windows: RedisWindows) -> None:
    key, client = str(uuid.uuid4()), redis_windows._client
    observe(RedisWindows(client), key, 0)
    for chunk in client.scan_iter(match="\\" + EVENT_CHUNKS + "*"):
        client.delete(chunk)
    observe(redis_windows, key, 1)
    (summary,) = observe(redis_windows, key, 2).summaries
    assert (summary.first, summary.last) == (None, b"raw")
    assert [event_id for _, event_id in summary.events] == ["e0", "e1", "e2"]


def test_a_window_reports_exactly_before_its_capacity_makes_it_approximate(
    redis_windows: RedisWindows,
) -> None:
    # Given a capacity of 20 events, when 60 events arrive in one batch
    spec = msgspec.structs.replace(SPEC, capacity=20)
    key = str(uuid.uuid4())
    results = redis_windows.observe(
        [Observation(spec, key, f"e{n:02}", NOON + n * 1000, b"raw") for n in range(60)]
    )
    summaries = [summary for result in results for summary in result.summaries]
    # then what was known at the capacity is reported without approximation
    exact = [summary for summary in summaries if not summary.approximate]
    assert max(summary.count for summary in exact) == 20
    assert min(summary.events[0] for summary in exact) == (NOON, "e00")
    assert summaries[-1].approximate


def test_evidence_has_the_first_hundred_events_and_the_last(redis_windows: RedisWindows) -> None:
    key = str(uuid.uuid4())
    order = list(range(150))
    random.Random(5).shuffle(order)
    results = redis_windows.observe(
        [Observation(SPEC, key, f"e{n:03}", NOON + n * 100, b"raw %d" % n) for n in order]
    )
    summary = last_summary(results)
    assert summary.count == 150
    assert [event_id for _, event_id in summary.events] == [f"e{n:03}" for n in range(100)]
    assert summary.last_event == (NOON + 14_900, "e149")
    assert (summary.first, summary.last) == (b"raw 0", b"raw 149")


def test_events_at_the_same_time_are_ordered_by_the_bytes_of_their_ids(
    redis_windows: RedisWindows,
) -> None:
    key = str(uuid.uuid4())
    names = ["b", "a", "B", "ä", "aa", "Z", "é"]
    results = redis_windows.observe([Observation(SPEC, key, name, NOON, b"raw") for name in names])
    assert [name for _, name in last_summary(results).events] == sorted(names)


def test_long_values_are_counted_by_their_hash(redis_windows: RedisWindows) -> None:
    spec = WindowSpec(
        kind="value_count", threshold=3, timespan=60_000, dedup=60_000, lateness=60_000
    )
    key, long = str(uuid.uuid4()), "x" * 200_000
    found = [
        redis_windows.observe([Observation(spec, key, f"e{n}", NOON + n, b"", long + tag)])[0]
        for n, tag in enumerate(["a", "b", "a", "c"])
    ]
    assert [len(result.summaries) for result in found] == [0, 0, 0, 1]
    value: Any = redis_windows._client.hget(shard_key(key, spec), key)
    assert len(value) < 1000
    assert short_tag("x" * 64) == "x" * 64
    assert short_tag("ä" * 33) != "ä" * 33


def test_windows_survive_a_killed_redis(
    make_redis: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Given two of three events, in a Redis with the users and settings of production
    server = make_redis(tmp_path)
    client = redis.Redis.from_url(server.url)
    request.addfinalizer(client.close)
    windows = RedisWindows(client)
    key = str(uuid.uuid4())
    assert observe(windows, key, 1).summaries == observe(windows, key, 2).summaries == ()
    # when Redis is killed and starts again
    server.kill()
    server.start()
    # then another worker gets the summary with the third event
    (summary,) = observe(RedisWindows(client), key, 3).summaries
    assert [event_id for _, event_id in summary.events] == ["e1", "e2", "e3"]
    assert summary.first == b"raw"


def test_the_memory_of_estimates_is_bounded(redis_windows: RedisWindows) -> None:
    # Given 20,000 values, when they pass through a window of a minute during an hour
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
    # then only the slices exist that an event within the lateness can need
    client = redis_windows._client
    kept = -(-spec.retention // spec.slice_width) + 2
    prefix = shard_key(key, spec).replace("{", "\\{") + f":{key}"
    assert client.zcard(key_of(key, "events", spec)) <= kept
    hyperloglogs = list(client.scan_iter(match=f"{prefix}:tag_last_seen:*", count=10_000))
    assert 0 < len(hyperloglogs) <= 2 * kept
    assert client.hlen(key_of(key, "references", spec)) <= 2 * kept
    names = list(client.scan_iter(match=f"{prefix}*", count=10_000))
    assert len(names) > len(hyperloglogs)
    assert all(client.ttl(name) > 0 for name in names)
