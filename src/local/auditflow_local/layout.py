"""The folder `.auditflow/`, and the settings of `make up`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auditflow_local.errors import LocalError


@dataclass(frozen=True)
class PortChoice:
    """A port of the stack: its component, the variable that sets it, and the default."""

    name: str
    variable: str
    default: int


#: Below 32768, where Linux assigns no port to a client connection. The servers do not use their
#: standard ports, because a system service may use those.
PORTS: Final = tuple(
    PortChoice(name, f"AUDITFLOW_PORT_{variable}", default)
    for name, variable, default in (
        ("event-audit-dashboard", "DASHBOARD", 30080),
        ("notification-service", "API", 8000),
        ("audit-event-generator", "INGEST", 5000),
        ("audit-log-analysis", "ANALYSIS", 5001),
        ("audit-event-archive", "ARCHIVE", 5003),
        ("postgres", "POSTGRES", 25432),
        ("redis", "REDIS", 26379),
        ("rabbitmq", "RABBITMQ", 25673),
        ("rabbitmq metrics", "RABBITMQ_METRICS", 25692),
        ("rabbitmq distribution", "RABBITMQ_DISTRIBUTION", 25674),
        ("rabbitmq epmd", "RABBITMQ_EPMD", 24369),
        ("inbox", "INBOX", 30081),
        ("prometheus", "PROMETHEUS", 29090),
        ("postgres-exporter", "POSTGRES_EXPORTER", 29187),
        ("redis-exporter", "REDIS_EXPORTER", 29121),
    )
)


@dataclass(frozen=True)
class Layout:
    """The folder `.auditflow/` of one checkout."""

    root: Path

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def state(self) -> Path:
        """The process that runs the stack, and its ports."""
        return self.root / "run" / "stack.json"

    @property
    def lock(self) -> Path:
        """The process that runs the stack locks this file."""
        return self.root / "run" / "lock"

    @property
    def environment(self) -> Path:
        """Variables for the shell of an operator."""
        return self.root / "env"

    @property
    def routes(self) -> Path:
        """The folder of the routing file of notifications. A person may edit it."""
        return self.root / "routes"

    @property
    def receiver_secrets(self) -> Path:
        """The secrets of notification receivers, one in each file."""
        return self.root / "receiver-secrets"

    @property
    def certificates(self) -> Path:
        """Certificates of `make up TLS=1`."""
        return self.root / "tls"

    @property
    def archive(self) -> Path:
        """The files of the event archive."""
        return self.root / "archive"

    def server(self, name: str) -> Path:
        return self.root / "servers" / name

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def record(self, name: str) -> Path:
        return self.root / "run" / f"{name}.process"

    def service_secrets(self, name: str) -> Path:
        return self.root / "run" / "secrets" / name

    def relative(self, path: Path) -> str:
        """Return a path relative to the current folder if it is below it."""
        try:
            return str(path.relative_to(Path.cwd()))
        except ValueError:
            return str(path)


@dataclass(frozen=True)
class Choices:
    """Settings of `make up`, from environment variables."""

    ports: Mapping[str, int]
    host: str = "127.0.0.1"
    #: Whether all connections use TLS.
    tls: bool = False
    #: Synthetic events per second.
    rate: str = "2"
    #: Variables that every service receives unchanged (LOG_LEVEL, OTEL_...).
    passed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> "Choices":
        """Read the environment. An empty variable counts as not set.

        Raises:
            LocalError: a port is invalid or used twice. The text names the variables.
        """
        environ = os.environ if environ is None else environ
        ports = {choice.name: _port(choice, environ) for choice in PORTS}
        for port in set(ports.values()):
            same = [choice.variable for choice in PORTS if ports[choice.name] == port]
            if len(same) > 1:
                raise LocalError(f"{' and '.join(same)} are the same port, {port}")
        return cls(
            ports=ports,
            host=environ.get("AUDITFLOW_HOST") or cls.host,
            tls=environ.get("TLS", "").lower() in {"1", "true", "yes"},
            rate=environ.get("GENERATOR_RATE") or cls.rate,
            passed={
                name: value
                for name, value in environ.items()
                if name == "LOG_LEVEL" or name.startswith("OTEL_")
            },
        )


def _port(choice: PortChoice, environ: Mapping[str, str]) -> int:
    text = environ.get(choice.variable) or str(choice.default)
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 65535:
        return int(text)
    raise LocalError(f"{choice.variable}: a port is a number from 1 to 65535, not {text!r}")
