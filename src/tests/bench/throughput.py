"""Events per second from a full queue to readable alerts, beside a bare consumer."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import msgspec
import pika

from auditflow.contract.event import Event

from .environment import ADMIN, BARE_QUEUE, Platform, wait_for
from .streams import Batch, Stream

_PREFETCH: Final = 1000
#: The interval of counting the alerts. All are counted when enough of them have changed, because this
#: uses CPU time of PostgreSQL.
_POLL_SECONDS: Final = 0.1


class Throughput(NamedTuple):
    """Measurement of one round."""

    #: Events per second, from a full queue until all alerts are readable.
    rate: float
    #: CPU time per event in microseconds, by the process (see ``Platform.cpu``).
    cpu: dict[str, float]


class BareThroughput(NamedTuple):
    """Measurement of the bare consumer."""

    #: Events per second.
    rate: float
    #: CPU time of the consumer per event, in microseconds.
    cpu: float


def measure(platform: Platform, stream: Stream, batch: Batch) -> Throughput:
    """Fill the queue while the analysis is suspended, continue it, and wait for all alerts."""
    messages = batch.messages(stream.events_per_message)
    platform.redis.flush()
    alerts, change = platform.alerts(), platform.last_change()
    consumed = platform.consumed(platform.analysis)
    with platform.stopped(platform.analysis):
        platform.publish(messages)
        platform.settle()
        before = platform.cpu()
        start = time.time()
    wait_for(
        lambda: (
            platform.changed_alerts(change) >= batch.alerts
            and platform.alerts() - alerts >= batch.alerts
        ),
        f"{batch.alerts} alerts of the stream {stream.name!r}",
        every=_POLL_SECONDS,
    )
    seconds = platform.last_alert_committed(change) - start
    wait_for(
        lambda: platform.consumed(platform.analysis) - consumed >= len(messages),
        "all messages are acknowledged",
        every=0.2,
    )
    after = platform.cpu()
    found = platform.alerts() - alerts
    if found != batch.alerts:
        raise AssertionError(
            f"the stream {stream.name!r} caused {found} alerts instead of {batch.alerts}"
        )
    events = len(batch.bodies)
    cpu = {name: (after[name] - before[name]) / events * 1e6 for name in before}
    return Throughput(events / seconds, cpu)


def measure_bare(platform: Platform, stream: Stream, batch: Batch) -> BareThroughput:
    """Decode each event, and acknowledge in groups of 100 messages.

    The queue has the same type as the platform's. This is the upper limit for a consumer in Python.
    """
    messages = batch.messages(stream.events_per_message)
    platform.publish(messages, queue=BARE_QUEUE)
    platform.settle()
    decode = msgspec.json.Decoder(Event if stream.events_per_message == 1 else list[Event]).decode
    connection = pika.BlockingConnection(pika.URLParameters(platform.rabbitmq.url(ADMIN)))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=_PREFETCH)
    start = cpu = 0.0
    for number, (method, _, body) in enumerate(channel.consume(BARE_QUEUE), start=1):
        if not start:
            start, cpu = time.perf_counter(), time.process_time()
        decode(body)
        if number % 100 == 0 or number == len(messages):
            channel.basic_ack(method.delivery_tag, multiple=True)
        if number == len(messages):
            break
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    connection.close()
    events = len(batch.bodies)
    return BareThroughput(events / seconds, cpu / events * 1e6)
