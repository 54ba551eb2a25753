"""The archive completes the events of an alert."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, cast

from auditflow.contract.alert import EventRow
from auditflow.contract.event_search import MAX_EVENT_IDS, ArchivedEventSummary
from event_audit_dashboard.apis.client import Caller
from event_audit_dashboard.apis.events import EventsApi
from event_audit_dashboard.archived_rows import ArchivedRows
from event_audit_dashboard.errors import Unreachable

TIME = dt.datetime(2026, 1, 31, 8, 0, tzinfo=dt.UTC)
CALLER = Caller("alice", "req-1")


class Archive:
    """An archive with some events. It records the identifiers of each request."""

    def __init__(self, *events: ArchivedEventSummary) -> None:
        self.events = events
        self.requests: list[Sequence[str]] = []
        self.is_down = False

    def of_identifiers(
        self, event_ids: Sequence[str], caller: Caller, *, since: dt.datetime, until: dt.datetime
    ) -> tuple[ArchivedEventSummary, ...]:
        self.requests.append(event_ids)
        if self.is_down:
            raise Unreachable("the archive cannot be reached")
        return tuple(
            event
            for event in self.events
            if event.event_id in event_ids and since <= event.timestamp < until
        )


def rows_of(archive: Archive) -> ArchivedRows:
    return ArchivedRows(cast(EventsApi, archive))


def row(number: int, **fields: Any) -> EventRow:
    return EventRow(timestamp=TIME + dt.timedelta(minutes=number), event_id=f"e{number}", **fields)


def archived(number: int, **fields: Any) -> ArchivedEventSummary:
    values = {"user": "bob", "event_type": "user_login", "action_result": "FAILURE"} | fields
    time = TIME + dt.timedelta(minutes=number)
    return ArchivedEventSummary(
        event_id=f"e{number}", timestamp=time, received_at=time, source="linux", **values
    )


def test_events_get_the_fields_of_the_archive_and_are_then_cached() -> None:
    archive = Archive(archived(1), archived(2))
    rows = [row(0, user="carol", has_record=True), row(1), row(2), row(3)]
    completer = rows_of(archive)
    assert completer.can_complete(completer.cached(rows))
    shown = completer.load(rows, CALLER)
    assert [(event.row.user, event.row.result, event.in_archive) for event in shown] == [
        ("carol", None, False),
        ("bob", "FAILURE", True),
        ("bob", "FAILURE", True),
        (None, None, False),
    ]
    assert archive.requests == [["e1", "e2", "e3"]]
    assert completer.cached(rows) == shown
    completer.load(rows, CALLER)
    assert archive.requests[1:] == [["e3"]]


def test_an_identifier_with_several_events_is_not_completed() -> None:
    # An attacker sends a second event with the identifier and the time of the first.
    archive = Archive(archived(1), archived(1, user="mallory"))
    (shown,) = rows_of(archive).load([row(1)], CALLER)
    assert (shown.row.user, shown.in_archive) == (None, False)


def test_an_event_of_another_time_is_not_used() -> None:
    other = dt.timedelta(seconds=30)
    archive = Archive(ArchivedEventSummary(
        event_id="e1", timestamp=row(1).timestamp + other, received_at=TIME, source="linux"
    ))  # fmt: skip
    (shown, _) = rows_of(archive).load([row(1), row(2)], CALLER)
    assert not shown.in_archive


def test_events_stay_as_they_are_while_the_archive_is_down() -> None:
    archive = Archive(archived(1))
    archive.is_down = True
    completer = rows_of(archive)
    assert [event.in_archive for event in completer.load([row(1)], CALLER)] == [False]
    archive.is_down = False
    assert [event.in_archive for event in completer.load([row(1)], CALLER)] == [True]


def test_many_events_are_requested_in_parts() -> None:
    archive = Archive()
    rows_of(archive).load([row(number) for number in range(MAX_EVENT_IDS + 1)], CALLER)
    assert [len(part) for part in archive.requests] == [MAX_EVENT_IDS, 1]


def test_without_an_archive_no_request_is_sent() -> None:
    completer = ArchivedRows(None)
    assert not completer.can_complete(completer.cached([row(1)]))
    assert [event.row for event in completer.load([row(1)], CALLER)] == [row(1)]
