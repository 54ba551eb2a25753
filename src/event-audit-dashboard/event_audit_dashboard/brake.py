"""The brake on guessing: after a few failures, each further try has to wait longer. Pure.

An attempt counts as failed when it begins and is forgiven when it succeeds, so a hundred attempts
at the same moment are still a hundred attempts.
"""

import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: Failures of one user from one address that nobody has to wait for.
FREE_PER_USER: Final = 5
#: Failures from one address, whoever it claims to be.
FREE_PER_ADDRESS: Final = 20
FIRST_WAIT_SECONDS: Final = 2.0
LONGEST_WAIT_SECONDS: Final = 15 * 60.0
#: The longest quiet after which failures are forgotten.
MEMORY_SECONDS: Final = 60 * 60.0
MAX_RECORDS: Final = 10_000


@dataclass(frozen=True)
class Key:
    """Whose attempts are counted together, and how many are free."""

    name: tuple[str, ...]
    free: int


@dataclass
class _Record:
    failures: int
    newest: float


def keys(address: str, user: str) -> tuple[Key, ...]:
    """The counts that an attempt touches. An IPv6 network of 64 bits is one address."""
    where = _network(address)
    return (
        Key(("user", where, user[:128]), FREE_PER_USER),
        Key(("address", where), FREE_PER_ADDRESS),
    )


class Brake:
    """Counts attempts in the memory of this process; the oldest records make room for new ones."""

    def __init__(self, *, max_records: int = MAX_RECORDS) -> None:
        self._records: OrderedDict[tuple[str, ...], _Record] = OrderedDict()
        self._max = max_records
        self._lock = threading.Lock()

    def admit(self, of: Sequence[Key], *, now: float) -> float:
        """Count an attempt and return 0, or return the seconds that it has to wait first."""
        with self._lock:
            wait = max(self._wait(key, now) for key in of)
            if wait == 0:
                for key in of:
                    self._count(key, now)
            return wait

    def forgive(self, of: Sequence[Key]) -> None:
        """The attempt was right: forget the user's failures, and this one of the address."""
        with self._lock:
            for key in of:
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
        wait = min(FIRST_WAIT_SECONDS * 2.0 ** min(over, 30), LONGEST_WAIT_SECONDS)
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
