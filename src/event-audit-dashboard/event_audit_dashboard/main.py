"""Entry point: reads settings and serves the application."""

import logging

from auditflow import tls
from auditflow.http import serving
from auditflow.http.health import Health
from auditflow.http.probes import Probes
from auditflow.telemetry.metrics import create_registry
from event_audit_dashboard import app, redis_client
from event_audit_dashboard.access.audit_reports import AuditReports
from event_audit_dashboard.apis.client import ApiClient
from event_audit_dashboard.apis.events import EVENTS
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.apis.rules import ANALYSIS
from event_audit_dashboard.apis.transport import Transport
from event_audit_dashboard.metrics import Metrics
from event_audit_dashboard.rendering import templating
from event_audit_dashboard.settings import DashboardSettings


def main() -> None:
    """The console script."""
    serving.start(app.SERVICE, DashboardSettings, run)


def run(settings: DashboardSettings) -> None:
    """Serve until the process gets SIGTERM or SIGINT."""
    # urllib3 logs lost connections at WARNING. Our own logs report each failure once.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    registry = create_registry(app.SERVICE, settings)
    metrics = Metrics(registry)
    transport = Transport(
        settings.notification_service_host,
        settings.notification_service_port,
        token=settings.api_token.get_secret_value(),
        tls=tls.client_context(settings) if settings.notification_service_tls else None,
        metrics=metrics.circuits,
    )
    api = NotificationService(transport, metrics=metrics)
    reports = AuditReports(api)
    health = Health({"notification-service": api.check}, alive=reports.alive)
    analysis = ApiClient(
        Transport(
            settings.analysis_host,
            settings.analysis_port,
            tls=tls.client_context(settings) if settings.analysis_tls else None,
            service=ANALYSIS,
            metrics=metrics.circuits,
        ),
        metrics=metrics,
    )
    events = None
    if settings.events_api_host:
        events = ApiClient(
            Transport(
                settings.events_api_host,
                settings.events_api_port,
                token=settings.api_token.get_secret_value(),
                tls=tls.client_context(settings) if settings.events_api_tls else None,
                service=EVENTS,
                metrics=metrics.circuits,
            ),
            metrics=metrics,
        )
    dashboard = app.create(
        settings,
        api=api,
        analysis=analysis,
        events=events,
        health=health,
        registry=registry,
        metrics=metrics,
        client=redis_client.connect(settings, metrics.circuits),
        reports=reports,
    )
    templating.compile_all(dashboard)
    reports.start()
    try:
        serving.serve(
            dashboard,
            settings,
            mode="wsgi",
            probes=Probes(health, registry, service=app.SERVICE),
            on_stop=health.stop,
        )
    finally:
        reports.close()
        analysis.close()
        if events is not None:
            events.close()
        api.close()
