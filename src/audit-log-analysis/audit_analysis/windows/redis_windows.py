"""Windows in Redis, shared by any number of workers: a Lua call a window, a trip a batch."""

import itertools
import ssl
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import Sentinel

from audit_analysis.windows import pipelining
from audit_analysis.windows.pipelining import Command
from audit_analysis.windows.spec import (
    SEPARATOR,
    BucketSummary,
    Hit,
    Observation,
    ObservationResult,
    WindowSpec,
)
from auditflow.contract.finding import MAX_EVIDENCE
from auditflow.errors import Unavailable
from auditflow.settings import RedisSettings

#: A window is forgotten when nothing touched it for its retention and this long beside (seconds):
#: the longest stop of the analysis across which a window survives.
OUTAGE_SECONDS: Final = 6 * 3600
#: How much earlier than that a window may be forgotten, which is added to it: its end is not moved
#: with every event (SLACK in window.lua).
SLACK_SECONDS: Final = 600
#: Whole events kept of one entity, for the evidence. More of them are known by name only.
MAX_RAWS: Final = 256
#: Events in one trip to Redis, so that a huge batch holds a bounded part of the memory.
PIPELINE: Final = 2000
#: Events of one window in one call, so that no call keeps Redis from others for long.
TOGETHER: Final = 200

_NOTHING: Final = ObservationResult()

#: What Redis answers when it has no room or is not there yet: trying again later is right.
_PASSING: Final = frozenset(
    {"OOM", "LOADING", "BUSY", "READONLY", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS"}
)
#: How long replicas have to say that they have a batch (milliseconds).
REPLICATION: Final = 2000
#: Written by each batch that replicas must have.
BATCH: Final = "batch"


def connect(settings: RedisSettings) -> redis.Redis:
    """A client that answers or fails within seconds. Who calls it decides about trying again."""
    known: dict[str, Any] = {
        "username": settings.redis_user,
        "password": settings.redis_password.get_secret_value(),
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "retry": Retry(NoBackoff(), 0),
    }
    if settings.redis_tls:
        known |= {"ssl": True, "ssl_min_version": ssl.TLSVersion.TLSv1_2}
        if settings.tls_ca_file:
            known["ssl_ca_certs"] = str(settings.tls_ca_file)
    if settings.redis_sentinels:
        addresses = settings.sentinel_addresses()
        sentinels: Any = Sentinel(addresses, sentinel_kwargs=known, **known)  # type: ignore[no-untyped-call]
        master: redis.Redis = sentinels.master_for(
            settings.redis_sentinel_service, health_check_interval=30
        )
        return master
    return redis.Redis(
        host=settings.redis_host, port=settings.redis_port, health_check_interval=30, **known
    )


def ping(client: redis.Redis) -> str | None:
    """None when Redis answers, else why not."""
    try:
        client.ping()
    except RedisError as error:
        return str(error) or type(error).__name__
    return None


class RedisWindows:
    """A ``WindowStore`` on Redis.

    A batch is done when so many ``replicas`` have its windows too: with a master that is lost goes
    only what nobody else was told of.
    """

    def __init__(self, client: redis.Redis, *, replicas: int = 0) -> None:
        self._client = client
        self._replicas = replicas
        self._shas: tuple[str, str] | None = None
        # What is published, to be told with the next trip: a trip costs more than all of it.
        self._published: list[tuple[str, WindowSpec, BucketSummary]] = []

    def observe(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        """See ``WindowStore``."""
        results: list[ObservationResult] = []
        for start in range(0, len(observations), PIPELINE):
            results += self._trip(observations[start : start + PIPELINE])
        return results

    def mark_published(self, summaries: Sequence[tuple[str, WindowSpec, BucketSummary]]) -> None:
        """See ``WindowStore``. Redis is told before the next observation, or by ``flush``.

        Whoever dies before has it only published again.
        """
        self._published.extend(summaries)

    def flush(self) -> None:
        """See ``WindowStore``."""
        if self._published:
            with _passing_errors():
                pipelining.through(self._client, self._marks())
            self._published.clear()

    def _marks(self) -> Iterator[Command]:
        for key, spec, summary in self._published:
            notes = _keys(key)[3]
            yield "HSET", notes, str(summary.bucket), summary.signature
            yield "EXPIRE", notes, _idle(spec)

    def _trip(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        with _passing_errors():
            try:
                results = self._execute(observations)
            except NoScriptError:
                # Redis was restarted without its scripts. Doing the whole batch again is harmless.
                self._shas = None
                results = self._execute(observations)
        return results

    def _execute(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        if self._shas is None:
            load = self._client.script_load
            self._shas = str(load(_script("window.lua"))), str(load(_script("sketch.lua")))
        window, sketch = self._shas
        marks = list(self._marks())
        calls = list(_calls(observations))
        commands = itertools.chain(
            marks,
            (_command(sketch, window, [observations[place] for place in one]) for one in calls),
            # A write of this connection for WAIT to wait for: what came again, over another
            # connection, may write nothing, and replicas may still lack what it wrote first.
            (("SET", BATCH, ""), ("WAIT", self._replicas, REPLICATION)) if self._replicas else (),
        )
        answers = pipelining.through(self._client, commands)[len(marks) :]
        self._published.clear()
        if self._replicas:
            *answers, _, reached = answers
            if reached < self._replicas:
                raise Unavailable("redis", f"{reached} of {self._replicas} replicas have the batch")
        results = [_NOTHING] * len(observations)
        for places, answer in zip(calls, answers, strict=True):
            for place, result in _outcomes(places, answer):
                results[place] = result
        return results


def _command(sketch: str, window: str, together: Sequence[Observation]) -> Command:
    """The call for some observations of one window."""
    first = together[0]
    script = sketch if first.spec.sketched else window
    parts = (part for one in together for part in _parts(one))
    return "EVALSHA", script, 5, *_keys(first.key), *_arguments(first.spec), *parts


@lru_cache(1000)
def _arguments(spec: WindowSpec) -> Command:
    return (
        spec.kind, spec.threshold, spec.timespan, spec.dedup, spec.lateness,
        spec.capacity, _idle(spec), MAX_RAWS, MAX_EVIDENCE,
        int(spec.reports), int(spec.feeds),
    )  # fmt: skip


def _calls(observations: Sequence[Observation]) -> Iterator[list[int]]:
    """The places of observations by their windows, in order, so many at a time."""
    of_window: dict[str, list[int]] = {}
    for place, one in enumerate(observations):
        of_window.setdefault(one.key, []).append(place)
    for places in of_window.values():
        for start in range(0, len(places), TOGETHER):
            yield places[start : start + TOGETHER]


def _parts(one: Observation) -> tuple[str | int | bytes, ...]:
    return one.event_id, one.tag, one.timestamp_ms, one.raw, int(one.approximate)


def _script(name: str) -> str:
    return (files("audit_analysis.windows") / name).read_text("utf-8")


@lru_cache(10_000)
def _keys(key: str) -> tuple[str, ...]:
    # The braces keep the keys of a window on one node of a Redis cluster.
    return tuple(f"{{{key}}}:{name}" for name in ("events", "hits", "raws", "notes", "latest"))


def _idle(spec: WindowSpec) -> int:
    return spec.retention // 1000 + OUTAGE_SECONDS + SLACK_SECONDS


def _outcomes(places: Sequence[int], answer: Any) -> Iterator[tuple[int, ObservationResult]]:
    """What the script says of the events of a window. Of the others there is nothing to say."""
    late, seen, hit = answer
    summaries: defaultdict[int, list[BucketSummary]] = defaultdict(list)
    hits: defaultdict[int, list[Hit]] = defaultdict(list)
    for number, *fields in seen:
        summaries[number].append(_summary(fields))
    for number, event_id, timestamp_ms, raw, approximate in hit:
        hits[number].append(
            Hit(event_id.decode(), int(timestamp_ms), raw or b"", bool(approximate))
        )
    for number in {*late, *summaries, *hits}:
        yield (
            places[number - 1],
            ObservationResult(
                late=number in late,
                summaries=tuple(summaries.get(number, ())),
                hits=tuple(hits.get(number, ())),
            ),
        )


def _summary(fields: list[Any]) -> BucketSummary:
    bucket, last_hit, count, named, last_member, last_timestamp_ms, first, last, approximate = (
        fields
    )
    pairs = zip(named[1::2], named[::2], strict=True)
    return BucketSummary(
        bucket=int(bucket),
        last_hit=int(last_hit),
        count=count,
        events=tuple((int(timestamp_ms), _event_id(member)) for timestamp_ms, member in pairs),
        last_event=(int(last_timestamp_ms), _event_id(last_member)),
        first=first,
        last=last,
        approximate=bool(approximate),
    )


def _event_id(member: bytes) -> str:
    return member.decode().partition(SEPARATOR)[0]


@contextmanager
def _passing_errors() -> Iterator[None]:
    """Turns errors that pass by themselves into Unavailable. A fault of ours stays what it is."""
    try:
        yield
    except NoScriptError as error:
        raise Unavailable("redis", "it keeps forgetting its scripts") from error
    except ResponseError as error:
        code = error.status_code or str(error).partition(" ")[0]
        if code in _PASSING:
            raise Unavailable("redis", f"{code}: {error}") from error
        raise
    except RedisError as error:
        raise Unavailable("redis", str(error) or type(error).__name__) from error
