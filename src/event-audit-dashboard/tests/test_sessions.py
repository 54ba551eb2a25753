"""Sessions on the server, in memory and in Redis."""

import time
from typing import Any

import pytest
from redis import Redis

from auditflow.contract.access import Role
from event_audit_dashboard.access import sessions
from event_audit_dashboard.access.sessions import (
    MemorySessions,
    RedisSessions,
    Session,
    SessionStore,
)

from .conftest import dashboard_client


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Any:
    if request.param == "memory":
        yield MemorySessions()
        return
    redis_server = request.getfixturevalue("redis_server")
    redis_server.flush()
    with dashboard_client(redis_server) as client:
        yield RedisSessions(client)


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
