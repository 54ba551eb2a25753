"""Sessions on the server, in memory and in Redis."""

import time
from typing import Any

import pytest
from redis import Redis

from auditflow.contract.access import Role
from event_audit_dashboard.access import sessions
from event_audit_dashboard.access.session_cache import KEPT_SECONDS, CachedSessions
from event_audit_dashboard.access.sessions import (
    MemorySessions,
    RedisSessions,
    Session,
    SessionStore,
)

from .conftest import dashboard_client


@pytest.fixture(params=["memory", "redis", "cached"])
def store(request: pytest.FixtureRequest) -> Any:
    if request.param == "memory":
        yield MemorySessions()
        return
    redis_server = request.getfixturevalue("redis_server")
    redis_server.flush()
    with dashboard_client(redis_server) as client:
        in_redis = RedisSessions(client)
        yield CachedSessions(in_redis) if request.param == "cached" else in_redis


def session(user: str = "dana", age: float = 0.0) -> Session:
    return Session(user, Role.ANALYST, time.time() - age)


def test_a_session_is_found_until_it_ends(store: SessionStore) -> None:
    identifier = store.start(session())
    found = store.get(identifier)
    assert found is not None
    assert (found.user, found.role) == ("dana", Role.ANALYST)
    assert store.get("made-up") is None
    store.end(identifier)
    assert store.get(identifier) is None
    store.end(identifier)


def test_an_expired_session_is_not_found(store: SessionStore) -> None:
    assert store.get(store.start(session(age=sessions.SESSION_SECONDS + 1))) is None


def test_all_sessions_of_a_user_or_of_everybody_end_at_once(store: SessionStore) -> None:
    dana = [store.start(session("dana")) for _ in range(3)]
    kim = [store.start(session("kim")) for _ in range(2)]
    assert store.end_all("dana") == 3
    assert [store.get(identifier) for identifier in dana] == [None] * 3
    assert all(store.get(identifier) for identifier in kim)
    assert store.end_all() == 2
    assert [store.get(identifier) for identifier in kim] == [None] * 2


def test_a_user_has_a_limited_number_of_sessions(store: SessionStore) -> None:
    identifiers = [store.start(session(age=100 - n)) for n in range(sessions.MAX_PER_USER + 2)]
    assert [store.get(identifier) for identifier in identifiers[:2]] == [None, None]
    assert all(store.get(identifier) for identifier in identifiers[2:])


END = {
    "one": lambda store, identifier: store.end(identifier),
    "of the user": lambda store, identifier: store.end_all("dana"),
    "all": lambda store, identifier: store.end_all(),
    "of the provider": lambda store, identifier: store.end_identity(
        sessions.identity_key(subject="d-1", sid="")
    ),
}


@pytest.mark.parametrize("end", END.values(), ids=END)
def test_a_session_that_another_replica_ends_is_refused_within_a_limit(
    redis_of_the_dashboard: Any, end: Any
) -> None:
    # Given two replicas, and a session that one of them has read
    first, second = (CachedSessions(RedisSessions(redis_of_the_dashboard)) for _ in range(2))
    identifier = first.start(Session("dana", Role.ANALYST, time.time(), "d-1", "sid-1"))
    assert first.get(identifier) is not None
    # When the other ends it
    end(second, identifier)
    ended = time.monotonic()
    assert second.get(identifier) is None
    # Then no read that starts after the limit finds it
    while True:
        started = time.monotonic()
        if first.get(identifier) is None:
            break
        assert started - ended < KEPT_SECONDS, "the session was kept for too long"
    assert KEPT_SECONDS <= 1


@pytest.mark.parametrize("end", END.values(), ids=END)
def test_a_read_that_began_before_the_end_keeps_nothing(end: Any) -> None:
    # Given a store that ends the session while it is read
    class Slow(MemorySessions):
        on_read: Any = None

        def get(self, identifier: str) -> Session | None:
            found = super().get(identifier)
            if self.on_read is not None:
                self.on_read()
            return found

    slow = Slow()
    cached = CachedSessions(slow)
    identifier = cached.start(Session("dana", Role.ANALYST, time.time(), "d-1", "sid-1"))
    slow.on_read = lambda: end(cached, identifier)
    cached.get(identifier)
    slow.on_read = None
    # Then the next request finds no session
    assert cached.get(identifier) is None


def test_requests_in_quick_succession_share_a_read() -> None:
    class Counting(MemorySessions):
        reads = 0

        def get(self, identifier: str) -> Session | None:
            self.reads += 1
            return super().get(identifier)

    counting = Counting()
    cached = CachedSessions(counting)
    identifier = cached.start(session())
    started = time.monotonic()
    assert all(cached.get(identifier) for _ in range(100))
    assert counting.reads <= 1 + (time.monotonic() - started) / KEPT_SECONDS
    # But an unknown session is never kept
    before = counting.reads
    assert not any(cached.get("made-up") for _ in range(3))
    assert counting.reads == before + 3


def test_a_kept_session_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    cached = CachedSessions(MemorySessions())
    identifier = cached.start(session(age=sessions.SESSION_SECONDS - 60))
    assert cached.get(identifier) is not None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert cached.get(identifier) is None


def test_redis_has_no_identifier_that_a_browser_could_use(redis_server: Any) -> None:
    redis_server.flush()
    with dashboard_client(redis_server) as client, Redis.from_url(redis_server.admin_url) as admin:
        identifier = RedisSessions(client).start(session())
        keys = [key.decode() for key in admin.scan_iter("*")]
        assert keys
        assert not any(identifier in key for key in keys)
        assert all(admin.ttl(key) > 0 for key in keys)


def test_the_dashboard_cannot_read_the_windows(redis_server: Any) -> None:
    from redis.exceptions import NoPermissionError

    with dashboard_client(redis_server) as client:
        for command in (("GET", "window"), ("KEYS", "*"), ("FLUSHALL",), ("SCAN", "0")):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)


def test_the_identity_provider_ends_one_session_or_all_of_a_user(store: SessionStore) -> None:
    now = time.time()
    first = store.start(Session("dana", Role.ANALYST, now, "d-1", "sid-1"))
    second = store.start(Session("dana", Role.ANALYST, now, "d-1", "sid-2"))
    other = store.start(Session("kim", Role.ANALYST, now, "k-1", "sid-3"))
    local = store.start(session("dana"))

    assert store.end_identity(sessions.identity_key(subject="d-1", sid="sid-2")) == 1
    assert [store.get(item) is not None for item in (first, second, other)] == [True, False, True]

    assert store.end_identity(sessions.identity_key(subject="d-1", sid="")) >= 1
    assert store.get(first) is None
    assert store.get(other) is not None
    assert store.get(local) is not None
    assert store.end_identity(sessions.identity_key(subject="x", sid="")) == 0


def test_a_value_is_used_once(store: SessionStore) -> None:
    assert [store.first_use("logout 1", 60) for _ in range(3)] == [True, False, False]
    assert store.first_use("logout 2", 60)
