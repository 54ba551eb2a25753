"""`make up TLS=1`: every server and service accepts TLS only, and an event becomes an alert.

The dashboard reads the events of the archive and the rules of the analysis over TLS.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from auditflow_local import ports
from auditflow_local.layout import PORTS, Choices, Layout
from auditflow_local.polling import eventually
from auditflow_local.progress import Progress
from auditflow_local.stack import Stack


def accepts_tls(port: int, context: ssl.SSLContext) -> bool:
    """Whether a port completes a verified TLS handshake at once."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
            context.wrap_socket(plain, server_hostname="localhost").close()
    except (OSError, ssl.SSLError):
        return False
    return True


@contextmanager
def signed_in(stack: Stack, trusted: ssl.SSLContext) -> Iterator[httpx.Client]:
    """A browser that has signed in to the dashboard."""
    (dashboard,) = (item for item in stack.services if item.name == "event-audit-dashboard")
    url = dashboard.url
    with httpx.Client(base_url=url, verify=trusted, timeout=60, trust_env=False) as browser:
        (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', browser.get("/login").text)
        password = stack.tokens["DASHBOARD_PASSWORD"]
        answer = browser.post(
            "/login",
            data={"user": "admin", "password": password, "csrf_token": token},
            # The protection against forgery requires it over HTTPS.
            headers={"Referer": f"{url}/login"},
        )
        assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
        yield browser


def wait_for_text(browser: httpx.Client, path: str, pattern: str) -> None:
    def is_shown() -> bool:
        answer = browser.get(path)
        return answer.status_code == httpx.codes.OK and bool(re.search(pattern, answer.text))

    eventually(is_shown, what=f"{pattern} in {path}")


@pytest.mark.soak
def test_all_connections_use_tls(servers_folder: Path) -> None:
    # given a stack with TLS
    choices = Choices(ports={choice.name: ports.pick() for choice in PORTS}, tls=True, rate="0")
    stack = Stack(Layout(servers_folder / "tls"), choices, Progress(Console(quiet=True)))
    try:
        # when it starts
        stack.start()
        assert stack.tls is not None
        trusted = stack.tls.client_context()

        # then the services, the broker and Redis complete a TLS handshake that verifies them
        for service in stack.services:
            assert service.url.startswith("https://")
            assert accepts_tls(service.port, trusted), service.name
        assert accepts_tls(stack.rabbitmq.port, trusted)
        assert accepts_tls(stack.redis.port, trusted)

        # and a client that does not trust the authority refuses them
        assert not accepts_tls(stack.services[0].port, ssl.create_default_context())

        # and an event becomes an alert that the API shows
        by_name = {service.name: service for service in stack.services}
        with httpx.Client(verify=trusted, timeout=60, trust_env=False) as client:
            client.post(
                f"{by_name['audit-event-generator'].url}/generate_event",
                headers={"Authorization": f"Bearer {stack.tokens['INGEST_TOKEN']}"},
                json={
                    "event_type": "file_modified",
                    "action_result": "MODIFIED",
                    "user_id": "mallory",
                    "server_hostname": "db-01",
                    "resource": "/etc/passwd",
                },
            ).raise_for_status()

            def alerts() -> list[object]:
                answer = client.get(
                    f"{by_name['notification-service'].url}/alerts",
                    headers={"Authorization": f"Bearer {stack.tokens['API_TOKEN']}"},
                )
                return answer.raise_for_status().json()["alerts"]

            eventually(alerts, what="the alert")

        # and the dashboard shows the event of the archive, and the rules of the analysis
        with signed_in(stack, trusted) as browser:
            wait_for_text(browser, "/events?user=mallory", r"/events/detail\?id=")
            wait_for_text(browser, "/rules", "Burst of failed logins")
    finally:
        stack.stop()
        for server in (*stack.servers, *stack.monitoring):
            server.destroy()
