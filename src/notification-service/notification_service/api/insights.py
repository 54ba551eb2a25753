"""Numbers over many alerts, the risk of entities, and the events of an alert."""

from functools import partial
from http import HTTPStatus
from uuid import UUID

from quart import Blueprint, request
from quart_schema import document_querystring, document_response

from auditflow.contract.alert import EventPage, Facets, Risk, Total
from auditflow.contract.event import Event
from auditflow.http.api import Answer, ok, problem
from auditflow.http.openapi import document_problems
from notification_service import query
from notification_service.api.alerts import not_found
from notification_service.api.parameters import (
    EventParameters,
    EventsParameters,
    FilterParameters,
    RiskParameters,
)
from notification_service.api.requests import identifier, in_thread
from notification_service.cursor import Cursors
from notification_service.database import alert_events, facets, risk
from notification_service.database.alert_events import EventPosition
from notification_service.database.pool import Pool


def add(routes: Blueprint, pool: Pool, cursors: Cursors) -> None:
    """Add the routes."""
    _add_numbers(routes, pool)
    _add_events(routes, pool, cursors)


def _add_numbers(routes: Blueprint, pool: Pool) -> None:
    @routes.get("/alerts/total")
    @document_querystring(FilterParameters)
    @document_response(Total)
    @document_problems(400, 401, 503)
    async def get_total() -> Answer:
        """Count the alerts that match a filter."""
        criteria = query.parse_filter(request.args.items(multi=True))
        return ok(await in_thread(partial(facets.read_total, pool, criteria)))

    @routes.get("/alerts/facets")
    @document_querystring(FilterParameters)
    @document_response(Facets)
    @document_problems(400, 401, 503)
    async def get_facets() -> Answer:
        """Count the alerts that match a filter, by field.

        A facet lists the 50 values with the most alerts. All numbers are exact, except those of the
        facets `actor`, `host` and `ip` of a filter with more than 10,000 alerts: they are estimates
        from a random sample of alerts (`sampled`), without values that few alerts have.
        """
        criteria = query.parse_filter(request.args.items(multi=True))
        return ok(await in_thread(partial(facets.read_facets, pool, criteria)))

    @routes.get("/risk")
    @document_querystring(RiskParameters)
    @document_response(Risk)
    @document_problems(400, 401, 503)
    async def get_risk() -> Answer:
        """Show the risk of an entity and the alerts that it consists of.

        The risk is the sum of the points of the alerts of the last 7 days whose main entity this
        is: informational 1, low 3, medium 10, high 30, critical 100. Alerts with the verdict false
        positive do not count.
        """
        kind, value = query.parse_entity(request.args.items(multi=True))
        return ok(await in_thread(partial(risk.read_risk, pool, kind, value)))


def event_page(
    pool: Pool, cursors: Cursors, alert_id: UUID, after: EventPosition | None = None
) -> EventPage:
    """A page of an alert's events, the latest first."""
    rows = alert_events.read_events(pool, alert_id, after)
    following = None
    if len(rows) == alert_events.PAGE:
        following = cursors.sign(EventPosition(rows[-1].timestamp, rows[-1].event_id))
    return EventPage(tuple(rows), following)


def _add_events(routes: Blueprint, pool: Pool, cursors: Cursors) -> None:
    @routes.get("/alerts/<alert_id>/events")
    @document_querystring(EventsParameters)
    @document_response(EventPage)
    @document_problems(400, 401, 404, 503)
    async def list_events(alert_id: str) -> Answer:
        """List the events of an alert.

        The latest first, 100 on a page. The fields of an event are null if its findings contain
        only its identifier.
        """
        after = query.parse_event_cursor(request.args.items(multi=True), cursors, EventPosition)
        parsed = identifier(alert_id)
        if parsed is None:
            return not_found()
        return ok(await in_thread(partial(event_page, pool, cursors, parsed, after)))

    @routes.get("/alerts/<alert_id>/event")
    @document_querystring(EventParameters)
    @document_response(Event)
    @document_problems(400, 401, 404, 503)
    async def get_event(alert_id: str) -> Answer:
        """Show a complete event of an alert, as it was sent."""
        event_id = query.parse_event_id(request.args.items(multi=True))
        parsed = identifier(alert_id)
        if parsed is None:
            return not_found()
        record = await in_thread(partial(alert_events.read_record, pool, parsed, event_id))
        if record is None:
            return problem(
                HTTPStatus.NOT_FOUND, "The alert has no complete event with this identifier."
            )
        return ok(record.encode())
