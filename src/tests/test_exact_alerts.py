"""The same events give the same alerts, in spite of faults."""

import threading
from typing import Any

import msgspec
import pytest

from auditflow.amqp import topology
from auditflow_local.polling import eventually
from auditflow_local.service_process import ServiceProcess

from .events import alert_keys, alerts_of, attack_events, shuffled
from .platform import Platform

USERS = 30


def same_alerts(platform: Platform, *, users: int = USERS) -> None:
    """Wait until the alerts are exactly those of the attack, with their numbers."""
    expected = alerts_of(users)
    eventually(lambda: expected <= alert_keys(platform.alerts()), what="every alert")
    eventually(platform.settled, what="rest")
    assert alert_keys(platform.alerts()) == expected


def test_in_order(platform: Platform) -> None:
    platform.send(attack_events(USERS))
    same_alerts(platform)


@pytest.mark.parametrize("seed", range(2))
def test_shuffled_and_everything_twice(platform: Platform, seed: int) -> None:
    platform.send(shuffled(attack_events(USERS) * 2, seed))
    same_alerts(platform)


def test_single_messages_of_a_producer_that_names_only_the_queue(platform: Platform) -> None:
    with platform.broker() as channel:
        for event in shuffled(attack_events(USERS), 7):
            channel.basic_publish("", topology.EVENTS, msgspec.json.encode(event))
    same_alerts(platform)


@pytest.mark.parametrize("victim", ["generator", "analysis", "notification", "dashboard"])
@pytest.mark.parametrize("how", ["kill", "restart"])
def test_a_service_that_is_killed_during_a_request(
    platform: Platform, victim: str, how: str
) -> None:
    # Given an attack of which some events are sent
    users = USERS * 4
    sender = threading.Thread(target=platform.send, args=(shuffled(attack_events(users), 3),))
    sender.start()
    eventually(lambda: platform.ledger()["accepted"] > 0, what="the first event")
    # when a service is killed meanwhile, and restarts
    service = getattr(platform, victim)
    if how == "kill":
        service.kill()
        service.respawn()
    else:
        service.restart()
    sender.join()
    # then the alerts are the same
    same_alerts(platform, users=users)


def test_the_analysis_killed_again_and_again(platform: Platform) -> None:
    users = USERS * 4
    sender = threading.Thread(target=platform.send, args=(shuffled(attack_events(users), 5),))
    sender.start()
    for _ in range(4):
        platform.analysis.kill()
        platform.analysis.respawn()
    sender.join()
    same_alerts(platform, users=users)


def test_two_replicas_share_a_queue_and_one_is_killed(
    platform: Platform, service_process: Any
) -> None:
    # Given two of the analysis, which know nothing of each other and take few messages at a time,
    # so that the events of each user go to both
    users = USERS * 4
    platform.analysis.stop()
    first, second = [
        service_process(
            "audit-log-analysis",
            rabbitmq=platform.rabbitmq,
            redis=platform.redis,
            env={"PREFETCH": "8"},
        )
        for _ in range(2)
    ]
    # when an attack is sent, one message for each event, and one of the two is killed
    with platform.broker() as channel:
        for event in shuffled(attack_events(users), 11):
            channel.basic_publish("", topology.EVENTS, msgspec.json.encode(event))
    eventually(lambda: acknowledged(platform, second) > 0, what="work of the other")
    second.kill()
    # then the alerts are those that one would have made
    same_alerts(platform, users=users)
    assert acknowledged(platform, first) > 0


def acknowledged(platform: Platform, replica: ServiceProcess) -> float:
    return platform.metric(replica, "auditflow_consumed_messages_total")
