"""Searches a page of a list in the newest alerts only.

A host, an address or a text that some thousand alerts have is usually found among the newest alerts
often enough to fill a page. A search of them needs a small part of the time that it takes to read
all alerts of the host and sort them. If the page is not full, another plan is needed.
"""

from typing import Any, Final

import msgspec

from auditflow.contract.alert import Status
from notification_service.database.alert_filters import Few, conditions
from notification_service.database.pool import Pool
from notification_service.order import KEYS, Sort
from notification_service.query import AlertFilter, AlertQuery

#: Fewer alerts are read and sorted: that takes less time than a search of the newest ones.
MANY: Final = 1_500
#: Maximum number of newest alerts of each status that are searched, if the index has all that the
#: search needs, and otherwise.
MAX_IN_INDEX: Final = 40_000
MAX_IN_TABLE: Final = 12_000
#: A page is expected to need a part of 1 / _MARGIN of the alerts that are searched.
_MARGIN: Final = 2.0
#: The filters that a search supports. Others could exclude most of the alerts that it finds.
_SUPPORTED: Final = frozenset(
    {"status", "level", "severity", "actor", "host", "ip", "resource", "q", "since"}
)
_TOTAL: Final = "SELECT greatest(reltuples, 1)::bigint FROM pg_class WHERE oid = 'alerts'::regclass"
_BORDER: Final = """
    (SELECT last_seen FROM alerts WHERE status = '{status}' AND {after}
     ORDER BY last_seen DESC, alert_id DESC OFFSET %(depth)s LIMIT 1)
"""
_BRANCH: Final = """
    (SELECT alert_id, last_seen FROM alerts
     WHERE status = '{status}' AND {where} AND {after} AND last_seen > (SELECT at FROM border)
     ORDER BY last_seen DESC, alert_id DESC LIMIT %(wanted)s)
"""
# The border is minus infinity if all statuses have fewer alerts than the depth.
_NEWEST: Final = """
    WITH border AS MATERIALIZED (
        SELECT coalesce(greatest({borders}), '-infinity') AS at
    )
    SELECT alert_id FROM ({branches}) AS found ORDER BY last_seen DESC, alert_id DESC
    LIMIT %(wanted)s
"""


def supports(query: AlertQuery) -> bool:
    """Whether the alerts of a list can be searched in the newest alerts."""
    if query.sort is not Sort.ACTIVITY:
        return False
    default = AlertFilter()
    return all(
        name in _SUPPORTED or getattr(query, name) == getattr(default, name)
        for name in AlertFilter.__struct_fields__
    )


def find(pool: Pool, query: AlertQuery, few: Few) -> list[str] | None:
    """The identifiers of the alerts of a page and of the next one, if the newest alerts have them.

    None if another plan is better. ``few`` are the searched alerts, as ``candidates`` found them.
    """
    if few.expected is None or few.expected < MANY:
        return None
    wanted = _wanted(query)
    with pool.cursor() as cursor:
        cursor.execute(_TOTAL)
        (total,) = cursor.fetchone() or (1,)
        depth = int(_MARGIN * wanted * total / few.expected)
        if depth > (MAX_IN_INDEX if _is_in_index(query, few) else MAX_IN_TABLE):
            return None
        text, values = statement(query, few, depth=depth)
        cursor.execute(text, values)
        found = [alert_id for (alert_id,) in cursor.fetchall()]
    return found if len(found) == wanted else None


def statement(query: AlertQuery, few: Few, *, depth: int) -> tuple[str, dict[str, Any]]:
    """The statement that searches the newest alerts, up to ``depth`` of each status."""
    # The page compares the text again. Its candidates are sufficient here, and in the index.
    searched = msgspec.structs.replace(query, q=None) if _is_in_index(query, few) else query
    matching = conditions(searched, few=msgspec.structs.replace(few, is_ordered=True))
    statuses = [str(status) for status in query.status or tuple(Status)]
    after = _after(query)
    text = _NEWEST.format(
        borders=", ".join(_BORDER.format(status=status, after=after) for status in statuses),
        branches=" UNION ALL ".join(
            _BRANCH.format(status=status, where=matching.where, after=after) for status in statuses
        ),
    )
    values = {**matching.values, **_after_values(query), "depth": depth, "wanted": _wanted(query)}
    return text, values


def _wanted(query: AlertQuery) -> int:
    """The alerts of a page, those before it, and one that shows whether there is a next page."""
    return query.limit + 1 + query.offset


def _is_in_index(query: AlertQuery, few: Few) -> bool:
    return few.texts is not None or query.q is None


def _after(query: AlertQuery) -> str:
    if query.after is None:
        return "true"
    (key,) = KEYS[Sort.ACTIVITY]
    return f"(last_seen, alert_id) < (%(key_0)s::{key.type}, %(after_id)s::uuid)"


def _after_values(query: AlertQuery) -> dict[str, Any]:
    if query.after is None:
        return {}
    return {"key_0": query.after.keys[0], "after_id": str(query.after.alert_id)}
