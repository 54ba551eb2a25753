"""``notification-service``: what it is made of, how it starts and how it ends."""

import threading
from functools import partial
from typing import Final

from auditflow import amqp
from auditflow.amqp import topology
from auditflow.http import serving
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from auditflow.telemetry.metrics import create_registry
from notification_service.api import app
from notification_service.database.connection import connect
from notification_service.database.folding import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.probe import Probe
from notification_service.database.reading import AlertReader
from notification_service.inbox import Inbox
from notification_service.metrics import Metrics
from notification_service.outbox.service import Notifications
from notification_service.settings import Settings

#: Messages in hand at once. More makes folding hardly faster, and all are held in memory: usually
#: a few kilobytes each, but whoever can cause findings with large events can make it a megabyte.
PREFETCH: Final = 100
#: Readers at once, and how long one more waits for its turn before the client is told to come back.
READERS: Final = 4
WAIT_SECONDS: Final = 1.0
#: A person waits for a list; nobody waits for a fold, which may also wait for another's locks.
READ_SECONDS: Final = 3.0
FOLD_SECONDS: Final = 30.0


def main() -> None:
    """The console script."""
    serving.start(app.SERVICE, Settings, run)


def run(settings: Settings) -> None:
    """Consume and serve until SIGTERM, then end in order."""
    registry = create_registry(app.SERVICE, settings)
    metrics = Metrics(registry)

    reading = partial(connect, settings, name=f"{app.SERVICE} api", statement_seconds=READ_SECONDS)
    folding = partial(connect, settings, name=f"{app.SERVICE} fold", statement_seconds=FOLD_SECONDS)
    readers = Pool(reading, size=READERS, wait_seconds=WAIT_SECONDS)
    writer = Pool(folding, size=1, wait_seconds=0)
    probe = Probe(reading)

    parameters = amqp.connection_parameters(settings, name=app.SERVICE)
    publisher = amqp.Publisher(parameters)
    consumer = amqp.Consumer(
        parameters,
        topology.FINDINGS,
        amqp.Steps(handle=Inbox(FindingStore(writer).fold, metrics)),
        publisher=publisher,
        service=app.SERVICE,
        metrics=amqp.ConsumerMetrics(registry),
        prefetch=PREFETCH,
    )
    notifications = Notifications(settings, registry, service=app.SERVICE)
    health = Health(
        {
            "postgresql": probe.check,
            "rabbitmq": lambda: publisher.check() or consumer.check(),
            "consumer": consumer.pause_reason,
        },
        alive=lambda: consumer.alive() or notifications.alive(),
    )
    api = app.create(
        AlertReader(readers),
        health,
        registry,
        metrics,
        tokens=Tokens(settings.api_token, settings.api_token_before),
    )

    def stop() -> None:
        health.stop()
        notifications.stop()
        # Requests that still wait for the database after their grace wait for one that hangs.
        end = threading.Timer(serving.GRACE_SECONDS + 1, readers.abort)
        end.daemon = True
        end.start()

    publisher.start()
    consumer.start()
    notifications.start()
    try:
        serving.serve(api, settings, mode="asgi", on_stop=stop)
    finally:
        consumer.stop()
        notifications.close()
        publisher.close()
        probe.close()
        readers.close()
        writer.close()


if __name__ == "__main__":
    main()
