"""``auditflow rules list``: lists the rules."""

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
from audit_analysis.cli.rule_paths import plural

#: The colour of each of Sigma's levels.
COLOURS: Final = {
    "critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan",
    "informational": "dim",
}  # fmt: skip


@click.command("list", short_help="List all rules.")
@rule_paths.argument
@click.option("--source", metavar="TEXT", help="Only rules for this source, e.g. kubernetes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with file and tags.")
def command(paths: Sequence[Path], source: str | None, as_json: bool) -> None:
    """List each rule with its id, level, log source and kind.

    Rules that only feed a correlation are not listed.
    """
    entries = [
        entry
        for entry in catalogue.read(paths)
        if not entry.feeds and (source is None or source.lower() in entry.source.lower())
    ]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(entries, enc_hook=str), indent=2))
        return
    table = Table("id", "title", "level", "source", "kind", "status", box=None, pad_edge=False)
    for entry in entries:
        colour = COLOURS.get(entry.level, "")
        level = f"[{colour}]{entry.level}[/]" if colour else entry.level
        table.add_row(
            entry.id, escape(entry.title), level, entry.source, entry.kind, entry.status
        )  # fmt: skip
    # A pipe has no width; a default width would truncate the ids.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)
    click.echo(plural(len(entries), "rule"), err=True)
