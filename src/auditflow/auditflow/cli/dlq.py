"""``auditflow dlq``: list, show, replay and discard dead letters."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from auditflow.amqp import dead_letter_queue as letters
from auditflow.amqp import topology
from auditflow.cli import audit_report, broker
from auditflow.cli.audit_report import NotRecorded
from auditflow.contract.audit import ReportedAction
from auditflow.errors import PublishError
from auditflow.printable import printable

#: Number of dead letters that ``list`` reads to count their reasons.
_SUMMED_UP = 1000
_BY_NAME = {name: queue for queue in topology.QUEUES for name in (queue.name, queue.dead_letters)}

_queue = click.argument(
    "queue",
    type=click.Choice([queue.name for queue in topology.QUEUES]),
    callback=lambda _, __, name: _BY_NAME[name],
)
_reason = click.option("--reason", metavar="GLOB", help="Only those whose reason matches, with *.")
_message_id = click.option(
    "--id", "message_id", metavar="ID", help="Only the message with this id."
)
_yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
_unrecorded = click.option(
    "--unrecorded",
    is_flag=True,
    help="Continue if the audit trail cannot store this action, for example during an outage.",
)


@click.group()
def dlq() -> None:
    """Dead letters: messages that could not be processed, each with the reason.

    QUEUE is the original queue, for example audit_events. The broker and the user come from
    RABBITMQ_HOST, RABBITMQ_PORT, RABBITMQ_USER and RABBITMQ_PASS. Each command is recorded in the
    audit trail of the API at API_URL with API_TOKEN, the service token or a token with the scope
    admin.
    """


@dlq.command("list")
def list_() -> None:
    """Count the dead letters by reason."""
    console = Console()
    for queue in topology.QUEUES:
        with broker.channel() as channel:
            waiting = letters.depth(channel, queue)
            entries = letters.peek(channel, queue, limit=_SUMMED_UP)
        if not waiting:
            console.print(f"{queue.dead_letters}: empty")
            continue
        table = Table("messages", "kind", "reason", title=f"{queue.dead_letters}: {waiting}")
        table.columns[0].justify = "right"
        for (kind, reason), count in Counter((e.kind, e.reason) for e in entries).most_common():
            table.add_row(str(count), *(escape(printable(text)) for text in (kind, reason)))
        console.print(table)
        if waiting > len(entries):
            console.print(f"(the reasons of the first {len(entries)} messages)")
    _record_read("dlq listed", "")


@dlq.command()
@_queue
@_reason
@_message_id
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option(
    "--bytes", "width", default=2000, show_default=True, help="Maximum length of each body."
)
def show(
    queue: topology.Queue, reason: str | None, message_id: str | None, limit: int, width: int
) -> None:
    """Print dead letters, the oldest first: time, reason and message. They stay in the queue.

    Control characters are shown as escape sequences.
    """
    selection = letters.Selection(reason, message_id)
    with broker.channel() as channel:
        waiting = letters.depth(channel, queue)
        entries = letters.peek(channel, queue, limit=max(limit, _SUMMED_UP))
    chosen = [entry for entry in entries if entry in selection][:limit]
    _record_read(
        "dlq shown",
        queue.dead_letters,
        reason=reason,
        message_id=message_id,
        messages=len(chosen),
    )
    for entry in chosen:
        title = f"{entry.died or 'at an unknown time'}  {entry.message_id}"
        click.secho(printable(title), bold=True)
        click.echo(printable(f"{entry.kind}: {entry.reason}"))
        text = entry.text()
        click.echo(text[:width] + (f"\n... {len(text) - width} more" if len(text) > width else ""))
        click.echo()
    click.echo(f"{len(chosen)} shown of {waiting} in {queue.dead_letters}", err=True)


@dlq.command()
@_queue
@_reason
@_message_id
@_yes
@_unrecorded
def replay(
    queue: topology.Queue,
    reason: str | None,
    message_id: str | None,
    *,
    yes: bool,
    unrecorded: bool,
) -> None:
    """Publish dead letters to QUEUE again, after the cause is fixed.

    Only messages that are in the dead-letter queue at the start are replayed. Ctrl-C stops after
    the current message. Nothing is lost, and the command can be run again.
    """
    with broker.channel() as channel:
        waiting = letters.depth(channel, queue)
        if not waiting:
            click.echo(f"{queue.dead_letters} is empty: nothing to replay")
            return
        if not yes:
            which = "the selected ones of " if reason or message_id else ""
            click.confirm(f"Put {which}{waiting} dead letters back into {queue.name}?", abort=True)
        facts: dict[str, Any] = {"reason": reason, "message_id": message_id}
        _record_start("dlq replayed", queue, unrecorded=unrecorded, waiting=waiting, **facts)
        with (
            _stop_after_the_present_message() as interrupted,
            click.progressbar(length=waiting, label="replaying") as bar,
        ):
            try:
                result = letters.replay(
                    channel,
                    queue,
                    selection=letters.Selection(reason, message_id),
                    interrupted=interrupted,
                    progress=lambda entry: bar.update(1),
                )
            except PublishError as error:
                _record_end("dlq replayed", queue, error=error, replayed=bar.pos, **facts)
                raise click.ClickException(str(error)) from None
    _record_end("dlq replayed", queue, replayed=result.replayed, left=result.left, **facts)
    click.echo(
        f"{result.replayed} replayed into {queue.name}, {result.left} left in the dead letters"
    )
    _exit_if_interrupted(result.interrupted)


@dlq.command()
@_queue
@_reason
@_message_id
@click.option("--all", "everything", is_flag=True, help="All dead letters of the queue.")
@_yes
@_unrecorded
def discard(
    queue: topology.Queue,
    reason: str | None,
    message_id: str | None,
    *,
    everything: bool,
    yes: bool,
    unrecorded: bool,
) -> None:
    """Delete dead letters that nobody needs, for example malformed messages of a test.

    Requires --reason, --id or --all. Deleted messages cannot be restored: look at them with `show`
    first.
    """
    if everything == bool(reason or message_id):
        raise click.UsageError("select messages by --reason or --id, or use --all")
    with broker.channel() as channel:
        waiting = letters.depth(channel, queue)
        if not yes:
            which = "ALL" if everything else "the selected ones of"
            click.confirm(f"Delete {which} {waiting} dead letters for good?", abort=True)
        facts: dict[str, Any] = {"reason": reason, "message_id": message_id}
        _record_start("dlq deleted", queue, unrecorded=unrecorded, waiting=waiting, **facts)
        with _stop_after_the_present_message() as interrupted:
            result = letters.discard(
                channel,
                queue,
                selection=letters.Selection(reason, message_id),
                interrupted=interrupted,
            )
    _record_end("dlq deleted", queue, deleted=result.replayed, left=result.left, **facts)
    click.echo(f"{result.replayed} deleted, {result.left} left in {queue.dead_letters}")
    _exit_if_interrupted(result.interrupted)


@contextmanager
def _stop_after_the_present_message() -> Iterator[Callable[[], bool]]:
    """Signals do not end the program, but make the result return True."""
    stop_requested = False

    def stop(*_: object) -> None:
        nonlocal stop_requested
        stop_requested = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stop_requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_if_interrupted(interrupted: bool) -> None:
    if interrupted:
        click.echo("interrupted: run it again to continue", err=True)
        raise SystemExit(130)


def _record_read(action: ReportedAction, target: str, **facts: object) -> None:
    """Record that messages were read. An outage of the API does not prevent an operator's look."""
    try:
        audit_report.report(action, target, facts)
    except NotRecorded as error:
        click.echo(f"not recorded in the audit trail: {error}", err=True)


def _record_start(
    action: ReportedAction, queue: topology.Queue, *, unrecorded: bool, **facts: object
) -> None:
    """Record an action before it begins, so that a program that is killed leaves a row too."""
    try:
        audit_report.report(action, queue.dead_letters, {"step": "started", **facts})
    except NotRecorded as error:
        if not unrecorded:
            raise click.ClickException(
                f"the audit trail cannot record this action: {error}\n"
                "With --unrecorded, the command continues without a record."
            ) from None
        click.echo(f"not recorded in the audit trail: {error}", err=True)


def _record_end(
    action: ReportedAction,
    queue: topology.Queue,
    *,
    error: Exception | None = None,
    **facts: object,
) -> None:
    try:
        audit_report.report(
            action,
            queue.dead_letters,
            {"step": "ended", "error": error, **facts},
            "failed" if error else "done",
        )
    except NotRecorded as problem:
        click.echo(f"the end is not recorded in the audit trail: {problem}", err=True)
