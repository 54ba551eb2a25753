"""A server that is killed under load or starts late: the services recover, and health is correct."""

import math
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from auditflow.amqp import topology
from auditflow_local.polling import eventually
from auditflow_local.servers.postgres_roles import ARCHIVE
from auditflow_local.service_process import ServiceProcess

from .archive_with_faults import fill
from .events import alert_keys, alerts_of, attack_events, shuffled
from .platform import Platform, ask, client, waiting

REPOSITORY = Path(__file__).parents[2]

USERS = 60

#: Which services need which server, by the name that /readyz has for it.
NEEDS = {
    "rabbitmq": ("generator", "analysis", "notification"),
    "redis": ("analysis",),
    "postgresql": ("notification",),
}


def states(service: ServiceProcess) -> dict[str, str]:
    """The dependencies that a service reports."""
    body = ask(f"{service.url}/readyz").json()
    return {name: dependency["state"] for name, dependency in body["dependencies"].items()}


def reports_down(platform: Platform, dependency: str) -> bool:
    """Whether every service that needs it says that it is down, and that it lives itself."""
    needing = [getattr(platform, name) for name in NEEDS[dependency]]
    return all(
        not service.ready() and states(service)[dependency] == "down" and service.alive()
        for service in needing
    )


def assert_refused(platform: Platform) -> None:
    """Without a broker nothing is accepted, and clients get an error that they can retry."""
    with platform.ingest() as client:
        answer = client.post("/generate_event", json={"event_type": "load"})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize("dependency", NEEDS)
def test_a_server_that_is_killed_under_load(platform: Platform, dependency: str) -> None:
    # Given an attack of which some events are sent
    server: Any = {
        "rabbitmq": platform.rabbitmq,
        "redis": platform.redis,
        "postgresql": platform.database.server,
    }[dependency]
    sender = threading.Thread(target=platform.send, args=(shuffled(attack_events(USERS), 1),))
    sender.start()
    eventually(lambda: platform.ledger()["accepted"] > 0, what="the first event")
    # when the server is killed
    server.kill()
    try:
        # then those who need it say so, and stay alive
        eventually(lambda: reports_down(platform, dependency), what="the truth")
        if dependency == "postgresql":
            with platform.api() as client:
                assert client.get("/alerts").status_code == 503
        if dependency == "rabbitmq":
            assert_refused(platform)
    finally:
        server.start()
    # and all come back by themselves, with nothing lost and nothing doubled
    eventually(lambda: all(service.ready() for service in platform.services), what="recovery")
    sender.join()
    eventually(lambda: alerts_of(USERS) <= alert_keys(platform.alerts()), what="every alert")
    eventually(platform.settled, what="rest")
    assert alert_keys(platform.alerts()) == alerts_of(USERS)


def test_services_that_start_before_the_servers(late_platform: Platform) -> None:
    # Given that no server is there yet, when the services start
    platform = late_platform
    for service in platform.services:
        service.respawn()
    # then they live, and say what they miss
    for dependency in NEEDS:
        eventually(partial(reports_down, platform, dependency), what=f"{dependency} is down")
    # and are ready by themselves once the servers are there, and work
    for server in (platform.rabbitmq, platform.redis, platform.database.server):
        server.start()
    eventually(lambda: all(item.ready() for item in platform.services), what="readiness")
    platform.send(attack_events(5))
    eventually(lambda: alert_keys(platform.alerts()) == alerts_of(5), what="every alert")


def test_detection_continues_while_the_disk_of_the_archive_is_full(
    platform: Platform, service_process: Any, small_disk: Any
) -> None:
    # Given an archive process whose disk becomes full
    disk = small_disk(32)
    platform.archive.stop()
    archive: ServiceProcess = service_process(
        "audit-event-archive",
        rabbitmq=platform.rabbitmq,
        database=platform.database,
        api=platform.notification,
        env={"ARCHIVE_FLUSH_SECONDS": "0.2", "ARCHIVE_FOLDER": str(disk / "archive")},
    )
    filler = fill(disk)
    files = archived_rows(platform)
    # when an attack is accepted, then all its alerts are there
    events = attack_events(USERS)
    platform.send(shuffled(events, 1))
    eventually(lambda: alert_keys(platform.alerts()) == alerts_of(USERS), what="every alert")
    # and the archive process reports the reason, and the metric that the alert ArchiveDiskFull reads
    eventually(lambda: states(archive)["writer"] == "down", what="a writer that waits")
    assert "No space left" in archive.log.read_text()
    assert archive.alive()
    free = platform.metric(archive, "auditflow_archive_free_bytes")
    assert free < disk_alert_bytes()
    # and the events can be searched, and wait in the broker, also if the process is killed
    token = {"Authorization": f"Bearer {platform.secrets['API_TOKEN']}"}
    with client(base_url=archive.url, headers=token) as api:
        found = api.get("/api/v1/events/passwd").raise_for_status().json()
        assert found["event_id"] == "passwd"
    assert archived_rows(platform) == files
    archive.kill()
    with platform.broker() as channel:
        eventually(lambda: waiting(channel, topology.ARCHIVE) > 0, what="events in the broker")
    # when the disk has space again, then all events are archived
    filler.unlink()
    archive.start()
    eventually(lambda: archived_rows(platform) == files + len(events), what="all events")
    archive.stop()
    platform.archive.respawn()


def archived_rows(platform: Platform) -> int:
    """The number of events in the files of the manifest."""
    dsn = platform.database.dsn(ARCHIVE)
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(sum(rows), 0)::int FROM archive.files")
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def disk_alert_bytes() -> int:
    """The free space below which the alert ArchiveDiskFull is pending."""
    rules = yaml.safe_load((REPOSITORY / "monitoring/rules/pipeline.yaml").read_text())
    (expression,) = [
        rule["expr"]
        for group in rules["groups"]
        for rule in group["rules"]
        if rule.get("alert") == "ArchiveDiskFull"
    ]
    metric, _, limit = expression.partition("<")
    assert "auditflow_archive_free_bytes" in metric
    return math.prod(int(factor) for factor in limit.split("*"))
