"""The services as processes on private servers, and clients of them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import msgspec
import pika
from pika.adapters.blocking_connection import BlockingChannel
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from auditflow.amqp import topology
from auditflow_local.polling import eventually
from auditflow_local.servers.postgres import Database
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import Redis
from auditflow_local.service_process import ServiceProcess


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Everything that runs for one test."""

    rabbitmq: RabbitMQ
    redis: Redis
    database: Database
    generator: ServiceProcess
    analysis: ServiceProcess
    notification: ServiceProcess
    archive: ServiceProcess
    dashboard: ServiceProcess
    secrets: dict[str, str]
    before: dict[str, int] = field(default_factory=dict)

    @property
    def services(self) -> tuple[ServiceProcess, ...]:
        return (self.generator, self.analysis, self.notification, self.archive, self.dashboard)

    def ingest(self) -> httpx.Client:
        """A client of the generator, with its token."""
        return self._client(self.generator, "INGEST_TOKEN")

    def api(self) -> httpx.Client:
        """A client of the notification service, with its token."""
        return self._client(self.notification, "API_TOKEN")

    def archived(self) -> httpx.Client:
        """A client of the archive process, with the token of the notification service."""
        return self._client(self.archive, "API_TOKEN")

    @contextmanager
    def analyst(self) -> Iterator[httpx.Client]:
        """A client of the dashboard that has signed in."""
        with client(base_url=self.dashboard.url) as browser:
            page = browser.get("/login").text
            (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', page)
            password = self.secrets["DASHBOARD_PASSWORD"]
            answer = browser.post(
                "/login", data={"user": "admin", "password": password, "csrf_token": token}
            )
            assert answer.status_code == 303, answer.text
            yield browser

    def send(self, events: Sequence[dict[str, Any]], *, chunk: int = 20) -> None:
        """Post events, each until it is accepted, as a source does that must not lose any."""
        with self.ingest() as client:
            for start in range(0, len(events), chunk):
                lines = b"\n".join(
                    msgspec.json.encode(event) for event in events[start : start + chunk]
                )
                eventually(partial(_accepted, client, lines), what="the generator's 202")

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert, by following the cursor."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        with self.api() as client:
            while True:
                page = client.get("/alerts", params={"limit": "200", **cursor}).raise_for_status()
                found += page.json()["alerts"]
                following = page.json()["next_cursor"]
                if following is None:
                    return found
                cursor = {"cursor": following}

    def metric(self, service: ServiceProcess, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        return total(samples(f"{service.url}/metrics"), name, **labels)

    def begin(self) -> None:
        """The ledger counts from now."""
        self.before.clear()
        self.before.update(self.ledger())

    def ledger(self) -> dict[str, int]:
        """The events since ``begin``: the number of accepted events, and of each outcome."""
        return {name: now - self.before.get(name, 0) for name, now in self._counters().items()}

    def _counters(self) -> dict[str, int]:
        analysis = samples(f"{self.analysis.url}/metrics")
        outcomes = "auditflow_analysis_events_total"
        return {
            "accepted": int(self.metric(self.generator, "auditflow_events_accepted_total")),
            **{
                outcome: int(total(analysis, outcomes, outcome=outcome))
                for outcome in ("analysed", "late", "rejected", "dead_lettered")
            },
        }

    def broker(self) -> "Broker":
        """The administrator's view of the broker."""
        return Broker(self.rabbitmq)

    def settled(self) -> bool:
        """Whether every message was worked on, and acknowledged."""
        with self.broker() as channel:
            return all(waiting(channel, queue.name) == 0 for queue in topology.QUEUES) and all(
                self._at_rest()
            )

    def _at_rest(self) -> Iterator[bool]:
        # A queue that is empty may still have messages in a consumer's hands.
        detailed = self.rabbitmq.metrics_url.replace("/metrics", "/metrics/detailed")
        for sample in samples(f"{detailed}?family=queue_coarse_metrics"):
            if sample.name.endswith("queue_messages_unacked"):
                yield sample.value == 0

    def _client(self, service: ServiceProcess, token: str) -> httpx.Client:
        return client(
            base_url=service.url, headers={"Authorization": f"Bearer {self.secrets[token]}"}
        )


def client(**options: Any) -> httpx.Client:
    """A client of plain HTTP. To load certificates would take 20 ms of each question."""
    return httpx.Client(verify=False, trust_env=False, timeout=60, **options)


def ask(url: str, **headers: str) -> httpx.Response:
    """The answer to a GET."""
    with client() as item:
        return item.get(url, headers=headers)


def samples(url: str) -> list[Sample]:
    """The samples of a page of metrics."""
    families = text_string_to_metric_families(ask(url).text)
    return [sample for family in families for sample in family.samples]


def total(found: Iterable[Sample], name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    return sum(
        sample.value
        for sample in found
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def _accepted(client: httpx.Client, lines: bytes) -> bool:
    try:
        answer = client.post("/ingest/ndjson", content=lines)
    except httpx.TransportError:
        return False  # it is being restarted
    assert answer.status_code in (202, 503), answer.text
    return answer.status_code == 202


class Broker:
    """A channel of the administrator, for a ``with``."""

    def __init__(self, rabbitmq: RabbitMQ) -> None:
        self._rabbitmq = rabbitmq

    def __enter__(self) -> BlockingChannel:
        where = pika.URLParameters(self._rabbitmq.url("auditflow-admin"))
        self._connection = pika.BlockingConnection(where)
        channel = self._connection.channel()
        channel.confirm_delivery()
        return channel

    def __exit__(self, *_: object) -> None:
        if self._connection.is_open:
            self._connection.close()


def waiting(channel: BlockingChannel, queue: str) -> int:
    """The number of ready messages of a queue."""
    return int(channel.queue_declare(queue, passive=True).method.message_count)
