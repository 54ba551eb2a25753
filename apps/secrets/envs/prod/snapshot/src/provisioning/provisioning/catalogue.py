"""The Kubernetes Secrets: one per consumer, with only the keys that this consumer needs.

A key contains a generated value ("rabbitmq/audit-log-analysis"), which may be in several Secrets,
or a document that is made from such values.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from provisioning import rabbitmq, redis
from provisioning.accounts import (
    BROKER_USERS,
    POSTGRES_ROLES,
    REDIS_USERS,
    REPLICATED_REDIS_USERS,
    SENTINEL_USERS,
)

Values = Mapping[str, str]


@dataclass(frozen=True)
class Value:
    """A value that is generated once, and is the same wherever its name appears."""

    name: str


@dataclass(frozen=True)
class Document:
    """A text that is made from values. The values cannot be read back: most of them are hashed."""

    values: tuple[str, ...]
    write: Callable[[Values], str]


def _definitions(values: Values) -> str:
    passwords = {user: values[f"rabbitmq/{user}"] for user in BROKER_USERS}
    return json.dumps(rabbitmq.definitions(passwords))


def _acl(users: Mapping[str, str]) -> Document:
    def write(values: Values) -> str:
        return redis.acl(users, {user: values[f"redis/{user}"] for user in users})

    return Document(tuple(f"redis/{user}" for user in users), write)


def _exporter_passwords(values: Values) -> str:
    # redis_exporter reads passwords from files only as a map from address to password. The single
    # Redis uses TLS, and the three of apps/data/redis/ha do not.
    password = values["redis/auditflow-monitor"]
    return json.dumps({f"{scheme}://127.0.0.1:6379": password for scheme in ("rediss", "redis")})


Catalogue = Mapping[str, Mapping[str, Value | Document]]

#: The Secrets of an environment.
SECRETS: Final[Catalogue] = {
    "audit-event-generator": {
        "RABBITMQ_PASS": Value("rabbitmq/audit-event-generator"),
        "INGEST_TOKEN": Value("token/ingest"),
    },
    "audit-log-analysis": {
        "RABBITMQ_PASS": Value("rabbitmq/audit-log-analysis"),
        "REDIS_PASSWORD": Value("redis/audit-log-analysis"),
    },
    "notification-service": {
        "RABBITMQ_PASS": Value("rabbitmq/notification-service"),
        "PG_PASSWORD": Value("postgres/auditflow_app"),
        "API_TOKEN": Value("token/api"),
    },
    # Separate, because environments that exist have no key in the Secret notification-service.
    "notification-service-audit": {"AUDIT_LOG_KEY": Value("audit/log")},
    "audit-event-archive": {
        "RABBITMQ_PASS": Value("rabbitmq/audit-event-archive"),
        "PG_PASSWORD": Value("postgres/auditflow_archive"),
    },
    "notification-service-migrate": {"PG_PASSWORD": Value("postgres/auditflow_owner")},
    "event-audit-dashboard": {
        "API_TOKEN": Value("token/api"),
        "DASHBOARD_PASSWORD": Value("dashboard/admin"),
        "SESSION_SECRET": Value("dashboard/session"),
        "REDIS_PASSWORD": Value("redis/event-audit-dashboard"),
    },
    "postgres": {role: Value(f"postgres/{role}") for role in POSTGRES_ROLES},
    "postgres-backup": {"PGPASSWORD": Value("postgres/auditflow_reader")},
    # People read the Secrets "...-people" with kubectl. Only the notification service mounts a part
    # of them: the password of auditflow-operator, for the pages about dead letters.
    "rabbitmq-people": {
        user: Value(f"rabbitmq/{user}") for user in ("auditflow-operator", "auditflow-admin")
    },
    "redis-people": {
        user: Value(f"redis/{user}") for user in ("auditflow-monitor", "auditflow-admin")
    },
    "rabbitmq": {
        "definitions.json": Document(
            tuple(f"rabbitmq/{user}" for user in BROKER_USERS), _definitions
        )
    },
    "redis": {"users.acl": _acl(REDIS_USERS)},
    # For apps/data/redis/ha. Every environment has them, so that it can switch to replicas.
    "redis-replication": {
        user: Value(f"redis/{user}") for user in ("auditflow-replica", "auditflow-sentinel")
    },
    "redis-ha": {
        "users.acl": _acl(REPLICATED_REDIS_USERS),
        "sentinel.acl": _acl(SENTINEL_USERS),
    },
    "redis-exporter": {
        "exporter.json": Document(("redis/auditflow-monitor",), _exporter_passwords)
    },
}

#: The Secrets of the monitoring namespace.
MONITORING: Final[Catalogue] = {
    "grafana-admin": {
        "admin-user": Document((), lambda _: "admin"),
        "admin-password": Value("grafana/admin"),
    },
}

#: By the program's argument.
CATALOGUES: Final[Mapping[str, Catalogue]] = {"environment": SECRETS, "monitoring": MONITORING}
