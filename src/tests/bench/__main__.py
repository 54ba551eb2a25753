"""`make bench`: measure, and print ratios."""

import json

import click
from rich.console import Console
from rich.table import Table

from auditflow_local import packages

from . import matching, through_the_broker


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=3, show_default=True, help="The best of so many counts.")
@click.option("--quick", is_flag=True, help="A tenth of the events: to see that it works.")
@click.option("--json", "as_json", is_flag=True, help="Print figures only.")
def main(rounds: int, quick: bool, as_json: bool) -> None:
    """How fast matching and the whole analysis are, beside what bounds them, in one run.

    Figures depend on the machine; compare ratios.
    """
    share = 10 if quick else 1
    console = Console(stderr=as_json)
    packages.ensure(packages.SERVERS)
    with console.status("matching, on one core"):
        matched = matching.measure(events=50_000 // share, rounds=rounds)
    with console.status("through the broker"):
        brokered = through_the_broker.measure(
            singles=200_000 // share, batches=4_000 // share, rounds=rounds
        )
    if as_json:
        click.echo(json.dumps({"matching": matched, "broker": brokered}, indent=2))
        return
    _show(console, "Matching alone, events/s on one core", matched, against="60 rules")
    for name, figures in brokered.items():
        _show(console, f"Through the broker, {name}, events/s", figures, against="bare consumer")


def _show(console: Console, title: str, figures: dict[str, float], *, against: str) -> None:
    table = Table("what", "events/s", f"of {against}", title=title)
    table.columns[1].justify = table.columns[2].justify = "right"
    for name, value in figures.items():
        table.add_row(name, f"{value:,.0f}", f"{value / figures[against]:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
