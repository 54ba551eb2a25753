"""Reading all alerts of a filter, in parts, from one snapshot."""

from collections.abc import Iterator
from typing import Final

from notification_service.database import candidates
from notification_service.database.alert_filters import conditions
from notification_service.database.alert_json import SUMMARY
from notification_service.database.pool import Pool
from notification_service.query import AlertFilter

#: Alerts that one fetch reads.
_FETCH: Final = 500
_EXPORT: Final = """
    SELECT row_to_json(r)::text FROM (SELECT * FROM alerts WHERE {} ORDER BY alert_id) AS t {}
"""


def export_alerts(pool: Pool, query: AlertFilter) -> Iterator[str]:
    """All alerts that match, each an encoded ``AlertSummary``, in the order of their identifiers.

    Raises:
        Unavailable: the database is unavailable, before or during the export.
    """
    few = candidates.read(pool, query, most=candidates.MOST)
    matching = conditions(query, few=few)
    with pool.connection() as connection, connection.cursor("export") as cursor:
        cursor.itersize = _FETCH
        cursor.execute(_EXPORT.format(matching.where, SUMMARY), matching.values)
        for (text,) in cursor:
            yield text
