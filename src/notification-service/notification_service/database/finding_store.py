"""The transaction that stores findings and aggregates them into alerts."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from auditflow.contract.alert import Action
from auditflow.contract.finding import Finding
from notification_service import history, observables
from notification_service.aggregation import Changes, StoredFinding, aggregate, fingerprint_of
from notification_service.alert import Alert
from notification_service.audit import finding_entries
from notification_service.database import arrays, history_writer, prepared, rows
from notification_service.database.pool import Pool
from notification_service.triage import Command

#: Maximum number of months whose partitions are known to exist. Only invalid data has more.
_MAX_MONTHS: Final = 600

#: Called in the transaction that stores findings, after the changes are written and before the
#: commit. If it raises, nothing is stored.
InTransaction = Callable[[Cursor, Changes], None]

# All transactions lock in the order of the keys, so that no two wait for each other. The locks are
# released at the end of the transaction.
_LOCK = """
    SELECT pg_advisory_xact_lock(key)
    FROM (
        SELECT DISTINCT key FROM unnest(%(keys)s::bigint[]) AS key ORDER BY key OFFSET 0
    ) AS ordered
"""
# The findings with these identifiers, the alerts that they belong to, and the newest and the
# unresolved alerts of the fingerprints. The first column states which. A person may act on an alert
# at any time, so its row is locked until the commit. Alerts are selected by identifier first, so
# that a row that changes during the wait is still selected.
_READ = f"""
    WITH stored (document) AS MATERIALIZED (
        {rows.select("findings", rows.FINDING_COLUMNS)}
        WHERE t.finding_id = ANY(%(ids)s::uuid[])
    ),
    existing (document) AS MATERIALIZED (
        {rows.select("alerts", rows.ALERT_COLUMNS)}
        WHERE t.alert_id = ANY(
            ARRAY(SELECT (document::json ->> 'alert_id')::uuid FROM stored)
            || ARRAY(
                SELECT alert_id
                FROM unnest(%(fingerprints)s::uuid[]) AS wanted (fingerprint)
                CROSS JOIN LATERAL (
                    (SELECT alert_id FROM alerts
                     WHERE alerts.fingerprint = wanted.fingerprint ORDER BY sequence DESC LIMIT 1)
                    UNION ALL
                    (SELECT alert_id FROM alerts
                     WHERE alerts.fingerprint = wanted.fingerprint AND status <> 'resolved')
                ) AS relevant
            )
        )
        ORDER BY t.alert_id
        FOR UPDATE OF t
    )
    SELECT 'finding', document FROM stored UNION ALL SELECT 'alert', document FROM existing
"""
# No other transaction can insert the same rows, because of the locks. A plain insert is cheaper
# than one that looks for a conflict, and it runs no triggers for updates.
_INSERT_FINDINGS = rows.insert("findings", rows.FINDING_COLUMNS)
_UPDATE_FINDINGS = rows.upsert(
    "findings", rows.FINDING_COLUMNS, ("bucket_start", "finding_id"), ("alert_id", "fingerprint")
)
_INSERT_ALERTS = rows.insert("alerts", rows.ALERT_COLUMNS)
_UPDATE_ALERTS = rows.upsert(
    "alerts",
    rows.ALERT_COLUMNS,
    ("alert_id",),
    ("fingerprint", "sequence", "previous_alert_id", "opened_at"),
)
_WRITE_OBSERVABLES = """
    INSERT INTO alert_observables (kind, value, alert_id)
    SELECT * FROM unnest(%(kinds)s::text[], %(values)s::text[], %(alerts)s::uuid[])
    ON CONFLICT DO NOTHING
"""


class FindingStore:
    """Stores findings in the database. Any number of replicas may do so at the same time."""

    def __init__(self, pool: Pool, *, in_transaction: Sequence[InTransaction] = ()) -> None:
        self._pool = pool
        self._in_transaction = tuple(in_transaction)
        self._months: set[dt.date] = set()

    def store(self, findings: Sequence[Finding]) -> Changes:
        """Store findings, one version of each, and their alerts, or nothing at all.

        Raises:
            Unavailable: the database is unavailable. It may or may not have stored the findings.
            psycopg2.Error: the database rejects the data.
        """
        self._prepare_partitions(findings)
        # A request to the server takes longer than most statements, so the transaction has two.
        with self._pool.manual_transaction() as cursor:
            fingerprints = {finding.finding_id: fingerprint_of(finding) for finding in findings}
            stored, existing = _begin_and_read(cursor, fingerprints)
            now = dt.datetime.now(dt.UTC)
            changes = aggregate(findings, stored=stored, existing=existing, now=now)
            _move_findings(cursor, changes.updated, stored)
            statements = _statements(changes, now)
            if changes.escalated or self._in_transaction:
                prepared.execute_all(cursor, statements)
                statements = []
                if changes.escalated:
                    _record_escalations(cursor, changes, now)
                for step in self._in_transaction:
                    step(cursor, changes)
            prepared.execute_all(cursor, statements, then="COMMIT")
        return changes

    def _prepare_partitions(self, findings: Iterable[Finding]) -> None:
        """Create missing partitions in a separate transaction.

        It takes locks that a transaction must not wait for after it has read the table.
        """
        required = {
            finding.bucket_start.astimezone(dt.UTC).date().replace(day=1) for finding in findings
        }
        for month in sorted(required - self._months):
            with self._pool.connection() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT findings_ensure_month(%s)", (month,))
            if len(self._months) >= _MAX_MONTHS:
                self._months.clear()
            self._months.add(month)


def _begin_and_read(
    cursor: Cursor, fingerprints: Mapping[UUID, UUID]
) -> tuple[dict[UUID, StoredFinding], list[Alert]]:
    """Begin a transaction, lock findings and fingerprints, and read what is stored about them."""
    identifiers = (*fingerprints.keys(), *fingerprints.values())
    keys = (int.from_bytes(identifier.bytes[:8], signed=True) for identifier in identifiers)
    # By identifier only: the bucket of a finding with a clamped timestamp may differ between
    # versions.
    read = {
        "ids": arrays.literal(fingerprints),
        "fingerprints": arrays.literal(set(fingerprints.values())),
    }
    prepared.execute_all(
        cursor, [(_LOCK, {"keys": arrays.literal(keys)}), (_READ, read)], first="BEGIN"
    )
    stored: dict[UUID, StoredFinding] = {}
    existing: list[Alert] = []
    for kind, text in cursor.fetchall():
        if kind == "alert":
            existing.append(rows.read_alert(text))
        else:
            finding = rows.read_finding(text)
            stored[finding.finding.finding_id] = finding
    return stored, existing


def _move_findings(
    cursor: Cursor, updated: Iterable[StoredFinding], stored: Mapping[UUID, StoredFinding]
) -> None:
    """Move findings whose bucket has changed to the partition of their new bucket."""
    for finding in (it.finding for it in updated):
        before = stored[finding.finding_id].finding.bucket_start
        if finding.bucket_start != before:
            cursor.execute(
                "UPDATE findings SET bucket_start = %s WHERE bucket_start = %s AND finding_id = %s",
                (finding.bucket_start, before, str(finding.finding_id)),
            )


def _statements(changes: Changes, now: dt.datetime) -> list[prepared.Statement]:
    """The statements that write findings, their observables and log entries, and alerts."""
    statements: list[prepared.Statement] = []
    documents: list[tuple[UUID, str, bytes]] = []
    for statement, findings in (
        (_INSERT_FINDINGS, changes.new),
        (_UPDATE_FINDINGS, changes.updated),
    ):
        if findings:
            encoded = []
            for stored_finding in findings:
                row = rows.finding_row(stored_finding, now=now)
                encoded.append(text := rows.encode_finding(row))
                month = finding_entries.month_of(row.bucket_start)
                documents.append((row.finding_id, month, rows.document_of(text)))
            statements.append((statement, {"rows": rows.encode_findings(encoded)}))
    if written := [*changes.new, *changes.updated]:
        statements.append((_WRITE_OBSERVABLES, _observable_columns(written)))
        entries = arrays.quoted(finding_entries.of_documents(documents, at=now))
        statements.append((finding_entries.INSERT, {"entries": entries}))
    for statement, alerts in ((_INSERT_ALERTS, changes.opened), (_UPDATE_ALERTS, changes.changed)):
        if alerts:
            statements.append((statement, {"rows": rows.encode_alerts(alerts)}))
    return statements


def _observable_columns(findings: Iterable[StoredFinding]) -> dict[str, str]:
    found = sorted(
        {
            (observable.kind, observable.value, str(stored.alert_id))
            for stored in findings
            for observable in observables.of_finding(stored.finding)
        }
    )
    return {
        "kinds": arrays.literal(kind for kind, _, _ in found),
        "values": arrays.quoted(value for _, value, _ in found),
        "alerts": arrays.literal(alert_id for _, _, alert_id in found),
    }


def _record_escalations(cursor: Cursor, changes: Changes, now: dt.datetime) -> None:
    after = {alert.alert_id: alert for alert in changes.changed}
    history_writer.append(
        cursor,
        [
            history.Transition(
                before=before,
                after=after[before.alert_id],
                command=Command(action=Action.ESCALATED),
            )
            for before in changes.escalated
        ],
        actor=history.SYSTEM,
        at=now,
    )
