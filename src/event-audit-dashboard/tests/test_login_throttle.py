"""The login throttle, with a simulated clock."""

from concurrent.futures import ThreadPoolExecutor

from event_audit_dashboard import login_throttle
from event_audit_dashboard.login_throttle import LoginThrottle, keys


def test_wait_doubles_up_to_the_maximum_and_failures_expire_after_an_hour() -> None:
    throttle, attempt, now = LoginThrottle(), keys("203.0.113.1", "admin"), 1000.0
    assert [throttle.admit(attempt, now=now) for _ in range(5)] == [0] * 5
    waits = []
    for _ in range(12):
        waits.append(throttle.admit(attempt, now=now))
        now += waits[-1]
        assert throttle.admit(attempt, now=now) == 0
    assert waits[:4] == [2, 4, 8, 16]
    assert waits[-1] == login_throttle.MAX_WAIT_SECONDS
    now += login_throttle.MEMORY_SECONDS + 1
    assert [throttle.admit(attempt, now=now) for _ in range(5)] == [0] * 5


def test_refused_attempts_do_not_extend_the_wait() -> None:
    throttle, attempt = LoginThrottle(), keys("203.0.113.1", "admin")
    for _ in range(5):
        throttle.admit(attempt, now=0)
    assert [throttle.admit(attempt, now=1) for _ in range(100)] == [1.0] * 100


def test_success_removes_failures_of_the_user_but_keeps_those_of_the_address() -> None:
    throttle = LoginThrottle()
    for number in range(login_throttle.FREE_PER_ADDRESS - 1):
        assert throttle.admit(keys("203.0.113.1", f"guess {number}"), now=0) == 0
    assert throttle.admit(keys("203.0.113.1", "admin"), now=0) == 0
    throttle.forgive(keys("203.0.113.1", "admin"))
    assert throttle.admit(keys("203.0.113.1", "admin"), now=0) == 0
    assert throttle.admit(keys("203.0.113.1", "another"), now=0) > 0


def test_parallel_attempts_are_all_counted() -> None:
    throttle, attempt = LoginThrottle(), keys("203.0.113.1", "admin")
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: throttle.admit(attempt, now=0), range(200)))
    assert waits.count(0) == login_throttle.FREE_PER_USER


def test_an_ipv6_network_counts_as_one_address() -> None:
    throttle = LoginThrottle()
    for number in range(5):
        throttle.admit(keys(f"2001:db8:1:2::{number}", "admin"), now=0)
    assert throttle.admit(keys("2001:db8:1:2:ffff::1", "admin"), now=0) > 0
    assert throttle.admit(keys("2001:db8:1:3::1", "admin"), now=0) == 0
    assert keys("::ffff:203.0.113.1", "admin") == keys("203.0.113.1", "admin")


def test_memory_is_bounded() -> None:
    throttle = LoginThrottle(max_records=100)
    for number in range(10_000):
        throttle.admit(keys(f"10.0.{number // 256}.{number % 256}", "u" * 500), now=number)
    assert len(throttle) == 100
