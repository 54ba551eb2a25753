"""A window store with metrics: operations, duration, approximate results, keys."""

import math
import time
from collections import Counter as Tally
from collections.abc import Sequence
from typing import get_args

import redis
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from audit_analysis.windows import (
    BucketSummary,
    Observation,
    ObservationResult,
    WindowSpec,
    WindowStore,
)
from audit_analysis.windows.memory_pressure import MemoryPressure
from audit_analysis.windows.spec import Kind


class InstrumentedWindows:
    """A ``WindowStore`` that measures another one."""

    def __init__(self, windows: WindowStore, registry: CollectorRegistry) -> None:
        self._windows = windows
        operations = Counter(
            "auditflow_analysis_window_operations_total",
            "Events added to a window, by the kind of the window.",
            ["kind"],
            registry=registry,
        )
        self._operations = {kind: operations.labels(kind) for kind in get_args(Kind)}
        self._seconds = Histogram(
            "auditflow_analysis_window_seconds",
            "Duration of the window operations of a batch.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )
        self._approximate = Counter(
            "auditflow_analysis_approximate_sightings_total",
            "Summaries of windows that are approximate because of a memory limit.",
            registry=registry,
        )

    def observe(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        """See ``WindowStore``."""
        if not observations:
            return []
        started = time.perf_counter()
        results = self._windows.observe(observations)
        self._seconds.observe(time.perf_counter() - started)
        for kind, number in Tally(observed.spec.kind for observed in observations).items():
            self._operations[kind].inc(number)
        approximate = sum(summary.approximate for result in results for summary in result.summaries)
        if approximate:
            self._approximate.inc(approximate)
        return results

    def mark_published(self, summaries: Sequence[tuple[str, WindowSpec, BucketSummary]]) -> None:
        """See ``WindowStore``."""
        self._windows.mark_published(summaries)

    def flush(self) -> None:
        """See ``WindowStore``."""
        self._windows.flush()


class EvictionCounter:
    """Counts the windows that were evicted because of a memory limit."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._evicted = Counter(
            "auditflow_analysis_windows_evicted_total",
            "Windows that were evicted because a rule has too many windows or Redis is full.",
            registry=registry,
        )

    def __call__(self, number: int) -> None:
        self._evicted.inc(number)


def register_memory_gauges(memory: MemoryPressure, registry: CollectorRegistry) -> None:
    """Expose the last measurement of Redis' memory."""
    used = Gauge(
        "auditflow_analysis_redis_memory_bytes",
        "Memory that Redis uses; 0 before the first measurement.",
        registry=registry,
    )
    used.set_function(lambda: memory.used)
    maximum = Gauge(
        "auditflow_analysis_redis_memory_limit_bytes",
        "Maximum memory of Redis; 0 if it has none.",
        registry=registry,
    )
    maximum.set_function(lambda: memory.maximum)


def register_key_gauge(client: redis.Redis, registry: CollectorRegistry) -> None:
    """Read the number of keys at each scrape. ``client`` must time out before the scraper does."""

    def keys() -> float:
        try:
            return float(client.dbsize())
        except redis.RedisError:
            return math.nan

    gauge = Gauge(
        "auditflow_analysis_window_keys",
        "Keys in Redis; NaN while Redis is unavailable.",
        registry=registry,
    )
    gauge.set_function(keys)
