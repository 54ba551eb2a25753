"""Connect the parts of the service, run it, and stop it in order."""

import secrets

from audit_event_generator.event_publisher import EventPublisher
from audit_event_generator.metrics import Metrics
from audit_event_generator.settings import Settings
from audit_event_generator.synthetic_stream import SyntheticStream
from audit_event_generator.web import app
from auditflow.amqp import Publisher, connection_parameters
from auditflow.http import serving
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from auditflow.telemetry.metrics import create_registry


def main() -> None:
    """The console script ``audit-event-generator``."""
    serving.start(app.SERVICE, Settings, run)


def run(settings: Settings) -> None:
    """Serve until a signal stops the process."""
    registry = create_registry(app.SERVICE, settings)
    metrics = Metrics(registry)
    publisher = Publisher(connection_parameters(settings, name=app.SERVICE))
    event_publisher = EventPublisher(publisher, metrics)
    seed = settings.generator_seed
    stream = SyntheticStream(
        event_publisher,
        metrics,
        rate=settings.rate,
        seed=secrets.randbits(32) if seed is None else seed,
    )

    health = Health(
        {"rabbitmq": publisher.check}, alive=lambda: publisher.alive() or stream.alive()
    )
    web = app.create(
        event_publisher=event_publisher,
        metrics=metrics,
        health=health,
        registry=registry,
        tokens=Tokens(settings.ingest_token, settings.ingest_token_before),
        github_secret=(
            settings.github_webhook_secret.get_secret_value()
            if settings.github_webhook_secret
            else None
        ),
    )

    def stop() -> None:
        health.stop()
        stream.request_stop()

    publisher.start()
    stream.start()
    try:
        serving.serve(web, settings, mode="wsgi", on_stop=stop)
    finally:
        stream.stop()
        publisher.close()
