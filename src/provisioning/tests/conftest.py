"""Connections to the test broker, and an API server with the Secrets of one namespace."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pika
import pytest

from provisioning.kubernetes import Namespace

Parameters = Callable[[str], pika.ConnectionParameters]


@pytest.fixture
def parameters(rabbitmq: Any) -> Parameters:
    """The connection parameters of a user."""
    return lambda user: pika.URLParameters(rabbitmq.url(user))


class ApiServer(BaseHTTPRequestHandler):
    """The Secrets of one namespace."""

    secrets: dict[str, dict[str, str]]

    #: By name of a pod: when its containers started.
    pods: dict[str, str]

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if "/pods/" in self.path:
            self._answer_with_pod(name)
            return
        if name not in self.secrets:
            self._answer(404, {"message": f'secrets "{name}" not found'})
            return
        encoded = {k: base64.b64encode(v.encode()).decode() for k, v in self.secrets[name].items()}
        self._answer(200, {"data": encoded})

    def do_POST(self) -> None:
        secret = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = secret["metadata"]["name"]
        if name in self.secrets:
            self._answer(409, {"message": f'secrets "{name}" already exists'})
            return
        self.secrets[name] = secret["stringData"]
        self._answer(201, secret)

    def do_PATCH(self) -> None:
        if self.headers["Content-Type"] != "application/merge-patch+json":
            self._answer(415, {"message": "the body of the request was in an unknown format"})
            return
        change = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.path.rpartition("/")[2]
        self.secrets[name] = self.secrets[name] | change["stringData"]
        self._answer(200, {})

    def do_DELETE(self) -> None:
        del self.pods[self.path.rpartition("/")[2]]
        self._answer(200, {})

    def _answer_with_pod(self, name: str) -> None:
        if name not in self.pods:
            self._answer(404, {"message": f'pods "{name}" not found'})
            return
        state = {"running": {"startedAt": self.pods[name]}}
        container = {"name": name.removesuffix("-0"), "state": state}
        self._answer(200, {"status": {"containerStatuses": [container]}})

    def _answer(self, code: int, body: object) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def secrets() -> dict[str, dict[str, str]]:
    return {}


@pytest.fixture
def pods() -> dict[str, str]:
    return {}


@pytest.fixture
def namespace(secrets: dict[str, dict[str, str]], pods: dict[str, str]) -> Iterator[Namespace]:
    handler = type("Handler", (ApiServer,), {"secrets": secrets, "pods": pods})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield Namespace(url=url, token="t", name="auditflow-dev", tls=None)
        server.shutdown()
