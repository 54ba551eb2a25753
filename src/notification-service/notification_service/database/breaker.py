"""A circuit breaker for connecting to the database.

While the database is unavailable, each request would wait for a connection attempt.
"""

from collections.abc import Callable
from typing import Final

import psycopg2

from auditflow.circuit import CallRefused, Circuit
from notification_service.database.connection import Connection

#: Failed attempts in a row that open the circuit, and the pause until the next attempt.
FAILURES: Final = 3
PAUSE_SECONDS: Final = 1.0


class GuardedConnect:
    """Opens connections through a circuit breaker. Connections that are open are not affected."""

    def __init__(
        self, open_connection: Callable[[], Connection], *, on_change: Callable[[bool], None]
    ) -> None:
        """``on_change`` is called with whether the circuit is open, when that changes."""
        self._open_connection = open_connection
        self._circuit = Circuit(
            "postgresql",
            counts=(psycopg2.Error,),
            on_change=on_change,
            failures=FAILURES,
            pause_seconds=PAUSE_SECONDS,
        )

    def __call__(self) -> Connection:
        """A new connection.

        Raises:
            psycopg2.OperationalError: the attempt failed, or the circuit is open.
        """
        try:
            with self._circuit.attempt():
                return self._open_connection()
        except CallRefused:
            raise psycopg2.OperationalError(
                f"the last {FAILURES} attempts to connect failed; the next one is made soon"
            ) from None
