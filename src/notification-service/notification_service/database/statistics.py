"""Numbers about alerts over time, by rule, and about the work on them."""

import datetime as dt
from typing import Any, Final

from auditflow.contract.level import Level
from auditflow.contract.statistics import (
    Opened,
    Overview,
    ResponseTimes,
    RiskyEntity,
    RuleActivity,
    RuleStatistics,
)
from notification_service.database.pool import Pool

HOURS: Final = 24
DAYS: Final = 14
#: Entities of each kind in an overview.
MAX_ENTITIES: Final = 8
#: Maximum number of alerts, the newest, over which response times are computed.
MAX_ACTED: Final = 5_000
#: Maximum number of rules in the statistics.
MAX_RULES: Final = 5_000
#: All statuses, so that the indexes that begin with the status are used.
_ANY_STATUS: Final = "status IN ('open', 'acknowledged', 'resolved')"

_OPENED: Final = f"""
    SELECT date_trunc(%(unit)s, opened_at, 'UTC'), level, count(*) FROM alerts
    WHERE {_ANY_STATUS} AND opened_at >= %(since)s GROUP BY 1, 2 ORDER BY 1, 2
"""
_RISKS: Final = """
    SELECT entity_value, risk FROM entity_risk
    WHERE entity_kind = %s AND expires_at > now() ORDER BY risk DESC, entity_value LIMIT %s
"""
_RESPONSE_TIMES: Final = f"""
    WITH acted AS (
        SELECT alert_id, opened_at, status FROM alerts
        WHERE {_ANY_STATUS} AND opened_at >= now() - interval '7 days' AND acted_at IS NOT NULL
        ORDER BY opened_at DESC LIMIT {MAX_ACTED}
    ), timed AS (
        SELECT acted.opened_at, acted.status, entries.first_action, entries.last_resolution
        FROM acted CROSS JOIN LATERAL (
            SELECT min((entry::json ->> 'at')::timestamptz)
                       FILTER (WHERE entry::json ->> 'actor_kind' <> 'system') AS first_action,
                   max((entry::json ->> 'at')::timestamptz)
                       FILTER (WHERE entry::json ->> 'action' = 'resolve') AS last_resolution
            FROM alert_history WHERE alert_history.alert_id = acted.alert_id
        ) AS entries
    )
    SELECT avg(extract(epoch FROM first_action - opened_at))::float8, count(first_action),
           avg(extract(epoch FROM last_resolution - opened_at))
               FILTER (WHERE status = 'resolved')::float8,
           count(last_resolution) FILTER (WHERE status = 'resolved')
    FROM timed
"""
_RULES: Final = f"""
    SELECT rule_id, max(rule_title), date_trunc('day', opened_at, 'UTC'),
           coalesce(verdict, CASE WHEN status <> 'resolved' THEN 'unresolved' END), count(*),
           max(opened_at)
    FROM alerts WHERE {_ANY_STATUS} AND opened_at >= %s GROUP BY 1, 3, 4
"""


def read_overview(pool: Pool, *, now: dt.datetime) -> Overview:
    """The numbers of an overview."""
    hour = now.replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=HOURS - 1)
    day = _day(now) - dt.timedelta(days=DAYS - 1)
    with pool.cursor() as cursor:
        found: dict[str, tuple[RiskyEntity, ...]] = {}
        for kind in ("user", "host", "address"):
            cursor.execute(_RISKS, (kind, MAX_ENTITIES))
            found[kind] = tuple(RiskyEntity(*row) for row in cursor.fetchall())
        hours, days = _opened(cursor, "hour", hour), _opened(cursor, "day", day)
        cursor.execute(_RESPONSE_TIMES)
        acknowledge, acknowledged, resolve, resolved = cursor.fetchone() or (None, 0, None, 0)
    return Overview(
        hours=hours,
        days=days,
        users=found["user"],
        hosts=found["host"],
        addresses=found["address"],
        response_times=ResponseTimes(
            mean_to_acknowledge=acknowledge,
            acknowledged=acknowledged,
            mean_to_resolve=resolve,
            resolved=resolved,
        ),
    )


def read_rules(pool: Pool, *, days: int, now: dt.datetime) -> RuleStatistics:
    """The activity of all rules in the last ``days`` days, today included."""
    first = _day(now) - dt.timedelta(days=days - 1)
    with pool.cursor() as cursor:
        cursor.execute(_RULES, (first,))
        rows = cursor.fetchall()
    rules: dict[str, dict[str, Any]] = {}
    for rule_id, title, day, outcome, number, newest in rows:
        rule = rules.setdefault(
            rule_id, {"title": title, "alerts": 0, "daily": [0] * days, "last_opened_at": newest}
        )
        rule["alerts"] += number
        position = (day - first).days
        if 0 <= position < days:
            rule["daily"][position] += number
        if outcome is not None:
            rule[outcome] = rule.get(outcome, 0) + number
        rule["last_opened_at"] = max(rule["last_opened_at"], newest)
    activity = [
        RuleActivity(rule=rule_id, **{**values, "daily": tuple(values["daily"])})
        for rule_id, values in rules.items()
    ]
    activity.sort(key=lambda each: (-each.alerts, each.rule))
    return RuleStatistics(days=days, first_day=first, rules=tuple(activity[:MAX_RULES]))


def _opened(cursor: Any, unit: str, since: dt.datetime) -> tuple[Opened, ...]:
    cursor.execute(_OPENED, {"unit": unit, "since": since})
    return tuple(Opened(start, Level(level), number) for start, level, number in cursor.fetchall())


def _day(now: dt.datetime) -> dt.datetime:
    return now.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
