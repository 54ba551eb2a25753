"""Limits failed sign-ins: after some failures, each further attempt has to wait longer. Pure.

An attempt counts as failed when it starts, and is removed when it succeeds. Therefore 100 parallel
attempts count as 100 attempts.
"""

import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: Failures of one user from one address before the user has to wait.
FREE_PER_USER: Final = 5
#: Failures from one address, for all user names together, before the address has to wait.
FREE_PER_ADDRESS: Final = 20
FIRST_WAIT_SECONDS: Final = 2.0
MAX_WAIT_SECONDS: Final = 15 * 60.0
#: Failures are forgotten after this time without another attempt.
MEMORY_SECONDS: Final = 60 * 60.0
MAX_RECORDS: Final = 10_000


@dataclass(frozen=True)
class Key:
    """Attempts with the same key are counted together; the first ``free`` failures are free."""

    name: tuple[str, ...]
    free: int


@dataclass
class _Record:
    failures: int
    newest: float


def keys(address: str, user: str) -> tuple[Key, ...]:
    """The keys that an attempt counts for. An IPv6 network of 64 bits counts as one address."""
    network = _network(address)
    return (
        Key(("user", network, user[:128]), FREE_PER_USER),
        Key(("address", network), FREE_PER_ADDRESS),
    )


class LoginThrottle:
    """Counts attempts in the memory of this process; the oldest records are evicted first."""

    def __init__(self, *, max_records: int = MAX_RECORDS) -> None:
        self._records: OrderedDict[tuple[str, ...], _Record] = OrderedDict()
        self._max = max_records
        self._lock = threading.Lock()

    def admit(self, attempt: Sequence[Key], *, now: float) -> float:
        """Count an attempt and return 0, or return the seconds until the next allowed attempt.

        ``now`` is in seconds of a monotonic clock.
        """
        with self._lock:
            wait = max(self._wait(key, now) for key in attempt)
            if wait == 0:
                for key in attempt:
                    self._count(key, now)
            return wait

    def forgive(self, attempt: Sequence[Key]) -> None:
        """Remove an attempt that succeeded: all failures of the user, one of the address."""
        with self._lock:
            for key in attempt:
                record = self._records.get(key.name)
                if record and key.name[0] == "address" and record.failures > 1:
                    record.failures -= 1
                else:
                    self._records.pop(key.name, None)

    def __len__(self) -> int:
        return len(self._records)

    def _wait(self, key: Key, now: float) -> float:
        record = self._records.get(key.name)
        if record is None or now - record.newest > MEMORY_SECONDS:
            return 0.0
        over = record.failures - key.free
        if over < 0:
            return 0.0
        wait = min(FIRST_WAIT_SECONDS * 2.0 ** min(over, 30), MAX_WAIT_SECONDS)
        return float(max(0.0, record.newest + wait - now))

    def _count(self, key: Key, now: float) -> None:
        record = self._records.pop(key.name, None)
        if record is None or now - record.newest > MEMORY_SECONDS:
            record = _Record(0, now)
        self._records[key.name] = _Record(record.failures + 1, now)
        while len(self._records) > self._max:
            self._records.popitem(last=False)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
