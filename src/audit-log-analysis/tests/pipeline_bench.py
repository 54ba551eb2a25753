"""A pipeline with windows in memory, for tests."""

import datetime as dt
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pika
from prometheus_client import CollectorRegistry

import audit_analysis
from audit_analysis.service.archiving import Archiver
from audit_analysis.service.metrics import Metrics
from audit_analysis.service.pipeline import Pipeline
from audit_analysis.sigma.load import load
from audit_analysis.windows.memory import MemoryWindows
from auditflow.amqp import Delivery, Message
from auditflow.contract import finding
from auditflow.contract.finding import Finding
from auditflow.errors import PublishError

PACK = Path(audit_analysis.__file__).parent / "rules"


NOW = dt.datetime(2026, 1, 1, 12, 2, tzinfo=dt.UTC)


class Bench:
    """A pipeline, what it published, and what it counted."""

    def __init__(
        self,
        archiver: Archiver | None = None,
        *,
        rules: Path = PACK,
        findings_per_message: int = 1,
    ) -> None:
        self.registry = CollectorRegistry()
        self.published: list[Message] = []
        self.broker_is_down = False
        self.calls = 0
        self.fails: tuple[int, str] | None = None
        self.pipeline = Pipeline(
            cache(partial(load, [rules], lateness=900_000)),
            MemoryWindows(),
            self.publish,
            environment="test",
            metrics=Metrics(self.registry),
            archiver=archiver,
            findings_per_message=findings_per_message,
            now=lambda: NOW,
        )

    def publish(self, messages: Sequence[Message]) -> Callable[[], None]:
        self.calls += 1
        call = self.calls

        def check(when: str) -> None:
            if self.broker_is_down or self.fails == (call, when):
                raise PublishError("down")

        def stored() -> None:
            check("it is waited for")
            self.published.extend(messages)

        check("it is sent")
        return stored

    def send(self, *bodies: bytes) -> list[str]:
        """Hand over messages as one batch; the reasons of what was refused."""
        dead = self.pipeline([delivery(body) for body in bodies])
        return [letter.reason for letter in dead]

    @property
    def findings(self) -> list[Finding]:
        decoded = (finding.decode(message.body, now=NOW) for message in self.published)
        return list(finding.merge_all(decoded).values())

    def ledger(self) -> dict[str, int]:
        name = "auditflow_analysis_events_total"
        return {
            outcome: int(self.registry.get_sample_value(name, {"outcome": outcome}) or 0)
            for outcome in ("analysed", "late", "rejected")
        }


def delivery(body: bytes) -> Delivery:
    properties = pika.BasicProperties(
        message_id="m",
        correlation_id="c-1",
        headers={"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"},
    )
    return Delivery(body, properties=b"".join(properties.encode()))


def failed_login(number: int, *, seconds: float = 0, **changes: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "timestamp": (NOW + dt.timedelta(seconds=seconds)).isoformat(),
        "event_type": "user_login",
        "action_result": "FAILURE",
        "user_id": "alice",
        "server_hostname": "web-01",
        "client_ip": "192.0.2.1",
        **changes,
    }
