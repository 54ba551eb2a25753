"""Requests to an API or a Redis that does not respond."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry

from auditflow.circuit import FAILURES, PAUSE_SECONDS, CircuitMetrics
from auditflow_local import ports
from event_audit_dashboard import errors, redis_client
from event_audit_dashboard.apis.connections import MAX_IDLE_SECONDS
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
    analyst = user(make(notification_service_port=ports.pick(), second_factor="off"))
    analyst.sign_in()
    pages = [analyst.get("/alerts") for _ in range(FAILURES + 1)]
    # Then each is an error page with the time of the next attempt
    assert {page.status_code for page in pages} == {503}
    assert "cannot be reached" in pages[0].text
    assert "does not respond; try again soon" in pages[-1].text
    assert pages[-1].headers["Retry-After"]


class ScriptedServer:
    """A server that answers the requests of each connection in turn with given bytes.

    After the last answer of a connection, it closes the connection.
    """

    def __init__(self, *connections: list[bytes]) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        #: The first line of each request.
        self.requests: list[bytes] = []
        self._connections = connections
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for answers in self._connections:
            connection, _ = self._server.accept()
            with connection, connection.makefile("rb") as reader:
                for answer in answers:
                    self.requests.append(reader.readline().strip())
                    length = 0
                    while line := reader.readline().strip().lower():
                        name, _, value = line.partition(b":")
                        length = int(value) if name == b"content-length" else length
                    reader.read(length)
                    connection.sendall(answer)
        self._server.close()

    def wait(self) -> None:
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()


OK = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: "1"\r\n\r\nhi'


def test_a_read_is_repeated_if_the_server_has_closed_the_kept_connection() -> None:
    server = ScriptedServer([OK, OK], [OK])
    transport = Transport("127.0.0.1", server.port)
    replies = [transport.send("GET", f"/{number}") for number in range(3)]
    server.wait()
    assert [(reply.status, reply.body, reply.headers["etag"]) for reply in replies] == [
        (200, b"hi", '"1"')
    ] * 3
    assert server.requests == [b"GET /0 HTTP/1.1", b"GET /1 HTTP/1.1", b"GET /2 HTTP/1.1"]


def test_an_action_is_not_sent_on_a_closed_connection() -> None:
    server = ScriptedServer([OK], [OK])
    transport = Transport("127.0.0.1", server.port)
    transport.send("GET", "/0")
    # The end of the connection arrives before the next request.
    (kept, _) = transport._connections._kept[0]
    kept.sock.recv(1, socket.MSG_PEEK)
    assert transport.send("POST", "/1", body=b"{}").body == b"hi"
    server.wait()


def test_an_action_is_not_repeated() -> None:
    # Given a server that closes the connection after it has received the action
    server = ScriptedServer([OK, b""], [OK])
    transport = Transport("127.0.0.1", server.port)
    transport.send("GET", "/0")
    with pytest.raises(errors.Unreachable):
        transport.send("POST", "/1", body=b"{}")
    # Then only the next request is sent
    transport.send("GET", "/2")
    server.wait()
    assert server.requests == [b"GET /0 HTTP/1.1", b"POST /1 HTTP/1.1", b"GET /2 HTTP/1.1"]


def test_connections_that_were_idle_are_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ScriptedServer([OK], [OK])
    transport = Transport("127.0.0.1", server.port)
    transport.send("GET", "/0")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + MAX_IDLE_SECONDS + 1)
    transport.send("GET", "/1")
    server.wait()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
        b"no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"",
    ],
)
def test_an_incomplete_or_invalid_response_is_an_error(answer: bytes) -> None:
    server = ScriptedServer([answer])
    transport = Transport("127.0.0.1", server.port)
    with pytest.raises(errors.Unreachable, match="cannot be reached"):
        transport.send("GET", "/0")
    server.wait()


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n', 304, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\n hi\r\n0\r\n\r\n",
            200,
            b"hi hi",
        ),
    ],
)
def test_a_connection_is_used_again_after_each_kind_of_response(
    answer: bytes, status: int, body: bytes
) -> None:
    server = ScriptedServer([answer, OK])
    transport = Transport("127.0.0.1", server.port)
    reply = transport.send("GET", "/0")
    assert (reply.status, reply.body) == (status, body)
    assert transport.send("GET", "/1").body == b"hi"
    server.wait()


def test_a_response_is_limited_in_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("event_audit_dashboard.apis.transport.MAX_RESPONSE_BYTES", 1000)
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001
    server = ScriptedServer([large])
    with pytest.raises(errors.BadResponse, match="too large"):
        Transport("127.0.0.1", server.port).send("GET", "/0")


def test_a_response_in_small_parts_is_limited_in_time() -> None:
    # Given a server that sends a byte before each timeout
    with socket.create_server(("127.0.0.1", 0)) as server:
        stopped = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not stopped.wait(0.02):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        with pytest.raises(errors.Unreachable, match="responds too slowly"):
            Transport("127.0.0.1", server.getsockname()[1]).send("GET", "/0", timeout=0.2)
        stopped.set()
        thread.join(timeout=60)


def test_a_stream_that_is_cut_off_is_an_error() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi"
    complete = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    failed = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}"
    server = ScriptedServer([cut], [complete], [failed])
    transport = Transport("127.0.0.1", server.port)
    _, parts = transport.stream("/0", headers={})
    with pytest.raises(errors.Unreachable, match="lost during the export"):
        list(parts)
    _, parts = transport.stream("/1", headers={})
    assert list(parts) == [b"hi"]
    reply, parts = transport.stream("/2", headers={})
    assert (reply.status, reply.body, list(parts)) == (403, b"{}", [])
    server.wait()
