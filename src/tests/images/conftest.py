"""Containers for each test, if the machine has a container engine and the images."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditflow_local import ports
from auditflow_local.servers.postgres import Postgres
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import Redis
from auditflow_local.services import Dependencies

from . import containers as made
from .containers import Containers
from .engine import Engine


@pytest.fixture
def engine() -> Engine:
    """The container engine. If NEED_IMAGES is set, the images must exist."""
    item = made.engine()
    if isinstance(item, Engine):
        return item
    return pytest.fail(item) if os.environ.get("NEED_IMAGES") else pytest.skip(item)


@pytest.fixture
def containers(
    engine: Engine,
    rabbitmq: RabbitMQ,
    redis_server: Redis,
    postgres: Postgres,
    service_secrets: dict[str, str],
    tmp_path: Path,
) -> Iterator[Containers]:
    """The servers, a database with nothing in it, and the containers that a test starts on them."""
    database = postgres.fresh_database()
    around = Dependencies(
        rabbitmq=rabbitmq,
        redis=redis_server,
        postgres=database.server,
        database=database.name,
        api_port=ports.pick(),
        secrets=service_secrets,
    )
    item = Containers(engine, around, tmp_path)
    yield item
    item.remove()
