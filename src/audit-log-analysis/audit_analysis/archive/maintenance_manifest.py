"""The manifest for the maintenance: one session at a time, in which files are replaced and removed.

A session has a lock of PostgreSQL, which ends with its connection. A session never reconnects, so
it cannot continue without the lock. Every change also tests the state of the files that it
changes, therefore two sessions could not damage the archive.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from msgspec import Struct
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from audit_analysis.archive import file_log, manifest_schema
from audit_analysis.archive.archived_file import COLUMNS, ArchiveFile, file_of, insert_files
from audit_analysis.ledger import store as ledger_store
from auditflow.contract.audit import RemovedFile
from auditflow.errors import Unavailable
from auditflow.postgres import Connection, translated

#: The key of the lock of the maintenance.
_LOCK: Final = 4_712_020
#: Whether a hold covers the file ``f``. The time range of a file covers occurrence and receipt.
_HELD: Final = """
    EXISTS (
        SELECT FROM archive.holds WHERE released_at IS NULL
        AND (holds.source IS NULL OR holds.source = f.source)
        AND (from_time IS NULL OR greatest(f.max_occurred_ms, f.max_received_ms)
            >= extract(epoch FROM from_time) * 1000)
        AND (until_time IS NULL OR least(f.min_occurred_ms, f.min_received_ms)
            < extract(epoch FROM until_time) * 1000)
    )
"""
#: A hold that is set at the same time waits for this transaction, or this transaction sees it.
_LOCK_HOLDS: Final = "LOCK TABLE archive.holds IN SHARE MODE"


class Partition(Struct, frozen=True):
    """The files of an hour (UTC) and a log source."""

    hour: dt.datetime
    source: str


class MaintenanceManifest:
    """Opens sessions. Its methods raise Unavailable."""

    def __init__(self, open_connection: Callable[[], Connection]) -> None:
        """``open_connection`` is called for each session."""
        self._open_connection = open_connection

    @contextmanager
    def session(self, tier: str) -> Iterator["MaintenanceSession | None"]:
        """A session for the files of a tier; None while another process has a session."""
        with translated():
            connection = self._open_connection()
        try:
            with translated(), connection, connection.cursor() as cursor:
                manifest_schema.migrate(cursor)
                cursor.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))
                (is_locked,) = cursor.fetchone() or (False,)
            yield MaintenanceSession(connection, tier) if is_locked else None
        finally:
            connection.close()


class MaintenanceSession:
    """The changes of the maintenance. One thread uses it. Its methods raise Unavailable."""

    def __init__(self, connection: Connection, tier: str) -> None:
        """The connection has the lock."""
        self._connection = connection
        self._tier = tier

    def time(self) -> dt.datetime:
        """The time of PostgreSQL's clock."""
        with self._transaction() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            (time,) = cursor.fetchone() or (None,)
            assert isinstance(time, dt.datetime)
            return time

    def uncompacted(self, *, closed_before: dt.datetime) -> list[Partition]:
        """Partitions of hours before a time with files that were not compacted, oldest first."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT hour, source FROM archive.files f"
                f" WHERE state = 'committed' AND tier = %s AND hour < %s AND NOT {_HELD}"
                " GROUP BY hour, source HAVING bool_or(NOT compacted) ORDER BY hour, source",
                (self._tier, closed_before),
            )
            return [Partition(hour, source) for hour, source in cursor.fetchall()]

    def files(self, partition: Partition) -> list[ArchiveFile]:
        """The files of a partition that no hold covers."""
        with self._transaction() as cursor:
            cursor.execute(
                f"SELECT {COLUMNS} FROM archive.files f WHERE state = 'committed' AND tier = %s"
                f" AND hour = %s AND source = %s AND NOT {_HELD} ORDER BY file_id",
                (self._tier, partition.hour, partition.source),
            )
            return [file_of(row) for row in cursor.fetchall()]

    def replace(
        self, paths: Sequence[str], files: Sequence[ArchiveFile], *, now: dt.datetime
    ) -> None:
        """Replace files by merged files, in one transaction.

        Raises:
            Unavailable: a file was removed meanwhile, or is now under a hold. Nothing changed.
        """
        with self._transaction() as cursor:
            cursor.execute(_LOCK_HOLDS)
            cursor.execute(
                "UPDATE archive.files f SET state = 'replaced', removed_at = %s"
                f" WHERE path = ANY(%s) AND state = 'committed' AND NOT {_HELD}"
                " RETURNING created_at",
                (now, list(paths)),
            )
            created = [created_at for (created_at,) in cursor.fetchall()]
            if len(created) != len(paths):
                raise Unavailable("postgresql", "files changed while they were merged")
            # The retention of the merged file does not begin again.
            removed = [RemovedFile(path, "merged") for path in paths]
            numbers = file_log.append(cursor, at=now, added=files, removed=removed)
            insert_files(cursor, files, numbers=numbers, created_at=max(created))

    def restore_held(self, *, now: dt.datetime) -> int:
        """Make expired files under a hold part of the archive again. Returns their number."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE archive.files f SET state = 'committed', removed_at = NULL"
                " WHERE state = 'expired' AND tier = %s AND deletion_started_at IS NULL"
                f" AND {_HELD} RETURNING {COLUMNS}",
                (self._tier,),
            )
            restored = [file_of(row) for row in cursor.fetchall()]
            numbers = file_log.append(cursor, at=now, added=restored)
            for path, number in numbers.items():
                cursor.execute(
                    "UPDATE archive.files SET log_number = %s WHERE path = %s", (number, path)
                )
            return len(restored)

    def expire(self, *, before: dt.datetime, now: dt.datetime) -> int:
        """Remove files from the archive that were received and committed before a time.

        A sender can influence the time of receipt of a message without a header, but not the time
        of the commit. Returns the number of files.
        """
        with self._transaction() as cursor:
            cursor.execute(_LOCK_HOLDS)
            cursor.execute(
                "UPDATE archive.files f SET state = 'expired', removed_at = %s"
                " WHERE state = 'committed' AND tier = %s AND created_at < %s"
                f" AND max_received_ms < %s AND NOT {_HELD} RETURNING path",
                (now, self._tier, before, int(before.timestamp() * 1000)),
            )
            expired = [RemovedFile(path, "expired") for (path,) in cursor.fetchall()]
            file_log.append(cursor, at=now, removed=expired)
            return len(expired)

    def start_deletion(self, *, removed_before: dt.datetime) -> list[tuple[str, str]]:
        """Removed files that can be deleted now: their paths and states.

        A hold that is set later does not restore these files.
        """
        with self._transaction() as cursor:
            cursor.execute(_LOCK_HOLDS)
            cursor.execute(
                """
                UPDATE archive.files f
                SET deletion_started_at = coalesce(deletion_started_at, now())
                WHERE state <> 'committed' AND tier = %s AND removed_at < %s
                """
                f" AND (deletion_started_at IS NOT NULL OR NOT {_HELD}) RETURNING path, state",
                (self._tier, removed_before),
            )
            return [(path, state) for path, state in cursor.fetchall()]

    def forget(self, path: str) -> None:
        """Delete the entry of a deleted file."""
        with self._transaction() as cursor:
            cursor.execute(
                "DELETE FROM archive.files WHERE path = %s AND deletion_started_at IS NOT NULL",
                (path,),
            )

    def is_empty(self) -> bool:
        """Whether the manifest has no file of the tier."""
        with self._transaction() as cursor:
            cursor.execute("SELECT FROM archive.files WHERE tier = %s LIMIT 1", (self._tier,))
            return cursor.fetchone() is None

    def without_entry(self, paths: Sequence[str]) -> set[str]:
        """Which of these paths have no entry, in any state."""
        with self._transaction() as cursor:
            cursor.execute("SELECT path FROM archive.files WHERE path = ANY(%s)", (list(paths),))
            return set(paths) - {path for (path,) in cursor.fetchall()}

    def forget_batches(self, *, before: dt.datetime) -> None:
        """Delete the ids of batches that were committed before a time, and the ledger before it."""
        with self._transaction() as cursor:
            cursor.execute("DELETE FROM archive.batches WHERE committed_at < %s", (before,))
            ledger_store.forget(cursor, before=before)

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        with translated(), self._connection, self._connection.cursor() as cursor:
            yield cursor
