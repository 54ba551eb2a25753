"""The cache of verdicts: its limits in characters, and which entries it discards."""

import pytest

from audit_analysis.sigma.verdict_cache import Key, VerdictCache

#: The size of an entry without characters, and the maximum size of an entry.
ENTRY, MAX_ENTRY = 200, 2048


@pytest.mark.parametrize(
    ("largest", "too_large"),
    [
        (("x" * (MAX_ENTRY - ENTRY),), ("x" * (MAX_ENTRY - ENTRY + 1),)),
        # a number counts as no character, a tuple as eight
        ((1, "x" * (MAX_ENTRY - ENTRY)), (1, "x" * (MAX_ENTRY - ENTRY + 1))),
        ((("x" * (MAX_ENTRY - ENTRY - 8),),), (("x" * (MAX_ENTRY - ENTRY - 7),),)),
        (
            ("ab", ("x" * (MAX_ENTRY - ENTRY - 12), "cd")),
            ("ab", ("x" * (MAX_ENTRY - ENTRY - 11), "cd")),
        ),
    ],
)
def test_a_result_with_a_long_key_is_not_cached(largest: Key, too_large: Key) -> None:
    cache: VerdictCache[int] = VerdictCache()
    cache.put(largest, 1)
    cache.put(too_large, 2)
    assert (cache.get(largest), cache.get(too_large)) == (1, None)


def filled(count: int, capacity: int = 5 * ENTRY) -> VerdictCache[int]:
    """A cache with room for five entries in each generation."""
    cache: VerdictCache[int] = VerdictCache(capacity=capacity)
    for number in range(count):
        cache.put((number,), number)
    return cache


@pytest.mark.parametrize(
    ("count", "kept"), [(1, 1), (5, 5), (6, 6), (10, 10), (11, 6), (15, 10), (16, 6)]
)
def test_two_generations_are_kept(count: int, kept: int) -> None:
    cache = filled(count)
    assert len(cache) == kept
    assert cache.get((count - kept - 1,)) is None
    assert cache.get((count - kept,)) == count - kept
    assert cache.get((count - 1,)) == count - 1


def test_a_used_entry_stays_and_counts_again() -> None:
    # given a full young generation, and an old one
    cache = filled(10)
    # when an old entry is used, it moves to a new young generation
    assert cache.get((0,)) == 0
    # then the others of its generation are discarded, and it stays for two more generations
    assert [cache.get((number,)) for number in range(1, 5)] == [None] * 4
    for number in range(100, 104):
        cache.put((number,), number)
    assert len(cache) == 10
    assert cache.get((0,)) == 0


def test_a_result_that_is_replaced_is_counted_once() -> None:
    cache = filled(1)
    cache.put((0,), 7)
    assert cache.get((0,)) == 7
    assert len(cache) == 1


def test_an_entry_in_both_generations_counts_once() -> None:
    cache = filled(6)
    cache.put((0,), 7)
    assert len(cache) == 6
    assert cache.get((0,)) == 7


def test_an_empty_result_is_cached() -> None:
    cache: VerdictCache[tuple[int, ...]] = VerdictCache()
    cache.put(("a",), ())
    assert cache.get(("a",)) == ()
    assert cache.get(("b",)) is None
