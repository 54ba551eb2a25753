"""Receivers that count, and routing files."""

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from auditflow_local import ports
from auditflow_local.servers.postgres import Database
from auditflow_local.servers.postgres_roles import OWNER
from notification_service.migrate import migrate
from notification_service.outbox.flusher import Flusher
from notification_service.outbox.queue import Queue
from notification_service.outbox.router import Router
from notification_service.outbox.service import Notifications
from notification_service.settings import Settings

KEY = "a-signing-key-of-the-tests-0001"


class Sink:
    """An HTTP server that keeps what it receives. ``answers`` are given first, then 204."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.answered = 0
        self.hold = threading.Event()
        self.hold.set()
        self._lock = threading.Lock()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers = sink._take(dict(self.headers.items()), body)
                sink.hold.wait(60)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with sink._lock:
                    sink.answered += 1

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


class Mailbox:
    """Keeps what an SMTP server receives. Without ``hold`` it does not answer."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.answered = 0
        self.refuse = False
        #: Recipients whose mails are refused.
        self.refused: set[str] = set()
        self.hold = threading.Event()
        self.hold.set()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        del server, session
        if self.refuse or self.refused.intersection(envelope.rcpt_tos):
            return "451 try again later"
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append((envelope.rcpt_tos, mail))
        await asyncio.get_running_loop().run_in_executor(None, self.hold.wait, 30)
        self.answered += 1
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, str]]:
    """An SMTP server, and the URL that sends to it."""
    box = Mailbox()
    port = ports.pick()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield (
        box,
        f"mailto://127.0.0.1:{port}/?from=auditflow@example.org&to=team@example.org&mode=insecure",
    )
    box.hold.set()
    controller.stop()


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


class Machine:
    """Routing, flushing and the queue on a real database, at times that the test chooses."""

    def __init__(self, parts: Any, pool: Any, folder: Path) -> None:
        self.parts = parts
        self.folder = folder
        self.router = Router(pool)
        self.flusher = Flusher(pool)
        self.queue = Queue(pool)
        self.now = dt.datetime.now(dt.UTC)

    @property
    def tree(self) -> Any:
        return self.parts.file.tree

    def write(self, text: str, **files: str) -> None:
        """Change the routing file and files beside it."""
        for name, content in files.items():
            (self.folder / name.replace("__", ".")).write_text(content)
        (self.folder / "routes.yaml").write_text(text)
        assert self.parts.file.refresh(), self.parts.file.error()

    def run(self, seconds: float = 0) -> None:
        """Let time pass, then route and flush until nothing is left to do."""
        self.now = max(self.now + dt.timedelta(seconds=seconds), dt.datetime.now(dt.UTC))
        while self.router.route(self.tree, now=self.now):
            pass
        while self.flusher.flush(self.tree, self.parts.hiding, now=self.now).groups:
            pass

    def take(self, receiver: str = "team") -> list[Any]:
        """Claim all that is due for a receiver, and record it as sent."""
        claims = self.queue.claim(receiver, now=self.now, limit=1000)
        for claim in claims:
            assert self.queue.sent(claim, to="test", now=self.now)
        return [claim.content for claim in claims]


@pytest.fixture
def machine(
    database: Any, open_pool: Callable[..., Any], settings_for: Callable[..., Any], tmp_path: Path
) -> Iterator[Machine]:
    folder = tmp_path / "machine-routes"
    folder.mkdir()
    (folder / "routes.yaml").write_text(ROUTES)
    postgres = settings_for(database)
    settings = Settings(
        **postgres.model_dump(),
        rabbitmq_user="none",
        rabbitmq_pass=SecretStr("none"),
        api_token=SecretStr("t0ken"),
        routes_file=folder / "routes.yaml",
    )
    parts = Notifications(
        settings, CollectorRegistry(), open_pool(database, size=4), service="test"
    )
    yield Machine(parts, open_pool(database), folder)
    parts.close()


#: One receiver, no waiting.
ROUTES = """
route: {receiver: team, group_by: [rule], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers:
- {name: team, webhook: {url: "http://127.0.0.1:9", key_secret: KEY}}
"""


@pytest.fixture
def api_of(service_secrets: dict[str, str]) -> Iterator[Callable[[Any], httpx.Client]]:
    """A client of a service, as a person."""
    with ExitStack() as ends:

        def make(service: Any) -> httpx.Client:
            headers = {
                "Authorization": f"Bearer {service_secrets['API_TOKEN']}",
                "X-AuditFlow-User": "alice",
            }
            client = httpx.Client(base_url=service.url, headers=headers, timeout=60)
            return ends.enter_context(client)

        yield make


@pytest.fixture
def prepared(settings_for: Callable[..., Any]) -> Callable[[Any], Any]:
    """A migrated database on a server of the test's own."""

    def make(server: Any) -> Any:
        made = Database(server, "auditflow")
        migrate(settings_for(made, OWNER), report=lambda _: None)
        return made

    return make
