"""Retention: old findings, resolved alerts and notifications are deleted in limited steps.

Everything before the beginning of a month is deleted: first findings, by dropping the partitions of
months, then alerts that have no findings left. A finding stays as long as it was received recently,
whatever the times of its events, because their source sets these times. Any number of replicas may
run it at the same time. The history of actions and the audit trail are never deleted.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from auditflow.telemetry import logs
from notification_service.audit import finding_entries
from notification_service.database.pool import Pool
from notification_service.metrics import RetentionMetrics

#: Shortest retention. The functions in the database refuse a time within the last 30 days.
MIN_RETENTION_DAYS: Final = 31
#: Rows that one step deletes.
BATCH: Final = 1_000

_FINDINGS: Final = "SELECT retention_drop_findings(%(cutoff)s, %(batch)s)"
_ALERTS: Final = "SELECT retention_delete_alerts(%(cutoff)s, %(batch)s)"
_NOTIFICATIONS: Final = """
    DELETE FROM notifications WHERE notification_id IN (
        SELECT notification_id FROM notifications
        WHERE created_at < %(cutoff)s AND status IN ('sent', 'dead', 'merged')
        ORDER BY created_at, notification_id LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
"""
log = logs.get(__name__)


def cutoff_of(now: dt.datetime, days: int) -> dt.datetime:
    """The time before which everything is deleted: the beginning of a month."""
    oldest = now.astimezone(dt.UTC) - dt.timedelta(days=days)
    return oldest.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


class Retention:
    """Deletes what is older than ``days``. ``clock`` returns the time with an offset."""

    def __init__(
        self,
        pool: Pool,
        metrics: RetentionMetrics,
        *,
        days: int,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._pool = pool
        self._metrics = metrics
        self._days = days
        self._clock = clock

    def __call__(self) -> bool:
        """Do one step. True if more work remains.

        Raises:
            Unavailable: the database is unavailable, or a table is locked for too long.
        """
        values = {"cutoff": cutoff_of(self._clock(), self._days), "batch": BATCH}
        return any(
            self._step(step, values) for step in (_drop_findings, _delete_alerts, _delete_sent)
        )

    def _step(
        self,
        step: Callable[[Cursor, dict[str, Any]], tuple[str, int]],
        values: dict[str, Any],
    ) -> bool:
        with self._pool.connection() as connection, connection.cursor() as cursor:
            kind, deleted = step(cursor, values)
        if deleted:
            self._metrics.deleted.labels(kind).inc(deleted)
            log.info("retention deleted", kind=kind, number=deleted, before=str(values["cutoff"]))
        return deleted > 0


def _drop_findings(cursor: Cursor, values: dict[str, Any]) -> tuple[str, int]:
    cursor.execute(_FINDINGS, values)
    (partition,) = cursor.fetchone() or (None,)
    if partition is not None:
        # Verifiers of the log of findings must not report these findings as missing.
        entry = finding_entries.of_retention(values["cutoff"], at=dt.datetime.now(dt.UTC))
        cursor.execute(finding_entries.INSERT, {"entries": [entry]})
    return "partitions", 0 if partition is None else 1


def _delete_alerts(cursor: Cursor, values: dict[str, Any]) -> tuple[str, int]:
    cursor.execute(_ALERTS, values)
    (deleted,) = cursor.fetchone() or (0,)
    return "alerts", int(deleted)


def _delete_sent(cursor: Cursor, values: dict[str, Any]) -> tuple[str, int]:
    cursor.execute(_NOTIFICATIONS, values)
    return "notifications", cursor.rowcount
