"""A few connections that many threads share; who finds none free waits, but not for long."""

import os
import queue
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg2

from auditflow.errors import Unavailable
from notification_service.database.connection import Connection, translated


class Pool:
    """At most ``size`` connections, made when first needed and replaced when they have ended."""

    def __init__(
        self, open_one: Callable[[], Connection], *, size: int, wait_seconds: float
    ) -> None:
        self._open_one = open_one
        self._size = size
        self._wait_seconds = wait_seconds
        # The most recently used first, so that a pool at rest keeps few connections busy.
        self._slots: queue.LifoQueue[Connection | None] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)
        self._in_use: set[Connection | None] = set()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in a transaction, which is committed at the end or rolled back on an error.

        Raises:
            Unavailable: all are in use, or the server cannot be reached.
        """
        held = self._take()
        try:
            with translated():
                held = self._fresh(held)
                self._in_use.add(held)
                with held:
                    yield held
        except BaseException:
            # Whatever state the error left the connection in, the next user gets a new one.
            self._in_use.discard(held)
            _close(held)
            held = None
            raise
        finally:
            self._in_use.discard(held)
            self._slots.put(held)

    def close(self) -> None:
        """Close the connections that are not in use."""
        with suppress(queue.Empty):
            while True:
                _close(self._slots.get_nowait())

    def abort(self) -> None:
        """Break the connections that are in use, so that nobody waits for a server that hangs."""
        for held in tuple(self._in_use):
            if held is None:
                continue
            with suppress(psycopg2.Error, OSError), _socket_of(held) as line:
                line.shutdown(socket.SHUT_RDWR)

    def _take(self) -> Connection | None:
        try:
            return self._slots.get(timeout=self._wait_seconds)
        except queue.Empty:
            raise Unavailable("postgresql", f"all {self._size} connections are in use") from None

    def _fresh(self, held: Connection | None) -> Connection:
        if held is not None and not _has_ended(held):
            return held
        _close(held)
        return self._open_one()


def _has_ended(held: Connection) -> bool:
    """Whether the server has closed an idle connection, without asking it.

    An idle server sends nothing but its farewell, so anything to read means the end.
    """
    if held.closed:
        return True
    line = select.poll()  # and not select(), which knows only the first 1,024 files of a process
    line.register(held.fileno(), select.POLLIN)
    return bool(line.poll(0))


def _socket_of(held: Connection) -> socket.socket:
    return socket.socket(fileno=os.dup(held.fileno()))


def _close(held: Connection | None) -> None:
    if held is not None:
        with suppress(psycopg2.Error):
            held.close()
