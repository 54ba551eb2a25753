"""The entry point ``notification-service``: it creates, connects, starts and stops the parts."""

import threading
from functools import partial
from typing import Final

from auditflow import amqp
from auditflow.amqp import topology
from auditflow.http import serving
from auditflow.http.health import Health
from auditflow.http.probes import Probes
from auditflow.http.tokens import Tokens
from auditflow.interpreter import shorten_switch_interval, tune_garbage_collector
from auditflow.telemetry.metrics import create_registry
from notification_service.api import app
from notification_service.audit import signing
from notification_service.audit.reading import AuditLogReader
from notification_service.audit.trail import Trail, TrailMetrics
from notification_service.database.access_store import AccessStore
from notification_service.database.alert_reader import AlertReader
from notification_service.database.breaker import GuardedConnect
from notification_service.database.change_feed import ChangeFeed
from notification_service.database.connection import connect, connect_for_keys
from notification_service.database.facets import merge_counts
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.probe import Probe
from notification_service.database.retention import Retention
from notification_service.database.risk import update_risks
from notification_service.database.texts import update_texts
from notification_service.database.trail_store import TrailStore
from notification_service.database.triage_store import TriageStore
from notification_service.dead_letters import DeadLetters
from notification_service.inbox import Inbox
from notification_service.maintenance import Maintenance, Task
from notification_service.metrics import AuditLogMetrics, Metrics, RetentionMetrics
from notification_service.outbox.service import Notifications
from notification_service.settings import Settings

#: Maximum number of unacknowledged messages, all of which are in memory. A message usually has a
#: few kilobytes, but it may have 1 MiB.
PREFETCH: Final = 200
#: A transaction stores up to PREFETCH divided by this number. With 100 findings in a transaction, a
#: finding costs half as much as with 25.
BATCHES_PER_PREFETCH: Final = 2
#: While many findings arrive, a transaction waits for more of them for this time.
BUSY_WAIT_SECONDS: Final = 0.03
#: Transactions with findings at the same time. While PostgreSQL executes one, another is prepared.
STORES: Final = 2
#: Connections for reads and for actions, and the time that a request waits for a free one.
READERS: Final = 4
WRITERS: Final = 4
EXPORTS: Final = 2
WAIT_SECONDS: Final = 1.0
#: Statement time-outs. A person waits for a list and for an action. No person waits for findings.
READ_SECONDS: Final = 3.0
ACTION_SECONDS: Final = 10.0
STORE_SECONDS: Final = 30.0
#: Time between two updates of risks and of searched texts while many findings are stored. An alert
#: that changes repeatedly is then updated once, and the findings are stored sooner.
BUSY_TASK_SECONDS: Final = 5.0
#: Time between two runs of retention.
RETENTION_SECONDS: Final = 600.0


def main() -> None:
    """The console script."""
    shorten_switch_interval()
    tune_garbage_collector()
    serving.start(app.SERVICE, Settings, run)


def run(settings: Settings) -> None:
    """Consume and serve until SIGTERM, then stop in order."""
    registry = create_registry(app.SERVICE, settings)
    metrics = Metrics(registry)

    open_reader = partial(
        connect, settings, name=f"{app.SERVICE} api", statement_seconds=READ_SECONDS
    )
    open_writer = partial(
        connect, settings, name=f"{app.SERVICE} actions", statement_seconds=ACTION_SECONDS
    )
    open_store = partial(
        connect, settings, name=f"{app.SERVICE} findings", statement_seconds=STORE_SECONDS
    )
    # Requests fail at once while the database is unavailable. Findings and notifications wait.
    guarded_reader = GuardedConnect(open_reader, on_change=metrics.circuit("api"))
    guarded_writer = GuardedConnect(open_writer, on_change=metrics.circuit("actions"))
    readers = Pool(guarded_reader, size=READERS, wait_seconds=WAIT_SECONDS)
    writers = Pool(guarded_writer, size=WRITERS, wait_seconds=WAIT_SECONDS)
    store = Pool(
        partial(
            connect_for_keys,
            settings,
            name=f"{app.SERVICE} findings",
            statement_seconds=STORE_SECONDS,
        ),
        size=STORES,
        wait_seconds=0,
    )
    exports = Pool(open_store, size=EXPORTS, wait_seconds=WAIT_SECONDS)
    feed = ChangeFeed(open_store, readers)
    probe = Probe(open_reader)

    inbox = Inbox(FindingStore(store).store, metrics, parallel=STORES)
    parameters = amqp.connection_parameters(settings, name=app.SERVICE)
    publisher = amqp.Publisher(parameters)
    consumer = amqp.Consumer(
        parameters,
        topology.FINDINGS,
        amqp.Steps(prepare=inbox.decode, handle=inbox.store, split=inbox.split),
        publisher=publisher,
        service=app.SERVICE,
        metrics=amqp.ConsumerMetrics(registry),
        prefetch=PREFETCH,
        batches_per_prefetch=BATCHES_PER_PREFETCH,
        busy_wait_seconds=BUSY_WAIT_SECONDS,
    )
    trail_pool = Pool(open_writer, size=1, wait_seconds=0)
    trail = Trail(TrailStore(trail_pool), TrailMetrics(registry))
    notifications = Notifications(
        settings, registry, writers, service=app.SERVICE, record=trail.record
    )
    signer = settings.audit_signer()
    audit_metrics = AuditLogMetrics(registry)
    retention = Retention(writers, RetentionMetrics(registry), days=settings.retention_days)
    maintenance = Maintenance(
        [
            Task("log of findings", 1.0, partial(signing.append_findings, writers)),
            *(signing.tasks(writers, signer, audit_metrics) if signer else ()),
            Task("risk", 1.0, partial(update_risks, writers), BUSY_TASK_SECONDS),
            Task("texts", 1.0, partial(update_texts, writers), BUSY_TASK_SECONDS),
            Task("counts", 30.0, partial(merge_counts, writers)),
            *([Task("retention", RETENTION_SECONDS, retention)] if settings.retention_days else ()),
        ],
        is_busy=inbox.is_busy,
    )
    health = Health(
        {
            "postgresql": probe.check,
            "rabbitmq": lambda: publisher.check() or consumer.check(),
            "consumer": consumer.pause_reason,
        },
        alive=lambda: (
            consumer.alive()
            or publisher.alive()
            or notifications.alive()
            or maintenance.alive()
            or trail.alive()
        ),
    )
    api = app.create(
        app.Stores(
            AlertReader(readers),
            TriageStore(writers),
            AccessStore(writers),
            feed,
            exports,
            notifications,
            AuditLogReader(readers, signer) if signer else None,
            trail,
            DeadLetters.create(settings),
        ),
        health,
        registry,
        metrics,
        tokens=Tokens(settings.api_token, settings.api_token_before),
        per_minute=settings.requests_per_minute,
    )

    def stop() -> None:
        health.stop()
        notifications.stop()
        maintenance.stop()
        feed.stop()
        # Requests that still wait for the database after the grace period wait for a hung server.
        for pool in (readers, writers, exports):
            end = threading.Timer(serving.GRACE_SECONDS + 1, pool.abort)
            end.daemon = True
            end.start()

    publisher.start()
    consumer.start()
    notifications.start()
    maintenance.start()
    trail.start()
    try:
        serving.serve(
            api,
            settings,
            mode="asgi",
            probes=Probes(health, registry, service=app.SERVICE),
            on_stop=stop,
        )
    finally:
        consumer.stop()
        notifications.close()
        trail.close()
        publisher.close()
        probe.close()
        _close(readers, writers, store, exports, trail_pool)


def _close(*pools: Pool) -> None:
    """Close all connections. A statement that still runs would wait for a hung server."""
    for pool in pools:
        pool.abort()
        pool.close()


if __name__ == "__main__":
    main()
