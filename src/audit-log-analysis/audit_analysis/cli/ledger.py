"""``auditflow ledger``: is each accepted event archived?"""

import datetime as dt
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from audit_analysis.cli import archive_api
from audit_analysis.cli.times import read_time
from auditflow.contract.ledger_report import LedgerReport, LedgerState

_COLUMNS: Final = (
    "accepted", "archived", "analysed", "late", "staged", "refused", "dead_lettered", "waiting",
    "missing", "altered",
)  # fmt: skip


@click.command("ledger", short_help="Compare accepted and archived events.")
@archive_api.url_option
@click.option("--since", default="1d", show_default=True, help="A duration, or an RFC 3339 time.")
@click.option("--until", help="A duration, or an RFC 3339 time.  [default: now]")
@click.option("--source", help="A source of the ingest, for example okta.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer of the API.")
def command(url: str, *, since: str, until: str | None, source: str | None, as_json: bool) -> None:
    """Compare accepted and archived events, by hour and source.

    Exits with 1 if events are missing or altered. The variable API_TOKEN has a token with the scope
    alerts:read.
    """
    now = dt.datetime.now(dt.UTC)
    query = {"since": read_time(since, now).isoformat()}
    if until is not None:
        query["until"] = read_time(until, now).isoformat()
    if source is not None:
        query["source"] = source
    body = archive_api.get(url, "/api/v1/ledger", query)
    if as_json:
        click.echo(body)
    report = msgspec.json.decode(body, type=LedgerReport)
    if not as_json:
        _print(report)
    if report.state is LedgerState.DIFFERENT:
        raise SystemExit(1)


def _print(report: LedgerReport) -> None:
    table = Table(box=None)
    table.add_column("hour")
    table.add_column("source")
    for name in _COLUMNS:
        table.add_column(name.replace("_", "-"), justify="right")
    table.add_column("state")
    for hour in report.hours:
        counts = [str(getattr(hour, name)) for name in _COLUMNS]
        table.add_row(f"{hour.hour:%Y-%m-%d %H:%M}", hour.source, *counts, hour.state.value)
    totals = [str(getattr(report.total, name)) for name in _COLUMNS]
    table.add_row("total", "", *totals, report.state.value, style="bold")
    Console(width=180).print(table)
    for difference in report.differences:
        click.echo(
            f"{difference.kind}: {difference.events} events of {difference.source or 'all sources'}"
            f" at {difference.hour:%Y-%m-%d %H:%M}, batch {difference.batch}: {difference.detail}"
        )
    if report.differences_truncated:
        click.echo("There are more differences.")
