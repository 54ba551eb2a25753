"""The commands that use the API of the archive trust the authority of ``TLS_CA_FILE`` only."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import trustme

from audit_analysis.cli import archive_api

AUTHORITY = trustme.CA()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers["Authorization"].encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An HTTPS server that returns the token of the request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "token")


def test_the_authority_of_the_setting_is_trusted(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.crt")
    monkeypatch.setenv("TLS_CA_FILE", str(tmp_path / "ca.crt"))
    assert archive_api.get(url, "/api/v1/ledger", {}) == b"Bearer token"


def test_another_authority_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
    monkeypatch.setenv("TLS_CA_FILE", str(tmp_path / "ca.crt"))
    with pytest.raises(click.ClickException, match="certificate verify failed"):
        archive_api.get(url, "/api/v1/ledger", {})


def test_a_missing_file_is_an_error_that_names_the_setting(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLS_CA_FILE", "/nowhere/ca.crt")
    with pytest.raises(click.ClickException, match="TLS_CA_FILE"):
        archive_api.get(url, "/api/v1/ledger", {})
