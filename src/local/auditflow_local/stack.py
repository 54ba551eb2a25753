"""The platform on this machine: starts its components in order and stops them in reverse order."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

import pika
import pika.exceptions

from auditflow.amqp import topology
from auditflow_local import certificates, packages, ports, secrets, services, state, status
from auditflow_local.errors import LocalError
from auditflow_local.layout import PORTS, Choices, Layout
from auditflow_local.processes import Child
from auditflow_local.progress import Progress
from auditflow_local.servers import prometheus
from auditflow_local.servers.base import Server
from auditflow_local.servers.inbox import InboxServer
from auditflow_local.servers.postgres import Postgres
from auditflow_local.servers.postgres_roles import APP, ARCHIVE, OWNER, SUPERUSER
from auditflow_local.servers.prometheus import PostgresExporter, Prometheus, RedisExporter, Target
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import Redis
from auditflow_local.service_process import ServiceProcess
from auditflow_local.services import MIGRATION, SERVICES, Dependencies
from auditflow_local.supervision import Component, Supervisor
from provisioning import accounts
from provisioning import rabbitmq as provisioned_rabbitmq

C = TypeVar("C", bound=Component)

#: The runbooks of rules in a checkout of the repository.
RUNBOOKS: Final = Path(__file__).resolve().parents[3] / "docs/runbooks/rules"
_MIGRATION_SECONDS: Final = 300.0
_ADMIN: Final = "auditflow-admin"
_TOKENS: Final = (
    "INGEST_TOKEN", "API_TOKEN", "AUDIT_LOG_KEY", "DASHBOARD_PASSWORD", "SESSION_SECRET"
)  # fmt: skip


class Stack:
    """Three servers, four services, and Prometheus with its exporters if they are installed."""

    def __init__(self, layout: Layout, choices: Choices, progress: Progress) -> None:
        self.layout = layout
        self.choices = choices
        self._progress = progress
        store = secrets.Store(layout.secrets)
        self.tls = certificates.ensure(layout.certificates) if choices.tls else None
        self.tokens: Mapping[str, str] = {name: store.get(name) for name in _TOKENS}
        self.rabbitmq, self.postgres, self.redis = self._servers(store)
        self._dependencies = Dependencies(
            rabbitmq=self.rabbitmq,
            redis=self.redis,
            postgres=self.postgres,
            api_port=choices.ports[services.NOTIFICATION.name],
            analysis_port=choices.ports[services.ANALYSIS.name],
            events_api_port=choices.ports[services.EVENT_ARCHIVE.name],
            archive_folder=layout.archive,
            secrets=self.tokens,
            tls=self.tls,
        )
        self.inbox = InboxServer(
            layout.server("inbox"),
            port=choices.ports["inbox"],
            key=store.get("INBOX_KEY"),
            routes=layout.routes,
            receiver_secrets=layout.receiver_secrets,
            log=layout.log("inbox"),
        )
        self.services = tuple(
            ServiceProcess(
                service,
                self._dependencies,
                host=choices.host,
                port=choices.ports[service.name],
                log=layout.log(service.name),
                record=layout.record(service.name),
                secrets_folder=layout.service_secrets(service.name),
                variables=self._variables(service.name),
            )
            for service in SERVICES
        )
        self.monitoring = (self.inbox, *self._monitoring())
        #: Groups in the order in which they stop: producers first, servers last.
        by_name = {service.name: service for service in self.services}
        self._stop_order: tuple[tuple[Component, ...], ...] = (
            self.monitoring,
            (by_name[services.GENERATOR.name], by_name[services.DASHBOARD.name]),
            (by_name[services.ANALYSIS.name],),
            (by_name[services.NOTIFICATION.name], by_name[services.EVENT_ARCHIVE.name]),
            self.servers,
        )
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="stack")
        self._supervisor = Supervisor(
            (*self.servers, *self.services, *self.monitoring), progress.info
        )

    @property
    def servers(self) -> tuple[Server, ...]:
        return (self.rabbitmq, self.postgres, self.redis)

    def start(self) -> None:
        """Start everything in order. Returns when everything is ready.

        Raises:
            LocalError: a component did not start. Call ``stop`` to stop those that did.
        """
        for name in state.stop_leftovers(self.layout):
            self._progress.info(f"stopped {name}, a process of an earlier run")
        self._check_ports()
        self._install()
        self._each(self.servers, lambda server: server.start())
        with self._progress.step("exchanges and queues"):
            self._declare_topology()
        with self._progress.step("database schema"):
            self._migrate()
        self.inbox.prepare()
        self._each(self.services, lambda service: service.start())
        self._each(self.monitoring, lambda server: server.start())
        self._write_environment()

    def watch(self) -> None:
        """Restart components that end, from now on."""
        self._supervisor.start()

    def stop(self) -> None:
        """Stop everything in reverse order. The data are kept."""
        self._supervisor.stop_restarting()
        for group in self._stop_order:
            self._each(
                [component for component in group if component.running],
                lambda component: component.stop(),
                "stopping {}",
            )
        self._supervisor.join()
        self._pool.shutdown()
        # The supervisor may have restarted a component before it received the request.
        for group in self._stop_order:
            for component in group:
                component.stop()

    def kill(self) -> None:
        """Kill everything at once."""
        self._supervisor.stop_restarting()
        for group in self._stop_order:
            for component in group:
                component.kill()

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
                tls=self.tls,
            ),
            Postgres(
                layout.server("postgres"),
                port=port["postgres"],
                passwords={
                    SUPERUSER: store.get("PG_PASSWORD_SUPERUSER"),
                    OWNER: store.get("PG_PASSWORD_OWNER"),
                    APP: store.get("PG_PASSWORD"),
                    ARCHIVE: store.get("PG_PASSWORD_ARCHIVE"),
                },
                log=layout.log("postgres"),
                tls=self.tls,
            ),
            Redis(
                layout.server("redis"),
                port=port["redis"],
                password=store.get("REDIS_PASSWORD"),
                admin_password=store.get("REDIS_PASSWORD_ADMIN"),
                dashboard_password=store.get("REDIS_PASSWORD_DASHBOARD"),
                log=layout.log("redis"),
                tls=self.tls,
            ),
        )

    def _monitoring(self) -> tuple[Server, ...]:
        """Return Prometheus and its exporters, as far as they are installed."""
        layout, port = self.layout, self.choices.ports
        exporters: list[Server] = []
        targets = [
            Target(service.name, service.port, ca=self.tls.ca if self.tls else None)
            for service in self.services
        ]
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
            exporters.append(postgres)
            targets.append(postgres.target)
        if prometheus.installed(prometheus.REDIS_EXPORTER):
            redis = RedisExporter(
                layout.server("redis-exporter"),
                port=port["redis-exporter"],
                redis=self.redis,
                log=layout.log("redis-exporter"),
            )
            exporters.append(redis)
            targets.append(redis.target)
        server = Prometheus(
            layout.server("prometheus"),
            port=port["prometheus"],
            targets=targets,
            rules=prometheus.rule_files(),
            log=layout.log("prometheus"),
        )
        return (*exporters, server)

    def _variables(self, name: str) -> dict[str, str]:
        own: dict[str, str] = {}
        if name == services.GENERATOR.name:
            own = {"GENERATOR_RATE": self.choices.rate}
        elif name == services.NOTIFICATION.name:
            dashboard = self.choices.ports[services.DASHBOARD.name]
            own = self.inbox.variables(f"http://localhost:{dashboard}")
        elif name == services.DASHBOARD.name and RUNBOOKS.is_dir():
            own = {"RUNBOOKS_DIR": str(RUNBOOKS)}
        return {**self.choices.passed, **own}

    def _check_ports(self) -> None:
        not_installed = set(status.MONITORING) - {server.name for server in self.monitoring}
        for choice in PORTS:
            if choice.name in not_installed:
                continue
            is_service = any(choice.name == service.name for service in SERVICES)
            ports.require_free(
                self.choices.ports[choice.name],
                name=choice.name,
                variable=choice.variable,
                host=self.choices.host if is_service else ports.LOOPBACK,
            )

    def _install(self) -> None:
        missing = packages.missing(packages.SERVERS)
        if missing:
            names = ", ".join(package.name for package in missing)
            self._progress.info(f"installing {names} (no system service is started)")
            packages.ensure(packages.SERVERS)

    def _declare_topology(self) -> None:
        """Verify the topology that the broker loaded from its definitions."""
        parameters = self.rabbitmq.parameters(_ADMIN)
        try:
            with closing(pika.BlockingConnection(parameters)) as connection:
                topology.declare(connection.channel())
        except pika.exceptions.ChannelClosedByBroker as error:
            raise LocalError(
                f"the broker has a queue of an earlier version: {error.reply_text}\n"
                "Run `make reset`, which deletes all events and alerts, and start again."
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
                self._dependencies,
                secrets_folder=self.layout.service_secrets(MIGRATION.name),
                variables=self.choices.passed,
            )
        )
        try:
            child.wait(seconds=_MIGRATION_SECONDS)
        except BaseException:
            child.stop()
            raise

    def _each(self, components: Sequence[C], action: Callable[[C], None], text: str = "{}") -> None:
        """Run an action on all components in parallel. Raises the first error at the end."""

        def run(component: C) -> None:
            with self._progress.step(text.format(component.name)):
                action(component)

        futures = [self._pool.submit(run, component) for component in components]
        wait(futures)
        for future in futures:
            future.result()

    def _write_environment(self) -> None:
        """Write the variables of operator commands. A shell reads them by `. .auditflow/env`."""
        scheme = "https" if self.tls else "http"
        values = {
            **({"TLS_CA_FILE": str(self.tls.ca)} if self.tls else {}),
            **services.broker_variables(self.rabbitmq, services.OPERATOR),
            "RABBITMQ_PASS": self.rabbitmq.password_of(services.OPERATOR),
            "INGEST_URL": f"{scheme}://localhost:{self.choices.ports[services.GENERATOR.name]}",
            "INGEST_TOKEN": self.tokens["INGEST_TOKEN"],
            "API_URL": f"{scheme}://localhost:{self.choices.ports[services.NOTIFICATION.name]}",
            "API_TOKEN": self.tokens["API_TOKEN"],
            "ARCHIVE_URL": f"{scheme}://localhost:{self.choices.ports[services.EVENT_ARCHIVE.name]}",
        }
        secrets.write_file(
            self.layout.environment,
            "# Written by `make up` for `auditflow dlq` and other operator commands.\n"
            + "".join(f"{name}={value}\n" for name, value in values.items()),
        )


def _upper(user: str) -> str:
    return user.upper().replace("-", "_")
