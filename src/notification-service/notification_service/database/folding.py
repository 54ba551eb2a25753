"""The transaction that folds findings into the tables."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class
from psycopg2.extras import execute_values

from auditflow.contract.finding import Finding
from notification_service.alert import Alert
from notification_service.database import rows
from notification_service.database.pool import Pool
from notification_service.fold import Changes, Stored, fingerprint_of, fold

#: Months whose partitions were asked for already. Only a stream of garbage has so many.
_MAX_MONTHS: Final = 600

# One statement in the order of the keys, whoever asks, so that no two transactions wait for each
# other. They are held to the end of the transaction.
_LOCK = """
    SELECT pg_advisory_xact_lock(key)
    FROM (SELECT DISTINCT key FROM unnest(%s::bigint[]) AS key ORDER BY key OFFSET 0) AS ordered
"""
_STORED = sql.SQL("SELECT {} FROM findings WHERE finding_id = ANY(%s::uuid[])").format(
    rows.columns(rows.FINDING)
)
# A person may resolve an alert at any moment: the rows stay as they are until the commit. They are
# named first and locked by name, since a row that changes while it is waited for must not drop out.
_ALERTS = sql.SQL("""
    SELECT {} FROM alerts
    WHERE alert_id = ANY(%(ids)s::uuid[] || ARRAY(
        SELECT alert_id
        FROM unnest(%(fingerprints)s::uuid[]) AS wanted (fingerprint)
        CROSS JOIN LATERAL (
            (SELECT alert_id FROM alerts
             WHERE alerts.fingerprint = wanted.fingerprint ORDER BY sequence DESC LIMIT 1)
            UNION ALL
            (SELECT alert_id FROM alerts
             WHERE alerts.fingerprint = wanted.fingerprint AND status <> 'resolved')
        ) AS relevant
    ))
    ORDER BY alert_id
    FOR UPDATE
""").format(rows.columns(rows.ALERT))


def _upsert(
    table: str, kinds: dict[str, str], key: Sequence[str], keep: Sequence[str]
) -> sql.Composed:
    changing = [name for name in kinds if name not in (*key, *keep)]
    return sql.SQL(
        "INSERT INTO {} ({}) VALUES %s ON CONFLICT ({}) DO UPDATE SET ({}) = ROW ({})"
    ).format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, kinds)),
        sql.SQL(", ").join(map(sql.Identifier, key)),
        sql.SQL(", ").join(map(sql.Identifier, changing)),
        sql.SQL(", ").join(sql.Identifier("excluded", name) for name in changing),
    )


_WRITE_FINDINGS = _upsert(
    "findings", rows.FINDING, ("bucket_start", "finding_id"), ("alert_id", "fingerprint")
)
#: Status and the place in the chain are not the fold's to change.
_WRITE_ALERTS = _upsert(
    "alerts",
    rows.ALERT,
    ("alert_id",),
    ("fingerprint", "sequence", "previous_alert_id", "status", "opened_at"),
)


def _template(kinds: dict[str, str]) -> str:
    return "(" + ", ".join(f"%s::{kind}" for kind in kinds.values()) + ")"


class FindingStore:
    """Folds findings into the database; any number of replicas may do so at once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._months: set[dt.date] = set()

    def fold(self, findings: Sequence[Finding]) -> Changes:
        """Store findings, one version of each, and the alerts that they join, or nothing at all.

        Raises:
            Unavailable: the database is away; whether anything was stored is not known.
            psycopg2.Error: the database does not take the data.
        """
        self._prepare_partitions(findings)
        with self._pool.connection() as connection, connection.cursor() as cursor:
            fingerprints = {finding.finding_id: fingerprint_of(finding) for finding in findings}
            _lock(cursor, [*fingerprints.keys(), *fingerprints.values()])
            stored = _read_stored(cursor, fingerprints.keys())
            known = _read_alerts(cursor, stored.values(), fingerprints.values())
            now = dt.datetime.now(dt.UTC)
            changes = fold(findings, stored=stored, known=known, now=now)
            _write(cursor, changes, stored, now)
        return changes

    def _prepare_partitions(self, findings: Iterable[Finding]) -> None:
        """Make the partitions that are missing, in a transaction of their own, since it takes
        locks that one which has read the table must not wait for."""
        wanted = {
            finding.bucket_start.astimezone(dt.UTC).date().replace(day=1) for finding in findings
        }
        for month in sorted(wanted - self._months):
            with self._pool.connection() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT findings_ensure_month(%s)", (month,))
            if len(self._months) >= _MAX_MONTHS:
                self._months.clear()
            self._months.add(month)


def _lock(cursor: Cursor, names: Iterable[UUID]) -> None:
    keys = [int.from_bytes(name.bytes[:8], signed=True) for name in names]
    cursor.execute(_LOCK, (keys,))


def _read_stored(cursor: Cursor, ids: Iterable[UUID]) -> dict[UUID, Stored]:
    # By the identifier alone: the time of a finding with an event ahead of the clock is clamped,
    # and may differ between two versions.
    cursor.execute(_STORED, (_texts(ids),))
    found = map(rows.stored_of, cursor.fetchall())
    return {stored.finding.finding_id: stored for stored in found}


def _read_alerts(
    cursor: Cursor, stored: Iterable[Stored], fingerprints: Iterable[UUID]
) -> list[Alert]:
    ids = {one.alert_id for one in stored}
    cursor.execute(_ALERTS, {"ids": _texts(ids), "fingerprints": _texts(set(fingerprints))})
    return list(map(rows.alert_of, cursor.fetchall()))


def _write(cursor: Cursor, changes: Changes, stored: dict[UUID, Stored], now: dt.datetime) -> None:
    for one in changes.updated:
        before = stored[one.finding.finding_id].finding.bucket_start
        if one.finding.bucket_start != before:
            cursor.execute(
                "UPDATE findings SET bucket_start = %s WHERE bucket_start = %s AND finding_id = %s",
                (one.finding.bucket_start, before, str(one.finding.finding_id)),
            )
    written = [*changes.new, *changes.updated]
    _execute(
        cursor, _WRITE_FINDINGS, rows.FINDING, [rows.finding_row(one, now=now) for one in written]
    )
    _execute(
        cursor,
        _WRITE_ALERTS,
        rows.ALERT,
        list(map(rows.alert_row, (*changes.opened, *changes.changed))),
    )


def _execute(
    cursor: Cursor,
    statement: sql.Composed,
    kinds: dict[str, str],
    values: Sequence[tuple[Any, ...]],
) -> None:
    if values:
        execute_values(cursor, statement, values, template=_template(kinds), page_size=200)


def _texts(ids: Iterable[UUID]) -> list[str]:
    return [str(one) for one in ids]
