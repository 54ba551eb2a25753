"""Windows in Redis, shared by any number of workers: one Lua call an event, one trip a batch."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from audit_analysis.windows.spec import (
    SEPARATOR,
    Hit,
    Observation,
    Outcome,
    Sighting,
    WindowSpec,
)
from auditflow.errors import Unavailable
from auditflow.finding import MAX_EVIDENCE
from auditflow.settings import RedisSettings

#: A window is forgotten when nothing touched it for its retention and this long beside (seconds):
#: the longest stop of the analysis across which a window survives.
OUTAGE_SECONDS: Final = 6 * 3600
#: Whole events kept of one entity, for the evidence. More of them are known by name only.
MAX_RAWS: Final = 256
#: Calls in one trip to Redis, so that a huge batch holds a bounded part of the memory.
PIPELINE: Final = 1000

#: What Redis answers when it has no room or is not there yet: trying again later is right.
_PASSING: Final = ("OOM", "LOADING", "BUSY", "READONLY", "MISCONF", "MASTERDOWN", "CLUSTERDOWN")


def connect(settings: RedisSettings) -> redis.Redis:
    """A client that answers or fails within seconds. Who calls it decides about trying again."""
    return redis.Redis(
        host=settings.redis_host,
        port=settings.redis_port,
        username=settings.redis_user,
        password=settings.redis_password.get_secret_value(),
        socket_timeout=5,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
    )


def ping(client: redis.Redis) -> str | None:
    """None when Redis answers, else why not."""
    try:
        client.ping()
    except RedisError as error:
        return str(error) or type(error).__name__
    return None


class RedisWindows:
    """A ``WindowKeeper`` on Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._source = (files("audit_analysis.windows") / "window.lua").read_text("utf-8")
        self._sha: str | None = None

    def observe(self, observations: Sequence[Observation]) -> list[Outcome]:
        """See ``WindowKeeper``."""
        outcomes: list[Outcome] = []
        for start in range(0, len(observations), PIPELINE):
            outcomes += self._trip(observations[start : start + PIPELINE])
        return outcomes

    def published(self, sightings: Sequence[tuple[UUID, WindowSpec, Sighting]]) -> None:
        """See ``WindowKeeper``. Without the mark a sighting is only published again."""
        if not sightings:
            return
        with _passing_errors(), self._client.pipeline(transaction=False) as pipe:
            for key, spec, sighting in sightings:
                notes = _keys(key)[3]
                pipe.hset(notes, str(sighting.bucket), sighting.signature)
                pipe.expire(notes, _idle(spec))
            pipe.execute()

    def _trip(self, observations: Sequence[Observation]) -> list[Outcome]:
        with _passing_errors():
            try:
                answers = self._execute(observations)
            except NoScriptError:
                # Redis was restarted without its scripts. Doing the whole batch again is harmless.
                self._sha = None
                answers = self._execute(observations)
        return [_outcome(answer) for answer in answers]

    def _execute(self, observations: Sequence[Observation]) -> list[Any]:
        if self._sha is None:
            self._sha = str(self._client.script_load(self._source))
        asking = _asking(observations)
        with self._client.pipeline(transaction=False) as pipe:
            for number, one in enumerate(observations):
                spec, others = one.spec, asking.get(number)
                pipe.evalsha(
                    self._sha, 5, *_keys(one.key),
                    one.event_id, one.tag, one.moment, spec.kind,
                    spec.threshold, spec.timespan, spec.dedup, spec.lateness, spec.capacity,
                    _idle(spec), MAX_RAWS, MAX_EVIDENCE, one.raw,
                    int(one.approximate), int(others is not None), int(spec.feeds),
                    *(others or ()),
                )  # fmt: skip
            return list(pipe.execute())


def _keys(key: UUID) -> tuple[str, ...]:
    # The braces keep the keys of a window on one node of a Redis cluster.
    return tuple(f"{{{key}}}:{name}" for name in ("events", "hits", "raws", "notes", "latest"))


def _asking(observations: Sequence[Observation]) -> dict[int, Collection[int]]:
    """Which observations ask for sightings, and for which buckets besides their own.

    What a window saw a moment ago is of no use to anybody, and to tell it costs more than to count.
    So the last event of a window asks for those before it as well. But one that is newer by more
    than the lateness may drive out what these rest on: it asks for itself.
    """
    asking: dict[int, Collection[int]] = {}
    open_: dict[UUID, _Unasked] = {}
    for number, one in enumerate(observations):
        if not one.spec.reports:
            continue
        known = open_.get(one.key)
        if known is not None and known.takes(one):
            known.last = number
            continue
        if known is not None:
            asking[known.last] = known.buckets()
        open_[one.key] = _Unasked(one, number)
    for known in open_.values():
        asking[known.last] = known.buckets()
    return asking


class _Unasked:
    """Events of one window, of which the last asks for all."""

    __slots__ = ("_moments", "_newest", "_oldest", "_spec", "last")

    def __init__(self, one: Observation, number: int) -> None:
        self.last = number
        self._spec = one.spec
        self._moments = [one.moment]
        self._oldest = self._newest = one.moment

    def takes(self, one: Observation) -> bool:
        """Whether one more event may ask for these too."""
        oldest, newest = min(self._oldest, one.moment), max(self._newest, one.moment)
        if newest - oldest > self._spec.lateness:
            return False
        self._oldest, self._newest = oldest, newest
        self._moments.append(one.moment)
        return True

    def buckets(self) -> Collection[int]:
        """The buckets of all but the last, which looks at its own anyway."""
        if len(self._moments) == 1:
            return ()
        return {bucket for moment in self._moments for bucket in self._spec.buckets(moment)}


def _idle(spec: WindowSpec) -> int:
    return spec.retention // 1000 + OUTAGE_SECONDS


def _outcome(answer: Any) -> Outcome:
    late, sightings, hits = answer
    return Outcome(
        late=bool(late),
        sightings=tuple(_sighting(fields) for fields in sightings),
        hits=tuple(
            Hit(event_id.decode(), int(moment), raw or b"", bool(approximate))
            for event_id, moment, raw, approximate in hits
        ),
    )


def _sighting(fields: list[Any]) -> Sighting:
    bucket, last_hit, count, named, last_member, last_moment, first, last, approximate = fields
    pairs = zip(named[1::2], named[::2], strict=True)
    return Sighting(
        bucket=int(bucket),
        last_hit=int(last_hit),
        count=count,
        events=tuple((int(moment), _event_id(member)) for moment, member in pairs),
        last_event=(int(last_moment), _event_id(last_member)),
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
        if str(error).startswith(_PASSING):
            raise Unavailable("redis", str(error)) from error
        raise
    except RedisError as error:
        raise Unavailable("redis", str(error) or type(error).__name__) from error
