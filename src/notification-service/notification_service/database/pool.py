"""A few connections that many threads share. A thread waits for a free one for a limited time."""

import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2
import sqlalchemy.event
import sqlalchemy.exc
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class
from sqlalchemy.pool import QueuePool

from auditflow.errors import AuditFlowError, Unavailable
from notification_service.database.connection import Connection, translated


class Pool:
    """At most ``size`` connections, opened when first needed and replaced when they are closed."""

    def __init__(
        self, open_connection: Callable[[], Connection], *, size: int, wait_seconds: float
    ) -> None:
        self._size = size
        # The most recently used connection comes first, so that an idle pool uses few of them.
        self._pool = QueuePool(
            open_connection,  # type: ignore[arg-type]
            pool_size=size,
            max_overflow=0,
            timeout=wait_seconds,
            use_lifo=True,
            reset_on_return=None,
        )
        sqlalchemy.event.listen(self._pool, "checkout", _check_open)
        self._in_use: set[Connection] = set()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in a transaction, which is committed, or rolled back on an error.

        Raises:
            Unavailable: all connections are in use, or the server cannot be reached.
        """
        with self._checked_out() as connection:
            connection.autocommit = False
            with connection:
                yield connection

    @contextmanager
    def manual_transaction(self) -> Iterator[Cursor]:
        """A cursor of a caller that sends BEGIN and COMMIT itself, together with its statements.

        After an error, the connection is closed, so that the server rolls back.

        Raises:
            Unavailable: all connections are in use, or the server cannot be reached.
        """
        with self._checked_out() as connection:
            connection.autocommit = True
            try:
                with connection.cursor() as cursor:
                    yield cursor
            except BaseException:
                connection.close()
                raise

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """A cursor for one statement, which is a transaction of its own.

        Raises:
            Unavailable: all connections are in use, or the server cannot be reached.
        """
        with self._checked_out() as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._pool.dispose()

    def abort(self) -> None:
        """Break the connections in use, so that no thread waits for a server that hangs."""
        for connection in tuple(self._in_use):
            with suppress(psycopg2.Error, OSError), _socket_of(connection) as opened:
                opened.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def _checked_out(self) -> Iterator[Connection]:
        with translated():
            try:
                entry = self._pool.connect()
            except sqlalchemy.exc.TimeoutError:
                reason = f"all {self._size} connections are in use"
                raise Unavailable("postgresql", reason) from None
            connection: Any = entry.dbapi_connection
            self._in_use.add(connection)
            try:
                yield connection
            except BaseException as error:
                # After an error of the server, the connection may be in any state.
                if isinstance(error, Unavailable) or not isinstance(error, AuditFlowError):
                    entry.invalidate()
                raise
            finally:
                self._in_use.discard(connection)
                entry.close()


def _check_open(connection: Any, _record: Any, _entry: Any) -> None:
    if _is_closed(connection):
        raise sqlalchemy.exc.DisconnectionError("the server closed the connection")


def _is_closed(connection: Connection) -> bool:
    """Whether the server has closed an idle connection, without a request to the server.

    An idle server sends only its last message, so anything to read means that it ended.
    """
    if connection.closed:
        return True
    readable = select.poll()  # select() supports only the first 1,024 files of a process
    readable.register(connection.fileno(), select.POLLIN)
    return bool(readable.poll(0))


def _socket_of(connection: Connection) -> socket.socket:
    return socket.socket(fileno=os.dup(connection.fileno()))
