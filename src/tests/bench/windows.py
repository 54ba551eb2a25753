"""`python -m src.tests.bench.windows`: time and memory of full windows."""

import random
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import click
import redis
from rich.console import Console
from rich.table import Table
from src.tests.bench.servers import private_redis

from audit_analysis.windows import Observation, WindowSpec
from audit_analysis.windows.redis_windows import RedisWindows
from audit_analysis.windows.request import shard
from auditflow_local import packages

_START = 1_800_000_000_000
_MINUTE = 60_000
_LATENESS = 15 * _MINUTE
_BATCH = 500
#: An event as it travels.
_RAW = b"x" * 420


def _spec(kind: str, threshold: int, *, lateness: int = _LATENESS) -> WindowSpec:
    return WindowSpec(
        kind=kind,  # type: ignore[arg-type]
        threshold=threshold,
        timespan=5 * _MINUTE,
        dedup=5 * _MINUTE,
        lateness=lateness,
    )


#: What is measured: a name, the window, how many different values, the share of late events.
CASES = (
    ("3 events, in order", _spec("event_count", 3), 1, 0.0),
    ("1,000 events, in order", _spec("event_count", 1000), 1, 0.0),
    ("1,000 events, 1 % late", _spec("event_count", 1000), 1, 0.01),
    ("20 of 10,000 values, in order", _spec("value_count", 20), 10_000, 0.0),
    ("20 of 10,000 values, 1 % late", _spec("value_count", 20), 10_000, 0.01),
    ("5,000 of 10,000 values, in order", _spec("value_count", 5000), 10_000, 0.0),
    ("5,000 of 10,000 values, 1 % late", _spec("value_count", 5000), 10_000, 0.01),
    ("20,000 of 30,000 values (estimated)", _spec("value_count", 20_000), 30_000, 0.01),
)


def _events(values: int, late: float, number: int) -> Iterator[tuple[int, str, str]]:
    """A hundred a second, of one entity; late ones by up to half a minute."""
    draw = random.Random(1)
    for each in range(number):
        timestamp_ms = _START + each * 10
        if draw.random() < late:
            timestamp_ms -= draw.randrange(30_000)
        yield timestamp_ms, str(uuid.UUID(int=each)), f"value-{each % values}"


def measure(
    windows: RedisWindows, client: redis.Redis, number: int
) -> Iterator[tuple[str, float, float, float, int]]:
    """Of each case its name, events/s in a full window, what one costs Redis (seconds of its core),
    the window's memory (bytes), and its members."""
    for name, spec, values, late in CASES:
        key = str(uuid.uuid4())
        seen = [
            Observation(
                spec, key, event, timestamp_ms, _RAW, tag if spec.kind == "value_count" else ""
            )
            for timestamp_ms, event, tag in _events(values, late, 2 * number)
        ]
        for start in range(0, len(seen), _BATCH):
            if start == number:
                began, spent = time.perf_counter(), _cpu(client)
            results = windows.observe(seen[start : start + _BATCH])
            windows.mark_published(
                [(key, spec, summary) for result in results for summary in result.summaries]
            )
        elapsed, cost = time.perf_counter() - began, _cpu(client) - spent
        prefix = f"w:{spec.pool}:{{{shard(key)}}}"
        names = [prefix, *client.scan_iter(prefix.replace("{", "\\{") + f":{key}*", count=10_000)]
        memory = sum(client.memory_usage(item, samples=0) or 0 for item in names)
        yield name, number / elapsed, cost / number, memory, client.zcard(f"{prefix}:{key}:events")


def _cpu(client: redis.Redis) -> float:
    """The CPU time of the server until now (seconds). Other processes do not affect it."""
    used = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


@click.command()
@click.option(
    "--events",
    default=10_000,
    show_default=True,
    help="Before, and while it is measured.",
)
def main(events: int) -> None:
    """Measure the speed of full windows, and the memory of each of them."""
    packages.ensure(packages.SERVERS)
    table = Table(
        "window of 5 minutes, 100 events/s", "events/s", "Redis, µs each", "memory", "members"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    with tempfile.TemporaryDirectory() as folder:
        server = private_redis(Path(folder))
        try:
            server.start()
            client = redis.Redis.from_url(server.admin_url)
            for name, rate, cost, memory, members in measure(RedisWindows(client), client, events):
                table.add_row(
                    name,
                    f"{rate:,.0f}",
                    f"{cost * 1e6:.0f}",
                    f"{memory / 1e6:.2f} MB",
                    f"{members:,}",
                )
        finally:
            server.destroy()
    Console().print(table)


if __name__ == "__main__":
    main()
