"""Connections to one server, which are kept open and used again. They are those of ``http.client``.

``http.client`` needs half the time of a library with more features, and this is a large part of a
page.
"""

import http.client
import select
import ssl
import time
import weakref
from collections import deque
from typing import Final

#: Maximum number of connections that are kept open.
MAX_OPEN: Final = 64
#: A connection that was not used for this time is not used again, in seconds. Servers close them
#: after some time; those of this project after ten seconds.
MAX_IDLE_SECONDS: Final = 8.0


#: Connections, and the time of their last response.
_Kept = deque[tuple[http.client.HTTPConnection, float]]


class Connections:
    """Open connections. It is thread-safe; a connection belongs to one thread at a time."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        """With ``tls``, the connections use HTTPS, and the context verifies the server."""
        self._host = host
        self._port = port
        self._tls = tls
        self._kept: _Kept = deque()
        weakref.finalize(self, _close, self._kept)

    def take_kept(self, *, may_be_lost: bool) -> http.client.HTTPConnection | None:
        """A connection that was used before; None if there is none.

        The server may have closed it. If not ``may_be_lost``, a connection that is known to be
        closed is not returned. This check costs a system call.
        """
        while True:
            try:
                connection, used_at = self._kept.pop()
            except IndexError:
                return None
            if time.monotonic() - used_at < MAX_IDLE_SECONDS and (
                may_be_lost or not _is_readable(connection)
            ):
                return connection
            connection.close()

    def create(self, timeout: float) -> http.client.HTTPConnection:
        """A new connection, which connects with its first request. ``timeout`` is in seconds."""
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout, context=self._tls
        )

    def keep(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection after a complete response."""
        if connection.sock is None or len(self._kept) >= MAX_OPEN:
            connection.close()
        else:
            self._kept.append((connection, time.monotonic()))

    def close(self) -> None:
        """Close all connections that are not in use."""
        _close(self._kept)


def _close(kept: _Kept) -> None:
    while kept:
        connection, _ = kept.pop()
        connection.close()


def _is_readable(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has closed the connection, or sent what nobody has requested."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
