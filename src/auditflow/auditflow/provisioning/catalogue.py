"""Which Secrets there are, and what is in each: one per consumer, with only its own keys.

A key holds a value that is made once ("rabbitmq/audit-log-analysis") and may be in several Secrets,
or a document made of such values.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from auditflow.amqp import topology

Values = Mapping[str, str]

#: Redis' users: the service, the exporter of metrics, and who may do everything, for people.
REDIS_USERS: Final[Mapping[str, str]] = {
    "audit-log-analysis": "~* &* +@all -@admin -@dangerous +info",
    "auditflow-monitor": "-@all +ping +info +slowlog|len +slowlog|get +latency|latest",
    "auditflow-admin": "~* &* +@all",
}

#: Beside them, where there are three of Redis: whom replicas and Sentinels are to Redis.
REDIS_HA_USERS: Final[Mapping[str, str]] = {
    **REDIS_USERS,
    "auditflow-replica": "-@all +psync +replconf +ping",
    "auditflow-sentinel": (
        "&* -@all +ping +info +role +multi +exec +slaveof +config|rewrite +publish +subscribe"
        " +client|setname +client|kill +script|kill"
    ),
}

#: Who is who to a Sentinel, which has commands of its own: those who look for the master, and the
#: other Sentinels.
SENTINEL_USERS: Final[Mapping[str, str]] = {
    "audit-log-analysis": "-@all +ping +sentinel|masters +sentinel|get-master-addr-by-name",
    "auditflow-sentinel": (
        "&* -@all +ping +info +publish +subscribe +client|setname"
        " +sentinel|is-master-down-by-addr +sentinel|get-master-addr-by-name"
    ),
    "auditflow-admin": "~* &* +@all",
}


class Value(Struct, frozen=True):
    """Made once, and the same wherever its name appears."""

    name: str


class Document(Struct, frozen=True):
    """A text that programs read. Its values are not read back from it: most are hashes there."""

    values: tuple[str, ...]
    write: Callable[[Values], str]


def _definitions(values: Values) -> str:
    passwords = {user: values[f"rabbitmq/{user}"] for user in topology.USERS}
    return json.dumps(topology.definitions(passwords))


def _users_acl(users: Mapping[str, str]) -> Document:
    def write(values: Values) -> str:
        # Nobody gets in as the default user, but Redis itself is it when it reads its file again:
        # without rights it would silently leave out what scripts wrote.
        lines = ["user default off resetpass ~* &* +@all"]
        for user, rules in users.items():
            digest = hashlib.sha256(values[f"redis/{user}"].encode()).hexdigest()
            lines.append(f"user {user} on #{digest} {rules}")
        return "\n".join(lines) + "\n"

    return Document(tuple(f"redis/{user}" for user in users), write)


def _exporter_passwords(values: Values) -> str:
    # The exporter of Redis takes passwords from files only as a map by address.
    return json.dumps({"redis://127.0.0.1:6379": values["redis/auditflow-monitor"]})


Catalogue = Mapping[str, Mapping[str, Value | Document]]

#: Those of an environment.
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
    "notification-service-migrate": {"PG_PASSWORD": Value("postgres/auditflow_owner")},
    "event-audit-dashboard": {
        "API_TOKEN": Value("token/api"),
        "DASHBOARD_PASSWORD": Value("dashboard/admin"),
        "SESSION_SECRET": Value("dashboard/session"),
    },
    "postgres": {
        role: Value(f"postgres/{role}")
        for role in (
            "postgres",
            "auditflow_owner",
            "auditflow_app",
            "auditflow_reader",
            "auditflow_monitor",
        )
    },
    "postgres-backup": {"PGPASSWORD": Value("postgres/auditflow_reader")},
    # No pod mounts these two: they are for people.
    "rabbitmq-people": {
        user: Value(f"rabbitmq/{user}") for user in ("auditflow-operator", "auditflow-admin")
    },
    "redis-people": {
        user: Value(f"redis/{user}") for user in ("auditflow-monitor", "auditflow-admin")
    },
    "rabbitmq": {
        "definitions.json": Document(
            tuple(f"rabbitmq/{user}" for user in topology.USERS), _definitions
        )
    },
    "redis": {"users.acl": _users_acl(REDIS_USERS)},
    # For apps/data/redis/ha. Made everywhere, so that they are there when an environment moves.
    "redis-replication": {
        user: Value(f"redis/{user}") for user in ("auditflow-replica", "auditflow-sentinel")
    },
    "redis-ha": {
        "users.acl": _users_acl(REDIS_HA_USERS),
        "sentinel.acl": _users_acl(SENTINEL_USERS),
    },
    "redis-exporter": {
        "exporter.json": Document(("redis/auditflow-monitor",), _exporter_passwords)
    },
}

#: Those of the namespace of the platform's monitoring.
MONITORING: Final[Catalogue] = {
    "grafana-admin": {
        "admin-user": Document((), lambda _: "admin"),
        "admin-password": Value("grafana/admin"),
    },
}

#: By the name that the program is told.
CATALOGUES: Final[Mapping[str, Catalogue]] = {"environment": SECRETS, "monitoring": MONITORING}
