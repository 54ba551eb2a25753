"""The bodies and the connections of a served service are limited."""

import socket
import ssl
import time

import h2.connection
import h2.events
import h2.settings
import httpx
import psutil
import pytest

from auditflow_local import ports
from auditflow_local.polling import eventually

from .served import Certificates, Serve, Served


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
        served.url("/size"), content=iter([b"x" * limit, b"x"]), verify=False, timeout=60
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
            served.url("/size"), content=b"x" * (15 * 2**20), verify=False, timeout=60
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
        except ConnectionError:  # another connection has replaced it
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
    """An HTTP/2 connection whose client grants the server a window of one byte for each stream."""

    def __init__(self, served: Served, context: ssl.SSLContext) -> None:
        context.set_alpn_protocols(["h2"])
        self._socket = context.wrap_socket(served.connect(), server_hostname="localhost")
        self._connection = h2.connection.H2Connection()
        self._connection.initiate_connection()
        self._connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1})
        self._flush()

    def get(self, path: str, *, stream: int = 1) -> None:
        headers = [(":method", "GET"), (":path", path), (":scheme", "https"), (":authority", "a")]
        self._connection.send_headers(stream, headers, end_stream=True)
        self._flush()

    def grant(self, size: int, *, stream: int = 1) -> None:
        self._connection.increment_flow_control_window(size, stream_id=stream)
        self._flush()

    def read_until(self, kind: type[h2.events.Event], *, stream: int) -> None:
        """Read until an event of a stream. Raises AssertionError if the connection ends."""
        while True:
            received = self._socket.recv(65_536)
            assert received
            for event in self._connection.receive_data(received):
                if isinstance(event, kind) and getattr(event, "stream_id", None) == stream:
                    return

    def close(self) -> None:
        self._socket.close()

    def _flush(self) -> None:
        self._socket.sendall(self._connection.data_to_send())


def test_an_http2_response_that_is_not_read_is_reset(
    serve: Serve, certificates: Certificates
) -> None:
    # Given a client that does not read a large response
    client = Http2Client(serve(**certificates.variables()), certificates.trust)
    client.get("/large", stream=1)
    # Then the stream ends, and another one of the same connection is served
    client.read_until(h2.events.StreamReset, stream=1)
    client.get("/", stream=3)
    client.grant(100, stream=3)
    client.read_until(h2.events.StreamEnded, stream=3)
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


def test_a_limit_of_connections_is_that_of_both_ports(
    serve: Serve, certificates: Certificates
) -> None:
    https = ports.pick()
    served = serve(HTTPS_PORT=str(https), MAX_CONNECTIONS="1", **certificates.variables())
    with served.connect() as connection:
        connection.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(1)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"https://localhost:{https}/", verify=certificates.trust)
