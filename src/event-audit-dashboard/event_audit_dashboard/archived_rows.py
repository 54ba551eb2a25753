"""Completes the events of an alert with the fields that the archive has.

The API of alerts stores the fields of the first and the last event of a finding, and only time and
identifier of the others.
"""

import datetime as dt
import threading
from collections.abc import Iterable, Sequence
from typing import Final

from cachetools import TTLCache
from msgspec import Struct, structs

from auditflow.contract.alert import EventRow
from auditflow.contract.event_search import MAX_EVENT_IDS, ArchivedEventSummary
from event_audit_dashboard.apis.client import Caller
from event_audit_dashboard.apis.events import EventsApi
from event_audit_dashboard.errors import ApiError

#: Maximum number of cached events, about 1 KiB each, and how long they are cached (seconds).
MAX_EVENTS: Final = 10_000
CACHE_SECONDS: Final = 3600.0
#: The times of an event in the alert and in the archive differ by less.
_PRECISION: Final = dt.timedelta(seconds=1)

_Key = tuple[str, dt.datetime]


class ShownEvent(Struct, frozen=True):
    """An event of an alert. ``in_archive``: its record can be read from the archive."""

    row: EventRow
    in_archive: bool = False


class ArchivedRows:
    """Adds fields of the archive to events of alerts. It is thread-safe.

    Archived events do not change, therefore their fields are cached for all viewers. A viewer sees
    them only as part of an alert.
    """

    def __init__(self, events: EventsApi | None) -> None:
        """Without ``events`` there is no archive."""
        self._events = events
        self._found: TTLCache[_Key, ArchivedEventSummary] = TTLCache(MAX_EVENTS, CACHE_SECONDS)
        self._lock = threading.Lock()
        self._version = 0

    @property
    def version(self) -> int:
        """A number that changes when ``cached`` can return more fields than before."""
        return self._version

    def cached(self, rows: Iterable[EventRow]) -> list[ShownEvent]:
        """The events with the fields that are cached. Sends no request."""
        with self._lock:
            return [_complete(row, self._found.get(_key(row))) for row in rows]

    def can_complete(self, shown: Iterable[ShownEvent]) -> bool:
        """Whether the archive may have fields that are missing."""
        return self._events is not None and any(map(_is_incomplete, shown))

    def load(self, rows: Sequence[EventRow], caller: Caller) -> list[ShownEvent]:
        """The events with the fields of the archive.

        An event without an entry in the archive stays as it is, also if the archive cannot be
        reached.
        """
        missing = [shown.row for shown in self.cached(rows) if _is_incomplete(shown)]
        if self._events is not None:
            for start in range(0, len(missing), MAX_EVENT_IDS):
                part = missing[start : start + MAX_EVENT_IDS]
                try:
                    found = self._search(self._events, part, caller)
                except ApiError:
                    break
                with self._lock:
                    self._found.update(_matches(part, found))
                    self._version += 1
        return self.cached(rows)

    @staticmethod
    def _search(
        events: EventsApi, rows: Sequence[EventRow], caller: Caller
    ) -> Sequence[ArchivedEventSummary]:
        timestamps = [row.timestamp for row in rows]
        return events.of_identifiers(
            [row.event_id for row in rows],
            caller,
            since=min(timestamps) - _PRECISION,
            until=max(timestamps) + _PRECISION,
        )


def _matches(
    rows: Sequence[EventRow], found: Sequence[ArchivedEventSummary]
) -> dict[_Key, ArchivedEventSummary]:
    """The archived event of each row.

    A row has none if the archive has several events with its identifier and time: a sender can
    choose both, and must not choose what an alert shows.
    """
    matches: dict[_Key, ArchivedEventSummary] = {}
    for row in rows:
        same = [
            event
            for event in found
            if event.event_id == row.event_id and abs(event.timestamp - row.timestamp) < _PRECISION
        ]
        if len(same) == 1:
            matches[_key(row)] = same[0]
    return matches


def _complete(row: EventRow, event: ArchivedEventSummary | None) -> ShownEvent:
    if event is None or row.has_record:
        return ShownEvent(row)
    completed = structs.replace(
        row,
        event_type=event.event_type,
        user=event.user,
        host=event.host,
        address=event.address,
        resource=event.resource,
        result=event.action_result,
    )
    return ShownEvent(completed, in_archive=True)


def _is_incomplete(shown: ShownEvent) -> bool:
    return not shown.row.has_record and not shown.in_archive


def _key(row: EventRow) -> _Key:
    return row.event_id, row.timestamp
