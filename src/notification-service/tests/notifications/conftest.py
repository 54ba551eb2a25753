"""Receivers that count, and routing files."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

KEY = "a-signing-key-of-the-tests-0001"


class Sink:
    """An HTTP server that keeps what it receives. ``answers`` are given first, then 204."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.hold = threading.Event()
        self.hold.set()
        self._lock = threading.Lock()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers = sink._take(dict(self.headers.items()), body)
                sink.hold.wait(30)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def _take(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
        with self._lock:
            self.headers.append({name.lower(): value for name, value in headers.items()})
            self.bodies.append(body)
            answer = self.answers.pop(0) if self.answers else (204, {})
            if answer[0] < 300:
                self.received.append(json.loads(body))
            return answer

    def ids(self) -> list[str]:
        """The identifiers of the notifications that were taken, with repeats."""
        with self._lock:
            return [notification["notification_id"] for notification in self.received]

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def signature_of(headers: dict[str, str], body: bytes, key: str = KEY) -> str:
    """The signature as a receiver computes it, by the specification."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return (
        "v1," + base64.b64encode(hmac.new(key.encode(), signed, hashlib.sha256).digest()).decode()
    )


@pytest.fixture
def make_sink() -> Iterator[Callable[[], Sink]]:
    made: list[Sink] = []

    def make() -> Sink:
        made.append(Sink())
        return made[-1]

    yield make
    for sink in made:
        sink.close()


@pytest.fixture
def sink(make_sink: Callable[[], Sink]) -> Sink:
    return make_sink()


@pytest.fixture
def verified() -> Callable[[Sink], bool]:
    """Whether all that a sink received is signed with the key."""
    return lambda sink: all(
        signature_of(headers, body) == headers["webhook-signature"]
        for headers, body in zip(sink.headers, sink.bodies, strict=True)
    )


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Writes a routing file and secrets, and returns the variables of a service with them."""
    folder, secrets = tmp_path / "routes", tmp_path / "receiver-secrets"
    folder.mkdir()
    secrets.mkdir()
    (secrets / "KEY").write_text(KEY)

    def write(text: str, **more: str) -> dict[str, str]:
        (folder / "routes.yaml").write_text(text)
        for name, value in more.items():
            (secrets / name).write_text(value)
        return {
            "ROUTES_FILE": str(folder / "routes.yaml"),
            "RECEIVER_SECRETS_DIR": str(secrets),
            "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "DASHBOARD_URL": "http://dashboard.example",
        }

    return write
