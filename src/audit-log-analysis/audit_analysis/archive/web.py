"""The HTTP interface of the archive process without the API of events: probes and metrics."""

from prometheus_client import CollectorRegistry
from quart import Quart, request

from auditflow.http import middleware, probes
from auditflow.http.health import Health
from auditflow.telemetry.metrics import HttpMetrics


def create(service: str, health: Health, registry: CollectorRegistry) -> Quart:
    """Create the application."""
    app = Quart(service, static_folder=None)
    middleware.instrument(app, HttpMetrics(registry), request=request)
    probes.add_routes(app, health, registry, service=service, request=request)
    return app
