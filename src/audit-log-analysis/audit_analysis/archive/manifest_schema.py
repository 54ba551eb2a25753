"""The tables of the manifest, in PostgreSQL's schema ``archive``. The archive process creates them.

Each version is applied once, in order. A version is never changed after its release.
"""

import datetime as dt
from typing import Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from audit_analysis.archive import file_log
from audit_analysis.archive.archived_file import COLUMNS, file_of
from auditflow.errors import Unavailable

#: The key of the lock of migrations.
_LOCK: Final = 4_712_019
_VERSIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE archive.files (
        file_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        path text NOT NULL UNIQUE,
        tier text NOT NULL CHECK (tier IN ('volume', 's3')),
        hour timestamptz NOT NULL,
        source text NOT NULL,
        rows bigint NOT NULL CHECK (rows > 0),
        size bigint NOT NULL,
        min_occurred_ms bigint NOT NULL,
        max_occurred_ms bigint NOT NULL,
        min_received_ms bigint NOT NULL,
        max_received_ms bigint NOT NULL,
        sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
        state text NOT NULL CHECK (state IN ('committed', 'replaced', 'expired')),
        compacted boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT now(),
        removed_at timestamptz,
        CHECK ((state = 'committed') = (removed_at IS NULL))
    );
    CREATE INDEX files_by_occurrence ON archive.files (max_occurred_ms, min_occurred_ms)
        WHERE state = 'committed';
    CREATE INDEX files_by_hour ON archive.files (hour, source) WHERE state = 'committed';
    CREATE INDEX files_removed ON archive.files (removed_at) WHERE state <> 'committed';
    CREATE TABLE archive.batches (
        batch_id bytea PRIMARY KEY CHECK (octet_length(batch_id) = 16),
        committed_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX batches_by_time ON archive.batches (committed_at);
    """,
    """
    -- A removed file whose deletion has started cannot become part of the archive again.
    ALTER TABLE archive.files ADD COLUMN deletion_started_at timestamptz
        CHECK (deletion_started_at IS NULL OR removed_at IS NOT NULL);
    -- Legal holds. No source, no start or no end: no limit. The end is excluded.
    CREATE TABLE archive.holds (
        hold_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        source text,
        from_time timestamptz,
        until_time timestamptz,
        author text NOT NULL CHECK (author <> ''),
        reason text NOT NULL CHECK (reason <> ''),
        created_at timestamptz NOT NULL DEFAULT now(),
        released_at timestamptz,
        released_by text,
        CHECK (from_time < until_time),
        CHECK ((released_at IS NULL) = (released_by IS NULL))
    );
    """,
    """
    -- The ledger: up to 1024 messages of a producer, a source of the ingest and an hour. accepted
    -- and archived have a byte for each message, compressed. They are null for messages that did
    -- not come from the ingest, which have the empty producer. All other numbers are events.
    CREATE TABLE archive.ledger_blocks (
        hour timestamptz NOT NULL,
        source text NOT NULL,
        producer text NOT NULL,
        block integer NOT NULL,
        accepted bytea,
        archived bytea,
        confirmed_ms bigint NOT NULL DEFAULT 0,
        accepted_events bigint NOT NULL,
        outstanding bigint NOT NULL,
        altered bigint NOT NULL,
        unconfirmed bigint NOT NULL,
        repeated bigint NOT NULL,
        analysed bigint NOT NULL,
        late bigint NOT NULL,
        staged bigint NOT NULL,
        clamped bigint NOT NULL,
        refused bigint NOT NULL,
        dead_lettered bigint NOT NULL,
        PRIMARY KEY (hour, source, producer, block)
    );
    CREATE INDEX ledger_different ON archive.ledger_blocks (confirmed_ms)
        WHERE outstanding > 0 OR altered > 0;
    -- The acceptance of the newest archived event of the ingest.
    CREATE TABLE archive.ledger_progress (
        is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
        archived_until_ms bigint NOT NULL
    );
    -- Batches of which the analysis and the archive count another number of events.
    CREATE TABLE archive.ledger_differences (
        batch_id bytea PRIMARY KEY,
        hour timestamptz NOT NULL,
        analysed bigint NOT NULL,
        archived bigint NOT NULL,
        found_at timestamptz NOT NULL DEFAULT now()
    );
    """,
    """
    -- Hosts that send events. usual_ms: the longest usual time without events. reported_ms: the
    -- last event when the host was reported as silent.
    CREATE TABLE archive.senders (
        source text NOT NULL,
        host text NOT NULL,
        first_ms bigint NOT NULL,
        last_ms bigint NOT NULL,
        usual_ms bigint NOT NULL,
        reported_ms bigint,
        PRIMARY KEY (source, host)
    );
    """,
    """
    -- The log of files. The notification service signs it, see file_log.py.
    CREATE TABLE archive.file_log (
        number bigint PRIMARY KEY CHECK (number > 0),
        entry text NOT NULL
    );
    -- The root of the Merkle tree of the events, and the entry of the log with the file. Null: a
    -- version before the log wrote the file.
    ALTER TABLE archive.files
        ADD COLUMN events_root bytea CHECK (octet_length(events_root) = 32),
        ADD COLUMN log_number bigint;
    CREATE INDEX files_without_log ON archive.files (file_id)
        WHERE state = 'committed' AND log_number IS NULL;
    """,
    """
    -- The times at which the analysis received the events. Null: an older version wrote the file.
    ALTER TABLE archive.files
        ADD COLUMN min_processed_us bigint,
        ADD COLUMN max_processed_us bigint;
    """,
)
#: The role of the notification service, which signs the log of files.
_SIGNER: Final = "auditflow_app"


def migrate(cursor: Cursor) -> None:
    """Create or update the tables, in the caller's transaction. Processes wait for each other.

    Raises:
        Unavailable: the schema ``archive`` is missing.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'archive'")
    if cursor.fetchone() is None:
        raise Unavailable(
            "postgresql",
            "the schema archive is missing: run apps/data/postgres/base/roles.sql",
        )
    cursor.execute("CREATE TABLE IF NOT EXISTS archive.version (version integer NOT NULL)")
    cursor.execute("SELECT coalesce(max(version), 0) FROM archive.version")
    (current,) = cursor.fetchone() or (0,)
    for version, statements in enumerate(_VERSIONS, start=1):
        if version > current:
            cursor.execute(statements)
            cursor.execute("INSERT INTO archive.version VALUES (%s)", (version,))
    _allow_signing(cursor)
    _log_older_files(cursor)


def _allow_signing(cursor: Cursor) -> None:
    """Allow the notification service to read the log of files, if its role exists."""
    cursor.execute(
        "SELECT 1 FROM pg_roles WHERE rolname = %s"
        " AND NOT (has_schema_privilege(oid, 'archive', 'USAGE')"
        " AND has_table_privilege(oid, 'archive.file_log', 'SELECT'))",
        (_SIGNER,),
    )
    if cursor.fetchone() is not None:
        cursor.execute(f"GRANT USAGE ON SCHEMA archive TO {_SIGNER}")
        cursor.execute(f"GRANT SELECT ON archive.file_log TO {_SIGNER}")


def _log_older_files(cursor: Cursor) -> None:
    """Add files that a version before the log of files committed to the log."""
    cursor.execute(
        f"SELECT {COLUMNS} FROM archive.files WHERE state = 'committed' AND log_number IS NULL"
        " ORDER BY file_id"
    )
    files = [file_of(row) for row in cursor.fetchall()]
    numbers = file_log.append(cursor, at=dt.datetime.now(dt.UTC), added=files)
    for path, number in numbers.items():
        cursor.execute("UPDATE archive.files SET log_number = %s WHERE path = %s", (number, path))
