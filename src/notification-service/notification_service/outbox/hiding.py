"""Which alerts must not be notified now, and why.

Reasons, in this order: a snooze of the alert, a silence, a maintenance window of a calendar, and an
inhibition by another alert.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from notification_service.alert import Alert
from notification_service.database import rows
from notification_service.oncall.calendars import Calendars
from notification_service.oncall.schedule import CalendarError
from notification_service.outbox.flusher import Hidden, Hiding
from notification_service.routing import labels as alert_labels
from notification_service.routing.grouping import RECHECK
from notification_service.routing.matchers import Matcher, all_match
from notification_service.routing.tree import Inhibition, Maintenance, Tree
from notification_service.silences import store
from notification_service.snooze import is_snoozed

_MAX_SOURCES: Final = 1_000

#: Labels that are columns of their own. Matchers of the others are checked after reading.
_COLUMNS: Final = {
    "rule": "rule_id",
    "level": "level",
    "severity": "severity",
    "environment": "environment",
    "actor": "actor",
    "client_ip": "client_ip",
    "host": "server_hostname",
    "resource": "resource",
}


class HidingInTurn:
    """Several reasons to hide alerts. The first that applies is noted."""

    def __init__(self, reasons: Sequence[Hiding]) -> None:
        self._reasons = reasons

    def check(
        self, cursor: Cursor, alerts: Sequence[Alert], *, now: dt.datetime
    ) -> Mapping[UUID, Hidden]:
        """The alerts that are hidden, by identifier."""
        hidden: dict[UUID, Hidden] = {}
        for reason in self._reasons:
            rest = [alert for alert in alerts if alert.alert_id not in hidden]
            if rest:
                hidden |= reason.check(cursor, rest, now=now)
        return hidden


class BySnooze:
    """Alerts that a person snoozed."""

    def check(
        self, cursor: Cursor, alerts: Sequence[Alert], *, now: dt.datetime
    ) -> Mapping[UUID, Hidden]:
        """The alerts that are snoozed. The end of a snooze also comes as a change of the alert."""
        del cursor
        latest = now + RECHECK
        return {
            alert.alert_id: Hidden("snooze", min(alert.snoozed_until or latest, latest))
            for alert in alerts
            if is_snoozed(alert, now)
        }


class BySilence:
    """Alerts that match a silence that is active."""

    def check(
        self, cursor: Cursor, alerts: Sequence[Alert], *, now: dt.datetime
    ) -> Mapping[UUID, Hidden]:
        """The alerts that are silenced, each by the earliest silence that matches."""
        active = [
            (silence, until)
            for silence in store.current(cursor, now=now)
            if (until := silence.active_until(now)) is not None
        ]
        hidden = {}
        for alert in alerts if active else ():
            labels = alert_labels.of_alert(alert)
            for silence, until in active:
                if silence.matches(labels):
                    by = f"silence:{silence.silence_id}"
                    hidden[alert.alert_id] = Hidden(by, min(until, now + RECHECK))
                    break
        return hidden


class ByMaintenance:
    """Alerts that match a maintenance calendar while one of its events is in progress."""

    def __init__(self, tree: Callable[[], Tree], calendars: Calendars) -> None:
        self._tree = tree
        self._calendars = calendars

    def check(
        self, cursor: Cursor, alerts: Sequence[Alert], *, now: dt.datetime
    ) -> Mapping[UUID, Hidden]:
        """The alerts that are hidden."""
        del cursor
        active = [
            (window, until)
            for window in self._tree().maintenance
            if (until := self._until(window, now)) is not None
        ]
        hidden = {}
        for alert in alerts if active else ():
            labels = alert_labels.of_alert(alert)
            for window, until in active:
                if all_match(window.matchers, labels):
                    by = f"maintenance:{window.name}"
                    hidden[alert.alert_id] = Hidden(by, min(until, now + RECHECK))
                    break
        return hidden

    def _until(self, window: Maintenance, now: dt.datetime) -> dt.datetime | None:
        calendar = self._calendars.get(window.file)
        if calendar is None:
            return None
        try:
            return max((end for _, end, _ in calendar.at(now)), default=None)
        except CalendarError:
            return None  # a calendar with errors hides nothing


class ByInhibition:
    """Alerts whose cause is another alert that is not resolved."""

    def __init__(self, tree: Callable[[], Tree]) -> None:
        self._tree = tree

    def check(
        self, cursor: Cursor, alerts: Sequence[Alert], *, now: dt.datetime
    ) -> Mapping[UUID, Hidden]:
        """The alerts that are inhibited. As in Alertmanager, an alert that matches both sides does
        not inhibit another one that does."""
        hidden: dict[UUID, Hidden] = {}
        for number, inhibition in enumerate(self._tree().inhibitions):
            targets = {
                alert.alert_id: labels
                for alert in alerts
                if alert.alert_id not in hidden
                and all_match(inhibition.target, labels := alert_labels.of_alert(alert))
                and not all_match(inhibition.source, labels)
            }
            if not targets:
                continue
            wanted = {_equal(inhibition, labels) for labels in targets.values()}
            found = _sources(cursor, inhibition, wanted)
            for alert_id, labels in targets.items():
                if _equal(inhibition, labels) in found:
                    hidden[alert_id] = Hidden(f"inhibition:{number}", now + RECHECK / 15)
        return hidden


def _equal(inhibition: Inhibition, labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in inhibition.equal)


def _sources(
    cursor: Cursor, inhibition: Inhibition, wanted: set[tuple[str, ...]]
) -> set[tuple[str, ...]]:
    """Which of the wanted values an alert has that inhibits, and is not resolved."""
    conditions, values = conditions_of(inhibition.source)
    for index, name in enumerate(inhibition.equal):
        if name in _COLUMNS:
            column = sql.Identifier(_COLUMNS[name])
            conditions.append(sql.SQL("coalesce(t.{}, '') = ANY(%s)").format(column))
            values.append(list({value[index] for value in wanted}))
    statement = sql.SQL(rows.select("alerts", rows.ALERT_COLUMNS)) + sql.SQL(
        " WHERE t.status <> 'resolved' AND {}"
    ).format(sql.SQL(" AND ").join([sql.SQL("true"), *conditions]))
    found: set[tuple[str, ...]] = set()
    with cursor.connection.cursor("inhibition_sources") as reading:
        reading.itersize = _MAX_SOURCES
        reading.execute(statement, values)
        for (text,) in reading:
            labels = alert_labels.of_alert(rows.read_alert(text))
            value = _equal(inhibition, labels)
            if value in wanted and all_match(inhibition.source, labels):
                found.add(value)
                if len(found) == len(wanted):
                    break
    return found


def conditions_of(matchers: Sequence[Matcher]) -> tuple[list[sql.Composable], list[Any]]:
    """SQL that every alert which matches fulfils; the alias of the table is ``t``.

    Other alerts may fulfil it too.
    """
    conditions: list[sql.Composable] = []
    values: list[Any] = []
    for matcher in matchers:
        if matcher.operator == "=" and matcher.name in _COLUMNS:
            column = sql.Identifier(_COLUMNS[matcher.name])
            conditions.append(sql.SQL("coalesce(t.{}, '') = %s").format(column))
            values.append(matcher.value)
    return conditions, values
