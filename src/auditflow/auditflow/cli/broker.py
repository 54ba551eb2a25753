"""The broker from the command line: one connection, and errors that are sentences."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker, ProbableAuthenticationError

from auditflow import settings
from auditflow.amqp import connection_parameters
from auditflow.errors import SettingsError
from auditflow.settings import RabbitMQSettings


class BrokerCliSettings(RabbitMQSettings):
    """The same variables as the services have."""


@contextmanager
def channel() -> Iterator[BlockingChannel]:
    """A channel on a connection of its own. Errors of the broker become sentences."""
    try:
        loaded = settings.load(BrokerCliSettings)
    except SettingsError as error:
        raise click.ClickException(
            f"where is the broker, and who are you there?\n{error}\n"
            "With the local platform: set -a; . .auditflow/env; set +a"
        ) from None
    where = f"{loaded.rabbitmq_host}:{loaded.rabbitmq_port}"
    try:
        connection = pika.BlockingConnection(connection_parameters(loaded, name="auditflow-cli"))
    except ProbableAuthenticationError:
        raise click.ClickException(f"{where} does not accept user {loaded.rabbitmq_user}") from None
    except (AMQPError, OSError) as error:
        raise click.ClickException(f"cannot reach RabbitMQ at {where}: {error!r}") from None
    try:
        yield connection.channel()
    except ChannelClosedByBroker as error:
        raise click.ClickException(f"RabbitMQ refused: {error.reply_text}") from None
    except AMQPError as error:
        raise click.ClickException(f"lost RabbitMQ at {where}: {error!r}") from None
    finally:
        if connection.is_open:
            connection.close()
