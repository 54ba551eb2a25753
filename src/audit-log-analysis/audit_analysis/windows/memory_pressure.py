"""Limits for windows that depend on the memory of Redis."""

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

#: Usage of the memory from which limits are halved, and from which they are quartered and no
#: complete events are stored.
HIGH: Final = 0.7
CRITICAL: Final = 0.85
#: Time between two measurements (seconds).
INTERVAL: Final = 1.0


class Limits(Struct, frozen=True):
    """The limits for one call: windows in a shard, events in a window, and complete events."""

    windows_per_shard: int
    events_per_window: int
    store_events: bool


class MemoryPressure:
    """Keeps the last measurement of Redis' memory, in bytes. 0 means not measured, or no limit."""

    def __init__(
        self, windows_per_shard: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``windows_per_shard`` is the limit while enough memory is free."""
        self._windows_per_shard = windows_per_shard
        self._clock = clock
        self._measured = -INTERVAL
        self.used = 0
        self.maximum = 0

    def is_due(self) -> bool:
        """Whether the memory should be measured with the next call."""
        return self._clock() - self._measured >= INTERVAL

    def measured(self, info: bytes) -> None:
        """Take the response ``info`` to the command INFO memory of Redis."""
        values = dict(line.split(b":", 1) for line in info.split(b"\r\n") if b":" in line)
        self.used = int(values[b"used_memory"])
        self.maximum = int(values[b"maxmemory"])
        self._measured = self._clock()

    @property
    def usage(self) -> float:
        """The used part of the memory, from 0 to 1. 0 if Redis has no limit."""
        return self.used / self.maximum if self.maximum else 0.0

    def limits(self) -> Limits:
        """The limits at the last measurement."""
        if self.usage >= CRITICAL:
            return Limits(max(8, self._windows_per_shard // 4), 500, store_events=False)
        if self.usage >= HIGH:
            return Limits(max(8, self._windows_per_shard // 2), 2_000, store_events=True)
        return Limits(self._windows_per_shard, 1_000_000, store_events=True)
