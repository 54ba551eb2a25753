"""The application: routes, errors, measurements."""

import time

from opentelemetry import trace
from prometheus_client import CollectorRegistry
from quart import Quart, Response, g, request
from quart_schema import hide

from auditflow.http import probes
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from auditflow.telemetry import logs
from auditflow.telemetry.metrics import OPERATIONAL_ROUTES
from notification_service.api import alerts, docs, faults, openapi
from notification_service.api.traced import Traced
from notification_service.cursor import Cursors
from notification_service.database.reading import AlertReader
from notification_service.metrics import Metrics

SERVICE = "notification-service"

log = logs.get(__name__)


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
    openapi.add(app)
    faults.add(app)
    probes.add_routes(app, health, registry, service=SERVICE, request=request)
    for name in ("healthz", "readyz", "metrics"):
        hide(app.view_functions[f"operations.{name}"])
    app.register_blueprint(alerts.blueprint(reader, Cursors(*tokens.values), tokens=tokens))
    docs.add(app)
    _measure(app, metrics)
    app.asgi_app = Traced(app.asgi_app)  # type: ignore[method-assign]
    return app


def _measure(app: Quart, metrics: Metrics) -> None:
    @app.before_request
    async def begin() -> None:
        g.started = time.perf_counter()

    @app.after_request
    async def end(response: Response) -> Response:
        # The pattern of the route, never the path: the paths are without number.
        route = request.url_rule.rule if request.url_rule else None
        seconds = time.perf_counter() - g.get("started", time.perf_counter())
        metrics.http.observe(route, response.status_code, seconds)
        trace.get_current_span().set_attribute("http.response.status_code", response.status_code)
        if route not in OPERATIONAL_ROUTES:
            log.debug("request", method=request.method, route=route, status=response.status_code,
                      seconds=round(seconds, 4))  # fmt: skip
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        return response
