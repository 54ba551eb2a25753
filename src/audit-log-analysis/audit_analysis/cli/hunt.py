"""``auditflow hunt``: which findings would a rule have made in archived events?"""

import datetime as dt
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec
import structlog
from rich.progress import BarColumn, TimeRemainingColumn

from audit_analysis.cli import archive_api, archive_hunt_api, rule_paths
from audit_analysis.cli.progress import terminal_progress
from audit_analysis.cli.rule_paths import plural
from audit_analysis.cli.times import read_time
from audit_analysis.events_api.database import Cancellation, SearchDatabase, SearchLimits
from audit_analysis.events_api.query import to_ms
from audit_analysis.hunt import archive_hunt
from audit_analysis.hunt.archive_hunt import HuntResult
from audit_analysis.hunt.file_archive import FileArchive
from audit_analysis.sigma.rule import RuleSet
from auditflow.errors import AuditFlowError


@click.command("hunt", short_help="Find what a rule would have found in archived events.")
@click.argument("rule", metavar="RULE")
@click.option(
    "--files",
    metavar="PATH",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Parquet files of an archive or of an export, or a folder of them. Can be repeated.  "
    "[default: the archive process searches its archive]",
)
@archive_api.url_option
@click.option(
    "--publish",
    is_flag=True,
    help="Publish the findings as alerts with the mark retro. Not with --files.",
)
@rule_paths.option
@click.option("--since", default="90d", show_default=True, help="A duration, or an RFC 3339 time.")
@click.option("--until", help="A duration, or an RFC 3339 time.  [default: now]")
@click.option(
    "--lateness",
    type=click.IntRange(0, 7 * 86400),
    default=900,
    show_default=True,
    help="The LATENESS_SECONDS of the analysis.",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file for the state. A hunt that was cancelled or killed continues from it.",
)
@click.option("--memory", type=click.IntRange(64), default=1024, show_default=True, help="MiB.")
@click.option("--threads", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as NDJSON.")
def command(
    rule: str,
    files: Sequence[Path],
    paths: Sequence[Path],
    *,
    url: str,
    publish: bool,
    since: str,
    until: str | None,
    lateness: int,
    state: Path | None,
    memory: int,
    threads: int,
    as_json: bool,
) -> None:
    """Find what RULE would have found in archived events.

    RULE is the id or the title of a rule, or a file of rules. The findings have the ids that live
    detection gives them. A staged rule makes findings too.

    Without --files, the archive process does the work: the variable API_TOKEN has a token of the
    role lead. --rules, --lateness, --state, --memory and --threads are for --files.
    """
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    click.get_current_context().call_on_close(lambda: structlog.configure(**before))
    now = dt.datetime.now(dt.UTC)
    first, last = read_time(since, now), read_time(until or "0m", now)
    if not files:
        request = archive_hunt_api.request_of(
            rule, since=first, until=last if until else None, publish=publish
        )
        hunt, findings = archive_hunt_api.run(url, request)
        _print(
            HuntResult(tuple(findings), hunt.candidates, hunt.refused, hunt.total_events),
            as_json=as_json,
        )
        if hunt.publish:
            click.echo(f"{hunt.published} published; {hunt.error or 'no error'}", err=True)
        return
    if publish:
        raise click.UsageError("--publish needs the archive process: omit --files")
    since_ms, until_ms = to_ms(first), to_ms(last)
    selected = _select(rule, paths, lateness * 1000)
    try:
        archive = FileArchive(files)
        database = SearchDatabase(
            SearchLimits(memory_mebibytes=memory, threads=threads, running=1),
            folders=sorted({path.parent for path in archive.paths}),
        )
        result = _run(
            selected, archive, database, since_ms=since_ms, until_ms=until_ms, state=state
        )
    except AuditFlowError as error:
        raise click.ClickException(str(error)) from None
    _print(result, as_json=as_json)


def _run(
    rules: RuleSet,
    archive: FileArchive,
    database: SearchDatabase,
    *,
    since_ms: int,
    until_ms: int,
    state: Path | None,
) -> HuntResult:
    cancellation = Cancellation()
    with ExitStack() as stack:
        stack.callback(database.close)
        progress = stack.enter_context(terminal_progress(BarColumn(), TimeRemainingColumn()))
        task = progress.add_task("hunt", total=None)

        def report(step: archive_hunt.Progress) -> None:
            progress.update(
                task,
                total=max(1, step.total_events),
                completed=step.events,
                description=f"{step.candidates} candidates, {plural(step.findings, 'finding')}",
            )

        try:
            return archive_hunt.run(
                rules,
                archive,
                database,
                since_ms=since_ms,
                until_ms=until_ms,
                state=state,
                cancellation=cancellation,
                report=report,
            )
        except KeyboardInterrupt:
            hint = f" Repeat the command to continue from {state}." if state else ""
            raise click.ClickException(f"cancelled.{hint}") from None


def _select(name: str, paths: Sequence[Path], lateness_ms: int) -> RuleSet:
    """The rules of a file, or the rule with an id or a title."""
    path = Path(name)
    if path.is_file():
        rules = rule_paths.load_or_exit([path], lateness=lateness_ms)
        return rules.select([rule.ref.id for rule in rules.rules])
    rules = rule_paths.load_or_exit(paths, lateness=lateness_ms)
    found = [rule.ref.id for rule in rules.rules if name in (rule.ref.id, rule.ref.title)]
    if not found:
        raise click.ClickException(f"there is no file and no rule with the id or title {name!r}")
    return rules.select(found)


def _print(result: HuntResult, *, as_json: bool) -> None:
    for found in result.findings:
        if as_json:
            click.echo(msgspec.json.encode(found))
        else:
            click.echo(f"{found.first_seen.isoformat()}  {found.rule.title}: {found.description}")
    counts = [
        f"{plural(result.total_events, 'event')}",
        f"{plural(result.candidates, 'candidate')}",
        f"{plural(len(result.findings), 'finding')}",
    ]
    if result.refused:
        counts.append(f"{result.refused} could not be read")
    click.echo(", ".join(counts), err=True)
