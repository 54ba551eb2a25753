"""A service is served over HTTPS."""

import ssl

import httpx
import pytest

from auditflow_local import ports
from auditflow_local.polling import eventually

from .served import Certificates, Serve, Served


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


@pytest.mark.parametrize("mode", ["wsgi", "asgi"])
def test_a_second_port_and_the_port_of_metrics_serve_https(
    serve: Serve, certificates: Certificates, mode: str
) -> None:
    # Given a second port with TLS, and metrics over TLS
    https, metrics = ports.pick(), ports.pick()
    served = serve(
        mode, HTTPS_PORT=str(https), METRICS_PORT=str(metrics), METRICS_TLS="true",
        **certificates.variables(),
    )  # fmt: skip
    trust = certificates.trust

    def get(port: int, path: str, scheme: str = "https") -> httpx.Response:
        return httpx.get(f"{scheme}://localhost:{port}{path}", verify=trust)

    def served_on(port: int, path: str) -> bool:
        try:
            return get(port, path).status_code == 200
        except httpx.ConnectError:  # the ports are opened one after another
            return False

    # Then both ports serve the same, and metrics need TLS
    eventually(lambda: served_on(metrics, "/metrics") and served_on(https, "/"))
    assert get(https, "/").status_code == served.get("/").status_code == 200
    assert get(https, "/metrics").status_code == served.get("/metrics").status_code == 404
    with pytest.raises(httpx.TransportError):
        get(metrics, "/metrics", "http")
    with pytest.raises(httpx.TransportError):
        get(https, "/", "http")
