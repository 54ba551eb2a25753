"""The complete analysis on a real broker and a bare pika consumer of the same messages, in turns."""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx
import msgspec
import pika
import psutil
from prometheus_client.parser import text_string_to_metric_families

from auditflow.amqp import Message, Publisher, topology
from auditflow.contract.event import BATCH_EVENTS, Event
from auditflow_local import ports
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import Redis
from auditflow_local.service_process import ServiceProcess
from auditflow_local.services import ANALYSIS, Dependencies

from . import corpus, quota
from .servers import private_rabbitmq, private_redis

PREFETCH = 1000
#: Of a core, for each replica, so that on two cores the broker and Redis have more than they need.
PART = 0.3
ONE_OF_A_PART = f"one replica on {PART} of a core"
TWO_OF_A_PART = f"two replicas on {PART} of a core each"


@contextmanager
def servers() -> Iterator[tuple[RabbitMQ, Redis]]:
    """A private broker and Redis, which do sync to the disk."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as ends:
        folder = Path(temporary)
        rabbitmq = private_rabbitmq(folder)
        redis = private_redis(folder)
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


class Speed(NamedTuple):
    """Events a second, and what each costs: microseconds of CPU in the processes that consume."""

    rate: float
    cost: float


def bare(rabbitmq: RabbitMQ, messages: int, decode: Callable[[bytes], object]) -> Speed:
    """A consumer that only decodes, and acknowledges by the hundred."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url("auditflow-admin")))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=PREFETCH)
    began = cpu = 0.0
    for seen, (method, _, body) in enumerate(channel.consume(topology.EVENTS), start=1):
        if not began:
            began, cpu = time.perf_counter(), time.process_time()
        decode(body)
        if seen % 100 == 0 or seen == messages:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if seen == messages:
            break
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
    connection.close()
    return Speed(messages / elapsed, cpu / messages * 1e6)


def analysis(
    rabbitmq: RabbitMQ,
    redis: Redis,
    messages: int,
    *,
    replicas: int = 1,
    part: float | None = None,
) -> Speed:
    """The service, from its first acknowledgement to its last; ``part`` of a core for each."""
    redis.flush()
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as ends:
        services = [
            _service(Path(temporary) / str(number), rabbitmq, redis) for number in range(replicas)
        ]
        for service in services:
            ends.callback(service.stop)
        with ThreadPoolExecutor() as pool:  # at once, or the first would be done before the next
            list(pool.map(ServiceProcess.respawn, services))
        if part is not None:
            for service in services:
                assert service.pid is not None
                quota.join(ends.enter_context(quota.part_of_a_core(part)), service.pid)
        while not (first := _consumed(services)):
            pass
        began, before = time.perf_counter(), _cpu(services)
        while (done := _consumed(services)) < messages:
            time.sleep(0.2)  # asking costs the service something
        elapsed = time.perf_counter() - began
        return Speed((done - first) / elapsed, (_cpu(services) - before) / (done - first) * 1e6)


def _service(folder: Path, rabbitmq: RabbitMQ, redis: Redis) -> ServiceProcess:
    folder.mkdir()
    return ServiceProcess(
        ANALYSIS,
        Dependencies(rabbitmq=rabbitmq, redis=redis),
        port=ports.pick(),
        log=folder / "log",
        record=folder / "record",
        secrets_folder=folder / "secrets",
        variables={"PREFETCH": str(PREFETCH), "LOG_LEVEL": "WARNING"},
    )


def measure(*, singles: int, batches: int, rounds: int) -> dict[str, dict[str, Speed]]:
    """A bare consumer, the analysis, and two of it, in turns, for messages of one event and of a
    hundred: of each the median of its rounds.

    Where this machine can, also one and two that have a part of a core each."""
    bodies = corpus.bodies(singles)
    together = iter(corpus.bodies(batches * BATCH_EVENTS))
    many = [
        b"[" + b",".join(itertools.islice(together, BATCH_EVENTS)) + b"]" for _ in range(batches)
    ]
    event, events = msgspec.json.Decoder(Event), msgspec.json.Decoder(list[Event])
    results: dict[str, dict[str, Speed]] = {}
    with servers() as (rabbitmq, redis):
        for name, messages, decode, each in (
            ("one event a message", bodies, event.decode, 1),
            (f"{BATCH_EVENTS} events a message", many, events.decode, BATCH_EVENTS),
        ):
            contestants: dict[str, Callable[[int], Speed]] = {
                "bare consumer": partial(bare, rabbitmq, decode=decode),
                "analysis": partial(analysis, rabbitmq, redis),
                "two replicas": partial(analysis, rabbitmq, redis, replicas=2),
            }
            if quota.possible():
                for who, replicas in ((ONE_OF_A_PART, 1), (TWO_OF_A_PART, 2)):
                    contestants[who] = partial(
                        analysis, rabbitmq, redis, replicas=replicas, part=PART
                    )
            runs: dict[str, list[Speed]] = {who: [] for who in contestants}
            for _ in range(rounds):
                for who, run in contestants.items():
                    rabbitmq.empty(topology.FINDINGS)
                    fill(rabbitmq, messages)
                    runs[who].append(run(len(messages)))
            results[name] = {
                who: Speed(
                    median(speed.rate for speed in speeds) * each,
                    median(speed.cost for speed in speeds) / each,
                )
                for who, speeds in runs.items()
            }
    return results


def _cpu(services: Sequence[ServiceProcess]) -> float:
    """Seconds that services have computed."""
    return sum(
        sum(psutil.Process(service.pid).cpu_times()[:2]) for service in services if service.pid
    )


def _consumed(services: Sequence[ServiceProcess]) -> int:
    total = 0
    for service in services:
        text = httpx.get(f"{service.url}/metrics", timeout=30).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "auditflow_consumed_messages_total":
                    total += int(sample.value)
    return total
