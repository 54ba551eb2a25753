"""The risk of entities: the sum of the points of their alerts of the last 7 days.

An entity is the main observable of an alert (``observables.main_entity``). Alerts with the verdict
false positive do not count.
"""

from typing import Final

import msgspec

from auditflow.contract.alert import Risk, RiskPart
from auditflow.contract.level import Level
from notification_service.database import maintenance_progress
from notification_service.database.pool import Pool
from notification_service.observables import Kind, normalize

#: Alerts that a risk lists.
MAX_PARTS: Final = 100
#: Changes that one step of the update reads.
_CHANGES: Final = 2_000

_POINTS: Final = "CASE level {} END".format(
    " ".join(f"WHEN '{level}' THEN {level.weight}" for level in Level)
)
_COUNTED: Final = (
    "last_seen > now() - interval '7 days' AND verdict IS DISTINCT FROM 'false_positive'"
)
_RISK: Final = f"""
    SELECT count(*), coalesce(sum(points), 0), coalesce(
        json_agg(json_build_object('alert_id', alert_id, 'title', title, 'level', level,
                                   'points', points, 'last_seen', last_seen)
                 ORDER BY points DESC, last_seen DESC, alert_id)
        FILTER (WHERE place <= {MAX_PARTS}),
        '[]')::text
    FROM (
        SELECT alert_id, title, level, {_POINTS} AS points, last_seen,
               row_number() OVER (ORDER BY level_rank DESC, last_seen DESC, alert_id) AS place
        FROM alerts WHERE entity_kind = %(kind)s AND entity_value = %(value)s AND {_COUNTED}
    ) AS counted
"""
#: The number of the advisory lock of the update.
_LOCK: Final = 2
_CHANGED: Final = """
    SELECT change_seq, entity_kind, entity_value FROM alerts
    WHERE change_seq > %s AND change_seq <= %s ORDER BY change_seq LIMIT %s
"""
_EXPIRED: Final = """
    SELECT entity_kind, entity_value FROM entity_risk WHERE expires_at <= now() LIMIT %s
"""
_UPDATE: Final = f"""
    WITH wanted AS (
        SELECT DISTINCT kind, value FROM unnest(%(kinds)s::text[], %(values)s::text[])
            AS listed (kind, value)
    ), computed AS (
        SELECT kind, value, risk, expires_at FROM wanted CROSS JOIN LATERAL (
            SELECT sum({_POINTS})::integer AS risk, min(last_seen) + interval '7 days' AS expires_at
            FROM alerts WHERE entity_kind = kind AND entity_value = value AND {_COUNTED}
        ) AS summed
    ), removed AS (
        DELETE FROM entity_risk USING computed
        WHERE entity_kind = kind AND entity_value = value AND computed.risk IS NULL
    )
    INSERT INTO entity_risk SELECT kind, value, risk, expires_at FROM computed
    WHERE risk IS NOT NULL
    ON CONFLICT (entity_kind, entity_value) DO UPDATE
        SET (risk, expires_at) = (excluded.risk, excluded.expires_at)
"""


def read_risk(pool: Pool, kind: Kind, value: str) -> Risk:
    """The risk of an entity, with the alerts that it consists of."""
    with pool.cursor() as cursor:
        cursor.execute(_RISK, {"kind": kind, "value": normalize(value)})
        number, risk, parts = cursor.fetchone() or (0, 0, "[]")
    return Risk(
        kind=kind,
        value=normalize(value),
        risk=risk,
        alerts=number,
        parts=msgspec.json.decode(parts, type=tuple[RiskPart, ...]),
    )


def update_risks(pool: Pool) -> bool:
    """Update the risks that changed since the last call. Return whether more changes remain."""
    with pool.connection() as connection, connection.cursor() as cursor:
        progress = maintenance_progress.begin(cursor, "risk", lock=_LOCK)
        if progress is None:
            return False
        last, horizon = progress
        cursor.execute(_CHANGED, (last, horizon, _CHANGES))
        changed = cursor.fetchall()
        cursor.execute(_EXPIRED, (_CHANGES,))
        expired = cursor.fetchall()
        entities = [(kind, value) for _, kind, value in changed if kind is not None] + expired
        if entities:
            kinds, values = zip(*entities, strict=True)
            cursor.execute(_UPDATE, {"kinds": list(kinds), "values": list(values)})
        if changed:
            cursor.execute(
                "UPDATE maintenance_progress SET change_seq = %s WHERE task = 'risk'",
                (changed[-1][0],),
            )
    return len(changed) == _CHANGES or len(expired) == _CHANGES
