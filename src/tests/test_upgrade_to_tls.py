"""The upgrade to TLS of running servers with data: docs/how-to/upgrade-to-tls.md.

The servers change first, while the services still connect without TLS. Then the services change.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from auditflow_local import ports
from auditflow_local.layout import PORTS, Choices, Layout
from auditflow_local.polling import eventually
from auditflow_local.progress import Progress
from auditflow_local.stack import Stack

#: Events that wait in the queue during the upgrade.
WAITING = 20


def post(stack: Stack, **fields: Any) -> int:
    """Send an event, and return the status of the answer."""
    (ingest,) = (item for item in stack.services if item.name == "audit-event-generator")
    return httpx.post(
        f"{ingest.url}/generate_event",
        headers={"Authorization": f"Bearer {stack.tokens['INGEST_TOKEN']}"},
        json={"server_hostname": "db-01", **fields},
        verify=stack.tls.client_context() if stack.tls else True,
        timeout=60,
        trust_env=False,
    ).status_code


def change_of(user: str) -> dict[str, str]:
    """A change of a sensitive file, which is an alert by itself."""
    return {
        "event_type": "file_modified",
        "action_result": "MODIFIED",
        "user_id": user,
        "resource": "/etc/passwd",
    }


def failed_login(number: int) -> dict[str, str]:
    return {
        "event_id": f"login-{number}",
        "event_type": "user_login",
        "action_result": "FAILURE",
        "user_id": "carol",
    }


def actors(stack: Stack) -> set[str]:
    """The actors of all alerts."""
    (api,) = (item for item in stack.services if item.name == "notification-service")
    answer = httpx.get(
        f"{api.url}/alerts?limit=200",
        headers={"Authorization": f"Bearer {stack.tokens['API_TOKEN']}"},
        verify=stack.tls.client_context() if stack.tls else True,
        timeout=60,
        trust_env=False,
    )
    return {alert["actor"] for alert in answer.raise_for_status().json()["alerts"]}


@pytest.mark.soak
def test_nothing_is_lost_when_servers_and_then_services_change(servers_folder: Path) -> None:
    # Given a stack without TLS, with an alert, a half full window, and messages that wait
    layout = Layout(servers_folder / "upgrade")
    choices = Choices(ports={choice.name: ports.pick() for choice in PORTS}, rate="0")
    progress = Progress(Console(quiet=True))
    old = Stack(layout, choices, progress)
    new: Stack | None = None
    try:
        old.start()
        assert post(old, **change_of("before")) == httpx.codes.ACCEPTED
        assert post(old, **failed_login(1)) == httpx.codes.ACCEPTED
        assert post(old, **failed_login(2)) == httpx.codes.ACCEPTED
        eventually(lambda: "before" in actors(old), what="the alert before the upgrade")
        (analysis,) = (item for item in old.services if item.name == "audit-log-analysis")
        analysis.stop()
        for number in range(WAITING):
            assert post(old, **change_of(f"waiting-{number}")) == httpx.codes.ACCEPTED

        # when the servers change to TLS
        for server in old.servers:
            server.stop()
        new = Stack(layout, replace(choices, tls=True), progress)
        for server in new.servers:
            server.start()

        # then a service that connects without TLS refuses events, and keeps running
        assert post(old, **change_of("refused")) == httpx.codes.SERVICE_UNAVAILABLE
        (ingest,) = (item for item in old.services if item.name == "audit-event-generator")
        assert ingest.running

        # and when the services change too
        for service in old.services:
            service.stop()
        for monitor in old.monitoring:
            monitor.stop()
        for service in new.services:
            service.start()
        assert post(new, **change_of("refused")) == httpx.codes.ACCEPTED
        assert post(new, **failed_login(3)) == httpx.codes.ACCEPTED

        # then every event is an alert: those before, those that waited, the one that was sent again,
        # and the burst that began before the upgrade
        expected = {"before", "refused", "carol", *(f"waiting-{it}" for it in range(WAITING))}
        upgraded = new
        eventually(lambda: actors(upgraded) == expected, what="all alerts after the upgrade")
    finally:
        for stack in (old, new):
            if stack is not None:
                stack.stop()
        for server in (*old.servers, *old.monitoring):
            server.destroy()
