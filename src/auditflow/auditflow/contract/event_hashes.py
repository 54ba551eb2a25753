"""A set of event identifiers, reduced to 8-byte hashes, that counts distinct events.

The set is exact up to ``EXACT_LIMIT`` events. A larger set keeps only the smallest hashes, from
which the number of events is estimated (a "k minimum values" sketch). The union of two sets is
commutative, associative and idempotent in both cases.

A set is represented as lower-case hexadecimal text: the sorted hashes, 16 digits each, without
separators.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

#: Up to this number of distinct events, a count is exact.
EXACT_LIMIT: Final = 10_000
#: Hashes that a set keeps. One more than the limit shows that the limit is exceeded.
MAX_HASHES: Final = EXACT_LIMIT + 1
_DIGITS: Final = 16
_RANGE: Final = 2**64


def of_events(event_ids: Iterable[str]) -> str:
    """The set of these events: of each identifier, the first 8 bytes of its SHA-256."""
    return _join({hashlib.sha256(name.encode()).hexdigest()[:_DIGITS] for name in event_ids})


def union(first: str, second: str) -> str:
    """The set of the events of both sets."""
    if not second or first == second:
        return first
    if not first:
        return second
    # Both are sorted, so that sorting them together is a merge.
    return "".join(dict.fromkeys(sorted(_split(first) + _split(second))))[: MAX_HASHES * _DIGITS]


def size(hashes: str) -> int:
    """The number of distinct events. It is an estimate if ``is_estimate``."""
    stored = len(hashes) // _DIGITS
    if stored < MAX_HASHES:
        return stored
    largest = int(hashes[-_DIGITS:], 16) + 1
    return max(MAX_HASHES, (MAX_HASHES - 1) * _RANGE // largest)


def is_estimate(hashes: str) -> bool:
    """Whether the set has more events than it can count exactly."""
    return len(hashes) // _DIGITS >= MAX_HASHES


def _split(hashes: str) -> list[str]:
    return [hashes[start : start + _DIGITS] for start in range(0, len(hashes), _DIGITS)]


def _join(hashes: set[str]) -> str:
    return "".join(sorted(hashes)[:MAX_HASHES])
