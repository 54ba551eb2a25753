"""The broker has what is declared, and each user may do its work and nothing else."""

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from auditflow.amqp import topology

from .conftest import Parameters


def test_declaring_again_changes_nothing(admin: BlockingChannel) -> None:
    # Given a broker that booted with the definitions, when the same is declared over AMQP, twice
    topology.declare(admin)
    topology.declare(admin)
    # then the broker agrees with every argument, or it would have closed the channel
    assert admin.is_open


def test_one_who_only_knows_the_queue_still_works(admin: BlockingChannel) -> None:
    admin.confirm_delivery()
    admin.basic_publish("", topology.EVENTS, b"{}", mandatory=True)
    method, _, _ = admin.basic_get(topology.EVENTS, auto_ack=True)
    assert method is not None


MAY_NOT = [
    ("audit-event-generator", "read", topology.EVENTS),
    ("audit-event-generator", "write", topology.DEAD_LETTER_EXCHANGE),
    ("audit-log-analysis", "read", topology.FINDINGS),
    ("notification-service", "read", topology.EVENTS),
    ("notification-service", "write", topology.EXCHANGE),
    ("auditflow-operator", "read", topology.EVENTS),
    ("auditflow-operator", "write", topology.EXCHANGE),
]


@pytest.mark.parametrize(("user", "what", "name"), MAY_NOT)
def test_a_user_may_not(parameters: Parameters, user: str, what: str, name: str) -> None:
    connection = pika.BlockingConnection(parameters(user))
    channel = connection.channel()
    channel.confirm_delivery()
    attempt = {"read": channel.basic_get, "write": lambda it: channel.basic_publish(it, "x", b"")}
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        attempt[what](name)
    connection.close()


@pytest.mark.parametrize("user", [name for name in topology.USERS if name != "auditflow-admin"])
def test_no_service_may_make_or_remove_a_queue(parameters: Parameters, user: str) -> None:
    connection = pika.BlockingConnection(parameters(user))
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        connection.channel().queue_declare("mine")
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        connection.channel().queue_delete(topology.EVENTS)
    connection.close()


def test_definitions_hold_no_password() -> None:
    document = topology.definitions({"audit-log-analysis": "s3cret"})
    assert "s3cret" not in str(document)
    assert [user["name"] for user in document["users"]] == ["audit-log-analysis"]


def test_definitions_refuse_a_user_that_nobody_knows() -> None:
    with pytest.raises(ValueError, match="mallory"):
        topology.definitions({"mallory": "x"})
