"""The routes of archived events."""

import datetime as dt
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any

from quart import Blueprint, Response, g, request
from quart_schema import document_querystring, document_response

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.events_api import encoding, export, parameters, running, trail
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.callers import require
from audit_analysis.events_api.database import Cancellation
from audit_analysis.events_api.openapi import (
    EventParameters,
    ExportFile,
    ExportParameters,
    FacetParameters,
    HistogramParameters,
    PageParameters,
)
from auditflow.contract.access import Role
from auditflow.contract.event_search import (
    ArchivedEventDetail,
    ArchivedEventList,
    EventFacet,
    EventFacets,
    EventFacetValue,
    EventHistogram,
)
from auditflow.http.api import Answer, ok, problem
from auditflow.http.openapi import document_problems

#: Maximum time of an export (seconds).
EXPORT_SECONDS = 600.0
_SUFFIX = {parameters.ExportFormat.NDJSON: "ndjson", parameters.ExportFormat.PARQUET: "parquet"}


def add(routes: Blueprint, searches: ArchiveSearch, now: Callable[[], dt.datetime]) -> None:
    """Add the routes."""
    _add_list(routes, searches, now)
    _add_counts(routes, searches, now)
    _add_export(routes, searches, now)
    _add_event(routes, searches)


def _add_list(routes: Blueprint, searches: ArchiveSearch, now: Callable[[], dt.datetime]) -> None:
    @routes.get("/events")
    @document_querystring(PageParameters)
    @document_response(ArchivedEventList)
    @document_problems(400, 401, 403, 503)
    async def list_events() -> Answer:
        """Search archived events.

        Without `since` and `until`, the events of the last day. Follow `next_cursor` for the next
        page.
        """
        criteria = parameters.parse_page(_arguments(), now=now())
        trail.add_range(criteria.filter.since_ms, criteria.filter.until_ms)
        page = await running.run(partial(searches.page, criteria))
        trail.add_facts(results=len(page.events))
        events = tuple(map(encoding.summary, page.events))
        cursor = None if page.next is None else parameters.write_cursor(page.next)
        return ok(ArchivedEventList(events, cursor))


def _add_counts(routes: Blueprint, searches: ArchiveSearch, now: Callable[[], dt.datetime]) -> None:
    @routes.get("/events/histogram")
    @document_querystring(HistogramParameters)
    @document_response(EventHistogram)
    @document_problems(400, 401, 403, 503)
    async def get_histogram() -> Answer:
        """Count archived events over time."""
        criteria = parameters.parse_histogram(_arguments(), now=now())
        trail.add_range(criteria.filter.since_ms, criteria.filter.until_ms)
        counts = await running.run(
            lambda cancellation: searches.histogram(
                criteria.filter, interval_ms=criteria.interval_ms, cancellation=cancellation
            )
        )
        trail.add_facts(results=sum(counts.values()))
        return ok(encoding.histogram(criteria, counts))

    @routes.get("/events/facets")
    @document_querystring(FacetParameters)
    @document_response(EventFacets)
    @document_problems(400, 401, 403, 503)
    async def get_facets() -> Answer:
        """Count the most frequent values of fields."""
        criteria = parameters.parse_facets(_arguments(), now=now())
        trail.add_range(criteria.filter.since_ms, criteria.filter.until_ms)

        def count(cancellation: Cancellation) -> tuple[EventFacet, ...]:
            return tuple(
                EventFacet(
                    field,
                    tuple(
                        EventFacetValue(value, number)
                        for value, number in searches.facet(
                            criteria.filter, field, limit=criteria.limit, cancellation=cancellation
                        )
                    ),
                )
                for field in criteria.fields
            )

        return ok(EventFacets(await running.run(count)))


def _add_export(routes: Blueprint, searches: ArchiveSearch, now: Callable[[], dt.datetime]) -> None:
    @routes.get("/events/export")
    @document_querystring(ExportParameters)
    @document_response(ExportFile)
    @document_problems(400, 401, 403, 503)
    async def export_events() -> Any:
        """Export all events of a filter with their records, ordered by time.

        As NDJSON or Parquet, from one snapshot. Requires the role analyst.
        """
        require(g.caller, Role.ANALYST, "alerts:read")
        criteria, form = parameters.parse_export(_arguments(), now=now())
        trail.add_range(criteria.since_ms, criteria.until_ms)
        recorder: trail.Recorder = g.recorder
        entry, headers = await recorder.record_now(), trail.trail_headers()
        cancellation = Cancellation()
        counted = _Counted(
            searches.export(criteria, seconds=EXPORT_SECONDS, cancellation=cancellation)
        )
        parts = export.encode(counted.parts(), form)
        # Errors become the status of the answer until the first byte is sent.
        first = await running.run(lambda _: next(parts, b""))

        async def recorded() -> AsyncIterator[bytes]:
            try:
                async for part in running.stream(first, parts, cancellation):
                    yield part
            finally:
                facts = {"results": counted.number, "complete": counted.is_complete}
                await recorder.record_end(headers, entry, facts)

        response = Response(
            recorded(),
            content_type=export.CONTENT_TYPES[form],
            headers={
                "Cache-Control": "no-store",
                "Content-Disposition": f'attachment; filename="events.{_SUFFIX[form]}"',
            },
        )
        response.timeout = None
        return response


def _add_event(routes: Blueprint, searches: ArchiveSearch) -> None:
    @routes.get("/events/by-id")
    @document_querystring(EventParameters)
    @document_response(ArchivedEventDetail)
    @document_problems(400, 401, 403, 404, 503)
    async def get_event_by_id() -> Answer:
        """Show one archived event with its record, by the query parameter `event_id`.

        For identifiers that cannot be part of a path, because they contain a slash.
        """
        given = request.args.getlist("event_id")
        if len(given) != 1:
            return problem(400, "Give the parameter event_id once.")
        return await show(given[0])

    @routes.get("/events/<event_id>")
    @document_response(ArchivedEventDetail)
    @document_problems(401, 403, 404, 503)
    async def get_event(event_id: str) -> Answer:
        """Show one archived event with its record."""
        return await show(event_id)

    async def show(event_id: str) -> Answer:
        found = None
        if 1 <= len(event_id) <= 256 and "\0" not in event_id:
            found = await running.run(partial(searches.event, event_id))
        if found is None:
            return problem(404, "The archive has no event with this identifier.")
        return ok(encoding.detail(found))


class _Counted:
    """Counts the events of an export."""

    def __init__(self, events: Iterator[list[ArchivedEvent]]) -> None:
        self._events = events
        self.number = 0
        self.is_complete = False

    def parts(self) -> Iterator[list[ArchivedEvent]]:
        """The events. To close it ends the search."""
        try:
            for part in self._events:
                self.number += len(part)
                yield part
            self.is_complete = True
        finally:
            if isinstance(self._events, Generator):
                self._events.close()


def _arguments() -> Iterable[tuple[str, str]]:
    return request.args.items(multi=True)
