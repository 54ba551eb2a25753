"""A real Prometheus scrapes the real services during faults: the samples, and the alerts that fire.

The rules are those of the repository. They are evaluated every second, and their history is as long as
the tests, except for the ledger: it permits one lost event of a thousand and gets six hours without a
fault before the tests. Objectives have no waiting time, so they fire. Causes that must last for minutes
are pending, and the tests check for pending. Each fault uses its part of the error budget. Samples that
only a cluster has are recorded or written by hand: see data/README.md.
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
from src.tests.monitoring.observatory import Observatory, board_queries, hurried, traffic
from src.tests.monitoring.recorded import exporting
from src.tests.platform import Platform, eventually

from auditflow.amqp import topology
from auditflow_local import packages, ports
from auditflow_local.servers.prometheus import (
    PostgresExporter,
    Prometheus,
    RedisExporter,
    Target,
    broker_targets,
    rule_files,
)

pytestmark = pytest.mark.soak

#: Longer than the objective allows from an event to its alert (seconds).
LATE = 6.0
#: An answer that took a client longer than this may have broken the objective of the API or of the
#: dashboard, on a machine that is busy with other things.
FAST = 0.25
SLOW = {"ApiSlow", "DashboardSlow", "AlertsLate"}


@pytest.fixture(scope="module")
def watched(other_servers: Any, servers_folder: Path) -> Iterator[list[Target]]:
    """The exporters, and all that is scraped but for the services."""
    packages.ensure(packages.PROMETHEUS)
    with ExitStack() as ends:
        port = ends.enter_context(exporting())
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
            ends.callback(exporter.destroy)
            exporter.start()
        yield [
            *broker_targets(other_servers.rabbitmq),
            postgres.target,
            redis.target,
            Target("argocd-metrics", port, "/argocd", namespace="argocd"),
            Target("kube-state-metrics", port, "/cluster", namespace="monitoring", honor=True),
        ]


@pytest.fixture(scope="module")
def looking(
    shared_platform: Platform, watched: list[Target], servers_folder: Path
) -> Iterator[Observatory]:
    """A Prometheus of this file's own, that knows of six quiet hours."""
    for service in (shared_platform.generator, shared_platform.analysis):
        service.stop()  # whoever needs it starts it again, and it counts anew
    folder = servers_folder / "prometheus"
    services = [Target(item.name, item.port) for item in shared_platform.services]
    server = Prometheus(
        folder,
        port=ports.pick(),
        targets=[*services, *watched],
        rules=hurried(rule_files(), folder.with_name("rules")),
        scrape_seconds=1,
        evaluation_seconds=1,
    )
    backfill.write(shared_platform, server)
    server.start()
    seen = Observatory(server)
    yield seen
    seen.close()
    server.destroy()


@pytest.fixture
def observatory(platform: Platform, looking: Observatory) -> Observatory:
    """It sees all of the platform, which runs."""
    eventually(looking.sees_all, what="two scrapes of all")
    return looking


@pytest.fixture(scope="module")
def burnt() -> set[str]:
    """What burns already: an objective remembers a fault for longer than a test lasts."""
    return set()


def chance(slowest: float) -> set[str]:
    """Objectives that may burn without a fault of ours: those about time, on a machine that was
    slow to its clients, too."""
    return set() if slowest < FAST else SLOW


def at_rest(platform: Platform, seen: Observatory) -> bool:
    """Whether all is done, and Prometheus knows it."""
    counted = {
        "auditflow_events_accepted_total": platform.generator,
        "auditflow_analysis_events_total": platform.analysis,
    }
    return platform.settled() and all(
        seen.value(f"sum({metric})") == platform.metric(service, metric)
        for metric, service in counted.items()
    )


def test_every_query_and_every_recording_rule_has_an_answer(
    platform: Platform, observatory: Observatory
) -> None:
    # Given the platform at work
    left = {panel: expr for panel, expr in board_queries().items() if not empty_when_well(panel)}
    assert len(left) > 90
    # and many events: a service that starts again then counts less than it had, which shows
    platform.send(harmless("well", 3000), chunk=100)
    with traffic(platform, "well", rounds=5) as load:
        # then each query of each board gives something
        def answered() -> bool:
            nonlocal left
            left = observatory.unanswered(left)
            return not left

        try:
            eventually(answered, seconds=60, what="data for every panel")
        finally:
            assert left == {}
        # and so does each recording rule
        assert len(observatory.rules("record")) > 100
        eventually(lambda: not observatory.silent_rules(), what="data of every rule")
    # and no objective burns
    assert observatory.burning() - chance(load.slowest) == set()
    assert observatory.value('ALERTS{alertname="Watchdog", alertstate="firing"}') == 1


def empty_when_well(panel: str) -> bool:
    """Panels that show only what is wrong. Those of alerts are asked below; a rule that is slow
    enough for the watchdog is nothing that a test can bring about for sure."""
    return any(title in panel for title in ("Objectives at risk", "Other alerts", "Slow rules"))


@dataclass(frozen=True)
class Fault:
    """What breaks, how it is mended, when it has lasted long enough, and what it must cause."""

    strike: Callable[[Platform], object]
    repair: Callable[[Platform], object]
    enough: Callable[[Observatory, float], bool]
    burns: set[str]
    causes: set[str]


def rubbish(platform: Platform) -> None:
    """Findings that fit no contract."""
    with platform.broker() as channel:
        for number in range(20):
            channel.basic_publish(topology.EXCHANGE, "finding.critical", b"{%d" % number)


def loss(platform: Platform) -> None:
    """Events that were accepted, and that nobody will analyse."""
    platform.analysis.stop()
    platform.send(harmless("lost", 300), chunk=100)
    platform.rabbitmq.empty(topology.EVENTS)


def harmless(name: str, count: int) -> list[dict[str, Any]]:
    """Events that no rule is about."""
    return [file_change(f"{name}-{number}", "/tmp/notes.txt") for number in range(count)]


FAULTS = {
    # The analysis says what the notification service cannot read.
    "rubbish": Fault(
        strike=rubbish,
        repair=lambda _: None,
        enough=lambda _, __: True,
        burns={"FindingsSetAside"},
        causes={"DeadLettersGrow"},
    ),
    # Sources are refused, and what was accepted before is not touched.
    "rabbitmq": Fault(
        strike=lambda platform: platform.rabbitmq.stop(),
        repair=lambda platform: platform.rabbitmq.start(),
        enough=lambda seen, _: (
            seen.value('sum(rate(auditflow_ingest_request_seconds_count{code="5xx"}[5m]))') > 0
        ),
        burns={"IngestErrors"},
        causes={"RabbitmqDown", "DependencyDown"},
    ),
    # Events wait in the queue; all else is well.
    "analysis": Fault(
        strike=lambda platform: platform.analysis.stop(),
        repair=lambda platform: platform.analysis.respawn(),
        enough=lambda _, lasted: lasted > LATE,
        burns={"AlertsLate"},
        causes={"ServiceDown", "ConsumerGone"},
    ),
    # Events are taken out of the queue by somebody who should not.
    "loss": Fault(
        strike=loss,
        repair=lambda platform: platform.analysis.respawn(),
        enough=lambda _, __: True,
        burns={"EventsUnaccounted"},
        causes={"ServiceDown"},
    ),
    # Findings wait for the database; who asks for alerts gets none.
    "postgresql": Fault(
        strike=lambda platform: platform.database.server.stop(),
        repair=lambda platform: platform.database.server.start(),
        enough=lambda seen, _: (
            seen.value('auditflow_consumer_oldest_seconds{queue="audit_alerts"}') > LATE
        ),
        burns={"ApiErrors", "DashboardErrors", "AlertsLate"},
        causes={"PostgresqlDown", "DependencyDown"},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_burns_what_it_should_and_nothing_else(
    platform: Platform, observatory: Observatory, burnt: set[str], name: str
) -> None:
    fault = FAULTS[name]

    def seen(*states: str) -> set[str]:
        return set().union(*map(observatory.alerts, states))

    # Given a platform that has worked well, and is at rest
    with traffic(platform, f"before-{name}", rounds=5) as before:
        pass
    eventually(lambda: at_rest(platform, observatory), what="rest")
    assert observatory.burning() - chance(before.slowest) - burnt == set()
    # when something breaks while people who signed in before and sources go on,
    # then its cause is seen
    with traffic(platform, f"during-{name}", rounds=3) as during:
        began = time.monotonic()
        fault.strike(platform)
        try:
            during.wait_for_rounds(3)
            eventually(
                lambda: fault.enough(observatory, time.monotonic() - began),
                what="a fault that lasts",
            )
            eventually(lambda: fault.causes <= seen("pending", "firing"), what=f"{fault.causes}")
        finally:
            fault.repair(platform)
    # and when it is mended, the objectives that it broke burn, and no other
    eventually(lambda: all(service.ready() for service in platform.services), what="recovery")
    eventually(lambda: at_rest(platform, observatory), what="rest")
    eventually(lambda: fault.burns <= observatory.burning(), what=f"{fault.burns}")
    may = chance(max(before.slowest, during.slowest))
    added = observatory.burning() - burnt
    burnt |= added
    assert added - fault.burns - may == set()
    # and the board of objectives says so
    wanted = ["Objectives at risk"] + ["Other alerts"] * (name == "rubbish")
    boards = {
        panel: expr
        for panel, expr in board_queries().items()
        if any(title in panel for title in wanted)
    }
    assert len(boards) == len(wanted)
    assert observatory.unanswered(boards) == {}
