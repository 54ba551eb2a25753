"""Counting distinct events: exact up to 10,000, estimated above."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from auditflow.contract import event_hashes

sets = st.sets(st.integers(0, 50)).map(lambda numbers: event_hashes.of_events(map(str, numbers)))


def test_the_hash_of_an_event_is_part_of_the_contract() -> None:
    assert event_hashes.of_events(["event-1"]) == hashlib.sha256(b"event-1").hexdigest()[:16]


@given(sets, sets, sets)
def test_union_is_commutative_associative_and_idempotent(a: str, b: str, c: str) -> None:
    assert event_hashes.union(a, b) == event_hashes.union(b, a)
    assert event_hashes.union(event_hashes.union(a, b), c) == event_hashes.union(
        a, event_hashes.union(b, c)
    )
    assert event_hashes.union(a, a) == a


def test_an_event_in_both_sets_counts_once() -> None:
    first = event_hashes.of_events(["e1", "e2", "e2"])
    second = event_hashes.of_events(["e2", "e3"])

    assert event_hashes.size(first) == 2
    assert event_hashes.size(event_hashes.union(first, second)) == 3


def test_ten_thousand_events_are_counted_exactly_and_one_more_is_an_estimate() -> None:
    exact = event_hashes.of_events(f"event-{n}" for n in range(10_000))
    assert (event_hashes.size(exact), event_hashes.is_estimate(exact)) == (10_000, False)

    more = event_hashes.union(exact, event_hashes.of_events(["another"]))
    assert event_hashes.is_estimate(more)


def test_an_estimate_is_within_three_percent() -> None:
    events = event_hashes.of_events(f"event-{n}" for n in range(100_000))

    assert event_hashes.is_estimate(events)
    assert len(events) == 16 * event_hashes.MAX_HASHES
    assert abs(event_hashes.size(events) - 100_000) < 3_000


def test_the_estimate_is_the_inverse_of_the_mean_distance_of_the_smallest_hashes() -> None:
    """All services must estimate the same number from the same set."""
    # given 10,001 hashes of which the largest is 10,000 * 2**32: the estimate is 2**64 / 2**32
    hashes = "".join(f"{number << 32:016x}" for number in range(10_001))
    assert event_hashes.size(hashes) == 10_000 * 2**64 // ((10_000 << 32) + 1) == 4_294_967_295
    assert event_hashes.size(hashes[16:]) == 10_000
    # given the smallest possible hashes, then the addition of 1 is visible
    hashes = "".join(f"{number:016x}" for number in range(10_001))
    assert event_hashes.size(hashes) == 10_000 * 2**64 // 10_001
    # given the largest possible hashes: an estimate is never below the number of stored hashes
    hashes = "".join(f"{2**64 - 10_001 + number:016x}" for number in range(10_001))
    assert event_hashes.size(hashes) == 10_001
