"""`python -m src.tests.bench.flood`: failed logins with distinct names, and a burst among them."""

import datetime as dt
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import msgspec
import redis
from msgspec import Struct
from prometheus_client import CollectorRegistry
from src.tests.bench.servers import private_redis

import audit_analysis
from audit_analysis.service.metrics import Metrics
from audit_analysis.service.pipeline import Pipeline
from audit_analysis.sigma.load import load
from audit_analysis.windows.redis_windows import WINDOWS_PER_RULE, RedisWindows
from auditflow.amqp import Delivery, Message
from auditflow.contract import finding
from auditflow.contract.finding import Finding
from auditflow_local import packages
from auditflow_local.servers.redis import Redis

_SHIPPED_RULES = Path(audit_analysis.__file__).parent / "rules"
_BATCH = 500
#: The user whose password is guessed during the flood.
VICTIM = "victim"


class Result(Struct, frozen=True):
    """The result of a flood. Memory is in bytes, ``seconds`` is the duration.

    ``findings`` are those about the victim. ``evicted`` is the number of evicted windows.
    """

    peak_memory: int
    seconds: float
    evicted: int
    findings: tuple[Finding, ...]


def events(number: int, now: dt.datetime) -> Iterator[bytes]:
    """Failed logins of ``number`` distinct users from distinct addresses, 5,000 a second.

    After two thirds of them the victim has five failed logins, and 1,000 events later a sixth.
    """
    burst = 2 * number // 3
    for each in range(number):
        timestamp = now - dt.timedelta(seconds=(number - each) / 5000)
        yield _failed_login(f"e{each}", f"user-{each}", timestamp, address=each)
        if each == burst or each == burst + 1000:
            for attempt in range(5 if each == burst else 1):
                yield _failed_login(f"v{each}-{attempt}", VICTIM, timestamp, address=0)


def _failed_login(event_id: str, user: str, timestamp: dt.datetime, *, address: int) -> bytes:
    return msgspec.json.encode(
        {
            "event_id": event_id,
            "timestamp": timestamp,
            "event_type": "user_login",
            "action_result": "FAILURE",
            "user_id": user,
            "server_hostname": "web-01",
            "client_ip": f"10.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}",
            "details": {"reason": "invalid password", "method": "password", "session": "x" * 160},
        }
    )


def run(number: int, server: Redis, *, windows_per_rule: int = WINDOWS_PER_RULE) -> Result:
    """Send the flood through the analysis, in this process."""
    found: dict[object, Finding] = {}
    evicted: list[int] = []
    now = dt.datetime.now(dt.UTC)

    def publish(messages: Sequence[Message]) -> Callable[[], None]:
        for message in messages:
            version = finding.decode(message.body, now=now)
            known = found.get(version.finding_id)
            found[version.finding_id] = finding.merge(known, version) if known else version
        return lambda: None

    rules = load([_SHIPPED_RULES], lateness=900_000)
    with (
        redis.Redis.from_url(server.url) as client,
        redis.Redis.from_url(server.admin_url) as admin,
    ):
        pipeline = Pipeline(
            lambda: rules,
            RedisWindows(client, windows_per_rule=windows_per_rule, on_evicted=evicted.append),
            publish,
            environment="bench",
            metrics=Metrics(CollectorRegistry()),
        )
        started = time.perf_counter()
        batch: list[Delivery] = []
        for body in events(number, now):
            batch.append(Delivery(body))
            if len(batch) == _BATCH:
                pipeline(batch)
                batch.clear()
        pipeline(batch)
        seconds = time.perf_counter() - started
        peak = int(admin.info("memory")["used_memory_peak"])
    about_victim = (item for item in found.values() if item.entity.get("user_id") == VICTIM)
    return Result(peak, seconds, sum(evicted), tuple(about_victim))


@click.command()
@click.option("--events", "number", default=1_000_000, show_default=True)
def main(number: int) -> None:
    """Print the memory of Redis during a flood, and the findings of a burst among it."""
    packages.ensure(packages.SERVERS)
    with tempfile.TemporaryDirectory() as folder:
        server = private_redis(Path(folder))
        try:
            server.start()
            result = run(number, server)
        finally:
            server.destroy()
    click.echo(
        f"{number:,} failed logins in {result.seconds:.0f} s: "
        f"Redis used up to {result.peak_memory / 2**20:.0f} MiB, {result.evicted:,} windows evicted"
    )
    for found in result.findings:
        accuracy = "approximate" if found.approximate else "exact"
        click.echo(f"{found.rule.title}: {found.description} ({accuracy})")


if __name__ == "__main__":
    main()
