"""The Flask application."""

from flask import Flask, request
from prometheus_client import CollectorRegistry

from audit_event_generator.event_publisher import EventPublisher
from audit_event_generator.metrics import Metrics
from audit_event_generator.web import outcome, problems, routes
from audit_event_generator.web.authentication import TokenCheck
from auditflow.http import middleware, probes
from auditflow.http.health import Health
from auditflow.http.serving import MAX_BODY_BYTES
from auditflow.http.tokens import Tokens

SERVICE = "audit-event-generator"


def create(
    *,
    event_publisher: EventPublisher,
    metrics: Metrics,
    health: Health,
    registry: CollectorRegistry,
    tokens: Tokens,
    github_secret: str | None = None,
) -> Flask:
    """Create the application. All parts are passed in, so that tests can replace them."""
    app = Flask(SERVICE, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    middleware.instrument(app, metrics.http, request=request, listener=outcome.listener(metrics))
    app.register_blueprint(
        routes.blueprint(event_publisher, metrics, TokenCheck(tokens), github_secret)
    )
    probes.add_routes(app, health, registry, service=SERVICE, request=request)
    problems.add_handlers(app)
    return app
