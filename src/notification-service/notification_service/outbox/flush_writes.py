"""The writes of a flush, collected so that many groups need few statements."""

import datetime as dt
from typing import Any, Final
from uuid import UUID

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from notification_service.outbox import sql
from notification_service.routing.grouping import Member

_ADD_NOTIFICATIONS: Final = """
    INSERT INTO notifications (notification_id, receiver, kind, group_key, created_at,
        next_attempt_at, content, alert_count, oldest_at) VALUES %s
"""
_NOTIFICATION_TYPES: Final = (
    "(%s::uuid, %s, %s, %s::uuid, %s::timestamptz, %s::timestamptz, %s::jsonb, %s, %s::timestamptz)"
)
_FILL_NOTIFICATIONS: Final = """
    UPDATE notifications n SET content = v.content, alert_count = v.alert_count,
        oldest_at = v.oldest_at
    FROM (VALUES %s) AS v (notification_id, content, alert_count, oldest_at)
    WHERE n.notification_id = v.notification_id
"""
_ADD_ALERTS: Final = (
    "INSERT INTO notification_alerts (notification_id, alert_id, reason) VALUES %s"
    " ON CONFLICT DO NOTHING"
)
_WRITE_MEMBERS: Final = """
    UPDATE notification_group_alerts m SET notified_status = v.notified_status,
        notified_rank = v.notified_rank, notified_at = v.notified_at, escalated = v.escalated,
        acknowledged_at = v.acknowledged_at, reminded_at = v.reminded_at,
        next_due_at = v.next_due_at, hidden_by = v.hidden_by
    FROM (VALUES %s) AS v (group_key, alert_id, notified_status, notified_rank, notified_at,
        escalated, acknowledged_at, reminded_at, next_due_at, hidden_by)
    WHERE m.group_key = v.group_key AND m.alert_id = v.alert_id
"""
_MEMBER_TYPES: Final = (
    "(%s::uuid, %s::uuid, %s, %s::smallint, %s::timestamptz, %s::smallint, %s::timestamptz,"
    " %s::timestamptz, %s::timestamptz, %s)"
)
_REMOVE_MEMBERS: Final = """
    DELETE FROM notification_group_alerts m USING (VALUES %s) AS v (group_key, alert_id)
    WHERE m.group_key = v.group_key AND m.alert_id = v.alert_id
"""


class Writes:
    """Writes in the order in which ``execute`` makes them."""

    def __init__(self) -> None:
        self._notifications: dict[str, tuple[Any, ...]] = {}
        self._contents: dict[str, tuple[Any, ...]] = {}
        self._alerts: list[tuple[Any, ...]] = []
        self._members: list[tuple[Any, ...]] = []
        self._removed: list[tuple[Any, ...]] = []

    def add_notification(
        self, notification_id: str, receiver: str, kind: str, group: UUID, now: dt.datetime
    ) -> None:
        """Add a notification. Alerts refer to it, so it is written before its content is known."""
        self._notifications[notification_id] = (
            notification_id, receiver, kind, str(group), now, now,
        )  # fmt: skip

    def fill_notification(
        self, notification_id: str, content: str, alerts: int, oldest_at: dt.datetime | None
    ) -> None:
        """Set the content of a notification (JSON) when it is complete.

        ``alerts`` is the number of its alerts, and ``oldest_at`` the time of the oldest one.
        """
        self._contents[notification_id] = (content, alerts, oldest_at)

    def add_alert(self, notification_id: str, alert_id: UUID, reason: str) -> None:
        """Add an alert to a notification."""
        self._alerts.append((notification_id, str(alert_id), reason))

    def write_member(
        self, group: UUID, member: Member, due_at: dt.datetime | None, hidden_by: str | None
    ) -> None:
        """Set the state of an alert in a group."""
        notified = member.notified_status.value if member.notified_status else None
        self._members.append(
            (
                str(group), str(member.alert_id), notified, member.notified_rank,
                member.notified_at, member.escalated, member.acknowledged_at, member.reminded_at,
                due_at, hidden_by,
            )
        )  # fmt: skip

    def remove_member(self, group: UUID, alert_id: UUID) -> None:
        """Remove an alert from a group."""
        self._removed.append((str(group), str(alert_id)))

    def execute(self, cursor: Cursor) -> None:
        """Make all writes."""
        empty = ("{}", 0, None)
        added = [
            (*row, *self._contents.pop(notification_id, empty))
            for notification_id, row in self._notifications.items()
        ]
        filled = [(notification_id, *row) for notification_id, row in self._contents.items()]
        sql.execute_many(cursor, _ADD_NOTIFICATIONS, added, _NOTIFICATION_TYPES)
        sql.execute_many(
            cursor, _FILL_NOTIFICATIONS, filled, "(%s::uuid, %s::jsonb, %s, %s::timestamptz)"
        )
        sql.execute_many(cursor, _ADD_ALERTS, self._alerts, "(%s::uuid, %s::uuid, %s)")
        sql.execute_many(cursor, _WRITE_MEMBERS, self._members, _MEMBER_TYPES)
        sql.execute_many(cursor, _REMOVE_MEMBERS, self._removed, "(%s::uuid, %s::uuid)")
