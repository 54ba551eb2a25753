"""The whole analysis on a real broker, beside a bare pika consumer of the same messages, in turns."""

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import msgspec
import pika
from prometheus_client.parser import text_string_to_metric_families

from auditflow import topology
from auditflow.amqp import Message, Publisher
from auditflow.event import BATCH_EVENTS, Event
from auditflow_local import ports
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import Redis
from auditflow_local.service_process import ServiceProcess
from auditflow_local.services import ANALYSIS, Surroundings

from . import corpus

PREFETCH = 1000


@contextmanager
def servers() -> Iterator[tuple[RabbitMQ, Redis]]:
    """A private broker and Redis, which do sync to the disk."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as ends:
        folder = Path(temporary)
        passwords = {user: secrets.token_hex(8) for user in topology.USERS}
        rabbitmq = RabbitMQ(
            folder / "rabbitmq",
            port=ports.pick(),
            metrics_port=ports.pick(),
            distribution_port=ports.pick(),
            epmd_port=ports.pick(),
            definitions=topology.definitions(passwords),
            passwords=passwords,
        )
        redis = Redis(
            folder / "redis",
            port=ports.pick(),
            password=secrets.token_hex(8),
            admin_password=secrets.token_hex(8),
        )
        for server in (rabbitmq, redis):
            ends.callback(server.destroy)
            server.start()
        yield rabbitmq, redis


def fill(rabbitmq: RabbitMQ, messages: Sequence[bytes]) -> None:
    """Put messages on the queue."""
    publisher = Publisher(pika.URLParameters(rabbitmq.url("auditflow-admin")))
    publisher.start()
    while publisher.check() is not None:
        time.sleep(0.05)
    publisher.publish(
        [
            Message(
                exchange=topology.EXCHANGE,
                routing_key="event.bench",
                body=body,
                message_id=str(number),
            )
            for number, body in enumerate(messages)
        ],
        timeout=60,
    )
    publisher.close()


def bare(rabbitmq: RabbitMQ, messages: int, decode: Callable[[bytes], object]) -> float:
    """Messages a second of a consumer that only decodes, and acknowledges by the hundred."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url("auditflow-admin")))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=PREFETCH)
    began = 0.0
    for seen, (method, _, body) in enumerate(channel.consume(topology.EVENTS), start=1):
        began = began or time.perf_counter()
        decode(body)
        if seen % 100 == 0 or seen == messages:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if seen == messages:
            break
    took = time.perf_counter() - began
    connection.close()
    return messages / took


def analysis(rabbitmq: RabbitMQ, redis: Redis, messages: int) -> float:
    """Messages a second of the service, from its first acknowledgement to its last."""
    redis.flush()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        service = ServiceProcess(
            ANALYSIS,
            Surroundings(rabbitmq=rabbitmq, redis=redis),
            port=ports.pick(),
            log=folder / "log",
            record=folder / "record",
            secrets_folder=folder / "secrets",
            variables={"PREFETCH": str(PREFETCH), "LOG_LEVEL": "WARNING"},
        )
        service.revive()
        try:
            first, began = _consumed(service), time.perf_counter()
            while not first:
                first, began = _consumed(service), time.perf_counter()
            while (done := _consumed(service)) < messages:
                time.sleep(0.2)  # asking costs the service something
            return (done - first) / (time.perf_counter() - began)
        finally:
            service.stop()


def measure(*, singles: int, batches: int, rounds: int) -> dict[str, dict[str, float]]:
    """Events a second of both, for messages of one event and of a hundred."""
    one = corpus.bodies(singles)
    many = [
        msgspec.json.encode(list(corpus.events(BATCH_EVENTS, seed=number)))
        for number in range(batches)
    ]
    event, events = msgspec.json.Decoder(Event), msgspec.json.Decoder(list[Event])
    results: dict[str, dict[str, float]] = {}
    with servers() as (rabbitmq, redis):
        for name, messages, decode, each in (
            ("one event a message", one, event.decode, 1),
            (f"{BATCH_EVENTS} events a message", many, events.decode, BATCH_EVENTS),
        ):
            best = {"bare consumer": 0.0, "analysis": 0.0}
            for _ in range(rounds):
                fill(rabbitmq, messages)
                best["bare consumer"] = max(
                    best["bare consumer"], each * bare(rabbitmq, len(messages), decode)
                )
                fill(rabbitmq, messages)
                best["analysis"] = max(
                    best["analysis"], each * analysis(rabbitmq, redis, len(messages))
                )
            results[name] = best
    return results


def _consumed(service: ServiceProcess) -> int:
    text = httpx.get(f"{service.url}/metrics").text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "auditflow_consumed_messages_total":
                return int(sample.value)
    return 0
