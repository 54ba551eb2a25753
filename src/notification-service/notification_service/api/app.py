"""The application: routes, authentication, errors, request metrics."""

from typing import Any

from msgspec import Struct
from prometheus_client import CollectorRegistry
from quart import Blueprint, Quart, g, request
from quart_schema import hide

from auditflow.contract.access import Role
from auditflow.http import middleware, openapi, probes
from auditflow.http.api import MAX_BODY_BYTES, PREFIX, add_security_headers
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from notification_service.api import (
    access,
    alerts,
    audit_logs,
    audit_trail,
    direct_reads,
    docs,
    errors,
    feeds,
    insights,
    notifications,
    pipeline,
    routes,
    saved_views,
    second_factors,
    silences,
    statistics,
    trail_recording,
    triage,
)
from notification_service.api.callers import REQUESTS_PER_MINUTE, Callers, require
from notification_service.api.direct_reads import DirectReads
from notification_service.api.openapi import DOCUMENTATION
from notification_service.audit.reading import AuditLogReader
from notification_service.audit.trail import Trail
from notification_service.cursor import Cursors
from notification_service.database.access_store import AccessStore
from notification_service.database.alert_reader import AlertReader
from notification_service.database.change_feed import ChangeFeed
from notification_service.database.pool import Pool
from notification_service.database.second_factor_store import SecondFactorStore
from notification_service.database.trail_store import TrailStore
from notification_service.database.triage_store import TriageStore
from notification_service.database.view_store import ViewStore
from notification_service.dead_letters import DeadLetters
from notification_service.metrics import Metrics
from notification_service.outbox.reading import NotificationReader
from notification_service.outbox.service import Notifications
from notification_service.silences.store import SilenceStore

SERVICE = "notification-service"


class Stores(Struct, frozen=True):
    """The parts of the database that the API uses."""

    alerts: AlertReader
    triage: TriageStore
    access: AccessStore
    feed: ChangeFeed
    #: Connections for exports, which use one for a long time.
    exports: Pool
    #: Notifications. Without them there are no routes for them.
    notifications: Notifications | None = None
    #: The audit logs. None if the service has no key to sign them with.
    audit_logs: AuditLogReader | None = None
    #: Where requests are recorded. Without it there is no audit trail.
    trail: Trail | None = None
    #: Queues and dead letters. None if the service has no account to read them.
    dead_letters: DeadLetters | None = None


def create(
    stores: Stores,
    health: Health,
    registry: CollectorRegistry,
    metrics: Metrics,
    *,
    tokens: Tokens,
    per_minute: int = REQUESTS_PER_MINUTE,
) -> Quart:
    """Create the Quart application.

    ``tokens`` are the service tokens of the API's clients. ``per_minute`` is the number of requests
    that a person or an API token may send in a minute.
    """
    app = Quart("notification_service", static_folder=None)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    callers = Callers(tokens, stores.access, per_minute=per_minute)
    cursors = Cursors(*tokens.values)
    app.asgi_app = DirectReads(  # type: ignore[method-assign]
        app.asgi_app,
        prefix=PREFIX,
        callers=callers,
        reader=stores.alerts,
        cursors=cursors,
        trail=stores.trail,
    )
    middleware.instrument(app, metrics.http, request=request)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    openapi.add(app, DOCUMENTATION)
    errors.add(app)
    probes.add_routes(app, health, registry, service=SERVICE, request=request)
    for name in ("healthz", "readyz", "metrics"):
        hide(app.view_functions[f"operations.{name}"])
    previous = _blueprint("previous", callers)
    alerts.add(previous, stores.alerts, cursors, with_counts=True)
    current = _blueprint("v1", callers)
    alerts.add(current, stores.alerts, cursors, with_counts=False)
    alerts.add_history(current, stores.alerts)
    insights.add(current, stores.alerts.pool, cursors)
    statistics.add(current, stores.alerts.pool)
    feeds.add(current, stores.alerts.pool, stores.exports, stores.feed)
    triage.add(current, stores.triage, stores.alerts)
    access.add(current, stores.access, callers)
    audit_logs.add(current, stores.audit_logs)
    saved_views.add(current, ViewStore(stores.access.pool))
    second_factors.add(current, SecondFactorStore(stores.access.pool))
    pipeline.add(current, stores.dead_letters)
    if stores.trail is not None:
        audit_trail.add(current, TrailStore(stores.alerts.pool), stores.trail)
        for recorded in (previous, current):
            trail_recording.add(recorded, stores.trail)
    if stores.notifications is not None:
        pool = stores.notifications.pool
        notifications.add(current, NotificationReader(pool), stores.notifications.file)
        silences.add(current, SilenceStore(pool), pool)
        routes.add(current, stores.notifications)
    app.register_blueprint(previous)
    app.register_blueprint(current, url_prefix=PREFIX)
    docs.add(app)
    add_security_headers(app)
    return app


def _blueprint(name: str, callers: Callers) -> Blueprint:
    """Routes for authenticated callers. The caller of a request is ``g.caller``."""
    routes = Blueprint(name, __name__)

    @routes.before_request
    async def authenticate() -> None:
        scope: Any = request.scope
        if direct_reads.CALLER in scope:
            g.caller = scope[direct_reads.CALLER]
        if direct_reads.FAILURE in scope:
            raise scope[direct_reads.FAILURE]
        if "caller" not in g:
            g.caller = await callers.authenticate(request)
        if request.method == "GET" and not _checks_itself(str(request.endpoint)):
            require(g.caller, Role.VIEWER, "alerts:read")

    return routes


def _checks_itself(endpoint: str) -> bool:
    """Whether a route that reads requires something other than the right to read alerts."""
    name = endpoint.rpartition(".")[2]
    return name == "get_me" or "_audit_" in name
