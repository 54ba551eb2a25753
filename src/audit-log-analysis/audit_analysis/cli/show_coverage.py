"""``auditflow rules coverage``: the techniques of MITRE ATT&CK that the rules cover."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from audit_analysis.cli import catalogue, rule_paths
from audit_analysis.ruletools import coverage
from audit_analysis.ruletools.coverage import Chart, Tagged

LAYER: Final = "attack-layer.json"
PAGE: Final = "coverage.md"
_folder = click.Path(file_okay=False, path_type=Path)


@click.command("coverage", short_help="Chart the rules on MITRE ATT&CK.")
@rule_paths.argument
@click.option("--write", metavar="FOLDER", type=_folder, help=f"Write {LAYER} and {PAGE}.")
@click.option(
    "--check",
    metavar="FOLDER",
    type=_folder,
    help="Exit with 1 if files are outdated.",
)
def command(paths: Sequence[Path], write: Path | None, check: Path | None) -> None:
    """Show the number of rules for each tactic and technique, by the tags of the rules.

    The layer opens in the ATT&CK Navigator: https://mitre-attack.github.io/attack-navigator/
    """
    chart = chart_of(paths)
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        for name, text in documents(chart).items():
            (write / name).write_text(text, encoding="utf-8")
            click.echo(write / name)
    if check is not None:
        _check(check, chart)
    if write is None and check is None:
        _print(chart)


def chart_of(paths: Sequence[Path]) -> Chart:
    """The chart of the rules at the paths."""
    return coverage.chart(
        Tagged(entry.title, entry.level, entry.source, entry.tags)
        for entry in catalogue.read(paths)
        if not entry.feeds
    )


def documents(chart: Chart) -> Mapping[str, str]:
    """The published files of a chart, by name."""
    return {LAYER: coverage.layer(chart), PAGE: coverage.page(chart, layer=LAYER)}


def _check(folder: Path, chart: Chart) -> None:
    for name, text in documents(chart).items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            raise click.ClickException(
                f"{path} is outdated; run: auditflow rules coverage --write {folder}"
            )


def _print(chart: Chart) -> None:
    table = Table("tactic", "technique", "rules", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for tactic, techniques in chart.by_tactic():
        for index, (technique, rules) in enumerate(techniques):
            name = f"{technique.id} {technique.name}"
            table.add_row(tactic.name if index == 0 else "", name, str(len(rules)))
    Console().print(table)
    click.echo(chart.summary(), err=True)
