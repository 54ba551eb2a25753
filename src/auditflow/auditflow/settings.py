"""Settings: read once from the environment, or from files that Kubernetes mounts.

A service combines the blocks that it needs and calls ``load``. The variables are the field names in
upper case: ``rabbitmq_host`` is RABBITMQ_HOST. If SECRETS_DIR names a folder, a file in it with the
name of a variable (RABBITMQ_PASS) contains its value. The environment takes precedence.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from auditflow.errors import SettingsError

Port = Annotated[int, Field(ge=1, le=65535)]


def _not_blank(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise ValueError("must not be empty")
    return secret


def _empty_is_none(value: object) -> object:
    return value or None


def _is_file(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


#: A value that is never printed. The newline at the end of a file is not part of the value.
Secret = Annotated[SecretStr, AfterValidator(_not_blank)]
#: A file that must exist. An empty value means no file.
OptionalFile = Annotated[Path | None, BeforeValidator(_empty_is_none), AfterValidator(_is_file)]


class Block(BaseSettings):
    """Settings that belong together. The settings of a service consist of blocks."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)


class ServiceSettings(Block):
    """The settings of every service: addresses, certificate, logs."""

    host: str = "0.0.0.0"  # noqa: S104 # nosec B104 # a pod must listen on its address
    port: Port
    #: The port of /healthz, /readyz and /metrics. With 0, the main port serves /metrics too.
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    #: The certificate (with its chain) and the key of the server, as PEM files. With them, the main
    #: port serves HTTPS only. Renewed files are loaded within a minute.
    tls_cert_file: OptionalFile = None
    tls_key_file: OptionalFile = None
    #: A second port that serves the same over HTTPS. The main port then serves HTTP, for clients
    #: that do not have the authority of the certificate.
    https_port: Annotated[int, Field(ge=0, le=65535)] = 0
    #: Whether the port of metrics serves HTTPS only, with the same certificate.
    metrics_tls: bool = False
    #: The maximum number of connections to the main port and ``https_port`` together. A further
    #: connection replaces one that waits for its client, or is closed.
    max_connections: Annotated[int, Field(ge=1)] = 256
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"
    environment: Annotated[str, Field(pattern="^[a-z0-9-]{1,32}$")] = "local"
    #: The commit that the image was built from. The image sets it.
    auditflow_revision: str = "unknown"

    @model_validator(mode="after")
    def _check_certificate(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("TLS_CERT_FILE and TLS_KEY_FILE must be set together")
        if self.tls_cert_file is None and (self.https_port or self.metrics_tls):
            raise ValueError("HTTPS_PORT and METRICS_TLS need TLS_CERT_FILE and TLS_KEY_FILE")
        return self


class TlsSettings(Block):
    """The authorities that clients trust."""

    #: A PEM file of trusted certificates. Without it, clients trust the system's authorities.
    tls_ca_file: OptionalFile = None


class RabbitMQSettings(TlsSettings):
    """The address of the broker, and the user."""

    rabbitmq_host: str = "localhost"
    rabbitmq_port: Port = 5672
    rabbitmq_vhost: str = "/"
    rabbitmq_user: str
    rabbitmq_pass: Secret
    #: Whether the broker is reached over TLS. RABBITMQ_PORT is then usually 5671.
    rabbitmq_tls: bool = False


_ADDRESSES = r"^([^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*)?$"


class RedisSettings(TlsSettings):
    """The address of Redis, which stores the windows, and the user."""

    redis_host: str = "localhost"
    redis_port: Port = 6379
    redis_user: str = "default"
    redis_password: Secret
    #: Whether Redis and the Sentinels are reached over TLS.
    redis_tls: bool = False
    #: Sentinels, as host:port, separated by commas. They know the address of the master;
    #: REDIS_HOST and REDIS_PORT are then ignored.
    redis_sentinels: Annotated[str, Field(pattern=_ADDRESSES)] = ""
    #: The name of the master at the Sentinels.
    redis_sentinel_service: str = "auditflow"
    #: The number of replicas that must have a batch's windows before the batch is acknowledged.
    redis_replicas: Annotated[int, Field(ge=0, le=10)] = 0

    def sentinel_addresses(self) -> list[tuple[str, int]]:
        """Host and port of each Sentinel."""
        pairs = (address.rpartition(":") for address in self.redis_sentinels.split(",") if address)
        return [(host, int(port)) for host, _, port in pairs]


class PostgresSettings(TlsSettings):
    """The address of PostgreSQL, which stores findings and alerts, and the role."""

    pg_host: str = "localhost"
    pg_port: Port = 5432
    pg_db: str = "auditflow"
    pg_user: str
    pg_password: Secret
    #: libpq's sslmode. ``verify-full`` verifies the certificate against TLS_CA_FILE.
    pg_sslmode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"

    def pg_tls_options(self) -> dict[str, Any]:
        """The TLS options of a connection, as libpq's parameters."""
        if self.pg_sslmode in ("verify-ca", "verify-full"):
            root = str(self.tls_ca_file) if self.tls_ca_file else "system"
            return {"sslmode": self.pg_sslmode, "sslrootcert": root}
        return {"sslmode": self.pg_sslmode}


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S], **overrides: Any) -> S:
    """Read settings from the environment and from the files in SECRETS_DIR.

    Raises:
        SettingsError: one line for each variable that is missing or invalid.
    """
    folder = os.environ.get("SECRETS_DIR")
    if folder and not Path(folder).is_dir():
        raise SettingsError(f"SECRETS_DIR: there is no folder {folder}")
    try:
        return kind(_secrets_dir=folder, **overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_line(problem) for problem in error.errors())) from None


def _line(problem: Any) -> str:
    variable = ".".join(str(part) for part in problem["loc"]).upper()
    if problem["type"] == "missing":
        return f"{variable}: is not set (set it in the environment, or as a file in SECRETS_DIR)"
    message = problem["msg"].removeprefix("Value error, ")
    if not variable:
        return str(message)
    return f"{variable}: {message[:1].lower()}{message[1:]}"
