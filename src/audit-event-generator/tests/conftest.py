"""What these tests share: the application over a broker that remembers, and ways to look."""

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

from audit_event_generator.delivery import Delivery
from audit_event_generator.metrics import Metrics
from audit_event_generator.web import app
from auditflow.amqp import Message
from auditflow.contract import event
from auditflow.errors import PublishError
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens

TOKEN = "the-ingest-token"
DATA = Path(__file__).parent / "data"


class RememberingBroker:
    """Stands in for the broker where only what reaches it matters. ``away`` says why it is gone."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.away: str | None = None
        self.silent = False

    def check(self) -> str | None:
        return self.away

    def publish(self, messages: Sequence[Message], *, timeout: float) -> None:
        if self.silent:
            raise PublishError("no confirm in time")
        self.messages.extend(messages)

    def events(self) -> list[event.Event]:
        """What the analysis would read, nothing refused."""
        read = [one for message in self.messages for one in event.decode_message(message.body)]
        assert all(isinstance(one, event.Received) for one in read), read
        return [one.event for one in read if isinstance(one, event.Received)]


class Ingest:
    """A client that knows the token."""

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
def broker() -> RememberingBroker:
    return RememberingBroker()


@pytest.fixture
def ingest(broker: RememberingBroker, registry: CollectorRegistry) -> Ingest:
    metrics = Metrics(registry)
    flask = app.create(
        delivery=Delivery(broker, metrics),
        metrics=metrics,
        health=Health({"rabbitmq": broker.check}),
        registry=registry,
        tokens=Tokens(SecretStr(TOKEN)),
    )
    return Ingest(flask.test_client(), registry)


def sample(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / name).read_bytes())
    return loaded


def eventually(holds: Callable[[], object], *, seconds: float = 20) -> None:
    """Wait until something holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
