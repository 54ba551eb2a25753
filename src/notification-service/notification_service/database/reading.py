"""The questions that the API asks."""

from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from notification_service.alert import Alert
from notification_service.database import rows
from notification_service.database.pool import Pool
from notification_service.fold import Stored
from notification_service.query import AlertQuery

#: Findings that the detail of an alert shows.
MAX_FINDINGS: Final = 50
#: Whole events that it shows, in bytes; older findings come without theirs.
MAX_EVENT_BYTES: Final = 2 * 1024 * 1024

_PAGE = sql.SQL("""
    SELECT {} FROM alerts WHERE {} ORDER BY opened_at DESC, alert_id DESC
    LIMIT %(limit)s OFFSET %(offset)s
""")
_COUNTS = sql.SQL(
    "SELECT status, severity, count(*) FROM alerts WHERE {} GROUP BY status, severity"
)
_ALERT = sql.SQL("SELECT {} FROM alerts WHERE alert_id = %s").format(rows.columns(rows.ALERT))
_FINDINGS = sql.SQL("""
    WITH newest AS (
        SELECT * FROM findings WHERE alert_id = %(alert)s
        ORDER BY last_seen DESC, finding_id DESC LIMIT %(findings)s
    ), sized AS (
        SELECT *, sum(coalesce(octet_length(first_event::text), 0)
                      + coalesce(octet_length(last_event::text), 0))
                  OVER (ORDER BY last_seen DESC, finding_id DESC) > %(bytes)s AS too_much
        FROM newest
    )
    SELECT {columns},
           CASE WHEN NOT too_much THEN first_event::text END,
           CASE WHEN NOT too_much THEN last_event::text END,
           too_much AND (first_event IS NOT NULL OR last_event IS NOT NULL)
    FROM sized ORDER BY last_seen DESC, finding_id DESC
""").format(columns=rows.columns(rows.FINDING, leave=("first_event", "last_event")))


class Page(Struct, frozen=True):
    """Alerts, whether more follow, and how many match in all, by status and severity."""

    alerts: list[Alert]
    more: bool
    counts: dict[tuple[str, str], int]


class Detail(Struct, frozen=True):
    """An alert and its newest findings; ``omitted`` names those whose whole events stay out."""

    alert: Alert
    findings: list[Stored]
    omitted: frozenset[UUID]


class AlertReader:
    """Reads alerts, each answer from one snapshot."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def page(self, query: AlertQuery) -> Page:
        """One page of the alerts that match.

        Raises:
            Unavailable: the database is away, or busy for too long.
        """
        conditions, values = _conditions(query)
        with self._pool.connection() as connection, connection.cursor() as cursor:
            _begin(cursor)
            cursor.execute(_COUNTS.format(_all(conditions)), values)
            counts = {(status, severity): number for status, severity, number in cursor}
            if query.after is not None:
                conditions.append("(opened_at, alert_id) < (%(opened_at)s, %(alert_id)s)")
                values["opened_at"] = query.after.opened_at
                values["alert_id"] = str(query.after.alert_id)
            paging = {"limit": query.limit + 1, "offset": query.offset}
            cursor.execute(
                _PAGE.format(rows.columns(rows.ALERT), _all(conditions)), {**values, **paging}
            )
            found = list(map(rows.alert_of, cursor.fetchall()))
        return Page(found[: query.limit], len(found) > query.limit, counts)

    def detail(self, alert_id: UUID) -> Detail | None:
        """One alert with its newest findings, or None.

        Raises:
            Unavailable: the database is away, or busy for too long.
        """
        with self._pool.connection() as connection, connection.cursor() as cursor:
            _begin(cursor)
            cursor.execute(_ALERT, (str(alert_id),))
            row = cursor.fetchone()
            if row is None:
                return None
            limits = {"findings": MAX_FINDINGS, "bytes": MAX_EVENT_BYTES}
            cursor.execute(_FINDINGS, {"alert": str(alert_id), **limits})
            findings, omitted = [], set()
            for *values, first_event, last_event, left_out in cursor.fetchall():
                place = list(rows.FINDING).index("first_event")
                stored = rows.stored_of([*values[:place], first_event, last_event, *values[place:]])
                findings.append(stored)
                if left_out:
                    omitted.add(stored.finding.finding_id)
        return Detail(rows.alert_of(row), findings, frozenset(omitted))


def _begin(cursor: Cursor) -> None:
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


def _all(conditions: list[str]) -> sql.Composable:
    return sql.SQL(" AND ").join([sql.SQL("true"), *map(sql.SQL, conditions)])


_EQUAL: Final = {
    "rule": "rule_id",
    "actor": "actor",
    "host": "server_hostname",
    "ip": "client_ip",
    "resource": "resource",
    "environment": "environment",
}
_SEARCHED: Final = ("title", "description", "actor", "server_hostname", "resource")


def _conditions(query: AlertQuery) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    values: dict[str, Any] = {}

    def add(condition: str, name: str, value: Any) -> None:
        conditions.append(condition)
        values[name] = value

    if query.status:
        add("status = ANY(%(status)s)", "status", [str(one) for one in query.status])
    if query.severity:
        add("severity = ANY(%(severity)s)", "severity", [str(one) for one in query.severity])
    for name, column in _EQUAL.items():
        if (value := getattr(query, name)) is not None:
            add(f"{column} = %({name})s", name, value)
    if query.since is not None:
        add("last_seen >= %(since)s", "since", query.since)
    if query.until is not None:
        add("last_seen <= %(until)s", "until", query.until)
    if query.q is not None:
        anywhere = " OR ".join(f"{column} ILIKE %(q)s" for column in _SEARCHED)
        add(f"({anywhere})", "q", f"%{_literally(query.q)}%")
    return conditions, values


def _literally(text: str) -> str:
    """Text in which no character has a meaning of its own to LIKE."""
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return text
