"""Settings: read once from the environment, or from files as Kubernetes mounts secrets.

A service composes the blocks it needs and calls ``load``. The variables are the field names in
capitals: ``rabbitmq_host`` is RABBITMQ_HOST. Where SECRETS_DIR names a folder, a file there named
like a variable (RABBITMQ_PASS) gives its value; the environment wins over the file.
"""

import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from auditflow.errors import SettingsError

Port = Annotated[int, Field(ge=1, le=65535)]


def _not_blank(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise ValueError("must not be empty")
    return secret


#: A value that does not print. A file's closing newline is not part of it.
Secret = Annotated[SecretStr, AfterValidator(_not_blank)]


class Block(BaseSettings):
    """Some settings that belong together. A service's settings are made of blocks."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)


class ServiceSettings(Block):
    """What every service has: where it listens and how much it says."""

    host: str = "0.0.0.0"  # noqa: S104 # nosec B104 # a pod must listen on its address
    port: Port
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"
    environment: Annotated[str, Field(pattern="^[a-z0-9-]{1,32}$")] = "local"
    #: The commit that an image was built from; the image says it.
    auditflow_revision: str = "unknown"


class RabbitMQSettings(Block):
    """Where the broker is, and who we are there."""

    rabbitmq_host: str = "localhost"
    rabbitmq_port: Port = 5672
    rabbitmq_vhost: str = "/"
    rabbitmq_user: str
    rabbitmq_pass: Secret


_ADDRESSES = r"^([^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*)?$"


class RedisSettings(Block):
    """Where the windows are kept."""

    redis_host: str = "localhost"
    redis_port: Port = 6379
    redis_user: str = "default"
    redis_password: Secret
    #: Sentinels, as host:port with commas between them. They say where the master is, and host and
    #: port are not looked at.
    redis_sentinels: Annotated[str, Field(pattern=_ADDRESSES)] = ""
    #: What the Sentinels call it.
    redis_sentinel_service: str = "auditflow"
    #: How many replicas must have a batch's windows before the batch is done.
    redis_replicas: Annotated[int, Field(ge=0, le=10)] = 0

    def sentinel_addresses(self) -> list[tuple[str, int]]:
        """Host and port of each Sentinel."""
        pairs = (one.rpartition(":") for one in self.redis_sentinels.split(",") if one)
        return [(host, int(port)) for host, _, port in pairs]


class PostgresSettings(Block):
    """Where findings and alerts are kept."""

    pg_host: str = "localhost"
    pg_port: Port = 5432
    pg_db: str = "auditflow"
    pg_user: str
    pg_password: Secret


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S], **overrides: Any) -> S:
    """Read settings of a kind from the environment and from the files in SECRETS_DIR.

    Raises:
        SettingsError: one line for each variable that is missing or wrong.
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
        return f"{variable}: is not set (give it in the environment, or as a file in SECRETS_DIR)"
    return f"{variable}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"
