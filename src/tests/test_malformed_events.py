"""Each message on the queue ends in a queue with a reason. None loops, and none stops a service."""

import json

from src.auditflow.tests.hostile import ACCEPTED, REFUSED

from auditflow.amqp import dead_letter_queue, topology
from auditflow_local.polling import eventually

from .events import alert_keys, failed_login
from .platform import Platform

EVENTS = topology.QUEUES[0]


def test_every_malformed_message_has_its_place(platform: Platform) -> None:
    # Given every hostile message there is, and good events among them
    good = [json.dumps(failed_login(f"good-{number}", "alice")).encode() for number in range(3)]
    hostile = [body for body, _ in REFUSED.values()]
    unusual = list(ACCEPTED.values())
    messages = [*hostile[:10], good[0], *unusual, *hostile[10:], good[1], b"[]", good[2]]
    # when they are put on the queue
    with platform.broker() as channel:
        for body in messages:
            channel.basic_publish("", EVENTS.name, body)
        # then the good ones arrive
        eventually(lambda: len(platform.alerts()) == 1, what="the alert of the good events")
        ((title, actor, count, _, _),) = alert_keys(platform.alerts())
        assert (title, actor, count) == ("Burst of failed logins", "alice", 3)
        # and each hostile one is a dead letter, once, with its reason
        eventually(
            lambda: dead_letter_queue.depth(channel, EVENTS) == len(hostile),
            what="the dead letters",
        )
        entries = dead_letter_queue.peek(channel, EVENTS, limit=1000)
        assert sorted(item.body for item in entries) == sorted(hostile)
        assert all(entry.kind == "contract" and entry.reason for entry in entries)
        assert not any(element.headers.get("x-death") for element in entries)
    # and the queue is at rest: nothing is delivered again
    eventually(platform.settled, what="rest")
    assert platform.ledger()["analysed"] == len(good) + len(unusual)
    assert platform.ledger()["rejected"] == len(hostile)


def test_a_replayed_invalid_message_is_dead_lettered_again_once(platform: Platform) -> None:
    with platform.broker() as channel:
        for _ in range(3):
            channel.basic_publish("", EVENTS.name, b"nonsense")
        eventually(lambda: dead_letter_queue.depth(channel, EVENTS) == 3)
        result = dead_letter_queue.replay(channel, EVENTS, selection=dead_letter_queue.Selection())
        assert result.replayed == 3
        eventually(lambda: dead_letter_queue.depth(channel, EVENTS) == 3)
    eventually(platform.settled, what="rest")
