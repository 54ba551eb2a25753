"""SQL that the parts of the outbox share."""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class
from psycopg2.extras import execute_values

from auditflow.contract.level import Level
from notification_service.alert import Alert
from notification_service.database import rows

_ALERTS: Final = sql.SQL(rows.select("alerts", rows.ALERT_COLUMNS)) + sql.SQL(
    " WHERE t.alert_id = ANY(%s::uuid[])"
)
#: How severe an alert is, as a number that only rises.
RANKS: Final = {level.value: level.rank for level in Level}
#: One replica at a time routes and flushes; sending runs on all of them.
_ROUTING_LOCK: Final = 4_712_002


def try_lock_routing(cursor: Cursor) -> bool:
    """Take the lock of routing until the transaction ends; False: another replica has it."""
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (_ROUTING_LOCK,))
    (locked,) = cursor.fetchone() or (False,)
    return bool(locked)


def read_alerts(cursor: Cursor, ids: Iterable[UUID]) -> dict[UUID, Alert]:
    """Alerts by identifier. Identifiers without an alert are left out."""
    wanted = [str(alert_id) for alert_id in ids]
    if not wanted:
        return {}
    cursor.execute(_ALERTS, (wanted,))
    alerts = (rows.read_alert(text) for (text,) in cursor.fetchall())
    return {alert.alert_id: alert for alert in alerts}


def execute_many(
    cursor: Cursor, statement: str, values: Sequence[tuple[Any, ...]], template: str | None = None
) -> None:
    """Run one statement with many rows of values; nothing for no rows."""
    if values:
        execute_values(cursor, statement, values, template=template, page_size=500)
