"""``auditflow rules backtest``: runs a log through the rules."""

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
from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn
from rich.table import Table

from audit_analysis.cli import rule_paths
from audit_analysis.cli.list_rules import COLOURS
from audit_analysis.cli.progress import terminal_progress
from audit_analysis.cli.rule_paths import plural
from audit_analysis.ruletools import sources
from audit_analysis.ruletools.backtest import LATENESS, Backtest, FiredRule, Report
from auditflow.contract.event import Event
from auditflow.errors import ContractError
from auditflow.http.problem import Fault

_GZIP: Final = b"\x1f\x8b"
#: Maximum number of refused records that are printed.
_MAX_PRINTED: Final = 10


@click.command("backtest", short_help="Run a log through the rules.")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@rule_paths.option
@rule_paths.foreign
@click.option(
    "--source",
    metavar="NAME",
    help="The format of the files: kubernetes, cloudtrail, auditd, github, okta, gcp, "
    "alertmanager, or ndjson (AuditFlow's own events).  "
    "[default: recognised by the first record of each file]",
)
@click.option(
    "--lateness",
    metavar="SECONDS",
    type=click.IntRange(min=0),
    help="Maximum delay of an event that windows count. The analysis uses 900.  "
    "[default: no event is late]",
)
@click.option("--findings", "each", is_flag=True, help="Print the description of every finding.")
@click.option(
    "--staged",
    is_flag=True,
    help="Report staged rules (status: experimental) like all others. Without this option, they "
    "are only named with the number of their findings.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    files: Sequence[Path],
    paths: Sequence[Path],
    *,
    foreign: Sequence[Path],
    source: str | None,
    lateness: int | None,
    each: bool,
    staged: bool,
    as_json: bool,
) -> None:
    """Run logs through rules in memory, without a broker, and report which rules would fire.

    A FILE is a log that a source writes or exports: an EventList or the audit.log of Kubernetes, a
    CloudTrail file, auditd's log, lines or arrays of JSON. It may be compressed by gzip. - is
    standard input.
    """
    rules = rule_paths.load_or_exit(
        paths, lateness=LATENESS if lateness is None else lateness * 1000, foreign=foreign
    )
    if rules.refused:
        click.echo(
            f"{plural(len(rules.refused), 'fault')} of foreign rules, which are skipped", err=True
        )
    backtest = Backtest(rules, run_staged=True)
    with terminal_progress(BarColumn(), DownloadColumn(), TimeRemainingColumn()) as progress:
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
        _print(report, len(rules.rules), each, staged)
    _print_refused(backtest.refused)
    if not report.events and report.refused:
        raise SystemExit(1)


def _run(
    backtest: Backtest, read: Iterator[Event | Fault], path: Path, advance: Callable[[float], None]
) -> None:
    try:
        for item in backtest.run(read):
            if isinstance(item, Event) and item.record is not UNSET:
                advance(len(bytes(item.record)))
            else:
                advance(200)
    except ContractError as error:
        raise click.ClickException(f"{path}: {error}") from None


def _read(path: Path) -> bytes:
    try:
        body = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return gzip.decompress(body) if body.startswith(_GZIP) else body
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise click.ClickException(f"{path}: cannot be read: {reason}") from None


def _source(name: str | None, path: Path, body: bytes) -> sources.Source:
    installed = sources.installed()
    if name is None:
        candidates = sources.guess(body)
        if len(candidates) != 1:
            matching = " and ".join(candidates) or "none of them"
            raise click.ClickException(
                f"{path}: the format is not clear (it matches {matching}). "
                f"Add --source with one of {', '.join(installed)}"
            )
        name = candidates[0]
    if name not in installed:
        raise click.ClickException(
            f"unknown source {name}; installed sources: {', '.join(installed)}"
            + ("" if len(installed) > 1 else " (audit-event-generator installs others)")
        )
    return installed[name]


def _print(report: Report, rules: int, each: bool, staged: bool) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=160)
    fired = [*report.rules, *(report.staged if staged else ())]
    findings = [*report.findings, *(report.staged_findings if staged else ())]
    if fired:
        table = Table("level", "rule", "findings", "entities", "example", box=None, pad_edge=False)
        table.columns[2].justify = table.columns[3].justify = "right"
        for rule in fired:
            table.add_row(
                f"[{COLOURS.get(rule.level, '')}]{rule.level}[/]", escape(_title(rule, report)),
                str(rule.findings), str(rule.entities), escape(rule.example),
            )  # fmt: skip
        console.print(table)
    for found in findings if each else ():
        click.echo(f"{found.first_seen.isoformat()}  {found.rule.title}: {found.description}")
    counts = [plural(report.events, "event")]
    if report.late:
        counts.append(f"{report.late} of them late")
    if report.refused:
        counts.append(f"{report.refused} refused")
    result = f"{plural(len(report.findings), 'finding')} of {plural(len(report.rules), 'rule')}"
    click.echo(f"{', '.join(counts)} through {plural(rules, 'rule')}: {result}", err=True)
    if report.staged:
        number = plural(len(report.staged_findings), "more finding")
        click.echo(
            f"{plural(len(report.staged), 'staged rule')} (status: experimental) would have made "
            f"{number}:",
            err=True,
        )
        for rule in report.staged:
            click.echo(f"  {rule.title}: {plural(rule.findings, 'finding')}", err=True)


def _title(rule: FiredRule, report: Report) -> str:
    return f"{rule.title} (staged)" if rule in report.staged else rule.title


def _print_refused(refused: Sequence[Fault]) -> None:
    for fault in refused[:_MAX_PRINTED]:
        click.secho(f"refused: {fault.where}: {fault.what}", err=True, fg="yellow")
    if len(refused) > _MAX_PRINTED:
        click.echo(f"... and {len(refused) - _MAX_PRINTED} more", err=True)
