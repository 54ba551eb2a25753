"""``auditflow rules list``: which rules there are."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from audit_analysis.cli import catalogue, rule_paths
from audit_analysis.cli.rule_paths import counted

#: The colour of each of Sigma's levels.
COLOURS: Final = {
    "critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan",
    "informational": "dim",
}  # fmt: skip


@click.command("list", short_help="Show all rules.")
@rule_paths.argument
@click.option("--source", metavar="TEXT", help="Only rules about such a source, e.g. kubernetes.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with file and tags.")
def command(places: Sequence[Path], source: str | None, as_json: bool) -> None:
    """Show each rule with its id, level, log source and kind.

    Rules that only feed a correlation are left out.
    """
    entries = [
        one
        for one in catalogue.read(places)
        if not one.feeds and (source is None or source.lower() in one.source.lower())
    ]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(entries, enc_hook=str), indent=2))
        return
    table = Table("id", "title", "level", "source", "kind", "status", box=None, pad_edge=False)
    for one in entries:
        colour = COLOURS.get(one.level, "")
        table.add_row(
            one.id, escape(one.title), f"[{colour}]{one.level}[/]" if colour else one.level,
            one.source, one.kind, one.status,
        )  # fmt: skip
    # A pipe has no width of its own: nobody wants half an id.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)
    click.echo(counted(len(entries), "rule"), err=True)
