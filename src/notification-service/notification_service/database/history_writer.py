"""Appending to the history of actions."""

import datetime as dt
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class
from psycopg2.extras import execute_values

from notification_service.history import EMPTY_HASH, Actor, ChainedEntry, Transition, chain

# One writer at a time, until its commit: each entry's hash covers the previous entry.
_LOCK: Final = "SELECT pg_advisory_xact_lock(4713, 1)"
_LAST: Final = "SELECT number, hash FROM alert_history ORDER BY number DESC LIMIT 1"


def append(
    cursor: Cursor,
    transitions: Sequence[Transition],
    *,
    actor: Actor,
    at: dt.datetime,
    bulk_id: UUID | None = None,
) -> list[ChainedEntry]:
    """Append an entry for each transition. Lock the alerts first, so that no writers deadlock."""
    cursor.execute(_LOCK)
    cursor.execute(_LAST)
    number, last_hash = cursor.fetchone() or (0, EMPTY_HASH)
    entries = list(
        chain(
            transitions,
            actor=actor,
            at=at,
            last_number=number,
            last_hash=bytes(last_hash),
            bulk_id=bulk_id,
        )
    )
    execute_values(
        cursor,
        "INSERT INTO alert_history (number, alert_id, bulk_id, entry, hash) VALUES %s",
        [
            (
                chained.entry.number,
                str(chained.entry.alert_id),
                str(bulk_id) if bulk_id else None,
                chained.document.decode(),
                chained.hash,
            )
            for chained in entries
        ],
        page_size=1000,
    )
    return entries
