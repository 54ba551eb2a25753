"""A maximum number of connections, and which of them is closed for a new one.

A client that opens many connections and completes no request must not block other clients. If the
maximum is reached, a new connection replaces one that waits for its client.
"""

from collections import Counter
from typing import Protocol


class Connection(Protocol):
    """A connection that can be counted and closed."""

    #: The address of the client, without the port.
    address: str
    #: When the connection was opened, or when its last request began or ended, in seconds.
    since: float

    def waits_for_client(self) -> bool:
        """Whether only the client can continue.

        It has not finished the TLS handshake, has no request, has not sent the complete request, or
        does not read the response.
        """
        ...

    def abort(self) -> None:
        """Close the connection immediately."""
        ...


class ConnectionLimit:
    """The open connections of one or more ports, at most ``maximum``. Used on one event loop."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        #: In the order of their opening, because the clock may not distinguish them.
        self._open: dict[Connection, None] = {}

    def admit(self, connection: Connection) -> bool:
        """Count a new connection. Returns False if there is no room for it.

        If the maximum is reached, the oldest connection that waits for its client is aborted. It
        belongs to the address with the most connections of this kind.
        """
        if len(self._open) >= self.maximum:
            replaced = self._replaceable()
            if replaced is None:
                return False
            self.release(replaced)
            replaced.abort()
        self._open[connection] = None
        return True

    def release(self, connection: Connection) -> None:
        """Stop counting a connection. It may have been aborted."""
        self._open.pop(connection, None)

    def _replaceable(self) -> Connection | None:
        waiting = [connection for connection in self._open if connection.waits_for_client()]
        if not waiting:
            return None
        numbers = Counter(connection.address for connection in waiting)
        most = max(numbers.values())
        return min(
            (connection for connection in waiting if numbers[connection.address] == most),
            key=lambda connection: connection.since,
        )
