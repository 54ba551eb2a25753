"""Windows in Redis, which any number of workers share: one script call for a batch.

Windows with few events are fields of a hash (a shard), so that they need little memory and time.
Larger windows have keys of their own. layout.py and the Lua scripts define the keys.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import redis
from redis.exceptions import NoScriptError, ResponseError

from audit_analysis.windows import pipelining, scripts
from audit_analysis.windows.event_store import BUDGET_BYTES, EventStore
from audit_analysis.windows.layout import SHARD_PREFIX, SHARDS
from audit_analysis.windows.memory_pressure import CRITICAL, MemoryPressure
from audit_analysis.windows.pipelining import Command
from audit_analysis.windows.redis_client import error_code, transient_errors
from audit_analysis.windows.request import Request, WindowSummary, calls, idle_seconds, results
from audit_analysis.windows.spec import BucketSummary, Observation, ObservationResult
from auditflow.errors import Unavailable
from auditflow.telemetry import logs

#: Default maximum number of open windows of a rule.
WINDOWS_PER_RULE: Final = 100_000
#: Maximum number of observations that are sent at once.
MAX_SENT: Final = 2000
#: Maximum time for replicas to acknowledge a batch (milliseconds).
REPLICATION_MS: Final = 2000
#: A key that is written with each batch that replicas must have.
BATCH_KEY: Final = "batch"

_NOTHING: Final = ObservationResult()

log = logs.get(__name__)


class RedisWindows:
    """A ``WindowStore`` in Redis.

    A batch is complete when ``replicas`` replicas have it: if the master is lost, the new master
    has everything that was acknowledged. A rule has at most ``windows_per_rule`` windows.
    ``on_evicted`` is called with the number of windows that were evicted because of a memory limit.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        replicas: int = 0,
        windows_per_rule: int = WINDOWS_PER_RULE,
        event_budget_bytes: int = BUDGET_BYTES,
        on_evicted: Callable[[int], None] = lambda number: None,
    ) -> None:
        self._client = client
        self._replicas = replicas
        self._on_evicted = on_evicted
        self._events = EventStore(client, budget_bytes=event_budget_bytes)
        self._digests: tuple[str, str] | None = None
        # Published summaries are sent with the next batch.
        self._published: list[WindowSummary] = []
        self.memory = MemoryPressure(max(8, -(-windows_per_rule // SHARDS)))

    def observe(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        """See ``WindowStore``."""
        observed: list[ObservationResult] = []
        for start in range(0, len(observations), MAX_SENT):
            observed += self._observe(observations[start : start + MAX_SENT])
        return observed

    def mark_published(self, summaries: Sequence[WindowSummary]) -> None:
        """See ``WindowStore``. Redis gets the summaries with the next batch, or by ``flush``.

        If the worker fails before, the summaries are only published again.
        """
        self._published.extend(summaries)

    def flush(self) -> None:
        """See ``WindowStore``."""
        if self._published:
            self._observe(())

    def _observe(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        with transient_errors():
            try:
                return self._execute(observations)
            except NoScriptError:
                # Redis was restarted without its scripts. Repeating the batch is safe.
                self._digests = None
                return self._execute(observations)
            except ResponseError as error:
                if error_code(error) != "OOM":
                    raise
                self._free_memory()
                return self._execute(observations)

    def _execute(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        observe, store_events = self._scripts()
        limits = self.memory.limits()
        references: dict[str, str] = {}
        commands: list[Command] = []
        if observations and limits.store_events:
            seconds = max(idle_seconds(observation.spec) for observation in observations)
            references, commands = self._events.add(
                observations, script=store_events, seconds=seconds
            )
        positions: list[list[int]] = []
        first_call = len(commands)
        request = Request(limits)
        for summary in self._published:
            request.mark_published(summary)
        for windows in calls(observations) if observations else ([],):
            for window in windows:
                request.observe(observations, window, references)
            commands.append(("EVALSHA", observe, 1, BATCH_KEY, request.encoded()))
            positions.append([position for window in windows for position in window])
            request = Request(limits)
        after_calls = len(commands)
        if self._replicas:
            # WAIT needs a write of this connection: a repeated batch may write nothing, although
            # the replicas do not have the writes of the first attempt.
            commands += [("SET", BATCH_KEY, ""), ("WAIT", self._replicas, REPLICATION_MS)]
        measure = self.memory.is_due()
        if measure:
            commands.append(("INFO", "memory"))
        responses = pipelining.execute(self._client, commands)
        if measure:
            self.memory.measured(responses.pop())
        self._published.clear()
        if self._replicas and responses[-1] < self._replicas:
            raise Unavailable(
                "redis", f"{responses[-1]} of {self._replicas} replicas stored the batch"
            )
        return self._results(len(observations), responses[first_call:after_calls], positions)

    def _results(
        self, number: int, responses: Sequence[Any], positions: Sequence[Sequence[int]]
    ) -> list[ObservationResult]:
        observed = [_NOTHING] * number
        with_events: list[int] = []
        for response, own_positions in zip(responses, positions, strict=True):
            if response[3]:
                self._on_evicted(response[3])
            for position, result in results(response, own_positions):
                observed[position] = result
                if result.summaries:
                    with_events.append(position)
        if with_events:
            self._read_events(observed, with_events)
        return observed

    def _read_events(self, observed: list[ObservationResult], positions: Sequence[int]) -> None:
        """Replace the references in summaries by the complete events."""
        summaries = [summary for position in positions for summary in observed[position].summaries]
        events = self._events.read(_references(summaries))
        for position in positions:
            result = observed[position]
            complete = tuple(
                msgspec.structs.replace(
                    summary,
                    first=events[summary.first.decode()] if summary.first else None,
                    last=events[summary.last.decode()] if summary.last else None,
                )
                for summary in result.summaries
            )
            observed[position] = msgspec.structs.replace(result, summaries=complete)

    def _scripts(self) -> tuple[str, str]:
        if self._digests is None:
            load = self._client.script_load
            self._digests = (
                str(load(scripts.text(scripts.OBSERVE))),
                str(load(scripts.text(scripts.STORE_EVENTS))),
            )
        return self._digests

    def _free_memory(self) -> None:
        """Delete complete events, then evict windows, until Redis has memory again."""
        log.warning("Redis has no memory left; complete events and windows are evicted")
        self._events.delete_all()
        evict = str(self._client.script_load(scripts.text(scripts.RELIEVE, allow_oom=True)))
        shards = list(self._client.scan_iter(match=f"{SHARD_PREFIX}*}}", count=1000))
        evicted = 0
        for start in range(0, len(shards), 100):
            self._measure()
            if self.memory.usage < CRITICAL:
                break
            names = [shard.decode() for shard in shards[start : start + 100]]
            request = msgspec.msgpack.encode((8, 500, [], [], [], names))
            evicted += int(self._client.evalsha(evict, 1, BATCH_KEY, request))
        self._measure()
        self._on_evicted(evicted)
        log.warning("memory of Redis freed", evicted=evicted, usage=round(self.memory.usage, 3))

    def _measure(self) -> None:
        (info,) = pipelining.execute(self._client, [("INFO", "memory")])
        self.memory.measured(info)


def _references(summaries: Sequence[BucketSummary]) -> Iterator[str]:
    for summary in summaries:
        for reference in (summary.first, summary.last):
            if reference:
                yield reference.decode()
