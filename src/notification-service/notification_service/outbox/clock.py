"""The time of the database. Replicas whose own clocks differ agree on leases and due times."""

import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import Final

from auditflow.errors import Unavailable
from notification_service.database.pool import Pool

#: Time after which the time is read again. Between two reads, it advances with the monotonic clock,
#: which nobody can set.
SYNC_SECONDS: Final = 15.0
_READ: Final = "SELECT clock_timestamp()"


class DatabaseClock:
    """Call it for the current time. Any number of threads may use it."""

    def __init__(self, pool: Pool, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._monotonic = monotonic
        self._lock = threading.Lock()
        #: A time of the database, and the monotonic time when it was read.
        self._read: tuple[dt.datetime, float] | None = None

    def __call__(self) -> dt.datetime:
        """The current time.

        Raises:
            Unavailable: the database was never available.
        """
        with self._lock:
            if self._read is None or self._monotonic() - self._read[1] >= SYNC_SECONDS:
                try:
                    self._read = self._synchronize()
                except Unavailable:
                    if self._read is None:
                        raise
            time_read, monotonic_read = self._read
            return time_read + dt.timedelta(seconds=self._monotonic() - monotonic_read)

    def _synchronize(self) -> tuple[dt.datetime, float]:
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_READ)
            (now,) = cursor.fetchone() or (None,)
        assert now is not None
        return now, self._monotonic()
