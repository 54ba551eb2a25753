"""Entry point: reads settings and serves the application."""

import logging

import httpx

from auditflow.http import serving
from auditflow.http.health import Health
from auditflow.telemetry.metrics import create_registry
from event_audit_dashboard import app
from event_audit_dashboard.api import NotificationService
from event_audit_dashboard.metrics import Metrics
from event_audit_dashboard.settings import DashboardSettings


def main() -> None:
    """The console script."""
    serving.start(app.SERVICE, DashboardSettings, run)


def run(settings: DashboardSettings) -> None:
    """Serve until the process gets SIGTERM or SIGINT."""
    # httpx logs every request at INFO. Our own logs report each failure once.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    registry = create_registry(app.SERVICE, settings)
    metrics = Metrics(registry)
    api = NotificationService(
        str(base_url(settings)),
        token=settings.api_token.get_secret_value(),
        metrics=metrics,
    )
    health = Health({"notification-service": api.check})
    dashboard = app.create(settings, api=api, health=health, registry=registry, metrics=metrics)
    try:
        serving.serve(dashboard, settings, mode="wsgi", on_stop=health.stop)
    finally:
        api.close()


def base_url(settings: DashboardSettings) -> httpx.URL:
    """Base URL of the notification service. An IPv6 address gets brackets."""
    return httpx.URL(
        scheme="http",
        host=settings.notification_service_host,
        port=settings.notification_service_port,
    )
