"""The queues and the dead letters over the API: who may read, replay and discard them."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from quart import Quart

from auditflow.amqp import DeadLetter, Publisher, topology
from auditflow.contract.access import Role
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from auditflow_local.polling import eventually
from auditflow_local.servers.rabbitmq import RabbitMQ
from notification_service.api import app as application
from notification_service.audit.trail import Trail, TrailMetrics
from notification_service.database.pool import Pool
from notification_service.database.trail_store import TrailStore
from notification_service.dead_letters import DeadLetters
from notification_service.metrics import Metrics

Answer = tuple[int, Any]
EVENTS = "/dead-letters/audit_events"
QUEUES = topology.QUEUES


@pytest.fixture
def trail(database: Any, open_pool: Callable[..., Pool]) -> Iterator[Trail]:
    trail = Trail(TrailStore(open_pool(database)), TrailMetrics(CollectorRegistry()))
    trail.start()
    yield trail
    trail.close()


@pytest.fixture
def app(make_stores: Any, trail: Trail, rabbitmq: RabbitMQ) -> Quart:
    registry = CollectorRegistry()
    stores = make_stores()
    for role in Role:
        stores.access.put_user(str(role), role, disabled=False)
    letters = DeadLetters(pika.URLParameters(rabbitmq.url("auditflow-operator")))
    stores = application.Stores(
        stores.alerts, stores.triage, stores.access, stores.feed, stores.exports,
        trail=trail, dead_letters=letters,
    )  # fmt: skip
    return application.create(
        stores, Health({}), registry, Metrics(registry), tokens=Tokens(SecretStr("t0ken"))
    )


@pytest.fixture
def call(app: Quart) -> Callable[..., Answer]:
    def call(method: str, path: str, body: Any = None, *, user: str = "analyst") -> Answer:
        async def ask() -> Answer:
            client: Any = app.test_client()
            answer = await client.open(
                f"/api/v1{path}",
                method=method,
                headers={"Authorization": "Bearer t0ken", "X-AuditFlow-User": user},
                data=None if body is None else json.dumps(body),
            )
            return answer.status_code, json.loads(await answer.get_data())

        return asyncio.run(ask())

    return call


@pytest.fixture
def letters(rabbitmq: RabbitMQ) -> Iterator[None]:
    """Three dead letters with two reasons. The first body is hostile."""
    rabbitmq.empty(*(name for queue in QUEUES for name in (queue.name, queue.dead_letters)))
    publisher = Publisher(pika.URLParameters(rabbitmq.url("auditflow-admin")))
    publisher.start()
    eventually(lambda: publisher.check() is None, what="the connection")
    bodies = [b'{"user": "\x1b[31m<script>"', b"[" * 100_000, b'{"n": 3}']
    reasons = ["not JSON", "not JSON", "timestamp: is required"]
    publisher.publish(
        [
            DeadLetter(body=body, reason=reason, kind="contract", message_id=f"m{number}").message(
                "audit_events", service="test"
            )
            for number, (body, reason) in enumerate(zip(bodies, reasons, strict=True))
        ],
        timeout=60,
    )
    publisher.close()
    yield
    rabbitmq.empty(*(name for queue in QUEUES for name in (queue.name, queue.dead_letters)))


def _letters(call: Callable[..., Answer], query: str = "") -> list[dict[str, Any]]:
    status, body = call("GET", EVENTS + query)
    assert status == 200, body
    return list(body["letters"])


@pytest.mark.usefixtures("letters")
def test_the_queues_are_listed_with_their_dead_letters(call: Callable[..., Answer]) -> None:
    status, body = call("GET", "/queues", user="viewer")

    assert status == 200
    found = {queue["name"]: queue for queue in body["queues"]}
    assert found.keys() == {queue.name for queue in QUEUES}
    assert found["audit_events"]["dead_letters"] == 3
    assert found["audit_alerts"]["dead_letters"] == 0
    assert found["audit_events"]["consumers"] == 0


@pytest.mark.usefixtures("letters")
def test_a_list_shows_reasons_and_a_letter_shows_its_complete_body(
    call: Callable[..., Answer],
) -> None:
    status, body = call("GET", EVENTS)
    assert (status, body["total"], body["examined"]) == (200, 3, 3)
    assert body["reasons"] == [
        {"reason": "not JSON", "count": 2},
        {"reason": "timestamp: is required", "count": 1},
    ]
    first = body["letters"][0]
    assert (first["message_id"], first["kind"]) == ("m0", "contract")
    assert "\x1b" not in first["beginning"]

    status, detail = call("GET", f"{EVENTS}/{body['letters'][1]['key']}")
    assert (status, len(detail["body"])) == (200, 100_000)
    assert [item["message_id"] for item in _letters(call, "?reason=not%20JSON")] == ["m0", "m1"]
    # a read takes nothing
    assert call("GET", "/queues")[1]["queues"][0]["dead_letters"] == 3


@pytest.mark.usefixtures("letters")
def test_a_replay_needs_a_lead_and_a_deletion_an_admin_with_a_comment(
    call: Callable[..., Answer], trail: Trail, rabbitmq: RabbitMQ
) -> None:
    keys = [letter["key"] for letter in _letters(call)]
    wanted = {"keys": keys[2:]}
    assert call("GET", EVENTS, user="viewer")[0] == 403
    assert call("POST", f"{EVENTS}/replay", wanted, user="analyst")[0] == 403
    assert call("POST", f"{EVENTS}/discard", {**wanted, "comment": "x"}, user="lead")[0] == 403
    assert call("POST", f"{EVENTS}/discard", wanted, user="admin")[0] == 400
    assert len(_letters(call)) == 3

    status, result = call("POST", f"{EVENTS}/replay", wanted, user="lead")
    assert (status, result) == (200, {"changed": 1, "left": 2, "complete": True})
    status, result = call(
        "POST", f"{EVENTS}/discard", {"reason": "not JSON", "comment": "Known test"}, user="admin"
    )
    assert (status, result) == (200, {"changed": 2, "left": 0, "complete": True})

    queue = call("GET", "/queues")[1]["queues"][0]
    assert (queue["messages"], queue["dead_letters"]) == (1, 0)
    while trail.flush():
        pass
    entries = call("GET", "/audit?action=dead%20letters%20discarded", user="lead")[1]["entries"]
    done = next(entry for entry in entries if entry["outcome"] == "done")
    assert (done["actor"], done["target"]) == ("admin", "audit_events")
    assert done["detail"]["comment"] == "Known test"
    assert done["detail"]["messages"] == "m0 m1"


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize(
    "body", [{}, {"keys": ["x"]}, {"keys": ["0" * 32], "reason": "a"}, {"all": True}]
)
def test_an_invalid_selection_changes_nothing(call: Callable[..., Answer], body: Any) -> None:
    status, _ = call("POST", f"{EVENTS}/replay", body, user="admin")

    assert status == 400
    assert len(_letters(call)) == 3


def test_an_unknown_queue_and_an_unknown_letter_are_not_found(call: Callable[..., Answer]) -> None:
    assert call("GET", "/dead-letters/amq.default")[0] == 404
    assert call("GET", f"{EVENTS}/{'0' * 32}")[0] == 404
    assert call("POST", "/dead-letters/x/replay", {"reason": "a"}, user="admin")[0] == 404


def test_an_unreachable_broker_is_reported(make_stores: Any) -> None:
    stores, registry = make_stores(), CollectorRegistry()
    down = DeadLetters(pika.ConnectionParameters("127.0.0.1", 9, socket_timeout=1))
    stores = application.Stores(
        stores.alerts, stores.triage, stores.access, stores.feed, stores.exports, dead_letters=down
    )
    app = application.create(
        stores, Health({}), registry, Metrics(registry), tokens=Tokens(SecretStr("t0ken"))
    )

    async def ask() -> tuple[int, Any]:
        client: Any = app.test_client()
        answer = await client.get("/api/v1/queues", headers={"Authorization": "Bearer t0ken"})
        return answer.status_code, json.loads(await answer.get_data())

    status, body = asyncio.run(ask())
    assert status == 503
    assert "broker" in body["detail"]
