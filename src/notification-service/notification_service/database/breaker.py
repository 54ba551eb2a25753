"""A circuit breaker for connecting to the database.

While the database is away, each request would wait for a connection attempt. After some failed
attempts in a row, further ones fail at once, except for one attempt after each pause.
"""

from collections.abc import Callable
from typing import Any, Final

import psycopg2
import pybreaker

from notification_service.database.connection import Connection

#: Failed attempts in a row that open the circuit, and the pause until the next attempt.
FAILURES: Final = 3
PAUSE_SECONDS: Final = 1.0


class GuardedConnect(pybreaker.CircuitBreakerListener):
    """Opens connections through a circuit breaker. Connections that are open are not affected."""

    def __init__(
        self, open_connection: Callable[[], Connection], *, on_change: Callable[[bool], None]
    ) -> None:
        """``on_change`` is told whether the circuit is open, when that changes."""
        self._open_connection = open_connection
        self._on_change = on_change
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=FAILURES,
            reset_timeout=PAUSE_SECONDS,
            throw_new_error_on_trip=False,
            listeners=[self],
        )

    def __call__(self) -> Connection:
        """A new connection.

        Raises:
            psycopg2.OperationalError: the attempt failed, or the circuit is open.
        """
        try:
            connection: Connection = self._breaker.call(self._open_connection)
        except pybreaker.CircuitBreakerError:
            raise psycopg2.OperationalError(
                f"the last {FAILURES} attempts to connect failed; the next one is made soon"
            ) from None
        return connection

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        """Called by the circuit breaker."""
        del cb, old_state
        if new_state.name != pybreaker.STATE_HALF_OPEN:
            self._on_change(new_state.name == pybreaker.STATE_OPEN)
