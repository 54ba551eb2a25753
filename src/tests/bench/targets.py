"""The figures of ``make bench``: what each is compared with, and its target."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: Medians of all measurements, by name.
Medians = Mapping[str, float]


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    ``limit`` names the measurement to compare with. Then ``target`` is a ratio, otherwise a value.
    ``at_most`` says whether the target is an upper or a lower bound.
    """

    title: str
    unit: str
    value: str
    target: float | None
    limit: str | None = None
    at_most: bool = False

    def compare(self, medians: Medians) -> float:
        """Return what the target applies to: the ratio to the limit, or the value."""
        value = medians[self.value]
        return value if self.limit is None else value / medians[self.limit]

    def meets_target(self, medians: Medians) -> bool:
        """Return whether the target is met. A figure without a target always is."""
        if self.target is None:
            return True
        holds = operator.le if self.at_most else operator.ge
        return bool(holds(self.compare(medians), self.target))

    def available(self, medians: Medians) -> bool:
        """Return whether it was measured."""
        return self.value in medians and (self.limit is None or self.limit in medians)

    def cells(self, medians: Medians) -> tuple[str, str, str, str, str]:
        """Return value, limit, ratio, target and shortfall as text."""
        limit = "" if self.limit is None else _number(medians[self.limit])
        compared = self.compare(medians)
        ratio = "" if self.limit is None else f"{compared:.2f}"
        target = shortfall = ""
        if self.target is not None:
            sign = "≤" if self.at_most else "≥"
            target = f"{sign} {self.target:g}"
            if not self.meets_target(medians):
                difference = abs(compared - self.target) / self.target
                shortfall = f"{difference:.0%} {'above' if self.at_most else 'below'}"
        return _number(medians[self.value]), limit, ratio, target, shortfall


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _size(title: str, name: str, sizes: tuple[int, ...], target: float) -> list[Figure]:
    return [
        Figure(f"{title}, {size:,} alerts", "/s", f"{name} {size}", target, f"quart {size}")
        for size in sizes
    ]


SIZES: Final = (10_000, 100_000)
FULL_SIZES: Final = (*SIZES, 1_000_000)

#: The login stream first: its figure is the headline of README.md and docs/benchmarks.md.
FIGURES: Final = (
    Figure("logins: queue to readable alerts, single", "events/s", "logins rate", 0.45,
           "bare rate"),
    Figure("logins: in messages of 100", "events/s", "logins in batches rate", 0.25,
           "bare in batches rate"),
    Figure("logins: 40 % of events alerting", "events/s", "logins, 40 % alerting rate", 0.2,
           "bare rate"),
    Figure("no logins", "events/s", "no logins rate", None, "bare rate"),
    Figure("quiet: 0.2 % alerting", "events/s", "quiet rate", None, "bare rate"),
    Figure("kubernetes: audit records", "events/s", "kubernetes rate", None, "bare rate"),
    Figure("analysis CPU, logins, single", "µs/event", "logins analysis", 45, at_most=True),
    Figure("analysis CPU, logins, in batches", "µs/event", "logins in batches analysis", 18,
           at_most=True),
    Figure("analysis CPU, no logins", "µs/event", "no logins analysis", 40, at_most=True),
    Figure("analysis CPU with the archive (limit: without)", "µs/event", "logins analysis", 1.1,
           "logins without archive analysis", at_most=True),
    Figure("logins with the archive (limit: without)", "events/s", "logins rate", None,
           "logins without archive rate"),
    Figure("Redis CPU, logins, single", "µs/event", "logins redis", 12, at_most=True),
    Figure("findings to rows from a backlog", "/s", "findings rate", 0.5, "copy rate"),
    Figure("publish to readable at 50/s, p50", "ms", "latency p50", 1.5, "bare latency p50",
           at_most=True),
    Figure("publish to readable at 50/s, p99", "ms", "latency p99", 1.5, "bare latency p99",
           at_most=True),
    Figure("POST /generate_event, 1 client", "/s", "post 1", 0.5, "quart publish 1"),
    Figure("POST /generate_event, 16 clients", "/s", "post 16", 0.7, "quart publish 16"),
    *_size("list of 50", "list", FULL_SIZES, 0.4),
    *_size("list of 50, 16 different pages", "different lists", FULL_SIZES, 0.4),
    *(
        Figure(f"deep page by cursor, {size:,} alerts (limit: first page)", "/s",
               f"deep page {size}", 0.9, f"list {size}")
        for size in FULL_SIZES
    ),
    *_size("list of 50 with counts (previous API)", "list with counts", FULL_SIZES, 0.4),
    *_size("one alert", "one alert", FULL_SIZES, 0.6),
    *_size("one of 50 different alerts", "different alerts", FULL_SIZES, 0.6),
    *(Figure(f"text search, {size:,} alerts", "/s", f"search {size}", None, f"quart {size}")
      for size in FULL_SIZES),
    Figure("dashboard list, 10,000 alerts", "/s", "dashboard list", 0.25, "flask"),
    Figure("dashboard list, 8 sessions with different pages, gzip", "/s", "dashboard lists", 0.25,
           "flask"),
    Figure("dashboard detail", "/s", "dashboard detail", 0.3, "flask"),
    Figure("dashboard detail, 8 sessions with different alerts, gzip", "/s", "dashboard details",
           0.3, "flask"),
    Figure("dashboard detail, each alert is opened once, gzip", "/s", "dashboard new details",
           None, "flask"),
    *(Figure(f"memory at rest: {service}", "MiB", f"memory {service}", 128, at_most=True)
      for service in (
          "audit-log-analysis", "notification-service", "audit-event-generator",
          "event-audit-dashboard",
      )),
    Figure("memory at rest: audit-event-archive", "MiB", "memory audit-event-archive", None),
)  # fmt: skip

#: Streams and processes of the table of CPU times: the names of measurements are "stream process".
CPU_STREAMS: Final = (
    "logins", "logins without archive", "logins in batches", "logins, 40 % alerting", "no logins",
    "quiet", "kubernetes",
)  # fmt: skip
CPU_PROCESSES: Final = (
    "analysis", "redis", "rabbitmq", "archive", "notification", "postgresql", "sum",
)  # fmt: skip


def cpu_rows(medians: Medians) -> list[tuple[str, ...]]:
    """The rows of the table of CPU times: a stream, and the microseconds per event of each process."""
    return [
        (stream, *(f"{medians[f'{stream} {process}']:.1f}" for process in CPU_PROCESSES))
        for stream in CPU_STREAMS
        if f"{stream} sum" in medians
    ]
