"""Errors of Redis: transient ones are retried, and no error leaves a connection unusable."""

import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from audit_analysis.windows import Observation, ObservationResult, WindowSpec, pipelining
from audit_analysis.windows.redis_client import transient_errors
from audit_analysis.windows.redis_windows import RedisWindows
from auditflow.errors import Unavailable

NOON = 1_800_000_000_000
SPEC = WindowSpec(threshold=3, timespan=60_000, dedup=300_000, lateness=900_000)


def one_event(key: str, number: int, *, raw: bytes = b"raw") -> list[Observation]:
    return [Observation(SPEC, key, f"e{number}", NOON + number, raw)]


@pytest.mark.parametrize(
    ("setting", "value", "code", "usual"),
    [("maxmemory", "1", "OOM", "256mb"), ("min-replicas-to-write", "1", "NOREPLICAS", "0")],
)
def test_a_transient_error_is_reported_as_unavailable(
    make_redis: Any, tmp_path: Path, setting: str, value: str, code: str, usual: str
) -> None:
    server = make_redis(tmp_path)
    with (
        redis.Redis.from_url(server.admin_url) as admin,
        redis.Redis.from_url(server.url) as client,
    ):
        windows = RedisWindows(client)
        admin.config_set(setting, value)
        with pytest.raises(Unavailable, match=code):
            windows.observe(one_event("key", 1))
        admin.config_set(setting, usual)
        assert len(windows.observe(one_event("key", 1))) == 1


def test_a_replica_that_is_not_yet_the_master_is_unavailable(
    make_redis: Any, tmp_path: Path
) -> None:
    server = make_redis(tmp_path)
    with (
        redis.Redis.from_url(server.admin_url) as admin,
        redis.Redis.from_url(server.url) as client,
    ):
        windows = RedisWindows(client)
        windows.observe(one_event("key", 1))
        admin.replicaof("127.0.0.1", "1")
        with pytest.raises(Unavailable, match="READONLY"):
            windows.observe(one_event("key", 2))
        admin.replicaof("NO", "ONE")
        assert len(windows.observe(one_event("key", 2))) == 1


def test_an_error_in_a_script_is_not_transient() -> None:
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"), transient_errors():
        raise redis.ResponseError("WRONGTYPE Operation against a key")


def test_a_connection_with_unread_responses_is_not_used_again(
    make_redis: Any, tmp_path: Path
) -> None:
    # Given a client that stops waiting while two responses are missing
    server = make_redis(tmp_path)
    with (
        redis.Redis.from_url(server.url) as setup,
        redis.Redis.from_url(server.url, socket_timeout=0.2, max_connections=1) as client,
    ):
        setup.set("own", "mine")
        setup.set("other", "not mine")
        with pytest.raises(redis.TimeoutError):
            pipelining.execute(client, [("BLPOP", "missing", 1), ("GET", "other")])
        # when its only connection is used again, then it gets its own response
        assert pipelining.execute(client, [("GET", "own")]) == [b"mine"]


class _Interrupted(redis.Connection):
    """A connection whose user is interrupted before the second response, for example by a signal."""

    responses_until_interrupt = -1

    def read_response(self, *args: Any, **options: Any) -> Any:
        if self.responses_until_interrupt == 0:
            type(self).responses_until_interrupt = -1
            raise KeyboardInterrupt
        type(self).responses_until_interrupt -= 1
        return super().read_response(*args, **options)


def test_a_connection_is_not_used_again_after_an_interrupt_between_two_responses(
    make_redis: Any, tmp_path: Path
) -> None:
    # Given an interrupt while two of three responses are missing
    server = make_redis(tmp_path)
    pool = redis.ConnectionPool.from_url(
        server.url, connection_class=_Interrupted, max_connections=1
    )
    with redis.Redis.from_pool(pool) as client:
        client.set("own", "mine")
        client.set("other", "not mine")
        _Interrupted.responses_until_interrupt = 1
        with pytest.raises(KeyboardInterrupt):
            pipelining.execute(client, [("GET", "other")] * 3)
        # when the only connection of the pool is used again, then it gets its own response
        assert pipelining.execute(client, [("GET", "own")]) == [b"mine"]


def test_an_error_of_one_command_does_not_affect_the_responses_of_others(
    make_redis: Any, tmp_path: Path
) -> None:
    server = make_redis(tmp_path)
    with redis.Redis.from_url(server.url, max_connections=1) as client:
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            pipelining.execute(client, [("SET", "a", "1"), ("LPUSH", "a", "x"), ("SET", "b", "2")])
        assert pipelining.execute(client, [("MGET", "a", "b")]) == [[b"1", b"2"]]


def test_large_and_small_arguments_are_sent_unchanged(make_redis: Any, tmp_path: Path) -> None:
    server = make_redis(tmp_path)
    with redis.Redis.from_url(server.url) as client:
        values: list[bytes] = [b"", b"\r\n", b"x" * 6000, b"y" * 6001, b"z" * 1_000_000, b"end"]
        commands: list[pipelining.Command] = [
            ("SET", f"k{number}", value) for number, value in enumerate(values)
        ]
        pipelining.execute(client, commands)
        keys = tuple(f"k{number}" for number in range(len(values)))
        assert pipelining.execute(client, [("MGET", *keys)]) == [values]


def test_a_full_redis_gives_up_events_and_windows_instead_of_stopping_the_detection(
    make_redis: Any, tmp_path: Path
) -> None:
    # Given a Redis with little memory, and more windows than it can store
    server = make_redis(tmp_path)
    evicted: list[int] = []
    with (
        redis.Redis.from_url(server.admin_url) as admin,
        redis.Redis.from_url(server.url) as client,
    ):
        used = int(admin.info("memory")["used_memory"])
        admin.config_set("maxmemory", str(used + 6_000_000))
        windows = RedisWindows(client, windows_per_rule=10_000_000, on_evicted=evicted.append)
        windows.memory.is_due = lambda: False  # type: ignore[method-assign]
        # when a flood of entities arrives, then each batch is accepted
        results: list[ObservationResult] = []
        for start in range(0, 60_000, 500):
            results += windows.observe(
                [
                    Observation(
                        SPEC, f"{start + n}:{uuid.uuid4()}", f"e{start + n}", NOON, b"r" * 99
                    )
                    for n in range(500)
                ]
            )
        assert len(results) == 60_000
        assert sum(evicted) > 0
        # and a burst is found; its summary states that it may be incomplete
        spec = msgspec.structs.replace(SPEC)
        found = windows.observe(
            [Observation(spec, "burst", f"b{n}", NOON, b"raw") for n in range(3)]
        )
        (summary,) = found[-1].summaries
        assert summary.count == 3
