"""The audit trail in PostgreSQL."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from psycopg2.extras import execute_values

from auditflow.contract.audit import Outcome, TrailEntry
from notification_service.audit.trail import Record
from notification_service.database.pool import Pool

#: Entries on a page.
PAGE: Final = 100

# One writer at a time, so that the entries are numbered in the order of their commits.
_LOCK: Final = "SELECT pg_advisory_xact_lock(4713, 5)"
_LAST: Final = "SELECT coalesce(max(number), 0) FROM audit_trail"
_INSERT: Final = (
    "INSERT INTO audit_trail (number, at, actor, action, outcome, address, target, entry) VALUES %s"
)
_CONDITIONS: Final = {
    "actor": "actor = %(actor)s",
    "action": "action = %(action)s",
    "outcome": "outcome = %(outcome)s",
    "address": "address = %(address)s",
    "target": "target = %(target)s",
    "since": "at >= %(since)s",
    "until": "at <= %(until)s",
    "before": "number < %(before)s",
}
_decode = msgspec.json.Decoder(TrailEntry).decode


class TrailFilter(Struct, frozen=True, kw_only=True):
    """Which entries. None means that there is no condition."""

    actor: str | None = None
    action: str | None = None
    outcome: Outcome | None = None
    address: str | None = None
    target: str | None = None
    since: Any = None
    until: Any = None
    #: Entries with lower numbers.
    before: int | None = None


class TrailStore:
    """Appends to the audit trail, and reads it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def append(self, records: Sequence[Record]) -> None:
        """Store records in this order, all or none. Raises Unavailable."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_LOCK)
            cursor.execute(_LAST)
            (last,) = cursor.fetchone() or (0,)
            execute_values(
                cursor,
                _INSERT,
                [_row(number, record) for number, record in enumerate(records, start=last + 1)],
                page_size=1000,
            )

    def page(self, criteria: TrailFilter) -> list[TrailEntry]:
        """The newest entries that match, at most ``PAGE``."""
        values = {
            name: value
            for name, value in msgspec.structs.asdict(criteria).items()
            if value is not None
        }
        where = " AND ".join(_CONDITIONS[name] for name in values) or "true"
        statement = f"SELECT entry FROM audit_trail WHERE {where} ORDER BY number DESC LIMIT {PAGE}"
        with self._pool.cursor() as cursor:
            cursor.execute(statement, values)
            return [_decode(entry) for (entry,) in cursor.fetchall()]


def _row(number: int, record: Record) -> tuple[Any, ...]:
    entry = {"number": number, **msgspec.structs.asdict(record)}
    return (
        number, record.at, record.actor, record.action, record.outcome, record.address,
        record.target, msgspec.json.encode(entry).decode(),
    )  # fmt: skip
