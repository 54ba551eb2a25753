"""The Quart application: routes, errors, instrumentation."""

from prometheus_client import CollectorRegistry
from quart import Quart, Response, request
from quart_schema import hide

from auditflow.http import middleware, probes
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from notification_service.api import alerts, docs, faults, openapi
from notification_service.cursor import Cursors
from notification_service.database.reading import AlertReader
from notification_service.metrics import Metrics

SERVICE = "notification-service"


def create(
    reader: AlertReader,
    health: Health,
    registry: CollectorRegistry,
    metrics: Metrics,
    *,
    tokens: Tokens,
) -> Quart:
    """The Quart application. ``tokens`` are what clients of ``/alerts`` show."""
    app = Quart("notification_service", static_folder=None)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    middleware.instrument(app, metrics.http, request=request)
    openapi.add(app)
    faults.add(app)
    probes.add_routes(app, health, registry, service=SERVICE, request=request)
    for name in ("healthz", "readyz", "metrics"):
        hide(app.view_functions[f"operations.{name}"])
    app.register_blueprint(alerts.blueprint(reader, Cursors(*tokens.values), tokens=tokens))
    docs.add(app)
    _add_security_headers(app)
    return app


def _add_security_headers(app: Quart) -> None:
    @app.after_request
    async def add_headers(response: Response) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        return response
