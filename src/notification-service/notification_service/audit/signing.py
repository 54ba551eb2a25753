"""The worker that adds new entries to a Merkle log and signs a checkpoint."""

from typing import Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from auditflow.merkle.log import Log, LogCorrupted
from auditflow.merkle.note import Signer
from auditflow.merkle.postgres import PostgresStore
from auditflow.telemetry import logs
from notification_service.audit.logs import LOGS, PAGE, AuditLog
from notification_service.database.pool import Pool
from notification_service.maintenance import Task
from notification_service.metrics import AuditLogMetrics

log = logs.get(__name__)


#: Time between two checkpoints of a log, in seconds.
_SECONDS: Final = 1.0
#: Whether a table exists and this role may read it.
_IS_READABLE: Final = (
    "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE nspname = %s AND relname = %s AND has_schema_privilege(n.oid, 'USAGE')"
    " AND has_table_privilege(c.oid, 'SELECT'))"
)


def tasks(pool: Pool, signer: Signer, metrics: AuditLogMetrics) -> list[Task]:
    """A task for each log."""
    return [
        Task(f"sign {audited.name}", _SECONDS, SigningTask(pool, signer, audited, metrics))
        for audited in LOGS.values()
    ]


def append_findings(pool: Pool) -> bool:
    """Move entries of findings from their outbox to their log. True if more entries remain."""
    with pool.cursor() as cursor:
        cursor.execute("SELECT finding_log_append(%s)", (PAGE,))
        (appended,) = cursor.fetchone() or (0,)
    return int(appended) == PAGE


class SigningTask:
    """Signs the entries of one log. Any number of replicas may run it; a lock selects one.

    It signs nothing if the stored log contradicts a checkpoint: a person must find out why.
    """

    def __init__(
        self, pool: Pool, signer: Signer, audited: AuditLog, metrics: AuditLogMetrics
    ) -> None:
        self._pool = pool
        self._signer = signer
        self._audited = audited
        self._metrics = metrics
        self._largest_size = 0
        metrics.create(audited.name)

    def __call__(self) -> bool:
        """Sign new entries. True if more entries remain."""
        name = self._audited.name
        try:
            with self._pool.connection() as connection, connection.cursor() as cursor:
                added = self._extend(cursor)
        except LogCorrupted as error:
            log.error(  # noqa: TRY400 - the traceback says nothing about the stored data
                "audit log contradicts its checkpoint", audit_log=name, error=str(error)
            )
            self._metrics.set(name, contradicted=True)
            return False
        if added is None:
            return False
        self._metrics.set(name, contradicted=False, size=self._largest_size)
        return added == PAGE

    def _extend(self, cursor: Cursor) -> int | None:
        """The number of entries that were added; None if another replica does this."""
        store = PostgresStore(cursor, self._audited.name)
        if not store.try_lock():
            return None
        merkle_log = Log(store, self._signer, origin=self._audited.origin(self._signer))
        checkpoint = merkle_log.checkpoint()
        size = checkpoint.size if checkpoint else 0
        if size < self._largest_size:
            raise LogCorrupted(
                f"the newest checkpoint has size {size}, but one of size {self._largest_size}"
                " was signed before"
            )
        self._largest_size = size
        entries = self._new_entries(cursor, size)
        new = merkle_log.append(entries)
        if new is not None:
            self._largest_size = new.size
        return len(entries)

    def _new_entries(self, cursor: Cursor, size: int) -> list[bytes]:
        cursor.execute(_IS_READABLE, self._audited.schema_and_table)
        if (cursor.fetchone() or (False,))[0] is False:
            if size:
                raise LogCorrupted(f"the table {self._audited.table} is missing or not readable")
            return []  # the process that creates the table has not started yet
        cursor.execute(self._audited.read_last_number)
        last = (cursor.fetchone() or (None,))[0] or 0
        if last < size:
            raise LogCorrupted(f"the last entry is {last}, but the checkpoint has {size} entries")
        cursor.execute(self._audited.read_entries, {"first": size + 1, "last": size + PAGE})
        rows = cursor.fetchall()
        for expected, (number, _) in enumerate(rows, start=size + 1):
            if number != expected:
                raise LogCorrupted(f"the entry {expected} is missing")
        return [entry.encode() for _, entry in rows]
