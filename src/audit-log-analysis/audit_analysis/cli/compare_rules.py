"""``auditflow rules compare``: which findings does a change of rules gain and lose?"""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import click
import msgspec
from msgspec import Struct

from audit_analysis.cli import rule_paths
from audit_analysis.cli.rule_paths import plural
from audit_analysis.cli.times import read_time
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from audit_analysis.events_api.query import to_ms
from audit_analysis.hunt import archive_hunt, entities
from audit_analysis.hunt.file_archive import FileArchive
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event
from auditflow.contract.finding import Finding
from auditflow.errors import AuditFlowError

#: Maximum number of rules in the table, and of findings that are shown as examples.
_MAX_RULES: Final = 50
_MAX_EXAMPLES: Final = 10
#: Maximum number of correlations that are hunted alone, each in a pass over all events.
_MAX_PASSES: Final = 20
#: Maximum length of an example (characters).
_MAX_TEXT: Final = 200
_PATHS = click.Path(exists=True, path_type=Path)


class Comparison(Struct, frozen=True):
    """The findings that only the new, and only the old rules make, in a number of events."""

    events: int
    gained: tuple[Finding, ...]
    lost: tuple[Finding, ...]


@click.command("compare", short_help="Show the findings that a change of rules gains and loses.")
@click.argument("old", type=_PATHS)
@click.argument("new", type=_PATHS)
@click.option(
    "--files",
    metavar="PATH",
    multiple=True,
    required=True,
    type=_PATHS,
    help="Parquet files of an archive or of an export, or a folder of them. Can be repeated.",
)
@click.option("--since", default="520w", help="A duration, or an RFC 3339 time.  [default: all]")
@click.option("--last", help="A duration: only events of this time before the newest event.")
@click.option("--memory", type=click.IntRange(64), default=1024, show_default=True, help="MiB.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(
    old: Path,
    new: Path,
    *,
    files: Sequence[Path],
    since: str,
    last: str | None,
    memory: int,
    as_json: bool,
) -> None:
    """Compare the findings of the rules OLD and NEW, which are files or folders, in events.

    A finding is gained or lost if only one version of its rule makes it. The output is Markdown,
    for a comment.
    """
    since_ms = to_ms(read_time(since, dt.datetime.now(dt.UTC)))
    try:
        archive = FileArchive(files)
        if last is not None:
            since_ms = max(since_ms, to_ms(read_time(last, _newest(archive))))
        result = compare(
            rule_paths.load_or_exit([old], lateness=900_000),
            rule_paths.load_or_exit([new], lateness=900_000),
            archive,
            since_ms=max(0, since_ms),
            memory=memory,
        )
    except AuditFlowError as error:
        raise click.ClickException(str(error)) from None
    click.echo(msgspec.json.encode(result) if as_json else markdown(result))


def compare(
    old: RuleSet, new: RuleSet, archive: FileArchive, *, since_ms: int, memory: int = 1024
) -> Comparison:
    """Hunt with the rules that differ, and with the correlations of such rules.

    ``memory`` is the memory limit of a search, in MiB.

    Raises:
        SearchTooLarge, Unavailable: as a hunt.
    """
    database = SearchDatabase(
        SearchLimits(memory_mebibytes=memory),
        folders=sorted({path.parent for path in archive.paths}),
    )
    equal = _contents(old).items() & _contents(new).items()
    try:
        first = _hunt(old, equal, archive, database, since_ms)
        second = _hunt(new, equal, archive, database, since_ms)
    finally:
        database.close()
    lost_ids = {found.finding_id for found in first}
    gained_ids = {found.finding_id for found in second}
    return Comparison(
        events=sum(file.rows for file in archive.files(since_ms=since_ms, sources=None)),
        gained=tuple(found for found in second if found.finding_id not in lost_ids),
        lost=tuple(found for found in first if found.finding_id not in gained_ids),
    )


def markdown(result: Comparison) -> str:
    """The comparison as text for a comment."""
    lines = [
        "### Findings gained and lost by the change of rules",
        "",
        f"In {plural(result.events, 'event')}: {len(result.gained)} gained,"
        f" {len(result.lost)} lost.",
    ]
    gained, lost = _by_title(result.gained), _by_title(result.lost)
    titles = sorted({*gained, *lost})
    if titles:
        lines += ["", "| rule | gained | lost |", "|---|---:|---:|"]
        lines += [
            f"| {_text(title)} | {len(gained.get(title, ()))} | {len(lost.get(title, ()))} |"
            for title in titles[:_MAX_RULES]
        ]
    for name, findings in (("Gained", result.gained), ("Lost", result.lost)):
        if findings:
            lines += ["", f"{name}:"]
            lines += [
                f"- {found.first_seen:%Y-%m-%d %H:%M:%S} {_text(found.description)}"
                for found in findings[:_MAX_EXAMPLES]
            ]
            if len(findings) > _MAX_EXAMPLES:
                lines.append(f"- and {len(findings) - _MAX_EXAMPLES} more")
    return "\n".join(lines)


def _contents(rules: RuleSet) -> dict[str, tuple[str, ...]]:
    """The revisions that decide the findings of each rule, by its id."""
    return {rule.ref.id: (rule.ref.revision, *rule.built_from) for rule in rules.rules}


def _hunt(
    rules: RuleSet,
    equal: Collection[tuple[str, tuple[str, ...]]],
    archive: FileArchive,
    database: SearchDatabase,
    since_ms: int,
) -> Sequence[Finding]:
    """The findings of the rules that are not ``equal`` (ids and contents); also of staged rules."""
    changed = [
        rule_id for rule_id, content in _contents(rules).items() if (rule_id, content) not in equal
    ]
    if not changed:
        return ()
    until_ms = to_ms(dt.datetime.now(dt.UTC)) + 86_400_000
    findings: list[Finding] = []
    for group in _groups(rules, changed):
        result = archive_hunt.run(
            rules.select(group), archive, database, since_ms=since_ms, until_ms=until_ms
        )
        findings += result.findings
    return sorted(findings, key=lambda found: (found.first_seen, found.rule.id, found.finding_id))


def _groups(rules: RuleSet, rule_ids: Sequence[str]) -> list[list[str]]:
    """The rules of each hunt.

    A hunt of one correlation can leave out the events of most entities, which saves more time than
    another pass over the events costs.
    """
    alone = [name for name in rule_ids if entities.gate_of(rules.select([name])) is not None]
    alone = alone[:_MAX_PASSES]
    together = [name for name in rule_ids if name not in alone]
    return [*([name] for name in alone), *([together] if together else [])]


def _newest(archive: FileArchive) -> dt.datetime:
    """The time of the newest event. The sample may be older than its last days."""
    newest = max(
        (file.max_occurred_ms for file in archive.files(since_ms=0, sources=None)), default=0
    )
    return event.from_epoch_ms(newest)


def _by_title(findings: Sequence[Finding]) -> Mapping[str, list[Finding]]:
    found: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        found[finding.rule.title].append(finding)
    return found


def _text(value: str) -> str:
    """A sender chooses parts of the text: it must stay text in Markdown and HTML."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in value)[:_MAX_TEXT]
    return "`" + shown.replace("`", "'").replace("|", "\u00a6") + "`"
