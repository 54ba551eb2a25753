"""From groups to notifications: flushes the groups that are due."""

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from auditflow.contract.alert import Status
from notification_service.alert import Alert
from notification_service.database.pool import Pool
from notification_service.outbox import sql
from notification_service.outbox.content import Summary
from notification_service.routing.grouping import Examined, Flush, Group, Member, due_at
from notification_service.routing.tree import Receiver, Route, Tree

#: Groups, and about how many alerts, that one transaction flushes.
MAX_GROUPS: Final = 200
MAX_ALERTS: Final = 20_000
#: Alerts of a group that are in memory at once.
_CHUNK: Final = 500

_DUE: Final = """
    SELECT group_key, route_key, labels::text, pending_since, last_notified_at
    FROM notification_groups
    WHERE next_flush_at <= %s AND route_key = ANY(%s)
    ORDER BY next_flush_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
# Only the alerts about which something may have to be done.
_MEMBERS: Final = """
    SELECT alert_id, a.status, a.level, notified_status, notified_rank, notified_at, escalated,
        acknowledged_at, reminded_at, next_due_at
    FROM notification_group_alerts m JOIN alerts a USING (alert_id)
    WHERE m.group_key = %(group)s AND m.alert_id > %(after)s AND (
        %(repeats)s OR m.notified_status IS DISTINCT FROM a.status OR m.next_due_at <= %(now)s
        OR m.hidden_by IS NOT NULL
        OR m.notified_rank < array_position(%(levels)s::text[], a.level) - 1
    )
    ORDER BY m.alert_id LIMIT %(limit)s
"""
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
_REMOVE_MEMBERS: Final = (
    "DELETE FROM notification_group_alerts WHERE group_key = %s AND alert_id = ANY(%s::uuid[])"
)
_REST: Final = """
    SELECT min(next_due_at) FILTER (WHERE hidden_by IS NULL),
        bool_or(a.status = 'open' AND notified_status = 'open' AND hidden_by IS NULL), count(*)
    FROM notification_group_alerts m JOIN alerts a USING (alert_id) WHERE m.group_key = %s
"""
_WRITE_GROUP: Final = """
    UPDATE notification_groups SET pending_since = %s, last_notified_at = %s, next_flush_at = %s
    WHERE group_key = %s
"""
# The row comes first, since the alerts of a notification refer to it.
_ADD_NOTIFICATION: Final = """
    INSERT INTO notifications (notification_id, receiver, kind, group_key, content, alert_count,
        oldest_at, created_at, next_attempt_at)
    VALUES (%s, %s, %s, %s, '{}', 0, NULL, %s, %s)
"""
_FILL_NOTIFICATION: Final = """
    UPDATE notifications SET content = %s::jsonb, alert_count = %s, oldest_at = %s
    WHERE notification_id = %s
"""
_ADD_ALERTS: Final = (
    "INSERT INTO notification_alerts (notification_id, alert_id, reason) VALUES %s"
    " ON CONFLICT DO NOTHING"
)
_LOWEST: Final = str(UUID(int=0))


class Hidden(Struct, frozen=True):
    """What hides an alert (``silence:<id>``, ``inhibition:<number>``, ``maintenance:<name>``), and
    when to look at the alert again."""

    by: str
    until: dt.datetime


class Hiding(Protocol):
    """Finds out which alerts must not be notified now."""

    def check(
        self, cursor: Cursor, alerts: Sequence[Alert], *, now: dt.datetime
    ) -> Mapping[UUID, Hidden]:
        """The alerts that are hidden, by identifier."""
        ...


class Flushed(Struct):
    """What one transaction did."""

    groups: int = 0
    notifications: int = 0


class Flusher:
    """Flushes groups; one replica at a time does, as for routing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def flush(self, tree: Tree, hiding: Hiding, *, now: dt.datetime) -> Flushed:
        """Flush one batch of groups that are due.

        Raises:
            Unavailable: the database is away; nothing was changed.
        """
        done = Flushed()
        routes = tree.routes()
        with self._pool.connection() as connection, connection.cursor() as cursor:
            if not sql.try_lock_routing(cursor):
                return done
            cursor.execute(_DUE, (now, list(routes), MAX_GROUPS))
            alerts = 0
            for key, route_key, labels, pending_since, last_notified_at in cursor.fetchall():
                flush = _GroupFlush(
                    cursor,
                    key=UUID(key),
                    labels=msgspec.json.decode(labels),
                    group=Group(pending_since=pending_since, last_notified_at=last_notified_at),
                    route=routes[route_key],
                    receivers=tree.receivers,
                    hiding=hiding,
                    now=now,
                )
                alerts += flush.run()
                done.groups += 1
                done.notifications += flush.notifications
                if alerts >= MAX_ALERTS:
                    break
        return done


class _Draft:
    """A notification while its alerts are collected. Its row exists from the first alert on."""

    def __init__(self, cursor: Cursor, *, kind: str, receiver: str, now: dt.datetime) -> None:
        self._cursor = cursor
        self._kind = kind
        self._receiver = receiver
        self._now = now
        self._id = str(uuid.uuid4())
        self.summary = Summary()

    def add(self, key: UUID, alerts: Sequence[tuple[Alert, str]]) -> None:
        if not alerts:
            return
        if self.summary.total == 0:
            self._cursor.execute(
                _ADD_NOTIFICATION,
                (self._id, self._receiver, self._kind, str(key), self._now, self._now),
            )
        for alert, reason in alerts:
            self.summary.add(alert, reason)
        rows = [(self._id, str(alert.alert_id), reason) for alert, reason in alerts]
        sql.execute_many(self._cursor, _ADD_ALERTS, rows, "(%s::uuid, %s::uuid, %s)")

    def finish(self, labels: Mapping[str, str], step: int | None) -> bool:
        if self.summary.total == 0:
            return False
        content = self.summary.content(kind=self._kind, group=labels, step=step)
        self._cursor.execute(
            _FILL_NOTIFICATION,
            (
                msgspec.json.encode(content).decode(),
                self.summary.total,
                self.summary.oldest_at,
                self._id,
            ),
        )
        return True


class _GroupFlush:
    """One group within the transaction."""

    def __init__(
        self,
        cursor: Cursor,
        *,
        key: UUID,
        labels: Mapping[str, str],
        group: Group,
        route: Route,
        receivers: Mapping[str, Receiver],
        hiding: Hiding,
        now: dt.datetime,
    ) -> None:
        self._cursor = cursor
        self._key = key
        self._labels = labels
        self._route = route
        self._hiding = hiding
        self._now = now
        send_resolved = receivers[route.receiver].send_resolved
        self._flush = Flush(group, route, send_resolved=send_resolved, now=now)
        self._main = self._draft("alerts", route.receiver)
        self._reminder = self._draft("reminder", route.receiver)
        self._steps = [self._draft("escalation", step.receiver) for step in route.escalate]
        self._hidden_until: dt.datetime | None = None
        self.notifications = 0

    def run(self) -> int:
        """Flush the group. Returns how many alerts were examined."""
        examined, after = 0, _LOWEST
        while True:
            self._cursor.execute(
                _MEMBERS,
                {
                    "group": str(self._key),
                    "after": after,
                    "now": self._now,
                    "repeats": self._flush.repeats,
                    "limit": _CHUNK,
                    "levels": list(sql.RANKS),
                },
            )
            found = self._cursor.fetchall()
            if found:
                self._examine([_member_of(row) for row in found])
                after = found[-1][0]
                examined += len(found)
            if len(found) < _CHUNK:
                break
        self.notifications += self._main.finish(self._labels, None)
        self.notifications += self._reminder.finish(self._labels, None)
        for number, draft in enumerate(self._steps):
            self.notifications += draft.finish(self._labels, number + 1)
        self._conclude()
        return examined

    def _draft(self, kind: str, receiver: str) -> _Draft:
        return _Draft(self._cursor, kind=kind, receiver=receiver, now=self._now)

    def _examine(self, members: Sequence[Member]) -> None:
        alerts = sql.read_alerts(self._cursor, [member.alert_id for member in members])
        visible = [alerts[m.alert_id] for m in members if m.status is not Status.RESOLVED]
        hidden = self._hiding.check(self._cursor, visible, now=self._now)
        for cover in hidden.values():
            until = max(cover.until, self._now + dt.timedelta(seconds=1))
            self._hidden_until = min(self._hidden_until or until, until)
        outcomes = [
            (alerts[m.alert_id], self._flush.examine(m, hidden=m.alert_id in hidden))
            for m in members
        ]
        self._write(outcomes, hidden)
        self._main.add(self._key, [(a, e.reason.value) for a, e in outcomes if e.reason])
        self._reminder.add(self._key, [(a, "reminder") for a, e in outcomes if e.reminder])
        for number, draft in enumerate(self._steps):
            due = [(a, "escalation") for a, e in outcomes if number in e.escalations]
            draft.add(self._key, due)

    def _write(
        self, outcomes: Iterable[tuple[Alert, Examined]], hidden: Mapping[UUID, Hidden]
    ) -> None:
        kept: list[tuple[Any, ...]] = []
        gone: list[str] = []
        for alert, examined in outcomes:
            after = examined.after
            if after is None:
                gone.append(str(alert.alert_id))
                continue
            cover = hidden.get(alert.alert_id)
            kept.append(
                (
                    str(self._key),
                    str(after.alert_id),
                    after.notified_status.value if after.notified_status else None,
                    after.notified_rank,
                    after.notified_at,
                    after.escalated,
                    after.acknowledged_at,
                    after.reminded_at,
                    due_at(after, self._route),
                    cover.by if cover else None,
                )
            )
        sql.execute_many(self._cursor, _WRITE_MEMBERS, kept, _MEMBER_TYPES)
        if gone:
            self._cursor.execute(_REMOVE_MEMBERS, (str(self._key), gone))

    def _conclude(self) -> None:
        self._cursor.execute(_REST, (str(self._key),))
        next_due, any_open, count = self._cursor.fetchone() or (None, False, 0)
        if not count:
            self._cursor.execute(
                "DELETE FROM notification_groups WHERE group_key = %s", (str(self._key),)
            )
            return
        self._flush.take_rest(any_open=bool(any_open), next_due=next_due)
        group, again = self._flush.conclude(hidden_until=self._hidden_until)
        self._cursor.execute(
            _WRITE_GROUP,
            (group.pending_since, group.last_notified_at, again, str(self._key)),
        )


def _member_of(row: Sequence[Any]) -> Member:
    alert_id, status, level, notified, rank, notified_at, escalated, acknowledged, reminded, _ = row
    return Member(
        alert_id=UUID(alert_id),
        status=Status(status),
        rank=sql.RANKS[level],
        notified_status=Status(notified) if notified else None,
        notified_rank=rank,
        notified_at=notified_at,
        escalated=escalated,
        acknowledged_at=acknowledged,
        reminded_at=reminded,
    )
