"""The accounts of services, servers and people, and the permissions of each account.

To add a service, add its account here. RabbitMQ's definitions, Redis' ACL files and the Secrets
follow from this list.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from auditflow.amqp.topology import (
    ARCHIVE,
    ARCHIVE_KEY,
    EXCHANGE,
    LEDGER_KEY,
    QUARANTINE_KEY,
    RECEIPT_KEY,
)

#: A regular expression that matches no name.
NOTHING: Final = "^$"


@dataclass(frozen=True)
class TopicPermissions:
    """Permissions on routing keys of one topic exchange, as regular expressions."""

    write: str = NOTHING
    read: str = NOTHING


@dataclass(frozen=True, kw_only=True)
class BrokerPermissions:
    """Permissions on RabbitMQ: regular expressions over names of exchanges and queues.

    ``topics`` restricts the routing keys of the exchange ``audit``. None means no restriction.
    """

    configure: str = NOTHING
    write: str = NOTHING
    read: str = NOTHING
    topics: TopicPermissions | None = TopicPermissions()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Account:
    """One identity, and its permissions on each server that knows it.

    ``redis`` and ``sentinel`` are ACL rules of Redis and of Redis Sentinel. An account with
    ``replicated_redis_only`` exists only where Redis has replicas.
    """

    name: str
    rabbitmq: BrokerPermissions | None = None
    redis: str | None = None
    sentinel: str | None = None
    replicated_redis_only: bool = False


#: For clients of Redis that find the master through Sentinel.
_FIND_MASTER: Final = "-@all +ping +sentinel|masters +sentinel|get-master-addr-by-name"
_EVERYTHING: Final = "~* &* +@all"

ACCOUNTS: Final = (
    Account(
        name="audit-event-generator",
        rabbitmq=BrokerPermissions(
            write=f"^{EXCHANGE}$",
            topics=TopicPermissions(
                write=rf"^(event\.|({re.escape(QUARANTINE_KEY)}|{re.escape(RECEIPT_KEY)})$)"
            ),
        ),
    ),
    Account(
        name="audit-log-analysis",
        rabbitmq=BrokerPermissions(
            write=rf"^{EXCHANGE}(\.dlx)?$",
            read="^audit_events$",
            topics=TopicPermissions(write=rf"^(finding\.|{re.escape(ARCHIVE_KEY)}$)"),
        ),
        redis="~* &* +@all -@admin -@dangerous +info",
        sentinel=_FIND_MASTER,
    ),
    # The writer of the archive, which runs in the image of audit-log-analysis.
    Account(
        name="audit-event-archive",
        rabbitmq=BrokerPermissions(
            write=rf"^{EXCHANGE}(\.dlx)?$",
            read=f"^{ARCHIVE}$",
            # Findings of hunts in the archive.
            topics=TopicPermissions(write=rf"^(finding\.|{re.escape(LEDGER_KEY)}$)"),
        ),
    ),
    Account(
        name="notification-service",
        rabbitmq=BrokerPermissions(write=rf"^{EXCHANGE}\.dlx$", read="^audit_alerts$"),
    ),
    # Sessions and the login throttle. The keys of windows are not accessible.
    Account(
        name="event-audit-dashboard",
        redis=(
            "~dashboard:* -@all +ping +get +set +del +incrby +expire +ttl +zadd +zrem +zrange"
            " +zremrangebyscore +multi +exec +eval +evalsha +script|load"
        ),
        sentinel=_FIND_MASTER,
    ),
    # The exporter of Redis' metrics.
    Account(
        name="auditflow-monitor",
        redis="-@all +ping +info +slowlog|len +slowlog|get +latency|latest",
    ),
    # A replica that connects to the master, and a Sentinel that connects to Redis and to the other
    # Sentinels.
    Account(
        name="auditflow-replica", redis="-@all +psync +replconf +ping", replicated_redis_only=True
    ),
    Account(
        name="auditflow-sentinel",
        redis=(
            "&* -@all +ping +info +role +multi +exec +slaveof +config|rewrite +publish +subscribe"
            " +client|setname +client|kill +script|kill"
        ),
        sentinel=(
            "&* -@all +ping +info +publish +subscribe +client|setname"
            " +sentinel|is-master-down-by-addr +sentinel|get-master-addr-by-name"
        ),
        replicated_redis_only=True,
    ),
    # People who inspect and replay dead letters. Replays use the default exchange.
    Account(
        name="auditflow-operator",
        rabbitmq=BrokerPermissions(
            write=r"^amq\.default$", read=r"^audit_(events|alerts|archive)\.dlq$"
        ),
    ),
    Account(
        name="auditflow-admin",
        rabbitmq=BrokerPermissions(
            configure=".*", write=".*", read=".*", topics=None, tags=("administrator",)
        ),
        redis=_EVERYTHING,
        sentinel=_EVERYTHING,
    ),
)

#: By user name: the permissions on RabbitMQ. Only the administrator can create or delete a queue.
BROKER_USERS: Final[Mapping[str, BrokerPermissions]] = {
    account.name: account.rabbitmq for account in ACCOUNTS if account.rabbitmq is not None
}
#: By user name: the ACL rules on a single Redis.
REDIS_USERS: Final[Mapping[str, str]] = {
    account.name: account.redis
    for account in ACCOUNTS
    if account.redis is not None and not account.replicated_redis_only
}
#: By user name: the ACL rules on a Redis that has replicas and Sentinels.
REPLICATED_REDIS_USERS: Final[Mapping[str, str]] = {
    account.name: account.redis for account in ACCOUNTS if account.redis is not None
}
#: By user name: the ACL rules on a Redis Sentinel.
SENTINEL_USERS: Final[Mapping[str, str]] = {
    account.name: account.sentinel for account in ACCOUNTS if account.sentinel is not None
}
#: The roles of PostgreSQL. apps/data/postgres/base/roles.sql creates them with their permissions.
POSTGRES_ROLES: Final = (
    "postgres",
    "auditflow_owner",
    "auditflow_app",
    "auditflow_archive",
    "auditflow_reader",
    "auditflow_monitor",
)
