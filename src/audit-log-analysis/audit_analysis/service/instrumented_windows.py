"""Windows with their work measured: how often, how long, how many there are."""

import math
import time
from collections import Counter as Tally
from collections.abc import Sequence
from typing import get_args

import redis
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from audit_analysis.windows import Observation, Outcome, Sighting, WindowKeeper, WindowSpec
from audit_analysis.windows.spec import Kind


class MeasuredWindows:
    """A ``WindowKeeper`` in front of another."""

    def __init__(self, windows: WindowKeeper, registry: CollectorRegistry) -> None:
        self._windows = windows
        operations = Counter(
            "auditflow_analysis_window_operations_total",
            "Events taken into a window, by the kind of the window.",
            ["kind"],
            registry=registry,
        )
        self._operations = {kind: operations.labels(kind) for kind in get_args(Kind)}
        self._seconds = Histogram(
            "auditflow_analysis_window_seconds",
            "Time for the windows of a batch.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )
        self._approximate = Counter(
            "auditflow_analysis_approximate_sightings_total",
            "Times that a bound on memory made a window approximate.",
            registry=registry,
        )

    def observe(self, observations: Sequence[Observation]) -> list[Outcome]:
        """See ``WindowKeeper``."""
        if not observations:
            return []
        began = time.perf_counter()
        outcomes = self._windows.observe(observations)
        self._seconds.observe(time.perf_counter() - began)
        for kind, number in Tally(one.spec.kind for one in observations).items():
            self._operations[kind].inc(number)
        approximate = sum(
            sighting.approximate for outcome in outcomes for sighting in outcome.sightings
        )
        if approximate:
            self._approximate.inc(approximate)
        return outcomes

    def published(self, sightings: Sequence[tuple[str, WindowSpec, Sighting]]) -> None:
        """See ``WindowKeeper``."""
        self._windows.published(sightings)

    def flush(self) -> None:
        """See ``WindowKeeper``."""
        self._windows.flush()


def count_keys(client: redis.Redis, registry: CollectorRegistry) -> None:
    """Tell the number of keys at each scrape; ``client`` should give up before the scraper does."""

    def keys() -> float:
        try:
            return float(client.dbsize())
        except redis.RedisError:
            return math.nan

    gauge = Gauge(
        "auditflow_analysis_window_keys",
        "Keys in Redis, two to five for each window; NaN while Redis is away.",
        registry=registry,
    )
    gauge.set_function(keys)
