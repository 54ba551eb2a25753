"""Fixtures: the application with a broker that keeps messages in memory."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from werkzeug.datastructures import Headers

from audit_event_generator.event_publisher import EventPublisher
from audit_event_generator.ingest import refusal
from audit_event_generator.metrics import Metrics
from audit_event_generator.token_registry import TokenRegistry
from audit_event_generator.tokens import unrestricted
from audit_event_generator.web import app
from auditflow.amqp import Message, topology
from auditflow.contract import event
from auditflow.errors import PublishError
from auditflow.http.health import Health

TOKEN = "the-ingest-token"
DATA = Path(__file__).parent / "data"


class RecordingBroker:
    """A broker that keeps messages in memory. ``unavailable`` is the reason for an outage."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.unavailable: str | None = None
        self.confirms = True

    def check(self) -> str | None:
        return self.unavailable

    def publish(self, messages: Sequence[Message], *, timeout: float) -> None:
        if not self.confirms:
            raise PublishError("no confirm in time")
        self.messages.extend(messages)

    def submit_each(self, groups: Sequence[Sequence[Message]]) -> list[Future[None]]:
        results = []
        for messages in groups:
            result: Future[None] = Future()
            if self.confirms:
                self.messages.extend(messages)
                result.set_result(None)
            else:
                result.set_exception(PublishError("no confirm in time"))
            results.append(result)
        return results

    def events(self) -> list[event.Event]:
        """Return the events that the analysis would decode, without those of refused records."""
        return [item for item in self._decoded() if item.event_type != refusal.EVENT_TYPE]

    def refusals(self) -> list[event.Event]:
        """Return the events that report refused records."""
        return [item for item in self._decoded() if item.event_type == refusal.EVENT_TYPE]

    def dead_letters(self) -> list[Message]:
        """Return the messages of the quarantine."""
        return [item for item in self.messages if item.routing_key == topology.QUARANTINE_KEY]

    def _decoded(self) -> list[event.Event]:
        messages = [item for item in self.messages if item.routing_key != topology.QUARANTINE_KEY]
        decoded = [item for message in messages for item in event.decode_message(message.body)]
        assert all(isinstance(item, event.Received) for item in decoded), decoded
        return [item.event for item in decoded if isinstance(item, event.Received)]


class Answer:
    """A response, with the names that the tests use."""

    def __init__(self, messages: Sequence[Mapping[str, Any]]) -> None:
        start, *parts = messages
        self.status_code: int = start["status"]
        headers = [(name.decode(), value.decode("latin-1")) for name, value in start["headers"]]
        self.headers = Headers(headers)
        self.text = b"".join(part.get("body", b"") for part in parts).decode()
        self.content_type = self.headers.get("Content-Type", "")

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.text)


class Client:
    """Sends requests to the application without a server."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def open(
        self, path: str, *, method: str, data: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        messages = [{"type": "http.request", "body": data, "more_body": False}]
        sent: list[Mapping[str, Any]] = []

        async def receive() -> Mapping[str, Any]:
            if not messages:
                await asyncio.Event().wait()  # a server waits for the client
            return messages.pop()

        async def send(message: Mapping[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self.app(make_scope(path, method=method, headers=headers), receive, send))
        return Answer(sent)

    def post(
        self, path: str, *, data: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        return self.open(path, method="POST", data=data, headers=headers)

    def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        return self.open(path, method="GET", headers=headers)


def make_scope(
    path: str, *, method: str = "POST", headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The ASGI scope of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (name.lower().encode(), value.encode()) for name, value in (headers or {}).items()
        ],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 5000),
        "extensions": {},
    }


class Ingest:
    """A client with the token."""

    def __init__(self, client: Client, registry: CollectorRegistry) -> None:
        self.client = client
        self._registry = registry

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(
            path, data=data, headers={"Authorization": f"Bearer {TOKEN}", **named}
        )

    def count(self, counter: str, source: str) -> float:
        value = self._registry.get_sample_value(
            f"auditflow_events_{counter}_total", {"source": source}
        )
        assert value is not None
        return value


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def broker() -> RecordingBroker:
    return RecordingBroker()


def make_client(
    broker: RecordingBroker,
    registry: CollectorRegistry,
    *,
    tokens: TokenRegistry | None = None,
    github_secret: str | None = None,
) -> Client:
    """A client of the application over a broker. The default token permits everything."""
    metrics = Metrics(registry)
    quart = app.create(
        event_publisher=EventPublisher(broker, metrics),
        metrics=metrics,
        health=Health({"rabbitmq": broker.check}),
        registry=registry,
        tokens=tokens or TokenRegistry(unrestricted("default", [TOKEN])),
        github_secret=github_secret,
    )
    return Client(quart)


@pytest.fixture
def ingest(broker: RecordingBroker, registry: CollectorRegistry) -> Ingest:
    return Ingest(make_client(broker, registry), registry)


def sample(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / name).read_bytes())
    return loaded
