"""From groups to notifications: flushes the groups that are due."""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
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
from notification_service.outbox.flush_writes import Writes
from notification_service.routing.grouping import Flush, Group, Member, due_at
from notification_service.routing.tree import Receiver, Route, Tree

#: Groups, and about how many alerts, that one transaction flushes.
MAX_GROUPS: Final = 200
MAX_ALERTS: Final = 20_000
#: Groups with up to this number of alerts are flushed together, with few statements for all.
MAX_SMALL: Final = 5
#: Alerts of a larger group that are in memory at once.
_CHUNK: Final = 500

_DUE: Final = """
    SELECT group_key, route_key, labels::text, pending_since, last_notified_at
    FROM notification_groups
    WHERE next_flush_at <= %s AND route_key = ANY(%s)
    ORDER BY next_flush_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
# Only the alerts about which something may have to be done.
_MEMBERS: Final = """
    SELECT g.group_key, found.*
    FROM unnest(%(groups)s::uuid[], %(repeats)s::boolean[]) AS g (group_key, repeats)
    CROSS JOIN LATERAL (
        SELECT alert_id, a.status, a.level, notified_status, notified_rank, notified_at, escalated,
            acknowledged_at, reminded_at
        FROM notification_group_alerts m JOIN alerts a USING (alert_id)
        WHERE m.group_key = g.group_key AND m.alert_id > %(after)s AND (
            g.repeats OR m.notified_status IS DISTINCT FROM a.status OR m.next_due_at <= %(now)s
            OR m.hidden_by IS NOT NULL
            OR m.notified_rank < array_position(%(levels)s::text[], a.level) - 1
        )
        ORDER BY m.alert_id LIMIT %(limit)s
    ) AS found
    ORDER BY g.group_key, alert_id
"""
_REST: Final = """
    SELECT m.group_key, min(next_due_at) FILTER (WHERE hidden_by IS NULL),
        bool_or(a.status = 'open' AND notified_status = 'open' AND hidden_by IS NULL)
    FROM notification_group_alerts m JOIN alerts a USING (alert_id)
    WHERE m.group_key = ANY(%s::uuid[]) GROUP BY m.group_key
"""
_WRITE_GROUPS: Final = """
    UPDATE notification_groups g SET pending_since = v.pending_since,
        last_notified_at = v.last_notified_at, next_flush_at = v.next_flush_at
    FROM (VALUES %s) AS v (group_key, pending_since, last_notified_at, next_flush_at)
    WHERE g.group_key = v.group_key
"""
_GROUP_TYPES: Final = "(%s::uuid, %s::timestamptz, %s::timestamptz, %s::timestamptz)"
_REMOVE_GROUPS: Final = "DELETE FROM notification_groups WHERE group_key = ANY(%s::uuid[])"
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
    """The result of one transaction."""

    groups: int = 0
    notifications: int = 0


class Flusher:
    """Flushes groups; one replica at a time does, as for routing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def flush(self, tree: Tree, hiding: Hiding, *, now: dt.datetime) -> Flushed:
        """Flush one batch of groups that are due.

        Raises:
            Unavailable: the database is unavailable; nothing was changed.
        """
        done = Flushed()
        routes = tree.routes()
        with self._pool.connection() as connection, connection.cursor() as cursor:
            if not sql.try_lock_routing(cursor):
                return done
            cursor.execute(_DUE, (now, list(routes), MAX_GROUPS))
            groups = [
                _GroupFlush(
                    key=UUID(key),
                    labels=msgspec.json.decode(labels),
                    group=Group(pending_since=pending_since, last_notified_at=last_notified_at),
                    route=routes[route_key],
                    receivers=tree.receivers,
                    now=now,
                )
                for key, route_key, labels, pending_since, last_notified_at in cursor.fetchall()
            ]
            transaction = _Transaction(cursor, hiding, now)
            first = transaction.members(groups, after=_LOWEST, limit=MAX_SMALL + 1)
            small = [group for group in groups if len(first.get(group.key, ())) <= MAX_SMALL]
            transaction.flush(small, first)
            alerts, flushed = sum(len(first.get(group.key, ())) for group in small), small
            for group in groups:
                if len(first.get(group.key, ())) > MAX_SMALL and alerts < MAX_ALERTS:
                    alerts += transaction.flush_large(group)
                    flushed.append(group)
        done.groups = len(flushed)
        done.notifications = sum(group.notifications for group in flushed)
        return done


class _Transaction:
    """Reads and writes of one transaction."""

    def __init__(self, cursor: Cursor, hiding: Hiding, now: dt.datetime) -> None:
        self._cursor = cursor
        self._hiding = hiding
        self._now = now

    def members(
        self, groups: Sequence["_GroupFlush"], *, after: str, limit: int
    ) -> dict[UUID, list[Member]]:
        """Up to ``limit`` members of each group about which something may have to be done."""
        values = {
            "groups": [str(group.key) for group in groups],
            "repeats": [group.repeats for group in groups],
            "after": after,
            "now": self._now,
            "limit": limit,
            "levels": list(sql.RANKS),
        }
        found: dict[UUID, list[Member]] = {}
        if groups:
            self._cursor.execute(_MEMBERS, values)
            for key, *row in self._cursor.fetchall():
                found.setdefault(UUID(key), []).append(_member_of(row))
        return found

    def flush(
        self, groups: Sequence["_GroupFlush"], members: Mapping[UUID, Sequence[Member]]
    ) -> None:
        """Flush groups together. ``members`` are all of their members with something to do."""
        writes = Writes()
        alerts, hidden = self._read([it for group in groups for it in members.get(group.key, ())])
        for group in groups:
            group.examine(members.get(group.key, ()), alerts, hidden, writes)
            group.finish(writes)
        writes.execute(self._cursor)
        self._conclude(groups)

    def flush_large(self, group: "_GroupFlush") -> int:
        """Flush a group in parts. Returns how many alerts were examined."""
        examined, after = 0, _LOWEST
        while True:
            found = self.members([group], after=after, limit=_CHUNK).get(group.key, [])
            if found:
                writes = Writes()
                alerts, hidden = self._read(found)
                group.examine(found, alerts, hidden, writes)
                writes.execute(self._cursor)
                after = str(found[-1].alert_id)
                examined += len(found)
            if len(found) < _CHUNK:
                break
        writes = Writes()
        group.finish(writes)
        writes.execute(self._cursor)
        self._conclude([group])
        return examined

    def _read(
        self, members: Sequence[Member]
    ) -> tuple[Mapping[UUID, Alert], Mapping[UUID, Hidden]]:
        """The alerts of members, and which of them are hidden."""
        alerts = sql.read_alerts(self._cursor, {member.alert_id for member in members})
        unresolved = {m.alert_id for m in members if m.status is not Status.RESOLVED}
        visible = [alerts[alert_id] for alert_id in sorted(unresolved)]
        return alerts, self._hiding.check(self._cursor, visible, now=self._now)

    def _conclude(self, groups: Sequence["_GroupFlush"]) -> None:
        """Write when each group is due again, and remove empty groups."""
        if not groups:
            return
        self._cursor.execute(_REST, ([str(group.key) for group in groups],))
        rest = {UUID(key): (any_open, next_due) for key, next_due, any_open in self._cursor}
        changed = [group.conclude(*rest[group.key]) for group in groups if group.key in rest]
        sql.execute_many(self._cursor, _WRITE_GROUPS, changed, _GROUP_TYPES)
        if empty := [str(group.key) for group in groups if group.key not in rest]:
            self._cursor.execute(_REMOVE_GROUPS, (empty,))


class _Draft:
    """A notification while its alerts are collected. Its row exists from the first alert on."""

    def __init__(self, *, kind: str, receiver: str, now: dt.datetime) -> None:
        self._kind = kind
        self._receiver = receiver
        self._now = now
        self._id = str(uuid.uuid4())
        self.summary = Summary()

    def add(self, key: UUID, alerts: Sequence[tuple[Alert, str]], writes: Writes) -> None:
        if not alerts:
            return
        if self.summary.total == 0:
            writes.add_notification(self._id, self._receiver, self._kind, key, self._now)
        for alert, reason in alerts:
            self.summary.add(alert, reason)
            writes.add_alert(self._id, alert.alert_id, reason)

    def finish(self, labels: Mapping[str, str], step: int | None, writes: Writes) -> bool:
        if self.summary.total == 0:
            return False
        content = self.summary.content(kind=self._kind, group=labels, step=step)
        encoded = msgspec.json.encode(content).decode()
        writes.fill_notification(self._id, encoded, self.summary.total, self.summary.oldest_at)
        return True


class _GroupFlush:
    """One group within the transaction."""

    def __init__(
        self,
        *,
        key: UUID,
        labels: Mapping[str, str],
        group: Group,
        route: Route,
        receivers: Mapping[str, Receiver],
        now: dt.datetime,
    ) -> None:
        self.key = key
        self._labels = labels
        self._route = route
        self._now = now
        send_resolved = receivers[route.receiver].send_resolved
        self._flush = Flush(group, route, send_resolved=send_resolved, now=now)
        self._main = self._draft("alerts", route.receiver)
        self._reminder = self._draft("reminder", route.receiver)
        self._steps = [self._draft("escalation", step.receiver) for step in route.escalate]
        self._hidden_until: dt.datetime | None = None
        self.notifications = 0

    @property
    def repeats(self) -> bool:
        """Whether alerts that did not change are notified again."""
        return self._flush.repeats

    def examine(
        self,
        members: Sequence[Member],
        alerts: Mapping[UUID, Alert],
        hidden: Mapping[UUID, Hidden],
        writes: Writes,
    ) -> None:
        """Decide about some members of the group."""
        for member in members:
            if (cover := hidden.get(member.alert_id)) is not None:
                until = max(cover.until, self._now + dt.timedelta(seconds=1))
                self._hidden_until = min(self._hidden_until or until, until)
        outcomes = [
            (alerts[m.alert_id], self._flush.examine(m, hidden=m.alert_id in hidden))
            for m in members
        ]
        for alert, examined in outcomes:
            after, cover = examined.after, hidden.get(alert.alert_id)
            if after is None:
                writes.remove_member(self.key, alert.alert_id)
            else:
                due = due_at(after, self._route)
                writes.write_member(self.key, after, due, cover.by if cover else None)
        self._main.add(self.key, [(a, e.reason.value) for a, e in outcomes if e.reason], writes)
        self._reminder.add(self.key, [(a, "reminder") for a, e in outcomes if e.reminder], writes)
        for number, draft in enumerate(self._steps):
            due_alerts = [(a, "escalation") for a, e in outcomes if number in e.escalations]
            draft.add(self.key, due_alerts, writes)

    def finish(self, writes: Writes) -> None:
        """Complete the notifications."""
        self.notifications += self._main.finish(self._labels, None, writes)
        self.notifications += self._reminder.finish(self._labels, None, writes)
        for number, draft in enumerate(self._steps):
            self.notifications += draft.finish(self._labels, number + 1, writes)

    def conclude(self, any_open: bool, next_due: dt.datetime | None) -> tuple[Any, ...]:
        """The row of the group, from the state of all its members."""
        self._flush.take_rest(any_open=any_open, next_due=next_due)
        group, again = self._flush.conclude(hidden_until=self._hidden_until)
        return str(self.key), group.pending_since, group.last_notified_at, again

    def _draft(self, kind: str, receiver: str) -> _Draft:
        return _Draft(kind=kind, receiver=receiver, now=self._now)


def _member_of(row: Sequence[Any]) -> Member:
    alert_id, status, level, notified, rank, notified_at, escalated, acknowledged, reminded = row
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
