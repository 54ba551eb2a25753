"""Prometheus, with the rules of this repository, and the exporters of PostgreSQL and Redis.

All are optional: they are used if they are installed.
"""

import http.client
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

from auditflow_local.ports import LOOPBACK
from auditflow_local.processes import Command, environment, http_ok
from auditflow_local.servers.base import Server
from auditflow_local.servers.postgres import DATABASE, Postgres
from auditflow_local.servers.postgres_roles import SUPERUSER
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import ADMIN, Redis

#: Debian's names of the programs.
PROGRAM: Final = "prometheus"
POSTGRES_EXPORTER: Final = "prometheus-postgres-exporter"
REDIS_EXPORTER: Final = "prometheus-redis-exporter"
#: The value of the label "namespace" on this machine.
NAMESPACE: Final = "local"
#: Metrics of each queue by name: messages and consumers.
_DETAILED: Final = ("queue_coarse_metrics", "queue_consumer_count")


def installed(program: str) -> bool:
    """Return whether a program is installed."""
    return shutil.which(program) is not None


def rule_files() -> tuple[Path, ...]:
    """Return the rule files of this checkout."""
    return tuple(sorted((Path(__file__).parents[4] / "monitoring" / "rules").glob("*.yaml")))


@dataclass(frozen=True)
class Target:
    """A scrape target. ``job`` has the same name as in a cluster.

    ``honor`` keeps the labels of the target, for example of an exporter.
    """

    job: str
    port: int
    path: str = "/metrics"
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    namespace: str = NAMESPACE
    honor: bool = False
    #: The certificate of the authority, if the target serves HTTPS.
    ca: Path | None = None

    def config(self, number: int) -> dict[str, Any]:
        """Return the scrape configuration. ``number`` makes the job name unique."""
        return {
            "job_name": f"{self.job} {number}",
            "metrics_path": self.path,
            "params": {name: list(values) for name, values in self.parameters.items()},
            "honor_labels": self.honor,
            **({"scheme": "https", "tls_config": {"ca_file": str(self.ca)}} if self.ca else {}),
            "static_configs": [
                {
                    "targets": [f"{LOOPBACK}:{self.port}"],
                    "labels": {"job": self.job, "namespace": self.namespace},
                }
            ],
            # The broker is scraped at two paths of one port. This label distinguishes the series.
            "relabel_configs": [
                {"source_labels": ["__metrics_path__"], "target_label": "metrics_path"}
            ],
        }


def broker_targets(rabbitmq: RabbitMQ) -> tuple[Target, Target]:
    """Return the targets of the broker: its totals, and its queues by name."""
    return (
        Target("rabbitmq", rabbitmq.metrics_port),
        Target("rabbitmq", rabbitmq.metrics_port, "/metrics/detailed", {"family": _DETAILED}),
    )


class Prometheus(Server):
    """A private Prometheus on loopback."""

    name: ClassVar[str] = "prometheus"

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        targets: Iterable[Target],
        rules: Iterable[Path],
        scrape_seconds: int = 5,
        evaluation_seconds: int = 15,
        log: Path | None = None,
    ) -> None:
        super().__init__(folder, port=port, log=log)
        self.targets = tuple(targets)
        self.rules = tuple(rules)
        self._scrape_seconds = scrape_seconds
        self._evaluation_seconds = evaluation_seconds

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def data(self) -> Path:
        """The folder of its blocks. Blocks can be added before it starts."""
        return self.folder / "data"

    def ready(self) -> bool:
        return http_ok(self.host, self.port, "/-/ready")

    def _command(self) -> Command:
        own = Target("prometheus", self.port, namespace="monitoring")
        configuration = {
            "global": {
                "scrape_interval": f"{self._scrape_seconds}s",
                "scrape_timeout": f"{self._scrape_seconds}s",
                "evaluation_interval": f"{self._evaluation_seconds}s",
            },
            "rule_files": [str(file) for file in self.rules],
            "scrape_configs": [
                target.config(number) for number, target in enumerate((*self.targets, own), start=1)
            ],
        }
        file = self.folder / "prometheus.yml"
        # Every JSON document is also YAML.
        file.write_text(json.dumps(configuration, indent=2), encoding="utf-8")
        return Command(
            argv=(
                PROGRAM,
                f"--config.file={file}",
                f"--storage.tsdb.path={self.data}",
                # The objectives look 30 days back.
                "--storage.tsdb.retention.time=35d",
                "--storage.tsdb.retention.size=1GB",
                f"--web.listen-address={self.host}:{self.port}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ),
            env=environment(GOMAXPROCS="2"),
            folder=self.folder,
        )


class PostgresExporter(Server):
    """The exporter of PostgreSQL's metrics."""

    name: ClassVar[str] = "postgres-exporter"

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        postgres: Postgres,
        database: str = DATABASE,
        log: Path | None = None,
    ) -> None:
        super().__init__(folder, port=port, log=log)
        self._postgres = postgres
        self._database = database

    @property
    def target(self) -> Target:
        return Target("postgresql", self.port)

    def ready(self) -> bool:
        return _answers(self.host, self.port)

    def _command(self) -> Command:
        password = quote(self._postgres.password_of(SUPERUSER), safe="")
        tls = self._postgres.tls
        mode = (
            f"sslmode=verify-full&sslrootcert={quote(str(tls.ca), safe='')}"
            if tls
            else "sslmode=disable"
        )
        address = f"{self._postgres.host}:{self._postgres.port}/{self._database}"
        return Command(
            argv=(POSTGRES_EXPORTER, f"--web.listen-address={self.host}:{self.port}"),
            env=environment(
                DATA_SOURCE_NAME=f"postgresql://{SUPERUSER}:{password}@{address}?{mode}",
                GOMAXPROCS="1",
            ),
            folder=self.folder,
        )


class RedisExporter(Server):
    """The exporter of Redis' metrics."""

    name: ClassVar[str] = "redis-exporter"

    def __init__(self, folder: Path, *, port: int, redis: Redis, log: Path | None = None) -> None:
        super().__init__(folder, port=port, log=log)
        self._redis = redis

    @property
    def target(self) -> Target:
        return Target("redis", self.port)

    def ready(self) -> bool:
        return _answers(self.host, self.port)

    def _command(self) -> Command:
        tls = self._redis.tls
        return Command(
            argv=(REDIS_EXPORTER, f"--web.listen-address={self.host}:{self.port}"),
            env=environment(
                **({"REDIS_EXPORTER_TLS_CA_CERT_FILE": str(tls.ca)} if tls else {}),
                REDIS_ADDR=f"{'rediss' if tls else 'redis'}://{self._redis.host}:{self._redis.port}",
                REDIS_USER=ADMIN,
                REDIS_PASSWORD=self._redis.admin_password,
                GOMAXPROCS="1",
            ),
            folder=self.folder,
        )


def _answers(host: str, port: int) -> bool:
    """Return whether an exporter answers, also if its server is down."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()
