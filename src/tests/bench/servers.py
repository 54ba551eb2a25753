"""Private servers of a benchmark, with generated passwords."""

import secrets
from pathlib import Path

from auditflow_local import ports
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import Redis
from provisioning import accounts
from provisioning import rabbitmq as provisioned_rabbitmq


def private_rabbitmq(folder: Path) -> RabbitMQ:
    """A broker with all users and queues. It is not started."""
    passwords = {user: secrets.token_hex(8) for user in accounts.BROKER_USERS}
    return RabbitMQ(
        folder / "rabbitmq",
        port=ports.pick(),
        metrics_port=ports.pick(),
        distribution_port=ports.pick(),
        epmd_port=ports.pick(),
        definitions=provisioned_rabbitmq.definitions(passwords),
        passwords=passwords,
    )


def private_redis(folder: Path) -> Redis:
    """A Redis that syncs to the disk. It is not started."""
    return Redis(
        folder / "redis",
        port=ports.pick(),
        password=secrets.token_hex(8),
        admin_password=secrets.token_hex(8),
        dashboard_password=secrets.token_hex(8),
    )
