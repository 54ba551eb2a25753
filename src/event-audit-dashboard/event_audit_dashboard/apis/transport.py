"""HTTP requests to an API of another service: pooled connections, a deadline and size limit."""

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import urllib3
from msgspec import Struct

from auditflow.circuit import OPEN, CallRefused, Circuit, CircuitMetrics
from event_audit_dashboard import errors
from event_audit_dashboard.localization.translation import N_

#: Limit for the complete request, in seconds.
TIMEOUT_SECONDS: Final = 2.0
#: 50 findings with two events of 256 KiB each, plus their surrounding JSON.
MAX_RESPONSE_BYTES: Final = 32 * 1024 * 1024
#: Limit for the time between two parts of a streamed response, in seconds.
STREAM_SECONDS: Final = 60.0
_CHUNK_BYTES: Final = 256 * 1024
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
    headers: Mapping[str, str]
    body: bytes


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
        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._pool = (
            urllib3.HTTPConnectionPool(host, port, maxsize=64, headers=headers, retries=False)
            if tls is None
            else urllib3.HTTPSConnectionPool(
                host, port, maxsize=64, headers=headers, retries=False, ssl_context=tls
            )
        )

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
        sent = {**self._pool.headers, **(headers or {})}
        try:
            try:
                return self._send_once(method, path, sent, body, timeout)
            except urllib3.exceptions.ProtocolError:
                # The server has closed a pooled connection. A read may be repeated safely.
                if method != "GET":
                    raise
                return self._send_once(method, path, sent, body, timeout)
        except urllib3.exceptions.NewConnectionError:
            raise errors.Unreachable(_UNREACHABLE, service=self.service.name) from None
        except urllib3.exceptions.TimeoutError:
            raise errors.Unreachable(
                N_("%(service)s did not respond within %(count)s seconds"),
                service=self.service.name,
                count=f"{timeout:.0f}",
            ) from None
        except urllib3.exceptions.HTTPError:
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
        try:
            response = self._pool.urlopen(
                "GET",
                path,
                headers={**self._pool.headers, **headers},
                timeout=urllib3.Timeout(connect=TIMEOUT_SECONDS, read=STREAM_SECONDS),
                redirect=False,
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError:
            raise errors.Unreachable(_UNREACHABLE, service=self.service.name) from None
        if response.status != 200:
            try:
                body = response.read(_CHUNK_BYTES)
            finally:
                response.close()
            return Reply(response.status, response.headers, body), iter(())
        return Reply(200, response.headers, b""), _parts(response)

    def _send_once(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Reply:
        deadline = time.monotonic() + timeout
        response = self._pool.urlopen(
            method,
            path,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(total=timeout),
            redirect=False,
            preload_content=False,
            decode_content=True,
        )
        try:
            content = _read(response, deadline)
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return Reply(response.status, response.headers, content)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


def _parts(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    try:
        yield from response.stream(_CHUNK_BYTES)
    except urllib3.exceptions.HTTPError:
        raise errors.Unreachable(N_("the connection was lost during the export")) from None
    finally:
        response.close()


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    body = bytearray()
    while chunk := response.read(_CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            raise errors.BadResponse(N_("the API's response is too large"))
        if time.monotonic() > deadline:
            raise errors.Unreachable(N_("the API responds too slowly"))
    return bytes(body)
