"""Which alerts a silence hides, or would have hidden."""

import datetime as dt
from collections.abc import Callable
from typing import Final

from psycopg2 import sql

from auditflow.contract.notification import HiddenAlert, HiddenAlerts
from notification_service.alert import Alert
from notification_service.database import rows
from notification_service.database.pool import Pool
from notification_service.outbox.hiding import conditions_of
from notification_service.routing import labels as alert_labels
from notification_service.silences.model import Silence, backwards

MAX_LISTED: Final = 1_000
MAX_COUNTED: Final = 100_000
_CHUNK: Final = 500


def preview(pool: Pool, silence: Silence, *, days: int, now: dt.datetime) -> HiddenAlerts:
    """The alerts of the last days that the silence would have hidden when they were opened.

    A silence without a recurrence is taken as active all the time. Each alert is judged by the
    same code that hides alerts from notification.
    """
    before = backwards(silence, days, now)

    def hides(alert: Alert) -> bool:
        return before.active_until(alert.opened_at) is not None

    since = sql.SQL("t.opened_at >= {}").format(sql.Literal(now - dt.timedelta(days=days)))
    return _find(pool, before, since, hides)


def hidden_now(pool: Pool, silence: Silence, *, now: dt.datetime) -> HiddenAlerts:
    """The alerts that are not resolved and that the silence hides now; none if it is not active."""
    if silence.active_until(now) is None:
        return HiddenAlerts(0, (), complete=True)
    return _find(pool, silence, sql.SQL("t.status <> 'resolved'"), lambda _: True)


def _find(
    pool: Pool, silence: Silence, condition: sql.Composable, hides: Callable[[Alert], bool]
) -> HiddenAlerts:
    conditions, values = conditions_of(silence.matchers)
    statement = sql.SQL(rows.select("alerts", rows.ALERT_COLUMNS)) + sql.SQL(
        " WHERE {} ORDER BY t.opened_at DESC, t.alert_id DESC"
    ).format(sql.SQL(" AND ").join([condition, *conditions]))
    total = 0
    listed: list[HiddenAlert] = []
    with pool.connection() as connection, connection.cursor("hidden_alerts") as cursor:
        cursor.itersize = _CHUNK
        cursor.execute(statement, values)
        for (text,) in cursor:
            alert = rows.read_alert(text)
            if not silence.matches(alert_labels.of_alert(alert)) or not hides(alert):
                continue
            total += 1
            if len(listed) < MAX_LISTED:
                listed.append(
                    HiddenAlert(alert.alert_id, alert.title, alert.level, alert.opened_at)
                )
            if total >= MAX_COUNTED:
                break
    return HiddenAlerts(total, tuple(listed), complete=total == len(listed))
