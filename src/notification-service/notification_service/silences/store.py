"""Silences in the table ``silences``. A silence is cancelled and never deleted."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from notification_service.database.pool import Pool
from notification_service.routing import matchers
from notification_service.silences.model import Silence

#: Silences that are in force or will be. More are refused, since each flush reads them.
MAX_CURRENT: Final = 2_000

_COLUMNS: Final = """silence_id, matchers, author, reason, starts_at, ends_at, recurrence, duration,
    time_zone, until_resolved, external_id, created_at, cancelled_at, cancelled_by"""
_INSERT: Final = f"""
    INSERT INTO silences ({_COLUMNS})
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, NULL, NULL)
"""  # noqa: S608 - constants only
_CURRENT: Final = f"""
    SELECT {_COLUMNS} FROM silences
    WHERE cancelled_at IS NULL AND (ends_at IS NULL OR ends_at > %s)
        AND NOT EXISTS (SELECT FROM alerts WHERE alert_id = until_resolved AND status = 'resolved')
    ORDER BY created_at, silence_id LIMIT {MAX_CURRENT}
"""  # noqa: S608 - constants only
_PAGE: Final = f"""
    SELECT {_COLUMNS} FROM silences
    WHERE (%(before)s::timestamptz IS NULL
           OR (created_at, silence_id) < (%(before)s, %(id)s::uuid))
        AND (%(ended)s::boolean IS NULL
             OR coalesce(coalesce(cancelled_at, ends_at) <= %(now)s, false) = %(ended)s)
    ORDER BY created_at DESC, silence_id DESC LIMIT %(limit)s
"""  # noqa: S608 - constants only
_BY_ID: Final = f"SELECT {_COLUMNS} FROM silences WHERE silence_id = %s"  # noqa: S608 - constants only
_BY_EXTERNAL: Final = f"SELECT {_COLUMNS} FROM silences WHERE external_id = %s FOR UPDATE"  # noqa: S608
_CANCEL: Final = """
    UPDATE silences SET cancelled_at = %s, cancelled_by = %s
    WHERE silence_id = %s AND cancelled_at IS NULL
"""
# Alerts that a silence hid are looked at again, at once.
_LOOK_AGAIN: Final = """
    INSERT INTO alert_outbox (alert_id)
    SELECT DISTINCT alert_id FROM notification_group_alerts WHERE hidden_by = %s
"""


class TooManySilences(Exception):
    """There are as many silences as are allowed."""


class SilenceStore:
    """Reads and changes silences. All methods may raise ``Unavailable``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def add(self, silence: Silence) -> None:
        """Store a new silence.

        Raises:
            TooManySilences: there are ``MAX_CURRENT`` in force already.
        """
        with self._pool.connection() as connection, connection.cursor() as cursor:
            _insert(cursor, silence)

    def put(self, silence: Silence) -> Silence:
        """Store the silence of a change system, or replace the one with its ``external_id``."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_BY_EXTERNAL, (silence.external_id,))
            before = cursor.fetchone()
            if before is None:
                _insert(cursor, silence)
                return silence
            cursor.execute(
                "UPDATE silences SET matchers = %s, author = %s, reason = %s, starts_at = %s,"
                " ends_at = %s, cancelled_at = NULL, cancelled_by = NULL WHERE external_id = %s",
                (
                    [str(matcher) for matcher in silence.matchers],
                    silence.author,
                    silence.reason,
                    silence.starts_at,
                    silence.ends_at,
                    silence.external_id,
                ),
            )
            cursor.execute(_LOOK_AGAIN, (f"silence:{before[0]}",))
            cursor.execute(_BY_EXTERNAL, (silence.external_id,))
            return _silence(cursor.fetchone() or before)

    def cancel(self, silence_id: UUID, *, by: str, now: dt.datetime) -> Silence | None:
        """End a silence now. Returns it, or None if there is none. Cancelling again is harmless."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_CANCEL, (now, by, str(silence_id)))
            if cursor.rowcount:
                cursor.execute(_LOOK_AGAIN, (f"silence:{silence_id}",))
            return _by_id(cursor, silence_id)

    def get(self, silence_id: UUID) -> Silence | None:
        """A silence, or None."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            return _by_id(cursor, silence_id)

    def page(
        self,
        *,
        limit: int,
        after: tuple[dt.datetime, UUID] | None,
        ended: bool | None = None,
    ) -> list[Silence]:
        """Silences, the newest first, from after a position on.

        ``ended`` selects those whose end or cancellation is in the past, or the others.
        """
        before, identifier = after or (None, None)
        values = {
            "before": before,
            "id": str(identifier) if identifier else None,
            "limit": limit,
            "ended": ended,
            "now": dt.datetime.now(dt.UTC),
        }
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_PAGE, values)
            return list(map(_silence, cursor.fetchall()))

    def current(self, *, now: dt.datetime) -> list[Silence]:
        """The silences that are in force or will be."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            return current(cursor, now=now)


def current(cursor: Cursor, *, now: dt.datetime) -> list[Silence]:
    """The silences that are in force or will be."""
    cursor.execute(_CURRENT, (now,))
    return list(map(_silence, cursor.fetchall()))


def _by_id(cursor: Cursor, silence_id: UUID) -> Silence | None:
    cursor.execute(_BY_ID, (str(silence_id),))
    row = cursor.fetchone()
    return _silence(row) if row else None


def _insert(cursor: Cursor, silence: Silence) -> None:
    cursor.execute(
        "SELECT count(*) FROM silences WHERE cancelled_at IS NULL"
        " AND (ends_at IS NULL OR ends_at > now())"
    )
    (number,) = cursor.fetchone() or (0,)
    if number >= MAX_CURRENT:
        raise TooManySilences
    cursor.execute(_INSERT, _row(silence))


def _row(silence: Silence) -> Sequence[Any]:
    return (
        str(silence.silence_id),
        [str(matcher) for matcher in silence.matchers],
        silence.author,
        silence.reason,
        silence.starts_at,
        silence.ends_at,
        silence.recurrence,
        silence.duration,
        silence.time_zone,
        str(silence.until_resolved) if silence.until_resolved else None,
        silence.external_id,
        silence.created_at,
    )


def _silence(row: Sequence[Any]) -> Silence:
    identifier, texts, author, reason, starts_at, ends_at, recurrence, duration, *rest = row
    time_zone, until_resolved, external_id, created_at, cancelled_at, cancelled_by = rest
    return Silence(
        silence_id=UUID(identifier),
        matchers=tuple(map(matchers.parse, texts)),
        author=author,
        reason=reason,
        starts_at=starts_at,
        ends_at=ends_at,
        recurrence=recurrence,
        duration=duration,
        time_zone=time_zone,
        until_resolved=UUID(until_resolved) if until_resolved else None,
        external_id=external_id,
        created_at=created_at,
        cancelled_at=cancelled_at,
        cancelled_by=cancelled_by,
    )
