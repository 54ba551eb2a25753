"""The manifest: which files belong to the archive. It is the source of truth.

A file without an entry does not belong to the archive. A reader gets a snapshot: a replaced file
stays in the storage for ``REPLACED_SECONDS``, so that readers that already know it can finish.
"""

import datetime as dt
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class
from psycopg2.extras import execute_values

from audit_analysis.archive import file_log, manifest_schema
from audit_analysis.archive.archived_file import COLUMNS, ArchiveFile, file_of, insert_files
from audit_analysis.ledger import store as ledger_store
from auditflow.errors import Unavailable
from auditflow.postgres import Connection, translated

#: Maximum time of a reader, and minimum time for which a replaced file is kept (seconds).
REPLACED_SECONDS: Final = 15 * 60.0
_NO_ENTRIES: Final = ledger_store.Entries()


class Manifest:
    """The manifest. Any thread may use it. Its methods raise Unavailable."""

    def __init__(self, open_connection: Callable[[], Connection]) -> None:
        """``open_connection`` is called at the first use, and after the connection was lost."""
        self._open_connection = open_connection
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def migrate(self) -> None:
        """Create or update the tables."""
        with self._transaction() as cursor:
            manifest_schema.migrate(cursor)

    def check(self) -> None:
        """Raise Unavailable if PostgreSQL does not answer, or the tables do not exist."""
        with self._transaction() as cursor:
            cursor.execute("SELECT FROM archive.files LIMIT 0")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def snapshot(
        self,
        *,
        occurred_from_ms: int | None = None,
        occurred_until_ms: int | None = None,
        sources: Sequence[str] | None = None,
    ) -> list[ArchiveFile]:
        """The files that may contain events of a time range, both ends included, newest first."""
        with self._transaction() as cursor:
            cursor.execute(
                f"SELECT {COLUMNS} FROM archive.files WHERE state = 'committed'"
                " AND (%(from)s IS NULL OR max_occurred_ms >= %(from)s)"
                " AND (%(until)s IS NULL OR min_occurred_ms <= %(until)s)"
                " AND (%(sources)s::text[] IS NULL OR source = ANY(%(sources)s))"
                " ORDER BY max_occurred_ms DESC, file_id DESC",
                {
                    "from": occurred_from_ms,
                    "until": occurred_until_ms,
                    "sources": None if sources is None else list(sources),
                },
            )
            return [file_of(row) for row in cursor.fetchall()]

    def paths(self) -> list[str]:
        """The paths of all files of the archive."""
        with self._transaction() as cursor:
            cursor.execute("SELECT path FROM archive.files WHERE state = 'committed'")
            return [path for (path,) in cursor.fetchall()]

    def entries(self, paths: Sequence[str]) -> list[ArchiveFile]:
        """The entries of files, also of those that were removed since ``paths``."""
        with self._transaction() as cursor:
            cursor.execute(
                f"SELECT {COLUMNS} FROM archive.files WHERE path = ANY(%s)", (list(paths),)
            )
            return [file_of(row) for row in cursor.fetchall()]

    def page(self, *, after: str, limit: int) -> list[ArchiveFile]:
        """The files of the archive after a path, by their paths."""
        with self._transaction() as cursor:
            cursor.execute(
                f"SELECT {COLUMNS} FROM archive.files WHERE state = 'committed' AND path > %s"
                " ORDER BY path LIMIT %s",
                (after, limit),
            )
            return [file_of(row) for row in cursor.fetchall()]

    def log_number(self, path: str) -> int | None:
        """The entry of the log of files with a file; None if it has none."""
        with self._transaction() as cursor:
            cursor.execute("SELECT log_number FROM archive.files WHERE path = %s", (path,))
            row = cursor.fetchone()
            return None if row is None else row[0]

    def known_batches(self, batch_ids: Sequence[bytes]) -> set[bytes]:
        """Which of these batches are committed."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT batch_id FROM archive.batches WHERE batch_id = ANY(%s)", (list(batch_ids),)
            )
            return {bytes(batch_id) for (batch_id,) in cursor.fetchall()}

    def commit(
        self,
        files: Sequence[ArchiveFile],
        batch_ids: Sequence[bytes],
        entries: ledger_store.Entries = _NO_ENTRIES,
    ) -> None:
        """Add files, the new batches that they contain, and ledger entries, in one transaction.

        Raises:
            Unavailable: another process committed one of the batches meanwhile. Nothing changed.
        """
        with self._transaction() as cursor:
            numbers = file_log.append(cursor, at=dt.datetime.now(dt.UTC), added=files)
            insert_files(cursor, files, numbers=numbers)
            added = execute_values(
                cursor,
                "INSERT INTO archive.batches (batch_id) VALUES %s ON CONFLICT DO NOTHING"
                " RETURNING batch_id",
                [(batch_id,) for batch_id in batch_ids],
                fetch=True,
            )
            if len(added) != len(batch_ids):
                known = set(batch_ids) - {bytes(batch_id) for (batch_id,) in added}
                names = ", ".join(sorted(batch_id.hex() for batch_id in known)[:3])
                raise Unavailable("postgresql", f"another process committed the batches {names}")
            ledger_store.add(cursor, entries)

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        with self._lock, translated():
            if self._connection is None:
                self._connection = self._open_connection()
            try:
                with self._connection, self._connection.cursor() as cursor:
                    yield cursor
            except psycopg2.OperationalError:
                self._connection.close()
                self._connection = None
                raise
            except psycopg2.InterfaceError:
                self._connection = None
                raise
