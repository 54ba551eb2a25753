"""Connect the parts of the service, run it, and stop it in order."""

import secrets
import sys

from audit_event_generator.event_publisher import EventPublisher
from audit_event_generator.metrics import Metrics
from audit_event_generator.receipts import AcceptedMessages, ReceiptSender
from audit_event_generator.settings import Settings
from audit_event_generator.synthetic_stream import SyntheticStream
from audit_event_generator.token_registry import TokenRegistry
from audit_event_generator.tokens import TokenError, parse, unrestricted
from audit_event_generator.web import app
from auditflow.amqp import Publisher, connection_parameters
from auditflow.http import serving
from auditflow.http.health import Health
from auditflow.http.probes import Probes
from auditflow.telemetry.metrics import create_registry


def main() -> None:
    """The console script ``audit-event-generator``."""
    serving.start(app.SERVICE, Settings, run)


def _read_tokens(settings: Settings) -> TokenRegistry:
    """Read the tokens, or end the process with code 2 and the reason."""
    plain = [
        token.get_secret_value()
        for token in (settings.ingest_token, settings.ingest_token_before)
        if token is not None
    ]
    file = settings.tokens_file
    try:
        fixed = unrestricted("default", plain)
        if file is None and settings.ingest_tokens is not None:
            fixed = fixed.merged(parse(settings.ingest_tokens.get_secret_value().encode()))
        return TokenRegistry(fixed, file=file)
    except TokenError as error:
        sys.stderr.write(f"{app.SERVICE}: INGEST_TOKENS: {error}\n")
        raise SystemExit(2) from None


def run(settings: Settings) -> None:
    """Serve until a signal stops the process."""
    tokens = _read_tokens(settings)
    registry = create_registry(app.SERVICE, settings)
    metrics = Metrics(registry)
    metrics.tokens_stale.set_function(lambda: float(tokens.is_stale))
    publisher = Publisher(connection_parameters(settings, name=app.SERVICE))
    accepted = AcceptedMessages()
    event_publisher = EventPublisher(publisher, metrics, accepted)
    receipts = ReceiptSender(accepted, publisher) if settings.ledger else None
    seed = settings.generator_seed
    stream = SyntheticStream(
        event_publisher,
        metrics,
        rate=settings.rate,
        seed=secrets.randbits(32) if seed is None else seed,
    )

    health = Health(
        {"rabbitmq": publisher.check},
        alive=lambda: (
            publisher.alive() or stream.alive() or (receipts.alive() if receipts else None)
        ),
    )
    web = app.create(
        event_publisher=event_publisher,
        metrics=metrics,
        health=health,
        registry=registry,
        tokens=tokens,
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
    if receipts is not None:
        receipts.start()
    try:
        serving.serve(
            web,
            settings,
            mode="asgi",
            probes=Probes(health, registry, service=app.SERVICE),
            on_stop=stop,
        )
    finally:
        stream.stop()
        if receipts is not None:
            receipts.stop()
        publisher.close()
