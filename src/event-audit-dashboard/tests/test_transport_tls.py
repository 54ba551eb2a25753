"""Requests to an API over TLS."""

import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
import trustme

from event_audit_dashboard import errors
from event_audit_dashboard.apis.transport import Transport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class TlsServer:
    """Answers two requests on each connection, and then cuts it as a killed process does."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._server = socket.create_server(("localhost", 0))
        self.port: int = self._server.getsockname()[1]
        #: The number of connections with a complete handshake.
        self.connections = 0
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            plain, _ = self._server.accept()
            if self._is_stopped:
                plain.close()
                return
            try:
                self._serve(self._context.wrap_socket(plain, server_side=True))
            except OSError:  # the client has refused the certificate, or closed the connection
                plain.close()

    def _serve(self, connection: ssl.SSLSocket) -> None:
        self.connections += 1
        with connection, connection.makefile("rb") as reader:
            for _ in range(2):
                while reader.readline().strip():
                    pass
                connection.sendall(OK)
            # Only TCP ends, without the message of TLS about the end.
            connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self._is_stopped = True
        with socket.create_connection(("localhost", self.port)):
            self._thread.join(timeout=60)
        self._server.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts the authority of the server."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[TlsServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    served = TlsServer(context)
    yield served
    served.stop()


def test_requests_share_a_connection_until_it_is_cut(
    server: TlsServer, trust: ssl.SSLContext
) -> None:
    transport = Transport("localhost", server.port, tls=trust)
    bodies = [transport.send("GET", f"/{number}").body for number in range(3)]
    transport.close()
    assert bodies == [b"hi"] * 3
    assert server.connections == 2


def test_a_server_with_the_certificate_of_another_authority_is_refused(server: TlsServer) -> None:
    trust = ssl.create_default_context()
    trustme.CA().configure_trust(trust)
    transport = Transport("localhost", server.port, tls=trust)
    with pytest.raises(errors.Unreachable, match="cannot be reached"):
        transport.send("GET", "/")
    with pytest.raises(errors.Unreachable):
        transport.stream("/", headers={})
    assert server.connections == 0


def test_a_server_with_a_certificate_for_another_name_is_refused(
    server: TlsServer, trust: ssl.SSLContext
) -> None:
    transport = Transport("127.0.0.1", server.port, tls=trust)
    with pytest.raises(errors.Unreachable, match="cannot be reached"):
        transport.send("GET", "/")
