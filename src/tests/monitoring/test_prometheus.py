"""A real Prometheus scrapes the real services during faults: the samples, and the alerts that fire.

The rules are those of the repository. They are evaluated every second, and their history is as long as
the tests. The ledger is an exception: it permits one lost event of a thousand, so it gets six hours
without a fault before the tests. Alerts of objectives have no waiting time, so they fire. Alerts of
causes must be active for minutes before they fire, so the tests accept the state pending. Each fault uses
a part of the error budget. Samples that only a cluster has are recorded or written by hand: see
data/README.md.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from src.tests.events import file_change
from src.tests.monitoring import backfill
from src.tests.monitoring.prometheus_queries import PrometheusQueries, accelerated, board_queries
from src.tests.monitoring.recorded import exporting
from src.tests.monitoring.traffic import traffic
from src.tests.platform import Platform

from auditflow.amqp import topology
from auditflow_local import packages, ports
from auditflow_local.polling import eventually
from auditflow_local.servers.prometheus import (
    PostgresExporter,
    Prometheus,
    RedisExporter,
    Target,
    broker_targets,
    rule_files,
)

pytestmark = pytest.mark.soak

#: A delay from an event to its alert that violates the objective, in seconds.
LATE_SECONDS = 6.0
#: A slower answer can violate the objectives of latency without a fault, on a busy machine (seconds).
MAX_NORMAL_SECONDS = 0.25
LATENCY_OBJECTIVES = {"ApiSlow", "DashboardSlow", "AlertsLate"}


@pytest.fixture(scope="module")
def targets(other_servers: Any, servers_folder: Path) -> Iterator[list[Target]]:
    """All scrape targets except the services. Their exporters run."""
    packages.ensure(packages.PROMETHEUS)
    with ExitStack() as cleanup:
        port = cleanup.enter_context(exporting())
        postgres = PostgresExporter(
            servers_folder / "postgres-exporter",
            port=ports.pick(),
            postgres=other_servers.postgres,
            database="postgres",
        )
        redis = RedisExporter(
            servers_folder / "redis-exporter", port=ports.pick(), redis=other_servers.redis
        )
        for exporter in (postgres, redis):
            cleanup.callback(exporter.destroy)
            exporter.start()
        yield [
            *broker_targets(other_servers.rabbitmq),
            postgres.target,
            redis.target,
            Target("argocd-metrics", port, "/argocd", namespace="argocd"),
            Target("kube-state-metrics", port, "/cluster", namespace="monitoring", honor=True),
        ]


@pytest.fixture(scope="module")
def shared_prometheus(
    shared_platform: Platform, targets: list[Target], servers_folder: Path
) -> Iterator[PrometheusQueries]:
    """A Prometheus for this file. Its database has six hours without a fault."""
    for service in (shared_platform.generator, shared_platform.analysis):
        service.stop()  # the fixture `platform` starts it again, and its counters begin at 0
    folder = servers_folder / "prometheus"
    services = [Target(item.name, item.port) for item in shared_platform.services]
    server = Prometheus(
        folder,
        port=ports.pick(),
        targets=[*services, *targets],
        rules=accelerated(rule_files(), folder.with_name("rules")),
        scrape_seconds=1,
        evaluation_seconds=1,
    )
    backfill.write(shared_platform, server)
    server.start()
    queries = PrometheusQueries(server)
    yield queries
    queries.close()
    server.destroy()


@pytest.fixture
def prometheus(platform: Platform, shared_prometheus: PrometheusQueries) -> PrometheusQueries:
    """A Prometheus that has scraped the running platform."""
    eventually(shared_prometheus.has_scraped_all, what="two scrapes of all targets")
    return shared_prometheus


@pytest.fixture(scope="module")
def violated() -> set[str]:
    """Objectives that earlier tests violated. Their alerts fire for longer than a test lasts."""
    return set()


def violated_by_load(slowest_seconds: float) -> set[str]:
    """Objectives that may be violated without a fault, because the machine is busy."""
    return set() if slowest_seconds < MAX_NORMAL_SECONDS else LATENCY_OBJECTIVES


def is_idle(platform: Platform, prometheus: PrometheusQueries) -> bool:
    """Whether all events are processed, and Prometheus has scraped the final counters."""
    counted = {
        "auditflow_events_accepted_total": platform.generator,
        "auditflow_analysis_events_total": platform.analysis,
    }
    return platform.settled() and all(
        prometheus.value(f"sum({metric})") == platform.metric(service, metric)
        for metric, service in counted.items()
    )


def test_every_query_and_every_recording_rule_has_data(
    platform: Platform, prometheus: PrometheusQueries
) -> None:
    # Given the platform with traffic
    missing = {
        panel: expr for panel, expr in board_queries().items() if not is_empty_without_fault(panel)
    }
    assert len(missing) > 90
    # and many events, so that the counters of a restarted service are smaller than before
    platform.send(harmless("ok", 3000), chunk=100)
    with traffic(platform, "ok", rounds=5) as load:
        # then each query of each board has had data
        def all_had_data() -> bool:
            nonlocal missing
            missing = prometheus.queries_without_data(missing)
            return not missing

        try:
            eventually(all_had_data, seconds=60, what="data for every panel")
        finally:
            assert missing == {}
        # and each recording rule has data
        assert len(prometheus.rules("record")) > 100
        eventually(lambda: not prometheus.rules_without_data(), what="data of every rule")
    # and no objective is violated
    assert prometheus.firing_objectives() - violated_by_load(load.slowest) == set()
    assert prometheus.value('ALERTS{alertname="Watchdog", alertstate="firing"}') == 1


def is_empty_without_fault(panel: str) -> bool:
    """Whether a panel shows only faults.

    The tests of faults check the panels of alerts. No test can make a rule so slow that "Slow rules"
    shows it.
    """
    return any(title in panel for title in ("Objectives at risk", "Other alerts", "Slow rules"))


@dataclass(frozen=True)
class Fault:
    """A fault: how to cause it, how to repair it, and which alerts it must cause.

    ``is_visible`` is true when the fault has lasted long enough. Its second argument is the time
    since the start of the fault, in seconds. ``violates`` are objectives, and ``causes`` are the
    alerts that name the reason.
    """

    inject: Callable[[Platform], object]
    repair: Callable[[Platform], object]
    is_visible: Callable[[PrometheusQueries, float], bool]
    violates: set[str]
    causes: set[str]


def send_invalid_findings(platform: Platform) -> None:
    with platform.broker() as channel:
        for number in range(20):
            channel.basic_publish(topology.EXCHANGE, "finding.critical", b"{%d" % number)


def lose_events(platform: Platform) -> None:
    """Accept events, and delete them from the queue before the analysis receives them."""
    platform.analysis.stop()
    platform.send(harmless("lost", 300), chunk=100)
    platform.rabbitmq.empty(topology.EVENTS)


def harmless(name: str, count: int) -> list[dict[str, Any]]:
    """Events that match no rule."""
    return [file_change(f"{name}-{number}", "/tmp/notes.txt") for number in range(count)]


FAULTS = {
    # The notification service cannot read the findings.
    "invalid-findings": Fault(
        inject=send_invalid_findings,
        repair=lambda _: None,
        is_visible=lambda _, __: True,
        violates={"FindingsSetAside"},
        causes={"DeadLettersGrow"},
    ),
    # The ingest refuses events. Events that were accepted before are processed.
    "rabbitmq": Fault(
        inject=lambda platform: platform.rabbitmq.stop(),
        repair=lambda platform: platform.rabbitmq.start(),
        is_visible=lambda prometheus, _: (
            prometheus.value('sum(rate(auditflow_ingest_request_seconds_count{code="5xx"}[5m]))')
            > 0
        ),
        violates={"IngestErrors"},
        causes={"RabbitmqDown", "DependencyDown"},
    ),
    # Events wait in the queue. Nothing else is affected.
    "analysis": Fault(
        inject=lambda platform: platform.analysis.stop(),
        repair=lambda platform: platform.analysis.respawn(),
        is_visible=lambda _, seconds: seconds > LATE_SECONDS,
        violates={"AlertsLate"},
        causes={"ServiceDown", "ConsumerGone"},
    ),
    # An operator deletes the events of the queue by mistake.
    "loss": Fault(
        inject=lose_events,
        repair=lambda platform: platform.analysis.respawn(),
        is_visible=lambda _, __: True,
        violates={"EventsUnaccounted"},
        causes={"ServiceDown"},
    ),
    # Findings wait for the database. Requests for alerts fail.
    "postgresql": Fault(
        inject=lambda platform: platform.database.server.stop(),
        repair=lambda platform: platform.database.server.start(),
        is_visible=lambda prometheus, _: (
            prometheus.value('auditflow_consumer_oldest_seconds{queue="audit_alerts"}')
            > LATE_SECONDS
        ),
        violates={"ApiErrors", "DashboardErrors", "AlertsLate"},
        causes={"PostgresqlDown", "DependencyDown"},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_violates_its_objectives_and_no_others(
    platform: Platform, prometheus: PrometheusQueries, violated: set[str], name: str
) -> None:
    fault = FAULTS[name]

    def active_alerts() -> set[str]:
        return prometheus.alerts("pending") | prometheus.alerts("firing")

    # Given an idle platform that had traffic without a fault
    with traffic(platform, f"before-{name}", rounds=5) as before:
        pass
    eventually(lambda: is_idle(platform, prometheus), what="an idle platform")
    accepted = violated_by_load(before.slowest) | violated
    assert prometheus.firing_objectives() - accepted == set()
    # when a fault occurs during traffic of sources and of people who signed in before,
    # then the alerts of its cause are active
    with traffic(platform, f"during-{name}", rounds=3) as during:
        started = time.monotonic()
        fault.inject(platform)
        try:
            during.wait_for_rounds(3)
            eventually(
                lambda: fault.is_visible(prometheus, time.monotonic() - started),
                what="a visible fault",
            )
            eventually(lambda: fault.causes <= active_alerts(), what=f"{fault.causes}")
        finally:
            fault.repair(platform)
    # and after the repair, the alerts of its objectives fire, and no others
    eventually(lambda: all(service.ready() for service in platform.services), what="recovery")
    eventually(lambda: is_idle(platform, prometheus), what="an idle platform")
    eventually(lambda: fault.violates <= prometheus.firing_objectives(), what=f"{fault.violates}")
    new = prometheus.firing_objectives() - violated
    violated |= new
    assert new - fault.violates - violated_by_load(max(before.slowest, during.slowest)) == set()
    # and the board of objectives shows them
    titles = ["Objectives at risk"] + ["Other alerts"] * (name == "invalid-findings")
    queries = {
        panel: expr
        for panel, expr in board_queries().items()
        if any(title in panel for title in titles)
    }
    assert len(queries) == len(titles)
    assert prometheus.queries_without_data(queries) == {}
