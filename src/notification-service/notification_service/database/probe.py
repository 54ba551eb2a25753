"""Whether the database answers, within a second whatever happens."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from typing import Final

from auditflow.errors import Unavailable
from notification_service.database.connection import Connection
from notification_service.database.pool import Pool

PROBE_SECONDS: Final = 0.8


class Probe:
    """A connection and a thread that do nothing but ask; a server that hangs holds only them."""

    def __init__(self, open_one: Callable[[], Connection]) -> None:
        self._pool = Pool(open_one, size=1, wait_seconds=0)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="postgresql-probe")
        self._lock = threading.Lock()
        self._asked: Future[str | None] | None = None

    def check(self) -> str | None:
        """None when the database answers and has our tables, else what is wrong."""
        with self._lock:
            asked = self._asked or self._executor.submit(self._ask)
            try:
                answer = asked.result(PROBE_SECONDS)
            except TimeoutError:
                self._asked = asked  # do not ask again before this is answered
                return f"no answer within {PROBE_SECONDS:g} s"
            self._asked = None
            return answer

    def close(self) -> None:
        """End the thread and the connection, whatever they wait for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._pool.abort()
        self._pool.close()

    def _ask(self) -> str | None:
        try:
            with self._pool.connection() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT FROM alerts LIMIT 0")
        except Unavailable as error:
            return str(error).partition(": ")[2]
        return None
