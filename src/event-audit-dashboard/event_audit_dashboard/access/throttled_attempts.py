"""Counts sign-in attempts that the throttle refused, so that a flood becomes few reports.

An attempt needs no password, so a report for each would let anybody fill the audit trail and the
log, and push reports of other sign-ins out of the queue.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

#: Time between two reports about an address (seconds).
PERIOD_SECONDS: Final = 60.0
#: Addresses that are counted at the same time. The longest unused one is forgotten.
MAX_ADDRESSES: Final = 1_000


class ThrottledAttempts:
    """Attempts by address. May be used on any thread."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: By address: the time of the last report, and the attempts since then.
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def add(self, address: str) -> int:
        """Count an attempt. Returns the number of attempts to report now, or 0."""
        now = self._clock()
        with self._lock:
            reported_at, attempts = self._counts.pop(address, (None, 0))
            attempts += 1
            if reported_at is not None and now < reported_at + PERIOD_SECONDS:
                self._counts[address] = (reported_at, attempts)
                return 0
            self._counts[address] = (now, 0)
            if len(self._counts) > MAX_ADDRESSES:
                self._counts.popitem(last=False)
        return attempts
