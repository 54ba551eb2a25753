"""Requests to an API or a Redis that does not respond."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry

from auditflow.circuit import FAILURES, PAUSE_SECONDS, CircuitMetrics
from event_audit_dashboard import errors, redis_client
from event_audit_dashboard.apis.transport import Transport
from event_audit_dashboard.settings import DashboardSettings

from .conftest import environment
from .fake_api import TOKEN, FakeApi


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.fixture
def make_settings() -> Callable[..., DashboardSettings]:
    def make(**changes: Any) -> DashboardSettings:
        given = {name.lower(): value for name, value in environment(1).items()}
        return DashboardSettings(**{**given, **changes})

    return make


def open_circuit(transport: Transport) -> None:
    for _ in range(FAILURES):
        with pytest.raises(errors.Unreachable):
            transport.send("GET", "/api/v1/alerts", timeout=0.05)


def test_requests_to_an_api_that_hangs_fail_at_once(silent_port: int) -> None:
    # Given an API that did not respond to some requests
    registry = CollectorRegistry()
    transport = Transport("127.0.0.1", silent_port, metrics=CircuitMetrics(registry))
    open_circuit(transport)
    # When more requests are made, none is sent
    for _ in range(20):
        with pytest.raises(errors.Suspended, match="does not respond; try again soon"):
            transport.send("GET", "/api/v1/alerts", timeout=600)
    with pytest.raises(errors.Suspended):
        transport.stream("/api/v1/alerts/export", headers={})
    # But a probe is sent
    with pytest.raises(errors.Unreachable):
        transport.send("GET", "/healthz", timeout=0.05, is_probe=True)
    labels = {"dependency": "notification-service", "reason": "open"}
    assert registry.get_sample_value("auditflow_circuit_refused_total", labels) == 21


def test_commands_to_a_redis_that_hangs_fail_at_once(silent_port: int, make_settings: Any) -> None:
    client = redis_client.connect(make_settings(redis_host="127.0.0.1", redis_port=silent_port))
    assert client is not None
    client.connection_pool.connection_kwargs |= {"socket_timeout": 0.05}
    for _ in range(FAILURES):
        with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
            client.get("x")
    client.connection_pool.connection_kwargs |= {"socket_timeout": 600}
    for _ in range(20):
        with pytest.raises(redis.ConnectionError, match="its last calls failed"):
            client.get("x")


def test_commands_reach_redis(redis_server: Any, make_settings: Any) -> None:
    client = redis_client.connect(
        make_settings(
            redis_host=redis_server.host,
            redis_port=redis_server.port,
            redis_password=redis_server.password_of("event-audit-dashboard"),
        )
    )
    assert client is not None
    assert client.ping()
    client.close()


def test_a_request_is_made_after_a_pause(silent_port: int) -> None:
    transport = Transport("127.0.0.1", silent_port)
    open_circuit(transport)
    deadline = time.monotonic() + 10 * PAUSE_SECONDS
    while time.monotonic() < deadline:
        try:
            transport.send("GET", "/api/v1/alerts", timeout=0.05)
        except errors.Suspended:
            time.sleep(0.05)
        except errors.Unreachable:
            return
    pytest.fail("no request was sent after the pause")


def test_an_api_that_returns_errors_responds(api: FakeApi) -> None:
    transport = Transport("127.0.0.1", api.port, token=TOKEN)
    for _ in range(2 * FAILURES):
        assert transport.send("GET", "/nothing").status == 404


def test_a_page_states_at_once_that_the_api_does_not_respond(make: Any, user: Any) -> None:
    # Given a dashboard whose API was stopped, when more pages are requested than open the circuit
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        unused_port = free.getsockname()[1]
    analyst = user(make(notification_service_port=unused_port, second_factor="off"))
    analyst.sign_in()
    pages = [analyst.get("/alerts") for _ in range(FAILURES + 1)]
    # Then each is an error page with the time of the next attempt
    assert {page.status_code for page in pages} == {503}
    assert "cannot be reached" in pages[0].text
    assert "does not respond; try again soon" in pages[-1].text
    assert pages[-1].headers["Retry-After"]
