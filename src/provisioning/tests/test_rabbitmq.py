"""On a real broker, each user has the permissions for its work and no others."""

from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from auditflow.amqp import topology
from provisioning import rabbitmq as provisioned
from provisioning.accounts import BROKER_USERS

from .conftest import Parameters

GENERATOR = "audit-event-generator"
ANALYSIS = "audit-log-analysis"
ARCHIVE = "audit-event-archive"
NOTIFICATION = "notification-service"
OPERATOR = "auditflow-operator"
Open = Callable[[str], BlockingChannel]


@pytest.fixture
def open_channel(rabbitmq: Any, parameters: Parameters) -> Iterator[Open]:
    """Channels as any user, on a broker with empty queues."""
    for queue in topology.QUEUES:
        rabbitmq.empty(queue.name, queue.dead_letters)
    connections = []

    def channel(user: str) -> BlockingChannel:
        connections.append(pika.BlockingConnection(parameters(user)))
        opened = connections[-1].channel()
        opened.confirm_delivery()
        return opened

    yield channel
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    ("user", "exchange", "routing_key", "queue"),
    [
        (GENERATOR, topology.EXCHANGE, "event.linux", topology.EVENTS),
        (GENERATOR, topology.EXCHANGE, topology.QUARANTINE_KEY, "audit_events.dlq"),
        (GENERATOR, topology.EXCHANGE, topology.QUARANTINE_KEY, topology.ARCHIVE),
        (GENERATOR, topology.EXCHANGE, topology.RECEIPT_KEY, topology.ARCHIVE),
        (ANALYSIS, topology.EXCHANGE, "finding.critical", topology.FINDINGS),
        (ANALYSIS, topology.DEAD_LETTER_EXCHANGE, "audit_events.dlq", "audit_events.dlq"),
        (ANALYSIS, topology.EXCHANGE, "archive.batch", topology.ARCHIVE),
        (ARCHIVE, topology.EXCHANGE, topology.LEDGER_KEY, topology.EVENTS),
        (ARCHIVE, topology.EXCHANGE, "finding.critical", topology.FINDINGS),
        (ARCHIVE, topology.DEAD_LETTER_EXCHANGE, "audit_archive.dlq", "audit_archive.dlq"),
        (NOTIFICATION, topology.DEAD_LETTER_EXCHANGE, "audit_alerts.dlq", "audit_alerts.dlq"),
        (OPERATOR, "", topology.EVENTS, topology.EVENTS),
        (OPERATOR, "", topology.FINDINGS, topology.FINDINGS),
    ],
)
def test_a_user_may_publish_what_it_must(
    open_channel: Open, user: str, exchange: str, routing_key: str, queue: str
) -> None:
    open_channel(user).basic_publish(exchange, routing_key, b"{}", mandatory=True)
    method, _, _ = open_channel("auditflow-admin").basic_get(queue, auto_ack=True)
    assert method is not None


@pytest.mark.parametrize(
    ("user", "exchange", "routing_key"),
    [
        # A producer of events cannot forge an alert, in any spelling of the routing key.
        (GENERATOR, topology.EXCHANGE, "finding.info"),
        (GENERATOR, topology.EXCHANGE, "x.event.linux"),
        (GENERATOR, topology.EXCHANGE, "event"),
        (GENERATOR, topology.EXCHANGE, "eventually"),
        (GENERATOR, topology.EXCHANGE, "quarantine.event.x"),
        (GENERATOR, topology.DEAD_LETTER_EXCHANGE, "audit_events.dlq"),
        (GENERATOR, "", topology.FINDINGS),
        (ANALYSIS, topology.EXCHANGE, "event.linux"),
        (ANALYSIS, "", topology.EVENTS),
        (GENERATOR, topology.EXCHANGE, "archive.batch"),
        (GENERATOR, topology.EXCHANGE, "archive.receipt.x"),
        (ANALYSIS, topology.EXCHANGE, topology.RECEIPT_KEY),
        (ANALYSIS, topology.EXCHANGE, "archive.batch.x"),
        (ARCHIVE, topology.EXCHANGE, "archive.batch"),
        (ARCHIVE, topology.EXCHANGE, "event.linux"),
        (ARCHIVE, topology.EXCHANGE, "event.ledger.x"),
        (ARCHIVE, topology.EXCHANGE, "x.finding.info"),
        (NOTIFICATION, topology.EXCHANGE, "archive.batch"),
        (NOTIFICATION, topology.EXCHANGE, "finding.info"),
        (NOTIFICATION, topology.EXCHANGE, "event.linux"),
        (NOTIFICATION, "", topology.FINDINGS),
        (OPERATOR, topology.EXCHANGE, "event.linux"),
        (OPERATOR, topology.DEAD_LETTER_EXCHANGE, "audit_events.dlq"),
    ],
)
def test_a_user_may_not_publish_anything_else(
    open_channel: Open, user: str, exchange: str, routing_key: str
) -> None:
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        open_channel(user).basic_publish(exchange, routing_key, b"{}")


@pytest.mark.parametrize(
    ("user", "readable"),
    [
        (GENERATOR, set()),
        (ANALYSIS, {"audit_events"}),
        (ARCHIVE, {"audit_archive"}),
        (NOTIFICATION, {"audit_alerts"}),
        (OPERATOR, {"audit_events.dlq", "audit_alerts.dlq", "audit_archive.dlq"}),
    ],
)
def test_a_user_reads_only_its_queues(open_channel: Open, user: str, readable: set[str]) -> None:
    queues = [name for item in topology.QUEUES for name in (item.name, item.dead_letters)]
    for queue in queues:
        channel = open_channel(user)
        if queue in readable:
            channel.basic_get(queue)
        else:
            with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
                channel.basic_get(queue)


@pytest.mark.parametrize("user", [name for name in BROKER_USERS if name != "auditflow-admin"])
def test_only_the_administrator_changes_queues_and_bindings(open_channel: Open, user: str) -> None:
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        open_channel(user).queue_declare("mine")
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        open_channel(user).queue_delete(topology.EVENTS)
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        open_channel(user).queue_bind(topology.FINDINGS, topology.EXCHANGE, "event.#")


def test_definitions_contain_no_password() -> None:
    document = provisioned.definitions({ANALYSIS: "s3cret"})
    assert "s3cret" not in str(document)
    assert [user["name"] for user in document["users"]] == [ANALYSIS]


def test_an_unknown_user_is_an_error() -> None:
    with pytest.raises(ValueError, match="mallory"):
        provisioned.definitions({"mallory": "x"})
