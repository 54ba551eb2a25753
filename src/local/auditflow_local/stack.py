"""The whole platform on this machine: what starts in which order, and ends in the other."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from typing import Final, TypeVar

import pika
import pika.exceptions

from auditflow.amqp import topology
from auditflow_local import packages, ports, secrets, services, state, status
from auditflow_local.errors import LocalError
from auditflow_local.layout import PORTS, Choices, Layout
from auditflow_local.processes import Child
from auditflow_local.progress import Progress
from auditflow_local.servers import prometheus
from auditflow_local.servers.base import Server
from auditflow_local.servers.postgres import Postgres
from auditflow_local.servers.postgres_roles import APP, OWNER, SUPERUSER
from auditflow_local.servers.prometheus import PostgresExporter, Prometheus, RedisExporter, Target
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import Redis
from auditflow_local.service_process import ServiceProcess
from auditflow_local.services import MIGRATION, SERVICES, Surroundings
from auditflow_local.supervision import Part, Supervisor
from provisioning import accounts
from provisioning import rabbitmq as provisioned_rabbitmq

P = TypeVar("P", bound=Part)

_MIGRATION_SECONDS: Final = 300.0
OPERATOR: Final = "auditflow-operator"
_ADMIN: Final = "auditflow-admin"
_TOKENS: Final = ("INGEST_TOKEN", "API_TOKEN", "DASHBOARD_PASSWORD", "SESSION_SECRET")


class Stack:
    """Three servers, four services, and what watches them where the machine has it."""

    def __init__(self, layout: Layout, choices: Choices, progress: Progress) -> None:
        self.layout = layout
        self.choices = choices
        self._progress = progress
        store = secrets.Store(layout.secrets)
        self.tokens: Mapping[str, str] = {name: store.get(name) for name in _TOKENS}
        self.rabbitmq, self.postgres, self.redis = self._servers(store)
        around = Surroundings(
            rabbitmq=self.rabbitmq,
            redis=self.redis,
            postgres=self.postgres,
            api_port=choices.ports[services.NOTIFICATION.name],
            secrets=self.tokens,
        )
        self._around = around
        self.services = tuple(
            ServiceProcess(
                service,
                around,
                host=choices.host,
                port=choices.ports[service.name],
                log=layout.log(service.name),
                record=layout.record(service.name),
                secrets_folder=layout.service_secrets(service.name),
                variables=self._variables(service.name),
            )
            for service in SERVICES
        )
        self.watchers = self._watchers()
        #: In the order of stopping: who takes events in first, who is asked last.
        by_name = {one.name: one for one in self.services}
        self._waves: tuple[tuple[Part, ...], ...] = (
            self.watchers,
            (by_name[services.GENERATOR.name], by_name[services.DASHBOARD.name]),
            (by_name[services.ANALYSIS.name],),
            (by_name[services.NOTIFICATION.name],),
            self.servers,
        )
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="stack")
        self._supervisor = Supervisor((*self.servers, *self.services, *self.watchers), progress.say)

    @property
    def servers(self) -> tuple[Server, ...]:
        return (self.rabbitmq, self.postgres, self.redis)

    def start(self) -> None:
        """Everything, in order; returns when all is ready.

        Raises:
            LocalError: what went wrong. What has started until then is for ``stop`` to end.
        """
        for name in state.end_leftovers(self.layout):
            self._progress.say(f"ended {name}, which an earlier run had left behind")
        self._check_ports()
        self._install()
        self._each(self.servers, lambda server: server.start())
        with self._progress.step("exchanges and queues"):
            self._declare()
        with self._progress.step("database schema"):
            self._migrate()
        self._each(self.services, lambda service: service.start())
        self._each(self.watchers, lambda watcher: watcher.start())
        self._write_environment()

    def watch(self) -> None:
        """Start again what dies, from now on."""
        self._supervisor.start()

    def stop(self) -> None:
        """Everything that runs, in the other order. The data stay."""
        self._supervisor.let_go()
        for wave in self._waves:
            self._each(
                [part for part in wave if part.running], lambda part: part.stop(), "stopping {}"
            )
        self._supervisor.join()
        self._pool.shutdown()
        # Whatever was about to be started a moment ago.
        for wave in self._waves:
            for part in wave:
                part.stop()

    def kill(self) -> None:
        """Everything, now."""
        self._supervisor.let_go()
        for wave in self._waves:
            for part in wave:
                part.kill()

    def _servers(self, store: secrets.Store) -> tuple[RabbitMQ, Postgres, Redis]:
        layout, port = self.layout, self.choices.ports
        passwords = {
            user: store.get(f"RABBITMQ_PASS_{_upper(user)}") for user in accounts.BROKER_USERS
        }
        return (
            RabbitMQ(
                layout.server("rabbitmq"),
                port=port["rabbitmq"],
                metrics_port=port["rabbitmq metrics"],
                distribution_port=port["rabbitmq distribution"],
                epmd_port=port["rabbitmq epmd"],
                definitions=provisioned_rabbitmq.definitions(passwords),
                passwords=passwords,
                log=layout.log("rabbitmq"),
            ),
            Postgres(
                layout.server("postgres"),
                port=port["postgres"],
                passwords={
                    SUPERUSER: store.get("PG_PASSWORD_SUPERUSER"),
                    OWNER: store.get("PG_PASSWORD_OWNER"),
                    APP: store.get("PG_PASSWORD"),
                },
                log=layout.log("postgres"),
            ),
            Redis(
                layout.server("redis"),
                port=port["redis"],
                password=store.get("REDIS_PASSWORD"),
                admin_password=store.get("REDIS_PASSWORD_ADMIN"),
                log=layout.log("redis"),
            ),
        )

    def _watchers(self) -> tuple[Server, ...]:
        """Prometheus and the exporters, of which the machine may have none."""
        layout, port = self.layout, self.choices.ports
        made: list[Server] = []
        targets = [Target(one.name, one.port) for one in self.services]
        targets += prometheus.broker_targets(self.rabbitmq)
        if not prometheus.installed(prometheus.PROGRAM):
            return ()
        if prometheus.installed(prometheus.POSTGRES_EXPORTER):
            postgres = PostgresExporter(
                layout.server("postgres-exporter"),
                port=port["postgres-exporter"],
                postgres=self.postgres,
                log=layout.log("postgres-exporter"),
            )
            made.append(postgres)
            targets.append(postgres.target)
        if prometheus.installed(prometheus.REDIS_EXPORTER):
            redis = RedisExporter(
                layout.server("redis-exporter"),
                port=port["redis-exporter"],
                redis=self.redis,
                log=layout.log("redis-exporter"),
            )
            made.append(redis)
            targets.append(redis.target)
        server = Prometheus(
            layout.server("prometheus"),
            port=port["prometheus"],
            targets=targets,
            rules=prometheus.rule_files(),
            log=layout.log("prometheus"),
        )
        return (*made, server)

    def _variables(self, name: str) -> dict[str, str]:
        rate = {"GENERATOR_RATE": self.choices.rate} if name == services.GENERATOR.name else {}
        return {**self.choices.passed, **rate}

    def _check_ports(self) -> None:
        absent = set(status.WATCHERS) - {one.name for one in self.watchers}
        for choice in PORTS:
            if choice.name in absent:
                continue
            ours = any(choice.name == service.name for service in SERVICES)
            ports.require(
                self.choices.ports[choice.name],
                name=choice.name,
                variable=choice.variable,
                host=self.choices.host if ours else ports.LOOPBACK,
            )

    def _install(self) -> None:
        wanted = packages.missing(packages.SERVERS)
        if wanted:
            names = ", ".join(one.name for one in wanted)
            self._progress.say(f"installing {names} (no system service is started)")
            packages.ensure(packages.SERVERS)

    def _declare(self) -> None:
        """The broker had them from its definitions; this finds one that has other arguments."""
        parameters = pika.URLParameters(self.rabbitmq.url(_ADMIN))
        try:
            with closing(pika.BlockingConnection(parameters)) as connection:
                topology.declare(connection.channel())
        except pika.exceptions.ChannelClosedByBroker as error:
            raise LocalError(
                f"the broker has a queue of an earlier version: {error.reply_text}\n"
                "Start anew with `make reset`, which forgets all events and alerts."
            ) from None

    def _migrate(self) -> None:
        child = Child(
            MIGRATION.name,
            log=self.layout.log(MIGRATION.name),
            record=self.layout.record(MIGRATION.name),
        )
        child.spawn(
            services.command(
                MIGRATION,
                self._around,
                secrets_folder=self.layout.service_secrets(MIGRATION.name),
                variables=self.choices.passed,
            )
        )
        try:
            child.wait(seconds=_MIGRATION_SECONDS)
        except BaseException:
            child.stop()
            raise

    def _each(self, parts: Sequence[P], do: Callable[[P], None], text: str = "{}") -> None:
        """Do it to all at once; the first error is raised when all have ended."""

        def one(part: P) -> None:
            with self._progress.step(text.format(part.name)):
                do(part)

        futures = [self._pool.submit(one, part) for part in parts]
        wait(futures)
        for future in futures:
            future.result()

    def _write_environment(self) -> None:
        """What an operator's commands need, as `set -a; . .auditflow/env` reads it."""
        values = {
            **services.broker_variables(self.rabbitmq, OPERATOR),
            "RABBITMQ_PASS": self.rabbitmq.password_of(OPERATOR),
            "INGEST_URL": f"http://localhost:{self.choices.ports[services.GENERATOR.name]}",
            "INGEST_TOKEN": self.tokens["INGEST_TOKEN"],
            "API_URL": f"http://localhost:{self.choices.ports[services.NOTIFICATION.name]}",
            "API_TOKEN": self.tokens["API_TOKEN"],
        }
        secrets.write(
            self.layout.environment,
            "# Written by `make up`: for `auditflow dlq` and other operators' commands.\n"
            + "".join(f"{name}={value}\n" for name, value in values.items()),
        )


def _upper(user: str) -> str:
    return user.upper().replace("-", "_")
