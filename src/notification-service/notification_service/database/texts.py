"""The table ``alert_texts``: the searched texts of alerts in lower case, with an index of trigrams.

It is updated after each change of an alert, in the order of the numbers of changes. Searches also
read the alerts that changed since the last update, so their results are exact.
"""

from typing import Any, Final

from msgspec import Struct

from notification_service.database import maintenance_progress
from notification_service.database.alert_filters import SEARCHED, SEARCHED_AT_ONCE
from notification_service.database.pool import Pool

#: Changes that one step of the update reads.
_CHANGES: Final = 5_000
#: Alerts of the sample that shows whether a text is frequent.
SAMPLE: Final = 1_000
#: A text in more alerts of the sample is frequent. The index of trigrams is for other texts,
#: because it reads all matches.
FREQUENT: Final = 20

#: If a sample shows this many times the maximum, the index is not searched.
_SURELY: Final = 2

#: The number of the advisory lock of the update.
_LOCK: Final = 8
# In a later statement than the horizon: its snapshot sees everything up to the horizon.
_UPDATE: Final = f"""
    WITH changed AS (
        SELECT change_seq, alert_id, lower({SEARCHED}) AS text FROM alerts
        WHERE change_seq > %(last)s AND change_seq <= %(horizon)s
        ORDER BY change_seq LIMIT %(limit)s
    ), written AS (
        INSERT INTO alert_texts SELECT alert_id, text FROM changed
        ON CONFLICT (alert_id) DO UPDATE SET text = excluded.text
            WHERE alert_texts.text <> excluded.text
    ), progress AS (
        UPDATE maintenance_progress SET change_seq = (SELECT max(change_seq) FROM changed)
        WHERE task = 'texts' AND EXISTS (SELECT FROM changed)
    )
    SELECT count(*) FROM changed
"""
# Identifiers of alerts are hashes, so the first of them are a random sample.
_SAMPLE: Final = """
    SELECT count(*) FILTER (WHERE text LIKE lower(%(q)s)),
        count(*), (SELECT reltuples FROM pg_class WHERE oid = 'alert_texts'::regclass)
    FROM (SELECT text FROM alert_texts ORDER BY alert_id LIMIT %(sample)s) AS sample
"""
_MATCHING: Final = f"""
    SELECT alert_id FROM alert_texts WHERE text LIKE lower(%(q)s)
    UNION
    SELECT alert_id FROM alerts WHERE {SEARCHED_AT_ONCE} AND change_seq > coalesce(
        (SELECT change_seq FROM maintenance_progress WHERE task = 'texts'), 0)
    LIMIT %(limit)s
"""


class Matches(Struct, frozen=True):
    """The alerts whose text matches, or None if they are many, and about their number."""

    alerts: list[str] | None
    expected: int


def find(pool: Pool, pattern: str, *, most: int) -> Matches:
    """The alerts whose text matches a LIKE pattern, if at most ``most`` do."""
    values: dict[str, Any] = {"q": pattern, "sample": SAMPLE, "limit": most + 1}
    with pool.cursor() as cursor:
        cursor.execute(_SAMPLE, values)
        frequency, sampled, total = cursor.fetchone() or (0, 0, 0)
        expected = int(frequency * max(total, sampled) / max(sampled, 1))
        if frequency > FREQUENT or expected > _SURELY * most:
            return Matches(None, expected)
        cursor.execute(_MATCHING, values)
        found = [alert_id for (alert_id,) in cursor.fetchall()]
    if len(found) > most:
        return Matches(None, max(expected, most))
    return Matches(found, len(found))


def update_texts(pool: Pool) -> bool:
    """Update the texts that changed since the last call. Return whether more changes remain."""
    with pool.connection() as connection, connection.cursor() as cursor:
        progress = maintenance_progress.begin(cursor, "texts", lock=_LOCK)
        if progress is None:
            return False
        last, horizon = progress
        cursor.execute(_UPDATE, {"last": last, "horizon": horizon, "limit": _CHANGES})
        (changed,) = cursor.fetchone() or (0,)
    return bool(changed == _CHANGES)
