"""The queue of notifications: claiming, finishing, retrying and merging them.

Any number of replicas claim. A claim is a lease: when its replica dies, another one claims the
notification after ``LEASE``. So each notification is sent at least once, and its identifier tells
a receiver that it comes again.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from notification_service.database.pool import Pool
from notification_service.outbox import sql
from notification_service.outbox.content import MAX_LISTED, Content, Summary

#: Longer than any attempt to send may take.
LEASE: Final = dt.timedelta(seconds=60)
#: How long the digest of a storm collects further notifications before it is sent.
DIGEST_WAIT: Final = dt.timedelta(seconds=30)
#: Notifications that one statement merges into a digest.
_MERGED_AT_ONCE: Final = 5_000
#: How long notifications of a receiver that was removed stay waiting. Replicas may have different
#: routing files for some minutes.
_ORPHAN_AFTER: Final = dt.timedelta(minutes=15)
_MAX_ERROR: Final = 500

_CLAIM: Final = """
    UPDATE notifications SET status = 'sending', claim_id = %(claim)s,
        claimed_until = %(until)s, attempts = attempts + 1
    WHERE notification_id = ANY(ARRAY(
        SELECT notification_id FROM notifications
        WHERE receiver = %(receiver)s AND status = 'pending' AND next_attempt_at <= %(now)s
        ORDER BY next_attempt_at, notification_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ))
    RETURNING notification_id, kind, content::text, attempts - attempts_before, created_at,
        oldest_at, delivered
"""
_RELEASE: Final = """
    UPDATE notifications SET status = 'pending', claim_id = NULL, claimed_until = NULL,
        last_error = 'the replica that was sending it ended', next_attempt_at = %(now)s
    WHERE notification_id = ANY(ARRAY(
        SELECT notification_id FROM notifications
        WHERE status = 'sending' AND claimed_until < %(now)s LIMIT 500 FOR UPDATE SKIP LOCKED
    ))
"""
# Also after the end of the lease, if the notification only waits since then: without this, it would
# be sent again.
_SENT: Final = """
    UPDATE notifications SET status = 'sent', sent_at = %(now)s, delivered_to = %(to)s,
        claim_id = NULL, claimed_until = NULL, last_error = NULL
    WHERE notification_id = %(id)s AND (claim_id = %(claim)s
        OR status = 'pending' AND attempts - attempts_before = %(attempt)s)
"""
_FAILED: Final = """
    UPDATE notifications SET status = %(status)s, next_attempt_at = %(again_at)s,
        last_error = %(error)s, delivered = %(delivered)s::text[], claim_id = NULL,
        claimed_until = NULL
    WHERE notification_id = %(id)s AND claim_id = %(claim)s
"""
_WAITING: Final = """
    SELECT receiver, count(*) FILTER (WHERE kind = 'alerts' AND attempts = 0),
        bool_or(kind = 'digest' AND attempts = 0), bool_or(next_attempt_at <= %(now)s)
    FROM (
        SELECT found.* FROM unnest(%(receivers)s::text[]) AS wanted (name)
        CROSS JOIN LATERAL (
            SELECT receiver, kind, attempts, next_attempt_at FROM notifications
            WHERE receiver = wanted.name AND status = 'pending'
                AND (next_attempt_at <= %(now)s OR (kind = 'digest' AND attempts = 0))
            LIMIT %(limit)s
        ) AS found
    ) AS waiting
    GROUP BY receiver
"""
_MERGE: Final = """
    UPDATE notifications SET status = 'merged', merged_into = %(digest)s
    WHERE notification_id = ANY(ARRAY(
        SELECT notification_id FROM notifications
        WHERE receiver = %(receiver)s AND status = 'pending' AND kind = 'alerts' AND attempts = 0
            AND next_attempt_at <= %(now)s
        ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ))
"""
_OPEN_DIGEST: Final = """
    SELECT notification_id FROM notifications
    WHERE receiver = %s AND status = 'pending' AND kind = 'digest' AND attempts = 0
    FOR UPDATE SKIP LOCKED LIMIT 1
"""
_ADD_DIGEST: Final = """
    INSERT INTO notifications (notification_id, receiver, kind, content, alert_count, created_at,
        next_attempt_at)
    VALUES (%s, %s, 'digest', '{}', 0, %s, %s)
"""
_DIGEST_ALERTS: Final = """
    FROM (
        SELECT DISTINCT ON (na.alert_id) na.alert_id, na.reason
        FROM notifications n JOIN notification_alerts na USING (notification_id)
        WHERE n.merged_into = %s ORDER BY na.alert_id, n.created_at DESC
    ) AS merged JOIN alerts a USING (alert_id)
"""
_DIGEST_COUNTS: Final = f"""
    SELECT a.rule_id, max(a.rule_title), a.level, reason, count(*), min(a.opened_at)
    {_DIGEST_ALERTS} GROUP BY a.rule_id, a.level, reason
"""
_DIGEST_LISTED: Final = f"""
    SELECT merged.alert_id, merged.reason {_DIGEST_ALERTS}
    ORDER BY array_position(%s::text[], a.level) DESC, a.opened_at LIMIT %s
"""
_FILL_DIGEST: Final = """
    UPDATE notifications SET content = %s::jsonb, alert_count = %s, oldest_at = %s
    WHERE notification_id = %s
"""
_ORPHANS: Final = """
    UPDATE notifications SET status = 'dead', last_error = 'the receiver does not exist any more'
    WHERE status = 'pending' AND receiver <> ALL(%s) AND next_attempt_at < %s
"""


#: How long delivered notifications are kept.
RETENTION: Final = dt.timedelta(days=90)
_REMOVE_OLD: Final = """
    DELETE FROM notifications WHERE notification_id = ANY(ARRAY(
        SELECT notification_id FROM notifications
        WHERE created_at < %s AND status IN ('sent', 'merged')
        ORDER BY created_at LIMIT 1000 FOR UPDATE SKIP LOCKED
    ))
"""


class Claim(Struct, frozen=True, kw_only=True):
    """A notification that this replica may send until the lease ends. ``attempt`` counts from 1.

    ``content`` is None if this version cannot read it. ``delivered`` are the targets of the
    receiver that earlier attempts reached (``Message.delivered``).
    """

    notification_id: UUID
    claim_id: UUID
    receiver: str
    content: Content | None
    delivered: frozenset[str] = frozenset()
    attempt: int
    created_at: dt.datetime
    oldest_at: dt.datetime | None


class Waiting(Struct, frozen=True):
    """What waits for a receiver: notifications about alerts, counted up to a bound; whether a
    digest collects; ``due``: something may be sent now."""

    alerts: int
    digest: bool
    due: bool


class Queue:
    """The table ``notifications``, as workers use it. All methods may raise ``Unavailable``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def waiting(
        self, receivers: Sequence[str], *, now: dt.datetime, limit: int
    ) -> dict[str, Waiting]:
        """The receivers for which something is due."""
        values = {"receivers": list(receivers), "now": now, "limit": limit}
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_WAITING, values)
            return {
                row[0]: Waiting(row[1], bool(row[2]), bool(row[3])) for row in cursor.fetchall()
            }

    def claim(self, receiver: str, *, now: dt.datetime, limit: int) -> list[Claim]:
        """Claim notifications that are due, the oldest first."""
        claim_id = uuid.uuid4()
        values = {
            "claim": str(claim_id),
            "receiver": receiver,
            "now": now,
            "until": now + LEASE,
            "limit": limit,
        }
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_CLAIM, values)
            claimed = []
            for key, kind, text, attempt, created_at, oldest_at, delivered in cursor.fetchall():
                content: Content | None
                if kind == "digest":
                    content, oldest_at = _fill_digest(cursor, key)  # noqa: PLW2901
                else:
                    content = _read_content(text)
                claimed.append(
                    Claim(
                        notification_id=UUID(key),
                        claim_id=claim_id,
                        receiver=receiver,
                        content=content,
                        delivered=frozenset(delivered),
                        attempt=attempt,
                        created_at=created_at,
                        oldest_at=oldest_at,
                    )
                )
        return claimed

    def release(self, *, now: dt.datetime) -> int:
        """Return notifications to the queue whose lease has ended. Returns how many."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_RELEASE, {"now": now})
            return int(cursor.rowcount)

    def sent(self, claim: Claim, *, to: str, now: dt.datetime) -> bool:
        """The receiver has it. False: another replica claimed it after the lease had ended."""
        return self._finish(_SENT, claim, now=now, to=to[:200], attempt=claim.attempt)

    def failed(
        self,
        claim: Claim,
        *,
        error: str,
        again_at: dt.datetime | None,
        now: dt.datetime,
        delivered: Iterable[str] = (),
    ) -> bool:
        """An attempt failed, after it reached the targets ``delivered``.

        Without ``again_at``, it was the last attempt.
        """
        return self._finish(
            _FAILED,
            claim,
            status="dead" if again_at is None else "pending",
            again_at=again_at or now,
            error=error.replace("\0", "")[:_MAX_ERROR],
            delivered=sorted(claim.delivered.union(delivered)),
        )

    def merge(self, receiver: str, *, now: dt.datetime) -> int:
        """Merge what waits for a receiver into its digest. Returns how many notifications."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            # Two replicas must not begin two digests of one storm.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (receiver,))
            cursor.execute(_OPEN_DIGEST, (receiver,))
            row = cursor.fetchone()
            digest = row[0] if row else str(uuid.uuid4())
            if row is None:
                cursor.execute(_ADD_DIGEST, (digest, receiver, now, now + DIGEST_WAIT))
            values = {
                "digest": digest, "receiver": receiver, "now": now, "limit": _MERGED_AT_ONCE,
            }  # fmt: skip
            cursor.execute(_MERGE, values)
            return int(cursor.rowcount)

    def bury_orphans(self, receivers: Sequence[str], *, now: dt.datetime) -> int:
        """Mark notifications dead whose receiver was removed. Returns how many."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_ORPHANS, (list(receivers), now - _ORPHAN_AFTER))
            return int(cursor.rowcount)

    def remove_old(self, *, now: dt.datetime) -> int:
        """Delete some notifications that were delivered long ago. Returns how many."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_REMOVE_OLD, (now - RETENTION,))
            return int(cursor.rowcount)

    def counts(self) -> Mapping[str, int]:
        """How many notifications are waiting and how many are dead, for metrics."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT status, count(*) FROM notifications"
                " WHERE status IN ('pending', 'sending', 'dead') GROUP BY status"
            )
            found = dict(cursor.fetchall())
        return {name: found.get(name, 0) for name in ("pending", "sending", "dead")}

    def _finish(self, statement: str, claim: Claim, **values: Any) -> bool:
        values |= {"id": str(claim.notification_id), "claim": str(claim.claim_id)}
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return bool(cursor.rowcount)


def _read_content(text: str) -> Content | None:
    try:
        return msgspec.json.decode(text, type=Content)
    except msgspec.MsgspecError:
        return None  # of a newer version, which was rolled back


def _fill_digest(cursor: Cursor, key: str) -> tuple[Content, dt.datetime | None]:
    """Make the content of a digest from the notifications that were merged into it."""
    summary = Summary()
    cursor.execute(_DIGEST_LISTED, (key, list(sql.RANKS), MAX_LISTED))
    listed = cursor.fetchall()
    alerts = sql.read_alerts(cursor, [UUID(alert_id) for alert_id, _ in listed])
    for alert_id, reason in listed:
        summary.add(alerts[UUID(alert_id)], reason)
    cursor.execute(_DIGEST_COUNTS, (key,))
    summary.replace_counts(cursor.fetchall())
    content = summary.content(kind="digest", group={})
    encoded = msgspec.json.encode(content).decode()
    cursor.execute(_FILL_DIGEST, (encoded, summary.total, summary.oldest_at, key))
    return content, summary.oldest_at
