"""Notifications as the API shows them, and what people do with them."""

import uuid
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from auditflow.contract.notification import (
    NotificationDetail,
    NotificationList,
    NotificationSummary,
    NotifiedAlert,
)
from auditflow.errors import AuditFlowError
from notification_service.database.pool import Pool
from notification_service.outbox.content import Content, headline

MAX_ALERTS: Final = 1_000

_COLUMNS: Final = """n.notification_id, n.receiver, n.kind, n.content::text, n.alert_count,
    n.status, n.attempts, n.created_at, n.next_attempt_at, n.sent_at, n.delivered_to, n.last_error,
    n.merged_into"""
_PAGE: Final = f"""
    SELECT {_COLUMNS} FROM notifications n
    WHERE (%(status)s::text IS NULL OR status = %(status)s)
        AND (%(receiver)s::text IS NULL OR receiver = %(receiver)s)
        AND (%(alert)s::uuid IS NULL OR notification_id IN (
            SELECT notification_id FROM notification_alerts WHERE alert_id = %(alert)s::uuid))
        AND (%(after)s::uuid IS NULL OR (created_at, notification_id) < (
            SELECT created_at, notification_id FROM notifications
            WHERE notification_id = %(after)s::uuid))
    ORDER BY created_at DESC, notification_id DESC LIMIT %(limit)s
"""  # noqa: S608 - constants only
_BY_ID: Final = f"SELECT {_COLUMNS} FROM notifications n WHERE notification_id = %s"  # noqa: S608
# The alerts of a digest are those of the notifications that were merged into it.
_ALERTS: Final = """
    SELECT DISTINCT alert_id, reason FROM notification_alerts WHERE notification_id IN (
        SELECT notification_id FROM notifications
        WHERE notification_id = %(id)s OR merged_into = %(id)s)
    ORDER BY alert_id LIMIT %(limit)s
"""
_RETRY: Final = """
    UPDATE notifications SET status = 'pending', next_attempt_at = now(), attempts_before = attempts
    WHERE notification_id = %s AND status = 'dead'
"""
_ADD_TEST: Final = """
    INSERT INTO notifications (notification_id, receiver, kind, content, alert_count, created_at,
        next_attempt_at)
    VALUES (%s, %s, 'test', %s::jsonb, 0, now(), now())
"""


class NotDead(AuditFlowError):
    """Only a dead notification can be retried. ``status`` is what it is instead."""

    def __init__(self, status: str) -> None:
        super().__init__(f"The notification is {status}. Only a dead one can be retried.")
        self.status = status


class NotificationReader:
    """Reads notifications. All methods may raise ``Unavailable``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def page(
        self,
        *,
        status: str | None,
        receiver: str | None,
        alert: UUID | None,
        after: UUID | None,
        limit: int,
    ) -> NotificationList:
        """One page of notifications that match."""
        values = {
            "status": status,
            "receiver": receiver,
            "alert": str(alert) if alert else None,
            "after": str(after) if after else None,
            "limit": limit + 1,
        }
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_PAGE, values)
            found = [NotificationSummary(**_fields(row)) for row in cursor.fetchall()]
        shown = tuple(found[:limit])
        return NotificationList(shown, shown[-1].notification_id if len(found) > limit else None)

    def detail(self, notification_id: UUID) -> NotificationDetail | None:
        """A notification with its alerts, or None."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            return _detail(cursor, notification_id)

    def retry(self, notification_id: UUID) -> NotificationDetail | None:
        """Deliver a dead notification again, with as many attempts as a new one.

        Returns it, or None if there is none.

        Raises:
            NotDead: the notification is not dead.
        """
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_RETRY, (str(notification_id),))
            is_retried = cursor.rowcount > 0
            found = _detail(cursor, notification_id)
        if found is not None and not is_retried:
            raise NotDead(found.status)
        return found

    def add_test(self, receiver: str) -> NotificationDetail | None:
        """Queue a test notification."""
        identifier = uuid.uuid4()
        content = Content(
            kind="test", group={}, total=0, by_reason={}, by_level={}, by_rule=(), alerts=()
        )
        text = msgspec.json.encode(content).decode()
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_ADD_TEST, (str(identifier), receiver, text))
            return _detail(cursor, identifier)


def _detail(cursor: Cursor, notification_id: UUID) -> NotificationDetail | None:
    cursor.execute(_BY_ID, (str(notification_id),))
    row = cursor.fetchone()
    if row is None:
        return None
    cursor.execute(_ALERTS, {"id": str(notification_id), "limit": MAX_ALERTS})
    alerts = tuple(NotifiedAlert(UUID(alert_id), reason) for alert_id, reason in cursor.fetchall())
    return NotificationDetail(**_fields(row), alerts=alerts)


def _fields(row: Sequence[Any]) -> dict[str, Any]:
    identifier, receiver, kind, text, count, status, attempts, created_at, *rest = row
    next_attempt_at, sent_at, delivered_to, last_error, merged_into = rest
    title = "Digest" if text == "{}" else headline(msgspec.json.decode(text, type=Content))
    return {
        "notification_id": UUID(identifier),
        "receiver": receiver,
        "kind": kind,
        "title": title,
        "alert_count": count,
        "status": status,
        "attempts": attempts,
        "created_at": created_at,
        "next_attempt_at": next_attempt_at if status == "pending" else None,
        "sent_at": sent_at,
        "delivered_to": delivered_to,
        "last_error": last_error,
        "merged_into": UUID(merged_into) if merged_into else None,
    }
