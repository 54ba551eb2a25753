"""``notification-service-log-findings``: adds findings without an entry to the log of findings.

They were stored before the log began, or by a previous version during an upgrade. The new entries
are marked, because the log cannot prove what happened to these findings before. Each finding gets
one entry, also if two runs work at the same time, or if a run was killed.
"""

import datetime as dt
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from auditflow import settings as environment
from auditflow.errors import SettingsError
from auditflow.settings import PostgresSettings
from notification_service.audit import finding_entries
from notification_service.database import rows
from notification_service.database.connection import Connection, connect, explain

_STATEMENT_SECONDS: Final = 3600.0
#: Lock of the database: one run works, others exit.
_LOCK: Final = (4713, 7)
#: An entry leaves the outbox and enters the log in one transaction, so a snapshot has it once.
_WITHOUT_ENTRY: Final = """
    SELECT stored.finding_id, stored.updated_at FROM findings AS stored
    WHERE NOT EXISTS (
        SELECT FROM (
            SELECT entry FROM finding_log UNION ALL SELECT entry FROM finding_log_outbox
        ) AS entries
        CROSS JOIN LATERAL jsonb_array_elements(entries.entry::jsonb -> 'findings') AS logged
        WHERE (logged ->> 'finding_id')::uuid = stored.finding_id
    )
"""
# A finding that was updated since it was selected has an entry now. The lock makes an update wait,
# so that its entry follows this one.
_DOCUMENTS: Final = (
    rows.select("findings", rows.FINDING_COLUMNS)
    + " JOIN unnest(%(ids)s::uuid[], %(versions)s::timestamptz[]) AS wanted (id, updated_at)"
    " ON wanted.id = t.finding_id AND wanted.updated_at = t.updated_at"
    " ORDER BY t.finding_id FOR UPDATE OF t"
)


def main() -> None:
    """The console script. It exits with 1 if the database refuses; a later run continues."""
    name = "notification-service-log-findings"
    try:
        settings = environment.load(PostgresSettings)
    except SettingsError as error:
        sys.stderr.write(f"{name}: the settings are not complete:\n{error}\n")
        raise SystemExit(2) from None

    def open_connection() -> Connection:
        return connect(settings, name=name, statement_seconds=_STATEMENT_SECONDS)

    try:
        added = add_missing(open_connection)
    except psycopg2.Error as error:
        sys.stderr.write(f"{name}: {explain(error)}\n")
        raise SystemExit(1) from None
    if added is None:
        sys.stdout.write("another run is in progress\n")
    else:
        sys.stdout.write(f"{added} findings added to the log\n")


def add_missing(open_connection: Callable[[], Connection]) -> int | None:
    """Add an entry for each stored finding that has none.

    Returns:
        The number of findings, or None if another run is in progress.

    Raises:
        psycopg2.Error: the database refuses. What was committed before remains.
    """
    with closing(open_connection()) as reading, closing(open_connection()) as writing:
        with reading.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", _LOCK)
            if cursor.fetchone() != (True,):
                return None
        added = 0
        with reading.cursor("findings_without_entry") as found:
            found.itersize = finding_entries.MAX_FINDINGS
            found.execute(_WITHOUT_ENTRY)
            while batch := found.fetchmany(finding_entries.MAX_FINDINGS):
                with writing, writing.cursor() as cursor:
                    added += _add(cursor, batch)
        return added


def _add(cursor: Cursor, batch: Sequence[tuple[str, dt.datetime]]) -> int:
    ids, versions = zip(*batch, strict=True)
    cursor.execute(_DOCUMENTS, {"ids": list(ids), "versions": list(versions)})
    found = [rows.read_row(text) for (text,) in cursor.fetchall()]
    entries = finding_entries.of_documents(
        (
            (
                row.finding_id,
                finding_entries.month_of(row.bucket_start),
                rows.document_of(rows.encode_finding(row)),
            )
            for row in found
        ),
        at=dt.datetime.now(dt.UTC),
        added_later=True,
    )
    cursor.execute(finding_entries.INSERT, {"entries": list(entries)})
    return len(found)


if __name__ == "__main__":
    main()
