"""``auditflow rules backtest``: what would have fired."""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import click
import msgspec
from msgspec import UNSET
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from audit_analysis.cli import rule_paths
from audit_analysis.cli.list_rules import COLOURS
from audit_analysis.cli.rule_paths import counted
from audit_analysis.ruletools import sources
from audit_analysis.ruletools.backtest import LATENESS, Backtest, Report
from auditflow.contract.event import Event
from auditflow.errors import ContractError
from auditflow.http.problem import Fault

_GZIP: Final = b"\x1f\x8b"
#: Records that are refused, of which so many are named.
_NAMED: Final = 10


@click.command("backtest", short_help="Tell what would have fired on a log.")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@rule_paths.option
@rule_paths.foreign
@click.option(
    "--source",
    metavar="NAME",
    help="What the files are: kubernetes, cloudtrail, auditd, github, okta, gcp, "
    "alertmanager, or ndjson (AuditFlow's own events).  "
    "[default: whatever each file's first record looks like]",
)
@click.option(
    "--lateness",
    metavar="SECONDS",
    type=click.IntRange(min=0),
    help="Leave out of windows what comes later than this, as the analysis does (900 there).  "
    "[default: nothing is late]",
)
@click.option("--findings", "each", is_flag=True, help="Print the sentence of every finding.")
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
def command(
    files: Sequence[Path],
    places: Sequence[Path],
    *,
    foreign: Sequence[Path],
    source: str | None,
    lateness: int | None,
    each: bool,
    as_json: bool,
) -> None:
    """Send logs through rules in memory, without a broker, and report what would have fired.

    A FILE is what the source writes or exports: an EventList or the audit.log of Kubernetes, a file
    of CloudTrail, auditd's log, lines or arrays of JSON. It may be gzip; - is standard input.
    """
    rules = rule_paths.loaded(
        places, lateness=LATENESS if lateness is None else lateness * 1000, foreign=foreign
    )
    if rules.refused:
        click.echo(f"{counted(len(rules.refused), 'fault')} of foreign rules, left out", err=True)
    backtest = Backtest(rules)
    with _progress() as progress:
        for path in files:
            body = _read(path)
            read = _source(source, path, body)
            task = progress.add_task(path.name, total=max(1, len(body)))
            _run(backtest, read(body), path, partial(progress.advance, task))
            progress.update(task, completed=max(1, len(body)))
    report = backtest.report()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
    else:
        _print(report, len(rules.rules), each)
    _name_refused(backtest.refused)
    if not report.events and report.refused:
        raise SystemExit(1)


def _run(
    backtest: Backtest, read: Iterator[Event | Fault], path: Path, advance: Callable[[float], None]
) -> None:
    try:
        for one in backtest.run(read):
            if isinstance(one, Event) and one.record is not UNSET:
                advance(len(bytes(one.record)))
            else:
                advance(200)
    except ContractError as error:
        raise click.ClickException(f"{path}: {error}") from None


def _read(path: Path) -> bytes:
    try:
        body = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return gzip.decompress(body) if body.startswith(_GZIP) else body
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise click.ClickException(f"{path}: cannot be read: {why}") from None


def _source(name: str | None, path: Path, body: bytes) -> sources.Source:
    installed = sources.installed()
    if name is None:
        known = sources.guess(body)
        if len(known) != 1:
            looks = (
                f"it looks like {' and '.join(known)}" if known else "it looks like none of them"
            )
            raise click.ClickException(
                f"{path}: what is it? Say --source with one of {', '.join(installed)} ({looks})"
            )
        name = known[0]
    if name not in installed:
        raise click.ClickException(
            f"there is no source {name}: there are {', '.join(installed)}"
            + ("" if len(installed) > 1 else "; others come with audit-event-generator")
        )
    return installed[name]


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip


def _print(report: Report, rules: int, each: bool) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=160)
    if report.rules:
        table = Table("level", "rule", "findings", "about", "for example", box=None, pad_edge=False)
        table.columns[2].justify = table.columns[3].justify = "right"
        for one in report.rules:
            table.add_row(
                f"[{COLOURS.get(one.level, '')}]{one.level}[/]", escape(one.title),
                str(one.findings), str(one.entities), escape(one.example),
            )  # fmt: skip
        console.print(table)
    for found in report.findings if each else ():
        click.echo(f"{found.first_seen.isoformat()}  {found.rule.title}: {found.description}")
    ledger = [counted(report.events, "event")]
    if report.late:
        ledger.append(f"{report.late} of them late")
    if report.refused:
        ledger.append(f"{report.refused} refused")
    fired = f"{counted(len(report.findings), 'finding')} of {len(report.rules)} rules"
    click.echo(f"{', '.join(ledger)} through {counted(rules, 'rule')}: {fired}", err=True)


def _name_refused(refused: Sequence[Fault]) -> None:
    for fault in refused[:_NAMED]:
        click.secho(f"refused: {fault.where}: {fault.what}", err=True, fg="yellow")
    if len(refused) > _NAMED:
        click.echo(f"... and {len(refused) - _NAMED} more", err=True)
