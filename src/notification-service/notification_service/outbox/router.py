"""From changed alerts to groups: reads ``alert_outbox`` and keeps the membership of groups."""

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from auditflow.contract.alert import Status
from notification_service.alert import Alert
from notification_service.database.pool import Pool
from notification_service.outbox import sql
from notification_service.routing import labels as alert_labels
from notification_service.routing.grouping import Group, ready_at
from notification_service.routing.tree import Route, Tree, group_key

#: Changes that one transaction reads.
BATCH: Final = 1_000

_TAKE: Final = """
    DELETE FROM alert_outbox WHERE outbox_id = ANY(ARRAY(
        SELECT outbox_id FROM alert_outbox ORDER BY outbox_id LIMIT %s FOR UPDATE SKIP LOCKED
    )) RETURNING alert_id
"""
_MEMBERSHIPS: Final = """
    SELECT alert_id, group_key, route_key
    FROM notification_group_alerts JOIN notification_groups USING (group_key)
    WHERE alert_id = ANY(%s::uuid[])
"""
_ADD_GROUPS: Final = """
    INSERT INTO notification_groups (group_key, route_key, labels, created_at) VALUES %s
    ON CONFLICT (group_key) DO NOTHING
"""
# When a route replaces another one, the notified states are kept.
_ADD_MEMBERS: Final = """
    INSERT INTO notification_group_alerts (group_key, alert_id, joined_at, notified_status,
        notified_rank, notified_at, escalated, acknowledged_at, reminded_at)
    SELECT added.group_key, added.alert_id, added.joined_at, old.notified_status,
        coalesce(old.notified_rank, -1), old.notified_at, coalesce(old.escalated, 0),
        old.acknowledged_at, old.reminded_at
    FROM (VALUES %s) AS added (group_key, alert_id, joined_at, notified_groups)
    LEFT JOIN notification_group_alerts old
        ON old.group_key = added.notified_groups AND old.alert_id = added.alert_id
    ON CONFLICT (group_key, alert_id) DO NOTHING
"""
_REMOVE_MEMBERS: Final = """
    DELETE FROM notification_group_alerts USING (VALUES %s) AS removed (group_key, alert_id)
    WHERE notification_group_alerts.group_key = removed.group_key
        AND notification_group_alerts.alert_id = removed.alert_id
"""
_GROUPS: Final = """
    SELECT group_key, route_key, pending_since, last_notified_at, next_flush_at
    FROM notification_groups WHERE group_key = ANY(%s::uuid[])
"""
_SCHEDULE: Final = """
    UPDATE notification_groups SET pending_since = changed.pending_since,
        next_flush_at = least(notification_groups.next_flush_at, changed.next_flush_at)
    FROM (VALUES %s) AS changed (group_key, pending_since, next_flush_at)
    WHERE notification_groups.group_key = changed.group_key
"""
# Groups of routes that the tree does not have any more: their alerts are routed again.
_ORPHANS: Final = """
    INSERT INTO alert_outbox (alert_id)
    SELECT DISTINCT alert_id
    FROM notification_group_alerts JOIN notification_groups USING (group_key)
    WHERE route_key <> ALL(%s)
"""


class _Membership(Struct, frozen=True):
    group_key: UUID
    route_key: str


class Router:
    """Puts alerts into groups, by the tree that is in force."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def route(self, tree: Tree, *, now: dt.datetime) -> int:
        """Read one batch of changes. Returns how many there were; 0 also when another replica
        routes at this time.

        Raises:
            Unavailable: the database is unavailable; nothing was changed.
        """
        with self._pool.connection() as connection, connection.cursor() as cursor:
            if not sql.try_lock_routing(cursor):
                return 0
            cursor.execute(_TAKE, (BATCH,))
            taken = [UUID(row[0]) for row in cursor.fetchall()]
            alerts = sql.read_alerts(cursor, sorted(set(taken)))
            _assign(cursor, tree, alerts.values(), now)
        return len(taken)

    def adopt(self, tree: Tree) -> None:
        """Route the alerts again whose route was removed from the tree.

        Raises:
            Unavailable: the database is unavailable; nothing was changed.
        """
        keys = list(tree.routes())
        with self._pool.connection() as connection, connection.cursor() as cursor:
            if sql.try_lock_routing(cursor):
                cursor.execute(_ORPHANS, (keys,))


def _assign(cursor: Cursor, tree: Tree, alerts: Iterable[Alert], now: dt.datetime) -> None:
    by_id = {alert.alert_id: alert for alert in alerts}
    known: dict[UUID, list[_Membership]] = {}
    cursor.execute(_MEMBERSHIPS, ([str(alert_id) for alert_id in by_id],))
    for alert_id, key, route_key in cursor.fetchall():
        known.setdefault(UUID(alert_id), []).append(_Membership(UUID(key), route_key))

    in_force = tree.routes()
    groups: dict[UUID, tuple[Any, ...]] = {}
    added: list[tuple[Any, ...]] = []
    removed: list[tuple[str, str]] = []
    joined: set[UUID] = set()
    touched: set[UUID] = set()
    for alert in by_id.values():
        labels = alert_labels.of_alert(alert)
        routes = {route.key: route for route in tree.resolve(labels)}
        before = {found.route_key: found.group_key for found in known.get(alert.alert_id, ())}
        for route_key, key in before.items():
            if route_key in routes:
                touched.add(key)
            else:
                removed.append((str(key), str(alert.alert_id)))
        if alert.status is Status.RESOLVED:
            continue  # it ends in the groups that it is in; it begins in none
        for route_key, route in routes.items():
            if route_key in before:
                continue
            common = route.group_labels(labels, alert.alert_id)
            key = group_key(route, common)
            groups[key] = (str(key), route_key, msgspec.json.encode(common).decode(), now)
            notified_groups = _notified_groups(before, in_force, route)
            added.append(
                (
                    str(key),
                    str(alert.alert_id),
                    now,
                    str(notified_groups) if notified_groups else None,
                )
            )
            (joined if alert.status is Status.OPEN else touched).add(key)

    sql.execute_many(cursor, _ADD_GROUPS, list(groups.values()), "(%s::uuid, %s, %s::jsonb, %s)")
    sql.execute_many(cursor, _ADD_MEMBERS, added, "(%s::uuid, %s::uuid, %s::timestamptz, %s::uuid)")
    sql.execute_many(cursor, _REMOVE_MEMBERS, removed, "(%s::uuid, %s::uuid)")
    _schedule(cursor, in_force, joined, touched, now)
    if removed:
        _remove_empty(cursor, {key for key, _ in removed})


def _notified_groups(
    before: dict[str, UUID], in_force: dict[str, Route], route: Route
) -> UUID | None:
    """The group that tells what was already notified: one of the same receiver, or of a route
    that is not in the tree any more."""
    for route_key, key in before.items():
        old = in_force.get(route_key)
        if old is None or old.receiver == route.receiver:
            return key
    return None


def _schedule(
    cursor: Cursor,
    in_force: dict[str, Route],
    joined: set[UUID],
    touched: set[UUID],
    now: dt.datetime,
) -> None:
    """Flush groups with new alerts when their time has come, and groups with alerts that changed
    at once, since an acknowledgement counts from then."""
    cursor.execute(_GROUPS, ([str(key) for key in joined | touched],))
    values = []
    for key, route_key, pending_since, last_notified_at, next_flush_at in cursor.fetchall():
        route = in_force.get(route_key)
        if route is None:
            continue
        group = Group(pending_since=pending_since or now, last_notified_at=last_notified_at)
        changed = UUID(key) in touched
        at = now if changed else ready_at(group, route)
        if pending_since is None or next_flush_at is None or changed:
            values.append((key, group.pending_since, at))
    sql.execute_many(cursor, _SCHEDULE, values, "(%s::uuid, %s::timestamptz, %s::timestamptz)")


def _remove_empty(cursor: Cursor, keys: Iterable[str]) -> None:
    cursor.execute(
        "DELETE FROM notification_groups g WHERE group_key = ANY(%s::uuid[]) AND NOT EXISTS"
        " (SELECT FROM notification_group_alerts m WHERE m.group_key = g.group_key)",
        (list(keys),),
    )
