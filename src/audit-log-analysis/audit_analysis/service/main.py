"""Wires the analysis together and runs it."""

import gc
import sys
from functools import partial

from audit_analysis.service import app, instrumented_windows
from audit_analysis.service.metrics import Metrics
from audit_analysis.service.pipeline import Pipeline
from audit_analysis.service.rule_reloader import RuleFiles
from audit_analysis.service.settings import Settings
from audit_analysis.service.watchdog import Watchdog
from audit_analysis.sigma.errors import RuleErrors
from audit_analysis.sigma.load import load
from audit_analysis.windows import redis_windows
from auditflow.amqp import Consumer, ConsumerMetrics, Publisher, connection_parameters, topology
from auditflow.http import serving
from auditflow.http.health import Health
from auditflow.telemetry import logs
from auditflow.telemetry.metrics import create_registry

log = logs.get(__name__)

#: How long the broker has to confirm findings before the batch is tried again (seconds).
CONFIRM_SECONDS = 10.0
#: How long a thread may compute before another that is ready gets its turn (Python's own: 0.005).
SWITCH_SECONDS = 0.0002
#: New objects after which the collector looks for rings among them (Python's own: 700).
GARBAGE = 20_000


def main() -> None:
    """The console script ``audit-log-analysis``."""
    serving.start(app.SERVICE, Settings, run)


def run(settings: Settings) -> None:
    """Run until SIGTERM."""
    registry = create_registry(app.SERVICE, settings)
    watchdog = Watchdog(
        registry,
        bound=settings.slow_rule_milliseconds / 1000,
        strikes=settings.slow_rule_strikes,
    )
    try:
        rules = RuleFiles(
            partial(
                load,
                settings.rules_paths,
                lateness=settings.lateness_seconds * 1000,
                foreign=settings.foreign_rules_paths,
                off=settings.rules_off,
                watch=watchdog,
            ),
            (*settings.rules_paths, *settings.foreign_rules_paths),
            registry=registry,
        )
    except RuleErrors as error:
        sys.stderr.write(f"{app.SERVICE}: the rules cannot be used:\n{error}\n")
        raise SystemExit(2) from None
    log.info("rules loaded", rules=len(rules.current().rules))
    _tune()
    client = redis_windows.connect(settings)
    metrics = Metrics(registry)
    instrumented_windows.count_keys(client, registry)
    publisher = Publisher(connection_parameters(settings, name=f"{app.SERVICE}/publisher"))
    pipeline = Pipeline(
        rules.current,
        instrumented_windows.MeasuredWindows(
            redis_windows.RedisWindows(client, replicas=settings.redis_replicas), registry
        ),
        partial(publisher.submit, timeout=CONFIRM_SECONDS),
        environment=settings.environment,
        metrics=metrics,
    )
    consumer = Consumer(
        connection_parameters(settings, name=f"{app.SERVICE}/consumer"),
        topology.EVENTS,
        pipeline.steps(),
        publisher=publisher,
        service=app.SERVICE,
        metrics=ConsumerMetrics(registry),
        prefetch=settings.prefetch,
        on_poison=metrics.set_aside,
    )
    health = Health(
        {
            "rabbitmq": lambda: publisher.check() or consumer.check(),
            "redis": partial(redis_windows.ping, client),
            "consumer": consumer.pause_reason,
        },
        alive=lambda: consumer.alive() or publisher.alive(),
    )
    rules.start()
    publisher.start()
    consumer.start()
    try:
        serving.serve(
            app.create(rules, watchdog, health, registry),
            settings,
            mode="wsgi",
            on_stop=health.stop,
        )
    finally:
        consumer.stop()
        rules.stop()
        publisher.close()
        client.close()


def _tune() -> None:
    """Settings of the interpreter for one thread that computes beside some that wait."""
    # A thread whose server has answered gets its turn soon: waiting for it is waiting in a batch.
    sys.setswitchinterval(SWITCH_SECONDS)
    # Rules live as long as the process: the collector need not look through them again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
