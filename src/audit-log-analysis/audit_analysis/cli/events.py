"""``auditflow events``: searches archived events with the API of the archive process."""

import datetime as dt
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import click
import msgspec
from rich.progress import SpinnerColumn

from audit_analysis.cli import archive_api
from audit_analysis.cli.progress import terminal_progress
from audit_analysis.cli.prove_event import prove
from audit_analysis.cli.rule_paths import plural
from audit_analysis.cli.times import read_time
from auditflow.contract import event_search
from auditflow.contract.event_search import ArchivedEventList, ArchivedEventSummary

#: Number of events of a request.
_PAGE: Final = 500
#: Maximum number of events of a search.
_MAX_EVENTS: Final = 10_000_000
#: The columns of the table, and their widths. The last one has the rest of the line.
_COLUMNS: Final = {
    "source": 12, "event_type": 20, "user": 20, "host": 20, "address": 15, "action_result": 10,
    "event_id": 0,
}  # fmt: skip
#: The parameters of the API that compare a field.
_FIELDS: Final = (
    "user", "host", "ip", "resource", "event_type", "severity", "action_result", "source",
    "product", "service", "category", "source_service", "correlation_id",
)  # fmt: skip

_decode_page = msgspec.json.Decoder(ArchivedEventList).decode


@click.group(short_help="Search archived events.")
def events() -> None:
    """Work with archived events."""


@events.command("search", short_help="Search archived events.")
@click.argument("text", required=False)
@archive_api.url_option
@click.option("--since", default="1d", show_default=True, help="A duration, or an RFC 3339 time.")
@click.option("--until", help="A duration, or an RFC 3339 time.  [default: now]")
@click.option(
    "--field",
    "fields",
    metavar="NAME=VALUE",
    multiple=True,
    help=f"The complete value of a field, or a prefix with * at the end. Fields: "
    f"{', '.join(_FIELDS)}. Can be repeated.",
)
@click.option(
    "--where",
    metavar="CONDITION",
    multiple=True,
    help="A condition such as 'user|startswith=adm' or '!record.details.port=22'. Can be repeated.",
)
@click.option("--refused/--accepted", default=None, help="Only refused or only accepted events.")
@click.option("--oldest-first", is_flag=True, help="Order by time, oldest first.")
@click.option(
    "--limit",
    type=click.IntRange(1, _MAX_EVENTS),
    default=100,
    show_default=True,
    help="Maximum number of events.",
)
@click.option("--json", "as_json", is_flag=True, help="Print NDJSON, without records.")
def search(
    text: str | None,
    url: str,
    *,
    since: str,
    until: str | None,
    fields: Sequence[str],
    where: Sequence[str],
    refused: bool | None,
    oldest_first: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Search archived events. TEXT is searched in the JSON of the events, in any letter case.

    The variable API_TOKEN has a token with the scope alerts:read.
    """
    now = dt.datetime.now(dt.UTC)
    query: dict[str, str | Sequence[str]] = {
        "since": read_time(since, now).isoformat(),
        "order": "oldest" if oldest_first else "newest",
        **_conditions(fields),
    }
    if until is not None:
        query["until"] = read_time(until, now).isoformat()
    if text is not None:
        query["q"] = text
    if where:
        query["where"] = where
    if refused is not None:
        query["refused"] = "true" if refused else "false"
    found, has_more = _search(url, query, limit=limit, as_json=as_json)
    hint = "; there are more: use --limit or a shorter time range" if has_more else ""
    click.echo(f"{plural(found, 'event')}{hint}", err=True)


events.add_command(prove)


def _search(
    url: str, query: Mapping[str, str | Sequence[str]], *, limit: int, as_json: bool
) -> tuple[int, bool]:
    """Print the events. Returns their number, and whether there are more."""
    found, has_more = 0, False
    with terminal_progress(SpinnerColumn()) as progress:
        # A progress line and events in the same terminal would overwrite each other.
        is_terminal = progress.console.is_terminal and sys.stdout.isatty()
        held: list[str] | None = [] if is_terminal else None
        task = progress.add_task("search", total=None)
        for page in _pages(url, query, limit):
            lines = [_line(event, as_json=as_json) for event in page.events]
            if held is None:
                click.echo("".join(f"{line}\n" for line in lines), nl=False)
            else:
                held += lines
            found += len(lines)
            has_more = page.next_cursor is not None
            reached = f", {page.events[-1].timestamp:%Y-%m-%d %H:%M:%S}" if page.events else ""
            progress.update(task, description=f"{plural(found, 'event')}{reached}")
    for line in held or ():
        click.echo(line)
    return found, has_more


def _pages(
    url: str, query: Mapping[str, str | Sequence[str]], limit: int
) -> Iterator[ArchivedEventList]:
    """The pages with the first ``limit`` events."""
    cursor: str | None = None
    while limit > 0:
        following = {} if cursor is None else {"cursor": cursor}
        body = archive_api.get(
            url, event_search.PATH, {**query, **following, "limit": str(min(limit, _PAGE))}
        )
        try:
            page = _decode_page(body)
        except msgspec.MsgspecError as error:
            raise click.ClickException(f"{url}: unexpected answer: {error}") from None
        yield page
        limit -= len(page.events)
        cursor = page.next_cursor
        if cursor is None:
            return


def _conditions(fields: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in fields:
        name, separator, value = field.partition("=")
        if not separator or name not in _FIELDS:
            raise click.BadParameter(
                f"{field!r} is not NAME=VALUE with one of the names {', '.join(_FIELDS)}",
                param_hint="--field",
            )
        if name in found:
            raise click.BadParameter(f"{name} is given twice", param_hint="--field")
        found[name] = value
    return found


def _line(event: ArchivedEventSummary, *, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(event).decode()
    values = [f"{getattr(event, name) or '-':{width}}" for name, width in _COLUMNS.items()]
    line = "  ".join([event.timestamp.isoformat(timespec="milliseconds"), *values])
    if event.refused:
        line += f"  refused: {event.reason}"
    return _printable(line)


def _printable(line: str) -> str:
    """A sender chooses the values: they must not contain control sequences of a terminal."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
