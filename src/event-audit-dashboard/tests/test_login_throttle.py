"""The login throttle, in memory and in Redis."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from auditflow.errors import Unavailable
from event_audit_dashboard import login_throttle
from event_audit_dashboard.login_throttle import LoginThrottle

from .conftest import dashboard_client

ADDRESS = "203.0.113.1"


@pytest.fixture(params=["memory", "redis"])
def throttle(request: pytest.FixtureRequest) -> LoginThrottle:
    if request.param == "memory":
        return LoginThrottle("admin")
    return LoginThrottle("admin", request.getfixturevalue("redis_of_the_dashboard"))


def test_after_five_failures_a_user_waits(throttle: LoginThrottle) -> None:
    assert [throttle.admit(ADDRESS, "admin") for _ in range(5)] == [0] * 5
    assert 0 < throttle.admit(ADDRESS, "admin") <= 300
    assert throttle.admit("198.51.100.9", "admin") == 0


def test_a_success_resets_the_failures_of_the_user(throttle: LoginThrottle) -> None:
    for _ in range(3):
        assert [throttle.admit(ADDRESS, "admin") for _ in range(4)] == [0] * 4
        throttle.reset(ADDRESS, "admin")


def test_an_address_is_limited_for_all_names_together(throttle: LoginThrottle) -> None:
    for _ in range(4):
        for _ in range(5):
            assert throttle.admit(ADDRESS, "admin") == 0
        throttle.reset(ADDRESS, "admin")
    assert throttle.admit(ADDRESS, "another") > 0


def test_an_account_is_limited_for_all_addresses_together(throttle: LoginThrottle) -> None:
    for number in range(login_throttle.PER_ACCOUNT.amount):
        assert throttle.admit(f"198.51.100.{number}", "admin") == 0
    assert throttle.admit("192.0.2.1", "admin") > 0
    assert throttle.admit("192.0.2.1", "another") == 0


def test_parallel_attempts_are_all_counted(throttle: LoginThrottle) -> None:
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: throttle.admit(ADDRESS, "admin"), range(100)))
    assert waits.count(0) <= 5


def test_an_ipv6_network_counts_as_one_address(throttle: LoginThrottle) -> None:
    for number in range(5):
        assert throttle.admit(f"2001:db8:1:2::{number}", "admin") == 0
    assert throttle.admit("2001:db8:1:2:ffff::1", "admin") > 0
    assert throttle.admit("2001:db8:1:3::1", "admin") == 0


def test_replicas_share_the_counts(redis_of_the_dashboard: Any) -> None:
    first = LoginThrottle("admin", redis_of_the_dashboard)
    second = LoginThrottle("admin", redis_of_the_dashboard)
    assert [first.admit(ADDRESS, "admin") for _ in range(5)] == [0] * 5
    assert second.admit(ADDRESS, "admin") > 0


def test_a_flood_of_names_needs_few_counters(
    redis_of_the_dashboard: Any, redis_server: Any
) -> None:
    throttle = LoginThrottle("admin", redis_of_the_dashboard)
    for number in range(3000):
        throttle.admit(f"10.0.{number // 256}.{number % 256}", f"name {number}")
    with Redis.from_url(redis_server.admin_url) as admin:
        size = admin.dbsize()
    assert size <= 2 * login_throttle.IN_TOTAL.amount * 2 + 10  # two windows at most


def test_without_redis_no_user_is_admitted(make_redis: Any, tmp_path: Any) -> None:
    server = make_redis(tmp_path)
    client = dashboard_client(server)
    throttle = LoginThrottle("admin", client)
    assert throttle.admit(ADDRESS, "admin") == 0
    server.stop()
    with pytest.raises(Unavailable):
        throttle.admit(ADDRESS, "admin")
    client.close()
