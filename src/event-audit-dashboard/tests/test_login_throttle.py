"""The login throttle, in memory and in Redis."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from auditflow.errors import Unavailable
from event_audit_dashboard.access import login_throttle
from event_audit_dashboard.access.login_throttle import LoginThrottle

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
        for _ in range(5):  # four failures and a success
            assert throttle.admit(ADDRESS, "admin") == 0
        throttle.reset(ADDRESS, "admin")
    for _ in range(4):
        assert throttle.admit(ADDRESS, "another") == 0
    assert throttle.admit(ADDRESS, "another") > 0


def test_successes_of_many_people_do_not_block_their_address(throttle: LoginThrottle) -> None:
    for _ in range(login_throttle.PER_ADDRESS.amount + 5):
        assert throttle.admit(ADDRESS, "admin") == 0
        throttle.reset(ADDRESS, "admin")


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


def test_the_wait_is_until_the_end_of_the_longest_exhausted_window() -> None:
    # given a user whose account has no free attempt for 15 minutes, and an address for 5 minutes
    throttle = LoginThrottle("admin")
    for number in range(login_throttle.PER_ACCOUNT.amount // 5):
        for _ in range(5):
            assert throttle.admit(f"198.51.100.{number}", "admin") == 0
    # when the same user waits
    wait = throttle.admit("198.51.100.1", "admin")
    # then the wait is that of the account, which is the longer one
    assert 300 < wait <= 900
    assert 300 < throttle.admit("192.0.2.1", "admin") <= 900


def test_a_wait_is_at_least_one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    throttle = LoginThrottle("admin")
    for _ in range(5):
        throttle.admit(ADDRESS, "admin")
    # when the clock of the process is ahead of the end of the window
    monkeypatch.setattr(time, "time", lambda: 2**40)
    monkeypatch.setattr(throttle._limiter, "test", lambda *_: False)
    assert throttle.admit(ADDRESS, "admin") == 1


def test_a_parallel_attempt_that_takes_the_last_one_means_a_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given an exhausted limit that another process exhausted after the check
    throttle = LoginThrottle("admin")
    for _ in range(5):
        throttle.admit(ADDRESS, "admin")
    monkeypatch.setattr(throttle._limiter, "test", lambda *_: True)
    assert throttle.admit(ADDRESS, "admin") == 1


def test_names_without_an_account_count_together() -> None:
    throttle = LoginThrottle("admin")
    assert [throttle.admit(ADDRESS, f"name {number}") for number in range(5)] == [0] * 5
    # then another unknown name waits, and the account does not
    assert throttle.admit(ADDRESS, "another") > 0
    assert throttle.admit(ADDRESS, "admin") == 0


def test_an_ipv4_address_in_ipv6_counts_as_that_address() -> None:
    throttle = LoginThrottle("admin")
    assert [throttle.admit(f"::ffff:{ADDRESS}", "admin") for _ in range(5)] == [0] * 5
    assert throttle.admit(ADDRESS, "admin") > 0
    assert throttle.admit("::ffff:203.0.113.2", "admin") == 0


def test_an_address_that_is_none_counts_by_its_first_64_characters() -> None:
    throttle = LoginThrottle("admin")
    assert [throttle.admit("x" * 64 + str(number), "admin") for number in range(5)] == [0] * 5
    assert throttle.admit("x" * 64 + "another", "admin") > 0
    assert throttle.admit("x" * 63 + "y", "admin") == 0


def test_without_redis_no_count_is_reset(make_redis: Any, tmp_path: Any) -> None:
    server = make_redis(tmp_path)
    client = dashboard_client(server)
    throttle = LoginThrottle("admin", client)
    server.stop()
    with pytest.raises(Unavailable):
        throttle.reset(ADDRESS, "admin")
    client.close()
