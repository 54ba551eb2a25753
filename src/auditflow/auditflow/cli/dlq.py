"""``auditflow dlq``: list, show and replay dead letters."""

import signal
from collections import Counter

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from auditflow.amqp import dead_letter_queue as letters
from auditflow.amqp import topology
from auditflow.cli import broker
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


@click.group()
def dlq() -> None:
    """Dead letters: messages that could not be processed, each with the reason.

    QUEUE is the original queue: audit_events or audit_alerts. The broker and the user come from
    RABBITMQ_HOST, RABBITMQ_PORT, RABBITMQ_USER and RABBITMQ_PASS.
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
@click.option("--yes", is_flag=True, help="Do not ask.")
def replay(queue: topology.Queue, reason: str | None, message_id: str | None, yes: bool) -> None:
    """Publish dead letters to QUEUE again, after the cause is fixed.

    Only messages that are in the dead-letter queue at the start are replayed. Ctrl-C stops after
    the present message. Nothing is lost, and the command can be run again.
    """
    with broker.channel() as channel:
        waiting = letters.depth(channel, queue)
        if not waiting:
            click.echo(f"{queue.dead_letters} is empty: nothing to replay")
            return
        if not yes:
            which = "the selected ones of " if reason or message_id else ""
            click.confirm(f"Put {which}{waiting} dead letters back into {queue.name}?", abort=True)
        asked_to_stop = False

        def stop(*_: object) -> None:
            nonlocal asked_to_stop
            asked_to_stop = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with click.progressbar(length=waiting, label="replaying") as bar:
                result = letters.replay(
                    channel,
                    queue,
                    selection=letters.Selection(reason, message_id),
                    interrupted=lambda: asked_to_stop,
                    progress=lambda entry: bar.update(1),
                )
        except PublishError as error:
            raise click.ClickException(str(error)) from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    click.echo(
        f"{result.replayed} replayed into {queue.name}, {result.left} left in the dead letters"
    )
    if result.interrupted:
        click.echo("interrupted: run it again to continue", err=True)
        raise SystemExit(130)
