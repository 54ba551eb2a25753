"""The four services (and the migration before them): what each needs, and how it is told."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from auditflow_local import secrets
from auditflow_local.processes import Command, environment
from auditflow_local.servers.postgres import DATABASE, Postgres
from auditflow_local.servers.postgres_roles import APP, OWNER
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import Redis

T = TypeVar("T")

DASHBOARD_USER: Final = "admin"


@dataclass(frozen=True)
class Service:
    """A program of ours: its console script has its name."""

    name: str
    rabbitmq: bool = False
    redis: bool = False
    postgres: str | None = None
    api: bool = False
    #: Tokens and passwords beside those of the servers.
    secrets: tuple[str, ...] = ()


GENERATOR: Final = Service("audit-event-generator", rabbitmq=True, secrets=("INGEST_TOKEN",))
ANALYSIS: Final = Service("audit-log-analysis", rabbitmq=True, redis=True)
NOTIFICATION: Final = Service(
    "notification-service", rabbitmq=True, postgres=APP, secrets=("API_TOKEN",)
)
DASHBOARD: Final = Service(
    "event-audit-dashboard",
    api=True,
    secrets=("API_TOKEN", "DASHBOARD_PASSWORD", "SESSION_SECRET"),
)
MIGRATION: Final = Service("notification-service-migrate", postgres=OWNER)

#: In the order in which they start: who answers first, then who asks.
SERVICES: Final = (NOTIFICATION, ANALYSIS, GENERATOR, DASHBOARD)
BY_NAME: Final[Mapping[str, Service]] = {one.name: one for one in (*SERVICES, MIGRATION)}


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a service may find around it. What it does not need may be missing."""

    rabbitmq: RabbitMQ | None = None
    redis: Redis | None = None
    postgres: Postgres | None = None
    database: str = DATABASE
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    #: By the variable's name.
    secrets: Mapping[str, str] = field(default_factory=dict)


def command(
    service: Service,
    around: Surroundings,
    *,
    secrets_folder: Path,
    host: str = "127.0.0.1",
    port: int | None = None,
    variables: Mapping[str, str] | None = None,
) -> Command:
    """How to run a service; its secrets are written to ``secrets_folder``, and only its own.

    ``variables`` are added last, and so may also replace what is said here.
    """
    told, kept = _told(service, around)
    if port is not None:
        told |= {"HOST": host, "PORT": str(port)}
    folder = secrets.hand_out(secrets_folder, kept)
    return Command(
        argv=(str(Path(sys.executable).parent / service.name),),
        env=environment(
            ENVIRONMENT="local",
            SECRETS_DIR=str(folder),
            PYTHONUNBUFFERED="1",
            **(told | dict(variables or {})),
        ),
    )


def _told(service: Service, around: Surroundings) -> tuple[dict[str, str], dict[str, str]]:
    """The variables that anybody may see, and those that are secret."""
    told: dict[str, str] = {}
    kept = {name: around.secrets[name] for name in service.secrets}
    if service.rabbitmq:
        broker = _needed(service, around.rabbitmq, "rabbitmq")
        told |= broker_variables(broker, service.name)
        kept["RABBITMQ_PASS"] = broker.password_of(service.name)
    if service.redis:
        redis = _needed(service, around.redis, "redis")
        told |= {
            "REDIS_HOST": redis.host,
            "REDIS_PORT": str(redis.port),
            "REDIS_USER": redis.user,
        }
        kept["REDIS_PASSWORD"] = redis.password
    if service.postgres:
        postgres = _needed(service, around.postgres, "postgres")
        told |= {
            "PG_HOST": postgres.host,
            "PG_PORT": str(postgres.port),
            "PG_DB": around.database,
            "PG_USER": service.postgres,
        }
        kept["PG_PASSWORD"] = postgres.password_of(service.postgres)
    if service.api:
        told |= {
            "NOTIFICATION_SERVICE_HOST": around.api_host,
            "NOTIFICATION_SERVICE_PORT": str(around.api_port),
            "DASHBOARD_USER": DASHBOARD_USER,
        }
    return told, kept


def broker_variables(broker: RabbitMQ, user: str) -> dict[str, str]:
    """Where the broker is, for one of its users; the password is told apart."""
    return {
        "RABBITMQ_HOST": broker.host,
        "RABBITMQ_PORT": str(broker.port),
        "RABBITMQ_VHOST": broker.vhost,
        "RABBITMQ_USER": user,
    }


def _needed(service: Service, thing: T | None, name: str) -> T:
    if thing is None:
        raise ValueError(f"{service.name} needs {name}")
    return thing
