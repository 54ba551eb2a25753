"""`make bench`: measure the platform, and print each figure with its limit and target."""

import datetime as dt
import json
import logging
import os
import platform as machine
import sys
import time
from pathlib import Path

import click
import structlog
from rich.console import Console
from rich.table import Table

from auditflow_local import packages

from . import beside_rsigma, environment, markdown, matching, measurements, through_the_broker
from .targets import CPU_PROCESSES, FIGURES, cpu_rows


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=3, show_default=True, help="Number of interleaved rounds.")
@click.option(
    "--quick", is_flag=True, help="A tenth of the events, one round, to test the program."
)
@click.option(
    "--full", is_flag=True, help="Also measure the API with 1,000,000 alerts (4 min more)."
)
@click.option("--rules", "only_rules", is_flag=True, help="Measure rule matching only.")
@click.option("--replicas", is_flag=True, help="Measure one and two replicas of the analysis only.")
@click.option("--json", "as_json", is_flag=True, help="Print all medians as JSON.")
@click.option(
    "--markdown",
    "markdown_file",
    type=click.Path(exists=True, dir_okay=False, writable=True, path_type=Path),
    help="Also write the tables into this file (docs/benchmarks.md).",
)
def main(
    rounds: int,
    quick: bool,
    full: bool,
    only_rules: bool,
    replicas: bool,
    as_json: bool,
    markdown_file: Path | None,
) -> None:
    """Measure the platform in its production configuration.

    Figures depend on the machine and its load. Compare the ratios to the limits, which are measured in
    the same run. The exit code is 0 also if a target is missed.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    width = None if sys.stdout.isatty() else 140
    console = Console(stderr=as_json, soft_wrap=True, width=width)
    environment.use_two_cores()
    if only_rules:
        _measure_rules(console, events=5_000 if quick else 50_000, rounds=rounds)
        return
    packages.ensure(packages.SERVERS)
    if replicas:
        _measure_replicas(console, divisor=10 if quick else 1, rounds=rounds)
        return
    if markdown_file is not None:
        try:
            markdown.check(markdown_file)
        except markdown.NoSectionError as error:
            raise click.ClickException(str(error)) from None
    start = time.monotonic()
    load = os.getloadavg()[0]
    with environment.platform() as running:
        found = measurements.run(
            running,
            rounds=1 if quick else rounds,
            divisor=10 if quick else 1,
            full=full,
            report=lambda text: console.print(f" • {text}"),
        )
    summary = (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {(time.monotonic() - start) / 60:.1f} min, Python"
        f" {machine.python_version()}, load average {load:.1f} before and"
        f" {os.getloadavg()[0]:.1f} after. Medians of {1 if quick else rounds} rounds."
    )
    if markdown_file is not None:
        markdown.write(markdown_file, found.medians, found.failures, summary=summary)
    if as_json:
        click.echo(json.dumps({"medians": found.medians, "failures": found.failures}, indent=2))
        return
    _print(console, found)
    console.print(f"{summary} Other programs on the machine change the figures.")


def _print(console: Console, found: measurements.Measurements) -> None:
    medians = found.medians
    table = Table("figure", "unit", "platform", "limit", "ratio", "target", "shortfall")
    for column in table.columns[2:]:
        column.justify = "right"
    figures = [figure for figure in FIGURES if figure.available(medians)]
    for figure in figures:
        style = None if figure.meets_target(medians) else "yellow"
        table.add_row(figure.title, figure.unit, *figure.cells(medians), style=style)
    console.print(table)
    cpu = Table("stream", *CPU_PROCESSES, title="CPU time, µs per event")
    for column in cpu.columns[1:]:
        column.justify = "right"
    for row in cpu_rows(medians):
        cpu.add_row(*row)
    console.print(cpu)
    missed = [figure for figure in figures if not figure.meets_target(medians)]
    with_target = [figure for figure in figures if figure.target is not None]
    console.print(f"{len(with_target) - len(missed)} of {len(with_target)} targets are met.")
    for figure in missed:
        console.print(f"  missed: {figure.title}: {figure.cells(medians)[-1]} the target")
    for name, reason in found.failures.items():
        console.print(f"  failed: {name}: {reason}")


def _measure_rules(console: Console, *, events: int, rounds: int) -> None:
    tables = {"Matching only, events/s on one core": matching.measure(events=events, rounds=rounds)}
    for name, figures in beside_rsigma.measure(events=events, rounds=rounds).items():
        tables[f"Process creation, {beside_rsigma.RULES} rules, {name}, events/s"] = figures
    for title, figures in tables.items():
        table = Table("what", "events/s", title=title)
        for name, value in figures.items():
            table.add_row(name, f"{value:,.0f}")
        console.print(table)


def _measure_replicas(console: Console, *, divisor: int, rounds: int) -> None:
    measured = through_the_broker.measure(
        singles=100_000 // divisor, batches=2_000 // divisor, rounds=rounds
    )
    for title, speeds in measured.items():
        table = Table("consumer", "events/s", "CPU µs/event", title=title)
        for name, speed in speeds.items():
            table.add_row(name, f"{speed.rate:,.0f}", f"{speed.cost:.1f}")
        console.print(table)


if __name__ == "__main__":
    main()
