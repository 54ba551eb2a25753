"""The services and the migration: what each needs, and how it is configured."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from auditflow_local import secrets
from auditflow_local.certificates import Certificates
from auditflow_local.processes import Command, environment
from auditflow_local.servers.postgres import DATABASE, Postgres
from auditflow_local.servers.postgres_roles import APP, ARCHIVE, OWNER
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import Redis

T = TypeVar("T")

DASHBOARD_USER: Final = "admin"
#: The account of the broker that reads and replays dead letters.
OPERATOR: Final = "auditflow-operator"


@dataclass(frozen=True)
class Service:
    """A service. Its console script has the same name."""

    name: str
    rabbitmq: bool = False
    redis: bool = False
    #: The service also runs without Redis, for tests of it alone.
    redis_is_optional: bool = False
    postgres: str | None = None
    api: bool = False
    #: The service stores files in a folder (ARCHIVE_FOLDER).
    folder: bool = False
    #: The service also gets the password of the account that replays dead letters.
    operator: bool = False
    #: Tokens and passwords, without those of the servers.
    secrets: tuple[str, ...] = ()


GENERATOR: Final = Service("audit-event-generator", rabbitmq=True, secrets=("INGEST_TOKEN",))
ANALYSIS: Final = Service("audit-log-analysis", rabbitmq=True, redis=True)
NOTIFICATION: Final = Service(
    "notification-service",
    rabbitmq=True,
    postgres=APP,
    operator=True,
    secrets=("API_TOKEN", "AUDIT_LOG_KEY"),
)
EVENT_ARCHIVE: Final = Service("audit-event-archive", rabbitmq=True, postgres=ARCHIVE, folder=True)
DASHBOARD: Final = Service(
    "event-audit-dashboard",
    redis=True,
    redis_is_optional=True,
    api=True,
    secrets=("API_TOKEN", "DASHBOARD_PASSWORD", "SESSION_SECRET"),
)
MIGRATION: Final = Service("notification-service-migrate", postgres=OWNER)

#: In start order: servers of requests before their clients.
SERVICES: Final = (NOTIFICATION, EVENT_ARCHIVE, ANALYSIS, GENERATOR, DASHBOARD)
BY_NAME: Final[Mapping[str, Service]] = {
    service.name: service for service in (*SERVICES, MIGRATION)
}


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Servers and secrets for a service. Those that it does not need may be missing."""

    rabbitmq: RabbitMQ | None = None
    redis: Redis | None = None
    postgres: Postgres | None = None
    database: str = DATABASE
    archive_folder: Path | None = None
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    #: The analysis, which serves the rules to the dashboard.
    analysis_port: int = 5001
    #: The archive process, which serves events to the dashboard. None: the dashboard has no page of
    #: events.
    events_api_port: int | None = None
    #: With certificates, the services serve HTTPS and use TLS for all connections.
    tls: Certificates | None = None
    #: Values by the name of the variable.
    secrets: Mapping[str, str] = field(default_factory=dict)


def command(
    service: Service,
    dependencies: Dependencies,
    *,
    secrets_folder: Path,
    host: str = "127.0.0.1",
    port: int | None = None,
    variables: Mapping[str, str] | None = None,
) -> Command:
    """Return the command of a service and write its secrets to ``secrets_folder``.

    ``variables`` override the variables that this function sets.
    """
    configured, secret_values = _configuration(service, dependencies)
    if port is not None:
        configured |= {"HOST": host, "PORT": str(port)}
    folder = secrets.write_all(secrets_folder, secret_values)
    return Command(
        argv=(str(Path(sys.executable).parent / service.name),),
        env=environment(
            ENVIRONMENT="local",
            SECRETS_DIR=str(folder),
            PYTHONUNBUFFERED="1",
            **(configured | dict(variables or {})),
        ),
    )


def _configuration(
    service: Service, dependencies: Dependencies
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the public variables and the secret ones."""
    configured: dict[str, str] = {}
    secret_values = {name: dependencies.secrets[name] for name in service.secrets}
    if service.rabbitmq:
        broker = _require(service, dependencies.rabbitmq, "rabbitmq")
        configured |= broker_variables(broker, service.name)
        secret_values["RABBITMQ_PASS"] = broker.password_of(service.name)
        if service.operator:
            secret_values["RABBITMQ_OPERATOR_PASS"] = broker.password_of(OPERATOR)
    if service.redis and not (service.redis_is_optional and dependencies.redis is None):
        redis = _require(service, dependencies.redis, "redis")
        configured |= {
            "REDIS_HOST": redis.host,
            "REDIS_PORT": str(redis.port),
            "REDIS_USER": service.name,
            **({"REDIS_TLS": "true"} if redis.tls else {}),
        }
        secret_values["REDIS_PASSWORD"] = redis.password_of(service.name)
    if service.postgres:
        postgres = _require(service, dependencies.postgres, "postgres")
        configured |= {
            "PG_HOST": postgres.host,
            "PG_PORT": str(postgres.port),
            "PG_DB": dependencies.database,
            "PG_USER": service.postgres,
            **({"PG_SSLMODE": "verify-full"} if postgres.tls else {}),
        }
        secret_values["PG_PASSWORD"] = postgres.password_of(service.postgres)
    if service.folder:
        folder = _require(service, dependencies.archive_folder, "a folder")
        configured["ARCHIVE_FOLDER"] = str(folder)
    if service.api or service.folder:
        configured |= {
            "NOTIFICATION_SERVICE_HOST": dependencies.api_host,
            "NOTIFICATION_SERVICE_PORT": str(dependencies.api_port),
            **({"NOTIFICATION_SERVICE_TLS": "true"} if dependencies.tls else {}),
        }
    if service.api:
        configured |= {
            "ANALYSIS_HOST": dependencies.api_host,
            "ANALYSIS_PORT": str(dependencies.analysis_port),
            "DASHBOARD_USER": DASHBOARD_USER,
            **({"ANALYSIS_TLS": "true"} if dependencies.tls else {}),
        }
        if dependencies.events_api_port is not None:
            configured |= {
                "EVENTS_API_HOST": dependencies.api_host,
                "EVENTS_API_PORT": str(dependencies.events_api_port),
                **({"EVENTS_API_TLS": "true"} if dependencies.tls else {}),
            }
    if dependencies.tls:
        configured |= {
            "TLS_CA_FILE": str(dependencies.tls.ca),
            "TLS_CERT_FILE": str(dependencies.tls.certificate),
            "TLS_KEY_FILE": str(dependencies.tls.key),
        }
    return configured, secret_values


def broker_variables(broker: RabbitMQ, user: str) -> dict[str, str]:
    """Return the broker's address for a user, without the password."""
    return {
        "RABBITMQ_HOST": broker.host,
        "RABBITMQ_PORT": str(broker.port),
        "RABBITMQ_VHOST": broker.vhost,
        "RABBITMQ_USER": user,
        **({"RABBITMQ_TLS": "true"} if broker.tls else {}),
    }


def _require(service: Service, server: T | None, name: str) -> T:
    if server is None:
        raise ValueError(f"{service.name} needs {name}")
    return server
