"""The connection to Redis: client, health check, and errors that are transient."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import Sentinel

from auditflow.errors import Unavailable
from auditflow.settings import RedisSettings

#: Errors that Redis returns while it has no memory or is not ready. A retry is correct.
_TRANSIENT: Final = frozenset(
    {"OOM", "LOADING", "BUSY", "READONLY", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS"}
)


def connect(settings: RedisSettings) -> redis.Redis:
    """A client that answers or fails within seconds. It does not retry."""
    options: dict[str, Any] = {
        "username": settings.redis_user,
        "password": settings.redis_password.get_secret_value(),
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "retry": Retry(NoBackoff(), 0),
    }
    if settings.redis_tls:
        options |= {"ssl": True, "ssl_min_version": ssl.TLSVersion.TLSv1_2}
        if settings.tls_ca_file:
            options["ssl_ca_certs"] = str(settings.tls_ca_file)
    if settings.redis_sentinels:
        addresses = settings.sentinel_addresses()
        sentinels: Any = Sentinel(addresses, sentinel_kwargs=options, **options)  # type: ignore[no-untyped-call]
        master: redis.Redis = sentinels.master_for(
            settings.redis_sentinel_service, health_check_interval=30
        )
        return master
    return redis.Redis(
        host=settings.redis_host, port=settings.redis_port, health_check_interval=30, **options
    )


def ping(client: redis.Redis) -> str | None:
    """None if Redis answers, otherwise the reason."""
    try:
        client.ping()
    except RedisError as error:
        return str(error) or type(error).__name__
    return None


def error_code(error: ResponseError) -> str:
    """The first word of an error of Redis, such as OOM."""
    return error.status_code or str(error).partition(" ")[0]


@contextmanager
def transient_errors() -> Iterator[None]:
    """Raise Unavailable for transient errors of the block. Other errors are not changed."""
    try:
        yield
    except NoScriptError as error:
        raise Unavailable("redis", "it does not keep the loaded scripts") from error
    except ResponseError as error:
        code = error_code(error)
        if code in _TRANSIENT:
            raise Unavailable("redis", f"{code}: {error}") from error
        raise
    except RedisError as error:
        raise Unavailable("redis", str(error) or type(error).__name__) from error
