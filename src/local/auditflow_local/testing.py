"""Pytest fixtures: real servers for the test run, started at the first use.

The server objects have ``start``, ``stop``, ``kill`` and ``restart``. A test that stops a shared
server starts it again. For a server of its own, a test uses a ``make_...`` factory.
"""

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import pytest

from auditflow_local import packages, ports
from auditflow_local.polling import WAIT_SECONDS
from auditflow_local.processes import Command
from auditflow_local.secrets import make_private
from auditflow_local.servers.base import Server
from auditflow_local.servers.postgres import Database, Postgres
from auditflow_local.servers.postgres_roles import APP, ARCHIVE, OWNER, SUPERUSER
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import Redis
from auditflow_local.service_process import ServiceProcess
from auditflow_local.services import BY_NAME, SERVICES, Dependencies

S = TypeVar("S", bound=Server)


class MakeService(Protocol):
    """Starts a service as a process. See ``service_process``."""

    def __call__(
        self,
        name: str,
        *,
        rabbitmq: RabbitMQ | None = None,
        redis: Redis | None = None,
        postgres: Postgres | None = None,
        database: Database | None = None,
        api: ServiceProcess | None = None,
        env: Mapping[str, str] | None = None,
        confine: Callable[[Command], Command] | None = None,
        start: bool = True,
    ) -> ServiceProcess: ...


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of all servers of this run. Its processes are stopped with the test run."""
    folder = make_private(tmp_path_factory.mktemp("servers"))
    # This process stops the servers also if the test run is killed or times out.
    guard = subprocess.Popen(
        (sys.executable, "-m", "auditflow_local.testing_guard", str(folder)),
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    yield folder
    guard.communicate()


@pytest.fixture(scope="session")
def rabbitmq(servers_folder: Path) -> Iterator[RabbitMQ]:
    """A broker with AuditFlow's exchanges, queues and users."""
    yield from _running(_rabbitmq(servers_folder / "rabbitmq"))


@pytest.fixture(scope="session")
def postgres(servers_folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL with AuditFlow's roles. ``postgres.fresh_database()`` creates a database."""
    yield from _running(_postgres(servers_folder / "postgres"))


@pytest.fixture(scope="session")
def redis_server(servers_folder: Path) -> Iterator[Redis]:
    """A Redis. ``redis_server.flush()`` deletes all data."""
    yield from _running(_redis(servers_folder / "redis"))


class Servers(NamedTuple):
    """One server of each kind."""

    rabbitmq: RabbitMQ
    redis: Redis
    postgres: Postgres


@pytest.fixture(scope="session")
def other_servers(servers_folder: Path) -> Iterator[Servers]:
    """A second set of servers, for services that run longer than one test.

    On the shared broker these services would consume the messages of other tests.
    """
    folder = servers_folder / "others"
    servers = Servers(
        _rabbitmq(folder / "rabbitmq"), _redis(folder / "redis"), _postgres(folder / "postgres")
    )
    packages.ensure(packages.SERVERS)
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.destroy)
            server.start()
        yield servers


@pytest.fixture
def make_rabbitmq(servers_folder: Path) -> Iterator[Callable[[Path], RabbitMQ]]:
    """Starts a broker for this test in a folder."""
    yield from _factory(_rabbitmq, servers_folder)


@pytest.fixture
def make_postgres(servers_folder: Path) -> Iterator[Callable[[Path], Postgres]]:
    """Starts a PostgreSQL for this test in a folder."""
    yield from _factory(_postgres, servers_folder)


@pytest.fixture
def make_redis(servers_folder: Path) -> Iterator[Callable[[Path], Redis]]:
    """Starts a Redis for this test in a folder."""
    yield from _factory(_redis, servers_folder)


@pytest.fixture(scope="session")
def service_secrets() -> dict[str, str]:
    """Tokens and passwords of the services that ``service_process`` starts, by variable."""
    return {
        name: secrets.token_hex(20)
        for name in sorted({name for service in SERVICES for name in service.secrets})
    }


@pytest.fixture
def service_process(servers_folder: Path, service_secrets: dict[str, str]) -> Iterator[MakeService]:
    """Starts one of the four services as a process and waits until it is ready.

    Pass the servers that it needs, ``api`` for the dashboard, and ``env`` for more variables.
    ``start=False`` does not start it. All processes are stopped at the end of the test.
    """
    yield from _services(servers_folder, service_secrets)


@pytest.fixture(scope="session")
def shared_service_process(
    servers_folder: Path, service_secrets: dict[str, str]
) -> Iterator[MakeService]:
    """Like ``service_process``, for services that are stopped at the end of the test run."""
    yield from _services(servers_folder, service_secrets)


def _services(servers_folder: Path, service_secrets: dict[str, str]) -> Iterator[MakeService]:
    with ExitStack() as stack:

        def make(
            name: str,
            *,
            rabbitmq: RabbitMQ | None = None,
            redis: Redis | None = None,
            postgres: Postgres | None = None,
            database: Database | None = None,
            api: ServiceProcess | None = None,
            env: Mapping[str, str] | None = None,
            confine: Callable[[Command], Command] | None = None,
            start: bool = True,
        ) -> ServiceProcess:
            folder = servers_folder / f"{name}-{secrets.token_hex(4)}"
            options: dict[str, Any] = {"database": database.name} if database else {}
            if api:
                options |= {"api_host": api.host, "api_port": api.port}
            service = ServiceProcess(
                BY_NAME[name],
                Dependencies(
                    rabbitmq=rabbitmq,
                    redis=redis,
                    postgres=database.server if database else postgres,
                    secrets=service_secrets,
                    archive_folder=folder / "archive",
                    **options,
                ),
                port=ports.pick(),
                log=folder / f"{name}.log",
                record=folder / f"{name}.process",
                secrets_folder=folder / "secrets",
                variables={"LOG_LEVEL": "DEBUG", **(env or {})},
                confine=confine,
                start_seconds=WAIT_SECONDS,
                stop_seconds=WAIT_SECONDS,
            )
            stack.callback(service.stop)
            if start:
                service.start()
            return service

        yield make


def _rabbitmq(folder: Path) -> RabbitMQ:
    # Imported here, because a pytest plugin must not import modules before coverage starts.
    from provisioning import accounts, rabbitmq  # noqa: PLC0415

    passwords = {user: secrets.token_hex(20) for user in accounts.BROKER_USERS}
    return RabbitMQ(
        folder,
        port=ports.pick(),
        metrics_port=ports.pick(),
        distribution_port=ports.pick(),
        epmd_port=ports.pick(),
        definitions=rabbitmq.definitions(passwords),
        passwords=passwords,
        durable=False,
    )


def _postgres(folder: Path) -> Postgres:
    passwords = {role: secrets.token_hex(20) for role in (SUPERUSER, OWNER, APP, ARCHIVE)}
    return Postgres(folder, port=ports.pick(), passwords=passwords, durable=False)


def _redis(folder: Path) -> Redis:
    return Redis(
        folder,
        port=ports.pick(),
        password=secrets.token_hex(20),
        admin_password=secrets.token_hex(20),
        dashboard_password=secrets.token_hex(20),
        durable=False,
    )


def _running(server: S) -> Iterator[S]:
    packages.ensure(packages.SERVERS)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


def _factory(make: Callable[[Path], S], guarded: Path) -> Iterator[Callable[[Path], S]]:
    with ExitStack() as stack:

        def started(folder: Path) -> S:
            packages.ensure(packages.SERVERS)
            server = make(folder / make.__name__.strip("_"))
            # The guard finds records below its folder only.
            link = guarded / f"own-{secrets.token_hex(4)}"
            link.symlink_to(server.folder)
            stack.callback(server.destroy)
            server.start()
            return server

        yield started
