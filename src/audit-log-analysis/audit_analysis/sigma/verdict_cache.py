"""Verdicts that are remembered by value, since the values of logs repeat.

Whether a rule matches depends on nothing but the values of the fields that it reads. So what a set
of rules said of some values it says of them again, whatever else the next event holds.
"""

from collections.abc import Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")

#: What is remembered at most, in characters of the values that it is remembered by; twice this much
#: for a moment. An entry counts as some characters more, for it has a size of its own.
CAPACITY: Final = 4 * 1024 * 1024
_ENTRY: Final = 200
#: Longer values hardly come again.
_LONGEST: Final = 2048

#: What something is remembered by: the same values are an equal key.
Key = tuple[object, ...]


class Memory(Generic[T]):
    """Remembers what was asked for of late; what was not asked for in a long time is forgotten."""

    __slots__ = ("_capacity", "_old", "_size", "_young")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._size = 0
        self._young: dict[Key, T] = {}
        self._old: dict[Key, T] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def recall(self, key: Key) -> T | None:
        """What is remembered, if anything."""
        found = self._young.get(key)
        if found is None and self._old:
            found = self._old.pop(key, None)
            if found is not None:
                self.keep(key, found)
        return found

    def keep(self, key: Key, value: T) -> None:
        """Remember, if it is worth it."""
        size = _ENTRY + _length(key)
        if size > _LONGEST:
            return
        self._size += size
        if self._size > self._capacity:
            self._old, self._young, self._size = self._young, {}, size
        self._young[key] = value


def _length(key: Sequence[object]) -> int:
    size = 0
    for one in key:
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, tuple):
            size += 8 + _length(one)
    return size
