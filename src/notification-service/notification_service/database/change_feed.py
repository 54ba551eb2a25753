"""Changes of alerts in the order of their numbers: pages for polling clients, and a live feed."""

import asyncio
import select
import threading
from collections.abc import Callable
from typing import Final

import psycopg2
from msgspec import Struct

from auditflow.errors import Unavailable
from auditflow.telemetry import logs
from notification_service.database.alert_json import SUMMARY
from notification_service.database.connection import Connection, translated
from notification_service.database.pool import Pool

#: Changes that one read returns.
PAGE: Final = 500
#: Viewers of one replica. Each has a connection, of which a replica has 256 (MAX_CONNECTIONS): the
#: others remain for requests.
MAX_VIEWERS: Final = 192
#: Changes that wait for one viewer before its stream is closed.
_MAX_WAITING: Final = 2 * PAGE
#: Time between two reads during many changes, and time after which the feed reads without a
#: notification, in seconds.
_MIN_SECONDS: Final = 0.2
_MAX_SECONDS: Final = 5.0
_RECONNECT_SECONDS: Final = 1.0
_CHANNEL: Final = "auditflow_alerts"

_HORIZON: Final = "SELECT alert_changes_horizon()"
# In a later statement than the horizon: its snapshot sees everything up to the horizon.
_CHANGES: Final = f"""
    SELECT t.change_seq, row_to_json(r)::text FROM (
        SELECT * FROM alerts WHERE change_seq > %s AND change_seq <= %s
        ORDER BY change_seq LIMIT %s
    ) AS t {SUMMARY} ORDER BY t.change_seq
"""

log = logs.get(__name__)


class Change(Struct, frozen=True):
    """A changed alert: the number of the change, and an encoded ``AlertSummary``."""

    number: int
    alert: str


class Changes(Struct, frozen=True):
    """Changes, and the number to read on from."""

    changes: list[Change]
    last: int
    more: bool


def read_changes(pool: Pool, after: int | None) -> Changes:
    """The changes after the change number ``after``. None returns only the current number.

    An alert that changed several times is returned once, with its last change.
    """
    with pool.cursor() as cursor:
        cursor.execute(_HORIZON)
        (horizon,) = cursor.fetchone() or (0,)
        if after is None:
            return Changes([], horizon, more=False)
        cursor.execute(_CHANGES, (after, horizon, PAGE))
        changes = [Change(number, text) for number, text in cursor.fetchall()]
    more = len(changes) == PAGE
    return Changes(changes, changes[-1].number if more else max(horizon, after), more)


class TooManyViewers(Exception):
    """The replica has no room for another viewer."""


class Viewer:
    """The changes that wait for one viewer. It belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self.closed = False

    def put(self, changes: list[Change]) -> None:
        """Add changes, from any thread. A viewer that is too slow is closed."""
        self._loop.call_soon_threadsafe(self._put, changes)

    def close(self) -> None:
        """End the stream, from any thread."""
        self._loop.call_soon_threadsafe(self._queue.put_nowait, None)

    async def get(self, seconds: float) -> Change | None:
        """The next change, or None after this time or at the end."""
        try:
            async with asyncio.timeout(seconds):
                change = await self._queue.get()
        except TimeoutError:
            return None
        self.closed = self.closed or change is None
        return change

    def _put(self, changes: list[Change]) -> None:
        if self._queue.qsize() + len(changes) > _MAX_WAITING:
            self._queue.put_nowait(None)
            return
        for change in changes:
            self._queue.put_nowait(change)


class ChangeFeed:
    """One connection that waits for changes and passes them to all viewers of this replica."""

    def __init__(self, open_connection: Callable[[], Connection], pool: Pool) -> None:
        self._open_connection = open_connection
        self._pool = pool
        self._lock = threading.Lock()
        self._viewers: set[Viewer] = set()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def subscribe(self, loop: asyncio.AbstractEventLoop) -> Viewer:
        """Add a viewer. The first one starts the thread.

        Raises:
            TooManyViewers: there are ``MAX_VIEWERS`` already, or the service stops.
        """
        viewer = Viewer(loop)
        with self._lock:
            if len(self._viewers) >= MAX_VIEWERS or self._stopping.is_set():
                raise TooManyViewers
            self._viewers.add(viewer)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="change-feed", daemon=True)
                self._thread.start()
        return viewer

    def unsubscribe(self, viewer: Viewer) -> None:
        """Remove a viewer."""
        with self._lock:
            self._viewers.discard(viewer)

    def stop(self) -> None:
        """End all streams."""
        self._stopping.set()
        for viewer in self._current():
            viewer.close()

    def _current(self) -> list[Viewer]:
        with self._lock:
            return list(self._viewers)

    def _run(self) -> None:
        last: int | None = None
        while not self._stopping.is_set():
            try:
                with translated():
                    connection = self._open_connection()
                try:
                    connection.autocommit = True
                    with translated(), connection.cursor() as cursor:
                        cursor.execute(f"LISTEN {_CHANNEL}")
                    while not self._stopping.is_set():
                        last = self._publish(last)
                        self._stopping.wait(_MIN_SECONDS)
                        _wait_for_notification(connection)
                finally:
                    connection.close()
            except (Unavailable, psycopg2.Error) as error:
                log.warning("change feed interrupted", error=str(error))
                self._stopping.wait(_RECONNECT_SECONDS)

    def _publish(self, last: int | None) -> int:
        while True:
            found = read_changes(self._pool, last)
            if found.changes:
                for viewer in self._current():
                    viewer.put(found.changes)
            last = found.last
            if not found.more:
                return last


def _wait_for_notification(connection: Connection) -> None:
    if not connection.notifies:
        select.select([connection], [], [], _MAX_SECONDS)
    with translated():
        connection.poll()
    connection.notifies.clear()
