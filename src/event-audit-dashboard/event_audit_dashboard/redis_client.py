"""Connects to Redis, directly or through Sentinel."""

import ssl
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from event_audit_dashboard.settings import DashboardSettings


def connect(settings: DashboardSettings) -> "redis.Redis | None":
    """A client that responds or fails within two seconds. None if Redis is not configured."""
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
    if settings.redis_tls:
        options |= {"ssl": True, "ssl_min_version": ssl.TLSVersion.TLSv1_2}
        if settings.tls_ca_file:
            options["ssl_ca_certs"] = str(settings.tls_ca_file)
    if settings.redis_sentinels:
        pairs = (address.rpartition(":") for address in settings.redis_sentinels.split(","))
        addresses = [(host, int(port)) for host, _, port in pairs]
        sentinel: Any = Sentinel(addresses, sentinel_kwargs=options, **options)  # type: ignore[no-untyped-call]
        master: redis.Redis = sentinel.master_for(settings.redis_sentinel_service)
        return master
    return redis.Redis(host=settings.redis_host, port=settings.redis_port, **options)
