"""The broker has the declared exchanges and queues, and the library knows no service."""

import re
from pathlib import Path

import pytest
from pika.adapters.blocking_connection import BlockingChannel

import auditflow
from auditflow.amqp import topology

SERVICES = (
    "audit-event-generator",
    "audit-log-analysis",
    "notification-service",
    "event-audit-dashboard",
    "audit-event-archive",
)


def test_a_second_declaration_changes_nothing(admin: BlockingChannel) -> None:
    # Given a broker that has loaded the definitions, when the same objects are declared twice
    topology.declare(admin)
    topology.declare(admin)
    # then the broker agrees with every argument; otherwise it closes the channel
    assert admin.is_open


def test_a_producer_that_names_only_the_queue_can_publish(admin: BlockingChannel) -> None:
    admin.confirm_delivery()
    admin.basic_publish("", topology.EVENTS, b"{}", mandatory=True)
    method, _, _ = admin.basic_get(topology.EVENTS, auto_ack=True)
    assert method is not None


@pytest.mark.parametrize("service", SERVICES)
def test_the_library_contains_no_service_name(service: str) -> None:
    # In any spelling: audit-log-analysis, audit_log_analysis, AUDIT_LOG_ANALYSIS.
    name = re.compile(service.replace("-", "[-_ ]"), re.IGNORECASE)
    for file in sorted(Path(auditflow.__file__).parent.rglob("*.py")):
        assert not name.search(file.read_text(encoding="utf-8")), file
