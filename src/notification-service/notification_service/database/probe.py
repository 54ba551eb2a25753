"""A check whether the database answers. It takes at most one second, even if the server hangs."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from typing import Final

from auditflow.errors import Unavailable
from notification_service.database.connection import Connection
from notification_service.database.pool import Pool

PROBE_SECONDS: Final = 0.8


class Probe:
    """A connection and a thread only for the check. A server that hangs blocks only them."""

    def __init__(self, open_connection: Callable[[], Connection]) -> None:
        self._pool = Pool(open_connection, size=1, wait_seconds=0)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="postgresql-probe")
        self._lock = threading.Lock()
        self._pending: Future[str | None] | None = None

    def check(self) -> str | None:
        """None if the database answers and has the tables, else what is wrong."""
        with self._lock:
            pending = self._pending or self._executor.submit(self._query)
            try:
                result = pending.result(PROBE_SECONDS)
            except TimeoutError:
                self._pending = pending  # no second query before this one is answered
                return f"no answer within {PROBE_SECONDS:g} s"
            self._pending = None
            return result

    def close(self) -> None:
        """End the thread and the connection, whatever they wait for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._pool.abort()
        self._pool.close()

    def _query(self) -> str | None:
        try:
            with self._pool.cursor() as cursor:
                cursor.execute("SELECT FROM alerts LIMIT 0")
        except Unavailable as error:
            return str(error).partition(": ")[2]
        return None
