"""All measurements of ``make bench``, in interleaved rounds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from . import latency, pages, storage, streams, throughput
from .environment import Platform
from .http_load import RequestFailed
from .targets import FULL_SIZES, SIZES

#: Number of events per round, by stream. One round of each takes about ten seconds.
_EVENTS: Final = {
    streams.LOGINS: 30_000,
    streams.LOGINS_BATCHES: 60_000,
    streams.ALERTING: 9_000,
    streams.NO_LOGINS: 20_000,
    streams.QUIET: 20_000,
    streams.KUBERNETES: 20_000,
}
_FINDINGS: Final = 6_000
_LATENCY_SECONDS: Final = 8
_REQUEST_SECONDS: Final = 2.0


@dataclass
class Measurements:
    """Values of all rounds by name, and the reasons of failed measurements."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, float]:
        """The median of each measurement."""
        return {name: median(values) for name, values in self.values.items()}

    def add(self, name: str, value: float) -> None:
        """Add a value of one round."""
        self.values[name].append(value)


def run(
    platform: Platform,
    *,
    rounds: int,
    divisor: int,
    full: bool,
    report: Callable[[str], object],
) -> Measurements:
    """Run all measurements.

    :param divisor: divides the number of events and the durations, for a quick run.
    :param full: also measure the API with 1,000,000 alerts.
    """
    found = Measurements()
    platform.settle()
    for service, mebibytes in platform.memory().items():
        found.add(f"memory {service}", mebibytes)
    for number in range(rounds):
        report(f"round {number + 1} of {rounds}: streams")
        for stream, events in _EVENTS.items():
            _measure_stream(platform, found, stream, events // divisor, number)
        report(f"round {number + 1} of {rounds}: findings and latency")
        result = storage.measure(platform, _FINDINGS // divisor, f"finding{number}")
        found.add("findings rate", result.rate)
        found.add("copy rate", result.copy_rate)
        found.add("findings cpu", result.cpu)
        _measure_latency(platform, found, divisor, number)
    with pages.minimal_applications(platform) as bare:
        _requests(found, pages.post_measures(platform, bare), rounds, divisor, report)
        for size in FULL_SIZES if full else SIZES:
            report(f"growing to {size:,} alerts")
            pages.grow(platform, size)
            measures = pages.measures(platform, bare, size)
            if size == SIZES[0]:
                measures |= pages.dashboard_measures(platform, bare)
            _requests(found, measures, rounds, divisor, report)
    return found


def _measure_stream(
    platform: Platform, found: Measurements, stream: streams.Stream, events: int, number: int
) -> None:
    slug = "".join(letter for letter in stream.name if letter.isalnum())
    batch = stream.generate(events, f"{slug}round{number}")
    _add_throughput(found, stream.name, throughput.measure(platform, stream, batch))
    if stream in (streams.LOGINS, streams.LOGINS_BATCHES):
        name = "bare" if stream is streams.LOGINS else "bare in batches"
        bare = throughput.measure_bare(platform, stream, batch)
        found.add(f"{name} rate", bare.rate)
        found.add(f"{name} cpu", bare.cpu)
    if stream is streams.LOGINS:
        batch = stream.generate(events, f"{slug}unarchived{number}")
        with platform.without_archive():
            result = throughput.measure(platform, stream, batch)
        _add_throughput(found, f"{stream.name} without archive", result)


def _add_throughput(found: Measurements, name: str, result: throughput.Throughput) -> None:
    found.add(f"{name} rate", result.rate)
    for process, cpu in result.cpu.items():
        found.add(f"{name} {process}", cpu)
    found.add(f"{name} sum", sum(result.cpu.values()))


def _measure_latency(platform: Platform, found: Measurements, divisor: int, number: int) -> None:
    events = latency.RATE * _LATENCY_SECONDS // divisor
    for name, result in (
        ("latency", latency.measure(platform, events, f"latency{number}")),
        ("bare latency", latency.measure_bare(platform, events)),
    ):
        found.add(f"{name} p50", result.p50)
        found.add(f"{name} p99", result.p99)


def _requests(
    found: Measurements,
    measures: Mapping[str, pages.Measure],
    rounds: int,
    divisor: int,
    report: Callable[[str], object],
) -> None:
    for number in range(rounds):
        report(f"round {number + 1} of {rounds}: {', '.join(measures)}")
        for name, measure in measures.items():
            try:
                found.add(name, measure(_REQUEST_SECONDS / min(divisor, 4)))
            except RequestFailed as error:
                found.add(name, 0.0)
                found.failures[name] = str(error)
