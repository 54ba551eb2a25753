"""`make bench`: measure, and print ratios."""

import json

import click
from rich.console import Console
from rich.table import Table

from auditflow_local import packages

from . import beside_rsigma, matching, through_the_broker


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=3, show_default=True, help="Counts of each, in turns.")
@click.option("--quick", is_flag=True, help="A tenth of the events: to see that it works.")
@click.option("--json", "as_json", is_flag=True, help="Print figures only.")
def main(rounds: int, quick: bool, as_json: bool) -> None:
    """How fast matching and the whole analysis are, beside what bounds them, in one run.

    Figures depend on the machine and on what else it does; compare ratios. rsigma is measured too
    when it is on PATH (cargo install rsigma@0.23.0 --locked).
    """
    share = 10 if quick else 1
    console = Console(stderr=as_json)
    packages.ensure(packages.SERVERS)
    with console.status("matching, on one core"):
        matched = matching.measure(events=50_000 // share, rounds=rounds)
    with console.status("beside rsigma"):
        beside = beside_rsigma.measure(events=50_000 // share, rounds=rounds)
    with console.status("through the broker"):
        brokered = through_the_broker.measure(
            singles=200_000 // share, batches=4_000 // share, rounds=rounds
        )
    if as_json:
        figures = {
            "matching": matched,
            "rsigma": beside,
            "broker": {
                name: {who: speed._asdict() for who, speed in speeds.items()}
                for name, speeds in brokered.items()
            },
        }
        click.echo(json.dumps(figures, indent=2))
        return
    _show(console, "Matching alone, events/s on one core", matched, against="60 rules")
    for name, found in beside.items():
        _show(console, f"Process creation, {beside_rsigma.RULES} rules, {name}, events/s", found)
    for name, all_speeds in brokered.items():
        parts = {who: speed for who, speed in all_speeds.items() if "of a core" in who}
        speeds = {who: item for who, item in all_speeds.items() if who not in parts}
        title = f"Through the broker, {name}"
        _show(console, f"{title}, events/s", {who: entry.rate for who, entry in speeds.items()})
        _show(
            console,
            f"{title}, µs of CPU an event",
            {who: element.cost for who, element in speeds.items()},
        )
        if parts:
            _show(console, f"{title}, events/s", {who: part.rate for who, part in parts.items()})


def _show(
    console: Console, title: str, figures: dict[str, float], *, against: str | None = None
) -> None:
    """A table; ``against`` is what the others are compared with, or else the first."""
    base = against or next(iter(figures))
    table = Table("what", "figure", f"of {base}", title=title)
    table.columns[1].justify = table.columns[2].justify = "right"
    for name, value in figures.items():
        figure = f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"
        table.add_row(name, figure, f"{value / figures[base]:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
