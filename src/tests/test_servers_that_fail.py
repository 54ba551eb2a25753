"""A server that is killed under load or starts late: the services recover, and health is correct."""

import threading
from functools import partial
from typing import Any

import pytest

from auditflow_local.polling import eventually
from auditflow_local.service_process import ServiceProcess

from .events import alert_keys, alerts_of, attack_events, shuffled
from .platform import Platform, ask

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
