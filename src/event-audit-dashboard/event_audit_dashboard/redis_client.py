"""Connects to Redis, directly or through Sentinel."""

import ssl
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from auditflow.circuit import CallRefused, Circuit, CircuitMetrics
from event_audit_dashboard.settings import DashboardSettings

#: Maximum number of connections that are requested at the same time.
LIMIT: Final = 64


class _GuardedPool(redis.ConnectionPool):
    """Takes connections through a circuit breaker.

    A connection that failed is closed. If Redis does not respond, the new connection fails, because
    connecting includes a request.
    """

    circuit: Circuit

    def get_connection(self, *args: Any, **options: Any) -> Any:
        """A connection.

        Raises:
            redis.ConnectionError: Redis cannot be reached, or the circuit is open.
        """
        try:
            with self.circuit.attempt():
                return super().get_connection(*args, **options)
        except CallRefused as error:
            raise redis.ConnectionError(str(error)) from None


class _GuardedSentinelPool(_GuardedPool, SentinelConnectionPool):
    pass


def connect(
    settings: DashboardSettings, metrics: CircuitMetrics | None = None
) -> "redis.Redis | None":
    """A client that responds or fails within two seconds. None if Redis is not configured.

    If several connections in a row failed, commands fail at once for some time.
    """
    if not settings.redis_host and not settings.redis_sentinels:
        return None
    password = settings.redis_password
    options: dict[str, Any] = {
        "username": settings.redis_user,
        "password": password.get_secret_value() if password else None,
        "socket_timeout": 2,
        "socket_connect_timeout": 1,
        "retry": Retry(NoBackoff(), 1),
        "health_check_interval": 30,
    }
    encryption: dict[str, Any] = {}
    if settings.redis_tls:
        encryption["ssl_min_version"] = ssl.TLSVersion.TLSv1_2
        if settings.tls_ca_file:
            encryption["ssl_ca_certs"] = str(settings.tls_ca_file)
    if settings.redis_sentinels:
        pairs = (address.rpartition(":") for address in settings.redis_sentinels.split(","))
        addresses = [(host, int(port)) for host, _, port in pairs]
        options |= {"ssl": True, **encryption} if settings.redis_tls else {}
        sentinel: Any = Sentinel(addresses, sentinel_kwargs=options, **options)  # type: ignore[no-untyped-call]
        client: redis.Redis = sentinel.master_for(
            settings.redis_sentinel_service, connection_pool_class=_GuardedSentinelPool
        )
    else:
        kind = redis.SSLConnection if settings.redis_tls else redis.Connection
        pool = _GuardedPool(
            connection_class=kind,
            host=settings.redis_host,
            port=settings.redis_port,
            **options,
            **encryption,
        )
        client = redis.Redis.from_pool(pool)
    client.connection_pool.circuit = Circuit(  # type: ignore[attr-defined]
        "redis", counts=(redis.ConnectionError, redis.TimeoutError), metrics=metrics, limit=LIMIT
    )
    return client
