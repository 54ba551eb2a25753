"""HTTP requests to an API of another service: kept connections, a deadline and size limit."""

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import Final

from msgspec import Struct

from auditflow.circuit import OPEN, CallRefused, Circuit, CircuitMetrics
from event_audit_dashboard import errors
from event_audit_dashboard.apis.connections import Connections
from event_audit_dashboard.localization.translation import N_

#: Limit for the complete request, in seconds.
TIMEOUT_SECONDS: Final = 2.0
#: 50 findings with two events of 256 KiB each, plus their surrounding JSON.
MAX_RESPONSE_BYTES: Final = 32 * 1024 * 1024
#: Limit for the time between two parts of a streamed response, in seconds.
STREAM_SECONDS: Final = 60.0
_CHUNK_BYTES: Final = 256 * 1024
_LOST: Final = N_("the connection was lost during the export")
_UNREACHABLE: Final = N_("%(service)s cannot be reached")


class Service(Struct, frozen=True):
    """Names of a service in texts (``the analysis``), logs and traces, and what it has."""

    name: str
    slug: str
    data: str


NOTIFICATION_SERVICE: Final = Service(
    N_("the notification service"), "notification-service", N_("the alerts")
)


class Reply(Struct, frozen=True):
    """Status, headers and body of a response."""

    status: int
    headers: Message
    body: bytes


class _Request(Struct, frozen=True):
    """``deadline`` is the end of the time for the response, on the monotonic clock."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None
    deadline: float


class Transport:
    """Sends requests to one base URL. It is thread-safe."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        service: Service = NOTIFICATION_SERVICE,
        metrics: CircuitMetrics | None = None,
    ) -> None:
        """With ``tls``, requests use HTTPS, and the context verifies the server."""
        self.service = service
        self._circuit = Circuit(service.slug, counts=(errors.Unreachable,), metrics=metrics)
        host = host.strip("[]")
        self._headers = {"Accept": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connections = Connections(host, port, tls=tls)

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = TIMEOUT_SECONDS,
        is_probe: bool = False,
    ) -> Reply:
        """Send a request and read the complete response.

        A request fails at once if the last requests failed, or if too many are in progress. This
        does not apply to probes.

        Raises:
            Unreachable: no connection, or no complete response within ``timeout`` seconds.
            BadResponse: the response is larger than MAX_RESPONSE_BYTES.
        """
        if is_probe:
            return self._send(method, path, headers, body, timeout)
        with self._attempt():
            return self._send(method, path, headers, body, timeout)

    @contextmanager
    def _attempt(self) -> Iterator[None]:
        try:
            with self._circuit.attempt():
                yield
        except CallRefused as error:
            if error.cause == OPEN:
                message = N_("%(service)s does not respond; try again soon")
            else:
                message = N_("%(service)s has too many requests; try again soon")
            raise errors.Suspended(message, service=self.service.name) from None

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        timeout: float,
    ) -> Reply:
        request = _Request(
            method, path, {**self._headers, **(headers or {})}, body, time.monotonic() + timeout
        )
        try:
            kept = self._connections.take_kept(may_be_lost=method == "GET")
            if kept is not None:
                try:
                    return self._exchange(kept, request, timeout)
                except (ConnectionError, HTTPException):
                    # The server has closed the kept connection. A read may be repeated safely.
                    if method != "GET":
                        raise
            return self._exchange(self._connections.create(timeout), request, timeout)
        except TimeoutError:
            raise errors.Unreachable(
                N_("%(service)s did not respond within %(count)s seconds"),
                service=self.service.name,
                count=f"{timeout:.0f}",
            ) from None
        except (OSError, HTTPException):
            raise errors.Unreachable(_UNREACHABLE, service=self.service.name) from None

    def stream(self, path: str, *, headers: Mapping[str, str]) -> tuple[Reply, Iterator[bytes]]:
        """Send a GET request. Return status and headers, and the parts of the body.

        The body of an error is in the reply. No limit applies to the total time.

        Raises:
            Unreachable: no connection, or no response within ``STREAM_SECONDS``.
        """
        with self._attempt():
            return self._stream(path, headers)

    def _stream(self, path: str, headers: Mapping[str, str]) -> tuple[Reply, Iterator[bytes]]:
        connection = self._connections.create(TIMEOUT_SECONDS)
        try:
            connection.connect()
            connection.sock.settimeout(STREAM_SECONDS)
            connection.request("GET", path, headers={**self._headers, **headers})
            response = connection.getresponse()
            if response.status == 200:
                return Reply(200, response.headers, b""), _parts(connection, response)
            body = response.read(_CHUNK_BYTES)
        except (OSError, HTTPException):
            connection.close()
            raise errors.Unreachable(_UNREACHABLE, service=self.service.name) from None
        connection.close()
        return Reply(response.status, response.headers, body), iter(())

    def _exchange(self, connection: HTTPConnection, request: _Request, timeout: float) -> Reply:
        """Send a request and read the response."""
        try:
            if connection.sock is not None and connection.sock.gettimeout() != timeout:
                connection.sock.settimeout(timeout)
            connection.request(
                request.method, request.path, body=request.body, headers=request.headers
            )
            response = connection.getresponse()
            content = _read(response, request.deadline)
        except BaseException:
            connection.close()
            raise
        self._connections.keep(connection)
        return Reply(response.status, response.headers, content)

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()


def _parts(connection: HTTPConnection, response: HTTPResponse) -> Iterator[bytes]:
    try:
        while part := response.read1(_CHUNK_BYTES):
            yield part
        if response.length:
            raise errors.Unreachable(_LOST)
    except (OSError, HTTPException):
        raise errors.Unreachable(_LOST) from None
    finally:
        response.close()
        connection.close()


def _read(response: HTTPResponse, deadline: float) -> bytes:
    body = bytearray()
    try:
        while chunk := response.read1(_CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise errors.BadResponse(N_("the API's response is too large"))
            if time.monotonic() > deadline:
                raise errors.Unreachable(N_("the API responds too slowly"))
        if response.length:  # the connection was lost
            raise IncompleteRead(bytes(body), response.length)
    finally:
        response.close()  # ``read1`` does not notice the end
    return bytes(body)
