"""The application: the ingest routes, and the operational routes of every service."""

from prometheus_client import CollectorRegistry
from quart import Quart, request

from audit_event_generator.event_publisher import EventPublisher
from audit_event_generator.metrics import Metrics
from audit_event_generator.token_registry import TokenRegistry
from audit_event_generator.web import outcome, problems
from audit_event_generator.web.ingest_app import IngestApp
from auditflow.http import middleware, probes
from auditflow.http.health import Health

SERVICE = "audit-event-generator"


def create(
    *,
    event_publisher: EventPublisher,
    metrics: Metrics,
    health: Health,
    registry: CollectorRegistry,
    tokens: TokenRegistry,
    github_secret: str | None = None,
) -> Quart:
    """Create the application. All parts are passed in, so that tests can replace them."""
    app = Quart(SERVICE, static_folder=None)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.asgi_app = IngestApp(  # type: ignore[method-assign]
        app.asgi_app,
        event_publisher=event_publisher,
        metrics=metrics,
        tokens=tokens,
        github_secret=github_secret,
    )
    middleware.instrument(app, metrics.http, request=request, listener=outcome.listener(metrics))
    probes.add_routes(app, health, registry, service=SERVICE, request=request)
    problems.add_handlers(app)
    return app
