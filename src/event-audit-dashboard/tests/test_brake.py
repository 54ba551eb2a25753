"""The brake on guessing, with a clock of our own."""

from concurrent.futures import ThreadPoolExecutor

from event_audit_dashboard import brake
from event_audit_dashboard.brake import Brake, keys


def test_the_wait_grows_up_to_a_bound_and_is_forgotten_after_an_hour() -> None:
    stop, who, now = Brake(), keys("203.0.113.1", "admin"), 1000.0
    assert [stop.admit(who, now=now) for _ in range(5)] == [0] * 5
    waits = []
    for _ in range(12):
        waits.append(stop.admit(who, now=now))
        now += waits[-1]
        assert stop.admit(who, now=now) == 0
    assert waits[:4] == [2, 4, 8, 16]
    assert waits[-1] == brake.LONGEST_WAIT_SECONDS
    now += brake.MEMORY_SECONDS + 1
    assert [stop.admit(who, now=now) for _ in range(5)] == [0] * 5


def test_waiting_does_not_make_the_wait_longer() -> None:
    stop, who = Brake(), keys("203.0.113.1", "admin")
    for _ in range(5):
        stop.admit(who, now=0)
    assert [stop.admit(who, now=1) for _ in range(100)] == [1.0] * 100


def test_success_forgets_the_user_but_not_what_the_address_tried_before() -> None:
    stop = Brake()
    for number in range(brake.FREE_PER_ADDRESS - 1):
        assert stop.admit(keys("203.0.113.1", f"guess {number}"), now=0) == 0
    assert stop.admit(keys("203.0.113.1", "admin"), now=0) == 0
    stop.forgive(keys("203.0.113.1", "admin"))
    assert stop.admit(keys("203.0.113.1", "admin"), now=0) == 0
    assert stop.admit(keys("203.0.113.1", "another"), now=0) > 0


def test_attempts_at_the_same_moment_are_all_counted() -> None:
    stop, who = Brake(), keys("203.0.113.1", "admin")
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: stop.admit(who, now=0), range(200)))
    assert waits.count(0) == brake.FREE_PER_USER


def test_an_ipv6_network_is_one_address() -> None:
    stop = Brake()
    for number in range(5):
        stop.admit(keys(f"2001:db8:1:2::{number}", "admin"), now=0)
    assert stop.admit(keys("2001:db8:1:2:ffff::1", "admin"), now=0) > 0
    assert stop.admit(keys("2001:db8:1:3::1", "admin"), now=0) == 0
    assert keys("::ffff:203.0.113.1", "admin") == keys("203.0.113.1", "admin")


def test_memory_is_bounded() -> None:
    stop = Brake(max_records=100)
    for number in range(10_000):
        stop.admit(keys(f"10.0.{number // 256}.{number % 256}", "u" * 500), now=number)
    assert len(stop) == 100
