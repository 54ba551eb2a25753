"""Reads the settings, connects the parts of the analysis, and runs it."""

from functools import partial

from audit_analysis.service import app, instrumented_windows
from audit_analysis.service.archiving import Archiver, poison_messages
from audit_analysis.service.metrics import Metrics
from audit_analysis.service.pipeline import Pipeline
from audit_analysis.service.rule_catalogue import RuleCatalogue
from audit_analysis.service.rule_reloader import RuleReloader
from audit_analysis.service.settings import Settings
from audit_analysis.service.watchdog import Watchdog
from audit_analysis.sigma.load import load_valid
from audit_analysis.windows import redis_client
from audit_analysis.windows.redis_windows import RedisWindows
from auditflow.amqp import (
    Consumer,
    ConsumerMetrics,
    Publisher,
    connection_parameters,
    no_copies,
    topology,
)
from auditflow.http import serving
from auditflow.http.health import Health
from auditflow.http.probes import Probes
from auditflow.interpreter import shorten_switch_interval, tune_garbage_collector
from auditflow.telemetry import logs
from auditflow.telemetry.metrics import create_registry

log = logs.get(__name__)

#: Maximum time for the broker's confirm of findings before the batch is retried (seconds).
CONFIRM_SECONDS = 10.0
#: A batch has up to ``PREFETCH`` divided by this number of messages, because three batches are in
#: work at once: one is matched, one is counted, and one waits for the broker.
BATCHES_PER_PREFETCH = 3


def main() -> None:
    """Start the process: the console script ``audit-log-analysis``."""
    serving.start(app.SERVICE, Settings, run)


def run(settings: Settings) -> None:
    """Run until SIGTERM."""
    registry = create_registry(app.SERVICE, settings)
    watchdog = Watchdog(
        registry,
        limit=settings.slow_rule_milliseconds / 1000,
        strikes=settings.slow_rule_strikes,
    )
    rules = RuleReloader(
        lambda previous: load_valid(
            settings.rules_paths,
            lateness=settings.lateness_seconds * 1000,
            foreign=settings.foreign_rules_paths,
            off=settings.rules_off,
            watchdog=watchdog,
            previous=previous,
        ),
        (*settings.rules_paths, *settings.foreign_rules_paths),
        registry=registry,
    )
    log.info("rules loaded", rules=len(rules.current().rules))
    shorten_switch_interval()
    tune_garbage_collector()
    client = redis_client.connect(settings)
    metrics = Metrics(registry)
    instrumented_windows.register_key_gauge(client, registry)
    windows = RedisWindows(
        client,
        replicas=settings.redis_replicas,
        windows_per_rule=settings.windows_per_rule,
        event_budget_bytes=settings.stored_events_mebibytes * 1024 * 1024,
        on_evicted=instrumented_windows.EvictionCounter(registry),
    )
    instrumented_windows.register_memory_gauges(windows.memory, registry)
    publisher = Publisher(connection_parameters(settings, name=f"{app.SERVICE}/publisher"))
    pipeline = Pipeline(
        rules.current,
        instrumented_windows.InstrumentedWindows(windows, registry),
        partial(publisher.submit, timeout=CONFIRM_SECONDS),
        environment=settings.environment,
        metrics=metrics,
        archiver=Archiver(enabled=settings.archive),
        findings_per_message=settings.findings_per_message,
    )
    consumer = Consumer(
        connection_parameters(settings, name=f"{app.SERVICE}/consumer"),
        topology.EVENTS,
        pipeline.steps(),
        publisher=publisher,
        service=app.SERVICE,
        metrics=ConsumerMetrics(registry),
        prefetch=settings.prefetch,
        batches_per_prefetch=BATCHES_PER_PREFETCH,
        on_poison=metrics.add_poison,
        copy_poison=poison_messages if settings.archive else no_copies,
    )
    health = Health(
        {
            "rabbitmq": lambda: publisher.check() or consumer.check(),
            "redis": partial(redis_client.ping, client),
            "consumer": consumer.pause_reason,
        },
        alive=lambda: consumer.alive() or publisher.alive() or rules.alive(),
    )
    rules.start()
    publisher.start()
    consumer.start()
    try:
        serving.serve(
            app.create(
                rules,
                watchdog,
                health,
                registry,
                catalogue=RuleCatalogue((*settings.rules_paths, *settings.foreign_rules_paths)),
            ),
            settings,
            mode="wsgi",
            probes=Probes(health, registry, service=app.SERVICE),
            on_stop=health.stop,
        )
    finally:
        consumer.stop()
        rules.stop()
        publisher.close()
        client.close()
