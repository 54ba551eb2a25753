"""`make up TLS=1`: every server and service accepts TLS only, and an event becomes an alert."""

import socket
import ssl
import time
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from auditflow_local import ports
from auditflow_local.layout import PORTS, Choices, Layout
from auditflow_local.progress import Progress
from auditflow_local.stack import Stack


def speaks_tls(port: int, context: ssl.SSLContext) -> bool:
    """Whether a port completes a verified TLS handshake at once."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            context.wrap_socket(plain, server_hostname="localhost").close()
    except (OSError, ssl.SSLError):
        return False
    return True


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
            assert speaks_tls(service.port, trusted), service.name
        assert speaks_tls(stack.rabbitmq.port, trusted)
        assert speaks_tls(stack.redis.port, trusted)

        # and a client that does not trust the authority refuses them
        assert not speaks_tls(stack.services[0].port, ssl.create_default_context())

        # and an event becomes an alert that the API shows
        by_name = {service.name: service for service in stack.services}
        with httpx.Client(verify=trusted, timeout=10, trust_env=False) as client:
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
            deadline = time.monotonic() + 60
            alerts: list[object] = []
            while not alerts:
                assert time.monotonic() < deadline, "no alert within 60 s"
                answer = client.get(
                    f"{by_name['notification-service'].url}/alerts",
                    headers={"Authorization": f"Bearer {stack.tokens['API_TOKEN']}"},
                )
                alerts = answer.raise_for_status().json()["alerts"]
                time.sleep(0.1)
    finally:
        stack.stop()
        for server in (*stack.servers, *stack.monitoring):
            server.destroy()
