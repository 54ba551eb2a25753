"""Caches the results of rules by the values that they depend on, because values in logs repeat."""

from collections.abc import Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")

#: Maximum size of one generation of the cache, in characters of the keys. There are two
#: generations. Each entry counts as ``_ENTRY`` characters more.
CAPACITY: Final = 4 * 1024 * 1024
_ENTRY: Final = 200
#: Entries larger than this are not cached, because long values rarely repeat (characters).
_MAX_ENTRY: Final = 2048

#: A cache key. Keys are equal if the values that the result depends on are equal.
Key = tuple[object, ...]


class VerdictCache(Generic[T]):
    """A cache that discards the entries that were not used for the longest time.

    Entries live in two generations. When the young generation is full it becomes the old one, and
    the previous old one is discarded. An entry that is used moves to the young generation.
    """

    __slots__ = ("_capacity", "_old", "_size", "_young")

    def __init__(self, capacity: int = CAPACITY) -> None:
        """``capacity`` is the estimated memory of each generation, in bytes."""
        self._capacity = capacity
        self._size = 0
        self._young: dict[Key, T] = {}
        self._old: dict[Key, T] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def get(self, key: Key) -> T | None:
        """The cached result, or None."""
        found = self._young.get(key)
        if found is None and self._old:
            found = self._old.pop(key, None)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: Key, value: T) -> None:
        """Add a result, unless its key is too large."""
        size = _ENTRY + _characters(key)
        if size > _MAX_ENTRY:
            return
        self._size += size
        if self._size > self._capacity:
            self._old, self._young, self._size = self._young, {}, size
        self._young[key] = value


def _characters(key: Sequence[object]) -> int:
    size = 0
    for part in key:
        if isinstance(part, str):
            size += len(part)
        elif isinstance(part, tuple):
            size += 8 + _characters(part)
    return size
