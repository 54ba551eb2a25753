"""Fixtures: the application with a broker that keeps messages in memory."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from audit_event_generator.event_publisher import EventPublisher
from audit_event_generator.ingest import refusal
from audit_event_generator.metrics import Metrics
from audit_event_generator.web import app
from auditflow.amqp import Message, topology
from auditflow.contract import event
from auditflow.errors import PublishError
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens

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


class Ingest:
    """A client with the token."""

    def __init__(self, client: FlaskClient, registry: CollectorRegistry) -> None:
        self.client = client
        self._registry = registry

    def post(self, path: str, body: Any, **headers: str) -> Any:
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


@pytest.fixture
def ingest(broker: RecordingBroker, registry: CollectorRegistry) -> Ingest:
    metrics = Metrics(registry)
    flask = app.create(
        event_publisher=EventPublisher(broker, metrics),
        metrics=metrics,
        health=Health({"rabbitmq": broker.check}),
        registry=registry,
        tokens=Tokens(SecretStr(TOKEN)),
    )
    return Ingest(flask.test_client(), registry)


def sample(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / name).read_bytes())
    return loaded


def eventually(condition: Callable[[], object], *, seconds: float = 20) -> None:
    """Wait until a condition condition; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)
