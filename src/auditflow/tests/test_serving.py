"""A service is served over HTTP and HTTPS within limits, and ends in order."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h2.connection
import h2.settings
import httpx
import psutil
import pytest
import trustme

from .conftest import eventually

SAMPLE = """
    import asyncio, sys, threading
    from flask import Flask, request
    from prometheus_client import CollectorRegistry
    from auditflow.http import certificate, http2, serving, wsgi
    from auditflow.http.health import Health
    from auditflow.http.probes import Probes
    from auditflow.settings import ServiceSettings

    certificate.HANDSHAKES = 4
    http2.READ_SECONDS = 1
    serving.CERTIFICATE_SECONDS = 0.1
    wsgi.BODY_SECONDS = 2
    LARGE = "large" in sys.argv
    if LARGE:
        serving.WSGI_BODY_BYTES = serving.MAX_BODY_BYTES
        wsgi.BODIES = 2

    class Settings(ServiceSettings):
        pass

    writes = []
    write = asyncio.StreamWriter.write

    def count_write(self, data):
        writes.append(data)
        write(self, data)

    asyncio.StreamWriter.write = count_write
    released = threading.Event()

    async def asgi(scope, receive, send):
        if scope["type"] != "http":
            return
        path, body = scope["path"], scope["http_version"].encode()
        if path == "/writes":
            body = str(len(writes)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if path == "/release":
            released.set()
        if path == "/wait":
            await asyncio.to_thread(released.wait, 60)
        await send({"type": "http.response.body", "body": body})

    def wait():
        yield "first "
        released.wait(60)
        yield "last"

    parts = []

    def large():
        for number in range(1000):
            parts.append(number)
            yield bytes(64 * 1024)

    def release():
        released.set()
        return "released"

    def run(settings):
        app = Flask("sample", static_folder=None)
        app.add_url_rule("/", "root", lambda: "hello")
        app.add_url_rule("/metrics", "metrics", lambda: "main port")
        app.add_url_rule("/writes", "writes", lambda: str(len(writes)))
        app.add_url_rule("/wait", "wait", wait)
        app.add_url_rule("/large", "large", large)
        app.add_url_rule("/parts", "parts", lambda: str(len(parts)))
        app.add_url_rule("/release", "release", release)
        app.add_url_rule("/nothing", "nothing", lambda: ("", 204))
        app.add_url_rule(
            "/size", "size", lambda: str(len(request.get_data())), methods=["POST"]
        )
        app.add_url_rule(
            "/version", "version", lambda: request.environ["SERVER_PROTOCOL"]
        )
        probes = Probes(Health({}), CollectorRegistry(), service="sample")
        mode = "asgi" if "asgi" in sys.argv else "wsgi"
        serving.serve(
            asgi if mode == "asgi" else app, settings, mode=mode, probes=probes,
            on_stop=lambda: print('{"stopped": 1}', flush=True),
        )

    serving.start("sample", Settings, run)
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Served:
    """The sample service in its own process."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SAMPLE), *arguments],
            env={**os.environ, "HOST": "127.0.0.1", "PORT": str(self.port), **variables},
            stdout=subprocess.PIPE,
            text=True,
        )
        eventually(self._accepts)

    def _accepts(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True

    def url(self, path: str, *, scheme: str = "http") -> str:
        return f"{scheme}://localhost:{self.port}{path}"

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url(path), verify=False, timeout=20)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[Served] = []

    def start(*arguments: str, **variables: str) -> Served:
        started.append(Served(*arguments, **variables))
        return started[-1]

    yield start
    for served in started:
        served.stop()


def test_a_response_without_a_body_is_sent(serve: Serve) -> None:
    served = serve()
    assert httpx.head(served.url("/"), verify=False).status_code == 200
    assert served.get("/nothing").status_code == 204


@pytest.mark.parametrize("mode", ["wsgi", "asgi"])
def test_a_short_response_is_written_once(serve: Serve, mode: str) -> None:
    served = serve(mode)
    before, after = (
        httpx.get(served.url("/writes"), headers={"Connection": "close"}, verify=False).text
        for _ in range(2)
    )
    # Without a known length, a chunk with the end of the body follows.
    assert int(after) - int(before) == (1 if mode == "wsgi" else 2)


@pytest.mark.parametrize("mode", ["wsgi", "asgi"])
def test_the_start_of_a_response_does_not_wait_for_its_end(serve: Serve, mode: str) -> None:
    served = serve(mode)
    with httpx.stream("GET", served.url("/wait"), verify=False, timeout=20) as answer:
        assert answer.status_code == 200
        parts = answer.iter_text()
        received = next(parts) if mode == "wsgi" else ""
        assert received == ("first " if mode == "wsgi" else "")
        assert served.get("/release").status_code == 200
        assert "".join([received, *parts]) == ("first last" if mode == "wsgi" else "1.1")


def test_sigterm_ends_the_process_in_order(serve: Serve) -> None:
    process = serve().process
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    lines = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0
    assert {"stopped": 1} in lines
    assert {line.get("service") for line in lines if "event" in line} == {"sample"}


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({}, "PORT: is not set"),
        ({"PORT": "1", "TLS_CERT_FILE": __file__, "TLS_KEY_FILE": __file__}, "cannot be used"),
    ],
)
def test_wrong_settings_end_the_process_with_a_reason(
    variables: dict[str, str], error: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PORT"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SAMPLE)],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert error in done.stderr
    assert "Traceback" not in done.stderr


# TLS and HTTP/2


class Certificates:
    """Files of a server certificate, and a client context that trusts its authority."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.trust = self.issue()

    def issue(self) -> ssl.SSLContext:
        """Write a certificate of a new authority; return a context that trusts only it."""
        authority = trustme.CA()
        server = authority.issue_cert("localhost")
        self.certificate.write_bytes(b"".join(p.bytes() for p in server.cert_chain_pems))
        self.key.write_bytes(server.private_key_pem.bytes())
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    def variables(self) -> dict[str, str]:
        return {"TLS_CERT_FILE": str(self.certificate), "TLS_KEY_FILE": str(self.key)}


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def negotiated(served: Served, context: ssl.SSLContext, offered: list[str]) -> str | None:
    context.set_alpn_protocols(offered)
    with context.wrap_socket(served.connect(), server_hostname="localhost") as connection:
        return connection.selected_alpn_protocol()


def test_https_verifies_and_negotiates_by_alpn(serve: Serve, certificates: Certificates) -> None:
    served = serve(**certificates.variables())
    response = httpx.get(served.url("/version", scheme="https"), verify=certificates.trust)
    assert response.text == "HTTP/1.1"
    assert negotiated(served, certificates.trust, ["h2", "http/1.1"]) == "h2"
    assert negotiated(served, certificates.trust, ["http/1.1"]) == "http/1.1"
    with pytest.raises(httpx.HTTPError):
        served.get("/")


def test_old_versions_of_tls_are_refused(serve: Serve, certificates: Certificates) -> None:
    served = serve(**certificates.variables())
    old = certificates.trust
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(served.connect(), server_hostname="localhost")


def test_a_renewed_certificate_is_used_without_a_restart(
    serve: Serve, certificates: Certificates
) -> None:
    served = serve(**certificates.variables())
    url = served.url("/", scheme="https")
    assert httpx.get(url, verify=certificates.trust).status_code == 200
    # a damaged file changes nothing
    damaged = certificates.certificate.read_bytes()
    certificates.certificate.write_bytes(b"damaged")
    assert httpx.get(url, verify=certificates.trust).status_code == 200
    certificates.certificate.write_bytes(damaged)
    renewed = certificates.issue()

    def accepted() -> bool:
        try:
            return httpx.get(url, verify=renewed).status_code == 200
        except httpx.ConnectError:
            return False

    eventually(accepted)


@pytest.mark.parametrize("mode", ["wsgi", "asgi"])
def test_http2_without_alpn_is_refused(serve: Serve, mode: str) -> None:
    served = serve(mode)
    with served.connect() as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        assert connection.recv(100).startswith(b"HTTP/1.1 505 ")
    with served.connect() as connection:
        connection.sendall(
            b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
        )
        assert connection.recv(100)[:10] in (b"HTTP/1.1 2",)
    with served.connect() as connection:  # in single bytes
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert not connection.recv(100).startswith(b"HTTP/2")
    assert served.get("/nothing").status_code in (200, 204)


# Limits


def post(length: int, sent: int = 0) -> bytes:
    head = f"POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()
    return head + b"x" * sent


def response_status(connection: socket.socket) -> int:
    return int(connection.recv(4096).split()[1])


def test_a_body_has_a_maximum_size(serve: Serve) -> None:
    served = serve()
    limit = 1024 * 1024
    for size, status in ((limit, 200), (limit + 1, 413)):
        answer = httpx.post(served.url("/size"), content=b"x" * size, verify=False)
        assert answer.status_code == status
    chunked = httpx.post(
        served.url("/size"), content=iter([b"x" * limit, b"x"]), verify=False, timeout=30
    )
    assert chunked.status_code == 413
    assert chunked.headers["content-type"] == "application/problem+json"


def test_an_unfinished_body_is_refused_in_time(serve: Serve) -> None:
    with serve().connect() as connection:
        connection.sendall(post(1000, sent=10))
        assert response_status(connection) == 408


def test_unfinished_bodies_use_limited_memory(serve: Serve) -> None:
    # Given 16 connections that each send 15 MiB of an unfinished body
    served = serve("large")
    before = psutil.Process(served.process.pid).memory_info().rss
    connections = [served.connect() for _ in range(16)]
    for connection in connections:
        connection.setblocking(False)
        part = post(16 * 2**20)
        with_body = part + b"x" * (15 * 2**20)
        sent = 0
        for _ in range(2000):
            try:
                sent += connection.send(with_body[sent : sent + 2**20])
            except (BlockingIOError, ConnectionError):
                break
    # then the process stays far below 256 MiB
    peak = 0

    def other_requests_are_served() -> bool:
        nonlocal peak
        peak = max(peak, psutil.Process(served.process.pid).memory_info().rss)
        return served.get("/").status_code == 200

    eventually(other_requests_are_served)
    for connection in connections:
        connection.close()
    assert peak - before < 80 * 2**20


def test_bodies_together_are_limited(serve: Serve) -> None:
    # Given two unfinished bodies of 15 MiB with a total of 32 MiB
    served = serve("large")
    waiting = [served.connect() for _ in range(2)]
    for connection in waiting:
        connection.sendall(post(16 * 2**20, sent=15 * 2**20))

    # then a third is refused, and accepted after the others have ended
    def send() -> int:
        answer = httpx.post(
            served.url("/size"), content=b"x" * (15 * 2**20), verify=False, timeout=30
        )
        return answer.status_code

    assert send() == 503
    for connection in waiting:
        connection.close()
    eventually(lambda: send() == 200)


def test_connections_are_limited(serve: Serve) -> None:
    # Given as many connections as permitted, all with a request that the service processes
    served = serve(MAX_CONNECTIONS="3")
    connections = [served.connect() for _ in range(3)]
    for connection in connections:
        connection.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(1)

    # Then a further one is closed, until one of them ends
    def is_refused() -> bool:
        with served.connect() as another:
            another.sendall(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
            try:
                return another.recv(100) == b""
            except ConnectionError:
                return True

    eventually(is_refused)
    for connection in connections:
        connection.close()
    eventually(lambda: not is_refused())


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nX-Slow: ", post(1000, sent=1)], ids=["idle", "head", "body"]
)
def test_slow_connections_do_not_block_others(serve: Serve, sent: bytes) -> None:
    # Given many connections whose requests never become complete
    served = serve(MAX_CONNECTIONS="3")
    slow = [served.connect() for _ in range(20)]
    for connection in slow:
        try:
            connection.sendall(sent)
        except ConnectionError:  # another one has replaced it
            continue
    # Then each new connection is served at once
    for _ in range(5):
        assert served.get("/").text == "hello"
    for connection in slow:
        connection.close()


def test_a_response_that_is_not_read_ends_the_connection(serve: Serve) -> None:
    served = serve(MAX_CONNECTIONS="3")
    with served.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        process = psutil.Process(served.process.pid)

        def accepted() -> int:
            states = (item.status for item in process.net_connections("tcp"))
            return sum(state == psutil.CONN_ESTABLISHED for state in states)

        eventually(lambda: accepted() == 1)
        eventually(lambda: accepted() == 0)


class Http2Client:
    """An HTTP/2 connection whose client grants the server only the given window."""

    def __init__(self, served: Served, context: ssl.SSLContext) -> None:
        context.set_alpn_protocols(["h2"])
        self._socket = context.wrap_socket(served.connect(), server_hostname="localhost")
        self._connection = h2.connection.H2Connection()
        self._connection.initiate_connection()
        self._connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1})
        self._flush()

    def get(self, path: str) -> None:
        headers = [(":method", "GET"), (":path", path), (":scheme", "https"), (":authority", "a")]
        self._connection.send_headers(1, headers, end_stream=True)
        self._flush()

    def grant(self, size: int) -> None:
        self._connection.increment_flow_control_window(size, stream_id=1)
        self._flush()

    def is_closed(self) -> bool:
        """Read until the server closes the connection."""
        try:
            return self._socket.recv(65_536) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self._socket.close()

    def _flush(self) -> None:
        self._socket.sendall(self._connection.data_to_send())


def test_an_http2_response_without_a_window_ends_the_connection(
    serve: Serve, certificates: Certificates
) -> None:
    client = Http2Client(serve(**certificates.variables()), certificates.trust)
    client.get("/large")
    eventually(client.is_closed)
    client.close()


def test_a_small_http2_window_does_not_fill_the_memory(
    serve: Serve, certificates: Certificates
) -> None:
    # Given a client that reads single bytes of a large response
    served = serve(**certificates.variables())
    client = Http2Client(served, certificates.trust)
    client.get("/large")
    for _ in range(200):
        client.grant(1)
        time.sleep(0.001)  # so that each is a read of its own
    # Then the service has produced only a few parts of it
    produced = httpx.get(served.url("/parts", scheme="https"), verify=certificates.trust).text
    assert int(produced) < 10
    client.close()


def test_unfinished_handshakes_are_limited(serve: Serve, certificates: Certificates) -> None:
    # Given as many unfinished handshakes as permitted
    served = serve(**certificates.variables())
    url = served.url("/", scheme="https")
    unfinished = [served.connect() for _ in range(4)]
    for connection in unfinished:
        connection.sendall(b"\x16\x03\x01\x00\xf8")

    # Then a further connection is refused, until they have ended
    def is_served() -> bool:
        try:
            return httpx.get(url, verify=certificates.trust).status_code == 200
        except httpx.TransportError:
            return False

    eventually(lambda: not is_served())
    for connection in unfinished:
        connection.close()
    eventually(is_served)


def test_a_connection_without_a_complete_request_is_closed(serve: Serve) -> None:
    with serve().connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        assert connection.recv(100) == b""


# The port of metrics


@pytest.mark.parametrize("mode", ["wsgi", "asgi"])
def test_metrics_have_their_own_port(serve: Serve, mode: str) -> None:
    port = free_port()
    served = serve(mode, METRICS_PORT=str(port))

    def get(path: str) -> Any:
        return httpx.get(f"http://127.0.0.1:{port}{path}", verify=False)

    eventually(lambda: get("/metrics").status_code == 200)
    assert get("/healthz").json() == {"status": "alive", "service": "sample"}
    assert get("/readyz").json()["status"] == "ready"
    assert get("/size").status_code == 404
    for path in ("/metrics", "/metrics/", "/metrics?x"):
        assert served.get(path).status_code == 404
    served.process.send_signal(signal.SIGTERM)
    served.process.communicate(timeout=20)
    assert served.process.returncode == 0


def test_without_their_own_port_the_main_port_serves_metrics(serve: Serve) -> None:
    assert serve().get("/metrics").text == "main port"


# Two ports


@pytest.mark.parametrize("mode", ["wsgi", "asgi"])
def test_a_second_port_and_the_port_of_metrics_serve_https(
    serve: Serve, certificates: Certificates, mode: str
) -> None:
    # Given a second port with TLS, and metrics over TLS
    https, metrics = free_port(), free_port()
    served = serve(
        mode, HTTPS_PORT=str(https), METRICS_PORT=str(metrics), METRICS_TLS="true",
        **certificates.variables(),
    )  # fmt: skip
    trust = certificates.trust

    def get(port: int, path: str, scheme: str = "https") -> httpx.Response:
        return httpx.get(f"{scheme}://localhost:{port}{path}", verify=trust)

    # Then both ports serve the same, and metrics need TLS
    eventually(lambda: get(metrics, "/metrics").status_code == 200)
    assert get(https, "/").status_code == served.get("/").status_code == 200
    assert get(https, "/metrics").status_code == served.get("/metrics").status_code == 404
    with pytest.raises(httpx.TransportError):
        get(metrics, "/metrics", "http")
    with pytest.raises(httpx.TransportError):
        get(https, "/", "http")


def test_a_limit_of_connections_is_that_of_both_ports(
    serve: Serve, certificates: Certificates
) -> None:
    https = free_port()
    served = serve(HTTPS_PORT=str(https), MAX_CONNECTIONS="1", **certificates.variables())
    with served.connect() as connection:
        connection.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(1)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"https://localhost:{https}/", verify=certificates.trust)
