"""``auditflow topology``: create the broker's exchanges, queues and bindings."""

import click

from auditflow.amqp import topology as broker_topology
from auditflow.cli import broker


@click.group()
def topology() -> None:
    """The exchanges, queues and bindings on the broker."""


@topology.command()
def declare() -> None:
    """Create them, or verify that they exist. Needs the user auditflow-admin."""
    with broker.channel() as channel:
        broker_topology.declare(channel)
    for queue in broker_topology.QUEUES:
        click.echo(f"{queue.name} and {queue.dead_letters} exist")
