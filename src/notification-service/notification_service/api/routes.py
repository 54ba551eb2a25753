"""The routing that is in force, where an alert goes, and who is on call."""

import datetime as dt
from collections.abc import Iterator
from functools import partial
from uuid import UUID

from quart import Blueprint, g, request
from quart_schema import document_request, document_response

from auditflow.contract.access import Role
from auditflow.contract.notification import (
    LabelsRequest,
    OnCallList,
    ReceiverView,
    ResolvedRoute,
    RouteView,
    Routing,
    RoutingView,
    ShiftView,
)
from auditflow.http.api import Answer, ok
from auditflow.http.openapi import document_problems
from notification_service.alert import Alert
from notification_service.api.alerts import not_found
from notification_service.api.callers import require
from notification_service.api.requests import body_of, identifier, in_thread
from notification_service.outbox import sql
from notification_service.outbox.service import Notifications
from notification_service.routing import durations, labels
from notification_service.routing.tree import OnCall, Receiver, Route, Webhook

#: Stands for an alert that does not exist, in groups of single alerts.
_NO_ALERT = UUID(int=0)


def add(routes: Blueprint, parts: Notifications) -> None:
    """Add the routes."""

    @routes.get("/routes")
    @document_response(RoutingView)
    @document_problems(401, 503)
    async def get_routes() -> Answer:
        """Show the routes and receivers that are in force. Secrets are never shown."""
        tree = parts.file.tree
        circuits = parts.circuits()
        return ok(
            RoutingView(
                error=parts.file.error(),
                calendar_errors=parts.calendars.errors(),
                routes=tuple(_views(tree.root, 0)) if tree.root else (),
                receivers=tuple(
                    ReceiverView(name, _kind(receiver), circuits.get(name, False))  # type: ignore[arg-type]
                    for name, receiver in tree.receivers.items()
                ),
            )
        )

    @routes.post("/routes/resolve")
    @document_request(LabelsRequest)
    @document_response(Routing)
    @document_problems(400, 401, 403, 503)
    async def resolve_labels() -> Answer:
        """Show where an alert with these labels would go."""
        require(g.caller, Role.VIEWER, "alerts:read")
        body = await body_of(request, LabelsRequest)
        return ok(_routing(parts, body.labels, _NO_ALERT, None))

    @routes.get("/alerts/<alert_id>/route")
    @document_response(Routing)
    @document_problems(401, 404, 503)
    async def get_alert_route(alert_id: str) -> Answer:
        """Show where an alert goes, and what hides it from notification."""
        parsed = identifier(alert_id)
        found = await in_thread(partial(_read, parts, parsed)) if parsed else None
        if found is None:
            return not_found()
        alert, hidden_by = found
        return ok(_routing(parts, labels.of_alert(alert), alert.alert_id, hidden_by))

    @routes.get("/on-call")
    @document_response(OnCallList)
    @document_problems(401, 503)
    async def get_on_call() -> Answer:
        """Show who is on call now."""
        now = dt.datetime.now(dt.UTC)
        return ok(OnCallList(await in_thread(lambda: tuple(_shifts(parts, now)))))


def _read(parts: Notifications, alert_id: UUID) -> tuple[Alert, str | None] | None:
    with parts.pool.connection() as connection, connection.cursor() as cursor:
        alert = sql.read_alerts(cursor, [alert_id]).get(alert_id)
        if alert is None:
            return None
        hidden = parts.hiding.check(cursor, [alert], now=dt.datetime.now(dt.UTC))
    return alert, hidden[alert_id].by if alert_id in hidden else None


def _routing(
    parts: Notifications, known: dict[str, str], alert_id: UUID, hidden_by: str | None
) -> Routing:
    tree = parts.file.tree
    return Routing(
        labels=known,
        routes=tuple(
            ResolvedRoute(
                receiver=route.receiver,
                on_call=_on_call(parts, tree.receivers[route.receiver]),
                matchers=tuple(map(str, route.matchers)),
                group=route.group_labels(known, alert_id),
            )
            for route in tree.resolve(known)
        ),
        hidden_by=hidden_by,
    )


def _on_call(parts: Notifications, receiver: Receiver) -> str | None:
    target = receiver.target
    if not isinstance(target, OnCall):
        return None
    now = dt.datetime.now(dt.UTC)
    return parts.calendars.receiver(parts.file.tree, target.schedule, now) or target.fallback


def _shifts(parts: Notifications, now: dt.datetime) -> Iterator[ShiftView]:
    for name, schedule in parts.file.tree.schedules.items():
        shift = parts.calendars.shift(schedule, now)
        if shift is None:
            yield ShiftView(name, None, None, None, None)
        else:
            yield ShiftView(name, shift.person, shift.receiver, shift.begins_at, shift.ends_at)


def _views(route: Route, depth: int) -> Iterator[RouteView]:
    yield RouteView(
        receiver=route.receiver,
        matchers=tuple(map(str, route.matchers)),
        group_by=route.group_by,
        group_wait=durations.write(route.group_wait),
        group_interval=durations.write(route.group_interval),
        repeat_interval=durations.write(route.repeat_interval),
        remind_after=durations.write(route.remind_after) if route.remind_after else None,
        escalate=tuple(
            f"{durations.write(step.after)}: {step.receiver}" for step in route.escalate
        ),
        depth=depth,
    )
    for child in route.routes:
        yield from _views(child, depth + 1)


def _kind(receiver: Receiver) -> str:
    if isinstance(receiver.target, OnCall):
        return "on_call"
    return "webhook" if isinstance(receiver.target, Webhook) else "apprise"
