"""The time of each step from publishing an event to the readable alert.

``python -m src.tests.bench.timeline`` prints medians. Two queues without persistence receive copies of
events and findings, so that the times between the services are known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from statistics import median
from typing import Any, Final

import click
import msgspec
import pika

from auditflow.amqp import topology
from auditflow.contract import finding_message
from auditflow_local import packages

from . import environment, latency
from .environment import Platform, wait_for

_STEPS: Final = (
    "the broker routes the event",
    "the event is in the quorum queue (confirm)",
    "the analysis has published the finding",
    "the finding's transaction is committed",
)


def measure(platform: Platform, number: int) -> dict[str, float]:
    """Return the median time of each step since the publication, in milliseconds."""
    users = [f"timeline-{index}" for index in range(number)]
    before = platform.alerts()
    with _copies(platform) as arrivals:
        published, confirmed = _publish(platform, users)
        wait_for(lambda: platform.alerts() - before >= number, f"{number} alerts")
        wait_for(lambda: len(arrivals) >= 2 * number, "the copies of events and findings")
    committed = dict(
        platform.query(
            "SELECT actor, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8"
            " FROM findings WHERE actor LIKE 'timeline-%%'"
        )
    )
    times = [
        (
            arrivals["event", user],
            confirmed[user],
            arrivals["finding", user],
            committed[user],
        )
        for user in users
    ]
    starts = [published[user] for user in users]
    return {
        step: median(row[index] - start for row, start in zip(times, starts, strict=True)) * 1000
        for index, step in enumerate(_STEPS)
    }


def _publish(platform: Platform, users: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    published, confirmed = {}, {}
    with closing(pika.BlockingConnection(latency.parameters(platform))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        start = time.monotonic()
        for index, user in enumerate(users):
            time.sleep(max(0.0, start + index / latency.RATE - time.monotonic()))
            published[user] = time.time()
            channel.basic_publish(
                topology.EXCHANGE,
                "event.bench",
                latency.alerting_event(user),
                pika.BasicProperties(delivery_mode=2),
                mandatory=True,
            )
            confirmed[user] = time.time()
    return published, confirmed


@contextmanager
def _copies(platform: Platform) -> Iterator[dict[tuple[str, str], float]]:
    """Receive copies of events and findings. Yields their arrival times by kind and user."""
    arrivals: dict[tuple[str, str], float] = {}
    connection = pika.BlockingConnection(latency.parameters(platform))
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    for key in ("event.#", "finding.#"):
        channel.queue_bind(queue, topology.EXCHANGE, key)

    def receive(_: Any, method: Any, __: Any, body: bytes) -> None:
        now = time.time()
        kind = method.routing_key.partition(".")[0]
        if kind == "event":
            arrivals[kind, msgspec.json.decode(body)["user_id"]] = now
            return
        is_array = finding_message.is_array(body)
        for encoded, _ in finding_message.decode(body) if is_array else [(body, {})]:
            arrivals[kind, msgspec.json.decode(encoded)["actor"]] = now

    channel.basic_consume(queue, receive, auto_ack=True)
    thread = threading.Thread(target=channel.start_consuming, daemon=True)
    thread.start()
    try:
        yield arrivals
    finally:
        connection.add_callback_threadsafe(channel.stop_consuming)
        thread.join()
        connection.close()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--events", default=200, show_default=True, help="Number of alerting events.")
def main(events: int) -> None:
    """Print the timeline of an alert, and the latency of the bare path in the same run."""
    packages.ensure(packages.SERVERS)
    with environment.platform() as platform:
        latency.measure(platform, latency.RATE, "warm-up")
        for step, milliseconds in measure(platform, events).items():
            click.echo(f"{milliseconds:6.1f} ms  {step}")
        bare = latency.measure_bare(platform, events)
        click.echo(f"{bare.p50:6.1f} ms  bare path: two quorum queues and one commit")


if __name__ == "__main__":
    main()
