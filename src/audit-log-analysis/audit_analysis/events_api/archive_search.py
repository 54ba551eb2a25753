"""Searches a snapshot of the archive: pages, one event, histogram, facets and exports."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from audit_analysis.archive.table import COLUMNS, STORED_COLUMNS, ArchivedEvent, rows_of
from audit_analysis.events_api import sql
from audit_analysis.events_api.database import PENDING, Cancellation, SearchDatabase
from audit_analysis.events_api.query import (
    Condition,
    EventFilter,
    EventQuery,
    Order,
    Position,
)

#: The first number of files that a page of a search with conditions reads. Without conditions, it
#: reads one file. Each further step reads twice as many.
_FIRST_FILES: Final = 8
#: Number of rows of a part of an export.
_EXPORT_ROWS: Final = 500
_LISTED: Final = tuple(name for name in COLUMNS if name != "record")
#: The fields whose values can be counted.
FACETS: Final = (
    "source", "event_type", "severity", "action_result", "source_service", "host", "user",
    "address", "resource", "product", "service", "category",
)  # fmt: skip


class SearchedFile(Struct, frozen=True):
    """A file and the range of its times, both ends included (ms)."""

    address: str
    min_occurred_ms: int
    max_occurred_ms: int


class Snapshot(Struct, frozen=True):
    """The files that may contain events of a time range, and events that are in no file yet."""

    files: Sequence[SearchedFile]
    pending: Sequence[ArchivedEvent] = ()


class Archive(Protocol):
    """Gives readers a snapshot of the archive."""

    def snapshot(
        self, *, since_ms: int | None, until_ms: int | None, sources: Sequence[str] | None
    ) -> Snapshot:
        """The files and events of a time range; ``until_ms`` is not included.

        Raises:
            auditflow.errors.Unavailable: the manifest cannot be read.
        """
        ...

    def snapshot_of_event(self, event_id: str) -> Snapshot:
        """The files and events that may have an identifier. Raises as ``snapshot``."""
        ...


class Page(Struct, frozen=True):
    """Events in order, and the position of the next page."""

    events: list[ArchivedEvent]
    next: Position | None


class ArchiveSearch:
    """Searches the archive. Methods raise the errors of ``Search`` and of ``Archive``.

    The archive may contain an event more than once until its files are compacted. Each result
    counts and lists it once. Events with the same identifier and different fields are both listed,
    because nobody may hide an event by sending another one with its identifier.
    """

    def __init__(self, archive: Archive, database: SearchDatabase) -> None:
        self._archive = archive
        self._database = database

    def page(self, criteria: EventQuery, cancellation: Cancellation | None = None) -> Page:
        """One page of events, without their records."""
        snapshot = self._snapshot(criteria.filter)
        condition, parameters = sql.where(criteria.filter)
        if criteria.after is not None:
            beyond, more = sql.after(criteria.after)
            condition, parameters = f"{condition} AND {beyond}", parameters | more
        newest_first = criteria.order is Order.NEWEST
        files = sorted(
            (file for file in snapshot.files if _may_follow(file, criteria.after)),
            key=(lambda file: -file.max_occurred_ms)
            if newest_first
            else (lambda file: file.min_occurred_ms),
        )
        events: dict[ArchivedEvent, ArchivedEvent] = {}
        columns = ", ".join(f'"{name}"' for name in _LISTED)
        with self._database.search(snapshot.pending, cancellation=cancellation) as search:
            start, number = 0, _FIRST_FILES if _has_conditions(criteria.filter) else 1
            while True:
                part = files[start : start + number]
                statement = (
                    f"SELECT DISTINCT {columns} FROM {_table(part, with_pending=start == 0)}"
                    f" WHERE {condition}"
                    f" ORDER BY {sql.order(criteria.order)} LIMIT {2 * criteria.limit + 2}"
                )
                for row in search.rows(statement, _with_files(parameters, part)):
                    event = _event(row)
                    events.setdefault(_identity(event), event)
                start, number = start + number, number * 2
                found = sorted(events.values(), key=_key, reverse=newest_first)
                if start >= len(files) or _is_complete(found, files[start], criteria):
                    break
                events = {_identity(event): event for event in found[: criteria.limit + 1]}
        page = found[: criteria.limit]
        more_follow = len(found) > criteria.limit
        position = (
            Position(criteria.order, page[-1].occurred_ms, page[-1].event_id)
            if more_follow
            else None
        )
        return Page(page, position)

    def event(
        self, event_id: str, cancellation: Cancellation | None = None
    ) -> ArchivedEvent | None:
        """The complete event with an id. If there are several, the first that was accepted."""
        snapshot = self._archive.snapshot_of_event(event_id)
        columns = ", ".join(f'"{name}"' for name in COLUMNS)
        known = {file.address: file for file in snapshot.files}

        def read(addresses: Sequence[str]) -> tuple[str, sql.Parameters]:
            files = [known[address] for address in addresses]
            return (
                f"SELECT {columns} FROM {_table(files)} WHERE event_id = $event_id"
                " ORDER BY refused, received_ms LIMIT 1",
                _with_files({"event_id": event_id}, files),
            )

        with self._database.search(snapshot.pending, cancellation=cancellation) as search:
            # A damaged file must not hide the events of other files.
            rows = search.rows_of_readable(list(known), read)
        events = sorted(
            (ArchivedEvent(*row) for row in rows),
            key=lambda event: (event.refused, event.received_ms),
        )
        return events[0] if events else None

    def histogram(
        self, criteria: EventFilter, *, interval_ms: int, cancellation: Cancellation | None = None
    ) -> dict[int, int]:
        """The number of events by the beginning of their period (ms since 1970)."""
        snapshot = self._snapshot(criteria)
        condition, parameters = sql.where(criteria)
        with self._database.search(snapshot.pending, cancellation=cancellation) as search:
            rows = search.rows(
                "SELECT occurred_ms // $interval_ms * $interval_ms AS start,"
                f" count(DISTINCT event_id) FROM {_table(snapshot.files)}"
                f" WHERE {condition} GROUP BY start",
                _with_files(parameters | {"interval_ms": interval_ms}, snapshot.files),
            )
        return dict(rows)

    def facet(
        self,
        criteria: EventFilter,
        field: str,
        *,
        limit: int,
        cancellation: Cancellation | None = None,
    ) -> list[tuple[str | None, int]]:
        """The most frequent values of a field of ``FACETS``, with their numbers of events."""
        if field not in FACETS:
            raise ValueError(f"{field} is no facet")
        snapshot = self._snapshot(criteria)
        condition, parameters = sql.where(criteria)
        with self._database.search(snapshot.pending, cancellation=cancellation) as search:
            rows = search.rows(
                f'SELECT "{field}" AS value, count(DISTINCT event_id) AS number'
                f" FROM {_table(snapshot.files)} WHERE {condition}"
                " GROUP BY value ORDER BY number DESC, value LIMIT $limit",
                _with_files(parameters | {"limit": limit}, snapshot.files),
            )
        return [(value, number) for value, number in rows]

    def export(
        self, criteria: EventFilter, *, seconds: float, cancellation: Cancellation | None = None
    ) -> Iterator[list[ArchivedEvent]]:
        """All complete events of a filter, ordered by time, in parts."""
        snapshot = self._snapshot(criteria)
        condition, parameters = sql.where(criteria)
        columns = ", ".join(f'"{name}"' for name in STORED_COLUMNS)
        table = f"SELECT {columns} FROM {PENDING}"
        if snapshot.files:
            table += f" UNION ALL SELECT {columns} FROM {rows_of('$files')}"
        last: ArchivedEvent | None = None
        with self._database.search(
            snapshot.pending, cancellation=cancellation, seconds=seconds
        ) as search:
            for part in search.stream(
                f"SELECT {columns} FROM ({table}) WHERE {condition}"
                f" ORDER BY {sql.order(Order.OLDEST)}",
                _with_files(parameters, snapshot.files),
                size=_EXPORT_ROWS,
            ):
                events = []
                for event in map(ArchivedEvent._make, part):
                    if _identity(event) != last:
                        events.append(event)
                    last = _identity(event)
                yield events

    def _snapshot(self, criteria: EventFilter) -> Snapshot:
        return self._archive.snapshot(
            since_ms=criteria.since_ms,
            until_ms=criteria.until_ms,
            sources=_sources(criteria.conditions),
        )


def _table(files: Sequence[SearchedFile], *, with_pending: bool = True) -> str:
    """The table of a snapshot. Without files, ``read_parquet`` would be an error."""
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    parts = [f"SELECT {columns} FROM {PENDING}"] if with_pending or not files else []
    if files:
        parts.append(f"SELECT {columns} FROM read_parquet($files)")
    return f"({' UNION ALL '.join(parts)})"


def _with_files(parameters: sql.Parameters, files: Sequence[SearchedFile]) -> sql.Parameters:
    return parameters | {"files": [file.address for file in files]} if files else parameters


def _sources(conditions: Sequence[Condition]) -> list[str] | None:
    """The only sources that can fulfil the conditions; None if any source can."""
    values = {
        condition.value
        for condition in conditions
        if condition.field == "source" and condition.modifier == "equals" and not condition.negated
    }
    return sorted(values) if values else None


def _event(row: tuple[Any, ...]) -> ArchivedEvent:
    return ArchivedEvent(**dict(zip(_LISTED, row, strict=True)), record=b"")


def _identity(event: ArchivedEvent) -> ArchivedEvent:
    """The fields that are equal for two deliveries of the same event."""
    return event._replace(
        received_ms=0, late=False, staged=False, correlation_id=None, processed_us=None,
        position=None,
    )  # fmt: skip


def _key(event: ArchivedEvent) -> tuple[int, str]:
    return event.occurred_ms, event.event_id


def _has_conditions(criteria: EventFilter) -> bool:
    """Whether the filter can exclude events of its time range."""
    everything = EventFilter(since_ms=criteria.since_ms, until_ms=criteria.until_ms)
    return criteria != everything


def _may_follow(file: SearchedFile, after: Position | None) -> bool:
    """Whether a file may have events after a position."""
    if after is None:
        return True
    if after.order is Order.NEWEST:
        return file.min_occurred_ms <= after.occurred_ms
    return file.max_occurred_ms >= after.occurred_ms


def _is_complete(
    found: Sequence[ArchivedEvent], following: SearchedFile, criteria: EventQuery
) -> bool:
    """Whether no event of the following files can be on the page."""
    if len(found) <= criteria.limit:
        return False
    last = found[criteria.limit].occurred_ms
    if criteria.order is Order.NEWEST:
        return following.max_occurred_ms < last
    return following.min_occurred_ms > last
