"""The table ``alert_days``: the number of alerts by the day of their last event, in UTC.

Numbers of a range of time come from its full days, and from the alerts of the other hours.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from notification_service.database.alert_filters import conditions, time_branches, with_status
from notification_service.query import AlertFilter

_DAY: Final = dt.timedelta(days=1)
_NUMBERS: Final = """
    SELECT {dimensions}, sum(number)::bigint FROM (
        SELECT {dimensions}, number FROM alert_days AS alerts
        WHERE {where} AND day >= %(first_day)s::date AND day < %(end_day)s::date
        {hours}
    ) AS alerts GROUP BY {dimensions} HAVING sum(number) <> 0
"""
_OF_HOURS: Final = "UNION ALL SELECT {dimensions}, 1 FROM alerts WHERE {where} AND {hours}"
_FIRST_DAY: Final = "(%(first_day)s::date::timestamp AT TIME ZONE 'UTC')"
_END_DAY: Final = "(%(end_day)s::date::timestamp AT TIME ZONE 'UTC')"
#: Merges the differences. Only their days are merged, because there are many days.
MERGE: Final = """
    WITH merged AS (
        DELETE FROM alert_days WHERE day = ANY(ARRAY(
            SELECT DISTINCT day FROM alert_days WHERE NOT merged
        )) RETURNING *
    )
    INSERT INTO alert_days
    SELECT day, status, level, rule_id, environment, assignee, verdict, sum(number), true
    FROM merged GROUP BY day, status, level, rule_id, environment, assignee, verdict
    HAVING sum(number) <> 0
"""


def statement(query: AlertFilter, dimensions: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The statement, and its values, that counts the alerts of a filter by ``dimensions``.

    The filter has ``since`` or ``until``. Its other conditions are on columns of ``alert_days``.
    """
    matching = conditions(with_status(msgspec.structs.replace(query, since=None, until=None)))
    names = ", ".join(dimensions)
    hours = "\n".join(
        _OF_HOURS.format(dimensions=names, where=matching.where, hours=part)
        for part in _parts_of_days(query)
    )
    return _NUMBERS.format(dimensions=names, where=matching.where, hours=hours), {
        **matching.values,
        "since": query.since,
        "until": query.until,
        "first_day": "-infinity" if query.since is None else _day_after(query.since),
        "end_day": "infinity" if query.until is None else query.until.astimezone(dt.UTC).date(),
    }


def _parts_of_days(query: AlertFilter) -> list[str]:
    """The conditions on alerts of the range that are in none of its full days.

    An alert was active in the range if its last event is in it, or if its last event is later and
    its first event is before the end.
    """
    since, until = query.since, query.until
    parts = []
    if since and until and since.astimezone(dt.UTC).date() == until.astimezone(dt.UTC).date():
        parts.append("last_seen >= %(since)s AND last_seen <= %(until)s")
    else:
        if since:
            parts.append(f"last_seen >= %(since)s AND last_seen < {_FIRST_DAY}")
        if until:
            parts.append(f"last_seen >= {_END_DAY} AND last_seen <= %(until)s")
    if until:
        parts += [
            f"last_seen > %(until)s AND first_seen <= %(until)s AND {branch}"
            for branch in time_branches(query)
        ]
    return parts


def _day_after(time: dt.datetime) -> str:
    day = time.astimezone(dt.UTC).date()
    return "infinity" if day == dt.date.max else str(day + _DAY)
