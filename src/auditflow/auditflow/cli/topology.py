"""``auditflow topology``: the broker's exchanges, queues and bindings."""

import click

from auditflow.amqp import topology as declared
from auditflow.cli import broker


@click.group()
def topology() -> None:
    """The exchanges, queues and bindings on the broker."""


@topology.command()
def declare() -> None:
    """Make them, or make sure that they are there. Needs the user auditflow-admin."""
    with broker.channel() as channel:
        declared.declare(channel)
    for queue in declared.QUEUES:
        click.echo(f"{queue.name} and {queue.dead_letters} are there")
