"""Measures only the reads of ``make bench``: the API of alerts and the pages of the dashboard.

``python -m src.tests.bench.reads --alerts 10000`` also prints the CPU time of each process per
request.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from statistics import median
from typing import Final

import click
import psutil
import structlog

from auditflow_local import packages

from . import environment, pages, storage
from .environment import Platform, cpu_seconds
from .targets import FIGURES, Figure

#: Alerts that are copied until there are as many as requested.
_FINDINGS: Final = 1_000


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--alerts", default=10_000, show_default=True, help="Number of alerts.")
@click.option("--rounds", default=3, show_default=True, help="Number of interleaved rounds.")
@click.option("--seconds", default=2.0, show_default=True, help="Duration of a measurement.")
@click.option("--only", default="", help="Measure only names that contain this text.")
def main(alerts: int, rounds: int, seconds: float, only: str) -> None:
    """Measure reads with a number of alerts, beside minimal applications."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    environment.use_two_cores()
    packages.ensure(packages.SERVERS)
    rates: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[dict[str, float]]] = defaultdict(list)
    with environment.platform() as platform, pages.minimal_applications(platform) as bare:
        storage.fill(platform, _FINDINGS, "reads")
        pages.grow(platform, alerts)
        measures = {
            **pages.measures(platform, bare, alerts),
            **pages.dashboard_measures(platform, bare),
        }
        for _ in range(rounds):
            for name, measure in measures.items():
                if only in name or name in (f"quart {alerts}", "flask"):
                    before = _cpu(platform)
                    rate = measure(seconds)
                    after = _cpu(platform)
                    rates[name].append(rate)
                    cpu[name].append(
                        {key: (after[key] - before[key]) / rate / seconds * 1e6 for key in after}
                    )
    medians = {name: median(values) for name, values in rates.items()}
    click.echo(f"{alerts:,} alerts, load average {os.getloadavg()[0]:.1f}")
    figures = {figure.value: figure for figure in FIGURES}
    for name, rate in medians.items():
        ratio = _ratio(figures.get(name), medians, alerts, name)
        used = ", ".join(
            f"{key} {median(part[key] for part in cpu[name]):.0f}" for key in cpu[name][0]
        )
        click.echo(f"{name}: {rate:,.0f}/s {ratio} CPU us: {used}")


def _ratio(figure: Figure | None, medians: dict[str, float], alerts: int, name: str) -> str:
    """The ratio to the minimal application, with the target."""
    limit = "flask" if name.startswith("dashboard") else f"quart {alerts}"
    target = f" (target {figure.target})" if figure is not None and figure.target else ""
    return f"ratio {medians[name] / medians[limit]:.2f}{target}"


def _cpu(platform: Platform) -> dict[str, float]:
    """The CPU time of the processes that take part in a read, in seconds."""
    return {
        "dashboard": cpu_seconds(platform.dashboard),
        "notification": cpu_seconds(platform.notification),
        "postgresql": cpu_seconds(platform.postgres),
        "redis": cpu_seconds(platform.redis),
        "minimal application": sum(
            sum(worker.cpu_times()[:2])
            for process in psutil.Process().children()
            if "hypercorn" in process.cmdline()
            for worker in (process, *process.children())
        ),
    }


if __name__ == "__main__":
    main()
