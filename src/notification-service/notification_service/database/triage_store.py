"""Actions on alerts: each one changes an alert and appends to the history in one transaction."""

import datetime as dt
from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

import msgspec
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from auditflow.contract.alert import Action, Status
from auditflow.contract.triage import MAX_BULK, BulkFailure, BulkResult
from auditflow.errors import AuditFlowError
from notification_service import triage
from notification_service.alert import Alert
from notification_service.database import candidates, history_writer, rows
from notification_service.database.alert_filters import Conditions, conditions
from notification_service.database.pool import Pool
from notification_service.history import Actor, Entry, Transition
from notification_service.query import AlertFilter
from notification_service.triage import Command, IllegalTransition, TriageState

#: Maximum number of alerts that a transaction of a bulk action changes. Other actions wait for it.
BULK_CHUNK: Final = 500
#: Failures that the result of a bulk action lists.
MAX_FAILURES: Final = 100

_LOCK_ALERT = rows.select("alerts", rows.ALERT_COLUMNS) + (" WHERE t.alert_id = %s FOR UPDATE OF t")
_LOCK_ALERTS = rows.select("alerts", rows.ALERT_COLUMNS) + (
    " WHERE t.alert_id = ANY(%s::uuid[]) ORDER BY t.alert_id FOR UPDATE OF t"
)
#: The columns that an action changes.
_CHANGED: Final = (*TriageState.__struct_fields__, "triage_version", "version", "updated_at")
_UPDATE: Final = f"""
    UPDATE alerts SET ({", ".join(_CHANGED)})
        = ROW ({", ".join(f"changed.{name}" for name in _CHANGED)})
    FROM json_populate_recordset(NULL::alerts, %s::json) AS changed
    WHERE alerts.alert_id = changed.alert_id
"""
_LAST_ENTRY: Final = (
    "SELECT entry FROM alert_history WHERE alert_id = %s ORDER BY number DESC LIMIT 1"
)
_LAST_ENTRIES: Final = """
    SELECT entry FROM unnest(%s::uuid[]) AS wanted (alert_id)
    CROSS JOIN LATERAL (
        SELECT entry FROM alert_history
        WHERE alert_history.alert_id = wanted.alert_id ORDER BY number DESC LIMIT 1
    ) AS last
"""
# An alert, its original if it is a duplicate, the original's original, and so on.
_ORIGINALS: Final = """
    WITH RECURSIVE originals AS (
        SELECT alert_id, duplicate_of FROM alerts WHERE alert_id = %s
        UNION
        SELECT alerts.alert_id, alerts.duplicate_of FROM alerts
        JOIN originals ON alerts.alert_id = originals.duplicate_of
    )
    SELECT alert_id FROM originals
"""
_OF_BULK: Final = """
    SELECT DISTINCT alert_id FROM alert_history
    WHERE bulk_id = %(bulk)s AND alert_id > %(after)s ORDER BY alert_id LIMIT %(limit)s
"""
_ASSIGNEE: Final = "SELECT disabled FROM users WHERE name = %s"
_decode_entry = msgspec.json.Decoder(Entry).decode
_NOT_UNDOABLE: Final = (Action.UNDO, Action.ESCALATED)
_FIRST_ID: Final = UUID(int=0)


class UnknownAlert(AuditFlowError):
    """There is no alert with this identifier."""


class VersionMismatch(AuditFlowError):
    """The alert was changed by another action since the client read it.

    ``current`` is its ``triage_version``.
    """

    def __init__(self, current: int) -> None:
        super().__init__(f"the alert has triage_version {current}")
        self.current = current


class TriageStore:
    """Applies actions. Any number of replicas may do so at the same time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def act(
        self, alert_id: UUID, command: Command, *, actor: Actor, expected_version: int | None
    ) -> Alert:
        """Apply an action to one alert. ``expected_version`` None means any version.

        Raises:
            UnknownAlert: there is no such alert.
            VersionMismatch: the alert has another ``triage_version``.
            InvalidAction, IllegalTransition: see ``triage.apply``. InvalidAction also if the
                assignee is no user, or is disabled.
            Unavailable: the database is unavailable.
        """
        with self._pool.connection() as connection, connection.cursor() as cursor:
            alert = _lock_alert(cursor, alert_id, expected_version)
            now = dt.datetime.now(dt.UTC)
            if command.action is Action.UNDO:
                transition = _undo(cursor, alert, command, now)
            else:
                after = triage.apply(alert, command, now=now)
                _check_assignee(cursor, command)
                _check_not_circular(alert, _originals(cursor, command))
                transition = Transition(before=alert, after=after, command=command)
            _write(cursor, connection, [transition], actor=actor, now=now)
            return transition.after

    def act_on_selection(
        self, alert_ids: Sequence[UUID], command: Command, *, actor: Actor
    ) -> BulkResult:
        """Apply an action to these alerts, in transactions of ``BULK_CHUNK`` alerts.

        Alerts whose state does not allow the action are reported as failed.
        """
        self._check(command)
        result = _Bulk(uuid4())
        ordered = sorted(set(alert_ids))
        for start in range(0, len(ordered), BULK_CHUNK):
            self._act_on_chunk(ordered[start : start + BULK_CHUNK], command, actor, result)
        return result.finish(more=False)

    def act_on_filter(
        self, query: AlertFilter, command: Command, *, actor: Actor, bulk_id: UUID | None
    ) -> BulkResult:
        """Apply an action to all alerts that match a filter, at most ``MAX_BULK`` of them.

        With the ``bulk_id`` of an earlier result, continue with alerts that it did not contain.
        """
        self._check(command)
        result = _Bulk(bulk_id or uuid4())
        few = candidates.read(self._pool, query, most=candidates.MOST)
        matching = conditions(query, few=few)
        after = _FIRST_ID
        while result.processed < MAX_BULK:
            chunk = self._matching(matching, command, result.bulk_id, after)
            if not chunk:
                return result.finish(more=False)
            self._act_on_chunk(chunk, command, actor, result)
            after = chunk[-1]
        return result.finish(more=bool(self._matching(matching, command, result.bulk_id, after)))

    def undo_bulk(self, bulk_id: UUID, *, actor: Actor) -> BulkResult:
        """Undo a bulk action on those alerts that nobody has acted on since.

        Raises:
            UnknownAlert: there is no such bulk action.
        """
        result = _Bulk(uuid4())
        after = _FIRST_ID
        while True:
            with self._pool.connection() as connection, connection.cursor() as cursor:
                values = {"bulk": str(bulk_id), "after": str(after), "limit": BULK_CHUNK}
                cursor.execute(_OF_BULK, values)
                chunk = [UUID(alert_id) for (alert_id,) in cursor.fetchall()]
                if not chunk:
                    break
                self._undo_chunk(
                    cursor, connection, chunk, bulk_id=bulk_id, actor=actor, result=result
                )
            after = chunk[-1]
        if not result.processed:
            raise UnknownAlert(f"there is no bulk action {bulk_id}")
        return result.finish(more=False)

    def _check(self, command: Command) -> None:
        triage.check(command, dt.datetime.now(dt.UTC))
        if command.assignee is not None:
            with self._pool.cursor() as cursor:
                _check_assignee(cursor, command)

    def _matching(
        self, matching: Conditions, command: Command, bulk_id: UUID, after: UUID
    ) -> list[UUID]:
        """The next alerts that match and whose status allows the action, by identifier."""
        allowed = [
            status for status, actions in triage.TRANSITIONS.items() if command.action in actions
        ]
        statement = (
            f"SELECT alert_id FROM alerts WHERE {matching.where} AND alert_id > %(after)s"
            " AND status = ANY(%(allowed)s) AND NOT EXISTS (SELECT FROM alert_history AS h"
            " WHERE h.alert_id = alerts.alert_id AND h.bulk_id = %(bulk)s)"
            " ORDER BY alert_id LIMIT %(limit)s"
        )
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(
                statement,
                {
                    **matching.values,
                    "after": str(after),
                    "allowed": [str(status) for status in allowed],
                    "bulk": str(bulk_id),
                    "limit": BULK_CHUNK,
                },
            )
            return [UUID(alert_id) for (alert_id,) in cursor.fetchall()]

    def _act_on_chunk(
        self, chunk: Sequence[UUID], command: Command, actor: Actor, result: "_Bulk"
    ) -> None:
        with self._pool.connection() as connection, connection.cursor() as cursor:
            alerts = _lock_alerts(cursor, chunk)
            originals = _originals(cursor, command)
            now = dt.datetime.now(dt.UTC)
            transitions = []
            for alert_id in chunk:
                alert = alerts.get(alert_id)
                if alert is None:
                    result.fail(alert_id, "There is no alert with this identifier.")
                    continue
                try:
                    after = triage.apply(alert, command, now=now)
                    _check_not_circular(alert, originals)
                    if command.action is Action.REOPEN:
                        _check_no_newer(cursor, alert)
                except (IllegalTransition, triage.InvalidAction) as error:
                    result.fail(alert_id, str(error))
                else:
                    transitions.append(Transition(before=alert, after=after, command=command))
            _write(cursor, connection, transitions, actor=actor, now=now, bulk_id=result.bulk_id)
        result.change(len(transitions))

    @staticmethod
    def _undo_chunk(
        cursor: Cursor,
        connection: Connection,
        chunk: Sequence[UUID],
        *,
        bulk_id: UUID,
        actor: Actor,
        result: "_Bulk",
    ) -> None:
        alerts = _lock_alerts(cursor, chunk)
        cursor.execute(_LAST_ENTRIES, ([str(alert_id) for alert_id in chunk],))
        entries = [_decode_entry(text) for (text,) in cursor.fetchall()]
        last = {entry.alert_id: entry for entry in entries}
        now = dt.datetime.now(dt.UTC)
        transitions = []
        for alert_id in chunk:
            entry = last[alert_id]
            if entry.bulk_id != bulk_id:
                result.fail(alert_id, "Another action followed.")
                continue
            try:
                alert = alerts[alert_id]
                if alert.status is Status.RESOLVED and entry.before.status is not Status.RESOLVED:
                    _check_no_newer(cursor, alert)
            except IllegalTransition as error:
                result.fail(alert_id, str(error))
                continue
            transitions.append(
                Transition(
                    before=alert,
                    after=triage.restore(alert, entry.before, now=now),
                    command=Command(action=Action.UNDO),
                    undone_entry=entry.number,
                )
            )
        _write(cursor, connection, transitions, actor=actor, now=now, bulk_id=result.bulk_id)
        result.change(len(transitions))


class _Bulk:
    """The result of a bulk action, while it runs."""

    def __init__(self, bulk_id: UUID) -> None:
        self.bulk_id = bulk_id
        self._changed = 0
        self._failed = 0
        self._failures: list[BulkFailure] = []

    @property
    def processed(self) -> int:
        return self._changed + self._failed

    def change(self, number: int) -> None:
        self._changed += number

    def fail(self, alert_id: UUID, reason: str) -> None:
        self._failed += 1
        if len(self._failures) < MAX_FAILURES:
            self._failures.append(BulkFailure(alert_id, reason))

    def finish(self, *, more: bool) -> BulkResult:
        return BulkResult(
            bulk_id=self.bulk_id,
            changed=self._changed,
            failed=self._failed,
            failures=tuple(self._failures),
            more=more,
        )


def _lock_alert(cursor: Cursor, alert_id: UUID, expected_version: int | None) -> Alert:
    cursor.execute(_LOCK_ALERT, (str(alert_id),))
    row = cursor.fetchone()
    if row is None:
        raise UnknownAlert(f"there is no alert {alert_id}")
    alert = rows.read_alert(row[0])
    if expected_version is not None and alert.triage_version != expected_version:
        raise VersionMismatch(alert.triage_version)
    return alert


def _lock_alerts(cursor: Cursor, alert_ids: Sequence[UUID]) -> dict[UUID, Alert]:
    cursor.execute(_LOCK_ALERTS, ([str(alert_id) for alert_id in alert_ids],))
    alerts = [rows.read_alert(text) for (text,) in cursor.fetchall()]
    return {alert.alert_id: alert for alert in alerts}


def _undo(cursor: Cursor, alert: Alert, command: Command, now: dt.datetime) -> Transition:
    cursor.execute(_LAST_ENTRY, (str(alert.alert_id),))
    row = cursor.fetchone()
    entry = _decode_entry(row[0]) if row else None
    if entry is None or entry.action in _NOT_UNDOABLE:
        raise IllegalTransition(
            "The last action on the alert cannot be undone.", triage.allowed_actions(alert, now)
        )
    return Transition(
        before=alert,
        after=triage.restore(alert, entry.before, now=now),
        command=command,
        undone_entry=entry.number,
    )


def _originals(cursor: Cursor, command: Command) -> set[UUID]:
    """The alert that is the original of a duplicate, its own original, and so on."""
    if command.duplicate_of is None:
        return set()
    cursor.execute(_ORIGINALS, (str(command.duplicate_of),))
    originals = {UUID(alert_id) for (alert_id,) in cursor.fetchall()}
    if not originals:
        raise triage.InvalidAction(f"duplicate_of: there is no alert {command.duplicate_of}")
    return originals


def _check_assignee(cursor: Cursor, command: Command) -> None:
    if command.action is not Action.ASSIGN or command.assignee is None:
        return
    cursor.execute(_ASSIGNEE, (command.assignee,))
    row = cursor.fetchone()
    if row is None:
        raise triage.InvalidAction(
            f"assignee: there is no user {command.assignee!r}; a user exists after the first"
            " sign-in, or after an admin adds the user"
        )
    if row[0]:
        raise triage.InvalidAction(f"assignee: the user {command.assignee!r} is disabled")


def _check_not_circular(alert: Alert, originals: set[UUID]) -> None:
    if alert.alert_id in originals:
        raise triage.InvalidAction("duplicate_of: that alert is itself a duplicate of this one")


def _check_no_newer(cursor: Cursor, alert: Alert) -> None:
    cursor.execute(
        "SELECT FROM alerts WHERE fingerprint = %s AND status <> 'resolved' AND alert_id <> %s",
        (str(alert.fingerprint), str(alert.alert_id)),
    )
    if cursor.fetchone() is not None:
        raise _newer_alert(alert)


def _newer_alert(alert: Alert) -> IllegalTransition:
    return IllegalTransition(
        "A newer alert of the same rule and entity is not resolved yet.",
        tuple(action for action in triage.TRANSITIONS[alert.status] if action is not Action.REOPEN),
    )


def _write(
    cursor: Cursor,
    connection: Connection,
    transitions: Sequence[Transition],
    *,
    actor: Actor,
    now: dt.datetime,
    bulk_id: UUID | None = None,
) -> None:
    if not transitions:
        return
    changed = [_changed_columns(transition.after) for transition in transitions]
    try:
        cursor.execute(_UPDATE, (msgspec.json.encode(changed).decode(),))
    except errors.UniqueViolation:
        connection.rollback()
        raise _newer_alert(transitions[0].before) from None
    history_writer.append(cursor, transitions, actor=actor, at=now, bulk_id=bulk_id)


def _changed_columns(alert: Alert) -> dict[str, object]:
    return {name: getattr(alert, name) for name in ("alert_id", *_CHANGED)}
