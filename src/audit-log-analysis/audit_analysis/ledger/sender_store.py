"""The hosts that send events, in PostgreSQL."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

from msgspec import Struct
from psycopg2.extras import execute_values

from audit_analysis.ledger.senders import LEARNING_MS, Activity, Sender, SenderKey
from auditflow.postgres import Connection, translated

#: Maximum number of hosts. A sender chooses the host of an event, so the number is limited.
MAX_SENDERS: Final = 20_000
#: A host that was seen for less than a day is forgotten after this time without events.
_FORGOTTEN_MS: Final = 7 * LEARNING_MS
#: Any other host is forgotten after this time.
_RETIRED_MS: Final = 90 * LEARNING_MS


class KnownSender(Struct, frozen=True):
    """A host, and the time of its last event when it was reported as silent."""

    key: SenderKey
    sender: Sender
    reported_ms: int | None


class Senders(Struct, frozen=True):
    """All hosts.

    ``now_ms`` is the newest event of all. So no host is silent while nothing arrives at all.
    """

    now_ms: int
    known: Sequence[KnownSender]


def add(cursor: Any, activity: Mapping[SenderKey, Activity], *, minimum_ms: int) -> None:
    """Add events of hosts. New hosts are ignored when there are ``MAX_SENDERS``."""
    if not activity:
        return
    keys = sorted(activity)
    found = execute_values(
        cursor,
        "SELECT source, host, first_ms, last_ms, usual_ms FROM archive.senders"
        " JOIN (VALUES %s) AS wanted (source, host) USING (source, host)"
        " ORDER BY source, host FOR UPDATE OF senders",
        [(key.source, key.host) for key in keys],
        fetch=True,
    )
    known = {SenderKey(source, host): Sender(*times) for source, host, *times in found}
    if len(known) < len(keys):
        cursor.execute("SELECT count(*) FROM archive.senders")
        (count,) = cursor.fetchone()
        new = [key for key in keys if key not in known][: max(0, MAX_SENDERS - count)]
        known |= {key: Sender(activity[key].first_ms, activity[key].first_ms) for key in new}
    rows = []
    for key, sender in sorted(known.items()):
        seen = sender.seen(activity[key], minimum_ms=minimum_ms)
        rows.append((key.source, key.host, seen.first_ms, seen.last_ms, seen.usual_ms))
    execute_values(
        cursor,
        "INSERT INTO archive.senders (source, host, first_ms, last_ms, usual_ms) VALUES %s"
        " ON CONFLICT (source, host) DO UPDATE"
        " SET last_ms = EXCLUDED.last_ms, usual_ms = EXCLUDED.usual_ms",
        rows,
    )


class SenderStore:
    """Reads hosts, and records which were reported. Its methods raise Unavailable."""

    def __init__(self, open_connection: Callable[[], Connection]) -> None:
        """``open_connection`` is called for each use."""
        self._open_connection = open_connection

    def read(self) -> Senders:
        """All hosts, by the time of their last event."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT source, host, first_ms, last_ms, usual_ms, reported_ms"
                " FROM archive.senders ORDER BY last_ms, source, host"
            )
            known = [
                KnownSender(SenderKey(source, host), Sender(*times), reported_ms)
                for source, host, *times, reported_ms in cursor.fetchall()
            ]
        return Senders(max((item.sender.last_ms for item in known), default=0), known)

    def set_reported(self, senders: Sequence[KnownSender]) -> None:
        """Record that these hosts were reported as silent since their last event."""
        with self._transaction() as cursor:
            for item in senders:
                cursor.execute(
                    "UPDATE archive.senders SET reported_ms = %s WHERE source = %s AND host = %s",
                    (item.sender.last_ms, item.key.source, item.key.host),
                )

    def forget(self, *, now_ms: int) -> None:
        """Delete hosts that have not sent events for a long time."""
        with self._transaction() as cursor:
            cursor.execute(
                "DELETE FROM archive.senders WHERE last_ms < %s"
                " OR (last_ms < %s AND last_ms - first_ms < %s)",
                (now_ms - _RETIRED_MS, now_ms - _FORGOTTEN_MS, LEARNING_MS),
            )

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with (
            translated(),
            closing(self._open_connection()) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            yield cursor
