"""Operators look into the dead letters and replay them: nothing lost, nothing twice."""

import json
from collections.abc import Iterator

import pika
import pytest
from click.testing import CliRunner, Result
from pika.adapters.blocking_connection import BlockingChannel

from auditflow.amqp import DeadLetter, Publisher, dead_letter_queue, topology
from auditflow.amqp.dead_letter_queue import Selection
from auditflow.cli import main
from auditflow_local.polling import eventually

from .amqp_values import KNOWN_BAD, RawProperties
from .conftest import Parameters

EVENTS = topology.QUEUES[0]


@pytest.fixture
def operator(parameters: Parameters) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(parameters("auditflow-operator"))
    yield connection.channel()
    connection.close()


@pytest.fixture
def five_dead(publisher: Publisher) -> None:
    """Five dead letters of two reasons."""
    reasons = ["no timestamp", "no timestamp", "KeyError: 5", "no timestamp", "KeyError: 6"]
    publisher.publish(
        [
            DeadLetter(
                body=json.dumps({"n": number}).encode(),
                reason=reason,
                kind="contract",
                message_id=f"m{number}",
                headers={"traceparent": "00-1-2-01"},
            ).message(EVENTS.name, service="test")
            for number, reason in enumerate(reasons)
        ],
        timeout=60,
    )


def drain(channel: BlockingChannel, queue: str) -> list[tuple[str, dict[str, str]]]:
    found: list[tuple[str, dict[str, str]]] = []
    while True:
        method, properties, _ = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return found
        headers = dict(properties.headers or {})
        headers.pop("x-delivery-count", None)  # the broker's own, on whatever it delivers
        found.append((properties.message_id, headers))


@pytest.mark.usefixtures("five_dead")
def test_listing_dead_letters_removes_none(
    operator: BlockingChannel, admin: BlockingChannel
) -> None:
    assert [letter.message_id for letter in dead_letter_queue.peek(operator, EVENTS, limit=3)] == [
        "m0",
        "m1",
        "m2",
    ]
    operator.close()
    eventually(lambda: dead_letter_queue.depth(admin, EVENTS) == 5)


@pytest.mark.usefixtures("five_dead")
def test_replay_puts_each_back_once_without_the_marks_of_death(
    operator: BlockingChannel, admin: BlockingChannel
) -> None:
    result = dead_letter_queue.replay(operator, EVENTS, selection=Selection())
    assert (result.replayed, result.left) == (5, 0)
    back = drain(admin, EVENTS.name)
    assert [name for name, _ in back] == [f"m{number}" for number in range(5)]
    assert [headers for _, headers in back] == [{"traceparent": "00-1-2-01"}] * 5
    assert dead_letter_queue.depth(admin, EVENTS) == 0


@pytest.mark.usefixtures("five_dead")
def test_replay_of_some_leaves_the_others(
    operator: BlockingChannel, admin: BlockingChannel
) -> None:
    result = dead_letter_queue.replay(operator, EVENTS, selection=Selection(reason="KeyError*"))
    assert (result.replayed, result.left) == (2, 3)
    operator.close()
    assert [name for name, _ in drain(admin, EVENTS.name)] == ["m2", "m4"]
    eventually(lambda: dead_letter_queue.depth(admin, EVENTS) == 3)


@pytest.mark.usefixtures("five_dead")
def test_an_interrupted_replay_continues_at_the_same_message(
    operator: BlockingChannel, admin: BlockingChannel, parameters: Parameters
) -> None:
    # Given a replay that is interrupted after two
    done: list[object] = []
    result = dead_letter_queue.replay(
        operator,
        EVENTS,
        selection=Selection(),
        progress=done.append,
        interrupted=lambda: len(done) == 2,
    )
    assert result.interrupted
    operator.close()
    # when another one goes on
    again = pika.BlockingConnection(parameters("auditflow-operator"))
    dead_letter_queue.replay(again.channel(), EVENTS, selection=Selection())
    again.close()
    # then each is back exactly once
    names = [name for name, _ in drain(admin, EVENTS.name)]
    assert sorted(names) == [f"m{number}" for number in range(5)]


def test_a_letter_that_the_broker_dead_lettered_has_its_reason(
    publisher: Publisher, admin: BlockingChannel, operator: BlockingChannel
) -> None:
    # Given a message that is given back as often as the queue bears
    admin.basic_publish(
        topology.EXCHANGE, "event.test", b"{}", pika.BasicProperties(message_id="m")
    )
    for _ in range(topology.DELIVERY_LIMIT + 1):
        method = None
        while method is None:
            method, _, _ = admin.basic_get(EVENTS.name)
        admin.basic_nack(method.delivery_tag)
    # then it is a dead letter, with a reason that a person understands
    eventually(lambda: dead_letter_queue.depth(admin, EVENTS) == 1)
    (entry,) = dead_letter_queue.peek(operator, EVENTS, limit=10)
    assert entry.kind == "broker"
    assert "never acknowledged" in entry.reason


def run(parameters: Parameters, *arguments: str, user: str = "auditflow-operator") -> Result:
    where = parameters(user)
    environment = {
        "RABBITMQ_HOST": where.host,
        "RABBITMQ_PORT": str(where.port),
        "RABBITMQ_USER": user,
        "RABBITMQ_PASS": where.credentials.password,
        "COLUMNS": "200",
    }
    return CliRunner().invoke(main, arguments, env=environment)


@pytest.mark.usefixtures("five_dead")
def test_the_command_lists_shows_and_replays(
    parameters: Parameters, admin: BlockingChannel
) -> None:
    listed = run(parameters, "dlq", "list")
    assert listed.exit_code == 0
    assert "no timestamp" in listed.output
    assert "audit_alerts.dlq: empty" in listed.output
    shown = run(parameters, "dlq", "show", "audit_events", "--id", "m2")
    assert "KeyError: 5" in shown.output
    assert "1 shown of 5" in shown.output
    eventually(lambda: dead_letter_queue.depth(admin, EVENTS) == 5)
    replayed = run(parameters, "dlq", "replay", "audit_events", "--yes", "--unrecorded")
    assert "5 replayed into audit_events, 0 left" in replayed.output


@pytest.mark.parametrize("name", KNOWN_BAD)
def test_a_letter_with_any_properties_is_shown_and_replayed(
    name: str, parameters: Parameters, admin: BlockingChannel
) -> None:
    admin.basic_publish("", EVENTS.dead_letters, b"{}", RawProperties(KNOWN_BAD[name]))
    eventually(lambda: dead_letter_queue.depth(admin, EVENTS) == 1)
    for arguments in (["list"], ["show", "audit_events"]):
        shown = run(parameters, "dlq", *arguments)
        assert shown.exit_code == 0, shown.output
        eventually(lambda: dead_letter_queue.depth(admin, EVENTS) == 1)
    replayed = run(parameters, "dlq", "replay", "audit_events", "--yes", "--unrecorded")
    assert "1 replayed into audit_events, 0 left" in replayed.output
    _, _, body = admin.basic_get(EVENTS.name, auto_ack=True)
    assert body == b"{}"


def test_forged_headers_of_the_broker_are_shown(
    parameters: Parameters, admin: BlockingChannel
) -> None:
    for deaths in (5, [5], [], [{"time": "now", "reason": 5}], "x"):
        properties = pika.BasicProperties(headers={"x-death": deaths})
        admin.basic_publish("", EVENTS.dead_letters, b"{}", properties)
    eventually(lambda: dead_letter_queue.depth(admin, EVENTS) == 5)
    shown = run(parameters, "dlq", "show", "audit_events")
    assert shown.exit_code == 0, shown.output
    assert "5 shown of 5" in shown.output


def test_control_characters_are_shown_as_escape_sequences(
    parameters: Parameters, admin: BlockingChannel
) -> None:
    escape = "\x1b]0;title\x07\x9b2J\u202e"
    bodies = (escape.encode(), json.dumps({"a": escape, "b": "\ud800"}).encode())
    for body in bodies:
        properties = pika.BasicProperties(
            message_id=escape,
            headers={"x-auditflow-reason": escape, "x-auditflow-kind": escape},
        )
        admin.basic_publish("", EVENTS.dead_letters, body, properties)
    eventually(lambda: dead_letter_queue.depth(admin, EVENTS) == 2)
    for arguments in (["list"], ["show", "audit_events"]):
        shown = run(parameters, "dlq", *arguments)
        assert shown.exit_code == 0, shown.output
        assert "\\x1b]0;title\\x07\\x9b2J\\u202e" in shown.output
        assert all(line.isprintable() for line in shown.output.splitlines())


@pytest.mark.usefixtures("five_dead")
def test_an_action_that_cannot_be_recorded_is_refused(
    parameters: Parameters, admin: BlockingChannel
) -> None:
    for command in (["replay", "audit_events"], ["discard", "audit_events", "--all"]):
        refused = run(parameters, "dlq", *command, "--yes")
        assert refused.exit_code == 1
        assert "the audit trail cannot record this action: set API_URL and API_TOKEN" in (
            refused.output
        )
    eventually(lambda: dead_letter_queue.depth(admin, EVENTS) == 5)
    listed = run(parameters, "dlq", "list")
    assert listed.exit_code == 0
    assert "not recorded in the audit trail" in listed.output


@pytest.mark.usefixtures("five_dead")
def test_discard_deletes_the_selected_ones_only(
    parameters: Parameters, admin: BlockingChannel
) -> None:
    everything = run(parameters, "dlq", "discard", "audit_events", "--yes", "--unrecorded")
    assert everything.exit_code == 2
    assert "--all" in everything.output
    some = run(
        parameters, "dlq", "discard", "audit_events", "--reason", "KeyError*", "--yes",
        "--unrecorded",
    )  # fmt: skip
    assert "2 deleted, 3 left in audit_events.dlq" in some.output
    eventually(lambda: dead_letter_queue.depth(admin, EVENTS) == 3)
    assert dead_letter_queue.depth(admin, topology.QUEUES[1]) == 0
    remaining = run(parameters, "dlq", "discard", "audit_events", "--all", "--yes", "--unrecorded")
    assert "3 deleted, 0 left" in remaining.output
    assert drain(admin, EVENTS.name) == []


def test_the_command_prints_its_target(parameters: Parameters) -> None:
    environment = {"RABBITMQ_PORT": "1", "RABBITMQ_USER": "x", "RABBITMQ_PASS": "y"}
    result = CliRunner().invoke(main, ["dlq", "list"], env=environment)
    assert result.exit_code == 1
    assert "cannot reach RabbitMQ at localhost:1" in result.output
