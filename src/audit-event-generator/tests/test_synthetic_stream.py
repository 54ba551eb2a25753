"""The synthetic stream: rate, batches, and waiting for the broker."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from audit_event_generator.event_publisher import MAX_EVENTS, EventPublisher
from audit_event_generator.metrics import Metrics
from audit_event_generator.synthetic_stream import Schedule, SyntheticStream
from auditflow.amqp import Message
from auditflow_local.polling import eventually

from .conftest import RecordingBroker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_schedule_keeps_its_rate_with_delays() -> None:
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
def test_low_rate_publishes_single_events(rate: float) -> None:
    clock = Clock()
    schedule = Schedule(rate, clock)

    clock.now += schedule.wait_seconds() + 1e-6

    assert schedule.due() == 1


def test_high_rate_publishes_once_per_tick() -> None:
    clock = Clock()
    schedule = Schedule(5000, clock)

    assert schedule.wait_seconds() == 0.05
    clock.now += 0.05
    assert 249 <= schedule.due() <= 250


def test_missed_events_are_skipped_after_restart() -> None:
    clock = Clock()
    schedule = Schedule(10, clock)
    clock.now += 600

    schedule.restart()

    assert schedule.due() == 0


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def make(broker: Any, registry: CollectorRegistry, *, rate: float) -> SyntheticStream:
    metrics = Metrics(registry)
    return SyntheticStream(EventPublisher(broker, metrics), metrics, rate=rate, seed=1)


def test_rate_zero_means_off(broker: RecordingBroker, registry: CollectorRegistry) -> None:
    stream = make(broker, registry, rate=0)
    stream.start()

    assert stream.alive() is None
    assert registry.get_sample_value("auditflow_stream_running") == 0
    stream.stop()


def test_events_are_published_in_batches_and_counted(
    broker: RecordingBroker, registry: CollectorRegistry
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


def test_stream_keeps_its_rate(broker: RecordingBroker, registry: CollectorRegistry) -> None:
    started = time.monotonic()
    stream = make(broker, registry, rate=200)
    stream.start()
    eventually(lambda: len(broker.events()) > 20)
    stream.stop()

    elapsed = time.monotonic() - started
    assert len(broker.events()) <= 200 * elapsed + 1, "no event is published twice"


def test_stream_waits_for_the_broker_and_loses_no_event(
    broker: RecordingBroker, registry: CollectorRegistry
) -> None:
    with structlog.testing.capture_logs() as lines:
        broker.unavailable = "not connected"
        stream = make(broker, registry, rate=50)
        stream.start()
        eventually(
            lambda: any(
                line["event"] == "the synthetic stream waits for the broker" for line in lines
            )
        )
        assert registry.get_sample_value("auditflow_stream_running") == 0
        assert stream.alive() is None

        broker.unavailable = None
        eventually(lambda: registry.get_sample_value("auditflow_stream_running") == 1)
        stream.stop()

    assert broker.events(), "the waiting events are published"


def test_stop_while_the_broker_is_unavailable(
    broker: RecordingBroker, registry: CollectorRegistry
) -> None:
    broker.unavailable = "not connected"
    stream = make(broker, registry, rate=50)
    stream.start()

    stream.stop()

    assert not [thread for thread in threading.enumerate() if thread.name == "stream"]


def test_ended_thread_is_reported(
    broker: RecordingBroker, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(messages: Sequence[Message], *, timeout: float) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(broker, "publish", explode)
    stream = make(broker, registry, rate=50)
    stream.start()

    eventually(lambda: stream.alive() == "the thread stream failed: RuntimeError: a bug")
