"""Windows in Redis expire when they are not accessed, and are evicted above a limit."""

import uuid
from typing import Any

import msgspec
import pytest

from audit_analysis.windows import Observation, WindowSpec
from audit_analysis.windows.layout import (
    MAX_SMALL,
    OUTAGE_SECONDS,
    SHARDS,
    SLACK_SECONDS,
)
from audit_analysis.windows.redis_windows import RedisWindows
from audit_analysis.windows.request import idle_seconds, shard

from .window_keys import NOON, SPEC, key_of, observe, shard_key

KINDS = ("event_count", "value_count", "temporal", "temporal_ordered")


#: The response of Redis to TTL for a missing key.
MISSING = -2


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_window_expires(redis_windows: RedisWindows, kind: str) -> None:
    # Given a large window whose events, hits and signatures are forgotten again and again
    client = redis_windows._client
    key, spec = (
        str(uuid.uuid4()),
        WindowSpec(kind=kind, threshold=2, timespan=2000, dedup=2000, lateness=0, capacity=4),  # type: ignore[arg-type]
    )
    seconds = [0, 1, 1, 1, 1, 1, 100, 101, 101, 101, 101, 101, 101, 101, 102, 300, 300]
    for number, second in enumerate(seconds):
        tag = "" if kind == "event_count" else str(number % 2 + 1)
        (result,) = redis_windows.observe(
            [Observation(spec, key, f"e{number}", NOON + second * 1000, b"raw", tag)]
        )
        redis_windows.mark_published([(key, spec, summary) for summary in result.summaries])
        # then each existing key has an expiry at any time
        names = ("events", "hits", "references", "published", "tag_last_seen")
        expiries = [client.ttl(key_of(key, name, spec)) for name in names]
        assert number < spec.capacity or expiries[0] > 0
        assert all(expiry > spec.retention // 1000 for expiry in expiries if expiry != MISSING)
        assert client.ttl(shard_key(key, spec)) > spec.retention // 1000


def test_an_access_renews_the_expiry_only_after_the_slack(redis_windows: RedisWindows) -> None:
    client, key = redis_windows._client, str(uuid.uuid4())
    name, idle = shard_key(key), idle_seconds(SPEC)
    assert idle == SPEC.retention // 1000 + OUTAGE_SECONDS + SLACK_SECONDS
    observe(redis_windows, key, 0)
    # Given a shard whose last renewal is recent: an access does not write to it
    client.expire(name, idle - SLACK_SECONDS + 60)
    observe(redis_windows, key, 1)
    assert client.ttl(name) <= idle - SLACK_SECONDS + 60
    # Given one whose last renewal is older than the slack: an access renews it
    client.expire(name, idle - SLACK_SECONDS - 60)
    observe(redis_windows, key, 2)
    assert client.ttl(name) > idle - 60


def test_an_access_renews_the_keys_of_a_large_window(redis_windows: RedisWindows) -> None:
    client, key = redis_windows._client, str(uuid.uuid4())
    for second in range(MAX_SMALL + 1):
        observe(redis_windows, key, second)
    name, idle = key_of(key, "events"), idle_seconds(SPEC)
    assert client.ttl(name) > idle - 60
    client.expire(name, idle - SLACK_SECONDS - 60)
    observe(redis_windows, key, 20)
    assert client.ttl(name) > idle - 60


def test_an_access_renews_the_access_time_of_a_large_window(redis_windows: RedisWindows) -> None:
    """A window with an old access time would be removed or evicted first."""
    client, key = redis_windows._client, str(uuid.uuid4())
    for second in range(MAX_SMALL + 1):
        observe(redis_windows, key, second)
    name, started = shard_key(key), int(client.time()[0])
    value: Any = client.hget(name, key)
    for age, is_renewed in ((SLACK_SECONDS - 60, False), (SLACK_SECONDS + 60, True)):
        # Given a recorded access of this age: only an old one is written again
        client.hset(name, key, f"{started - age:08x}".encode() + value[8:])
        observe(redis_windows, key, 20)
        recorded: Any = client.hget(name, key)
        assert (int(recorded[:8], 16) >= started) == is_renewed


def test_a_window_survives_the_longest_outage_and_is_removed_after_it(
    redis_windows: RedisWindows,
) -> None:
    client, idle = redis_windows._client, idle_seconds(SPEC)
    # Given two windows of a full shard: the first was accessed just within its expiry, the second
    # before
    pool = msgspec.structs.replace(SPEC, pool=uuid.uuid4().hex)
    windows = RedisWindows(client, windows_per_rule=8 * SHARDS)
    keys = keys_of_one_shard(8)
    for key in keys[:7]:
        observe(windows, key, 0, spec=pool)
    name, now = shard_key(keys[0], pool), int(client.time()[0])
    for key, age in ((keys[0], idle - 60), (keys[1], idle + 60)):
        value: Any = client.hget(name, key)
        client.hset(name, key, f"{now - age:08x}".encode() + value[8:])
    # when more windows are added
    observe(windows, keys[7], 0, spec=pool)
    observe(windows, str_in_same_shard(keys[0]), 0, spec=pool)
    # then the second is removed, and the first is not
    assert client.hexists(name, keys[0])
    assert not client.hexists(name, keys[1])


def keys_of_one_shard(number: int, start: int = 0) -> list[str]:
    keys: list[str] = []
    candidate = start
    while len(keys) < number:
        if shard(f"k{candidate}") == 0:
            keys.append(f"k{candidate}")
        candidate += 1
    return keys


def str_in_same_shard(key: str) -> str:
    assert shard(key) == 0
    return keys_of_one_shard(1, start=10_000_000)[0]


def test_a_full_shard_evicts_the_least_suspicious_windows(redis_windows: RedisWindows) -> None:
    # Given a limit of eight windows in a shard, and a window with two of three events
    evicted: list[int] = []
    windows = RedisWindows(
        redis_windows._client, windows_per_rule=8 * SHARDS, on_evicted=evicted.append
    )
    spec = msgspec.structs.replace(SPEC, pool=uuid.uuid4().hex)
    victim, *others = keys_of_one_shard(60)
    observe(windows, victim, 0, spec=spec)
    observe(windows, victim, 1, spec=spec)
    # when a flood of other entities arrives
    for key in others:
        observe(windows, key, 2, spec=spec)
    # then the number of windows stays at the limit, evictions are counted, and the third event is
    # found; the summary states that events before may be missing
    assert windows._client.hlen(shard_key(victim, spec)) <= 9
    assert sum(evicted) >= 60 - 9
    (summary,) = observe(windows, victim, 3, spec=spec).summaries
    assert (summary.count, summary.approximate) == (3, True)


def test_a_summary_after_the_evictions_is_exact_again(redis_windows: RedisWindows) -> None:
    windows = RedisWindows(redis_windows._client, windows_per_rule=8 * SHARDS)
    spec = msgspec.structs.replace(SPEC, pool=uuid.uuid4().hex)
    victim, *others = keys_of_one_shard(40)
    for key in others:
        observe(windows, key, 0, spec=spec)
    for second in (100, 101):
        observe(windows, victim, second, spec=spec)
    (summary,) = observe(windows, victim, 102, spec=spec).summaries
    assert (summary.count, summary.approximate) == (3, False)


def test_a_large_window_is_evicted_with_all_its_keys(redis_windows: RedisWindows) -> None:
    client = redis_windows._client
    windows = RedisWindows(client, windows_per_rule=8 * SHARDS)
    spec = msgspec.structs.replace(SPEC, pool=uuid.uuid4().hex)
    keys = keys_of_one_shard(12)
    for key in keys:
        windows.observe(
            [Observation(spec, key, f"e{n}", NOON + n, b"raw") for n in range(MAX_SMALL + 1)]
        )
    existing = {key for key in keys if client.exists(key_of(key, "events", spec))}
    assert existing == {key for key in keys if client.hexists(shard_key(key, spec), key)}
    assert len(existing) <= 8
