"""Limits failed sign-ins, for each user from an address, each address, and each account.

The counts are in Redis, so that all replicas share them, or in the memory of the process. An
attempt is counted when it starts, and a success resets the count of the user from this address.
Therefore 100 parallel attempts count as 100 attempts. Names without an account are counted
together, and all attempts have a common limit. Therefore a flood of attempts needs little memory.
"""

import ipaddress
import math
import time
from collections.abc import Mapping
from typing import Final

import limits
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import FixedWindowRateLimiter
from redis import Redis

from auditflow.errors import Unavailable

#: Failures of one user from one address.
PER_USER_AND_ADDRESS: Final = limits.parse("5/5 minutes")
#: Failures from one address, for all user names together.
PER_ADDRESS: Final = limits.parse("20/5 minutes")
#: Failures of one account from all addresses. It is higher than the others, because an attacker
#: can use it to keep the owner of the account out.
PER_ACCOUNT: Final = limits.parse("50/15 minutes")
#: All failures together. It limits the number of counters.
IN_TOTAL: Final = limits.parse("1000/minute")


class LoginThrottle:
    """Counts attempts in fixed windows. It is thread-safe."""

    def __init__(self, account: str, client: "Redis | None" = None) -> None:
        self._account = account
        storage: Storage = MemoryStorage()
        if client is not None:
            pool = client.connection_pool
            storage = RedisStorage(
                "redis://",
                connection_pool=pool,
                key_prefix="dashboard:limits",
                wrap_exceptions=True,
            )
        self._limiter = FixedWindowRateLimiter(storage)

    def admit(self, address: str, user: str) -> int:
        """Count an attempt and return 0, or return the seconds until the next allowed attempt.

        Raises:
            Unavailable: Redis does not respond.
        """
        keys = self._keys(address, user)
        try:
            waits = [
                self._limiter.get_window_stats(limit, *key).reset_time - time.time()
                for limit, key in keys.items()
                if not self._limiter.test(limit, *key)
            ]
            if waits:
                return max(1, math.ceil(max(waits)))
            # A parallel attempt may have used the last free attempt: every hit must succeed.
            hits = [self._limiter.hit(limit, *key) for limit, key in keys.items()]
        except StorageError as error:
            raise Unavailable("redis", type(error.storage_error).__name__) from error
        return 0 if all(hits) else 1

    def reset(self, address: str, user: str) -> None:
        """Reset the failures of the user from this address, after a success.

        The attempt was no failure, so it is also subtracted from the other counts. Otherwise, many
        people behind one address would lock each other out.

        Raises:
            Unavailable: Redis does not respond.
        """
        try:
            for limit, key in self._keys(address, user).items():
                if limit is PER_USER_AND_ADDRESS:
                    self._limiter.clear(limit, *key)
                else:
                    self._limiter.hit(limit, *key, cost=-1)
        except StorageError as error:
            raise Unavailable("redis", type(error.storage_error).__name__) from error

    def _keys(self, address: str, user: str) -> Mapping[limits.RateLimitItem, tuple[str, ...]]:
        network = _network(address)
        name = user if user == self._account else "no account"
        keys = {
            PER_USER_AND_ADDRESS: ("user", network, name),
            PER_ADDRESS: ("address", network),
            IN_TOTAL: ("all",),
        }
        if user == self._account:
            keys[PER_ACCOUNT] = ("account", name)
        return keys


def _network(address: str) -> str:
    """The address, or the network of 64 bits of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
