"""The events of an alert. Findings name up to 100 events each, and contain two complete events."""

import datetime as dt
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from auditflow.contract.alert import EventRow
from notification_service.database import prepared
from notification_service.database.pool import Pool

#: Events on a page.
PAGE: Final = 100

_REFERENCES: Final = """
    SELECT at, event_id FROM (
        SELECT DISTINCT (event ->> 'timestamp')::timestamptz AS at, event ->> 'event_id' AS event_id
        FROM findings, jsonb_array_elements(evidence) AS event
        WHERE alert_id = %(alert)s AND first_seen <= %(at)s
    ) AS named
    WHERE (at, event_id COLLATE "C") < (%(at)s, %(event)s)
    ORDER BY at DESC, event_id COLLATE "C" DESC LIMIT %(limit)s
"""
_COMPLETE: Final = """
    SELECT event::text FROM findings
    CROSS JOIN LATERAL (VALUES (first_event), (last_event)) AS v (event)
    WHERE alert_id = %(alert)s AND event IS NOT NULL AND first_seen <= %(until)s
      AND last_seen >= %(since)s AND event ->> 'event_id' = ANY(%(events)s)
"""
_RECORD: Final = """
    SELECT event::text FROM findings
    CROSS JOIN LATERAL (VALUES (first_event), (last_event)) AS v (event)
    WHERE alert_id = %(alert)s AND event IS NOT NULL AND event ->> 'event_id' = %(event)s LIMIT 1
"""
_LAST_TIME: Final = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)


class EventPosition(Struct, frozen=True, array_like=True):
    """The sort keys of an event. A page starts after it."""

    at: dt.datetime
    event_id: str


class _Event(Struct):
    """The parts of a complete event that the table shows."""

    event_id: str
    event_type: str | None = None
    user_id: str | None = None
    server_hostname: str | None = None
    client_ip: str | None = None
    resource: str | None = None
    action_result: str | None = None
    details: dict[str, object] | None = None

    def detail(self, *names: str) -> str | None:
        for name in names:
            value = (self.details or {}).get(name)
            if isinstance(value, str) and value:
                return value
        return None


_decode = msgspec.json.Decoder(_Event).decode


def read_events(pool: Pool, alert_id: UUID, after: EventPosition | None) -> list[EventRow]:
    """A page of events, the latest first. Fewer than ``PAGE`` events are the last page."""
    position = after or EventPosition(_LAST_TIME, "")
    with pool.cursor() as cursor:
        prepared.execute(
            cursor,
            _REFERENCES,
            {
                "alert": str(alert_id),
                "at": position.at,
                "event": position.event_id,
                "limit": PAGE,
            },
        )
        named = cursor.fetchall()
        if not named:
            return []
        prepared.execute(
            cursor,
            _COMPLETE,
            {
                "alert": str(alert_id),
                "until": named[0][0],
                "since": named[-1][0],
                "events": [event_id for _, event_id in named],
            },
        )
        complete = {event.event_id: event for (text,) in cursor for event in _readable(text)}
    return [_row(at, event_id, complete.get(event_id)) for at, event_id in named]


def read_record(pool: Pool, alert_id: UUID, event_id: str) -> str | None:
    """A complete event as it was sent, or None if only its identifier is stored."""
    with pool.cursor() as cursor:
        prepared.execute(cursor, _RECORD, {"alert": str(alert_id), "event": event_id})
        row = cursor.fetchone()
        return str(row[0]) if row else None


def _readable(text: str) -> list[_Event]:
    try:
        return [_decode(text)]
    except msgspec.MsgspecError:
        return []  # an event of a foreign producer with other types


def _row(at: dt.datetime, event_id: str, event: _Event | None) -> EventRow:
    if event is None:
        return EventRow(timestamp=at, event_id=event_id)
    return EventRow(
        timestamp=at,
        event_id=event_id,
        event_type=event.event_type,
        user=event.user_id,
        host=event.server_hostname,
        address=event.client_ip or event.detail("client_ip", "ip_address"),
        resource=event.resource or event.detail("resource", "path"),
        result=event.action_result,
        has_record=True,
    )
