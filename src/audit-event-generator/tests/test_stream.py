"""The stream: it keeps its rate, never bursts, and waits while the broker is away."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from audit_event_generator.delivery import MAX_EVENTS, Delivery
from audit_event_generator.metrics import Metrics
from audit_event_generator.stream import Schedule, Stream
from auditflow.amqp import Message

from .conftest import RememberingBroker, eventually


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_schedule_keeps_its_rate_whatever_each_round_takes() -> None:
    clock = Clock()
    schedule = Schedule(3.0, clock)
    done = 0

    for late in (0.001, 0.2, 0.013, 0.4, 0.07) * 200:
        clock.now += schedule.wait_seconds() + late
        due = schedule.due()
        schedule.advance(due)
        done += due

    assert abs(done - (clock.now - 100) * 3) <= 1


@pytest.mark.parametrize("rate", [1 / 60, 1.0, 19.0])
def test_slow_events_come_one_by_one(rate: float) -> None:
    clock = Clock()
    schedule = Schedule(rate, clock)

    clock.now += schedule.wait_seconds() + 1e-6

    assert schedule.due() == 1


def test_fast_events_come_in_ticks() -> None:
    clock = Clock()
    schedule = Schedule(5000, clock)

    assert schedule.wait_seconds() == 0.05
    clock.now += 0.05
    assert 249 <= schedule.due() <= 250


def test_after_an_outage_there_is_no_burst() -> None:
    clock = Clock()
    schedule = Schedule(10, clock)
    clock.now += 600

    schedule.restart()

    assert schedule.due() == 0


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def make(broker: Any, registry: CollectorRegistry, *, rate: float) -> Stream:
    metrics = Metrics(registry)
    return Stream(Delivery(broker, metrics), metrics, rate=rate, seed=1)


def test_at_rate_zero_it_is_off_and_well(
    broker: RememberingBroker, registry: CollectorRegistry
) -> None:
    stream = make(broker, registry, rate=0)
    stream.start()

    assert stream.alive() is None
    assert registry.get_sample_value("auditflow_stream_running") == 0
    stream.stop()


def test_many_events_travel_together_and_are_counted(
    broker: RememberingBroker, registry: CollectorRegistry
) -> None:
    stream = make(broker, registry, rate=4000)
    stream.start()
    eventually(lambda: len(broker.messages) > 10)
    stream.stop()

    events = broker.events()
    assert len(events) / len(broker.messages) > MAX_EVENTS / 4
    assert len({event.event_id for event in events}) == len(events)
    counted = registry.get_sample_value("auditflow_events_accepted_total", {"source": "synthetic"})
    assert counted == len(events)
    assert {message.routing_key for message in broker.messages} == {"event.synthetic"}


def test_while_the_broker_is_away_it_says_so_and_loses_nothing_it_told(
    broker: RememberingBroker, registry: CollectorRegistry
) -> None:
    with structlog.testing.capture_logs() as lines:
        broker.away = "not connected"
        stream = make(broker, registry, rate=50)
        stream.start()
        eventually(lambda: any(line["event"] == "stream paused" for line in lines))
        assert registry.get_sample_value("auditflow_stream_running") == 0
        assert stream.alive() is None

        broker.away = None
        eventually(lambda: registry.get_sample_value("auditflow_stream_running") == 1)
        stream.stop()

    assert broker.events(), "the events that waited are there"


def test_it_stops_while_the_broker_is_away(
    broker: RememberingBroker, registry: CollectorRegistry
) -> None:
    broker.away = "not connected"
    stream = make(broker, registry, rate=50)
    stream.start()

    stream.stop()

    assert not [one for one in threading.enumerate() if one.name == "stream"]


def test_when_its_thread_dies_it_is_not_alive(
    broker: RememberingBroker, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(messages: Sequence[Message], *, timeout: float) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(broker, "publish", explode)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    stream = make(broker, registry, rate=50)
    stream.start()

    eventually(lambda: stream.alive() == "the synthetic stream has ended")
